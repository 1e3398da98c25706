"""What the documentation shows a reader to run, run."""

import re
from pathlib import Path

import duckdb
import pandas as pd

from cawa_core.tables import Manifest
from cawa_core.tables.schema import TABLES

ROOT = Path(__file__).parent.parent.parent


def test_the_readmes_python_runs(audited):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block.replace("results/fashion-biggan", str(audited)), {})


def test_every_table_reads_from_pandas_and_duckdb(audited):
    text, folder = (ROOT / "docs/tables.md").read_text(), str(audited)
    for name in TABLES:
        expected = len(Manifest.read(audited).table(name))
        examples = re.findall(rf"`((?:pd|duckdb)\.[^`]*/tables/{name}[/\"][^`]*)`", text)
        assert len(examples) == 2, name
        for example in examples:
            result = eval(example, {"pd": pd, "duckdb": duckdb, "folder": folder})
            assert len(result) == expected, name
