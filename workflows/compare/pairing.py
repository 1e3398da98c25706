"""Pairs of audits that can be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cawa_core.errors import InputError, bounded, listed
from cawa_core.storage import Folder
from cawa_core.tables import Manifest
from cawa_core.tables.audit_record import AuditRecord
from cawa_core.tables.schema import SITES_TABLE
from workflows.analyses import ANALYSES
from workflows.folders.folder import opened_audit, read_audit
from workflows.interface import Analysis
from workflows.options.lab import SUBJECT

FREE = ("generator", "seed")
"""Parts of a folder's subject that may differ. Of the generator this is the name only: the sites show whether the
architecture is the same."""


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
        """Names of the audited classes by index, without others that the record names."""
        return {class_id: self.record.class_names[class_id] for class_id in self.record.class_ids}

    def has(self, analysis: Analysis) -> bool:
        """Return whether the audit has an analysis; it has a derived one if it has all that this is derived from."""
        if analysis.is_derived:
            return all(name in ANALYSES and self.has(ANALYSES[name]) for name in analysis.after)
        return analysis.name in self.record.analyses

    def option(self, analysis: Analysis, name: str) -> Any:  # noqa: ANN401
        """Return the value of an option that the results of an analysis were computed with."""
        record = self.record.analyses.get(analysis.name)
        return record.options.get(name, self.spec.get(name)) if record else self.spec.get(name)

    def finished(self, analysis: Analysis) -> tuple[int, int]:
        """Return how many units of an analysis are finished, and how many there are.

        An earlier version did not record how many there are: at least one per class is then needed.
        """
        record = self.record.analyses[analysis.name]
        classes = set(record.class_ids)
        units = {unit for unit in self.manifest.covered(analysis.name) if unit[0] in classes}
        if record.n_units:
            return len(units), record.n_units
        return len({class_id for class_id, *_ in units}), len(classes)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two audits that can be compared.

    Attributes:
        analyses: analyses that are compared, in order: those in both that have a comparison.
        not_compared: why each other analysis that either audit has is not compared, by name.
        sites: table ``sites``; the same in both, except for inert channels.
        differing: options that may differ and do, as name => (value in base, value in new).
    """

    base: Audit
    new: Audit
    analyses: tuple[Analysis, ...]
    not_compared: dict[str, str]
    sites: pd.DataFrame
    differing: dict[str, tuple[Any, Any]]

    @property
    def class_names(self) -> dict[int, str]:
        """Names of the audited classes by index."""
        return self.base.audited_names

    @property
    def all_names(self) -> dict[int, str]:
        """Names of all classes that either audit names by index, also of those that were not audited."""
        return {**self.new.record.class_names, **self.base.record.class_names}

    def has(self, analysis: Analysis) -> bool:
        """Return whether both audits have an analysis."""
        return self.base.has(analysis) and self.new.has(analysis)

    def common(self, option: str) -> list[int]:
        """Return the sizes that an option has in both audits, ascending."""
        return sorted(set(self.base.spec.get(option, ())) & set(self.new.spec.get(option, ())))

    def tables(self, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return all rows of a table in base and in new."""
        return self.base.manifest.table(name), self.new.manifest.table(name)


def pair(base_folder: Folder, new_folder: Folder) -> Pair:
    """Open two audits and check that their numbers are comparable.

    Raises:
        InputError: a folder holds no audit or an unfinished one; classes, real images, networks, protocols, sites, or
            options of what is compared differ (the message lists all); or both have nothing that is compared.
    """
    base = Audit.open(base_folder)
    new = Audit.open(new_folder)
    analyses = tuple(
        analysis for analysis in ANALYSES.values() if analysis.comparison and base.has(analysis) and new.has(analysis)
    )
    same = _require_same(base, new, analyses)
    if not analyses:
        compared = [name for name in ANALYSES.computed if ANALYSES[name].comparison]
        raise InputError(
            f"base and new must both have one of {', '.join(compared)}, which are compared; {base.url} has "
            f"{listed(base.record.analyses)}, {new.url} has {listed(new.record.analyses)}"
        )
    sites = _common_sites(base, new)
    for audit in (base, new):
        _require_finished(audit, analyses)
    differing = {
        name: (base.spec.get(name), new.spec.get(name))
        for name in sorted({*base.spec, *new.spec} - {*same})
        if base.spec.get(name) != new.spec.get(name)
    }
    return Pair(base, new, analyses, _reasons(base, new), sites, differing)


def _reasons(base: Audit, new: Audit) -> dict[str, str]:
    """Say why analyses that either audit has are not compared."""
    reasons = {}
    for analysis in ANALYSES.values():
        present = [audit.has(analysis) for audit in (base, new)]
        if any(present) and analysis.not_compared:
            reasons[analysis.name] = analysis.not_compared
        elif any(present) and not all(present):
            reasons[analysis.name] = f"only {'base' if present[0] else 'new'} has it"
    unknown = [name for audit in (base, new) for name in audit.record.analyses if name not in ANALYSES]
    return reasons | dict.fromkeys(unknown, "it is not installed here")


def _fixed_values(audit: Audit, analyses: Sequence[Analysis]) -> dict[str, Any]:
    """Return everything that must be the same in both audits, by the name that messages use.

    These are the classes and the subject of the folder, and the networks, real images and options of what is compared
    and of what that is derived from.
    """
    record = audit.record
    values: dict[str, Any] = {"schema version": record.identity.schema_version}
    values |= {name: audit.spec.get(name) for name in (*SUBJECT, "classes") if name not in FREE}
    relevant = _with_sources(analyses)
    for analysis in relevant:
        for name in analysis.option_names:
            if name not in analysis.may_differ:
                value = audit.option(analysis, name)
                is_distinct = values.setdefault(name, value) != value
                values |= {f"{name} of {analysis.name}": value} if is_distinct else {}
    for role in dict.fromkeys(
        role
        for analysis in relevant
        for role in (*analysis.needs, *analysis.uses, *analysis.shows)
        if role not in analysis.may_differ
    ):
        values[role] = audit.spec.get(role)
        values[f"digest of {role}"] = record.identity.digests.get(role)
        values[f"protocol of {role}"] = record.identity.protocols.get(role)
    return values | {"class names": audit.audited_names}


def _with_sources(analyses: Sequence[Analysis]) -> list[Analysis]:
    """Add the analyses whose results some analyses read, directly or not, in order."""
    names: set[str] = set()
    pending = list(analyses)
    while pending:
        analysis = pending.pop()
        if analysis.name not in names:
            names.add(analysis.name)
            pending += [ANALYSES[name] for name in analysis.after if name in ANALYSES]
    return [analysis for analysis in ANALYSES.values() if analysis.name in names]


def _require_same(base: Audit, new: Audit, analyses: Sequence[Analysis]) -> list[str]:
    """Return the names of what must be the same in both audits, and is."""
    base_values = _fixed_values(base, analyses)
    new_values = _fixed_values(new, analyses)
    if base_values["classes"] == new_values["classes"]:
        base_values |= _classes_of(base, analyses)
        new_values |= _classes_of(new, analyses)
    names = list(dict.fromkeys((*base_values, *new_values)))
    different = [
        f"{name} ({bounded(base_values.get(name))} in base, {bounded(new_values.get(name))} in new)"
        for name in names
        if base_values.get(name) != new_values.get(name)
    ]
    if different:
        raise InputError(
            "base and new must have the same inputs and options, except weights and seed; they differ in "
            f"{listed(different, separator='; ')}. Audit again with the spec of {base.url}"
        )
    return names


def _classes_of(audit: Audit, analyses: Sequence[Analysis]) -> dict[str, list[int]]:
    """Return the classes that each analysis has, of those of the audit."""
    records = audit.record.analyses
    return {
        f"classes of {analysis.name}": sorted(records[analysis.name].class_ids)
        for analysis in analyses
        if analysis.name in records
    }


def _common_sites(base: Audit, new: Audit) -> pd.DataFrame:
    base_sites = base.manifest.table(SITES_TABLE.name)
    new_sites = new.manifest.table(SITES_TABLE.name)
    for audit, sites in ((base, base_sites), (new, new_sites)):
        if sites.empty:
            raise InputError(f"{audit.url} has no tables; give the folder of a finished audit, or run it again")
    columns = ["site", "name", "channels", "resolution"]
    if not base_sites[columns].equals(new_sites[columns]):
        shapes = [f"{len(sites)} sites of {listed(sites.channels)} channels" for sites in (base_sites, new_sites)]
        raise InputError(
            f"base and new must be checkpoints of one architecture; {base.url} has {shapes[0]}, {new.url} {shapes[1]}"
            + (", under other names or resolutions" if shapes[0] == shapes[1] else "")
        )
    return base_sites


def _require_finished(audit: Audit, analyses: Sequence[Analysis]) -> None:
    for analysis in analyses:
        if analysis.is_derived:
            continue
        done, total = audit.finished(analysis)
        if done < total:
            raise InputError(
                f"{audit.url} is not finished: {done} of {total} parts of {analysis.name}; run its audit again"
            )
