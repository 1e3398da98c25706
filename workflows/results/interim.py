"""Interim results of an audit that is being computed: its summary and report so far.

The driver owns the folder and its manifest. An interim report only reads them: it derives tables in a temporary folder
and then writes ``summary.json``, ``report.html`` and ``figures/``, each whole. When the driver has finished, it writes
the same files from everything.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

from cawa_core.storage import Folder, LocalStorage, Storage, open_storage
from cawa_core.storage.overlay import Overlay
from cawa_core.tables import Manifest
from cawa_core.tables.receipts import FIGURES_FOLDER, REPORT, SUMMARY
from cawa_core.tables.recorded_file import MissingTableFileError
from workflows.folders.completeness import missing_classes
from workflows.folders.folder import read_audit
from workflows.results import aggregate, is_current
from workflows.results.report import write_report

ATTEMPTS = 3
"""Attempts to read the folder, whose driver may remove files that it replaces."""
NICENESS = 10
"""An interim report gives way to the audit."""


def write_interim(folder: Folder, page: bool = True) -> str:
    """Write the summary, and the report if wanted, of the classes that are complete so far.

    Args:
        folder: audit folder, which another process may be writing.
        page: whether to write the report, too.

    Returns:
        What was written, in words.

    Raises:
        InputError: the folder holds no audit, or a recorded file is damaged.
    """
    storage = open_storage(folder)
    for attempt in range(1, ATTEMPTS + 1):
        with tempfile.TemporaryDirectory(prefix="cawa-") as temporary:
            changes = LocalStorage(Path(temporary))
            try:
                words = _aggregate(Overlay(storage, changes), page)
            except MissingTableFileError:
                if attempt == ATTEMPTS:
                    raise
                continue
            if _is_finished(storage):
                return "the audit has ended in the meantime; its summary is complete"
            _publish(changes, storage)
            return words
    raise AssertionError("unreachable")


def _aggregate(overlay: Overlay, page: bool) -> str:
    record = read_audit(overlay)
    manifest = Manifest.read(overlay)
    aggregate(manifest)
    if page:
        write_report(manifest)
    missing = missing_classes(manifest, record)
    if missing is None:
        return "interim: all classes complete"
    return f"interim: {missing['classes_complete']:,} of {missing['classes']:,} classes complete"


def _is_finished(storage: Storage) -> bool:
    """Return whether the driver has written the summary of the complete audit."""
    manifest = Manifest.read(storage)
    return missing_classes(manifest, read_audit(storage)) is None and is_current(manifest)


def _publish(changes: LocalStorage, storage: Storage) -> None:
    """Copy the summary, the report and its figures to the folder; the derived tables are the driver's to write."""
    for name in changes.names():
        if name in (SUMMARY, REPORT) or name.startswith(f"{FIGURES_FOLDER}/"):
            storage.write(name, changes.read(name))


def main() -> None:
    """Write an interim report of the folder that the command line names, and say how far it is."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave no temporary file behind
    os.nice(NICENESS)
    print(write_interim(sys.argv[1]))


if __name__ == "__main__":
    main()
