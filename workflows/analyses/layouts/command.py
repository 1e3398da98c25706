"""``cawa sample``: its options, and the command itself."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from cawa_core.options import Count, option
from workflows.commands.endings import written_at_the_end
from workflows.commands.flags import with_options_of
from workflows.commands.options import UNSCORED_OPTIONS, SpecFile, merged_command
from workflows.commands.quick_imports import quick_imports
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions


@dataclasses.dataclass(frozen=True)
class SampleCommandOptions:
    """Options of ``cawa sample``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to sample"

    classes: tuple[int | str, ...] = option(
        (), "Classes of the images by index, name or WordNet id, separated by commas; by default the first."
    )
    images: Annotated[int, Field(ge=1, le=12)] = option(4, "Images per class.")
    layout: str = option(
        "",
        "PNG as large as the images. Each colour names the label that a pixel should show; black and transparent "
        "pixels may show anything, white ones no label. By default, images are random.",
    )
    draws: Count = option(10, "Random latents per image wanted; those with the closest layout are optimised.")
    steps: Annotated[int, Field(ge=0)] = option(50, "Steps of optimisation; 0 leaves it out.")
    extractor: str = option(
        "", "Map that reads labels off the features: a file of `cawa semantics` or of an audit; else one is trained."
    )
    training_images: Count = option(240, "Images that this map is trained on, if no --extractor is given.")
    output: str = option(
        "",
        "Folder for images, label maps and sheet, or its s3://, gs:// or az:// URL; by default "
        "results/GENERATOR-sample.",
    )


@with_options_of(SampleCommandOptions, AuditSpec, RunOptions, only=(*UNSCORED_OPTIONS, "segmenter"))
@written_at_the_end()
def sample(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Generate images of a painted layout, or random ones with their label maps, to paint on."""
    with quick_imports():
        from workflows.analyses.layouts.sheet import run_sample

    result = run_sample(*merged_command(SampleCommandOptions, spec, flags))
    print("\n".join([*result.lines, f"sheet: {result.storage.path('sample.png')}"]))
