"""The options of an audit: those of the lab, of the statistics, and of every analysis that is known."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field

from cawa_core.errors import InputError
from cawa_core.options import option, require_members, validated
from workflows.analyses import ANALYSES
from workflows.options.lab import LabSpec

Options = TypeVar("Options")

COVERAGE = ("classes", "stages")
"""Options that say which results a folder holds: it grows by them."""


Resamples = Annotated[int, Field(ge=20, le=100_000)]
"""Number of random draws behind a statistic; more than these change no figure that is shown, and fill the memory."""


@dataclasses.dataclass(frozen=True)
class StatisticsOptions:
    """Options of everything that is derived from tables, whichever analysis wrote them."""

    permutations: Resamples = option(1000, "Random permutations behind each null distribution and p-value.")
    bootstraps: Resamples = option(2000, "Bootstrap resamples behind each confidence interval.")


@dataclasses.dataclass(frozen=True)
class AuditSpec(LabSpec, StatisticsOptions):
    """Everything that changes a number of an audit, and nothing else.

    Every spec is of :func:`audit_spec_type`, and so has the options of every analysis besides these.
    """

    stages: tuple[str, ...] = ()


@cache
def audit_spec_type() -> type[AuditSpec]:
    """Return the class of specs: :class:`AuditSpec` with the options of every known analysis.

    Raises:
        InputError: two analyses have different options of one name.
    """
    _require_distinct_options()
    kinds = dict.fromkeys(analysis.options for analysis in ANALYSES.values() if dataclasses.fields(analysis.options))
    bases = [kind for kind in kinds if not any(kind is not other and issubclass(other, kind) for other in kinds)]
    names = ANALYSES.computed
    stages = option(ANALYSES.by_default, f"Stages (analyses) to run: {', '.join(names)}.")
    fields = [("stages", tuple[str, ...], stages)]
    kind = dataclasses.make_dataclass(
        "AuditSpec", fields, bases=(AuditSpec, *bases), frozen=True, namespace={"__reduce__": _reduced}
    )
    kind.__module__ = __name__
    return cast(type[AuditSpec], kind)


def audit_spec(**values: Any) -> AuditSpec:  # noqa: ANN401
    """Make a spec from options of the right types; the rest have their defaults."""
    return audit_spec_type()(**values)


def stages_of(spec: AuditSpec) -> tuple[str, ...]:
    """Return the analyses that a spec names.

    Raises:
        InputError: one is unknown or named twice, or there is none.
    """
    require_members("stages", spec.stages, ANALYSES.computed)
    return spec.stages


def _reduced(spec: AuditSpec) -> tuple[Any, ...]:
    """Pickle a spec by its values, because every process makes its class itself."""
    return _restored, ({field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)},)


def _restored(values: dict[str, Any]) -> AuditSpec:
    return audit_spec(**values)


def _require_distinct_options() -> None:
    owners: dict[str, type] = {}
    for kind in (LabSpec, StatisticsOptions, *(analysis.options for analysis in ANALYSES.values())):
        for name in (field.name for field in dataclasses.fields(kind)):
            owner = next(base for base in reversed(kind.__mro__) if name in inspect.get_annotations(base))
            if owners.setdefault(name, owner) is not owner:
                raise InputError(
                    f"option {name!r} belongs to {owners[name].__module__} and to {owner.__module__}; rename one, or "
                    "uninstall its package"
                )


def recorded_spec(values: Mapping[str, Any]) -> AuditSpec:
    """Make the spec of an audit folder from its recorded options.

    Options and stages of analyses that are not installed here are left out.

    Raises:
        InputError: a value is out of range.
    """
    names = {field.name for field in dataclasses.fields(audit_spec_type())}
    known = {name: value for name, value in values.items() if name in names}
    known["stages"] = [name for name in values["stages"] if name in ANALYSES]
    spec: AuditSpec = validated(audit_spec_type(), known)
    return spec


def options_as(kind: type[Options], spec: AuditSpec) -> Options:
    """Return a spec as the options of one analysis, all of which it has."""
    assert isinstance(spec, kind)
    return spec
