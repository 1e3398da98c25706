"""The part of the report about single classes, with 1,000 classes of which seven are bad, in a real browser."""

import json

import numpy as np
import pandas as pd
import pytest

from cawa_core.rendering import class_browser as browsers
from cawa_core.rendering.class_browser import class_browser
from cawa_core.rendering.class_facts import ClassFacts, ClassValue, RelatedClass, Relation, outliers
from cawa_core.rendering.grids import thumbnails_to_webp
from cawa_core.rendering.pixels import to_png
from cawa_core.rendering.report import build_report
from cawa_core.rendering.sections import Scatter, Section
from cawa_core.tables.audit_record import AuditRecord, RecordedIdentity
from tests.cawa_core.class_metrics.test_class_metrics import smooth_images
from workflows.analyses.class_overlap.figures import OverlapClasses, clustered_overlap

N = 1000
BROKEN, SWAPPED, COLLAPSED, NOISY = (101, 502, 903), (207, 208), 340, 777
NAMES = {
    class_id: f"class {class_id:04d} </script><b>" if class_id == 5 else f"class {class_id:04d}"
    for class_id in range(N)
}


@pytest.fixture(scope="module")
def facts():
    random = np.random.default_rng(0)
    fid, recall, accuracy = random.normal(30, 3, N), random.normal(0.6, 0.04, N), random.normal(0.9, 0.02, N)
    fid[list(BROKEN)] = 190, 180, 200
    accuracy[list(SWAPPED)] = 0.01
    recall[COLLAPSED], fid[NOISY] = 0.02, 120
    values = [
        ClassValue("fid", "FID", "distance", "lower", dict(enumerate(fid.tolist()))),
        ClassValue("recall", "recall", "share", "higher", dict(enumerate(recall.tolist()))),
        ClassValue(
            "accuracy", "accuracy", "share", "higher", dict(enumerate(accuracy.tolist())), "not recognised as its class"
        ),
        ClassValue("total", "total awareness", "sum", "", dict(enumerate(random.normal(9, 1, N).tolist()))),
    ]
    pairs = dict(zip(SWAPPED, SWAPPED[::-1], strict=True))
    taken = {
        a: [RelatedClass(b, NAMES[b], "97% of the generated images, 1% of the real ones", True)]
        for a, b in pairs.items()
    }
    webp = thumbnails_to_webp([to_png(image) for image in smooth_images(6, 256)])
    return ClassFacts(tuple(values), (Relation("Most often mistaken for", taken),), dict.fromkeys(range(N), webp))


def test_exactly_the_planted_classes_stand_out(facts):
    by_class = {outlier.class_id: outlier.value for outlier in outliers(facts.values)}
    assert by_class == dict.fromkeys((*BROKEN, NOISY), "fid") | dict.fromkeys(SWAPPED, "accuracy") | {
        COLLAPSED: "recall"
    }


def test_values_without_a_bad_side_have_no_outliers(facts):
    (total,) = [value for value in facts.values if not value.better]
    assert total.deviations() == {}


def test_pictures_of_bad_classes_are_in_the_page_and_those_without_room_beside_it(facts, monkeypatch):
    size = 4 * len(facts.pictures[0]) // 3
    monkeypatch.setattr(browsers, "MOST_INLINE", 10 * size + 9)
    content = class_browser(facts, NAMES, {})
    pictures = json.loads(content.data)["pictures"]
    inline = {int(class_id) for class_id, source in pictures.items() if source.startswith("data:")}
    assert len(inline) == 10
    assert inline >= {*BROKEN, *SWAPPED, COLLAPSED, NOISY}
    assert len(content.files) == N - 10
    assert {source for source in pictures.values() if not source.startswith("data:")} == {
        f"figures/{path}" for path in content.files
    }
    assert "10 of 1,000 classes" in content.lead


def test_without_values_and_pictures_there_is_no_browser():
    assert class_browser(ClassFacts(), NAMES, {}) is None


