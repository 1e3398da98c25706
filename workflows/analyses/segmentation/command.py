"""``cawa segment``: its options, and the command itself."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from pydantic import ConfigDict

from cawa_core.options import Count, option
from workflows.commands.endings import written_at_the_end
from workflows.commands.flags import with_options_of
from workflows.commands.options import (
    UNSCORED_OPTIONS,
    SpecFile,
    merged_command,
)
from workflows.commands.quick_imports import quick_imports
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions


@dataclasses.dataclass(frozen=True)
class SegmentCommandOptions:
    """Options of ``cawa segment``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to cluster"

    classes: tuple[int | str, ...] = option(
        (), "Classes by index, name or WordNet id, separated by commas, or all; required."
    )
    sites: tuple[int, ...] = option((), "Sites whose channels are clustered; by default the last half of the sites.")
    clusters: tuple[int, ...] = option(
        (3, 5), "Numbers K of clusters; each is shown unweighted and weighted by awareness."
    )
    latents: Count = option(4, "Images per class on the sheet.")
    fitted_latents: Count = option(
        64, "Images per class that clusters are fitted to and scored on; at least as many as on the sheet."
    )
    output: str = option(
        "", "Folder for the sheet, or its s3://, gs:// or az:// URL; by default results/GENERATOR-segments."
    )


@with_options_of(SegmentCommandOptions, AuditSpec, RunOptions, only=UNSCORED_OPTIONS)
@written_at_the_end()
def segment(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Cluster the pixels of generated images by their channel activations, with and without awareness."""
    with quick_imports():
        from workflows.analyses.segmentation.sheet import run_segment

    print(f"sheet: {run_segment(*merged_command(SegmentCommandOptions, spec, flags)).path('segments.png')}")
