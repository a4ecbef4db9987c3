"""Stepping forward and backward: what the page says is what the engine computes."""

import re

import numpy as np
import pytest

from tests.page.pages import ROUNDED, STEPS, called, ends, number, size, state, text
from tinyseq import inspect


@pytest.mark.parametrize("view", ["rolled", "unrolled", "ops", "backward"])
def test_every_view_loads_and_walks_to_both_ends(show, view):
    page, case = show(view)
    forward, backward = ends(case)
    assert page.title() == text(page, "h1") == "LSTM <i>&amp;</i>"
    assert text(page, "#count") == f"{forward} forward, {backward} backward"
    page.keyboard.press("End")
    assert text(page, "#count") == f"backward {backward} of {backward}"
    page.keyboard.press("Home")
    assert text(page, "#count") == f"{forward} forward, {backward} backward"
    assert page.locator(".on, .bk, .cur, svg.fwd, svg.back").count() == 0


def test_stepping_forward_says_what_the_engine_computes(show):
    page, case = show()
    forward, backward = ends(case)
    items = [item for item in case.items if item.op != "leaf"]
    outputs = case.model(case.x)[0].detach().numpy()
    arrives = inspect.gradient_by_step(case.loss())
    seen = 0
    for k, item in enumerate(items, 1):
        page.keyboard.press("ArrowRight")
        now = state(page)
        assert now["count"] == f"forward {k} of {forward}"
        assert now["slider"] == k
        when = "" if item.step is None else f", t = {item.step}"
        assert now["title"] == called(item) + when
        drawn = page.locator("g.cur text").first.text_content()
        assert drawn.replace("\t", "") in now["title"]  # what the node shows, the panel says, too
        assert f"shape [{', '.join(map(str, item.shape))}]" in now["said"]
        if item.name == "h":
            seen += 1
            values = re.search(r"value \[(.*?)\]", now["said"])[1]
            np.testing.assert_allclose(np.fromstring(values, sep=","), outputs[item.step].ravel(), rtol=5e-3)
        if item.name in arrives.norms:
            shown = number(re.search("size of the gradient: (.*)", now["said"])[1])
            assert shown == pytest.approx(arrives.norms[item.name][item.step], **ROUNDED)
        assert page.locator("g.on").count() >= k
    assert seen == STEPS
    page.keyboard.press("ArrowRight")
    assert text(page, "#count") == f"backward 1 of {backward}"


def test_stepping_backward_adds_up_to_the_gradients(show):
    page, case = show()
    forward, backward = ends(case)
    split = inspect.weight_gradient_by_step(case.loss(), case.model.weight_hh_l0)
    loss = case.loss()
    case.model.zero_grad()
    loss.backward()
    page.keyboard.press("b")
    assert state(page)["slider"] == forward + 1
    received, totals, arrived = [], {}, []
    for k in range(1, backward + 1):
        now = state(page)
        assert now["count"] == f"backward {k} of {backward}"
        arrived.append(number(re.search("gradient that has arrived: (.*)", now["said"])[1]))
        if "gradient of weight_hh_l0" in now["said"]:
            received.append(now["fresh"][0])
            assert f"gradient of weight_hh_l0: {len(received)} of {STEPS} parts" in now["said"]
            rows = [row for row in now["rows"] if row[0].startswith("t = ")]
            assert [t for t, _ in rows] == received
            step = int(rows[-1][0].removeprefix("t = "))
            assert number(rows[-1][1]) == pytest.approx(split.norms[step], **ROUNDED)
            assert [f"weight_hh_l0, t = {step}", rows[-1][1]] in now["rows"]
        if now["title"].removeprefix("backward through ") in dict(case.model.named_parameters()):
            totals[now["title"].removeprefix("backward through ")] = arrived[-1]
        page.keyboard.press("ArrowRight")
    assert received == [f"t = {t}" for t in reversed(range(STEPS))]
    assert arrived[0] == 1.0  # of the loss for itself
    assert totals == {n: pytest.approx(size(p.grad), **ROUNDED) for n, p in case.model.named_parameters()}
    assert state(page)["slider"] == forward + backward
    assert page.locator("g[data-n].n:not(.bk)").evaluate_all("all => all.map((e) => e.textContent)") == untouched(page)


def untouched(page):
    """Return the labels of what backward does not reach: inputs and constants."""
    return page.locator("g.n.input[data-n], g.n.constant[data-n]").evaluate_all("all => all.map((e) => e.textContent)")


def test_going_back_undoes_every_step(show):
    page, case = show()
    length = sum(ends(case))
    look = """[...document.querySelectorAll("svg, [data-n], [data-e]")].map((e) => e.getAttribute("class")
        .split(" ").filter((c) => ["on", "bk", "cur", "fwd", "back"].includes(c)).join()).join(";")"""
    there = []
    for _ in range(length):
        there.append(page.evaluate(look))
        page.keyboard.press("ArrowRight")
    assert len(set(there)) > 0.9 * length  # each step can be seen
    for before in reversed(there):
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(look) == before
    page.keyboard.press("ArrowLeft")
    assert state(page)["slider"] == 0


