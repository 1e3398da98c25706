"""Access to the rows of the tables that finished shards have written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from cawa_core.errors import InputError
from cawa_core.storage import Storage
from cawa_core.tables.parquet import PublishedFile
from cawa_core.tables.receipts import Receipt
from cawa_core.tables.recorded_file import RecordedTableFile
from cawa_core.tables.schema import table_named

if TYPE_CHECKING:
    import pandas as pd


class RecordedRows:
    """Rows of recorded tables; every file is verified by its digest before its rows are used.

    Attributes:
        storage: storage of the folder.
        receipts: finished shards by name.
        hidden: names of finished shards whose rows and files are not shown, for as long as this object is used.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.receipts: dict[str, Receipt] = {}
        self.hidden: frozenset[str] = frozenset()
        self._audits: dict[str, tuple[str, str]] = {}

    def table(self, name: str) -> pd.DataFrame:
        """Return all recorded rows of a table, sorted by its key; empty if no shard wrote any.

        Raises:
            InputError: a recorded file is missing, damaged, or of another audit than the rest.
        """
        frame: pd.DataFrame = self.rows(name).to_pandas()
        return frame.sort_values(list(table_named(name).key), ignore_index=True)

    def rows(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        sites: Collection[int] = (),
        class_ids: Collection[int] = (),
        text_as_codes: Sequence[str] = (),
    ) -> pa.Table:
        """Return recorded rows of a table, file by file; files and row groups without selected rows are not read.

        Args:
            name: name of the table.
            columns: columns to read; None means all.
            sites, class_ids: rows to select; empty means all.
            text_as_codes: text columns to read as dictionaries.

        Raises:
            InputError: see :meth:`table`.
        """
        parts = []
        selection = {key: values for key, values in (("site", sites), ("class_id", class_ids)) if len(values)}
        files = self._files(name, sites, class_ids)
        self.storage.bring_near((file.file, file.sha256) for file in files)
        for file in files:
            table_file = self._open(file)
            columns_to_read = None if columns is None else list(dict.fromkeys([*columns, *selection]))
            part = table_file.read(columns_to_read, table_file.groups_with(selection), text_as_codes)
            for key, values in selection.items():
                is_selected = pc.is_in(part[key], pa.array(list(values), part[key].type))
                if not pc.all(is_selected).as_py():
                    part = part.filter(is_selected)
            parts.append(part if columns is None else part.select(columns))
        if parts:
            return pa.concat_tables(parts)
        return table_named(name).schema.empty_table().select(columns or table_named(name).schema.names)

    def row_groups(self, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of a table, one row group at a time.

        Raises:
            InputError: see :meth:`table`.
        """
        for file in self._files(name):
            yield from self._open(file).row_groups(columns)

    def sites(self, name: str) -> list[int]:
        """Return the sites that recorded shards of a table cover, ascending."""
        return sorted({site for receipt in self._receipts_with(name) for site in receipt.sites})

    def class_ids(self, name: str) -> list[int]:
        """Return the classes that recorded shards of a table cover, ascending."""
        return sorted({class_id for receipt in self._receipts_with(name) for class_id in receipt.class_ids})

    def _receipts_with(self, name: str) -> list[Receipt]:
        return [receipt for receipt in self._shown() if any(file.table == name for file in receipt.files)]

    def _shown(self) -> list[Receipt]:
        return [receipt for shard, receipt in self.receipts.items() if shard not in self.hidden]

    def _files(self, name: str, sites: Collection[int] = (), class_ids: Collection[int] = ()) -> list[PublishedFile]:
        """Return a table's files that may hold rows of the sites and classes, sorted by name; empty means all."""
        files = [
            file
            for receipt in self._receipts_with(name)
            if not (sites and receipt.sites) or set(sites) & set(receipt.sites)
            if not (class_ids and receipt.class_ids) or set(class_ids) & set(receipt.class_ids)
            for file in receipt.files
            if file.table == name
        ]
        return sorted(files, key=lambda file: file.file)

    def _open(self, file: PublishedFile) -> RecordedTableFile:
        """Open and verify a file; refuse a table whose files belong to different audits."""
        table_file = RecordedTableFile(self.storage, file)
        first, audit = self._audits.setdefault(file.table, (file.file, table_file.audit))
        if audit != table_file.audit:
            raise InputError(
                f"table {file.table} mixes audits: {first} is of {audit}, {file.file} of {table_file.audit}; "
                "remove the file that does not belong, and run the audit again"
            )
        return table_file
