"""A picture as DOT in which every place is stated: an engine then rasterises it without moving anything."""

import math
from collections.abc import Callable

import graphviz

from tinyseq.render import style
from tinyseq.render.picture import (
    CORNER,
    LINE,
    MARGIN,
    Box,
    Curve,
    Picture,
    Point,
    badge,
    cut_mark,
    html_label,
    least_width,
    legend,
    legend_width,
    towards,
    wrapped,
)
from tinyseq.render.style import KINDS

MOST_PIXELS = 16000.0  # of the longer side
SHARP = 144.0  # dots per inch
Up = Callable[[Point], str]


def pinned(picture: Picture) -> str:
    """Return `picture` as DOT for `neato -n2`, with the legend and the captions below it."""
    inner = max(picture.w, least_width(picture), legend_width(picture))
    notes = wrapped(picture.captions, inner)
    wide = inner + 2 * MARGIN
    high = picture.h + 2 * MARGIN + 26 + 24 * picture.gradients + LINE * len(notes)
    dpi = min(SHARP, MOST_PIXELS / max(wide, high) * 72)
    g = graphviz.Digraph("tinyseq")
    g.attr("graph", bb=f"0,0,{wide:.1f},{high:.1f}", bgcolor="white", splines="true", dpi=f"{dpi:.1f}", pad="0")
    g.attr("node", fontname="Helvetica", shape="box", fixedsize="true", margin="0")

    def up(p: Point) -> str:
        return f"{p[0] + MARGIN:.1f},{high - MARGIN - p[1]:.1f}"

    for corner in ((-MARGIN, -MARGIN), (wide - MARGIN, high - MARGIN)):  # they hold the borders
        _rect(g, up, corner, 0.1, 0.1, style="invis")
    for f in picture.frames:
        line, fill = ("#8590a2", "#ffffff") if f.step else ("#aab2bf", "#f7f8fa")
        _rect(g, up, (f.x + f.w / 2, f.y + f.h / 2), f.w, f.h, style="rounded,filled", fillcolor=fill, color=line)
        down, size = (13, 12) if f.step or f.title else (9, 9)
        _text(g, up, (f.x + f.inset, f.y + down), f.label, size, "#5a6472")
    for i, c in enumerate(picture.curves):
        _curve(g, up, f"{i}", c, picture)
    for b in picture.boxes:
        _box(g, up, b)
    _strips(g, up, picture)
    y = picture.h + 16.0
    for name, meaning, x in legend(picture) if picture.boxes else ():
        if name == "cut":
            _mark(g, up, "legend", Curve(((x, y), (x + 16, y)), straight=True, free=(x + 21, y)), word=False)
        else:
            _box(g, up, Box(x + 8, y, 16, 11, name if name in KINDS else "product", (), released=name == "released"))
        _text(g, up, (x + 21, y), meaning, 10, "#4b5563")
    y += 26
    if picture.gradients:
        _scale(g, up, picture, y)
        y += 24
    for n, note in enumerate(notes):
        _text(g, up, (0.0, y - 4 + LINE * n), note, 10, "#4b5563")
    return str(g.source)


def _rect(g: graphviz.Digraph, up: Up, middle: Point, w: float, h: float, **look: str) -> None:
    size = {"width": f"{w / 72:.3f}", "height": f"{h / 72:.3f}"}
    g.node(f"r{len(g.body)}", label="", pos=up(middle), **size, **look)


def _text(g: graphviz.Digraph, up: Up, left: Point, text: str, size: float, color: str) -> None:
    wide = 1.02 * style.text_width(text, size) + 2  # \\l puts the text at the left of that
    look = {"fontsize": f"{size:g}", "fontcolor": color, "width": f"{wide / 72:.3f}", "height": f"{size / 72:.3f}"}
    look["penwidth"] = "0"
    g.node(f"r{len(g.body)}", label=graphviz.escape(text) + "\\l", pos=up((left[0] + wide / 2, left[1])), **look)


def _box(g: graphviz.Digraph, up: Up, b: Box) -> None:
    paint = KINDS[b.kind]
    g.node(
        f"r{len(g.body)}",
        label=html_label(b),
        pos=up((b.x, b.y)),
        width=f"{b.w / 72:.3f}",
        height=f"{b.h / 72:.3f}",
        style="rounded,filled,dashed" if b.kind == "constant" else "rounded,filled",
        fillcolor="#ffffff" if b.released else paint.fill,
        color=paint.line,
    )
    if b.released:
        (x, y), r = badge(b)
        size, s = f"{r / 36:.3f}", r * 0.7
        look = {"shape": "circle", "style": "filled", "fillcolor": "#ffffff", "color": "#535c6a"}
        g.node(f"r{len(g.body)}", label="", pos=up((x, y)), width=size, height=size, **look)
        _stroke(g, up, f"q{len(g.body)}", (x - s, y + s), (x + s, y - s), "#535c6a", 1.0)


