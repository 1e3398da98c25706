"""The mathematics of cawa: generators, awareness, masking, class metrics, statistics, rendering."""

__version__ = "0.1.0"
SCHEMA_VERSION = 5
