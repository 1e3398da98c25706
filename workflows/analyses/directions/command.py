"""``cawa latents``: its options, and the command itself."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from cawa_core.errors import InputError
from cawa_core.options import Count, option
from workflows.commands.endings import written_at_the_end
from workflows.commands.flags import with_options_of
from workflows.commands.options import MODEL_OPTIONS, SpecFile, merged_command
from workflows.commands.quick_imports import quick_imports
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions

SEARCH_OPTIONS = ("latent_samples", "direction_classes", "direction_search_latents", "direction_steps")
"""Options of an audit by which directions are searched for."""


@dataclasses.dataclass(frozen=True)
class LatentsCommandOptions:
    """Options of ``cawa latents``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to steer"

    concepts: tuple[str, ...] = option(
        (),
        "Concepts whose directions are saved, such as brightness or 'area of tree', or your own functions of images as "
        "package.module:function; by default all. The others are searched too, as in an audit.",
    )
    space: Literal["latent", "embedding"] = option(
        "latent", "Space of the directions: latent, the latent code; embedding, the class embedding."
    )
    positives: tuple[Annotated[int, Field(ge=0)], ...] = option(
        (),
        "Numbers of images on the sheet, of one class, that show what you want: lists the channels and latent "
        "dimensions that they share.",
    )
    offered: Annotated[int, Field(ge=2, le=200)] = option(
        20, "Images of the first class that the sheet shows with their numbers, to choose positives from."
    )
    dimension: Annotated[int, Field(ge=-1)] = option(
        -1, "List the channels that this dimension of the space drives, computed from the weights; -1 lists none."
    )
    site: Annotated[int, Field(ge=-1)] = option(
        -1, "List the dimensions that drive --channel of this site, computed from the weights; -1 lists none."
    )
    channel: Annotated[int, Field(ge=-1)] = option(-1, "Channel at the site; -1 for none.")
    listed: Count = option(10, "Channels and dimensions to list.")
    classes: tuple[int | str, ...] = option(
        (), "Classes of the images by index, name or WordNet id, separated by commas; by default the first."
    )
    images: Annotated[int, Field(ge=1, le=12)] = option(2, "Images per class and concept on the sheet.")
    strengths: tuple[float, ...] = option(
        (-4.0, -2.0, 0.0, 2.0, 4.0), "Lengths of the steps on the sheet, in standard deviations."
    )
    output: str = option(
        "",
        "Folder for sheet and directions, or its s3://, gs:// or az:// URL; by default results/GENERATOR-latents.",
    )


@with_options_of(LatentsCommandOptions, AuditSpec, RunOptions, only=(*MODEL_OPTIONS, "segmenter", *SEARCH_OPTIONS))
@written_at_the_end()
def latents(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Find directions that steer a concept, or that ticked images have in common, and save them for `cawa edit`."""
    if flags["positives"] == []:
        raise InputError("positives must be at least 2 images; got none: leave out --positives, or name images")
    with quick_imports():
        from workflows.analyses.directions.sheet import run_latents

    result = run_latents(*merged_command(LatentsCommandOptions, spec, flags))
    print("\n".join([*result.lines, f"sheet: {result.storage.path('latents.png')}"]))