def _stroke(g: graphviz.Digraph, up: Up, name: str, a: Point, b: Point, color: str, width: float) -> None:
    """Draw a straight line."""
    for end, p in (("a", a), ("b", b)):
        g.node(f"{end}{name}", label="", shape="point", style="invis", pos=up(p), width="0.01", height="0.01")
    pos = " ".join(map(up, (a, towards(a, b, math.dist(a, b) / 3), towards(b, a, math.dist(a, b) / 3), b)))
    g.edge(f"a{name}", f"b{name}", pos=pos, color=color, penwidth=f"{width:g}", arrowhead="none")


def _mark(g: graphviz.Digraph, up: Up, name: str, c: Curve, *, word: bool = True) -> None:
    """Draw the double bar across a curve that is cut, and its word."""
    bars, place = cut_mark(c)
    for i, (a, b) in enumerate(bars):
        _stroke(g, up, f"x{name}_{i}", a, b, "#1c2430", 1.3)
    if word:
        look = {"shape": "plain", "style": "filled", "fillcolor": "#ffffff", "color": "#ffffff", "fontsize": "8.5"}
        g.node(f"r{len(g.body)}", label=graphviz.escape("cut"), pos=up(place), fontcolor="#1c2430", **look)


def _curve(g: graphviz.Digraph, up: Up, name: str, c: Curve, picture: Picture) -> None:
    """Draw a curve between two invisible points: Graphviz would clip it at the nodes otherwise."""
    points = as_bezier(c.points) if c.straight else c.points
    color, width = style.PLAIN, 0.8
    if c.missing:
        color = "#a3a9b2"
    elif picture.gradients and c.gradient is not None:
        level = picture.scale.level(c.gradient)
        color, width = style.RAMP[level], style.WIDTHS[level]
    for end, p in (("a", points[0]), ("b", points[-1])):
        g.node(f"{end}{name}", label="", shape="point", style="invis", pos=up(p), width="0.01", height="0.01")
    pos = " ".join(map(up, points))
    if c.arrow:
        back = towards(points[-1], next((p for p in reversed(points) if p != points[-1]), points[-1]), 5.0)
        pos = f"e,{up(points[-1])} " + " ".join(map(up, (*points[:-1], back)))
    look = {"color": color, "penwidth": f"{width:.2f}", "style": "dashed" if c.missing else "solid"}
    g.edge(f"a{name}", f"b{name}", pos=pos, arrowhead="normal" if c.arrow else "none", arrowsize="0.5", **look)
    if c.cut:
        _mark(g, up, name, c)


def as_bezier(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return a polyline with rounded corners as cubic pieces.

    >>> len(as_bezier(((0.0, 0.0), (10.0, 0.0), (10.0, 10.0))))
    10
    """
    out = [points[0]]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        enter, leave = towards(corner, before, CORNER), towards(corner, after, CORNER)
        out += [out[-1], enter, enter, _between(enter, corner), _between(leave, corner), leave]
    return (*out, out[-1], points[-1], points[-1])


def _between(a: Point, b: Point) -> Point:
    return a[0] + (b[0] - a[0]) * 2 / 3, a[1] + (b[1] - a[1]) * 2 / 3


def _strips(g: graphviz.Digraph, up: Up, picture: Picture) -> None:
    for s in picture.strips:
        left = min((c.x for c in s.cells), default=0.0)
        _text(g, up, (left - 7 - style.text_width(s.label, 8.5), s.y + 6.5), s.label, 8.5, "#535c6a")
        for c in s.cells:
            color, ink = "#ffffff", "#535c6a"
            if c.level is not None:
                color, ink = style.RAMP[c.level], style.INK[c.level]
            elif c.share is not None:
                color = style.mixed(KINDS["gate"].line, 0.08 + 0.6 * c.share)
            if c.title:
                wide = max(c.w - 1, 0.5)
                _rect(g, up, (c.x + wide / 2, s.y + 6.5), wide, 13, style="filled", fillcolor=color, color=color)
            if c.text:
                left_ = c.x + (c.w - style.text_width(c.text, 8.5)) / 2
                _text(g, up, (left_, s.y + 6.5), c.text, 8.5, ink)


def _scale(g: graphviz.Digraph, up: Up, picture: Picture, y: float) -> None:
    _text(g, up, (0.0, y - 4), "size of the gradient:", 10, "#4b5563")
    x, every = 112.0, style.LEVELS // picture.scale.decades or 1
    for level in range(style.LEVELS + 1):
        if level % every == 0:
            power = picture.scale.top - picture.scale.decades + level // every
            _text(g, up, (x - 8, y + 6), f"1e{power}", 8.5, "#535c6a")
        if level < style.LEVELS:
            points = ((x, y - 4), (x + 10, y - 4), (x + 20, y - 4), (x + 30, y - 4))
            sample = 10.0 ** (picture.scale.top - picture.scale.decades * (1 - (level + 0.5) / style.LEVELS))
            _curve(g, up, f"s{level}", Curve(points, arrow=False, gradient=sample), picture)
            x += 34
