"""Options of the applications' commands, beside those that name models and devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field

from cawa_core.schemas import ALL_SITES
from cawa_core.specs import AuditSpec, Count, option, validated
from workflows.config import RunOptions, merged_options

MODEL_OPTIONS = (
    *("generator", "evaluator", "truncation", "truncation_statistics", "seed", "dtype"),
    *("device", "batch_size", "weights", "cache", "offline"),
)
"""Fields of AuditSpec and RunOptions that every application heeds."""
REALISM_OPTIONS = (
    *(*MODEL_OPTIONS, "real_images", "manifold_features", "neighbours"),
    *("class_folders", "minimum_real_accuracy"),
)
"""The same for those that compare pictures with real images."""
UNSCORED_OPTIONS = tuple(name for name in MODEL_OPTIONS if name != "evaluator")
"""The same for those that ask no classifier."""


@dataclasses.dataclass(frozen=True)
class EditSpec:
    """What ``cawa edit`` changes, and how it is shown."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    classes: tuple[int | str, ...] = option((), "Classes by index, name or WordNet id, comma-separated.")
    site: Annotated[int, Field(ge=ALL_SITES)] = option(
        ALL_SITES, f"Site of the channels, see `cawa sites`; with --suggest {ALL_SITES}: every site."
    )
    channels: tuple[int, ...] = option((), "Channels that are changed together.")
    operation: Literal["multiply", "add", "set"] = option("multiply", "What is done to the channels' features.")
    strengths: tuple[float, ...] = option(
        (),
        "Factors (0,1,2,3 if left out), or values in standard deviations of each channel (add: -2,-1,0,1,2; set: "
        "-2,0,2,4); --suggest ranks by the last factor.",
    )
    latents: Annotated[int, Field(ge=0)] = option(
        0, "Pictures of each class; 0: three, and with --suggest one of each edit."
    )
    region: str = option("", "PNG as large as the pictures: only where it is bright is anything changed.")
    parts: tuple[Annotated[int, Field(ge=0)], ...] = option(
        (), "Labels of --region where that is a map of `cawa segment`: only these parts are changed."
    )
    suggest: bool = option(False, "Try channels one by one, list the best edits of a class and show them.")
    candidates: Count = option(256, "How many channels --suggest tries: those of highest awareness at each site.")
    tried_latents: Count = option(4, "Latents that --suggest chooses by.")
    scored_latents: Annotated[int, Field(ge=2)] = option(16, "Other latents, that the suggestions are scored by.")
    output: str = option("", "Folder of the sheet, or its s3://, gs://, az:// URL; results/GENERATOR-edit if left out.")


@dataclasses.dataclass(frozen=True)
class MaskSpec:
    """What ``cawa mask`` sets to zero, and how it is shown."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    classes: tuple[int | str, ...] = option((), "Classes by index, name or WordNet id, comma-separated.")
    site: Annotated[int, Field(ge=ALL_SITES)] = option(ALL_SITES, f"Site of the channels; {ALL_SITES}: every site.")
    channels: tuple[int, ...] = option((), "Mask these instead of those of lowest, random and highest awareness.")
    k: Annotated[int, Field(ge=0)] = option(0, "How many channels at a site; 0: an audit's share of them.")
    latents: Count = option(4, "Pictures of each class.")
    scored_latents: Annotated[int, Field(ge=2)] = option(400, "Latents that the mean change is taken over.")
    output: str = option("", "Folder of the sheet, or its s3://, gs://, az:// URL; results/GENERATOR-mask if left out.")


@dataclasses.dataclass(frozen=True)
class HybridSpec:
    """How ``cawa hybridise`` mixes two classes, and how it is shown."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    sites: tuple[int, ...] = option(
        (),
        "Sites whose channels are transplanted, each one tried if left out; style mixing then begins after the first.",
    )
    k: tuple[Count, ...] = option((), "How many channels at a site; an eighth, a quarter, half and all if left out.")
    latents: Count = option(3, "Pictures of each pair.")
    tried_latents: Annotated[int, Field(ge=2)] = option(32, "Latents that sites and k are chosen by.")
    scored_latents: Annotated[int, Field(ge=2)] = option(200, "Other latents, that the chosen mixtures are scored by.")
    output: str = option("", "Folder of the sheet, or its s3://, gs://, az:// URL; else results/GENERATOR-hybrid.")


@dataclasses.dataclass(frozen=True)
class SegmentSpec:
    """How ``cawa segment`` clusters pixels, and how it is shown."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    classes: tuple[int | str, ...] = option((), "Classes by index, name or WordNet id, comma-separated.")
    sites: tuple[int, ...] = option((), "Sites whose channels are clustered; the last half if left out.")
    clusters: tuple[int, ...] = option((3, 5), "How many clusters; a column of the sheet each.")
    latents: Count = option(4, "Pictures of each class on the sheet.")
    fitted_latents: Count = option(
        64, "Pictures of each class that clusters are fitted to, and scored on; at least those shown."
    )
    output: str = option("", "Folder of the sheet, or its s3://, gs://, az:// URL; else results/GENERATOR-segments.")


Own = TypeVar("Own")


def merged_application(
    kind: type[Own], file: Path | None, flags: Mapping[str, Any]
) -> tuple[Own, AuditSpec, RunOptions]:
    """What to do, the models it is for and how they run, from flags (None: not given) and a TOML file for the models.

    Raises:
        InputError: no such file, an unknown key, a wrong type or a value out of range.
    """
    own = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    chosen: Own = validated(kind, {name: value for name, value in flags.items() if name in own and value is not None})
    return chosen, *merged_options(file, {name: value for name, value in flags.items() if name not in own})
