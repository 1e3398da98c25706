"""Progress of an audit, read from its folder."""

from __future__ import annotations

from collections import Counter

from cawa_core.errors import counted, last_line
from cawa_core.storage import Folder, open_storage
from cawa_core.tables import Manifest
from cawa_core.tables.receipts import HASH_DIGITS
from workflows.folders.folder import read_audit


def status_lines(folder: Folder) -> list[str]:
    """Return one line per analysis, and one per quarantined shard."""
    storage = open_storage(folder)
    audit = read_audit(storage)
    manifest = Manifest.read(storage)
    seconds: Counter[str] = Counter()
    for receipt in manifest.receipts.values():
        seconds[receipt.stage] += receipt.seconds  # type: ignore[assignment]
    sites = len(manifest.table("sites")) if "sites" in manifest.receipts else 0
    classes = counted(len(audit.class_ids), "class")
    generator = audit.spec["generator"]
    lines = [f"audit {audit.hash[:12]} of {generator}: {classes}, {counted(sites, 'site')}"]
    for stage, analysis in audit.analyses.items():
        done = len(manifest.covered(stage))
        lines.append(f"{stage}: {done} of {analysis.n_units} {analysis.unit} done, {seconds[stage]:.0f} s of work")
        if stage in audit.replacing:
            replacing = audit.replacing[stage]
            name = replacing.hash[:HASH_DIGITS]
            done = len(manifest.covered(stage, name)) if name in manifest.replacements else 0
            lines.append(
                f"{stage}: replacement, {done} of {replacing.n_units} {replacing.unit} done; give --replace {stage} "
                "to resume"
            )
    for shard, error in manifest.quarantined.items():
        lines.append(f"quarantined {shard}: {last_line(error)}")
    return lines
