"""The graph behind a picture: which operations, links, steps and sizes of gradients it has."""

import sys
import weakref

import numpy as np
import pytest

import tinyseq as ts
from tests.drawings import loss_of, lstm, noise, recurrence, size
from tinyseq import nn
from tinyseq.core.op import Op
from tinyseq.errors import RenderError
from tinyseq.graph.ir import Const, Graph, Symbol, new_line
from tinyseq.render import draw, engines, model as models
from tinyseq.render.drawing import Drawing
from tinyseq.render.loops import find_loops
from tinyseq.render.style import Scale
from tinyseq.render.trace import Observer


def test_the_tape_is_drawn_node_by_node():
    _, loss = recurrence(5)
    found, waiting = set(), [loss.node]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [n for n, _ in node.next_functions]
    drawing = draw(loss)
    assert len(drawing.model.items) == len(found)
    assert len(drawing.model.links) == sum(len(n.next_functions) for n in found)
    assert drawing.model.steps == [0, 1, 2, 3, 4]
    assert [i.op for i in drawing.model.items if i.step == 2] == ["matmul", "tanh"]


def test_a_function_is_drawn_with_the_inputs_that_need_no_gradient():
    model, x = lstm()
    loss = loss_of(model)
    drawing = draw(loss, x)
    kinds = {(i.name, i.kind) for i in drawing.model.items if i.op == "leaf"}
    assert ("x", "input") in kinds
    assert {n for n, k in kinds if k == "weight"} == {n for n, _ in model.named_parameters()}
    tape = draw(loss(x), names=model)
    assert len(tape.model.items) < len(drawing.model.items)
    assert [i.op for i in tape.model.items if i.step == 2] == [i.op for i in drawing.model.items if i.step == 2]


def test_operands_keep_their_order():
    drawing = draw(lambda a, b: 2.0 - a / b, ts.ones(2), ts.ones(2))
    items = drawing.model.items
    assert [(items[k.source].name, k.position) for k in drawing.model.links if items[k.target].op == "div"] == [
        ("a", 0),
        ("b", 1),
    ]
    assert items[-1].label == "2 −"


def test_gates_states_and_steps_are_named():
    model, x = lstm()
    drawing = draw(loss_of(model), x)
    named = {}
    for item in drawing.model.items:
        if item.step == 1 and item.name:
            named[item.name] = item.kind
    assert {k: named[k] for k in "ifgoch"} == dict.fromkeys("ifgo", "gate") | dict.fromkeys("ch", "state")


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.PeepholeLSTMCell, nn.LayerNormLSTMCell])
def test_the_gates_of_every_lstm_have_the_same_names(cell):
    items = draw(loss_of(nn.Recurrent(cell(3, 4))), noise(2)).model.items
    gates = {i.name: i.op for i in items if i.kind == "gate" and i.name not in "ch"}
    assert gates == dict.fromkeys("ifo", "sigmoid") | {"g": "tanh"}


def test_comparisons_have_symbols():
    x = ts.ones(2)
    for compare, symbol in {"__ne__": "≠", "__le__": "≤", "__ge__": "≥", "__eq__": "==", "__lt__": "<"}.items():
        (label,) = [i.label for i in draw(getattr(x, compare), 0.5).model.items if i.op != "leaf"]
        assert label == f"{symbol} 0.5"


def test_steps_that_do_the_same_are_known_as_such():
    model, x = lstm(6)
    drawing = draw(loss_of(model), x)
    (loop,) = find_loops(drawing.model).loops
    assert [t.step for t in loop.tiles] == list(range(6))
    assert len({t.core for t in loop.tiles}) == 1
    model, x = lstm(4, bidirectional=True)
    loops = find_loops(draw(loss_of(model), x).model).loops
    assert [[t.step for t in p.tiles] for p in loops] == [[0, 1, 2, 3], [3, 2, 1, 0]]


def test_what_leads_nowhere_is_left_out():
    def function(a):
        a.exp()
        return a.sin().sum()

    assert [i.op for i in draw(function, ts.ones(2)).model.items] == ["leaf", "sin", "sum"]


