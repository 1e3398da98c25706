"""``cawa semantics``: its options, and the command itself."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from cawa_core.options import Count, option
from workflows.commands.endings import written_at_the_end
from workflows.commands.flags import with_options_of
from workflows.commands.options import UNSCORED_OPTIONS, SpecFile, merged_command
from workflows.commands.quick_imports import quick_imports
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions


@dataclasses.dataclass(frozen=True)
class SemanticsCommandOptions:
    """Options of ``cawa semantics``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to read"

    classes: tuple[int | str, ...] = option(
        (),
        "Classes of the images on the sheet by index, name or WordNet id, separated by commas; by default the first.",
    )
    latents: Annotated[int, Field(ge=1, le=12)] = option(6, "Images per class on the sheet.")
    method: Literal["lda", "ridge", "lse"] = option(
        "lda", "Linear map that is trained: lda, the linear discriminant, ridge regression, or lse, by gradient."
    )
    masks: str = option(
        "",
        "Folder with label maps of your own for some generated images, to train on instead of a segmenter's; "
        "docs/concepts.md describes it.",
    )
    extractor: str = option("", "File of a trained map, from this command or from an audit, instead of training one.")
    sites: tuple[int, ...] = option(
        (),
        "Sites whose features are read; by default all, or the last of each resolution if all together have more than "
        "6,000 channels.",
    )
    training_images: Count = option(960, "Images to train on, spread over all classes.")
    tested_images: Count = option(240, "Other images, spread over all classes, that the map is scored on.")
    output: str = option(
        "",
        "Folder for the sheet and the map, or its s3://, gs:// or az:// URL; by default results/GENERATOR-semantics.",
    )


@with_options_of(SemanticsCommandOptions, AuditSpec, RunOptions, only=(*UNSCORED_OPTIONS, "segmenter"))
@written_at_the_end()
def semantics(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Train a linear map from features to the labels of pixels, or load one, and show its label maps."""
    with quick_imports():
        from workflows.analyses.semantics.sheet import run_semantics

    result = run_semantics(*merged_command(SemanticsCommandOptions, spec, flags))
    print("\n".join([*result.lines, f"sheet: {result.storage.path('semantics.png')}"]))
