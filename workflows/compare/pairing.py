"""Two audits side by side, if they can be compared."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from cawa_core.audit_record import AuditRecord
from cawa_core.errors import InputError
from cawa_core.specs import OPTIONS
from cawa_core.storage import Folder
from cawa_core.tables import Manifest
from workflows.folder import opened_audit, read_audit
from workflows.stages import STAGES

COMPARED = ("awareness", "masking", "class_metrics")
"""Stages whose results are compared; pictures and applications are not."""
OF_OTHERS = frozenset(name for stage in OPTIONS if stage not in COMPARED for name in OPTIONS[stage])
OF_COMPARED = frozenset(name for stage in COMPARED for name in OPTIONS[stage])
MAY_DIFFER = (OF_OTHERS - OF_COMPARED) | frozenset(
    (
        "generator",  # its name: whether the architecture is the same, the sites say
        "seed",
        "stages",  # what both have is compared
        "awareness_samples",  # compared is the closed form; where there is none, they must be the same
        "control_latents",
        "control_fraction",
        "control_repeats",
        "permutations",
        "bootstraps",
        "overlap_k",  # sizes that both have are compared
        "shared_k",
    )
)
"""Options that may differ: they change no compared number but by noise of which the comparison knows."""


@dataclasses.dataclass(frozen=True)
class Audited:
    """One of the two: its description and its finished shards."""

    audit: AuditRecord
    manifest: Manifest

    @classmethod
    def open(cls, folder: Folder) -> Audited:
        """An audit folder.

        Raises:
            InputError: it holds none, or is damaged.
        """
        storage = opened_audit(folder)
        return cls(read_audit(storage), Manifest.read(storage))

    @property
    def url(self) -> str:
        """Where it is."""
        return self.manifest.storage.url

    @property
    def hash(self) -> str:
        """The name of the audit."""
        return self.audit.hash

    @property
    def spec(self) -> dict[str, Any]:
        """Its options as plain data."""
        return self.audit.spec

    @property
    def audited_names(self) -> dict[int, str]:
        """Names of the audited classes by index; others may stand beside them, as partners of hybrids."""
        return {class_id: self.audit.class_names[class_id] for class_id in self.audit.class_ids}


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two audits that can be compared.

    Attributes:
        stages: those that both ran.
        sites: table ``sites``, but for inert channels the same in both.
        sampled_sites: sites without closed-form awareness in either, where it is sampled; None where neither tables nor
            options of both tell.
        differing: options of :data:`MAY_DIFFER` that do differ: name => value in base, in new.
    """

    base: Audited
    new: Audited
    stages: tuple[str, ...]
    sites: pd.DataFrame
    sampled_sites: tuple[int, ...] | None
    differing: dict[str, tuple[Any, Any]]

    @property
    def class_names(self) -> dict[int, str]:
        """Names of the audited classes by index."""
        return self.base.audited_names

    def common(self, option: str) -> list[int]:
        """Sizes that an option has in both, ascending."""
        return sorted(set(self.base.spec[option]) & set(self.new.spec[option]))

    @property
    def total_is_exact(self) -> bool | None:
        """Whether total awareness is a closed form at every site; None: not known.

        It takes the closed form wherever a site is affine, be its rows asked for or not.
        """
        if not self.sampled_sites:
            return None if self.sampled_sites is None else True
        asked = all("closed_form" in one.spec["awareness_estimators"] for one in (self.base, self.new))
        return False if asked else None


