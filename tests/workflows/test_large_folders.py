"""How often commands list a folder and read its manifest, which takes seconds each if there are thousands of shards."""

import shutil
import threading
from collections import Counter

import pytest

from cawa_core.storage import LocalStorage
from cawa_core.tables.manifest import MANIFEST
from tests.workflows.conftest import WITH_CONCEPTS, small_audit
from workflows.folders.status import status_lines
from workflows.folders.verify import verify
from workflows.options.run import RunOptions
from workflows.planning.estimate import plan_lines

COMMANDS = {
    "status": status_lines,
    "verify": verify,
    "plan": lambda folder: plan_lines(
        WITH_CONCEPTS, RunOptions(output=str(folder), executor="inline"), None, calibrate=False
    ),
    "nothing to compute": lambda folder: small_audit(folder, WITH_CONCEPTS),
}


@pytest.fixture
def calls(monkeypatch) -> Counter[str]:
    """Number of listings, and of readings of each file."""
    counts: Counter[str] = Counter()
    names = LocalStorage.names
    read = LocalStorage.read

    def counted_names(storage, folder=""):
        counts["listing"] += 1
        return names(storage, folder)

    def counted_read(storage, name):
        counts[name] += 1
        return read(storage, name)

    monkeypatch.setattr(LocalStorage, "names", counted_names)
    monkeypatch.setattr(LocalStorage, "read", counted_read)
    return counts


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_lists_a_folder_once_and_reads_its_manifest_once(audited, tmp_path, calls, command):
    folder = tmp_path / "audit"
    shutil.copytree(audited, folder)
    COMMANDS[command](folder)
    assert calls["listing"] == 1
    assert calls[MANIFEST] == 1
    assert all(count == 1 for name, count in calls.items() if name.startswith(("tables/", "files/")))


def test_files_are_verified_several_at_a_time(audited):
    """The first two readings of tables wait for each other."""
    both = threading.Barrier(2, timeout=20)
    remaining = iter(range(2))

    class Storage(LocalStorage):
        def read_recorded(self, name, sha256):
            if next(remaining, None) is not None:
                both.wait()
            return super().read_recorded(name, sha256)

    assert verify(Storage(audited)).faults == ()


def test_the_images_of_a_plan_are_measured_once(tmp_path):
    """Also if it estimates variants of the audit."""
    from cawa_core.real_images.folder import ImageFolder

    (tmp_path / "a").mkdir()
    picture = tmp_path / "a" / "1.png"
    picture.write_bytes(b"1")
    images = ImageFolder(tmp_path, 8, 3, ("a",))
    before = images.class_contents(0)
    picture.unlink()
    assert images.class_contents(0) == before
