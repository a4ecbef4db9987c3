"""Drawings: each view shows what it promises, and every format is whole."""

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest

import tinyseq as ts
from tests.drawings import VIEWS, loss_of, lstm
from tinyseq import nn
from tinyseq.errors import ArgumentError, RenderError
from tinyseq.render import draw

SVG = "{http://www.w3.org/2000/svg}"
NASTY = '<b>"&\\N{x}|\n]]></script>\x00'


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_sound_svg(view):
    model, x = lstm()
    drawing = draw(loss_of(model), x, view=view, title="A & B")
    root = ET.fromstring(drawing.svg)
    assert root.tag == f"{SVG}svg"
    texts = {t for e in root.iter(f"{SVG}text") for t in ["".join(e.itertext())]}
    assert {"f = σ", "o = σ", "A & B", "weight_hh_l0"} <= texts
    shown = sum("data-n" in e.attrib for e in root.iter(f"{SVG}g"))
    assert shown >= (25 if view == "rolled" else len([i for i in drawing.model.items if i.op != "leaf"]))
    assert drawing._repr_svg_() == drawing.svg
    assert "graph" in drawing.source


def test_a_state_returns_through_a_delay():
    model, x = lstm(7)
    drawing = draw(loss_of(model), x, view="rolled")
    delays = [b for b in drawing.picture.boxes if b.lines == ("t − 1",)]
    assert len(delays) == 2  # h and c
    assert any(f.label == "t = 0 … 6" for f in drawing.picture.frames)
    assert drawing.source.count("delay 1") == 2


def test_the_rolled_view_shows_the_largest_gradients_of_all_steps():
    model, x = lstm(6)
    drawing = draw(lambda x: (model(x)[0][-1] ** 2.0).sum(), x, view="rolled")  # only the last step is used
    items, links = drawing.model.items, drawing.model.links
    used = [k.gradient for k in links if items[k.target].op == "stack"]
    assert sorted(used)[:-1] == [0.0] * 5
    (out,) = [c for c in drawing.picture.curves if "→ stack\n" in c.title and c.straight]
    assert out.gradient == max(used)
    assert "0 at least over the steps" in out.title


def test_a_shared_weight_is_a_chip_in_each_step():
    model, x = lstm(4)
    picture = draw(loss_of(model), x, view="unrolled").picture
    chips = [b for b in picture.boxes if b.chip and b.lines == ("weight_hh_l0",)]
    assert len(chips) == 4
    assert len({c.data[0] for c in chips}) == 1


def test_steps_stand_side_by_side_in_order():
    model, x = lstm(5)
    steps = [f for f in draw(loss_of(model), x, view="unrolled").picture.frames if f.step]
    assert [f.label for f in steps] == [f"t = {t}" for t in range(5)]
    assert all(a.x + a.w < b.x for a, b in pairwise(steps))
    assert len({(f.y, f.h) for f in steps}) == 1


def test_strips_tell_gates_and_gradients_step_by_step():
    model, x = lstm(5)
    drawing = draw(loss_of(model), x, view="rolled")
    strips = {s.label: s for s in drawing.picture.strips}
    assert {"mean |f|", "‖∂L/∂h‖", "‖∂L/∂c‖"} <= set(strips)
    assert len(strips["‖∂L/∂h‖"].cells) == 5
    recorded = nn.Recurrent(nn.LSTMCell(3, 5))
    with ts.no_grad():
        for own, other in zip(recorded.parameters(), model.parameters(), strict=True):
            own.copy_(other)
    wanted = recorded(x, record=True)[2]["f"].abs().mean(dim=(1, 2)).detach().numpy()
    shown = [i.mean for i in drawing.model.items if i.name == "f"]
    np.testing.assert_allclose(shown, wanted, rtol=1e-5)


def test_the_view_is_chosen_by_what_is_there():
    assert draw(lambda a: a.sum(), ts.ones(2)).view == "ops"
    model, x = lstm(4)
    assert draw(model, x).view == "unrolled"
    model, x = lstm(51)
    assert draw(model, x).view == "rolled"


def test_show_says_what_is_shown():
    model, x = lstm(3)
    plain = draw(loss_of(model), x, show=())
    assert not plain.picture.gradients
    assert "gradient:" not in plain.svg
    assert "2×5" not in plain.svg
    assert "2×5" in draw(loss_of(model), x, show="shape").svg
    with pytest.raises(ArgumentError, match="show"):
        draw(model, x, show=("colour",))
    with pytest.raises(ArgumentError, match="rolled, unrolled, both, ops, backward"):
        draw(model, x, view="sideways")


@pytest.mark.parametrize(
    ("target", "kind", "said"),
    [
        (3, ArgumentError, "int"),
        (ts.ones(2), RenderError, "no history"),
        (lambda: None, RenderError, "returned no tensor"),
    ],
)
def test_what_cannot_be_drawn(target, kind, said):
    with pytest.raises(kind, match=said):
        draw(target)


# Formats


@pytest.mark.parametrize(
    ("ending", "begin"),
    [("svg", b"<svg"), ("png", b"\x89PNG"), ("dot", b"digraph"), ("gv", b"digraph"), ("html", b"<!doctype html>")],
)
@pytest.mark.parametrize("view", ["rolled", "unrolled", "ops"])
def test_save(tmp_path, ending, begin, view):
    model, x = lstm(2)
    path = draw(loss_of(model), x, view=view).save(tmp_path / f"g.{ending}")
    assert path.read_bytes().startswith(begin)
    assert [p.name for p in tmp_path.iterdir()] == [f"g.{ending}"]


def test_save_says_which_endings_there_are(tmp_path):
    with pytest.raises(ArgumentError, match=r"\.svg, \.png"):
        draw(lambda a: a.sum(), ts.ones(2)).save(tmp_path / "g.jpeg2000")


def test_labels_are_escaped(tmp_path):
    w = ts.ones(2, requires_grad=True)
    for view in ("ops", "backward"):
        drawing = draw((w * w).sum(), names={NASTY: w}, view=view, title=NASTY)
        texts = ["".join(e.itertext()) for e in ET.fromstring(drawing.svg).iter(f"{SVG}text")]
        assert any("]]></script>" in t for t in texts)
        assert drawing.save(tmp_path / "g.png").stat().st_size > 1000
        page = drawing.save(tmp_path / "g.html").read_text(encoding="utf-8")
        assert page.count("</script>") == 2  # those that the page itself has


def test_the_page_is_self_contained(tmp_path):
    model, x = lstm(3)
    drawing = draw(loss_of(model), x, title="LSTM")
    page = drawing.save(tmp_path / "g.html").read_text(encoding="utf-8")
    assert not re.search(
        r"""(\bsrc=|href|url\(|@import|fetch\(|https?:)""", page.replace("http://www.w3.org/2000/svg", "")
    )
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        text = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "style=" not in page[page.index("<body>") : page.index("<script")]  # the policy would refuse it
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.S)[1])
    assert [n["op"] for n in data["nodes"]] == [i.op for i in drawing.model.items]
    assert [k[2] for k in data["links"]] == [
        k.gradient and pytest.approx(k.gradient, rel=1e-5) for k in drawing.model.links
    ]
    assert len(data["walk"]) == len(drawing.model.walk)
