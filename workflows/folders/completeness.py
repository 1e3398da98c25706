"""How many classes of a folder are complete, by its manifest and ``audit.json`` alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cawa_core.tables import Manifest
from cawa_core.tables.audit_record import AnalysisRecord, AuditRecord
from workflows.analyses import ANALYSES


def complete_classes(manifest: Manifest, stage: str, analysis: AnalysisRecord) -> set[int]:
    """Return the classes of an analysis all of whose units are recorded.

    ``audit.json`` records the number of units of all classes together. If classes have different numbers of units, a
    class counts as complete if it has as many as any other has so far.
    """
    counts: Counter[int] = Counter()
    for receipt in manifest.receipts.values():
        if receipt.stage == stage:
            counts.update(dict.fromkeys(receipt.class_ids, len(receipt.units)))
    if sum(counts.values()) >= analysis.n_units:
        return set(analysis.class_ids)
    each, remainder = divmod(analysis.n_units, len(analysis.class_ids))
    needed = max(counts.values(), default=1) if remainder else each
    return {class_id for class_id in analysis.class_ids if counts[class_id] >= needed}


def missing_classes(manifest: Manifest, record: AuditRecord) -> dict[str, Any] | None:
    """Count the complete classes, as ``summary.json`` shows them; None if all are complete.

    Analyses that are not installed here do not count, because the summary states nothing about them.

    Returns:
        ``classes_complete`` and ``classes``: classes for which every analysis that covers them is complete, and all;
        ``stages``: the same by analysis.
    """
    stages = {}
    incomplete: set[int] = set()
    for stage, analysis in _installed(record).items():
        complete = complete_classes(manifest, stage, analysis)
        incomplete |= set(analysis.class_ids) - complete
        stages[stage] = {"classes_complete": len(complete), "classes": len(analysis.class_ids)}
    if not incomplete:
        return None
    total = len(record.class_ids)
    return {"classes_complete": total - len(incomplete), "classes": total, "stages": stages}


def hide_partial_classes(manifest: Manifest, record: AuditRecord) -> None:
    """Hide the rows of classes that an analysis has not completed yet, so that no statement rests on parts of classes.

    A shard of several classes is shown if any of them is complete. If shards have failed for good, nothing is hidden:
    what is missing then will not come by itself, and may be the same part of every class.
    """
    manifest.hidden = frozenset()
    if manifest.quarantined:
        return
    complete = {stage: complete_classes(manifest, stage, analysis) for stage, analysis in _installed(record).items()}
    manifest.hidden = frozenset(
        shard
        for shard, receipt in manifest.receipts.items()
        if receipt.stage in complete and complete[receipt.stage].isdisjoint(receipt.class_ids)
    )


def _installed(record: AuditRecord) -> dict[str, AnalysisRecord]:
    return {stage: analysis for stage, analysis in record.analyses.items() if stage in ANALYSES}
