"""``cawa mask``: its options, and the command itself."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from cawa_core.options import Count, option
from cawa_core.tables.schema import ALL_SITES
from workflows.commands.endings import written_at_the_end
from workflows.commands.flags import with_options_of
from workflows.commands.options import (
    MODEL_OPTIONS,
    SpecFile,
    merged_command,
)
from workflows.commands.quick_imports import quick_imports
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions


@dataclasses.dataclass(frozen=True)
class MaskCommandOptions:
    """Options of ``cawa mask``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to mask"

    classes: tuple[int | str, ...] = option(
        (), "Classes by index, name or WordNet id, separated by commas, or all; required."
    )
    site: Annotated[int, Field(ge=ALL_SITES)] = option(
        ALL_SITES, f"Site of the channels; {ALL_SITES} means every site."
    )
    channels: tuple[int, ...] = option((), "Channels to mask instead of those of lowest, random and highest awareness.")
    k: Annotated[int, Field(ge=0)] = option(0, "Channels to mask per site; 0 means the same share as in an audit.")
    latents: Count = option(4, "Images per class.")
    scored_latents: Annotated[int, Field(ge=2)] = option(400, "Latents over which the change is averaged.")
    output: str = option(
        "", "Folder for the sheet, or its s3://, gs:// or az:// URL; by default results/GENERATOR-mask."
    )


@with_options_of(MaskCommandOptions, AuditSpec, RunOptions, only=MODEL_OPTIONS)
@written_at_the_end()
def mask(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Mask the channels of lowest, random and highest awareness, or given channels; show images and score changes."""
    with quick_imports():
        from workflows.analyses.masking.sheet import run_mask

    print(f"sheet: {run_mask(*merged_command(MaskCommandOptions, spec, flags)).path('mask.png')}")
