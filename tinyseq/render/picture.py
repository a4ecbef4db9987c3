"""A picture with every place decided: boxes, frames, curves and strips, written as SVG.

Coordinates are points, x to the right and y down.
"""

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tinyseq.render import style
from tinyseq.render.style import KINDS, Scale

Point = tuple[float, float]
MARGIN = 14.0
CORNER = 6.0  # radius of the corners of lines
LINE = 15.0  # between lines of the caption


@dataclass(slots=True)
class Box:
    """A node: its centre and size, its lines of text (the first is bold up to a tab), and its kind."""

    x: float
    y: float
    w: float
    h: float
    kind: str
    lines: tuple[str, ...]
    title: str = ""
    chip: bool = False
    data: tuple[tuple[str, str], ...] = ()  # attributes for the page's script


@dataclass(slots=True)
class Curve:
    """An edge: the points of cubic Bézier pieces (or of a polyline with rounded corners), ending in an arrow."""

    points: tuple[Point, ...]
    straight: bool = False
    arrow: bool = True
    gradient: float | None = None
    missing: bool = False  # a gradient that was not computed
    title: str = ""
    data: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Frame:
    """A module, or a time step: a rounded rectangle with a title."""

    x: float
    y: float
    w: float
    h: float
    label: str
    step: bool = False
    inset: float = 7.0  # of the title, from the left


@dataclass(frozen=True, slots=True)
class Cell:
    """One time step in a strip: coloured by the `level` of a gradient, or by a `share` from 0 to 1."""

    x: float
    w: float
    text: str
    title: str
    level: int | None
    share: float | None


@dataclass(slots=True)
class Strip:
    """A row of cells below the picture, with its name on the left."""

    label: str
    y: float
    cells: list[Cell]


@dataclass(slots=True)
class Picture:
    """All that is drawn, in the order in which it is painted."""

    w: float = 0.0
    h: float = 0.0
    frames: list[Frame] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    gradients: bool = False  # edges are coloured by the size of their gradients
    scale: Scale = field(default_factory=Scale)

    def put(self, other: "Picture", dx: float, dy: float) -> None:
        """Draw `other` as a part of this one, moved by (`dx`, `dy`)."""
        self.frames += [replace(f, x=f.x + dx, y=f.y + dy) for f in other.frames]
        self.boxes += [replace(b, x=b.x + dx, y=b.y + dy) for b in other.boxes]
        self.curves += [replace(c, points=tuple([(x + dx, y + dy) for x, y in c.points])) for c in other.curves]


CSS = f"""
.ts{{font-family:{style.FONT};font-size:{style.SIZE:g}px}}
.ts .bg{{fill:#fff}}.ts text{{fill:#1c2430;text-anchor:middle}}.ts .s{{font-size:{style.SMALL:g}px;fill:#535c6a}}
.ts .b{{font-weight:bold}}.ts .c{{font-size:10px;fill:#4b5563;text-anchor:start}}
.ts .f{{fill:#8891a0;fill-opacity:.06;stroke:#aab2bf;stroke-width:.8}}.ts .t{{fill:#fff;stroke:#8590a2;stroke-width:1}}
.ts .l{{font-size:9px;fill:#6b7688;text-anchor:start}}
.ts .k{{font-size:12px;font-weight:bold;fill:#4b5563;text-anchor:start}}
.ts .e{{fill:none;stroke:{style.PLAIN};stroke-width:1;stroke-linejoin:round}}
.ts .m{{stroke:#a3a9b2;stroke-width:.9;stroke-dasharray:3 2.5}}
{"".join(f".ts .{k} rect{{fill:{p.fill};stroke:{p.line}}}" for k, p in KINDS.items())}
.ts .constant rect{{stroke-dasharray:2.5 2}}
{"".join(f".ts .g{i}{{stroke:{c};stroke-width:{style.WIDTHS[i]:.2f}}}" for i, c in enumerate(style.RAMP))}
{"".join(f".ts .h{i}{{fill:{c}}}.ts .h{i}+text{{fill:{style.INK[i]}}}" for i, c in enumerate(style.RAMP))}
.ts .v{{fill:{KINDS["gate"].line}}}.ts .z{{fill:none;stroke:#c9ced6;stroke-dasharray:2 2}}.ts .r{{text-anchor:end}}
"""
DARK = f"""
.ts .bg{{fill:#14171c}}.ts text{{fill:#e6eaf0}}.ts .s{{fill:#9aa4b3}}.ts .c,.ts .k{{fill:#b5becb}}.ts .l{{fill:#98a3b5}}
.ts .f{{fill:#aab6ca;stroke:#4b5462}}.ts .t{{fill:#191d23;stroke:#566172}}.ts .e{{stroke:{style.DARK_PLAIN}}}
.ts .m{{stroke:#626b78}}
{"".join(f".ts .{k} rect{{fill:{p.dark_fill};stroke:{p.dark_line}}}" for k, p in KINDS.items())}
{"".join(f".ts .g{i}{{stroke:{c}}}" for i, c in enumerate(style.DARK_RAMP))}
{"".join(f".ts .h{i}{{fill:{c}}}.ts .h{i}+text{{fill:#fff}}" for i, c in enumerate(style.DARK_RAMP))}
"""