def test_leaves_made_inside_are_leaves():
    drawing = draw(lambda x: nn.Linear(3, 2)(x).sum(), ts.ones(1, 3))
    assert [i.shape for i in drawing.model.items if i.kind == "weight"] == [(2, 3), (2,)]
    assert not [i for i in drawing.model.items if i.op in ("full", "uniform")]


def test_writes_in_place_are_followed():
    def function(a):
        b = a.clone()
        b.add_(1.0)
        with ts.no_grad():
            a.copy_(a * 0.0)
        return (b * 3.0).sum()

    drawing = draw(function, ts.ones(2))
    assert [i.label for i in drawing.model.items] == ["", "clone", "+ 1", "× 3", "Σ"]


def test_watching_keeps_no_array_alive():
    alive = []

    def function(x):
        for _ in range(5):
            x = x + 1.0
            alive.append(weakref.ref(x.payload))
        return x

    drawing = draw(function, ts.ones(3), show=("shape", "value"))
    assert [r() is None for r in alive] == [True] * 5
    assert drawing.model.items[-1].value == "[6, 6, 6]"


def test_a_captured_program_is_drawn():
    x, two = Symbol((2, 3), np.dtype("f4"), None), Const(np.float32([2.0]))
    lines = [new_line(Op.registry["mul"], (x, two), {}), None]
    lines[1] = new_line(Op.registry["sum"], (lines[0].out,), {"dim": (0, 1), "keepdim": False})
    drawing = draw(Graph([x], lines, [lines[1].out]))
    assert drawing.view == "ops"
    assert [(i.op, i.kind, i.shape) for i in drawing.model.items] == [
        ("leaf", "input", (2, 3)),
        ("leaf", "constant", (1,)),
        ("mul", "arithmetic", (2, 3)),
        ("sum", "result", ()),
    ]
    assert [(k.source, k.target, k.position) for k in drawing.model.links] == [(0, 2, 0), (1, 2, 1), (2, 3, 0)]
    assert "%0" in drawing.svg


# The sizes of gradients


def test_sizes_of_gradients_are_those_of_backward():
    model, x = lstm(5)
    drawing = draw(loss_of(model), x)
    loss_of(model)(x).backward()
    shown = {i.name: i.gradient for i in drawing.model.items if i.kind == "weight"}
    assert shown == {n: pytest.approx(size(p.grad), rel=1e-5) for n, p in model.named_parameters()}


def test_each_part_of_a_shared_weights_gradient_is_its_steps():
    fresh = []
    _, loss = recurrence(6, fresh=fresh)
    loss.backward()
    w, loss = recurrence(6)
    drawing = draw(loss, names={"w": w})
    items = drawing.model.items
    parts = {items[k.target].step: k.gradient for k in drawing.model.links if items[k.source].name == "w"}
    assert parts == {t: pytest.approx(size(c.grad), rel=1e-12) for t, c in enumerate(fresh)}


def test_states_show_their_gradients():
    _, loss = recurrence(4)
    h = loss.node.edges[0].edges[0]
    assert h.name == "h"
    seen = []
    h.hooks = {0: seen.append}
    drawing = draw(loss)
    loss.backward()
    (shown,) = [i.gradient for i in drawing.model.items if i.name == "h" and i.step == 3]
    assert shown == pytest.approx(size(seen[0]), rel=1e-12)


def test_drawing_changes_nothing():
    w, loss = recurrence(3)
    assert draw(loss).svg
    assert w.grad is None
    loss.backward()
    assert w.grad is not None


def test_the_walk_visits_users_before_what_they_use():
    model, x = lstm()
    drawing = draw(loss_of(model), x)
    order = {item: n for n, (item, _) in enumerate(drawing.model.walk)}
    passed = [k for _, links in drawing.model.walk for k in links]
    assert len(passed) == len(set(passed)) == sum(k.gradient is not None for k in drawing.model.links)
    for k in passed:
        assert order[drawing.model.links[k].target] < order[drawing.model.links[k].source]


