"""A picture as SVG text."""

import html
import re
from collections.abc import Iterable

from tinyseq.render import style
from tinyseq.render.picture import (
    CORNER,
    LINE,
    MARGIN,
    Box,
    Curve,
    Frame,
    Picture,
    Point,
    Strip,
    badge,
    cut_mark,
    least_width,
    legend,
    legend_width,
    towards,
    wrapped,
)
from tinyseq.render.style import KINDS

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
.ts .constant rect{{stroke-dasharray:2.5 2}}.ts .u rect,.ts .q{{fill:#fff}}.ts .q{{stroke:#535c6a;stroke-width:1}}
.ts .w{{stroke:#1c2430;stroke-width:1.3}}
.ts .x{{font-size:{style.SMALL:g}px;font-weight:bold;paint-order:stroke;stroke:#fff;stroke-width:3px}}
{"".join(f".ts .g{i}{{stroke:{c};stroke-width:{style.WIDTHS[i]:.2f}}}" for i, c in enumerate(style.RAMP))}
{"".join(f".ts .h{i}{{fill:{c}}}.ts .h{i}+.s:not(.r){{fill:{style.INK[i]}}}" for i, c in enumerate(style.RAMP))}
.ts .v{{fill:{KINDS["gate"].line}}}.ts .z{{fill:none;stroke:#c9ced6;stroke-dasharray:2 2}}.ts .r{{text-anchor:end}}
"""
DARK = f"""
.ts .bg{{fill:#14171c}}.ts text{{fill:#e6eaf0}}.ts .s{{fill:#9aa4b3}}.ts .c,.ts .k{{fill:#b5becb}}.ts .l{{fill:#98a3b5}}
.ts .f{{fill:#aab6ca;stroke:#4b5462}}.ts .t{{fill:#191d23;stroke:#566172}}.ts .e{{stroke:{style.DARK_PLAIN}}}
.ts .m{{stroke:#626b78}}
{"".join(f".ts .{k} rect{{fill:{p.dark_fill};stroke:{p.dark_line}}}" for k, p in KINDS.items())}
.ts .u rect,.ts .q{{fill:#14171c}}.ts .q{{stroke:#9aa4b3}}.ts .w{{stroke:#e6eaf0}}.ts .x{{stroke:#14171c}}
{"".join(f".ts .g{i}{{stroke:{c}}}" for i, c in enumerate(style.DARK_RAMP))}
{"".join(f".ts .h{i}{{fill:{c}}}.ts .h{i}+.s:not(.r){{fill:#fff}}" for i, c in enumerate(style.DARK_RAMP))}
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
    kind, mark = (f"{b.kind} u", _badge(b)) if b.released else (b.kind, "")
    return (
        f'<g class="n {kind}"{_data(b.data)}>{_title(b.title)}<rect x="{b.x - b.w / 2:.1f}" y="{b.y - b.h / 2:.1f}" '
        f'width="{b.w:.1f}" height="{b.h:.1f}" rx="{rx:.3g}"/>{"".join(texts)}{mark}</g>'
    )


def _badge(b: Box) -> str:
    """Return an empty, crossed-out circle at the corner of `b`."""
    (x, y), r = badge(b)
    s = r * 0.7
    return (
        f'<circle class="q" cx="{x:.1f}" cy="{y:.1f}" r="{r:g}"/>'
        f'<path class="q" d="M{x - s:.1f},{y + s:.1f} L{x + s:.1f},{y - s:.1f}"/>'
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
    kind, (text, down) = "t" if f.step else "f", ("k", 17) if f.step or f.title else ("l", 12)
    label = f'<text class="{text}" x="{f.x + f.inset:.1f}" y="{f.y + down:.1f}">'
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
    drawn = f'<path class="{kind}"{_data(c.data)} d="{path}">{_title(c.title)}</path>'
    return drawn + _mark(c) if c.cut else drawn


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


def _title(text: str) -> str:
    return f"<title>{html.escape(text)}</title>" if text else ""


def _data(data: Iterable[tuple[str, str]]) -> str:
    return "".join(f' {name}="{html.escape(value)}"' for name, value in data)


def _legend(picture: Picture, y: float) -> str:
    """Return the row that says what the colours and marks mean."""
    parts = []
    for name, meaning, x in legend(picture):
        if name == "cut":
            parts.append(_mark(Curve(((x, y - 4), (x + 16, y - 4)), straight=True, free=(x + 21, y - 4)), word=False))
        elif name == "released":
            parts.append(_box(Box(x + 8, y - 3.5, 16, 11, "product", (), released=True)))
        else:
            parts.append(f'<g class="n {name}"><rect x="{x:.1f}" y="{y - 9:.1f}" width="16" height="11" rx="3"/></g>')
        parts.append(f'<text class="c" x="{x + 21:.1f}" y="{y:.1f}">{meaning}</text>')
    return "".join(parts)


def _mark(c: Curve, *, word: bool = True) -> str:
    """Return the double bar of a curve that is cut, and its word."""
    bars, (x, y) = cut_mark(c)
    path = " ".join(f"M{_at(a)} L{_at(b)}" for a, b in bars)
    cut = "".join(f' data-c="{value}"' for name, value in c.data if name == "data-e")  # the links that it is of
    text = f'<text class="x"{cut} x="{x:.1f}" y="{y + 3:.1f}">cut</text>' if word else ""
    return f'<path class="e w"{cut} d="{path}"/>{text}'


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
