"""Where an audit stands, in lines."""

import shutil

from cawa_core.tables import Manifest
from workflows.folders.status import status_lines


def test_quarantined_shards_with_their_last_lines(audited, tmp_path):
    folder = tmp_path / "audit"
    shutil.copytree(audited, folder)
    manifest = Manifest.read(folder)
    manifest.quarantine("one", "Traceback\nRuntimeError: poison\n")
    manifest.quarantine("two", "")
    assert status_lines(folder)[-2:] == ["quarantined one: RuntimeError: poison", "quarantined two: no reason given"]
