"""What is not a matter of colour: states that were cut, values that were released, and whose step a label counts."""

import re

import numpy as np
import pytest

import tinyseq as ts
from tests.drawings import VIEWS, TurningCell, cut_at, loss_of, lstm, noise, recurrence, translator
from tinyseq import nn
from tinyseq.core.dispatch import Scope, override
from tinyseq.render import draw
from tinyseq.render.loops import find_loops
from tinyseq.render.style import MARKS

CUT = ">cut</text>"


def chips(drawing):
    return [b.lines[0] for b in drawing.picture.boxes if b.chip]


# Cuts


def test_links_that_are_cut_are_those_that_backward_does_not_pass():
    run, x = cut_at(3)
    model = draw(run, x).model
    cut = [(model.items[k.source], model.items[k.target], k) for k in model.links if k.cut]
    assert [(a.step, b.step, a.shape) for a, b, _ in cut] == [(2, 3, (2, 4)), (2, 3, (2, 4))]
    assert all(k.gradient is None for _, _, k in cut)
    whole = draw(cut_at(99)[0], x).model
    assert not any(k.cut for k in whole.links)
    between = [k for k in whole.links if (whole.items[k.source].step, whole.items[k.target].step) == (2, 3)]
    assert len(between) == 2
    assert all(k.gradient is not None for k in between)
    assert model.cuts == [3]
    assert whole.cuts == []


@pytest.mark.parametrize("view", ["unrolled", "both", "ops", "backward"])
def test_a_cut_is_seen_without_colours(view, tmp_path):
    run, x = cut_at(3)
    drawing = draw(run, x, view=view)
    assert drawing.svg.count(CUT) == 2  # h and c
    assert drawing.svg.count('class="e w"') == 3  # their double bars, and that of the legend
    assert MARKS["cut"] in drawing.svg
    assert "Cut: t = 3 takes" in drawing.svg
    assert "the value was detached" in drawing.svg
    assert drawing.source.count("‖ cut") == 2
    assert drawing.save(tmp_path / "g.png").stat().st_size > 1000
    plain = draw(cut_at(99)[0], x, view=view)
    assert CUT not in plain.svg
    assert 'class="e w"' not in plain.svg
    assert "cut" not in plain.source


@pytest.mark.parametrize("view", ["unrolled", "ops", "backward"])
def test_a_cut_is_seen_on_the_tape_where_the_line_is_missing(view):
    run, x = cut_at(3)
    drawing = draw(run(x), view=view)
    ends = [drawing.model.items[k.target].step for k in drawing.model.links if k.cut]
    assert ends == [3, 3]
    assert drawing.svg.count(CUT) == 2
    assert not [k for k in draw(cut_at(99)[0](x)).model.links if k.cut]


def test_the_first_steps_on_a_tape_may_be_cut_off():
    w = ts.ones(3, 3, requires_grad=True)
    h = ts.ones(2, 3)
    for t in range(6):
        with override(scope=Scope("cell", t)):
            h = ((h.detach() if t == 3 else h) @ w).tanh()
    drawing = draw(h.sum())
    assert drawing.model.steps == [3, 4, 5]
    assert drawing.model.cuts == [3]


def test_what_needs_no_gradient_is_not_cut():
    _, loss = recurrence(4)
    assert not [k for k in draw(loss).model.links if k.cut]
    model, x = lstm(3)
    assert not [k for k in draw(model, x).model.links if k.cut]
    with ts.no_grad():
        assert not [k for k in draw(lambda x: (x.exp() > x.sin()).float() * x, ts.ones(2)).model.links if k.cut]

    def watched(x):
        y = x.exp()
        assert y.detach().numpy().size
        return (y * x).sum()

    assert not [k for k in draw(watched, ts.ones(2)).model.links if k.cut]


def test_a_part_that_stops_gradients_is_cut_there():
    def function(a):
        return (a.exp().detach().sin() * a).sum()

    model = draw(function, ts.ones(2, requires_grad=True)).model
    assert [(model.items[k.source].op, model.items[k.target].op) for k in model.links if k.cut] == [("exp", "sin")]


def test_steps_look_the_same_with_and_without_a_cut():
    run, x = cut_at(3)
    picture = draw(run, x, view="unrolled").picture
    columns = [f for f in picture.frames if f.step]
    places = [[(round(b.x - f.x, 3), b.lines[0]) for b in picture.boxes if f.x < b.x < f.x + f.w] for f in columns]
    assert all(p == places[1] for p in places[2:])


@pytest.mark.parametrize("step", range(1, 6))
def test_the_rolled_view_is_cut_only_if_every_step_is(step):
    run, x = cut_at(step)
    svg = draw(run, x, view="rolled").svg
    assert CUT not in svg
    assert f"Cut: t = {step} takes" in svg


# Released values


@pytest.mark.parametrize("view", VIEWS)
def test_released_values_are_seen_without_colours(view):
    model, x = lstm(3)
    loss = loss_of(model)(x)
    fresh = draw(loss, view=view)
    assert "released" not in fresh.svg
    assert 'class="q"' not in fresh.svg
    loss.backward()
    drawing = draw(loss, view=view)
    marked = [b for b in drawing.picture.boxes if b.released]
    assert {"tanh", "×"} <= {b.lines[0] for b in marked}
    assert drawing.svg.count("<circle") == len(marked) + 1  # and the legend's
    assert MARKS["released"] in drawing.svg
    assert all("was released by backward" in b.title for b in marked)


