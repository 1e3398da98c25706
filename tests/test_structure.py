"""Imports point one way, and the tree reads as the pipeline."""

import ast
import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from workflows import cli
from workflows.analyses import ANALYSES
from workflows.interface import Analysis, Comparison, Derivation, NoOptions, Results, Work, imported
from workflows.options.lab import ROLES

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "workflows/analyses"
INCLUDED = [name for name in ANALYSES if name not in ANALYSES.installed]

PARTS = {"work": Work, "derivation": Derivation, "results": Results, "comparison": Comparison}
"""Parts of an analysis, which are modules of its folder => the class that each is a subclass of."""
VERBS = {
    "masking": "mask",
    "edits": "edit",
    "hybrids": "hybridise",
    "segmentation": "segment",
    "dissection": "dissect",
    "semantics": "semantics",
    "layouts": "sample",
    "directions": "latents",
}
"""Analyses with a command => the word that the command, its function and its options are named by."""
NOUNS_OF_CORE = {"edits": "editing", "hybrids": "hybridisation", "class_overlap": "overlap"}
"""Analyses whose mathematics has a name of its own: the method of what the analysis counts."""
WITHOUT_CORE = {"gallery", "shared_channels", "unit_concepts", "unit_awareness"}
"""Analyses that need no mathematics of their own."""
OPTIONS_OF_OTHERS = {"gallery": "masking"}
"""Analyses with nothing but options of another one, which declares them."""
WORDS = {
    ("cawa_core/segmentation/clustering.py", "segmentation"),
    ("workflows/analyses/masking_correlation/comparison.py", "masking"),
    ("workflows/analyses/masking_correlation/figures.py", "awareness"),
    ("cawa_core/annotations/bigdatasetgan.py", "latents"),
    ("workflows/analyses/edits/along.py", "latents"),
    ("workflows/analyses/edits/painted.py", "latents"),
    ("workflows/analyses/edits/sheet.py", "latents"),
}
"""Words that stand for no analysis: a random stream, whose name decides the numbers drawn; a key of ``compare.json``,
beside ``metrics``; an axis of a figure; a folder of data; the option ``--latents``; a key of ``edit.json``."""


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
        "workflows/executors/ray/executor.py",
        "workflows/executors/ray/dispatch.py",
        "workflows/executors/ray/metrics.py",
        "workflows/executors/ray/head.py",
        "workflows/executors/ray/worker.py",
    }


TEXT_CALLS = {"read_text", "write_text", "open", "TextIOWrapper", "fdopen"}
"""Calls that decode or encode text in the encoding of the machine, unless they are told another."""


