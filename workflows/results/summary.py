"""``summary.json``: the figures for scripts, dashboards and the head of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pandas as pd
from pydantic import ConfigDict
from typing_extensions import TypedDict

from cawa_core.errors import InputError
from cawa_core.rendering.claims import NOTE
from cawa_core.storage import Storage
from cawa_core.storage.plain_data import plain
from cawa_core.tables import Manifest
from cawa_core.tables.audit_record import AuditRecord
from cawa_core.tables.documents import Index, Seconds, is_as_written, parsed
from cawa_core.tables.receipts import SUMMARY
from workflows.analyses import ANALYSES
from workflows.folders.completeness import missing_classes
from workflows.interface import Findings, Results
from workflows.options.audit import AuditSpec
from workflows.results.class_resamples import ClassResamples


class Finding(TypedDict):
    """A claim in ``summary.json``."""

    claim: str
    verdict: str
    evidence: str
    source: str


class ClassProgress(TypedDict):
    """How many of the classes are complete."""

    classes_complete: Index
    classes: Index


class AuditProgress(ClassProgress):
    """How many of the classes are complete in all analyses, and in each."""

    stages: dict[str, ClassProgress]


class SummaryContent(TypedDict):
    """Entries of ``summary.json`` that do not depend on which analyses there are."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    digest: str
    audit: str
    generator: str
    classes: list[Index]
    class_names: dict[str, str]
    quarantined: list[str]
    incomplete: AuditProgress | None
    seconds: dict[str, Seconds]
    findings: list[Finding]
    cawa: str
    tables_digest: str
    options_digest: str


def read_summary(storage: Storage) -> dict[str, Any]:
    """Read ``summary.json``.

    Raises:
        InputError: there is none, it is no summary, or it was changed after it was written.
    """
    fix = f"run `cawa aggregate {storage.url}`, which writes it from the tables"
    try:
        content = storage.read(SUMMARY)
        summary = cast(dict[str, Any], parsed(SummaryContent, content))
    except FileNotFoundError:
        raise InputError(f"{storage.url} has no {SUMMARY} yet; {fix}") from None
    except ValueError as error:
        raise InputError(f"{storage.path(SUMMARY)} is not a summary: {error}; {fix}") from None
    if not is_as_written(content, summary["digest"]):
        raise InputError(f"{storage.path(SUMMARY)} was changed after cawa wrote it; {fix}")
    return summary


def summarise(manifest: Manifest, audit: AuditRecord, spec: AuditSpec) -> dict[str, Any]:
    """Compute the entries of every analysis; those that the recorded tables do not allow are null.

    Raises:
        InputError: two analyses have entries of one name.
    """
    results = {name: analysis.make_results() for name, analysis in ANALYSES.items()}
    facts = {
        "audit": audit.hash,
        "generator": spec.generator,
        "classes": list(spec.classes),
        "class_names": audit.class_names,
        "quarantined": sorted(manifest.quarantined),
        "incomplete": missing_classes(manifest, audit),
        "seconds": _seconds_by_stage(manifest),
    }
    entries = _entries(results, Findings(manifest, spec, ClassResamples(spec.seed, spec.bootstraps)))
    summary: dict[str, Any] = plain(
        joined([("every summary", {"findings": [], "warnings": [], **facts}), *entries], "summary.json")
    )
    warnings = [warning for part in results.values() for warning in part.warnings(summary)]
    claims = [claim for part in results.values() for claim in part.claims(summary)]
    claims.sort(key=lambda claim: claim.verdict == NOTE)
    interim = {"interim": True} if summary["incomplete"] else {}
    findings = [dataclasses.asdict(claim) | interim for claim in claims]
    return summary | {"warnings": warnings, "findings": findings}


def _entries(results: Mapping[str, Results[Any]], findings: Findings) -> list[tuple[str, Mapping[str, Any]]]:
    """Compute the entries of each analysis; some mostly read and others mostly compute, so two run at a time."""
    with ThreadPoolExecutor(2) as pool:
        parts = pool.map(lambda part: part.summary(findings), results.values())
        return list(zip(results, parts, strict=True))


def _seconds_by_stage(manifest: Manifest) -> dict[str, float]:
    """Sum the seconds of each analysis; the derived ones, which aggregation repeats, would differ each time."""
    receipts = [receipt for receipt in manifest.receipts.values() if not receipt.is_derived]
    seconds = pd.Series([receipt.seconds for receipt in receipts], dtype=float)
    by_stage = seconds.groupby([receipt.stage for receipt in receipts]).sum().round(1)
    return {str(stage): float(total) for stage, total in by_stage.items()}


def joined(parts: Iterable[tuple[str, Mapping[str, Any]]], whole: str) -> dict[str, Any]:
    """Join what several analyses contribute to one mapping.

    Args:
        parts: names of the analyses, and their entries.
        whole: what the mapping is called in messages.

    Raises:
        InputError: two contribute entries of one name.
    """
    entries: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for owner, part in parts:
        for name in part:
            if owners.setdefault(name, owner) != owner:
                raise InputError(
                    f"entry {name!r} of {whole} belongs to {owners[name]} and to {owner}; rename one, or uninstall its "
                    "package"
                )
        entries |= part
    return entries