def test_a_gradient_that_was_not_computed_says_so():
    w, loss = recurrence(3)
    loss.backward()
    drawing = draw(loss, names={"w": w}, view="backward")
    assert all(k.gradient is None for k in drawing.model.links if drawing.model.items[k.source].step == 1)
    assert [i.gradient for i in drawing.model.items if i.name == "w"] == [pytest.approx(size(w.grad))]
    assert "released" in drawing.svg
    assert "no gradient" in drawing.svg
    assert "gradient: 0" not in drawing.svg

    def cut(a):
        return (a.exp().detach() * a).sum()

    drawing = draw(cut, ts.ones(2, requires_grad=True))
    assert {i.op: i.gradient is None for i in drawing.model.items} == {
        "leaf": False,
        "exp": True,
        "mul": False,
        "sum": False,
    }


def test_scale_of_gradients():
    scale = Scale.of([1e-3, 0.5])
    assert [scale.level(x) for x in (0.0, 1e-9, 1e-3, 0.5, 1e9, float("inf"))] == [0, 0, 2, 7, 7, 7]
    assert Scale.of([]).level(1.0) == 7
    assert Scale.of([float("nan"), float("inf")]).level(float("nan")) == 0


# Large graphs


def test_a_huge_graph_is_refused_with_advice():
    x = ts.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(models.MOST + 10):
        y = y + x
    with pytest.raises(RenderError, match=r"more than 50,000 operations.*fewer time steps"):
        draw(y)


def test_a_huge_function_is_refused_while_it_runs(monkeypatch):
    calls = []

    def endless(x):
        while True:
            calls.append(1)
            x = x + 1.0

    monkeypatch.setattr("tinyseq.render.drawing.MOST", 50)
    with pytest.raises(RenderError, match="operations"):
        draw(endless, ts.ones(1))
    assert len(calls) == 51


@pytest.mark.parametrize("steps", [60, 600])
def test_a_huge_module_stops_at_the_limit_however_long_its_input_is(monkeypatch, steps):
    seen = []
    apply = Observer.apply
    monkeypatch.setattr(Observer, "apply", lambda self, *args: seen.append(1) or apply(self, *args))
    monkeypatch.setattr("tinyseq.render.drawing.MOST", 500)
    model, x = lstm(steps)
    with pytest.raises(RenderError, match=r"more than 500 operations.*fewer time steps"):
        draw(loss_of(model), x)
    assert len(seen) == 501
    assert ts.core.dispatch.STATE.get().bottom is ts.core.dispatch.EAGER


def test_a_picture_of_too_many_nodes_is_refused_before_it_is_begun(monkeypatch):
    w = ts.ones(3, requires_grad=True)

    def function(x):
        for _ in range(40):
            x = x * w
        return x.sum()

    drawing = draw(function, ts.ones(3), view="ops")
    nodes = len(drawing.source.split("[label=")) - 1  # DOT has no limit
    assert nodes > 80  # a chip for each use of the weight
    monkeypatch.setattr(Drawing, "_scene", property(lambda self: pytest.fail("begun")))
    monkeypatch.setattr("tinyseq.render.drawing.MOST_NODES", nodes - 1)
    with pytest.raises(RenderError, match=f"has more than {nodes - 1} operations"):
        drawing.picture  # noqa: B018
    monkeypatch.setattr("tinyseq.render.drawing.MOST_NODES", nodes)
    with pytest.raises(pytest.fail.Exception, match="begun"):
        drawing.picture  # noqa: B018


def test_nothing_recurses():
    x = ts.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(3 * sys.getrecursionlimit()):
        y = y.sin()
    drawing = draw(y)
    assert len(drawing.model.walk) == len(drawing.model.items)
    assert len(drawing.source) > 10_000


def test_a_hundred_steps_are_one_layout(monkeypatch):
    model, x = lstm(100)
    ran = []
    layout = engines.Engine.layout
    monkeypatch.setattr(engines.Engine, "layout", lambda self, s, **k: ran.append(len(s)) or layout(self, s, **k))
    svg = draw(loss_of(model), x, view="unrolled").svg
    assert ran[0] <= 3  # the first step, and those that follow
    assert ran[1:] == [1]
    assert all(f">t = {t}<" in svg for t in range(100))
