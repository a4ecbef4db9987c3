"""The page in a real browser: nothing is fetched, nothing complains, and what it says is what the engine computes.

Needs Chromium and Playwright for Python, which no extra brings: `pip install playwright`, and a `chromium` on the PATH
(or where TINYSEQ_CHROMIUM says).
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import inspect, nn
from tinyseq.errors import RenderError
from tinyseq.render import draw, engines

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("TINYSEQ_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
if not CHROMIUM:
    pytest.skip("there is no Chromium", allow_module_level=True)

ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
STEPS, HIDDEN = 4, 5
ROUNDED = {"rel": 5.1e-3, "abs": 1e-9}  # numbers are shown with three digits


@dataclass
class Case:
    """A model whose page is looked at, and the page as a file."""

    model: Any
    x: Any
    drawing: Any
    path: Path

    def loss(self):
        return (self.model(self.x)[0] ** 2.0).sum()

    @property
    def items(self):
        return self.drawing.model.items


def make(folder, view, steps=STEPS):
    ts.manual_seed(0)
    model = nn.LSTM(3, HIDDEN)
    x = ts.tensor(np.random.default_rng(0).normal(size=(steps, 2, 3)).astype("f"))
    case = Case(model, x, None, folder / f"{view}{steps}.html")
    case.drawing = draw(lambda x: (model(x)[0] ** 2.0).sum(), x, view=view, title="LSTM <i>&amp;</i>")
    case.drawing.save(case.path)
    return case


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Return a function that makes the page of a view, once."""
    try:
        engines.find()
    except RenderError as error:
        pytest.skip(str(error))
    folder, made = tmp_path_factory.mktemp("pages"), {}

    def case(view="unrolled", steps=STEPS):
        if (view, steps) not in made:
            made[view, steps] = make(folder, view, steps)
        return made[view, steps]

    return case


@pytest.fixture(scope="module")
def browser():
    """Start Chromium, with a profile that is made for it and thrown away."""
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def show(browser, cases):
    """Open a page; afterwards, see that nothing complained and that nothing but the files was asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(10_000)
    page = context.new_page()
    said, asked, opened = [], [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    def go(view="unrolled", steps=STEPS):
        case = cases(view, steps)
        opened.append(case.path.as_uri())
        page.goto(opened[-1])
        return page, case

    yield go
    context.close()
    assert said == []
    assert asked == opened


def text(page, place):
    return page.locator(place).inner_text()


def state(page):
    """Return what the counter and the panel say now."""
    return page.evaluate(
        """() => ({count: document.getElementById("count").textContent,
        slider: +document.getElementById("slider").value,
        title: document.querySelector("#panel h2")?.textContent, said: document.getElementById("panel").innerText,
        rows: [...document.querySelectorAll("#panel tr")].map((r) => [r.cells[0].textContent, r.cells[1].textContent]),
        fresh: [...document.querySelectorAll("#panel tr.new")].map((r) => r.cells[0].textContent)})"""
    )


def wait(page, expression):
    """Wait until `expression` holds; Playwright's own waiting is forbidden by the page's policy."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    pytest.fail(f"never came true: {expression}")


def number(said):
    """Return the number after +=, : or the like."""
    return float(re.search(r"[-+0-9.e]+$", said)[0])


def ends(case):
    """Return how many nodes there are forward, and how many backward: those behind the loss on its tape."""
    found, waiting = set(), [case.loss().node]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [n for n, _ in node.next_functions]
    return sum(item.op != "leaf" for item in case.items), len(found)


def size(t):
    return float(np.linalg.norm(t.detach().numpy()))


# What is there


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


# Stepping


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
        assert now["title"] == (f"{item.name} = {item.op}{when}" if item.name else f"{item.op}{when}")
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


# Hands


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
    page.keyboard.press(" ")  # plays; the button that has the focus is not pressed as well
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


# Light, dark, paper


def luminance(colour):
    r, g, b = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrasts(page):
    """Return the contrast ratio of every text in a node to the node's fill (WCAG 2.2, 1.4.3)."""
    pairs = page.evaluate("""[...document.querySelectorAll("g[data-n]")].flatMap((g) => {
        const under = getComputedStyle(g.querySelector("rect")).fill;
        return [...g.querySelectorAll("text")].map((t) => [getComputedStyle(t).fill, under]);
    })""")
    light = [[luminance([int(v) / 255 for v in re.findall(r"\d+", c)[:3]]) for c in pair] for pair in pairs]
    return [(max(p) + 0.05) / (min(p) + 0.05) for p in light]


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


def test_on_paper(show):
    page, _ = show()
    page.keyboard.press("d")
    page.keyboard.press("End")
    page.emulate_media(media="print")
    wait(page, "document.documentElement.dataset.theme === 'light'")  # whatever the screen shows
    assert not page.locator("nav").is_visible()
    box = page.locator("#stage svg").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1280
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="screen")
    wait(page, "document.documentElement.dataset.theme === 'dark'")


# Large pages


def test_a_hundred_steps_open_within_two_seconds(show):
    opened = []
    for _ in range(3):  # the machine may be busy with something else
        page, _ = show("unrolled", 100)
        opened.append(
            page.evaluate("""new Promise((done) => requestAnimationFrame(() => setTimeout(() =>
            done(performance.now()))))""")
        )
        if opened[-1] < 2000:
            break
    print(f"opened and painted in {min(opened):.0f} ms")
    assert min(opened) < 2000


PAN = """() => new Promise((done) => {
    const view = document.getElementById("view"), times = [];
    let x = 800;
    const send = (kind) => view.dispatchEvent(new PointerEvent(kind, {clientX: x, clientY: 400, pointerId: 1}));
    view.setPointerCapture = () => {};
    send("pointerdown");
    requestAnimationFrame(function frame(now) {
        times.push(now); x -= 23; send("pointermove");
        if (now - times[0] < 1500) requestAnimationFrame(frame);
        else { send("pointerup"); done((times.length - 1) / (now - times[0]) * 1000); }
    });
})"""


def test_panning_keeps_thirty_frames_a_second(show):
    page, _ = show("unrolled", 100)
    page.evaluate("tinyseq.go(900)")
    rates = []
    for _ in range(3):
        before = page.evaluate("document.getElementById('stage').style.transform")
        rates.append(page.evaluate(PAN))
        assert page.evaluate("document.getElementById('stage').style.transform") != before
        if rates[-1] >= 30:
            break
    print(f"{max(rates):.0f} frames a second")
    assert max(rates) >= 30
