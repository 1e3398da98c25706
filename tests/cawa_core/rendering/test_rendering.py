import re
from html.parser import HTMLParser

import numpy as np

from cawa_core.rendering import figures
from cawa_core.rendering.claims import named_classes
from cawa_core.rendering.figures import draw
from cawa_core.rendering.html_tables import cell, table_of
from cawa_core.rendering.palette import PALETTE, light
from cawa_core.rendering.report import setting_in_words
from cawa_core.rendering.sections import shown_classes


def test_figures_follow_the_theme_and_keep_their_ids_apart():
    def paint(axes):
        axes.plot([0, 1], [1, 0], "o-", color=light("blue"))
        axes.set_title("title")

    one, other = draw("one", 'a "quoted" <alt>', (3, 2), paint), draw("other", "alt", (3, 2), paint)
    assert "var(--blue)" in one.inline_svg
    assert PALETTE["blue"].light not in one.inline_svg
    assert PALETTE["blue"].light in one.svg
    assert 'aria-label="a &quot;quoted&quot; &lt;alt>"' in one.inline_svg
    ids = [re.findall(r'id="([^"]*)"', picture.inline_svg) for picture in (one, other)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    referenced = set(re.findall(r'(?:url\(#|href="#)([^)"]*)', one.inline_svg))
    assert referenced <= set(ids[0])
    assert one.png.startswith(b"\x89PNG")


def test_the_same_figure_twice_is_the_same():
    def paint(axes):
        axes.plot(np.arange(3))

    assert draw("a", "", (3, 2), paint) == draw("a", "", (3, 2), paint)


def test_cells():
    assert cell(None).text == "–"
    assert cell(float("nan")).value == ""
    assert cell(0.00001).text == "1.0e−05"
    assert cell(-0.5).text == "−0.500"
    assert float(cell(-0.5).value) == -0.5
    assert cell(3).text == "3"
    assert cell("shirt").numeric is False
    table = table_of("caption", {"a": "A"}, [{"a": 1, "b": 2}])
    assert [one.text for one in table.rows[0]] == ["1"]


def test_the_first_of_many_classes_are_named():
    names = {class_id: f"c{class_id}" for class_id in range(9)}
    assert named_classes([3], names) == "c3"
    assert named_classes([3, 1, 20], names) == "c3, c1 and class 20"
    assert named_classes(range(9), names) == "c0, c1, c2, c3, c4 and 4 more"


def test_classes_with_images_are_evenly_spaced():
    assert shown_classes(range(3)) == [0, 1, 2]
    selected = shown_classes(range(1000))
    assert len(selected) == 20
    assert selected[0] == 0
    assert selected[-1] == 999
    assert len(set(np.diff(selected))) <= 2


class Page(HTMLParser):
    """Collects what the tests look at."""

    def __init__(self):
        super().__init__()
        self.sources, self.ids, self.without_alt = [], [], 0

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in ("img", "script", "iframe", "link"):
            self.sources += [attributes[key] for key in ("src", "href") if key in attributes]
        if tag == "img" and not attributes.get("alt"):
            self.without_alt += 1
        if "id" in attributes:
            self.ids.append(attributes["id"])


def parsed(text):
    page = Page()
    page.feed(text)
    return page


def test_site_numbers_stay_apart_below_an_axis():
    assert figures.legible(range(7)) == list(range(7))
    assert figures.legible(range(56)) == list(range(0, 56, 4))


def test_settings_in_words():
    cases = (
        ([0, 1, 2, 3, 7, 8, 10], "0 to 3, 7, 8, 10"),
        ([], ""),
        (["a", "b"], "a, b"),
        (0.5, "0.5"),
        ([True, 1], "True, 1"),
    )
    for value, words in cases:
        assert setting_in_words(value) == words
