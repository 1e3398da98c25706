"""The report as a file, and in a real browser."""

import pytest

from tests.cawa_core.rendering.test_rendering import parsed

ANCHORS = (
    "findings",
    "samples",
    "gallery",
    "awareness",
    "curves",
    "predictors",
    "class_overlap",
    "shared_channels",
    "class_metrics",
    "metric_correlation",
    "edits",
    "hybrids",
    "segmentation",
    "provenance",
)


def test_the_page_is_self_contained(audited):
    text = (audited / "report.html").read_text()
    page = parsed(text)
    assert all(source.startswith("data:") for source in page.sources)
    assert "@import" not in text
    assert "url(http" not in text
    assert page.without_alt == 0
    assert len(page.ids) == len(set(page.ids))
    assert [anchor for anchor in page.ids if anchor in ANCHORS] == list(ANCHORS)
    assert len(text) < 8e6
    assert list((audited / "figures").glob("*.png"))
    assert list((audited / "figures").glob("*.svg"))


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_from_disk_and_fits(browser, audited, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page, faults, requests = context.new_page(), [], []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((audited / "report.html").as_uri())
    assert faults == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) > 600) == (scheme == "light")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background
    context.close()


@pytest.mark.browser
def test_tables_sort_by_value(browser, audited):
    page = browser.new_page()
    page.goto((audited / "report.html").as_uri())
    table = page.locator("#class_metrics table").first
    column = table.locator("th").evaluate_all("(all) => all.findIndex((one) => one.innerText.trim() === 'FID')")
    heading = table.locator("th").nth(column).locator("button")
    for order in ("ascending", "descending"):
        heading.click()
        assert table.locator("th").nth(column).get_attribute("aria-sort") == order
        values = [
            float(cell.get_attribute("data-value")) for cell in table.locator(f"tr td:nth-child({column + 1})").all()
        ]
        assert values == sorted(values, reverse=order == "descending")
        assert len(values) == 4
    page.close()
