"""``report.html`` and ``figures/`` of an audit folder, from its tables and ``summary.json``."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow.compute as pc

from cawa_core.errors import InputError
from cawa_core.rendering.report import build_report, summary_digest
from cawa_core.rendering.sections.base import shown
from cawa_core.rendering.sections.masking import curve_pairs
from cawa_core.storage import Storage
from cawa_core.table_schema import ALL_SITES, TABLES
from cawa_core.tables import Manifest
from workflows.folder import REPORT, SUMMARY, read_audit

PICTURED = ("gallery", "segmentation", "hybrids", "edits")
"""Tables with pictures."""
LARGE = ("awareness", "masking", "class_overlap", *PICTURED)
"""Tables that grow with channels, pairs of classes or pictures; the report reads only the rows it shows."""


def report_shows(storage: Storage) -> bool:
    """Return whether the page in the folder was made from the summary in the folder."""
    try:
        page = storage.read(REPORT)
        summary = storage.read(SUMMARY)
    except FileNotFoundError:
        return False
    return summary_digest(json.loads(summary)).encode() in page[:2000]


def write_report(manifest: Manifest) -> None:
    """Rewrite the page and its figures.

    Raises:
        InputError: the folder has no summary yet.
    """
    storage = manifest.storage
    try:
        summary = json.loads(storage.read(SUMMARY))
    except FileNotFoundError:
        raise InputError(f"{storage.url} has no {SUMMARY} yet; run `cawa aggregate {storage.url}` first") from None
    report = build_report(shown_tables(manifest), summary, read_audit(storage))
    for picture in report.pictures:
        storage.write(f"figures/{picture.name}.svg", picture.svg.encode())
        storage.write(f"figures/{picture.name}.png", picture.png)
    storage.write(REPORT, report.html.encode())


def shown_tables(manifest: Manifest) -> dict[str, pd.DataFrame]:
    """Read every table; of the large ones, only the rows that the report shows."""
    tables = {name: manifest.table(name) for name in TABLES if name not in LARGE}
    pairs = curve_pairs(tables["masking_correlation"])
    for name in ("awareness", "masking"):
        tables[name] = rows_of_pairs(manifest, name, pairs)
    pictured = {name: of_shown_classes(manifest, name) for name in PICTURED}
    return tables | {"class_overlap": overall_overlap(manifest)} | pictured


def rows_of_pairs(manifest: Manifest, name: str, pairs: list[tuple[int, int]]) -> pd.DataFrame:
    """Read a table's rows of some (class, site) pairs."""
    parts = [manifest.rows(name, sites=[site], class_ids=[class_id]).to_pandas() for class_id, site in pairs]
    empty = TABLES[name].schema.empty_table().to_pandas()
    rows: pd.DataFrame = pd.concat(parts, ignore_index=True) if parts else empty
    return rows


def overall_overlap(manifest: Manifest) -> pd.DataFrame:
    """Read the overlaps of the largest top sets over all sites."""
    everywhere = manifest.rows("class_overlap", sites=[ALL_SITES], text_as_codes=["criterion"])
    largest = pc.max(everywhere["k"])
    frame: pd.DataFrame = everywhere.filter(pc.equal(everywhere["k"], largest)).to_pandas()
    return frame.sort_values(["criterion", "class_a", "class_b"], ignore_index=True)


def of_shown_classes(manifest: Manifest, name: str) -> pd.DataFrame:
    """Read a table's rows of the classes that the report shows."""
    ids = manifest.class_ids(name)
    if not ids:
        return manifest.table(name)
    frame: pd.DataFrame = manifest.rows(name, class_ids=shown(ids)).to_pandas()
    return frame.sort_values(list(TABLES[name].key), ignore_index=True)
