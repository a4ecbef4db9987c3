"""Light, dark, and narrow windows: everything is in sight and can be read."""

import re

import pytest

from tests.page.pages import STEPS, wait


def test_nothing_is_cut_off_or_covered(show):
    page, _ = show()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 1280
    for place in ("header", "nav", "#view", "#panel"):
        box = page.locator(place).bounding_box()
        assert box["width"] > 100
        assert box["y"] + box["height"] <= 801
    wide = page.evaluate("""[...document.querySelectorAll("g[data-n]")].filter((g) => {
        const rect = g.querySelector("rect").getBoundingClientRect();
        return [...g.querySelectorAll("text")].some((t) => t.getBoundingClientRect().width > rect.width);
    }).map((g) => g.textContent)""")
    assert wide == []  # every label fits into its box, in this browser's fonts


def luminance(colour):
    r, g, b = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrasts(page):
    """Return the contrast ratio of every text in a node to the node's fill (WCAG 2.2, 1.4.3)."""
    pairs = page.evaluate("""[...document.querySelectorAll("g[data-n]")].flatMap((g) => {
        const under = getComputedStyle(g.querySelector("rect")).fill;
        return [...g.querySelectorAll("text")].map((t) => [getComputedStyle(t).fill, under]);
    })""")
    return [contrast(*pair) for pair in pairs]


def contrast(*colours):
    light = [luminance([int(v) / 255 for v in re.findall(r"\d+", c)[:3]]) for c in colours]
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_dark_and_light(show):
    page, _ = show()
    backgrounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        wait(page, f"document.documentElement.dataset.theme === '{scheme}'")
        backgrounds.append(page.evaluate("getComputedStyle(document.querySelector('svg .bg')).fill"))
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == backgrounds[-1]
        assert min(contrasts(page)) > 4.5
    assert backgrounds == ["rgb(255, 255, 255)", "rgb(20, 23, 28)"]
    page.keyboard.press("d")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_narrow_window(show):
    page, _ = show()
    page.set_viewport_size({"width": 390, "height": 780})
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    view, panel = page.locator("#view").bounding_box(), page.locator("#panel").bounding_box()
    assert view["width"] == panel["width"] == 390
    assert view["height"] > 250
    assert panel["y"] == view["y"] + view["height"]  # below it


def test_strips_keep_their_names_in_sight(show):
    page, _ = show("unrolled", 100)
    shown = "[...document.querySelectorAll('#names span:not([hidden])')].map((e) => e.textContent)"
    assert page.evaluate(shown) == []  # they stand in the picture itself
    page.evaluate("tinyseq.go(1000)")
    assert page.evaluate(shown) == ["mean |i|", "mean |f|", "mean |g|", "mean |o|", "‖∂L/∂c‖", "‖∂L/∂h‖", "l0"]
    heights = "[...document.querySelectorAll('{}')].map((e) => {{ const b = e.getBoundingClientRect(); {} }})"
    names = page.evaluate(heights.format("#names span", "return b.top + b.height / 2;"))
    strips = page.evaluate(heights.format("rect.now", "return b.top + b.height / 2;"))
    assert names[:6] == [pytest.approx(y, abs=3) for y in strips]  # each beside its strip


def test_texts_of_strips_can_be_read(show):
    for view, steps in (("unrolled", STEPS), ("rolled", 100)):
        page, _ = show(view, steps)
        for key in ("", "d"):
            if key:
                page.keyboard.press(key)
            under = page.evaluate("getComputedStyle(document.querySelector('svg .bg')).fill")
            names = page.locator("svg text.r").evaluate_all("all => all.map((e) => getComputedStyle(e).fill)")
            assert min(contrast(name, under) for name in names) > 4.5
