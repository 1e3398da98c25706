"""Progress of an audit, read from its folder."""

from __future__ import annotations

from collections import Counter

from cawa_core.errors import last_line
from cawa_core.storage import Folder, open_storage
from cawa_core.tables import Manifest
from cawa_core.tables.receipts import HASH_DIGITS
from workflows.folder import read_audit
from workflows.stages import STAGES


def status_lines(folder: Folder) -> list[str]:
    """Return one line per stage, and one per quarantined shard."""
    storage = open_storage(folder)
    audit = read_audit(storage)
    manifest = Manifest.read(storage)
    seconds: Counter[str] = Counter()
    for receipt in manifest.receipts.values():
        seconds[receipt.stage] += receipt.seconds  # type: ignore[assignment]
    sites = len(manifest.table("sites")) if "sites" in manifest.receipts else 0
    lines = [f"audit {audit.hash[:12]} of {audit.spec['generator']}: {len(audit.class_ids)} classes, {sites} sites"]
    for stage, analysis in audit.analyses.items():
        covered = manifest.covered(stage)
        by_site = STAGES[stage].by_site
        total = len(analysis.class_ids) * (sites if by_site else 1)
        unit = "class-site pairs" if by_site else "classes"
        lines.append(f"{stage}: {len(covered)} of {total} {unit} done, {seconds[stage]:.0f} s of work")
        if stage in audit.replacing:
            name = audit.replacing[stage].hash[:HASH_DIGITS]
            done = len(manifest.covered(stage, name)) if name in manifest.replacements else 0
            total = len(audit.replacing[stage].class_ids) * (sites if by_site else 1)
            lines.append(f"{stage}: replacement, {done} of {total} {unit} done; give --replace {stage} to resume")
    for shard, error in manifest.quarantined.items():
        lines.append(f"quarantined {shard}: {last_line(error)}")
    return lines
