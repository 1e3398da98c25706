"""What the applications' commands share: how many rows, where to write, and one line for whatever stops them."""

import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.storage import StorageError
from cawa_core.storage.base import PROBE
from cawa_core.storage.local import LocalStorage
from tests.workflows.test_cli import run
from workflows.commands.sheets import (
    change_in_words,
    computed,
    opened_output,
    probability_in_words,
    require_rows,
)
from workflows.lab import Lab
from workflows.options.run import RunOptions

COMMANDS = {
    "mask": ["--classes=8", "--scored-latents=2"],
    "edit": ["--classes=8", "--site=2", "--channels=5"],
    "hybridise": ["8", "1"],
    "segment": ["--classes=8"],
}
COMPUTES = {
    "mask": "workflows.analyses.masking.sheet._mask_class",
    "edit": "workflows.analyses.edits.sheet._series",
    "hybridise": "workflows.analyses.hybrids.sheet.hybrid",
    "segment": "workflows.analyses.segmentation.sheet.segmented",
}


def never(*_, **__):
    raise AssertionError("it computes before it knows where to write")


def stopped(monkeypatch, capsys, command, error, *flags):
    def raised(*_, **__):
        raise error

    monkeypatch.setattr(COMPUTES[command], raised)
    return run(monkeypatch, capsys, command, *COMMANDS[command], *flags)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_cannot_be_written_is_found_first(monkeypatch, capsys, tmp_path, command):
    (tmp_path / "file").write_text("here")
    monkeypatch.setattr(COMPUTES[command], never)
    code, printed = run(monkeypatch, capsys, command, *COMMANDS[command], "--output", tmp_path / "file" / "sheet")
    assert (code, printed.err.count("\n")) == (2, 1)
    assert "output cannot be written" in printed.err
    assert "choose another --output" in printed.err
    assert "kept" not in printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_says_that_nothing_is_kept(monkeypatch, capsys, tmp_path, command):
    code, printed = stopped(monkeypatch, capsys, command, KeyboardInterrupt(), "--output", tmp_path / "new")
    assert (code, printed.err.count("\n")) == (1, 1)
    assert "interrupted; the sheet is written only at the end, so nothing was saved" in printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_memory_that_does_not_do_is_one_line(monkeypatch, capsys, tmp_path, command):
    error = torch.OutOfMemoryError("CUDA out of memory")
    code, printed = stopped(monkeypatch, capsys, command, error, "--output", tmp_path, "--batch-size=4")
    assert (code, printed.err.count("\n")) == (1, 1)
    assert "device: out of memory" in printed.err
    assert "lower --batch-size" in printed.err


def test_a_disk_that_fills_says_that_nothing_is_kept(monkeypatch, capsys, tmp_path):
    real = LocalStorage.write

    def full(self, name, content):
        if name != PROBE:
            raise StorageError(f"{name}: No space left on device")
        real(self, name, content)

    monkeypatch.setattr(LocalStorage, "write", full)
    flags = ["--latents=1", "--strengths=1", "--output", tmp_path]
    code, printed = run(monkeypatch, capsys, "edit", *COMMANDS["edit"], *flags)
    assert code == 1
    assert "edit.png: No space left on device; the sheet is written only" in printed.err


def test_work_is_done_again_in_smaller_batches():
    lab = Lab.open(options=RunOptions(batch_size=8))
    sizes = []

    def work(item):
        sizes.append(lab.batch_size)
        if lab.batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return -item

    assert computed(lab, "trying", [1, 2], lambda item, _: work(item)) == [-1, -2]
    assert sizes == [8, 4, 2, 2]


def test_an_output_leaves_nothing_of_its_probe(tmp_path):
    lab = Lab.open()
    storage = opened_output(str(tmp_path / "new" / "sheet"), lab, "mask")
    assert storage.url == str(tmp_path / "new" / "sheet")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "notes.txt").write_text("mine")
    opened_output(str(tmp_path), lab, "mask")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("what", ["classes", "pairs"])
def test_more_groups_than_rows(what):
    with pytest.raises(
        InputError, match=f"^{what} must be at most 60 per sheet, with one row of pictures each; got 1000: "
    ):
        require_rows(3, 1000, what)
    with pytest.raises(
        InputError, match=f"latents times {what} must be at most 60.*; got 2 x 60: give at most 1 latents"
    ):
        require_rows(2, 60, what)
    require_rows(1, 60, what)


def test_captions():
    assert probability_in_words(0.312, 0.828) == "p = 0.31 (−0.52)"
    assert probability_in_words(0.3) == "p = 0.30"
    assert change_in_words(-0.001, 2) == "+0.00"
    assert change_in_words(0.5, 3, 0.01) == "+0.500 ± 0.010"
