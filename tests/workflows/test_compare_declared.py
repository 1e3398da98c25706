"""An analysis of an installed package is compared by its declaration: no generic code knows it."""

import ast
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
from pydantic import Field

from cawa_core.errors import InputError
from cawa_core.options import option
from cawa_core.rendering.html_tables import table_of
from cawa_core.rendering.sections import Section
from cawa_core.tables.schema import CLASS, F32, TABLES, Table
from tests.workflows.written_audits import rewrite, written_audit
from workflows.analyses import ANALYSES
from workflows.compare import comparison as comparison_module
from workflows.compare.comparison import compare
from workflows.compare.options import comparison_spec, comparison_spec_type, merged_comparison
from workflows.interface import Analysis, Comparison, catalogue


@dataclasses.dataclass(frozen=True)
class ToneThresholds:
    tone_rise: Annotated[float, Field(ge=0)] = option(0.5, "Smallest rise of the tone that counts as a regression.")


@dataclasses.dataclass(frozen=True)
class ToneOptions:
    tone_pitch: int = option(440, "Pitch of the tone.")
    tone_draws: int = option(10, "Draws of the tone.")


TONES_TABLE = Table("tones", ("class_id",), {**CLASS, "tone": (F32, "height of the tone")})
TONES = Analysis(
    "tones",
    "Tones",
    options=ToneOptions,
    tables=(TONES_TABLE,),
    work="tests.workflows.test_compare_declared:Work",
    comparison="tests.workflows.test_compare_declared:TonesComparison",
    thresholds=ToneThresholds,
    may_differ=("tone_draws",),
)


class TonesComparison(Comparison[ToneThresholds]):
    ENTRIES = ("sound.tones",)

    def contrast(self, pair, thresholds, level):
        base, new = pair.tables(TONES_TABLE.name)
        assert (type(thresholds), level) == (ToneThresholds, 0.05)
        rows = [
            {
                "class_id": one.class_id,
                "class_name": pair.class_names[one.class_id],
                "metric": "tone",
                "base": one.tone,
                "new": other.tone,
                "q_value": 0.0,
                "verdict": "worse" if other.tone - one.tone > thresholds.tone_rise else "same",
            }
            for one, other in zip(base.itertuples(), new.itertuples(), strict=True)
        ]
        return {"sound.tones": rows}

    def judged(self, content):
        return content["sound"]["tones"]

    def has_moved(self, content):
        return any(row["base"] != row["new"] for row in content["sound"]["tones"])

    def sections(self, content):
        columns = {"class_name": "class", "base": "base", "new": "new"}
        return [
            Section("tones", "Tones", "How it sounds.", tables=(table_of("All", columns, content["sound"]["tones"]),))
        ]

    def markdown(self, content):
        yield "Tones", f"{len(content['sound']['tones'])} tones were compared.\n"


@pytest.fixture
def installed(monkeypatch):
    """The package is installed."""
    point = SimpleNamespace(name="tones", value="tones:TONES", dist=None, load=lambda: TONES)
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [point] if group == ANALYSES.group else [])
    monkeypatch.setitem(TABLES, "tones", TONES_TABLE)
    for name in ("installed", "_analyses"):
        if name in vars(ANALYSES):
            monkeypatch.delitem(vars(ANALYSES), name)
    comparison_spec_type.cache_clear()
    yield
    for name in ("installed", "_analyses"):
        vars(ANALYSES).pop(name, None)
    comparison_spec_type.cache_clear()


def tones(*heights):
    return {"tones": {"class_id": list(range(len(heights))), "tone": list(heights)}}


def test_it_is_compared_judged_and_written(installed, tmp_path):
    base = written_audit(tmp_path / "base", tones(1.0, 2.0))
    new = written_audit(tmp_path / "new", tones(1.0, 3.0))
    result = compare(str(base), str(new), comparison_spec(), str(tmp_path / "out"))
    assert result.is_worse
    assert result.sentence == "worse: class 1 (tone 2 to 3)"
    assert result.content["compared"] == ["tones"]
    assert [row["class_id"] for row in result.content["regressions"]] == [1]
    assert result.content["sound"]["tones"][1]["new"] == 3.0
    text = (tmp_path / "out/compare.html").read_text()
    assert 'id="tones"' in text
    assert "How it sounds." in text
    assert "2 tones were compared." in (tmp_path / "out/compare.md").read_text()
    lenient = compare(str(base), str(new), merged_comparison(None, {"tone_rise": 2.0}), str(tmp_path / "out"))
    assert (lenient.is_worse, lenient.sentence) == (False, "not worse")
    assert compare(str(base), str(base), comparison_spec(), str(tmp_path / "out")).sentence == (
        "identical: nothing moved"
    )


def test_its_options_must_agree_unless_they_may_differ(installed, tmp_path):
    base = written_audit(tmp_path / "base", tones(1.0))
    for name, changed in (("draws", {"tone_draws": 20}), ("pitch", {"tone_pitch": 220})):
        folder = written_audit(tmp_path / name, tones(1.0))
        rewrite(folder / "audit.json", lambda record, new=changed: record["analyses"]["tones"].update(options=new))
    compare(str(base), str(tmp_path / "draws"), comparison_spec(), str(tmp_path / "out"))
    with pytest.raises(InputError, match=r"tone_pitch \(None in base, 220 in new\)"):
        compare(str(base), str(tmp_path / "pitch"), comparison_spec(), str(tmp_path / "out"))


def test_two_thresholds_of_one_name_are_refused(installed, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Taken:
        fid_rise: float = 0.1

    monkeypatch.setitem(ANALYSES._analyses, "tones", dataclasses.replace(TONES, thresholds=Taken))
    with pytest.raises(InputError, match=r"threshold 'fid_rise' belongs to .* and to .*test_compare_declared; rename"):
        comparison_spec_type()


def test_an_entry_that_is_taken_is_an_error_of_the_package(installed, tmp_path, monkeypatch):
    monkeypatch.setattr(TonesComparison, "ENTRIES", ("base",))
    folder = str(written_audit(tmp_path / "base", tones(1.0)))
    monkeypatch.setattr(TonesComparison, "contrast", lambda *_: {"base": []})
    with pytest.raises(ValueError, match="entry 'base' of analysis 'tones' is taken"):
        compare(folder, folder, comparison_spec(), str(tmp_path / "out"))


def test_generic_code_knows_no_analysis_by_name():
    folder = Path(comparison_module.__file__).parent
    for file in folder.glob("*.py"):
        tree = ast.parse(file.read_text())
        literals = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not literals & set(ANALYSES), file.name
