"""``report.html`` and ``figures/`` of an audit folder, from its tables and ``summary.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cawa_core.errors import InputError
from cawa_core.rendering.report import build_report, summary_digest
from cawa_core.schemas import TABLES
from cawa_core.tables import Manifest, write_atomically
from workflows.folder import read_audit


def report_shows(folder: Path, summary: Mapping[str, Any]) -> bool:
    """Whether the page on disk was made from this summary."""
    page = folder / "report.html"
    return page.exists() and summary_digest(summary) in page.read_text()[:2000]


def write_report(folder: Path, manifest: Manifest) -> None:
    """Render the page and its figures anew.

    Raises:
        InputError: the folder has no summary yet.
    """
    if not (folder / "summary.json").exists():
        raise InputError(f"{folder} has no summary.json yet; run `cawa aggregate {folder}` first")
    summary = json.loads((folder / "summary.json").read_text())
    tables = {name: manifest.table(name) for name in TABLES}
    report = build_report(tables, summary, read_audit(folder))
    for picture in report.pictures:
        write_atomically(folder / "figures" / f"{picture.name}.svg", picture.svg.encode())
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
    write_atomically(folder / "report.html", report.html.encode())
