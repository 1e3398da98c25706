"""Thresholds for changes and regressions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from cawa_core.errors import InputError, suggestion
from cawa_core.options import option, validated
from workflows.config import read_toml

Share = Annotated[float, Field(gt=0, lt=1)]
Size = Annotated[float, Field(ge=0)]


@dataclasses.dataclass(frozen=True)
class ComparisonSpec:
    """Thresholds of a comparison; a regression is significant and reaches its threshold.

    Field names are the option names of the command line and the keys of the TOML file.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What counts as worse"

    false_discovery_rate: Share = option(
        0.05,
        "Share of false positives among reported changes (Benjamini-Hochberg); half each for classes and totals.",
    )
    precision_drop: Size = option(0.05, "Smallest drop of precision that counts as a regression.")
    recall_drop: Size = option(0.05, "Smallest drop of recall that counts as a regression.")
    density_drop: Size = option(0.1, "Smallest drop of density that counts as a regression, relative to the base.")
    coverage_drop: Size = option(0.05, "Smallest drop of coverage that counts as a regression.")
    fid_rise: Size = option(0.1, "Smallest rise of FID that counts as a regression, relative to the base.")
    kid_rise: Size = option(
        0.2, "Smallest rise of KID that counts as a regression, relative to the base or to the floor of real images."
    )
    ms_ssim_rise: Size = option(0.05, "Smallest rise of MS-SSIM (less diversity) that counts as a regression.")
    classifier_accuracy_drop: Size = option(
        0.05, "Smallest drop of the classifier's accuracy that counts as a regression."
    )


def merged_comparison(file: Path | None, flags: Mapping[str, Any]) -> ComparisonSpec:
    """Read thresholds from a TOML file and override them by flags (None: not given).

    Raises:
        InputError: no such file, not TOML, an unknown key, a wrong type or a value out of range.
    """
    values = read_toml(file) if file else {}
    names = [field.name for field in dataclasses.fields(ComparisonSpec)]
    for key in values:
        if key not in names:
            raise InputError(f"unknown option {key!r} in {file}{suggestion(key, names)}; allowed: {', '.join(names)}")
    values |= {name: value for name, value in flags.items() if value is not None}
    spec: ComparisonSpec = validated(ComparisonSpec, values)
    return spec
