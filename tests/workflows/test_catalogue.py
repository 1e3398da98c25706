"""Analyses of installed packages: added to those of this project, or refused in one line that names the package."""

import dataclasses
import itertools
import subprocess
import sys

import pyarrow as pa
import pytest

from cawa_core import table_schema
from cawa_core.errors import InputError
from cawa_core.options import option
from cawa_core.table_schema import CLASS, Table
from workflows import spec as spec_module
from workflows.analyses import ANALYSES
from workflows.analyses.base import Analysis
from workflows.analyses.catalogue import Catalogue

GROUPS = itertools.count()
GOOD = '''
import dataclasses
import pyarrow as pa
from cawa_core.options import Count, option
from cawa_core.table_schema import CLASS, Table
from workflows.analyses.base import Analysis


@dataclasses.dataclass(frozen=True)
class ColourOptions:
    """Options of the analysis ``colours``."""

    colour_latents: Count = option(4, "Latents per class whose colours are counted.")


TABLE = Table("colours", ("class_id",), {**CLASS, "mean": (pa.float32(), "mean grey value")})
OTHER_TABLE = Table("awareness", ("class_id",), {**CLASS, "mean": (pa.float32(), "mean grey value")})


def colours(**changes):
    values = {"options": ColourOptions, "tables": (TABLE,), "work": "colours:Work", "not_compared": "they are shown"}
    return Analysis(**({"name": "colours", "title": "Colours"} | values | changes))


COLOURS = colours()
TAKEN = colours(name="awareness")
OTHER_NAME = colours(name="colors")
TAKEN_TABLE = colours(tables=(OTHER_TABLE,))
TEXT = "a text"
'''


@pytest.fixture
def group():
    """A group of entry points that no package uses."""
    return f"cawa.test{next(GROUPS)}"


@pytest.fixture
def tables(monkeypatch):
    """Declared tables, of which a test may add some."""
    monkeypatch.setattr(table_schema, "TABLES", dict(table_schema.TABLES))
    return table_schema