def svg(
    picture: Picture,
    *,
    dark: str | None = "@media (prefers-color-scheme:dark)",
    styled: bool = True,
    titled: bool = True,
) -> str:
    """Return `picture` as SVG text.

    `dark` is what the rules for dark surroundings are put under; without `styled` there are no rules at all, and
    without `titled` no tooltips.
    """
    notes, legend = wrapped(picture.captions, max(picture.w, least_width(picture))), legend_width(picture)
    foot = (26.0 if picture.boxes else 0.0) + (24.0 if picture.gradients else 0.0) + LINE * len(notes)
    w = max(picture.w, legend, least_width(picture)) + 2 * MARGIN
    h = picture.h + foot + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="ts" width="{w:.0f}" height="{h:.0f}" '
        f'viewBox="0 0 {w:.0f} {h:.0f}" role="img">'
    ]
    if styled:
        out.append(f"<style>{stylesheet(dark)}</style>")
    out.append(f'<rect class="bg" width="{w:.0f}" height="{h:.0f}"/>')
    out.append(f'<g transform="translate({MARGIN:g} {MARGIN:g})">')
    out += [_frame(f) for f in picture.frames]
    out += [_curve(c, picture) for c in picture.curves]
    out += [_box(b) for b in picture.boxes]
    out += [_strip(s) for s in picture.strips]
    y = picture.h + 20
    if picture.boxes:
        out.append(f'<g class="legend">{_legend(picture, y)}</g>')
        y += 26
    if picture.gradients:
        out.append(_scale(picture, y))
        y += 24
    out += [f'<text class="c" x="0" y="{y + LINE * i:.0f}">{html.escape(n)}</text>' for i, n in enumerate(notes)]
    out.append("</g></svg>")
    text = "\n".join(out)
    return text if titled else _TITLES.sub("", text)


_TITLES = re.compile("<title>[^<]*</title>")


def least_width(picture: Picture) -> float:
    """Return the room that what stands below the picture needs at least."""
    return 540.0 if picture.gradients else 320.0


def stylesheet(dark: str | None) -> str:
    """Return the style of every picture, with the rules for dark surroundings under `dark`."""
    return CSS + (f"{dark}{{{DARK}}}" if dark else "")


