"""The options of a comparison: its false discovery rate, and the thresholds of every analysis that is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

from pydantic import ConfigDict, Field

from cawa_core.errors import InputError, bounded, suggestion
from cawa_core.options import option, validated
from workflows.analyses import ANALYSES
from workflows.interface import Analysis
from workflows.options.run import read_toml

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclasses.dataclass(frozen=True)
class ComparisonSpec:
    """Options of a comparison; a regression is significant and reaches its threshold.

    Field names are the option names of the command line and the keys of the TOML file. Every spec is of
    :func:`comparison_spec_type`, and so has the thresholds of every analysis besides these.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)
    HEADING: ClassVar[str] = "What counts as worse"

    false_discovery_rate: Share = option(
        0.05,
        "Allowed share of false positives among reported changes (Benjamini-Hochberg); half of it for single classes, "
        "half for totals.",
    )


@cache
def comparison_spec_type() -> type[ComparisonSpec]:
    """Return the class of specs: :class:`ComparisonSpec` with the thresholds of every known analysis.

    Raises:
        InputError: two analyses have different thresholds of one name.
    """
    _require_distinct_thresholds()
    kinds = dict.fromkeys(analysis.thresholds for analysis in ANALYSES.values() if _names(analysis.thresholds))
    bases = (*reversed(kinds), ComparisonSpec)  # fields of later bases come first
    kind = dataclasses.make_dataclass("ComparisonSpec", [], bases=bases, frozen=True)
    kind.__module__ = __name__
    return cast(type[ComparisonSpec], kind)


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _require_distinct_thresholds() -> None:
    owners: dict[str, type] = {}
    for kind in (ComparisonSpec, *(analysis.thresholds for analysis in ANALYSES.values())):
        for name in _names(kind):
            if owners.setdefault(name, kind) is not kind:
                raise InputError(
                    f"threshold {name!r} belongs to {owners[name].__module__} and to {kind.__module__}; rename one, or "
                    "uninstall its package"
                )


def comparison_spec(**values: Any) -> ComparisonSpec:  # noqa: ANN401
    """Make a spec from options of the right types; the rest have their defaults."""
    return comparison_spec_type()(**values)


def thresholds_of(spec: ComparisonSpec, analysis: Analysis) -> Any:  # noqa: ANN401
    """Return the thresholds of an analysis, of the type that it declares."""
    return analysis.thresholds(**{name: getattr(spec, name) for name in _names(analysis.thresholds)})


def merged_comparison(file: Path | None, flags: Mapping[str, Any]) -> ComparisonSpec:
    """Read options from a TOML file and override them by flags (None: not given).

    Raises:
        InputError: no such file, not TOML, an unknown key, a wrong type or a value out of range.
    """
    values = read_toml(file) if file else {}
    names = _names(comparison_spec_type())
    for key in values:
        if key not in names:
            raise InputError(
                f"unknown option {bounded(key)} in {file}{suggestion(key, names)}; `cawa compare --help` lists the "
                "options"
            )
    values |= {name: value for name, value in flags.items() if value is not None}
    spec: ComparisonSpec = validated(comparison_spec_type(), values)
    return spec