@pytest.fixture
def install(tmp_path, monkeypatch, group, tables):
    """Install packages, as pip would, that register analyses; return the catalogue."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "colours", raising=False)

    def installed(points, *packages, module=GOOD, included=tuple(ANALYSES[name] for name in ANALYSES)):
        (tmp_path / "colours.py").write_text(module)
        for package in packages or ("cawa-colours",):
            register(tmp_path, package, group, points)
        return Catalogue(included, group)

    return installed


def register(folder, package, group, points):
    """Describe an installed distribution."""
    described = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (described / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))


def refusal(catalogue):
    """Look at a catalogue, and return the one line in which it refuses a package."""
    with pytest.raises(InputError) as caught:
        list(catalogue)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_installed_analysis_comes_last_and_is_not_run_unless_it_is_named(install):
    catalogue = install({"colours": "colours:COLOURS"})
    assert list(catalogue) == [*ANALYSES, "colours"]
    assert catalogue["colours"].title == "Colours"
    assert catalogue.computed == (*ANALYSES.computed, "colours")
    assert catalogue.by_default == ANALYSES.by_default
    assert "colours" in table_schema.TABLES
    assert catalogue.option_names(derived=False)["colour_latents"] == "colours"


def test_nothing_is_installed_by_this_project_itself(group):
    assert list(Catalogue(tuple(ANALYSES.values()), group)) == list(ANALYSES)
    assert ANALYSES.group == "cawa.analyses"


def test_a_package_that_cannot_be_imported(install):
    message = refusal(install({"colours": "colours:COLOURS"}, module="import there_is_no_such_module"))
    assert message == (
        "analysis 'colours' of cawa-colours cannot be imported: No module named 'there_is_no_such_module'; fix or "
        "uninstall the package"
    )


@pytest.mark.parametrize("target", ["colours:MISSING", "missing:COLOURS"])
def test_a_declaration_that_is_not_there(install, target):
    assert "'colours' of cawa-colours cannot be imported: " in refusal(install({"colours": target}))


def test_an_import_that_fails_with_several_lines(install):
    message = refusal(install({"colours": "colours:COLOURS"}, module="raise ValueError('first\\nsecond')"))
    assert message.endswith("cannot be imported: first; fix or uninstall the package")


def test_another_object(install):
    message = refusal(install({"colours": "colours:TEXT"}))
    assert message == (
        "analysis 'colours' of cawa-colours must be a workflows.analyses.base.Analysis of that name; colours:TEXT is "
        "'str': fix or uninstall the package"
    )


def test_a_declaration_of_another_name(install):
    assert "of that name; colours:OTHER_NAME is 'colors': fix" in refusal(install({"colours": "colours:OTHER_NAME"}))


def test_a_name_of_this_project(install):
    message = refusal(install({"awareness": "colours:TAKEN"}))
    assert message == (
        "analysis 'awareness' of cawa-colours has a name that is taken; rename it there, or uninstall it"
    )


def test_a_name_of_another_package(install):
    module = GOOD + "AGAIN = colours(title='Again')\n"
    install({"colours": "colours:AGAIN"}, "cawa-again", module=module)
    message = refusal(install({"colours": "colours:COLOURS"}, module=module))
    assert message.startswith("analysis 'colours' of cawa-")
    assert "has a name that is taken" in message


def test_the_table_of_another_analysis(install):
    message = refusal(install({"colours": "colours:TAKEN_TABLE"}))
    assert message == (
        "analysis 'colours' of cawa-colours: table name 'awareness' is taken by a table with other columns; choose "
        "another, or uninstall the package"
    )


def test_tables_are_declared_once(tables):
    table = Table("colours", ("class_id",), {**CLASS, "mean": (pa.float32(), "mean grey value")})
    tables.declare(table)
    tables.declare(dataclasses.replace(table))
    assert tables.table_named("colours") is table
    with pytest.raises(ValueError, match="table name 'colours' is taken by a table with other columns; choose another"):
        tables.declare(dataclasses.replace(table, key=("mean",)))
    with pytest.raises(InputError, match=r"table must be one of sites, .*; got 'colors', which no imported module declares"):
        tables.table_named("colors")


def test_an_option_that_two_analyses_have(monkeypatch, group):
    """Its name would stand for two things on the command line."""

    @dataclasses.dataclass(frozen=True)
    class ColourOptions:
        masking_latents: int = option(4, "Latents per class.")

    colours = Analysis("colours", "Colours", options=ColourOptions, work="colours:Work", not_compared="it is shown")
    monkeypatch.setattr(spec_module, "ANALYSES", Catalogue((*ANALYSES.values(), colours), group))
    with pytest.raises(InputError) as caught:
        spec_module.audit_spec_type.__wrapped__()
    assert str(caught.value) == (
        f"option 'masking_latents' belongs to workflows.analyses.masking and to {__name__}; rename one, or uninstall "
        "its package"
    )


def test_an_option_that_the_lab_has(monkeypatch, group):
    @dataclasses.dataclass(frozen=True)
    class ColourOptions:
        seed: int = option(4, "Seed.")

    colours = Analysis("colours", "Colours", options=ColourOptions, work="colours:Work", not_compared="it is shown")
    monkeypatch.setattr(spec_module, "ANALYSES", Catalogue((*ANALYSES.values(), colours), group))
    with pytest.raises(InputError, match=r"option 'seed' belongs to workflows\.lab_spec and to "):
        spec_module.audit_spec_type.__wrapped__()


def test_options_that_analyses_share_by_a_base_are_one():
    """``class_metrics`` and ``hybrids`` share the number of neighbours."""
    owners = ANALYSES.option_names(derived=False)
    assert owners["neighbours"] == "class_metrics"
    assert "neighbours" in ANALYSES["hybrids"].option_names


def test_a_name_that_is_unknown():
    assert ANALYSES.named("masking") is ANALYSES["masking"]
    with pytest.raises(InputError, match=r"analysis must be one of .*; got 'maskin'; did you mean 'masking'\?"):
        ANALYSES.named("maskin")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"work": ""}, "analysis 'colours' must have either work or a derivation"),
        ({"derivation": "colours:Derivation"}, "must have either work or a derivation"),
        ({"not_compared": ""}, "must have a comparison, or say why it is not compared"),
        ({"comparison": "colours:Comparison"}, "must have a comparison, or say why it is not compared"),
        ({"axes": ("site", "class_id")}, "must begin with class_id; got site, class_id"),
    ],
)
def test_a_declaration_that_contradicts_itself(changes, message):
    values = {"work": "colours:Work", "not_compared": "it is shown"} | changes
    with pytest.raises(ValueError, match=message):
        Analysis("colours", "Colours", **values)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("colours:MISSING", "analysis 'colours' of cawa-colours cannot be imported"),
        ("colours:TEXT", "must be a workflows.analyses.base.Analysis of that name"),
        ("colours:TAKEN_TABLE", "table name 'awareness' is taken"),
    ],
)
def test_every_command_says_in_one_line_which_package_is_at_fault(tmp_path, target, message):
    (tmp_path / "colours.py").write_text(GOOD)
    register(tmp_path, "cawa-colours", ANALYSES.group, {"colours": target})
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from workflows.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "models"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("cawa: ")
    assert message in done.stderr


def test_an_installed_analysis_has_its_options_on_the_command_line(tmp_path):
    (tmp_path / "colours.py").write_text(GOOD)
    register(tmp_path, "cawa-colours", ANALYSES.group, {"colours": "colours:COLOURS"})
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from workflows.__main__ import main; main()"
    words = ["audit", "--stages=colours", "--colour-latents=0"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "cawa: colour_latents: input should be greater than or equal to 1; got 0\n"
