"""Damaged and hostile folders, at random with fixed seeds: one line, nothing outside touched, nothing lost."""

import shutil

import pytest

from tests.damaged_folders import Damage, Watch, cawa, contents, tiny_audit

N_FOLDERS = 154
COMMANDS = ("status", "report", "aggregate", "audit", "rebuild", "compare")
COMMANDS += (*COMMANDS[:-1], "compared")
LONGEST = 1300


def end(command, folder, intact, output):
    """Run a command on a damaged folder; an error without an exit code is raised."""
    if command == "audit":
        return tiny_audit(folder)
    if command == "rebuild":
        return cawa("verify", folder, "--rebuild")
    if command in ("compare", "compared"):
        folders = (intact, folder) if command == "compare" else (folder, intact)
        return cawa("compare", *folders, "--output", output)
    return cawa(command, folder)


def require_one_line(command, code, errors):
    finds_faults = command in ("verify", "rebuild") and not errors
    assert code in ((0, 1, 2, 4) if command.startswith("compare") else (0, 1, 2))
    lines = [line for line in errors.splitlines() if line.startswith("cawa: ")]
    assert len(lines) == (code in (1, 2) and not finds_faults)
    assert "Traceback" not in errors
    assert all(len(line) <= LONGEST for line in lines)


def computed_tables(folder):
    """Return the tables that no aggregation can bring back."""
    names = ("sites", "awareness", "class_metrics")
    return {
        name: content
        for name, content in contents(folder).items()
        if name.startswith("tables/") and name.split("/")[1] in names
    }


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside") / "outside"
    (folder / "tables").mkdir(parents=True)
    for name in ("victim.txt", "tables/victim.parquet"):
        (folder / name).write_text("mine")
    return folder


@pytest.fixture(scope="module")
def watch(outside):
    return Watch(outside)


@pytest.mark.parametrize("first", range(0, N_FOLDERS, 22))
def test_damaged_folders_harm_nobody(tiny_audited, tmp_path, outside, watch, first):
    before = contents(outside)
    intact = contents(tiny_audited)
    for seed in range(first, first + 22):
        folder = tmp_path / f"audit-{seed}"
        shutil.copytree(tiny_audited, folder)
        damage = Damage(folder, outside, seed)
        is_changed = contents(folder) != intact
        for command in ("verify", COMMANDS[seed // 3 % len(COMMANDS)]):
            tables = computed_tables(folder)
            with watch.on():
                code, printed, errors = end(command, folder, tiny_audited, tmp_path / "comparison")
            try:
                require_one_line(command, code, errors)
                if command == "verify":
                    assert code == 1 or damage.is_forged or not is_changed or "is no audit folder" in errors
                if code != 0:
                    assert computed_tables(folder) == tables, "a command that failed has changed tables"
                assert watch.touched == []
                assert contents(outside) == before
            except AssertionError as error:
                raise AssertionError(f"{damage.story}; {command} ended with {code}: {printed}{errors}") from error
        shutil.rmtree(folder)
    assert contents(tiny_audited) == intact
