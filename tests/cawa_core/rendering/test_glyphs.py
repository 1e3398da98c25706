"""Names in figures: never mathematics, never boxes."""

import io
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from cawa_core.rendering import glyphs
from cawa_core.rendering.figures import draw
from cawa_core.rendering.palette import light
from cawa_core.rendering.sheets import CODE_POINTS, Cell, Sheet, SheetRow, _explained, draw_sheet

PEACH, PEAR = "\u6843", "\u68a8"


@pytest.fixture
def font_with_a_peach(tmp_path, monkeypatch):
    """An installed font with one wide, black character."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "peach"])
    builder.setupCharacterMap({ord(PEACH): "peach"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "peach": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "peach": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Peach", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "peach.ttf")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
    glyphs.fonts_for.cache_clear()
    font_manager.fontManager.addfont(tmp_path / "peach.ttf")
    yield
    glyphs.fonts_for.cache_clear()


@pytest.fixture
def no_other_fonts(monkeypatch):
    """A machine that has the fonts of matplotlib only."""
    mine = [entry for entry in font_manager.fontManager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", mine)
    glyphs.fonts_for.cache_clear()
    yield
    glyphs.fonts_for.cache_clear()


def named(*names):
    def paint(axes):
        axes.set_xticks(range(len(names)), names)
        axes.set_title(names[0])
        axes.annotate(names[-1], (0.5, 0.5))

    return draw("names", "", (3, 2), paint)


def black_pixels(png):
    return int((np.asarray(Image.open(io.BytesIO(png)).convert("L")) < 128).sum())


def test_names_are_never_mathematics():
    picture = named("$a_1$", "a_$b", "\\alpha^2", "<i>&")
    for text in ("$a_1$", "a_$b", "\\alpha^2", "&lt;i&gt;&amp;"):
        assert f">{text}</text>" in picture.svg
    assert picture.undrawable == frozenset()


def test_characters_without_a_font_are_code_points_in_pixels(no_other_fonts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = named(PEACH, f"a {PEAR}", "é")
    assert picture.undrawable == {PEACH, PEAR}
    assert picture.svg.count(PEACH) == 2
    assert "\\u6843" not in picture.svg
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xticks([0, 1], [PEACH, "é"])
    axes.set_title(PEAR)
    glyphs.write_as_code_points(figure, picture.undrawable)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["\\u6843", "é"]
    assert axes.get_title() == "\\u68a8"


def test_an_installed_font_draws_what_the_usual_one_lacks(font_with_a_peach):
    assert named(PEACH, "a").undrawable == frozenset()
    assert black_pixels(named(PEACH, "a").png) > black_pixels(named("i", "a").png) + 100
    assert glyphs.font_file_for(PEACH).endswith("peach.ttf")
    assert glyphs.font_file_for("é") == glyphs.REGULAR


def test_sheets_say_what_code_points_are(no_other_fonts):
    picture = np.zeros((28, 28), dtype=np.uint8)
    sheets = [Sheet("masks", "a note", ("low",), (SheetRow(label, (Cell(picture),)),)) for label in ("bag", PEACH)]
    assert _explained(sheets[0]) == "a note"
    assert _explained(sheets[1]) == f"a note\n{CODE_POINTS}"
    heights = [Image.open(io.BytesIO(draw_sheet(sheet))).height for sheet in sheets]
    assert heights[1] > heights[0]


def test_long_names_are_cut_in_figures():
    assert glyphs.shortened("x" * 24) == "x" * 24
    assert glyphs.shortened("x" * 25) == "x" * 23 + "…"
    assert light("ink") in named(glyphs.shortened("y" * 120), "z").svg
