"""The page on paper: light, without controls, with its title and legend, and nothing is cut."""

import re

import pytest

from tests.page.pages import STEPS, state, text, wait

SHEETS = "document.querySelectorAll('#sheets figure').length"
WHOLE = """() => {  // the nodes that stand whole in one of the sheets, by number
    const whole = new Set();
    for (const figure of document.querySelectorAll("#sheets figure")) {
        const outer = figure.getBoundingClientRect(), inner = figure.querySelector("svg svg");
        const box = inner.getBoundingClientRect(), scale = inner.getScreenCTM().a;
        const left = inner.getScreenCTM().e + inner.viewBox.baseVal.x * scale;
        const right = left + inner.viewBox.baseVal.width * scale;
        for (const g of inner.querySelectorAll("g[data-n]")) {
            const b = g.getBoundingClientRect();
            if (b.left >= left - 1 && b.right <= right + 1 && b.top >= outer.top - 1 && b.bottom <= outer.bottom + 1)
                whole.add(g.dataset.n + " " + (g.dataset.w ?? ""));
        }
    }
    return [...whole].sort();
}"""
DRAWN = """() => [...new Set([...document.querySelectorAll("#stage g[data-n]")].map(
    (g) => g.dataset.n + " " + (g.dataset.w ?? "")))].sort()"""


def to_paper(page):
    """Show the page as it is printed; it hears of that a moment later."""
    page.emulate_media(media="print")
    wait(page, f"{SHEETS} > 0")


@pytest.mark.parametrize(("view", "steps"), [("unrolled", STEPS), ("ops", STEPS), ("rolled", 100), ("unrolled", 100)])
def test_every_node_stands_whole_on_a_sheet(show, view, steps):
    page, _ = show(view, steps)
    to_paper(page)
    for place in ("nav", "header button", "header input", "#names", "#panel .help"):
        assert not page.locator(place).first.is_visible()
    assert page.locator("h1").is_visible()
    assert page.locator("#sheets .legend").count() == 1
    assert page.evaluate(DRAWN) == page.evaluate(WHOLE) != []
    widths = page.locator("#sheets figure > svg").evaluate_all("all => all.map((e) => e.getBoundingClientRect().right)")
    assert max(widths) <= 1280
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    if steps < 100:
        assert page.locator("#sheets figure").count() <= 4
    elif view == "rolled":
        assert page.locator("#sheets figure").count() == 2  # the picture and its legend
    for t in range(steps if view == "unrolled" else 0):
        assert page.locator("#sheets text.k", has_text=re.compile(rf"^t = {t}$")).count() >= 1


def test_the_sheets_are_readable(show):
    page, _ = show("unrolled", 100)
    page.set_viewport_size({"width": 1047, "height": 718})  # A4, landscape, within the margins
    to_paper(page)
    sizes = page.locator("#sheets svg svg text").evaluate_all(
        "all => all.map((e) => parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a)"
    )
    assert min(sizes) > 6  # CSS pixels: 4.5 points
    tall = page.locator("#sheets figure > svg").evaluate_all("all => all.map((e) => e.getBoundingClientRect().height)")
    assert max(tall) < 650  # fits beside the title and the legend


def test_paper_is_light_and_the_screen_stays_dark(show):
    page, _ = show()
    page.keyboard.press("d")
    fill = "getComputedStyle(document.querySelector('{} .gate rect')).fill"
    dark = page.evaluate(fill.format("#stage"))
    to_paper(page)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(fill.format("#sheets")) == "rgb(251, 221, 228)" != dark
    page.emulate_media(media="screen")
    wait(page, f"{SHEETS} === 0")
    assert page.evaluate(fill.format("#stage")) == dark


def test_a_printed_step_shows_where_it_stands(show):
    page, _ = show()
    page.keyboard.press("b")
    said = state(page)["title"]
    to_paper(page)
    assert page.locator("#sheets svg.back g.cur").count() >= 1
    assert text(page, "#panel h2") == said


@pytest.mark.parametrize(
    ("view", "steps", "least"), [("rolled", 100, 1), ("unrolled", STEPS, 2), ("unrolled", 100, 20)]
)
def test_pdf(show, view, steps, least):
    page, _ = show(view, steps)
    printed = page.pdf(prefer_css_page_size=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert least <= pages <= 1.5 * least + 1
    width, height = map(float, re.search(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", printed).groups())
    assert width > height  # landscape
    wait(page, f"{SHEETS} === 0")  # the screen is as before
