"""Tables of an audit folder: published atomically by shard, recorded in the manifest, and read through it.

Only files that the manifest names are ever read, and only if they have the recorded digest.
"""

from cawa_core.tables.manifest import Manifest
from cawa_core.tables.parquet import PublishedFile, Rows, publish, publish_files, publish_groups, rows_of, to_parquet
from cawa_core.tables.receipts import Receipt

__all__ = [
    "Manifest",
    "PublishedFile",
    "Receipt",
    "Rows",
    "publish",
    "publish_files",
    "publish_groups",
    "rows_of",
    "to_parquet",
]
