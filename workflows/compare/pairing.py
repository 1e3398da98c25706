"""Pairs of audits that can be compared."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
from cawa_core.specs import OPTIONS

from cawa_core.audit_record import AuditRecord
from cawa_core.errors import InputError
from cawa_core.storage import Folder
from cawa_core.tables import Manifest
from workflows.folder import opened_audit, read_audit
from workflows.stages import STAGES

COMPARED = ("awareness", "masking", "class_metrics")
"""Stages whose results are compared; pictures and applications are not."""
OTHER_OPTIONS = frozenset(name for stage in OPTIONS if stage not in COMPARED for name in OPTIONS[stage])
COMPARED_OPTIONS = frozenset(name for stage in COMPARED for name in OPTIONS[stage])
MAY_DIFFER = (OTHER_OPTIONS - COMPARED_OPTIONS) | frozenset(
    (
        "generator",  # the name only; the sites show whether the architecture is the same
        "seed",
        "stages",  # the stages that both ran are compared
        "awareness_samples",  # must agree only where awareness is sampled: _require_same_samples
        "control_latents",
        "control_fraction",
        "control_repeats",
        "permutations",
        "bootstraps",
        "overlap_k",  # the sizes that both have are compared
        "shared_k",
    )
)
"""Options that may differ: they change compared numbers only by noise that the comparison accounts for."""


@dataclasses.dataclass(frozen=True)
class Audit:
    """One of the two audits: its record and its finished shards."""

    record: AuditRecord
    manifest: Manifest

    @classmethod
    def open(cls, folder: Folder) -> Audit:
        """Open an audit folder.

        Raises:
            InputError: the folder holds no audit, or is damaged.
        """
        storage = opened_audit(folder)
        return cls(read_audit(storage), Manifest.read(storage))

    @property
    def url(self) -> str:
        """URL of the audit folder."""
        return self.manifest.storage.url

    @property
    def hash(self) -> str:
        """Hash of the audit."""
        return self.record.hash

    @property
    def spec(self) -> dict[str, Any]:
        """Options of the audit as plain data."""
        return self.record.spec

    @property
    def audited_names(self) -> dict[int, str]:
        """Names of the audited classes by index, without the partners of hybrids."""
        return {class_id: self.record.class_names[class_id] for class_id in self.record.class_ids}


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two audits that can be compared.

    Attributes:
        stages: stages that both ran.
        sites: table ``sites``; the same in both, except for inert channels.
        sampled_sites: sites where awareness is sampled for lack of a closed form; None if neither the tables nor the
            options of both audits tell.
        differing: options of :data:`MAY_DIFFER` that differ, as name => (value in base, value in new).
    """

    base: Audit
    new: Audit
    stages: tuple[str, ...]
    sites: pd.DataFrame
    sampled_sites: tuple[int, ...] | None
    differing: dict[str, tuple[Any, Any]]

    @property
    def class_names(self) -> dict[int, str]:
        """Names of the audited classes by index."""
        return self.base.audited_names

    def common(self, option: str) -> list[int]:
        """Return the sizes that an option has in both audits, ascending."""
        return sorted(set(self.base.spec[option]) & set(self.new.spec[option]))

    @property
    def total_is_exact(self) -> bool | None:
        """Whether total awareness is a closed form at every site; None: unknown.

        Total awareness uses the closed form at every affine site, whether or not its rows were requested.
        """
        if not self.sampled_sites:
            return None if self.sampled_sites is None else True
        requested = all("closed_form" in audit.spec["awareness_estimators"] for audit in (self.base, self.new))
        return False if requested else None


