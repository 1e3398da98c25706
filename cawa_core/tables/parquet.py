"""Parquet files of a table, written with its fixed schema."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ConfigDict

from cawa_core.digests import digest_of_bytes
from cawa_core.storage import Folder, open_storage
from cawa_core.storage.names import require_inside
from cawa_core.tables.documents import Index, PlainPath, Sha256
from cawa_core.tables.schema import table_named

Rows = Mapping[str, Sequence[Any] | NDArray[Any] | pa.Array]
"""Columns of a table by name."""

TABLES_FOLDER, FILES_FOLDER = "tables", "files"
PUBLISHED_FOLDERS = (TABLES_FOLDER, FILES_FOLDER)
"""Folders of the tables, and of the other files, that shards publish."""
FILE_NAME = "[A-Za-z0-9_][A-Za-z0-9_.]*"
"""Regular expression of the names that files besides tables may have."""
DIGITS = 8
"""Digits of a file's digest in its name."""

AUDIT = b"cawa.audit"
"""Key of the metadata entry that holds the hash of the audit that a file belongs to."""


COVERAGE = b"cawa.coverage"
"""Key of the metadata entry that says which shard a file is of, and what the shard covers."""


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A file of a shard: its path inside the folder, its digest and, if it is Parquet, its table and number of rows."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    table: str
    file: PlainPath
    rows: Index
    sha256: Sha256


def require_place(published: PublishedFile) -> PublishedFile:
    """Check that a file that a manifest names is where files of its kind are, and return it.

    Raises:
        ValueError: a table is not below the folder of its table, or another file is not below that of files.
    """
    require_inside(published.file, _table_folder(published.table) if published.table else FILES_FOLDER)
    return published


def rows_of(name: str, records: Sequence[Mapping[str, Any]]) -> Rows:
    """Return the columns of a table from one mapping per row; columns are empty if there are no rows."""
    return {column: [record[column] for record in records] for column in table_named(name).columns}


def to_arrow(name: str, rows: Rows, schema: pa.Schema | None = None) -> pa.Table:
    """Convert rows of a table to Arrow with its fixed schema, or with one that has text as codes.

    Raises:
        ValueError: the columns are not those of the schema.
    """
    schema = schema or table_named(name).schema
    if set(rows) != set(schema.names):
        difference = sorted(set(rows) ^ set(schema.names))
        raise ValueError(f"rows of {name} must have the columns of its schema; they differ in {', '.join(difference)}")
    return pa.Table.from_arrays([_column(rows[field.name], field.type) for field in schema], schema=schema)