def test_what_is_drawn_once_stands_for_every_step(show):
    page, case = show("rolled")
    seen = []
    for item in [item for item in case.items if item.op != "leaf"]:
        page.keyboard.press("ArrowRight")
        names = page.locator("g.cur").evaluate_all("all => all.map((e) => e.querySelector('tspan')?.textContent)")
        if item.kind == "gate":
            assert names == [item.name]
            seen.append(item.step)
        elif item.step is not None and item.kind != "constant":
            assert names != []
    assert sorted(seen) == sorted(4 * [*range(STEPS)])
    page.keyboard.press("b")
    for item, passed in case.drawing.model.walk:
        if case.items[item].step is not None and passed:
            assert page.locator("path.cur").count() > 0
        page.keyboard.press("ArrowRight")


def test_side_by_side_both_halves_show_every_step(show):
    page, case = show("both")
    frame = case.drawing.picture.frames[0]
    where = """all => all.map((e) => [e.textContent, +e.querySelector("rect").getAttribute("x"), "all" in e.dataset])"""
    seen = {}
    for item in [item for item in case.items if item.op != "leaf"]:
        page.keyboard.press("ArrowRight")
        lit = page.locator("g.cur").evaluate_all(where)
        rolled = [(said, x) for said, x, once in lit if once]
        assert all(x < frame.x + frame.w for _, x in rolled)
        assert any(x > frame.x + frame.w for _, x, once in lit if not once) or item.step is None
        assert rolled or item.step is None
        if item.step is not None:
            seen.setdefault(item.step, []).append(rolled)
    assert [*seen] == [*range(STEPS)]
    assert len({repr(lit) for lit in seen[0]}) == len(seen[0]) > 8  # each node is another
    assert all(seen[step] == seen[0] for step in seen)


def test_side_by_side_lines_and_chips_of_both_halves_show_every_step(show):
    page, case = show("both")
    page.keyboard.press("b")
    seen = {}
    for item, passed in case.drawing.model.walk:
        here = case.items[item]
        if here.step is not None and passed:
            lines = page.locator("path.cur").evaluate_all("all => all.map((e) => 'all' in e.dataset)")
            assert True in lines
            assert False in lines
            if here.op == "linear":
                chips = page.locator("g.bk[data-w][data-all]").evaluate_all("all => all.map((e) => e.textContent)")
                seen[here.step] = sorted(chips)
        page.keyboard.press("ArrowRight")
    assert [*seen] == [*reversed(range(STEPS))]
    assert all("weight_hh_l0" in chips for chips in seen.values())


def test_hovering_a_node_lights_the_rolled_one(show):
    page, case = show("both")
    gates = [i for i, item in enumerate(case.items) if item.name == "f"]
    assert len(gates) == STEPS
    for i in gates:
        page.locator(f"g.gate[data-n='{i}']").last.hover()
        lit = page.locator("g.lit").evaluate_all("all => all.map((e) => ['all' in e.dataset, e.textContent])")
        assert [rolled for rolled, _ in lit] == [True, False]
        assert lit[0][1] == lit[1][1]


def test_the_node_of_a_step_is_in_sight(show):
    page, _ = show("unrolled", 100)
    for at in (3, 800, 1500, 2000, 3000):
        page.evaluate(f"tinyseq.go({at})")
        box = page.locator("g.cur").first.bounding_box()
        view = page.locator("#view").bounding_box()
        assert view["x"] <= box["x"]
        assert box["x"] + box["width"] <= view["x"] + view["width"]
        assert view["y"] <= box["y"]
        assert box["y"] + box["height"] <= view["y"] + view["height"]


def test_strips_follow_the_time_step_and_say_their_numbers(show):
    page, case = show()
    arrives = inspect.gradient_by_step(case.loss())
    places = """[...document.querySelectorAll("{}")].map((e) => e.getBoundingClientRect())
        .map((b) => [b.left, b.right])"""
    seen = 0
    for item in [item for item in case.items if item.op != "leaf"]:
        page.keyboard.press("ArrowRight")
        marked = page.evaluate(places.format("rect.now"))
        if item.step is None:
            assert marked == []
            continue
        frame = page.evaluate(places.format("rect.t"))[item.step]
        assert marked == [pytest.approx(frame, abs=3.0)] * 6  # four gates and two states, below their column
        rows = dict(state(page)["rows"])
        for name in ("h", "c"):
            assert float(rows[f"‖∂L/∂{name}‖"]) == pytest.approx(arrives.norms[name][item.step], **ROUNDED)
        seen += 1
    assert seen > 10 * STEPS


@pytest.mark.parametrize("view", ["rolled", "unrolled"])
def test_strips_show_the_mean_of_each_gate(show, view):
    page, case = show(view)
    recorded = inspect.gates(case.model, case.x)
    rows = {}
    for item in [item for item in case.items if item.op != "leaf"]:
        page.keyboard.press("ArrowRight")
        if item.step is not None:
            rows[item.step] = dict(state(page)["rows"])
    assert sorted(rows) == [*range(STEPS)]
    for step, said in rows.items():
        for name in "ifgo":
            assert float(said[f"mean |{name}|"]) == pytest.approx(np.abs(recorded[name][step]).mean(), **ROUNDED)
