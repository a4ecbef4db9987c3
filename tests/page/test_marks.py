"""What the page says of states that were cut, and of values that were released."""

import pytest

from tests.page.pages import STEPS, called, state
from tinyseq.render.style import MARKS

HALF = STEPS // 2  # the step that takes a detached state
HOT = "rgb(212, 18, 60)"


def name(item):
    return called(item) + ("" if item.step is None else f", t = {item.step}")


def marks(page):
    return page.locator("#panel .mark").all_text_contents()


def cut_links(case):
    """Return the links that are cut as pairs of items."""
    return [(case.items[k.source], case.items[k.target]) for k in case.drawing.model.links if k.cut]


@pytest.mark.parametrize("view", ["rolled", "unrolled", "both", "ops", "backward"])
def test_backward_stops_at_a_cut(show, view):
    page, case = show(view, subject="detached")
    cuts = cut_links(case)
    assert [(a.name, a.step, b.step) for a, b in cuts] == [("h", HALF - 1, HALF), ("c", HALF - 1, HALF)]
    assert (MARKS["cut"] in page.locator("svg .legend").text_content()) == (view != "rolled")
    page.keyboard.press("b")
    stopped, look = {}, "all => all.map((e) => getComputedStyle(e).{})"
    for item, passed in case.drawing.model.walk:
        said, lines = marks(page), page.locator("path.e.stop")
        if said:
            stopped[name(case.items[item])] = said
            assert set(lines.evaluate_all(look.format("stroke"))) == {HOT}
            dashes = lines.and_(page.locator("[data-e]")).evaluate_all(look.format("strokeDasharray"))
            assert set(dashes) == {"3px, 2.5px"}  # not by colour alone
            assert (page.locator("text.stop").count() == 1) == (view != "rolled")  # the word beside the line
            onward = [row[0] for row in state(page)["rows"] if row[1].startswith("+=")]
            assert not {name(a) for a, _ in cuts}.intersection(onward)
            assert passed  # it goes on to what is not cut: weights, gates
        else:
            assert lines.count() == page.locator("text.stop").count() == 0
        page.keyboard.press("ArrowRight")
    assert stopped == {name(b): [f"cut: no gradient passes to {name(a)}, which was detached"] for a, b in cuts}


def test_both_ends_of_a_cut_say_so(show):
    page, case = show(subject="detached")
    numbers = [i for i, item in enumerate(case.items) if item.op != "leaf"]
    for a, b in cut_links(case):
        page.evaluate(f"tinyseq.go({1 + numbers.index(case.items.index(b))})")
        assert marks(page) == [f"cut: {name(a)} was detached on its way here; no gradient passes back to it"]
        page.evaluate(f"tinyseq.go({1 + numbers.index(case.items.index(a))})")
        assert marks(page) == [f"cut: detached on its way to {name(b)}; no gradient comes back from there"]


@pytest.mark.parametrize("view", ["unrolled", "ops", "backward"])
def test_pieces_of_truncated_bptt_are_cut_and_released(show, view):
    page, case = show(view, subject="truncated")
    legend = page.locator("svg .legend").text_content()
    assert MARKS["cut"] in legend
    assert MARKS["released"] in legend
    released = []
    forward = [item for item in case.items if item.op != "leaf"]
    for item in forward:
        page.keyboard.press("ArrowRight")
        said = [mark for mark in marks(page) if "released" in mark]
        what = f"what it had saved ({', '.join(item.released)}) was released by backward()"
        assert said == ([what] if item.released else [])
        released.append(bool(said))
    first = [k for k, was in enumerate(released) if was]
    assert len(first) > 10
    last = forward.index(cut_links(case)[0][1])
    assert max(first) < last  # the piece that has been through backward, not the one after it
    assert not {i for i, _ in case.drawing.model.walk}.intersection(
        i for i, item in enumerate(case.items) if item.released
    )
    page.keyboard.press("b")
    stopped = 0
    for _ in case.drawing.model.walk:
        stopped += len(marks(page))
        page.keyboard.press("ArrowRight")
    assert stopped == 2  # h and c


def test_a_result_whose_graph_is_gone_says_why_backward_ends(show):
    page, case = show("ops", subject="spent")
    assert len(case.drawing.model.walk) == 1
    page.keyboard.press("b")
    (said,) = marks(page)
    assert said.startswith("It goes no further: what it had saved (")
    assert "leaf" not in state(page)["said"]