@pytest.fixture(scope="module")
def page_file(facts, tmp_path_factory):
    """The page of an audit of 1,000 classes, with pictures of 256 pixels and overlaps of all pairs."""
    random = np.random.default_rng(0)
    a, b = np.triu_indices(N, 1)
    near = (a // 50 == b // 50).astype(float)
    overlaps = pd.DataFrame(
        {
            "class_a": a,
            "class_b": b,
            "overlap": 0.05 + 0.4 * near + 0.02 * random.random(len(a)),
            "overlap_by_chance": 0.06,
        }
    )
    drawn = clustered_overlap(
        dict.fromkeys(("category_highest", "expected_activation_highest", "masking_highest"), overlaps),
        OverlapClasses(list(range(N)), NAMES, None),
    )
    section = Section(
        "class_overlap",
        "Which classes share channels",
        "Overlap.",
        drawn.pictures,
        pair_map=drawn.pair_map,
        scatters=(Scatter("recall", "fid", "FID against recall"),),
    )
    identity = RecordedIdentity({"classes": list(range(N)), "generator": "g", "stages": []}, {}, {}, 1)
    wordnet_ids = {class_id: f"n{class_id:08d}" for class_id in range(N)}
    audit = AuditRecord("0" * 64, identity, NAMES, {}, "cpu", wordnet_ids=wordnet_ids)
    summary = {
        "generator": "g",
        "classes": list(range(N)),
        "class_names": NAMES,
        "findings": [],
        "quarantined": [],
        "seconds": {},
    }
    sites = pd.DataFrame({"site": [0], "name": ["bn"], "channels": [8], "resolution": [4], "inert_channels": [[]]})
    report = build_report([section], facts, summary, audit, sites)
    folder = tmp_path_factory.mktemp("page")
    for path, content in report.files.items():
        (folder / "figures" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "figures" / path).write_bytes(content)
    (folder / "report.html").write_text(report.html, encoding="utf-8")
    return folder / "report.html"


def test_the_page_of_many_classes_is_below_15_megabytes(page_file):
    assert page_file.stat().st_size < 15e6


@pytest.fixture
def page(browser, page_file):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page, faults = context.new_page(), []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(page_file.as_uri())
    yield page
    assert faults == []
    context.close()


@pytest.mark.browser
def test_bad_classes_are_named_first_and_lead_to_their_address(page):
    named = page.locator(".outstanding a").all_inner_texts()
    assert set(named) == {NAMES[class_id] for class_id in (*BROKEN, *SWAPPED, COLLAPSED, NOISY)}
    page.click(f".outstanding a >> text={NAMES[207]}")
    assert page.url.endswith("#class-207")
    detail = page.locator("#class-detail")
    assert "Stands out: not recognised as its class (accuracy" in detail.inner_text()
    assert "class 0208" in detail.locator("ol").first.inner_text()
    assert "Most often mistaken for: class 0208" in detail.locator(".class-label").inner_text()
    detail.locator("ol a").first.click()
    assert page.url.endswith("#class-208")
    assert detail.locator("h3").inner_text() == "class 0208"


@pytest.mark.browser
@pytest.mark.parametrize(
    ("text", "name"),
    [("777", NAMES[777]), ("CLASS 0340", NAMES[340]), ("</script>", NAMES[5]), ("n00000512", NAMES[512])],
)
def test_a_search_and_enter_open_a_class(page, text, name):
    page.fill("input[name=find]", text)
    page.press("input[name=find]", "Enter")
    assert page.locator("#class-detail h3").inner_text() == name


@pytest.mark.browser
def test_classes_are_ordered_by_any_value_from_either_end(page):
    page.select_option("select[name=order]", "recall")
    assert page.locator(".class-card strong").first.inner_text() == NAMES[COLLAPSED]
    assert "recall 0.02, worst of 1,000" in page.locator(".class-card").first.inner_text()
    page.select_option("select[name=end]", "last")
    assert ", best of 1,000" in page.locator(".class-card").first.inner_text()
    assert "1,000 classes, best recall first; 12 shown." in page.locator(".class-count").inner_text()
    page.click(".class-more")
    assert page.locator(".class-card").count() == 60


@pytest.mark.browser
def test_dots_are_named_by_pointer_and_by_keys(page):
    page.click(".class-scatter summary")
    page.select_option(".class-plot select[name=x]", "fid")
    page.select_option(".class-plot select[name=y]", "accuracy")
    assert page.locator(".class-plot circle").count() == N
    worst = page.locator(".class-plot circle.outlier").evaluate_all(
        "(dots) => { const [last] = dots.sort((a, b) => b.cx.baseVal.value - a.cx.baseVal.value);"
        " const box = last.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }"
    )
    page.mouse.move(*worst)
    assert page.locator(".class-plot .class-point").inner_text().startswith(NAMES[903])
    page.focus(".class-plot svg")
    page.keyboard.press("ArrowLeft")
    assert page.locator(".class-plot .class-point").inner_text().startswith(NAMES[101])
    page.keyboard.press("Enter")
    assert page.url.endswith("#class-101")


@pytest.mark.browser
def test_many_classes_come_first_and_a_figure_leads_to_its_dots(page):
    assert page.locator("main > section").first.get_attribute("id") == "classes"
    assert page.locator("nav a").first.inner_text() == "Classes"
    page.click("#class_overlap >> text=FID against recall")
    assert page.locator(".class-plot select[name=x]").input_value() == "recall"
    assert page.locator(".class-plot select[name=y]").input_value() == "fid"
    assert page.evaluate("document.activeElement.tagName") == "svg"
    heights = "(dots) => dots.map((dot) => dot.cy.baseVal.value)"
    linear = page.locator(".class-plot circle:not(.outlier)").evaluate_all(heights)
    page.check(".class-plot input[name=logarithmic]")
    logarithmic = page.locator(".class-plot circle:not(.outlier)").evaluate_all(heights)
    assert max(logarithmic) - min(logarithmic) > 2 * (max(linear) - min(linear))
    assert len(page.locator(".class-plot text").all_inner_texts()) >= 6


@pytest.mark.browser
def test_the_map_of_pairs_zooms_into_a_cluster_and_names_its_classes(page):
    canvas = page.locator(".pair-map canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + 0.02 * box["width"], box["y"] + 0.02 * box["height"])
    status = page.locator(".pair-map .class-point").inner_text()
    assert "Both in the cluster" in status or "the same class" in status
    assert page.locator(".pair-map select[name=rows]").input_value() == "0"
    canvas.press("Escape")
    assert page.locator(".pair-map select[name=rows]").input_value() == "all"
    canvas.press("ArrowDown")
    canvas.press("ArrowRight")
    words = page.locator(".pair-map .class-point").inner_text()
    assert "(6.0% by chance)" in words


@pytest.mark.browser
def test_an_address_opens_its_class_and_fits_a_phone(browser, page_file):
    context = browser.new_context(viewport={"width": 390, "height": 844}, offline=True)
    page = context.new_page()
    page.goto(f"{page_file.as_uri()}#class-{COLLAPSED}")
    page.wait_for_selector("#class-detail h3")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
