import re
from html.parser import HTMLParser

import numpy as np

from cawa_core.rendering import figures
from cawa_core.rendering.figures import draw
from cawa_core.rendering.findings import findings
from cawa_core.rendering.html_tables import cell, table_of
from cawa_core.rendering.palette import PALETTE, light


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


def controls(high, ci):
    difference = {"mean": high, "ci": ci, "n_classes": 10}
    rows = [{"site": -1, "control": name, "score_change": 0.1} for name in ("lowest", "random", "highest")]
    return {"rows": rows, "highest_minus_random": difference, "random_minus_lowest": difference}


def segmented(*intervals):
    means = {"plain": 0.5, "weighted": 0.6, "gained": 0.1}
    return [{"clusters": 3 + place, **means, "gained_ci": ci} for place, ci in enumerate(intervals)]


def test_segmentation_must_gain_with_every_number_of_clusters():
    up, down, both = [0.1, 0.2], [-0.2, -0.1], [-0.1, 0.2]
    cases = (
        ((up, up), "holds"),
        ((up, down), "holds in part"),
        ((up, both), "holds in part"),
        ((both, down), "open"),
        ((down, down), "does not hold"),
        ((None,), "open"),
    )
    for intervals, verdict in cases:
        (found,) = findings({"segmentation": segmented(*intervals)})
        assert found.verdict == verdict


def test_hybrids_are_judged_by_harmony_alone():
    row = {"n_pairs": 9, "style_mixing": 0.1, "channel_mixing": 0.2, "gained": 0.1}
    for ci, verdict in (([0.05, 0.2], "holds"), ([-0.2, -0.1], "does not hold"), ([-0.1, 0.2], "open")):
        rows = [
            {"measure": "harmony", **row, "gained_ci": ci},
            {"measure": "balance", **row, "gained_ci": [-0.2, -0.1]},
        ]
        (found,) = findings({"hybrids": rows})
        assert found.verdict == verdict
        assert "balance 0.20 against 0.10" in found.evidence


def test_verdicts_follow_the_intervals():
    cases = ([0.1, 0.2], "holds"), ([-0.2, -0.1], "does not hold"), ([-0.1, 0.2], "open"), (None, "open")
    for ci, verdict in cases:
        assert findings({"masking_controls": controls(0.1, ci)})[0].verdict == verdict


def prediction(r, ci, share):
    row = {"target": "score_change", "predictor": "category_awareness", "site": -1, "n_classes": 10, "spearman": r}
    return [{**row, "pearson_smoothed": r, "pearson_smoothed_ci": ci, "share_significant": share}]


def test_a_correlation_must_beat_its_null_too():
    for ci, share, verdict in (
        ([0.3, 0.5], 0.8, "holds"),
        ([0.3, 0.5], 0.2, "holds in part"),
        ([-0.1, 0.1], 0.0, "open"),
        ([-0.5, -0.3], 0.9, "does not hold"),
    ):
        assert findings({"masking_prediction": prediction(0.4, ci, share)})[0].verdict == verdict


def test_every_quality_sign_must_agree():
    def rows(precision, recall):
        ends = {"holds": (0.2, 0.8), "open": (-0.2, 0.8), "fails": (-0.8, -0.2)}
        signs = {"precision": 1, "recall": -1}
        made = []
        for metric, state in (("precision", precision), ("recall", recall)):
            low, high = sorted(signs[metric] * end for end in ends[state])
            made.append({"metric": metric, "pearson": 0.5, "ci_low": low, "ci_high": high, "n_classes": 10})
        return made

    for states, verdict in (
        (("holds", "holds"), "holds"),
        (("holds", "open"), "holds in part"),
        (("open", "open"), "open"),
        (("fails", "open"), "does not hold"),
        (("fails", "holds"), "holds in part"),
    ):
        assert findings({"metric_correlation": rows(*states), "n_real": [50, 50]})[0].verdict == verdict
    (unequal,) = findings({"metric_correlation": rows("holds", "holds"), "n_real": [732, 1300]})
    assert "732 to 1,300 real images" in unequal.evidence


def test_similarity_is_open_where_its_test_decides_nothing():
    def overlaps(*tested):
        row = {"site": -1, "k": 10, "criterion": "category_highest"}
        return {"overlap": [{**row, "similarity_spearman": r, "similarity_p": p} for r, p in tested]}

    for tested, verdict in (((0.9, 0.01), "holds"), ((0.9, 0.06), "open"), ((-0.5, 0.9), "does not hold")):
        (found,) = findings(overlaps(tested))
        assert found.verdict == verdict
    assert findings(overlaps((None, None))) == []
    assert findings({"overlap": [{"site": 0, "k": 10, "criterion": "category_highest"}]}) == []


def test_gains_keep_their_sign_only_where_none_is_likely_to_change_it():
    tails = {"estimator_gap": None, "heavy_tail": 1e-3, "light_tail": 1e-6}
    for share, largest, claim in ((0.2, 0.4, "Gains change"), (0.0, 4e-4, "Gains rarely"), (0.0, 1e-9, "Gains keep")):
        section = {**tails, "share_of_large_sign_probability": share, "largest_sign_probability": largest}
        (found,) = findings({"heavy_tails": section})
        assert found.claim.startswith(claim)


def test_masks_that_hurt_lower_the_score():
    (found,) = findings({"masking_controls": controls(0.1, [0.1, 0.2])})
    assert "lowers the class's score by" in found.evidence


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
