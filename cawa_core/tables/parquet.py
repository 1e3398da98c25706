"""One Parquet file of a table: written under its fixed schema, read by its digest."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError
from cawa_core.schemas import TABLES
from cawa_core.storage import Folder, Storage, open_storage
from cawa_core.storage.names import require_inside

Rows = Mapping[str, Sequence[Any] | NDArray[Any] | pa.Array]
"""Columns of a table by name."""

TABLES_FOLDER = "tables"
DIGITS = 8
"""Of a file's digest, in its name."""

AUDIT = b"cawa.audit"
"""Key of a file's metadata: hash of the audit whose rows it holds."""


class TableFileError(InputError):
    """A recorded file that cannot be read as what it is recorded as."""


class MissingTableFileError(TableFileError):
    """A recorded file that is not there."""


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """One Parquet file of a shard: its table, its path inside the folder, its rows and digest."""

    table: str
    file: str
    rows: int
    sha256: str

    @classmethod
    def of_entry(cls, entry: dict[str, Any]) -> PublishedFile:
        """Read what a manifest says of a file, which anybody may have written.

        Raises:
            TypeError: a field is missing, unknown, or of another type.
            ValueError: the file is not below the folder of tables, or the digest is none: it names a copy on disk.
        """
        published = cls(**entry)
        for name, kind in {"table": str, "file": str, "rows": int, "sha256": str}.items():
            if not isinstance(getattr(published, name), kind):
                raise TypeError(f"{name} of a file must be {kind.__name__}; got {getattr(published, name)!r}")
        require_inside(published.file, TABLES_FOLDER)
        if not re.fullmatch("[0-9a-f]{64}", published.sha256):
            raise ValueError(f"sha256 of {published.file} must be 64 hexadecimal digits; got {published.sha256!r}")
        return published


def rows_of(name: str, records: Sequence[Mapping[str, Any]]) -> Rows:
    """Columns of a table from one mapping a row; of no rows, empty ones."""
    return {column: [record[column] for record in records] for column in TABLES[name].columns}


def to_arrow(name: str, rows: Rows, schema: pa.Schema | None = None) -> pa.Table:
    """Rows of a table under its fixed schema, or under one with text as codes.

    Raises:
        ValueError: the columns are not those of the schema.
    """
    schema = schema or TABLES[name].schema
    if set(rows) != set(schema.names):
        difference = sorted(set(rows) ^ set(schema.names))
        raise ValueError(f"rows of {name} must have the columns of its schema; they differ in {', '.join(difference)}")
    return pa.Table.from_arrays([_column(rows[field.name], field.type) for field in schema], schema=schema)