def _box(b: Box) -> str:
    rx = b.h / 2 if b.chip else 5
    size, first = (style.SMALL, 9.5) if b.chip else (style.SMALL, style.SIZE)
    rows = [(line, i == 0) for i, line in enumerate(b.lines) if line]
    step = first + 1.0
    top = b.y - (step + (len(rows) - 1) * (size + 1.5)) / 2 + first * 0.84
    texts = []
    for i, (line, main) in enumerate(rows):
        y = top if i == 0 else top + i * (size + 1.5)
        if main:
            name, _, rest = line.partition("\t")
            inner = f'<tspan class="b">{html.escape(name)}</tspan>{html.escape(rest)}' if rest else html.escape(name)
            extra = ' font-size="9.5"' if b.chip else ""
            texts.append(f'<text x="{b.x:.1f}" y="{y:.1f}"{extra}>{inner}</text>')
        else:
            texts.append(f'<text class="s" x="{b.x:.1f}" y="{y:.1f}">{html.escape(line)}</text>')
    return (
        f'<g class="n {b.kind}"{_data(b.data)}>{_title(b.title)}<rect x="{b.x - b.w / 2:.1f}" y="{b.y - b.h / 2:.1f}" '
        f'width="{b.w:.1f}" height="{b.h:.1f}" rx="{rx:.3g}"/>{"".join(texts)}</g>'
    )


def _strip(s: Strip) -> str:
    x = min((c.x for c in s.cells), default=0.0)
    parts = [f'<text class="s r" x="{x - 7:.1f}" y="{s.y + 10:.1f}">{html.escape(s.label)}</text>']
    for c in s.cells:
        look = ""
        if c.level is not None:
            look = f' class="h{c.level}"'
        elif c.share is not None:
            look = f' class="v" fill-opacity="{0.08 + 0.6 * c.share:.2f}"'
        elif c.title:
            look = ' class="z"'
        if look:
            gap = 1.0 if c.w > 6 else 0.0
            parts.append(
                f'<rect{look} x="{c.x:.1f}" y="{s.y:.1f}" width="{c.w - gap:.1f}" height="13">{_title(c.title)}</rect>'
            )
        if c.text:
            parts.append(f'<text class="s" x="{c.x + c.w / 2:.1f}" y="{s.y + 9.6:.1f}">{html.escape(c.text)}</text>')
    return "".join(parts)


def _frame(f: Frame) -> str:
    kind, text = ("t", "k") if f.step else ("f", "l")
    label = f'<text class="{text}" x="{f.x + f.inset:.1f}" y="{f.y + (17 if f.step else 12):.1f}">'
    return (
        f'<rect class="{kind}" x="{f.x:.1f}" y="{f.y:.1f}" width="{f.w:.1f}" height="{f.h:.1f}" rx="8"/>'
        f"{label}{html.escape(f.label)}</text>"
    )


def _curve(c: Curve, picture: Picture) -> str:
    path = _rounded(c.points) if c.straight else "M{} C{}".format(_at(c.points[0]), " ".join(map(_at, c.points[1:])))
    if c.arrow:
        path += _arrow(c.points, 5.0 if not picture.gradients else 6.0)
    kind = "e"
    if c.missing:
        kind = "e m"
    elif picture.gradients and c.gradient is not None:
        kind = f"e g{picture.scale.level(c.gradient)}"
    return f'<path class="{kind}"{_data(c.data)} d="{path}">{_title(c.title)}</path>'


def _at(p: Point) -> str:
    return f"{p[0]:.1f},{p[1]:.1f}"


