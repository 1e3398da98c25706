"""Files that a manifest records, verified by their digest before anything in them is used."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError, first_line
from cawa_core.storage import Storage
from cawa_core.tables.parquet import AUDIT, PublishedFile
from cawa_core.tables.schema import TEXT, table_named

LONGEST_TEXT = 10_000
"""Longest text in bytes that a table may hold.

A text that many rows share is stored once, so a file of a few kilobytes could fill the memory.
"""


class TableFileError(InputError):
    """A recorded file is missing, damaged, or not of the recorded table."""


class MissingTableFileError(TableFileError):
    """A recorded file does not exist."""


def read_verified(storage: Storage, published: PublishedFile) -> bytes:
    """Read a recorded file and compare its digest.

    Raises:
        MissingTableFileError: the file does not exist.
        TableFileError: the file is damaged.
    """
    path = storage.path(published.file)
    try:
        content = storage.read_recorded(published.file, published.sha256)
    except FileNotFoundError:
        raise MissingTableFileError(f"{path} is missing; run the audit again to recompute it") from None
    if digest_of_bytes(content) != published.sha256:
        raise TableFileError(
            f"{path} does not have the digest that manifest.json records; "
            "remove the file and run the audit again to recompute it"
        )
    return content


class RecordedTableFile:
    """One file of a table.

    Attributes:
        path: its path or URL.
        columns: names of its columns.
        n_rows: number of its rows.
        audit: first 12 digits of the hash of the audit that it belongs to, by its metadata.
    """

    def __init__(self, storage: Storage, published: PublishedFile) -> None:
        """Open a file after comparing its digest; the bytes that are parsed are those that were compared.

        Args:
            storage: audit folder.
            published: the recorded file.

        Raises:
            MissingTableFileError: the file does not exist.
            TableFileError: the file is damaged, or has the columns of another version.
        """
        content = read_verified(storage, published)
        self.path = storage.path(published.file)
        schema = table_named(published.table).schema
        self._text = [field.name for field in schema if field.type == TEXT]
        try:
            stored = pq.read_schema(pa.BufferReader(content))
            self._parquet = pq.ParquetFile(pa.BufferReader(content), read_dictionary=self._text)
        except (pa.ArrowException, OSError) as error:
            raise TableFileError(
                f"{self.path} is not a table: {first_line(error)}; run the audit in a new folder"
            ) from None
        if stored != schema:
            raise TableFileError(
                f"{published.file} does not have the columns of table {published.table}: another "
                "version wrote it; run `cawa aggregate` if it is derived from others, else the audit in a new folder"
            )
        metadata = self._parquet.metadata
        self.columns: list[str] = stored.names
        self.n_rows: int = metadata.num_rows
        self.audit = str((metadata.metadata or {}).get(AUDIT, b"none").decode()[:12])

    def read(
        self,
        columns: Sequence[str] | None = None,
        groups: Sequence[int] | None = None,
        text_as_codes: Collection[str] = (),
    ) -> pa.Table:
        """Read rows.

        Args:
            columns: columns to read; None means all.
            groups: row groups to read; None means all.
            text_as_codes: text columns to return as dictionaries.

        Raises:
            TableFileError: they cannot be decoded, or hold text that is too long or not UTF-8.
        """
        groups = range(self._parquet.num_row_groups) if groups is None else groups
        chosen = None if columns is None else list(columns)
        with self._readable():
            # Arrow's own threads may still hold the bytes of the file, which are Python's, when the process ends, and
            # then abort it (apache/arrow#34314). Callers that read many files do so in threads of Python.
            rows = self._parquet.read_row_groups(list(groups), columns=chosen, use_threads=False)
        for place, name in enumerate(rows.column_names):
            if name in self._text:
                self._require_text(name, rows[name])
                if name not in text_as_codes:
                    rows = rows.set_column(place, pa.field(name, TEXT), rows[name].cast(TEXT))
        return rows

    def row_groups(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns, one row group at a time.

        Raises:
            TableFileError: see :meth:`read`.
        """
        for group in range(self._parquet.num_row_groups):
            yield self.read(columns, [group])

    def groups_with(self, selection: Mapping[str, Collection[int]]) -> list[int]:
        """Return the row groups whose recorded ranges may hold a selected value of every whole-number column.

        Args:
            selection: values by column; a column without values selects all row groups.
        """
        metadata, schema = self._parquet.metadata, self._parquet.schema_arrow
        places = {schema.get_field_index(name): values for name, values in selection.items() if len(values)}

        def may_hold(group: int) -> bool:
            for place, values in places.items():
                statistics = metadata.row_group(group).column(place).statistics
                if statistics is None or not statistics.has_min_max:
                    continue
                if not any(statistics.min <= value <= statistics.max for value in values):
                    return False
            return True

        return [group for group in range(metadata.num_row_groups) if may_hold(group)]

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise TableFileError(
                f"{self.path} has rows that cannot be read: {first_line(error)}; remove the file and "
                "run the audit again to recompute it"
            ) from None

    def _require_text(self, name: str, codes: pa.ChunkedArray) -> None:
        """Check that the texts of a column are UTF-8 of a sensible length."""
        for chunk in codes.chunks:
            with self._readable():
                chunk.dictionary.validate(full=True)
            longest = pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0
            if longest > LONGEST_TEXT:
                raise TableFileError(
                    f"{self.path} holds a text of {longest:,} bytes in column {name}; a table's texts have at most "
                    f"{LONGEST_TEXT:,}: remove the file and run the audit again to recompute it"
                )
