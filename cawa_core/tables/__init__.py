"""Tables of an audit folder: publish a shard's atomically, record them in the manifest, read by it.

Only what the manifest names is ever read, and only if it has the recorded digest.
"""

from cawa_core.tables.manifest import Manifest
from cawa_core.tables.parquet import PublishedFile, Rows, publish, publish_groups, rows_of, to_parquet
from cawa_core.tables.receipts import Receipt

__all__ = [
    "Manifest",
    "PublishedFile",
    "Receipt",
    "Rows",
    "publish",
    "publish_groups",
    "rows_of",
    "to_parquet",
]
