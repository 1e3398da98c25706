"""``cawa dissect``: its options, and the command itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from cawa_core.errors import InputError
from cawa_core.options import Count, option
from workflows.commands.endings import written_at_the_end
from workflows.commands.flags import with_options_of
from workflows.commands.options import UNSCORED_OPTIONS, SpecFile, merged_command
from workflows.commands.quick_imports import quick_imports
from workflows.options.audit import AuditSpec
from workflows.options.run import RunOptions


@dataclasses.dataclass(frozen=True)
class DissectCommandOptions:
    """Options of ``cawa dissect``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What to dissect"

    concept: str = option("", "Concept of the segmenter, or of --masks, whose units are shown; required.")
    masks: str = option(
        "",
        "Folder with label maps of your own for some generated images, instead of a segmenter; docs/concepts.md "
        "describes it.",
    )
    classes: tuple[int | str, ...] = option(
        (), "Classes of the images by index, name or WordNet id, separated by commas; by default all."
    )
    sites: tuple[int, ...] = option((), "Sites whose units are searched; by default all.")
    units: Annotated[int, Field(ge=1, le=40)] = option(6, "Units on the sheet, those of highest IoU.")
    pictures: Annotated[int, Field(ge=1, le=12)] = option(6, "Images per unit, those that excite it most.")
    images: Annotated[int, Field(ge=2)] = option(960, "Images that units are compared with the concept in.")
    threshold_images: Annotated[int, Field(ge=2)] = option(960, "Other images, on which thresholds are chosen.")
    removed: tuple[Count, ...] = option(
        (1, 2, 4, 8, 16, 32), "How many of the best units to remove together; each number is tried.", is_distinct=True
    )
    random_sets: Count = option(5, "Random sets of units that the removal is compared with, for each number.")
    output: str = option(
        "", "Folder for the sheet, or its s3://, gs:// or az:// URL; by default results/GENERATOR-units."
    )


RIVALS = {
    "segmenter": "either labels the pixels",
    "classes": "the classes are those of the annotated images",
    "images": "units are compared with the concept in the annotated images",
    "random_sets": "what is left of the concept cannot be measured",
}
"""Options that do not go with ``--masks`` => why."""


def require_no_rival(flags: Mapping[str, Any]) -> None:
    """Check that nothing is given that label maps of the user's own replace; they also replace a segmenter of a spec.

    Raises:
        InputError: something is.
    """
    for name, reason in RIVALS.items():
        if flags.get("masks") and flags.get(name) is not None:
            raise InputError(f"{name} does not go with masks: {reason}; leave out --{name.replace('_', '-')}")


@with_options_of(DissectCommandOptions, AuditSpec, RunOptions, only=(*UNSCORED_OPTIONS, "segmenter"))
@written_at_the_end()
def dissect(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Show the units that draw a concept, and what is left of the concept without them."""
    require_no_rival(flags)
    with quick_imports():
        from workflows.analyses.dissection.sheet import run_dissect

    print(f"sheet: {run_dissect(*merged_command(DissectCommandOptions, spec, flags)).path('units.png')}")
