"""Imports without collections, and without what an audit's start does not need."""

import gc
import subprocess
import sys

import pytest

from workflows.commands.quick_imports import quick_imports


@pytest.fixture
def collector():
    """As it was, afterwards."""
    was_on, frozen = gc.isenabled(), gc.get_freeze_count()
    yield
    (gc.enable if was_on else gc.disable)()
    if not frozen:
        gc.unfreeze()


def test_the_collector_rests_during_imports_alone(collector):
    gc.enable()
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    with pytest.raises(ImportError), quick_imports():
        import there_is_no_such_module  # noqa: F401
    assert gc.isenabled()


def test_who_does_without_the_collector_goes_on_without(collector):
    gc.disable()
    with quick_imports():
        pass
    assert not gc.isenabled()


def modules_after(code):
    """Run code in a new process and return the names of the modules that are imported afterwards."""
    code = f"import sys\n{code}\nprint(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(process.stdout.splitlines()[-1].split())


def test_help_starts_without_what_only_computing_needs():
    """Importing them takes seconds, and `cawa --help` would wait for it."""
    modules = modules_after("import workflows.cli")
    assert "workflows.cli" in modules
    assert not {"torch", "pandas", "matplotlib", "sklearn", "ray"} & modules


def test_audits_and_workers_start_without_what_only_reports_and_clusters_need():
    """Each takes most of a second to import."""
    modules = modules_after("import workflows.running.audit, workflows.executors.ray.preload")
    assert not {"sklearn", "scipy.stats", "scipy.signal", "matplotlib", "pandas"} & modules


def test_reading_an_audit_back_needs_no_pytorch():
    """`status`, `verify` and `report` would wait for it, and hold another quarter of a gigabyte."""
    modules = modules_after(
        "import workflows.folders.status, workflows.folders.verify, workflows.results.report\n"
        "from workflows.analyses import ANALYSES\n"
        "for analysis in ANALYSES.values(): analysis.make_results()"
    )
    assert "workflows.analyses.class_overlap.results" in modules
    assert "torch" not in modules