def _arrow(points: tuple[Point, ...], size: float) -> str:
    """Return an open arrow head at the last of `points`, a part of the path so that it takes its colour."""
    (x, y), before = points[-1], points[-2]
    for p in reversed(points[:-1]):
        if (p[0] - x) ** 2 + (p[1] - y) ** 2 > 0.01:
            before = p
            break
    dx, dy = x - before[0], y - before[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy = dx / length * size, dy / length * size
    a, b = (x - ux - uy * 0.5, y - uy + ux * 0.5), (x - ux + uy * 0.5, y - uy - ux * 0.5)
    return f"M{_at(a)} L{_at((x, y))} L{_at(b)}"


def _rounded(points: tuple[Point, ...], radius: float = CORNER) -> str:
    """Return a path along `points` whose corners are rounded."""
    parts = [f"M{_at(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        enter, leave = towards(corner, before, radius), towards(corner, after, radius)
        parts.append(f"L{_at(enter)} Q{_at(corner)} {_at(leave)}")
    return " ".join([*parts, f"L{_at(points[-1])}"])


def towards(a: Point, b: Point, most: float) -> Point:
    """Return the point `most` away from `a` on the way to `b`, half of the way at the farthest."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = (dx * dx + dy * dy) ** 0.5
    part = min(0.5, most / length) if length else 0.0
    return a[0] + dx * part, a[1] + dy * part


def _title(text: str) -> str:
    return f"<title>{html.escape(text)}</title>" if text else ""


def _data(data: Iterable[tuple[str, str]]) -> str:
    return "".join(f' {name}="{html.escape(value)}"' for name, value in data)


def used(picture: Picture) -> list[str]:
    """Return the kinds of nodes that occur, in the order of the legend."""
    found = {b.kind for b in picture.boxes}
    return [k for k in KINDS if k in found]


def legend_width(picture: Picture) -> float:
    """Return how wide the legend of the colours is."""
    return sum(style.text_width(KINDS[k].meaning, 10.8) + 36 for k in used(picture))


def _legend(picture: Picture, y: float) -> str:
    """Return the row that says what the colours mean."""
    x, parts = 0.0, []
    for kind in used(picture):
        parts.append(
            f'<g class="n {kind}"><rect x="{x:.1f}" y="{y - 9:.1f}" width="16" height="11" rx="3"/></g>'
            f'<text class="c" x="{x + 21:.1f}" y="{y:.1f}">{KINDS[kind].meaning}</text>'
        )
        x += style.text_width(KINDS[kind].meaning, 10.8) + 36
    return "".join(parts)


def _scale(picture: Picture, y: float) -> str:
    """Return the scale of the gradients' colours and widths."""
    parts = [f'<text class="c" x="0" y="{y:.1f}">size of the gradient:</text>']
    x, every = 112.0, style.LEVELS // picture.scale.decades or 1
    for level in range(style.LEVELS + 1):
        power = picture.scale.top - picture.scale.decades + level // every
        if level % every == 0:
            parts.append(f'<text class="s" x="{x:.0f}" y="{y + 8:.1f}">1e{power}</text>')
        if level < style.LEVELS:
            parts.append(f'<path class="e g{level}" d="M{x:.0f},{y - 4:.1f} L{x + 30:.0f},{y - 4:.1f}"/>')
            x += 34
    parts.append(f'<path class="e m" d="M{x + 30:.0f},{y - 4:.1f} L{x + 60:.0f},{y - 4:.1f}"/>')
    parts.append(f'<text class="c" x="{x + 66:.0f}" y="{y:.1f}">not computed</text>')
    return "".join(parts)


def wrapped(captions: list[str], width: float) -> list[str]:
    """Break the captions into lines of at most `width` points."""
    lines = []
    for caption in captions:
        line = ""
        for word in caption.split():
            if line and style.text_width(f"{line} {word}", 10) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return lines


def html_label(b: Box) -> str:
    """Return the lines of `b` as Graphviz's HTML-like label."""
    lines = [_html(line, i == 0, b.chip) for i, line in enumerate(b.lines) if line]
    return f"<{'<br/>'.join(lines)}>" if lines else ""


def _html(line: str, main: bool, chip: bool) -> str:
    """Return a line of a label as Graphviz's HTML-like text."""
    name, _, rest = line.partition("\t")
    size = (9.5 if chip else style.SIZE) if main else style.SMALL
    text = f"<b>{html.escape(name)}</b>{html.escape(rest)}" if rest else html.escape(name)
    color = "#1c2430" if main else "#535c6a"
    return f'<font point-size="{size}" color="{color}">{text or " "}</font>'
