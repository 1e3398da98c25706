"""Imports point one way, and the tree reads as the pipeline."""

import ast
from pathlib import Path

import pytest
from cawa_core.specs import STAGES as SPEC_STAGES
from workflows.stages import STAGES

ROOT = Path(__file__).parent.parent


def imported_modules(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("file", sorted((ROOT / "cawa_core").rglob("*.py")), ids=lambda path: path.stem)
def test_core_imports_neither_ray_nor_workflows(file):
    tops = {name.split(".")[0] for name in imported_modules(file)}
    assert not tops & {"ray", "workflows", "typer"}


def test_only_interventions_change_features():
    """Nothing else walks the sites to change what a generator computes."""
    writers = {"with_features", "reconditioned", "under_masks"}
    users = {
        file.relative_to(ROOT).as_posix()
        for folder in ("cawa_core", "workflows")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in writers
    }
    assert {user for user in users if not user.startswith("cawa_core/generators/")} == {"cawa_core/interventions.py"}


def test_only_the_ray_executor_imports_ray():
    users = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "workflows").rglob("*.py")
        if any(name.split(".")[0] == "ray" for name in imported_modules(file))
    }
    assert users == {
        "workflows/executors/ray.py",
        "workflows/executors/ray_dispatch.py",
        "workflows/executors/ray_metrics.py",
        "workflows/executors/ray_head.py",
        "workflows/executors/ray_worker.py",
    }


def test_each_stage_keeps_its_name():
    assert tuple(STAGES) == SPEC_STAGES
    for name, stage in STAGES.items():
        assert stage.name == name
        assert stage.process.__module__ == f"workflows.stages.{name}"
