"""``summary.json``: the figures for scripts, dashboards and the head of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd

from cawa_core.errors import InputError
from cawa_core.rendering.claims import NOTE
from cawa_core.storage.plain_data import plain
from cawa_core.tables import Manifest
from cawa_core.tables.audit_record import AuditRecord
from workflows.analyses import ANALYSES
from workflows.folders.completeness import missing_classes
from workflows.interface import Findings, Results
from workflows.options.audit import AuditSpec
from workflows.results.class_resamples import ClassResamples


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
    summary: dict[str, Any] = plain(joined([("every summary", {"findings": [], **facts}), *entries], "summary.json"))
    claims = [claim for part in results.values() for claim in part.claims(summary)]
    claims.sort(key=lambda claim: claim.verdict == NOTE)
    interim = {"interim": True} if summary["incomplete"] else {}
    return summary | {"findings": [dataclasses.asdict(claim) | interim for claim in claims]}


def _entries(results: Mapping[str, Results[Any]], findings: Findings) -> list[tuple[str, Mapping[str, Any]]]:
    """Compute the entries of each analysis; some mostly read and others mostly compute, so two run at a time."""
    with ThreadPoolExecutor(2) as pool:
        parts = pool.map(lambda part: part.summary(findings), results.values())
        return list(zip(results, parts, strict=True))


def _seconds_by_stage(manifest: Manifest) -> dict[str, float]:
    seconds = pd.Series([receipt.seconds for receipt in manifest.receipts.values()], dtype=float)
    by_stage = seconds.groupby([receipt.stage for receipt in manifest.receipts.values()]).sum().round(1)
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
