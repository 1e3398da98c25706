"""Audit folders on disk: publish a shard's tables atomically, record them in the manifest, read by it.

A file is put in place by one rename, so that a crash leaves either the whole file or none. Only what the manifest
names is ever read, and only if it has the recorded digest.
"""

from cawa_core.tables.files import atomic_file, write_atomically
from cawa_core.tables.manifest import Manifest
from cawa_core.tables.parquet import PublishedFile, Rows, publish, publish_groups, to_parquet
from cawa_core.tables.receipts import Receipt

__all__ = [
    "Manifest",
    "PublishedFile",
    "Receipt",
    "Rows",
    "atomic_file",
    "publish",
    "publish_groups",
    "to_parquet",
    "write_atomically",
]