def pair(base: Folder, new: Folder) -> Pair:
    """Open two audits and make sure that the difference of their numbers means something.

    Raises:
        InputError: a folder holds no audit or an unfinished one; classes, real images, evaluators, protocols, sites,
            sample sizes or estimators differ (all named); or no stage ran in both.
    """
    one, other = Audited.open(base), Audited.open(new)
    _require_same(one, other)
    stages = tuple(stage for stage in STAGES if stage in one.spec["stages"] and stage in other.spec["stages"])
    if not set(stages) & set(COMPARED):
        raise InputError(
            f"base and new must both have one of {', '.join(COMPARED)}, which are compared; {one.url} has "
            f"{', '.join(one.spec['stages'])}, {other.url} has {', '.join(other.spec['stages'])}"
        )
    sites = _common_sites(one, other)
    for audited in (one, other):
        _require_finished(audited, stages, len(sites))
    sampled = _sampled_sites((one, other), sites)
    _require_same_samples(one, other, sampled)
    ours, theirs = one.spec, other.spec
    differing = {name: (ours[name], theirs[name]) for name in sorted(MAY_DIFFER) if ours[name] != theirs[name]}
    return Pair(one, other, stages, sites, sampled, differing)


def _sampled_sites(both: tuple[Audited, Audited], sites: pd.DataFrame) -> tuple[int, ...] | None:
    found: set[int] = set()
    for one in both:
        if "awareness" in one.spec["stages"]:
            found |= {site for site in map(int, sites.site) if not _has_closed_form(one, site)}
        elif "monte_carlo" in one.spec["awareness_estimators"]:  # without it, an audit takes affine sites alone
            return None
    return tuple(sorted(found))


def _has_closed_form(one: Audited, site: int) -> bool:
    rows = one.manifest.rows("awareness", ["estimator"], [site], one.spec["classes"][:1])
    return "closed_form" in rows["estimator"].to_pylist()


def _require_same_samples(base: Audited, new: Audited, sampled: tuple[int, ...] | None) -> None:
    ours, theirs = (one.spec["awareness_samples"] for one in (base, new))
    if sampled and ours != theirs:
        raise InputError(
            f"base and new must have the same awareness_samples, as awareness is sampled at sites "
            f"{', '.join(map(str, sampled))}; got {ours} in base, {theirs} in new. "
            f"Audit again with the spec of {base.url}"
        )


def _require_same(base: Audited, new: Audited) -> None:
    ours, theirs = _fixed(base), _fixed(new)
    different = [
        f"{name} ({_short(ours.get(name))} in base, {_short(theirs.get(name))} in new)"
        for name in dict.fromkeys((*ours, *theirs))
        if ours.get(name) != theirs.get(name)
    ]
    if different:
        raise InputError(
            f"base and new must be audited alike, weights and seed apart; they differ in {'; '.join(different)}. "
            f"Audit again with the spec of {base.url}"
        )


def _fixed(audited: Audited) -> dict[str, Any]:
    """Everything that must be the same, under the name a message gives it."""
    named = {**audited.audit.identity.named(), "class names": audited.audited_names}
    return {name: value for name, value in named.items() if name not in MAY_DIFFER | {"digest of generator"}}


def _short(value: Any) -> str:  # noqa: ANN401
    text = str(value) if isinstance(value, dict | list) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _common_sites(base: Audited, new: Audited) -> pd.DataFrame:
    ours, theirs = base.manifest.table("sites"), new.manifest.table("sites")
    for audited, sites in ((base, ours), (new, theirs)):
        if sites.empty:
            raise InputError(f"{audited.url} has no tables; give the folder of a finished audit, or run it again")
    columns = ["site", "name", "channels", "resolution"]
    if not ours[columns].equals(theirs[columns]):
        shapes = [f"{len(one)} sites of {', '.join(map(str, one.channels))} channels" for one in (ours, theirs)]
        raise InputError(
            f"base and new must be checkpoints of one architecture; {base.url} has {shapes[0]}, {new.url} {shapes[1]}"
            + (", under other names or resolutions" if shapes[0] == shapes[1] else "")
        )
    return ours


def _require_finished(audited: Audited, stages: tuple[str, ...], n_sites: int) -> None:
    for stage in stages:
        wanted = len(audited.audit.analyses[stage].class_ids) * (n_sites if STAGES[stage].by_site else 1)
        found = len(audited.manifest.covered(stage))
        if found < wanted:
            raise InputError(
                f"{audited.url} is not finished: {found} of {wanted} parts of {stage}; run its audit again"
            )
