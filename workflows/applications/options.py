"""Options of the application commands, besides those for models and devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field

from cawa_core.options import Count, option, validated
from cawa_core.table_schema import ALL_SITES
from workflows.config import RunOptions, merged_options
from workflows.spec import AuditSpec

MODEL_OPTIONS = (
    *("generator", "evaluator", "truncation", "truncation_statistics", "seed", "dtype"),
    *("device", "batch_size", "weights", "cache", "offline"),
)
"""Fields of AuditSpec and RunOptions that every application honours."""
REALISM_OPTIONS = (
    *(*MODEL_OPTIONS, "real_images", "manifold_features", "neighbours"),
    *("class_folders", "minimum_real_accuracy"),
)
"""Options of applications that compare pictures with real images."""
UNSCORED_OPTIONS = tuple(name for name in MODEL_OPTIONS if name != "evaluator")
"""Options of applications that use no classifier."""


@dataclasses.dataclass(frozen=True)
class EditSpec:
    """Options of ``cawa edit``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    classes: tuple[int | str, ...] = option((), "Classes by index, name or WordNet id, comma-separated.")
    site: Annotated[int, Field(ge=ALL_SITES)] = option(
        ALL_SITES, f"Site of the channels, see `cawa sites`; with --suggest {ALL_SITES}: every site."
    )
    channels: tuple[int, ...] = option((), "Channels to edit together.")
    operation: Literal["multiply", "add", "set"] = option("multiply", "Operation on the channels' features.")
    strengths: tuple[float, ...] = option(
        (),
        "Factors (default 0,1,2,3), or values in standard deviations of each channel (default -2,-1,0,1,2 to add and "
        "-2,0,2,4 to set); --suggest ranks by the last factor.",
    )
    latents: Annotated[int, Field(ge=0)] = option(0, "Pictures per class; 0: three, or with --suggest one per edit.")
    region: str = option(
        "", "PNG as large as the pictures: white pixels are edited in full, grey ones in part, black ones not at all."
    )
    parts: tuple[Annotated[int, Field(ge=0)], ...] = option(
        (), "Labels of a --region that is a map of `cawa segment`: edit only these parts."
    )
    suggest: bool = option(False, "Try channels one by one; list and show the best edits of one class.")
    candidates: Count = option(256, "Number of channels that --suggest tries: those of highest awareness at each site.")
    tried_latents: Count = option(4, "Latents that --suggest uses to choose edits.")
    scored_latents: Annotated[int, Field(ge=2)] = option(16, "Held-out latents that score the suggestions.")
    output: str = option("", "Folder of the sheet, or its s3://, gs://, az:// URL; default results/GENERATOR-edit.")


@dataclasses.dataclass(frozen=True)
class MaskSpec:
    """Options of ``cawa mask``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    classes: tuple[int | str, ...] = option((), "Classes by index, name or WordNet id, comma-separated.")
    site: Annotated[int, Field(ge=ALL_SITES)] = option(ALL_SITES, f"Site of the channels; {ALL_SITES}: every site.")
    channels: tuple[int, ...] = option((), "Channels to mask instead of those of lowest, random and highest awareness.")
    k: Annotated[int, Field(ge=0)] = option(0, "Channels to mask per site; 0: the same share as in an audit.")
    latents: Count = option(4, "Pictures per class.")
    scored_latents: Annotated[int, Field(ge=2)] = option(400, "Latents over which the change is averaged.")
    output: str = option("", "Folder of the sheet, or its s3://, gs://, az:// URL; default results/GENERATOR-mask.")


@dataclasses.dataclass(frozen=True)
class HybridSpec:
    """Options of ``cawa hybridise``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    sites: tuple[int, ...] = option(
        (),
        "Sites whose channels are transplanted (default: each in turn); style mixing begins after the first of them.",
    )
    k: tuple[Count, ...] = option((), "Channels to transplant per site (default: an eighth, a quarter, half and all).")
    latents: Count = option(3, "Pictures per pair.")
    tried_latents: Annotated[int, Field(ge=2)] = option(32, "Latents used to choose sites and k.")
    scored_latents: Annotated[int, Field(ge=2)] = option(200, "Held-out latents that score the chosen mixtures.")
    output: str = option("", "Folder of the sheet, or its s3://, gs://, az:// URL; default results/GENERATOR-hybrid.")


@dataclasses.dataclass(frozen=True)
class SegmentSpec:
    """Options of ``cawa segment``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    classes: tuple[int | str, ...] = option((), "Classes by index, name or WordNet id, comma-separated.")
    sites: tuple[int, ...] = option((), "Sites whose channels are clustered (default: the last half).")
    clusters: tuple[int, ...] = option((3, 5), "Numbers of clusters; each is shown plain and by awareness.")
    latents: Count = option(4, "Pictures per class on the sheet.")
    fitted_latents: Count = option(
        64, "Pictures per class to which clusters are fitted and on which they are scored; at least those on the sheet."
    )
    output: str = option("", "Folder of the sheet, or its s3://, gs://, az:// URL; default results/GENERATOR-segments.")


Application = TypeVar("Application")


def merged_application(
    kind: type[Application], file: Path | None, flags: Mapping[str, Any]
) -> tuple[Application, AuditSpec, RunOptions]:
    """Merge flags (None: not given) with a TOML file for the models into the options of a command, audit and run.

    Raises:
        InputError: no such file, an unknown key, a wrong type or a value out of range.
    """
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in flags.items() if name in names and value is not None}
    application: Application = validated(kind, given)
    return application, *merged_options(file, {name: value for name, value in flags.items() if name not in names})
