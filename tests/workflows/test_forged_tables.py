"""Tables whose content was changed, and whose digests were then computed again: named if they cannot be used."""

import hashlib
import json
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cawa_core.tables.documents import sealed
from cawa_core.tables.parquet import DIGITS
from cawa_core.tables.recorded_file import LONGEST_TEXT
from tests.damaged_folders import cawa


def forge(folder, table, change):
    """Change the rows of a table's first file, and whatever records its digest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("digest")
    files = [file for shard in sorted(manifest["shards"]) for file in manifest["shards"][shard]["files"]]
    recorded = next(file for file in files if file["table"] == table)
    path = folder / recorded["file"]
    rows = change(pq.read_table(path))
    pq.write_table(rows, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    renamed = path.with_name(f"{path.name.rpartition('-')[0]}-{digest[:DIGITS]}.parquet")
    path.rename(renamed)
    recorded.update(file=renamed.relative_to(folder).as_posix(), sha256=digest, rows=len(rows))
    (folder / "manifest.json").write_bytes(sealed(manifest))
    return recorded["file"]


def with_column(name, new):
    """Return a change that computes a column from the old one."""

    def change(rows):
        return rows.set_column(rows.column_names.index(name), name, new(rows[name]))

    return change


def without_kind(rows):
    return rows.filter(pc.not_equal(rows["kind"], "reference"))


def pictures(content):
    return with_column("png", lambda old: pa.array([content] * len(old), old.type))


HUGE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\x23\xb3\x7f\xf2"
FORGED = {
    "repeated rows": ("masking", lambda rows: pa.concat_tables([rows, rows]), "rows with the class_id"),
    "three times": ("edits", lambda rows: pa.concat_tables([rows] * 3), "rows with the class_id"),
    "rows without a class": (
        "masking",
        with_column("class_id", lambda old: pa.nulls(len(old), old.type)),
        "rows without class_id",
    ),
    "text as codes": ("masking_controls", with_column("control", pc.dictionary_encode), "does not have the columns"),
    "wider numbers": ("class_metrics", with_column("class_id", lambda old: old.cast("int64")), "not have the columns"),
    "long text": (
        "masking_controls",
        with_column("protocol", lambda old: pa.array(["x" * (LONGEST_TEXT + 1)] * len(old))),
        "holds a text of 10,001 bytes",
    ),
    "text that is not UTF-8": (
        "class_metrics",
        with_column("protocol", lambda old: pa.array([b"\xff"] * len(old)).view(pa.string())),
        "Invalid UTF8",
    ),
    "no kind": ("hybrids", without_kind, "no row reference for class"),
    "no picture": ("gallery", pictures(None), "holds a picture of 0 bytes"),
    "text as picture": ("gallery", pictures(b"<svg/>"), "holds a picture of 6 bytes"),
    "picture of 3.6 gigapixels": ("gallery", pictures(HUGE), "holds a picture of 33 bytes"),
}
UNSEEN_BY_VERIFY = {"no kind", "no picture", "text as picture", "picture of 3.6 gigapixels"}
"""Their rows are as declared; what uses them says what is wrong."""


@pytest.mark.parametrize("case", FORGED)
def test_forged_tables_are_named_in_one_line(audited, tmp_path, case):
    folder = shutil.copytree(audited, tmp_path / "audit")
    table, change, message = FORGED[case]
    file = forge(folder, table, change)
    code, printed, errors = cawa("verify", folder)
    assert code == 1
    assert "Traceback" not in errors
    if case not in UNSEEN_BY_VERIFY:
        assert file in printed
        assert message in printed
    refused = []
    for command in ("aggregate", "report"):
        code, printed, errors = cawa(command, folder)
        assert "Traceback" not in errors
        assert code in (0, 2)
        refused.append(errors if code else "")
    if case in UNSEEN_BY_VERIFY:
        assert message in "".join(refused)