def test_only_what_had_saved_something_is_marked():
    a = ts.ones(2, requires_grad=True)
    loss = ((a + 1.0).exp() * 3.0).sum()
    loss.backward()
    items = {i.op: i.released for i in draw(loss).model.items}
    assert items["exp"] == ("out",)
    assert items["add"] == ()
    loss = (a.exp() * 3.0).sum()
    loss.backward(retain_graph=True)
    assert not any(i.released for i in draw(loss).model.items)

    def step(a):
        loss = a.exp().sum()
        loss.backward()
        return loss

    assert [i.op for i in draw(step, a).model.items if i.released] == ["exp", "sum"]


# Loops side by side, and whose step is meant


@pytest.mark.parametrize("attention", [False, True], ids=["plain", "attention"])
def test_each_loop_counts_its_own_steps(attention):
    model, x, y = translator(attention)
    drawing = draw(model, x, y, view="unrolled")
    loops = find_loops(drawing.model).loops
    assert [[t.step for t in loop.tiles] for loop in loops] == [[0, 1, 2, 3], [0, 1, 2]]
    said = [c for c in chips(drawing) if re.search(r"\bt\b", c)]
    assert said.count("h t−1") == 3 + 2
    assert [c for c in said if c != "h t−1"] == ["encoder h t=3"]
    assert not [c for c in chips(draw(model, x, y, view="rolled")) if "+" in c and " t" in c]


def test_loops_of_modules_of_one_name_are_told_apart():
    ts.manual_seed(0)
    first, second = nn.Recurrent(nn.RNNCell(3, 4)), nn.Recurrent(nn.RNNCell(4, 4))
    model = draw(lambda x: second(first(x)[0])[0].sum(), noise(4)).model
    assert [len(loop.tiles) for loop in find_loops(model).loops] == [4, 4]


def test_pieces_of_one_sequence_are_loops_of_their_own():
    rnn, x = lstm(6)

    def pieces(x):
        first, state = rnn(x[:3])
        second, _ = rnn(x[3:], nn.detach_state(state))
        return first.sum() + second.sum()

    drawing = draw(pieces, x)
    assert [[t.step for t in loop.tiles] for loop in find_loops(drawing.model).loops] == [[0, 1, 2], [0, 1, 2]]
    assert drawing.svg.count(CUT) == 2


def test_a_loop_inside_of_a_step_is_no_part_of_it():
    w = ts.ones(2, 2, requires_grad=True)
    h = ts.ones(1, 2)
    for t in range(3):
        with override(scope=Scope("outer", t)):
            h = h @ w
        for k in range(2):
            with override(scope=Scope("outer.inner", k)):
                h = (h @ w).tanh()
    loops = find_loops(draw(h.sum()).model).loops
    assert sorted([t.step for t in loop.tiles] for loop in loops) == [[0, 1], [0, 1], [0, 1], [0, 1, 2]]


def test_the_rolled_view_says_which_steps_differ():
    ts.manual_seed(0)
    rnn = nn.Recurrent(TurningCell(3, 4))
    drawing = draw(loss_of(rnn), noise(7), view="rolled")
    assert "2 of 7 time steps do something else (t = 2, 5)" in drawing.svg
    assert [b.lines for b in drawing.picture.boxes if b.lines[0].startswith("t −")] == [("t − 1",)]
    assert "do something else" not in draw(*lstm(7), view="rolled").svg


# Rolled and unrolled


def test_rolled_and_unrolled_stand_side_by_side(tmp_path):
    model, x = lstm(4)
    drawing = draw(loss_of(model), x, view="both")
    left, right = (f for f in drawing.picture.frames if f.title)
    assert (left.label, right.label) == ("rolled", "unrolled")
    assert left.x + left.w < right.x
    assert (left.y, left.h) == (right.y, right.h)
    steps = [f for f in drawing.picture.frames if f.step]
    assert [f.label for f in steps] == ["t = 0 … 3", "t = 0", "t = 1", "t = 2", "t = 3"]
    assert left.x < steps[0].x < left.x + left.w
    assert all(right.x < f.x < right.x + right.w for f in steps[1:])
    for view, part in (("rolled", left), ("unrolled", right)):
        alone = [b.lines for b in draw(loss_of(model), x, view=view).picture.boxes]
        within = [b.lines for b in drawing.picture.boxes if part.x < b.x < part.x + part.w]
        assert within == alone
    strips = {s.label: s for s in drawing.picture.strips}
    assert {"mean |f|", "‖∂L/∂h‖", "‖∂L/∂c‖"} <= set(strips)
    assert [c.x for c in strips["‖∂L/∂h‖"].cells] == [f.x for f in steps[1:]]
    assert drawing.source.count("delay 1") == 2
    for ending in ("svg", "png", "html", "dot"):
        assert drawing.save(tmp_path / f"g.{ending}").stat().st_size > 1000


def test_values_are_the_same_in_rolled_and_unrolled():
    model, x = lstm(4)
    gates = {v: [s.cells for s in draw(loss_of(model), x, view=v).picture.strips] for v in ("unrolled", "both")}
    shown = {v: [[c.title for c in cells] for cells in strips] for v, strips in gates.items()}
    assert shown["unrolled"] == shown["both"]
    assert np.ptp([len(c) for c in shown["both"]]) == 0