def pair(base_folder: Folder, new_folder: Folder) -> Pair:
    """Open two audits and check that their numbers are comparable.

    Raises:
        InputError: a folder holds no audit or an unfinished one; classes, real images, evaluators, protocols, sites,
            sample sizes or estimators differ (the message lists all); or no stage ran in both.
    """
    base = Audit.open(base_folder)
    new = Audit.open(new_folder)
    _require_same(base, new)
    stages = tuple(stage for stage in STAGES if stage in base.spec["stages"] and stage in new.spec["stages"])
    if not set(stages) & set(COMPARED):
        raise InputError(
            f"base and new must both have one of {', '.join(COMPARED)}, which are compared; {base.url} has "
            f"{', '.join(base.spec['stages'])}, {new.url} has {', '.join(new.spec['stages'])}"
        )
    sites = _common_sites(base, new)
    for audit in (base, new):
        _require_finished(audit, stages, len(sites))
    sampled_sites = _sampled_sites((base, new), sites)
    _require_same_samples(base, new, sampled_sites)
    values = {name: (base.spec[name], new.spec[name]) for name in sorted(MAY_DIFFER)}
    differing = {name: both for name, both in values.items() if both[0] != both[1]}
    return Pair(base, new, stages, sites, sampled_sites, differing)


def _sampled_sites(audits: tuple[Audit, Audit], sites: pd.DataFrame) -> tuple[int, ...] | None:
    sampled_sites: set[int] = set()
    for audit in audits:
        if "awareness" in audit.spec["stages"]:
            sampled_sites |= {site for site in map(int, sites.site) if not _has_closed_form(audit, site)}
        elif "monte_carlo" in audit.spec["awareness_estimators"]:  # without it, an audit covers affine sites only
            return None
    return tuple(sorted(sampled_sites))


def _has_closed_form(audit: Audit, site: int) -> bool:
    rows = audit.manifest.rows("awareness", ["estimator"], [site], audit.spec["classes"][:1])
    return "closed_form" in rows["estimator"].to_pylist()


def _require_same_samples(base: Audit, new: Audit, sampled_sites: tuple[int, ...] | None) -> None:
    base_samples, new_samples = (audit.spec["awareness_samples"] for audit in (base, new))
    if sampled_sites and base_samples != new_samples:
        raise InputError(
            f"base and new must have the same awareness_samples, because awareness is sampled at sites "
            f"{', '.join(map(str, sampled_sites))}; got {base_samples} in base, {new_samples} in new. "
            f"Audit again with the spec of {base.url}"
        )


def _require_same(base: Audit, new: Audit) -> None:
    base_values = _fixed_values(base)
    new_values = _fixed_values(new)
    different = [
        f"{name} ({_shorten(base_values.get(name))} in base, {_shorten(new_values.get(name))} in new)"
        for name in dict.fromkeys((*base_values, *new_values))
        if base_values.get(name) != new_values.get(name)
    ]
    if different:
        raise InputError(
            "base and new must have the same inputs and options, except weights and seed; they differ in "
            f"{'; '.join(different)}. Audit again with the spec of {base.url}"
        )


def _fixed_values(audit: Audit) -> dict[str, Any]:
    """Return everything that must be the same, by the name that messages use."""
    values = {**audit.record.identity.named(), "class names": audit.audited_names}
    return {name: value for name, value in values.items() if name not in MAY_DIFFER | {"digest of generator"}}


def _shorten(value: Any) -> str:  # noqa: ANN401
    text = str(value) if isinstance(value, dict | list) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _common_sites(base: Audit, new: Audit) -> pd.DataFrame:
    base_sites = base.manifest.table("sites")
    new_sites = new.manifest.table("sites")
    for audit, sites in ((base, base_sites), (new, new_sites)):
        if sites.empty:
            raise InputError(f"{audit.url} has no tables; give the folder of a finished audit, or run it again")
    columns = ["site", "name", "channels", "resolution"]
    if not base_sites[columns].equals(new_sites[columns]):
        shapes = [
            f"{len(sites)} sites of {', '.join(map(str, sites.channels))} channels" for sites in (base_sites, new_sites)
        ]
        raise InputError(
            f"base and new must be checkpoints of one architecture; {base.url} has {shapes[0]}, {new.url} {shapes[1]}"
            + (", under other names or resolutions" if shapes[0] == shapes[1] else "")
        )
    return base_sites


def _require_finished(audit: Audit, stages: tuple[str, ...], n_sites: int) -> None:
    for stage in stages:
        total = len(audit.record.analyses[stage].class_ids) * (n_sites if STAGES[stage].by_site else 1)
        done = len(audit.manifest.covered(stage))
        if done < total:
            raise InputError(f"{audit.url} is not finished: {done} of {total} parts of {stage}; run its audit again")