def calls_without_encoding(file: Path) -> Iterator[ast.Call]:
    """Yield the calls that open text in whatever encoding the machine has."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        name = getattr(node, "func", None) and (getattr(node.func, "attr", "") or getattr(node.func, "id", ""))
        if isinstance(node, ast.Call) and name in TEXT_CALLS:
            values = [value.value for value in ast.walk(node) if isinstance(value, ast.Constant)]
            modes = [value for value in values if isinstance(value, str) and set(value) <= set("rwabx+")]
            is_binary = any("b" in mode for mode in modes)
            is_file = name != "open" or isinstance(node.func, ast.Name) or bool(modes) or not node.args
            if is_file and not is_binary and "encoding" not in {keyword.arg for keyword in node.keywords}:
                yield node


def test_text_files_have_an_encoding(tmp_path):
    (tmp_path / "module.py").write_text(
        'a.read_text()\na.open("w")\nopen(a)\nImage.open(a)\na.open("rb")\na.open(newline="")\n'
        'a.write_text("x", encoding="utf-8")\n',
        encoding="utf-8",
    )
    assert [call.lineno for call in calls_without_encoding(tmp_path / "module.py")] == [1, 2, 3, 6]
    offenders = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for folder in ("cawa_core", "workflows", "benchmarks")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for call in calls_without_encoding(file)
    ]
    assert not offenders, "open text as UTF-8: " + ", ".join(offenders)


def camel(name: str) -> str:
    """Return ``class_metrics`` as ``ClassMetrics``."""
    return "".join(word.capitalize() for word in name.split("_"))


def singular(name: str) -> str:
    """Return ``class_metrics`` as ``class_metric``; ``awareness`` has no plural."""
    return name if name.endswith("ss") else name.removesuffix("s")


@pytest.mark.parametrize("name", INCLUDED)
def test_an_analysis_is_one_folder(name):
    """Its declaration, its options and all its parts are in the folder of its name, and called by its name."""
    analysis = ANALYSES[name]
    package = f"workflows.analyses.{name}"
    declarations = [value for value in vars(importlib.import_module(package)).values() if isinstance(value, Analysis)]
    assert [declared for declared in declarations if declared is analysis] == [analysis]
    assert getattr(importlib.import_module(package), name.upper()) is analysis
    assert analysis.tables[0].name == name
    for table in analysis.tables:
        assert getattr(importlib.import_module(package), f"{table.name.upper()}_TABLE") is table
        assert set(table.key) <= set(table.columns)
    assert analysis.name == name
    assert analysis.title[0].isupper()


@pytest.mark.parametrize("name", INCLUDED)
@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_an_analysis_is_in_its_folder_by_its_name(name, part):
    target = getattr(ANALYSES[name], part)
    if not target:
        assert part != "results", "every analysis of this project says something in the report"
        return
    assert target == f"workflows.analyses.{name}.{part}:{camel(name)}{part.capitalize()}"
    kind = imported(target)
    assert kind.__module__ == f"workflows.analyses.{name}.{part}"
    assert issubclass(kind, PARTS[part])


@pytest.mark.parametrize("name", INCLUDED)
def test_the_options_of_an_analysis_are_in_its_folder_by_its_name(name):
    """What several analyses share is declared by the one it is about."""
    options = ANALYSES[name].options
    if options is NoOptions:
        return
    if name in OPTIONS_OF_OTHERS:
        assert options.__module__ == f"workflows.analyses.{OPTIONS_OF_OTHERS[name]}"
        return
    assert options.__module__ == f"workflows.analyses.{name}"
    assert options.__qualname__ == f"{camel(singular(name))}Options"
    for field in dataclasses.fields(options):
        assert field.metadata["help"].endswith("."), field.name
    thresholds = ANALYSES[name].thresholds
    if thresholds is not NoOptions:
        assert thresholds.__qualname__ == f"{camel(singular(name))}Thresholds"
        for field in dataclasses.fields(thresholds):
            assert field.metadata["help"].endswith("."), field.name


@pytest.mark.parametrize("name", INCLUDED)
def test_options_that_may_differ_are_options_of_the_analysis(name):
    analysis = ANALYSES[name]
    assert set(analysis.may_differ) <= {*analysis.option_names, *analysis.uses}
    assert set(analysis.after) <= set(ANALYSES)
    assert {*analysis.needs, *analysis.uses, *analysis.shows} <= set(ROLES)
    assert set(analysis.axes) <= set(analysis.tables[0].columns) or analysis.is_derived


@pytest.mark.parametrize("name", INCLUDED)
def test_the_command_of_an_analysis_goes_by_its_verb(name):
    target = ANALYSES[name].command
    assert bool(target) == (name in VERBS)
    if not target:
        assert not list((FOLDER / name).glob("command.py"))
        return
    verb = VERBS[name]
    assert target == f"workflows.analyses.{name}.command:{verb}"
    module = importlib.import_module(f"workflows.analyses.{name}.command")
    options = getattr(module, f"{verb.capitalize()}CommandOptions")
    assert options.__module__ == module.__name__
    sheet = importlib.import_module(f"workflows.analyses.{name}.sheet")
    assert getattr(sheet, f"run_{verb}").__module__ == sheet.__name__
    assert verb in typer.main.get_command(cli.app).commands


@pytest.mark.parametrize("name", INCLUDED)
def test_core_and_tests_of_an_analysis_go_by_its_name(name):
    """The mathematics behind it, if there is any of its own, and its tests."""
    words = NOUNS_OF_CORE.get(name, name)
    places = [place for place in (ROOT / "cawa_core").glob(f"**/{words}") if place.is_dir()]
    places += (ROOT / "cawa_core").glob(f"**/{words}.py")
    assert bool(places) == (name not in WITHOUT_CORE), places
    tests = ROOT / "tests/workflows/analyses"
    assert (tests / f"test_{name}.py").exists() == (not ANALYSES[name].is_derived)
    assert (tests / f"test_{name}_command.py").exists() == (name in VERBS)


def test_the_folders_are_the_analyses():
    folders = {file.parent.name for file in FOLDER.glob("*/__init__.py")}
    assert folders == set(INCLUDED)


def test_tests_of_analyses_are_named_after_them():
    for file in (ROOT / "tests/workflows/analyses").glob("test_*.py"):
        assert file.stem.removeprefix("test_").removesuffix("_command") in INCLUDED, file


def string_literals(file: Path) -> Iterator[ast.Constant]:
    """Yield the string literals of a module, keys and the fixed parts of f-strings included, docstrings not."""
    tree = ast.parse(file.read_text())
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node


def test_string_literals_are_those_of_keys_and_f_strings(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('"""masking"""\nx = {"masking": f"masking{1}"}\n"masking"\ny = z["masking"] + "no masking"\n')
    lines = [literal.lineno for literal in string_literals(module) if literal.value == "masking"]
    assert lines == [2, 2, 4]


@pytest.mark.parametrize("package", ["cawa_core", "workflows"])
def test_generic_code_knows_no_analysis_by_name(package):
    """An analysis is named in its own folder; everything else goes by declarations."""
    offenders = [
        f"{file.relative_to(ROOT).as_posix()}:{literal.lineno}: {literal.value!r}"
        for file in sorted((ROOT / package).rglob("*.py"))
        for literal in string_literals(file)
        if literal.value in INCLUDED and file.parent != FOLDER / literal.value
        if (file.relative_to(ROOT).as_posix(), literal.value) not in WORDS
    ]
    assert not offenders, "\n".join(["", *offenders])
