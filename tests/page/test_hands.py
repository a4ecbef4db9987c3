"""The keyboard, the mouse, and finding things."""

import re

import numpy as np
import pytest

from tests.page.pages import ROUNDED, STEPS, ends, number, state, text, wait
from tinyseq import inspect


def test_hovering_a_weight_lights_its_uses_and_lists_its_gradient(show):
    page, case = show()
    split = inspect.weight_gradient_by_step(case.loss(), case.model.weight_hh_l0)
    chips = page.locator("g[data-w]", has_text="weight_hh_l0")
    chips.first.hover()
    assert chips.count() == page.locator("g.lit").count() == STEPS
    now = state(page)
    assert now["title"] == "weight_hh_l0"
    assert {t: number(g) for t, g in now["rows"]} == {
        f"t = {t}": pytest.approx(split.norms[t], **ROUNDED) for t in range(STEPS)
    }
    assert number(re.search("one of size (.*)", now["said"])[1]) == pytest.approx(
        float(np.linalg.norm(split.total)), **ROUNDED
    )
    page.mouse.move(20, 700)
    assert page.locator(".lit").count() == 0
    assert state(page)["title"] == "Step through it"


def test_keys(show):
    page, case = show()
    forward, backward = ends(case)

    def at():
        return state(page)["slider"]

    for key, wanted in (("End", forward + backward), ("b", forward + 1), ("ArrowLeft", forward), ("Home", 0)):
        page.keyboard.press(key)
        assert at() == wanted
    page.keyboard.press(" ")
    assert text(page, "#play") == "pause"
    wait(page, "tinyseq.k >= 3")
    page.keyboard.press(" ")
    assert text(page, "#play") == "play"
    stopped = at()
    page.wait_for_timeout(400)
    assert at() == stopped

    def transform():
        return page.evaluate("new DOMMatrix(getComputedStyle(document.getElementById('stage')).transform).toJSON()")

    page.keyboard.press("Home")
    page.keyboard.press("f")
    start = transform()
    page.keyboard.press("+")
    assert transform()["a"] == pytest.approx(1.25 * start["a"])
    page.keyboard.press("ArrowDown")
    page.keyboard.press(".")
    moved = transform()
    page.keyboard.press("f")
    assert moved != transform() == start


def test_keys_and_buttons_do_not_act_twice(show):
    page, _ = show()
    page.click("#next")
    page.keyboard.press("ArrowRight")
    assert state(page)["slider"] == 2
    page.keyboard.press(" ")  # plays; the button that was clicked is not pressed as well
    page.keyboard.press(" ")
    assert state(page)["slider"] <= 3
    page.focus("#slider")
    before = state(page)["slider"]
    page.keyboard.press("ArrowRight")
    assert state(page)["slider"] == before + 1
    page.locator("#slider").fill("10")
    assert state(page)["count"].startswith("forward 10 of")


def test_search_works_by_keyboard_alone(show):
    page, case = show()
    page.keyboard.press("/")
    page.keyboard.type("weight_hh_l0")
    assert text(page, "#hits") == "1 of 1"
    assert page.locator("g.lit").count() == STEPS
    assert state(page)["title"] == "weight_hh_l0"
    assert len(state(page)["rows"]) == STEPS
    assert state(page)["slider"] == 0  # letters that are typed are not commands
    page.fill("#find", "t=2")
    page.keyboard.press("Enter")
    here = sum(item.step == 2 for item in case.items)
    assert text(page, "#hits") == f"2 of {here}"
    assert state(page)["title"].endswith("t = 2")
    page.fill("#find", "no such node")
    assert text(page, "#hits") == "none"
    page.keyboard.press("Escape")
    assert text(page, "#hits") == ""
    assert page.locator(".lit").count() == 0
    page.keyboard.press("ArrowRight")
    assert state(page)["slider"] == 1


def test_search_knows_symbols_and_words(show):
    page, case = show()
    found = []
    for wanted in ("×", "mul"):
        page.fill("#find", wanted)
        found.append(text(page, "#hits"))
        assert state(page)["title"].endswith("× (mul), t = 0")
    assert found[0] == found[1] == f"1 of {sum(item.op == 'mul' for item in case.items)}"


def test_every_control_is_reached_and_pressed_by_keyboard(show):
    page, _ = show()
    reached = []
    for _ in range(10):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none"  # where one is, can be seen
    assert sorted(reached) == sorted(
        ["find", "fit", "theme", "first", "prev", "play", "next", "last", "backward", "slider"]
    )
    page.focus("#theme")
    page.keyboard.press(" ")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.focus("#next")
    page.keyboard.press("Enter")
    page.keyboard.press(" ")
    assert state(page)["slider"] == 2
    page.focus("#play")
    page.keyboard.press(" ")
    assert text(page, "#play") == "pause"


def test_the_panel_names_the_keys(show):
    page, _ = show()
    keys = dict(state(page)["rows"])
    assert keys["to backward"] == "B"
    assert keys["fit; light or dark"] == "F D"
    page.keyboard.press("D")  # with and without the shift key
    page.keyboard.press("B")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert state(page)["count"].startswith("backward 1 of")


def test_hovering_a_strip_says_its_number(show):
    page, case = show("rolled")
    arrives = inspect.gradient_by_step(case.loss())
    cells = page.locator("svg rect[class^=h]")
    assert cells.count() == 2 * STEPS
    said = []
    for i in range(2 * STEPS):
        cells.nth(i).hover()
        said.append(state(page)["title"])
    wanted = [(name, t) for name in ("c", "h") for t in range(STEPS)]
    for (name, t), title in zip(wanted, said, strict=True):
        assert title.startswith(f"‖∂L/∂{name}‖ at t = {t}: ")
        assert number(title) == pytest.approx(arrives.norms[name][t], **ROUNDED)
    page.mouse.move(5, 795)
    assert state(page)["title"] == "Step through it"


def test_dragging_and_the_wheel_move_the_picture(show):
    page, _ = show()
    chip = page.locator("g.gate").first
    before = chip.bounding_box()
    page.mouse.move(600, 740)
    page.mouse.down()
    page.mouse.move(550, 700)
    page.mouse.up()
    after = chip.bounding_box()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((-50, -40), abs=0.6)
    page.mouse.move(after["x"], after["y"])  # stays where it is, as the picture grows
    page.mouse.wheel(0, -200)
    wait(page, f"document.querySelector('g.gate').getBoundingClientRect().width > {before['width']}")
    grown = chip.bounding_box()
    assert (grown["x"], grown["y"]) == pytest.approx((after["x"], after["y"]), abs=1.0)