def _column(values: Any, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:  # noqa: ANN401
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    return pa.array(values, type=kind, from_pandas=True)


def _with_audit(schema: pa.Schema, audit: str, coverage: Mapping[str, Any] | None = None) -> pa.Schema:
    metadata = {AUDIT: audit.encode()}
    if coverage is not None:
        metadata[COVERAGE] = json.dumps(coverage, sort_keys=True).encode()
    return schema.with_metadata(metadata)


def to_parquet(name: str, rows: Rows, audit: str, coverage: Mapping[str, Any] | None = None) -> bytes:
    """Serialise rows of a table; the same rows of the same audit and shard give the same bytes.

    Raises:
        ValueError: the columns are not those of the schema.
    """
    buffer = io.BytesIO()
    table = to_arrow(name, rows, _with_audit(table_named(name).schema, audit, coverage))
    # Floating-point values rarely repeat, so a dictionary of them would only cost time and space.
    dictionary_columns = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    pq.write_table(table, buffer, compression="zstd", use_dictionary=dictionary_columns)
    return buffer.getvalue()


def publish(
    folder: Folder, shard: str, tables: Mapping[str, Rows], audit: str, coverage: Mapping[str, Any] | None = None
) -> tuple[PublishedFile, ...]:
    """Write each table of a shard to one file under ``tables``.

    A file's name ends with the first digits of its digest, so writing a shard again never changes a published file.

    Args:
        folder: audit folder.
        shard: name of the shard.
        tables: rows by table.
        audit: hash of the audit that the rows belong to.
        coverage: what the shard covers (:class:`~cawa_core.tables.receipts.Coverage`), for a lost manifest; tables
            that are derived from others are computed again instead.
    """
    storage = open_storage(folder)
    published = []
    for name, rows in tables.items():
        content = to_parquet(name, rows, audit, coverage)
        sha256 = digest_of_bytes(content)
        file = f"{_table_folder(name)}/{_file_name(shard, sha256)}"
        storage.write(file, content)
        published.append(PublishedFile(name, file, len(next(iter(rows.values()))), sha256))
    return tuple(published)


def publish_files(folder: Folder, shard: str, analysis: str, files: Mapping[str, bytes]) -> tuple[PublishedFile, ...]:
    """Write each file of a shard under ``files``, with the shard and a digest in its name.

    Args:
        folder: audit folder.
        shard: name of the shard.
        analysis: name of the analysis, and of the folder below ``files``.
        files: contents by name: letters, digits, underscores and dots.

    Raises:
        ValueError: a name has other characters.
    """
    storage = open_storage(folder)
    published = []
    for name, content in files.items():
        if not re.fullmatch(FILE_NAME, name):
            raise ValueError(f"name of a file must consist of letters, digits, underscores and dots; got {name!r}")
        sha256 = digest_of_bytes(content)
        file = f"{FILES_FOLDER}/{analysis}/part-{shard}-{sha256[:DIGITS]}.{name}"
        storage.write(file, content)
        published.append(PublishedFile("", file, 0, sha256))
    return tuple(published)


def name_of_file(published: PublishedFile) -> str:
    """Return the name under which a shard published a file that is not a table."""
    return published.file.rpartition("/")[2].rpartition("-")[2][DIGITS + 1 :]


def _table_folder(name: str) -> str:
    return f"{TABLES_FOLDER}/{name}"


def _file_name(shard: str, sha256: str) -> str:
    return f"part-{shard}-{sha256[:DIGITS]}.parquet"


def shard_of_file(file: str) -> str:
    """Return the shard that a file's name refers to."""
    return file.rpartition("/")[2].removeprefix("part-").rpartition("-")[0]


CODES = pa.dictionary(pa.int8(), pa.string())
"""Type of a text column with few different values."""


def publish_groups(
    folder: Folder,
    shard: str,
    name: str,
    groups: Iterable[Rows],
    audit: str,
    counting: Sequence[str] = (),
    repeating: Sequence[str] = (),
) -> PublishedFile:
    """Write a large table one row group at a time, so that memory holds one group, never the file.

    Args:
        folder: audit folder.
        shard: name of the shard.
        name: name of the table.
        groups: rows of each group, with text as codes (:data:`CODES`).
        audit: hash of the audit that the rows belong to.
        counting: columns of slowly growing whole numbers, stored as differences.
        repeating: columns with few different values, stored with a dictionary.
    """
    schema = table_named(name).schema
    coded_schema = pa.schema([field.with_type(CODES) if field.type == pa.string() else field for field in schema])
    text = [field.name for field in schema if field.type == pa.string()]
    with_statistics = [field.name for field in schema if pa.types.is_integer(field.type) and field.name not in counting]
    # Readers must see the table's own schema, in which text is text.
    plain_schema = base64.b64encode(_with_audit(schema, audit).serialize().to_pybytes())
    n_rows = 0
    with open_storage(folder).new_file(_table_folder(name)) as sink:
        with pq.ParquetWriter(
            sink,
            coded_schema,
            compression="zstd",
            use_dictionary=[*text, *repeating],
            column_encoding=dict.fromkeys(counting, "DELTA_BINARY_PACKED") or None,
            write_statistics=with_statistics,
            store_schema=False,
        ) as writer:
            writer.add_key_value_metadata({AUDIT: audit.encode(), b"ARROW:schema": plain_schema})
            for rows in groups:
                table = to_arrow(name, rows, coded_schema)
                writer.write_table(table, row_group_size=max(1, len(table)))
                n_rows += len(table)
        sink.name = _file_name(shard, sink.sha256)
    return PublishedFile(name, f"{_table_folder(name)}/{sink.name}", n_rows, sink.sha256)