def _column(values: Any, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:  # noqa: ANN401
    made = isinstance(values, pa.Array | pa.ChunkedArray)
    return values if made else pa.array(values, type=kind, from_pandas=True)


def _with_audit(schema: pa.Schema, audit: str) -> pa.Schema:
    return schema.with_metadata({AUDIT: audit.encode()})


def to_parquet(name: str, rows: Rows, audit: str) -> bytes:
    """Serialise rows of a table; the same rows of the same audit give the same bytes.

    Raises:
        ValueError: the columns are not those of the schema.
    """
    buffer, table = io.BytesIO(), to_arrow(name, rows, _with_audit(TABLES[name].schema, audit))
    # Floating-point columns hardly repeat: a dictionary of them costs time and space.
    repeating = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    pq.write_table(table, buffer, compression="zstd", use_dictionary=repeating)
    return buffer.getvalue()


def publish(folder: Folder, shard: str, tables: Mapping[str, Rows], audit: str) -> tuple[PublishedFile, ...]:
    """Write each table of a shard to its one file under ``tables``.

    A file's name ends with the beginning of its digest: a second writing of a shard never changes a file that was
    published, whoever comes late.

    Args:
        audit: hash of the audit that the rows belong to.
    """
    storage, published = open_storage(folder), []
    for name, rows in tables.items():
        content = to_parquet(name, rows, audit)
        sha256 = digest_of_bytes(content)
        file = f"{_table_folder(name)}/{_file_name(shard, sha256)}"
        storage.write(file, content)
        published.append(PublishedFile(name, file, len(next(iter(rows.values()))), sha256))
    return tuple(published)


def _table_folder(name: str) -> str:
    return f"{TABLES_FOLDER}/{name}"


def _file_name(shard: str, sha256: str) -> str:
    return f"part-{shard}-{sha256[:DIGITS]}.parquet"


def shard_of_file(file: str) -> str:
    """The shard whose rows a file is named after."""
    return file.rpartition("/")[2].removeprefix("part-").rpartition("-")[0]


CODES = pa.dictionary(pa.int8(), pa.string())
"""Text of few values."""


def publish_groups(
    folder: Folder,
    shard: str,
    name: str,
    groups: Iterable[Rows],
    audit: str,
    counting: Sequence[str] = (),
    repeating: Sequence[str] = (),
) -> PublishedFile:
    """Write a large table as row groups, one at a time: memory holds one group, never the file.

    Args:
        groups: rows, their text as codes (:data:`CODES`).
        counting: whole numbers that grow slowly, which are written by their differences.
        repeating: columns of few values, which are written by a dictionary.
    """
    n_rows, schema = 0, TABLES[name].schema
    coded = pa.schema([field.with_type(CODES) if field.type == pa.string() else field for field in schema])
    text = [field.name for field in schema if field.type == pa.string()]
    # Readers are to see the table's own schema, and text as text.
    shown = base64.b64encode(_with_audit(schema, audit).serialize().to_pybytes())
    with open_storage(folder).new_file(_table_folder(name)) as sink:
        with pq.ParquetWriter(
            sink,
            coded,
            compression="zstd",
            use_dictionary=[*text, *repeating],
            column_encoding=dict.fromkeys(counting, "DELTA_BINARY_PACKED") or None,
            write_statistics=[one.name for one in schema if pa.types.is_integer(one.type) and one.name not in counting],
            store_schema=False,
        ) as writer:
            writer.add_key_value_metadata({AUDIT: audit.encode(), b"ARROW:schema": shown})
            for rows in groups:
                table = to_arrow(name, rows, coded)
                writer.write_table(table, row_group_size=max(1, len(table)))
                n_rows += len(table)
        sink.name = _file_name(shard, sink.sha256)
    return PublishedFile(name, f"{_table_folder(name)}/{sink.name}", n_rows, sink.sha256)


def open_verified(storage: Storage, published: PublishedFile, text_as_codes: Sequence[str] = ()) -> pq.ParquetFile:
    """A recorded file, read in whole and compared with its digest: what is parsed is what was compared.

    Args:
        text_as_codes: text columns to read as dictionaries.

    Raises:
        MissingTableFileError: it is not there.
        TableFileError: it is damaged, or has the columns of another version.
    """
    path = storage.path(published.file)
    try:
        content = storage.read_recorded(published.file, published.sha256)
    except FileNotFoundError:
        raise MissingTableFileError(f"{path} is missing; run the audit again to compute it anew") from None
    if digest_of_bytes(content) != published.sha256:
        raise TableFileError(
            f"{path} does not have the digest that manifest.json records; "
            "remove the file and run the audit again to compute it anew"
        )
    try:
        opened = pq.ParquetFile(pa.BufferReader(content), read_dictionary=list(text_as_codes))
    except pa.ArrowInvalid as error:
        raise TableFileError(f"{path} is no table: {error}; run the audit in a new folder") from None
    if _types(opened.schema_arrow) != _types(TABLES[published.table].schema):
        raise TableFileError(
            f"{published.file} does not have the columns of table {published.table}; run the audit in a new folder"
        )
    return opened


def row_groups_with(file: pq.ParquetFile, wanted: Mapping[str, Collection[int]]) -> list[int]:
    """Row groups that may hold a wanted value of each whole-number column, by their recorded ranges; none: any."""
    columns = {file.schema_arrow.get_field_index(name): values for name, values in wanted.items() if len(values)}

    def may_hold(group: int) -> bool:
        for column, values in columns.items():
            known = file.metadata.row_group(group).column(column).statistics
            if known is not None and known.has_min_max and not any(known.min <= one <= known.max for one in values):
                return False
        return True

    return [group for group in range(file.num_row_groups) if may_hold(group)]


def _types(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    """Columns and their types, text being text however it is read."""
    plain = [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in schema]
    return list(zip(schema.names, plain, strict=True))


def audit_of(file: pq.ParquetFile) -> str:
    """The hash of the audit that a file says it belongs to."""
    return str((file.metadata.metadata or {}).get(AUDIT, b"none").decode()[:12])
