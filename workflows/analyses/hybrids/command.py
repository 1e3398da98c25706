"""``cawa hybridise``: its options, and the command itself."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from cawa_core.options import Count, option
from workflows.analyses.class_metrics import ManifoldOptions
from workflows.commands.endings import written_at_the_end
from workflows.commands.flags import with_options_of
from workflows.commands.options import MODEL_OPTIONS, Classes, SpecFile, merged_command
from workflows.commands.quick_imports import quick_imports
from workflows.commands.words import words_of
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

REALISM_OPTIONS = (
    *MODEL_OPTIONS,
    "real_images",
    "manifold_features",
    "class_folders",
    "minimum_real_accuracy",
    "maximum_unreadable",
    *ManifoldOptions.__dataclass_fields__,
)
"""Options of audit and run that it honours, since it compares pictures with real images."""


@dataclasses.dataclass(frozen=True)
class HybridiseCommandOptions:
    """Options of ``cawa hybridise``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to mix"

    sites: tuple[int, ...] = option(
        (),
        "Sites whose channels are transplanted (default: each in turn); style mixing begins after the first of them.",
    )
    k: tuple[Count, ...] = option((), "Channels to transplant per site (default: an eighth, a quarter, half and all).")
    latents: Count = option(3, "Images per pair.")
    tried_latents: Annotated[int, Field(ge=2)] = option(32, "Latents on which sites and k are chosen.")
    scored_latents: Annotated[int, Field(ge=2)] = option(
        200, "Held-out latents on which the chosen mixtures are scored."
    )
    output: str = option(
        "", "Folder for the sheet, or its s3://, gs:// or az:// URL; by default results/GENERATOR-hybrid."
    )


@with_options_of(HybridiseCommandOptions, AuditSpec, RunOptions, only=REALISM_OPTIONS)
@written_at_the_end()
def hybridise(
    inputs: Classes,
    references: Classes,
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Mix each input class with each reference class; compare channel mixing, style mixing and both originals."""
    with quick_imports():
        from workflows.analyses.hybrids.sheet import run_hybridise

    first, second = words_of("inputs", [inputs]), words_of("references", [references])
    result = run_hybridise(first, second, *merged_command(HybridiseCommandOptions, spec, flags))
    print("\n".join([*result.lines, f"sheet: {result.storage.path('hybrid.png')}"]))
