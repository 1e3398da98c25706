"""``cawa edit``: its options, and the command itself."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

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
class EditCommandOptions:
    """Options of ``cawa edit``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to change"

    classes: tuple[int | str, ...] = option(
        (), "Classes by index, name or WordNet id, separated by commas, or all; required."
    )
    site: Annotated[int, Field(ge=ALL_SITES)] = option(
        ALL_SITES, f"Site of the channels, as listed by `cawa sites`; with --suggest, {ALL_SITES} means every site."
    )
    channels: tuple[int, ...] = option((), "Channels to edit together.")
    operation: Literal["multiply", "add", "set"] = option(
        "multiply", "Operation on the channels' features: multiply, add or set."
    )
    strengths: tuple[float, ...] = option(
        (),
        "Factors (default 0,1,2,3), or values in standard deviations of each channel (default -2,-1,0,1,2 for add and "
        "-2,0,2,4 for set); --suggest ranks edits by the last factor.",
    )
    latents: Annotated[int, Field(ge=0)] = option(0, "Images per class; 0 means three, or one per edit with --suggest.")
    region: str = option(
        "", "PNG as large as the images: white pixels are edited in full, grey ones in part, black ones not at all."
    )
    parts: tuple[Annotated[int, Field(ge=0)], ...] = option(
        (), "Labels of parts to edit, if --region is a map written by `cawa segment`."
    )
    suggest: bool = option(False, "Try channels one by one; list and show the best edits of one class.")
    candidates: Count = option(256, "Number of channels that --suggest tries: those of highest awareness at each site.")
    tried_latents: Count = option(4, "Latents on which --suggest chooses edits.")
    scored_latents: Annotated[int, Field(ge=2)] = option(16, "Held-out latents on which the suggestions are scored.")
    labels: str = option(
        "",
        "PNG with painted strokes: instead of chosen channels, one image is edited until these pixels show the labels "
        "that the colours stand for.",
    )
    direction: str = option(
        "",
        "Direction of the latent code and class embedding that images are moved along, instead of chosen channels: a "
        "file by `cawa latents`. Strengths are in standard deviations (default -4,-2,0,2,4).",
    )
    image: Annotated[int, Field(ge=0)] = option(0, "Number of the image that is painted on, as `cawa sample` shows it.")
    pictures: str = option(
        "",
        "Folder of `cawa sample` or `cawa annotate` that has image number --image; by default it is the image of that "
        "number of the class.",
    )
    extractor: str = option(
        "",
        "Map that reads labels off the features, for --labels: a file of `cawa semantics` or of an audit; else one is "
        "trained.",
    )
    training_images: Count = option(240, "Images that this map is trained on, if no --extractor is given.")
    way: Literal["features", "site_latents"] = option(
        "features",
        "What --labels changes: features, the latent code and the features of one site; or site_latents, the latents "
        "of every site.",
    )
    steps: Count = option(50, "Steps by which --labels edits the image.")
    output: str = option(
        "", "Folder for the sheet, or its s3://, gs:// or az:// URL; by default results/GENERATOR-edit."
    )


@with_options_of(EditCommandOptions, AuditSpec, RunOptions, only=(*MODEL_OPTIONS, "segmenter"))
@written_at_the_end()
def edit(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Edit channels at one site over a range of strengths, suggest edits, edit by painted labels, or move along a
    direction.
    """
    with quick_imports():
        from workflows.analyses.edits.sheet import run_edit

    result = run_edit(*merged_command(EditCommandOptions, spec, flags))
    print("\n".join([*result.lines, f"sheet: {result.storage.path('edit.png')}"]))
