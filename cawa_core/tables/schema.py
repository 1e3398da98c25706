"""Declarations of tables: columns, types, units and meanings, with the key first.

The code that writes a table declares it; reading and publishing look it up here by its name. Fractions are ``float32``
unless the column says otherwise. Null means unknown or undefined, never zero.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import pyarrow as pa

from cawa_core.errors import InputError

I16 = pa.int16()
I32 = pa.int32()
I64 = pa.int64()
F32 = pa.float32()
F64 = pa.float64()
TEXT = pa.string()
CHANNELS = pa.list_(pa.int32())

Columns = dict[str, tuple[pa.DataType, str]]
"""Type and meaning of each column by name."""

ALL_SITES = -1
"""Value of a ``site`` column that stands for all sites together."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Declaration of one table of an audit folder.

    Attributes:
        name: name of the table and of its folder under ``tables/``.
        key: columns that identify a row.
        columns: type and meaning of each column by name.
    """

    name: str
    key: tuple[str, ...]
    columns: Columns

    @cached_property
    def schema(self) -> pa.Schema:
        """Schema of the table in pyarrow, with each column's meaning as field metadata."""
        fields = [pa.field(name, kind, metadata={"meaning": text}) for name, (kind, text) in self.columns.items()]
        return pa.schema(fields)

    @property
    def layout(self) -> dict[str, str]:
        """Type of each column by name, as plain data."""
        return {name: str(kind) for name, (kind, _) in self.columns.items()}


CLASS: Columns = {"class_id": (I32, "index of the class")}
SITE: Columns = {"site": (I16, "index of the site (class-conditional batch norm and ReLU) in forward order")}
CRITERION: Columns = {
    "criterion": (
        TEXT,
        "ranking of the channels: category_highest, category_lowest, latent_highest (sampled latent_awareness, or "
        "the robust one if nothing was sampled), expected_activation_highest or masking_highest (score_change_abs)",
    )
}


def with_stderr(name: str, meaning: str) -> Columns:
    """Return a column together with that of its standard error over latents."""
    return {name: (F32, meaning), f"{name}_stderr": (F32, f"standard error of {name} over latents")}


PROTOCOL: Columns = {
    "protocol": (TEXT, "evaluator, preprocessing and arithmetic; compare only rows with the same protocol")
}

TABLES: dict[str, Table] = {}
"""Declared tables by name."""


def declare(*tables: Table) -> None:
    """Declare tables, so that they can be looked up by name.

    Raises:
        ValueError: another table of the same name is declared.
    """
    for table in tables:
        if TABLES.setdefault(table.name, table) != table:
            raise ValueError(f"table name {table.name!r} is taken by a table with other columns; choose another")


def table_named(name: str) -> Table:
    """Return a declared table.

    Raises:
        InputError: nothing that is imported declares it.
    """
    if name not in TABLES:
        raise InputError(
            f"table must be one of {', '.join(TABLES)}; got {name!r}, which no imported module declares: import "
            "workflows.analyses first, or install the package that has it"
        )
    return TABLES[name]


SITES_TABLE = Table(
    "sites",
    ("site",),
    {
        **SITE,
        "name": (TEXT, "name of the module in the network"),
        "channels": (I32, "number of channels"),
        "resolution": (I32, "side of the feature map in pixels"),
        "inert_channels": (CHANNELS, "channels that cannot reach the image"),
    },
)
declare(SITES_TABLE)
