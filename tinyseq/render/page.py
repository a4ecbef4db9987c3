"""One self-contained page: the picture, and a script that steps through it forward and backward.

Nothing is fetched from anywhere, and the policy in its head says so: only the one style and the one script whose
digests stand there may run.
"""

import base64
import hashlib
import html
import json
from collections import Counter, defaultdict
from dataclasses import replace
from importlib import resources
from typing import Any

from tinyseq.render.loops import find_loops
from tinyseq.render.model import Link, Model
from tinyseq.render.picture import Picture
from tinyseq.render.svg import CSS, DARK, svg

BUTTONS = (
    ("first", "|◀", "to the start (Home)"),
    ("prev", "◀", "one node back (←)"),
    ("play", "play", "play (space)"),
    ("next", "▶", "one node on (→)"),
    ("last", "▶|", "to the end (End)"),
    ("backward", "backward", "to the first node of backward (B)"),
)


def page(picture: Picture, model: Model, title: str) -> str:
    """Return the page as HTML text."""
    here = resources.files("tinyseq.render")
    script = (here / "page.js").read_text(encoding="utf-8")
    dark = DARK.replace(".ts", "[data-theme=dark] .ts")
    style = f"{CSS}@media screen{{{dark}}}" + (here / "page.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    buttons = "".join(
        f'<button id="{i}" title="{html.escape(tip)}" aria-label="{html.escape(tip)}">{text}</button>'
        for i, text, tip in BUTTONS
    )
    picture = replace(picture, captions=[c for c in picture.captions if c != title])  # it stands in the head
    drawn = svg(picture, styled=False, titled=False)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style></head>\n<body><header><h1>{html.escape(title)}</h1>"
        '<input id="find" type="search" placeholder="find a node (/)" aria-label="find a node">'
        '<span id="hits" class="hint" role="status"></span>'
        '<button id="fit" title="fit the window (F)">fit</button>'
        '<button id="theme" title="light or dark (D)">light / dark</button></header>\n'
        f"<nav>{buttons}"
        '<input id="slider" type="range" min="0" value="0" step="1" aria-label="node">'
        '<output id="count" role="status"></output></nav>\n'
        f'<main><div id="view"><div id="stage">{drawn}</div><div id="names" aria-hidden="true"></div></div>'
        '<div id="sheets" aria-hidden="true"></div><aside id="panel" aria-live="polite"></aside></main>\n'
        f'<script id="data" type="application/json">{_json(_data(picture, model))}</script>\n'
        f"<script>{script}</script></body></html>\n"
    )


def _digest(text: str) -> str:
    """Return what a Content-Security-Policy calls an inline text by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(picture: Picture, model: Model) -> dict[str, Any]:
    nodes = [
        {
            "op": i.op,
            "label": i.label,
            "name": i.name,
            "path": i.path,
            "step": i.step,
            "shape": list(i.shape),
            "detail": i.detail,
            "value": i.value,
            "gradient": _short(i.gradient),
        }
        for i in model.items
    ]
    links = [[k.source, k.target, _short(k.gradient)] for k in model.links]
    walk = [[item, list(passed)] for item, passed in model.walk]
    same, alike = _same(picture, model)
    return {
        "nodes": nodes,
        "links": links,
        "cuts": [k.number for k in model.links if k.cut],
        "released": {i: item.released for i, item in enumerate(model.items) if item.released},
        "walk": walk,
        "notes": model.notes,
        "same": same,
        "alike": alike,
        "strips": _strips(picture),
    }


def _strips(picture: Picture) -> list[tuple[str, str, list[tuple[int, str]]]]:
    """Return the name, the module and the cells of each strip: the time step and what is said of it."""
    found: list[tuple[str, str, list[tuple[int, str]]]] = []
    path = ""
    for strip in reversed(picture.strips):  # the axis, which names the module, stands below its strips
        said = [cell.title.rpartition("t = ")[2].partition(": ") for cell in strip.cells if cell.title]
        if said:
            found.append((strip.label, path, [(int(step), text) for step, _, text in said]))
        else:
            path = strip.label
    return found[::-1]


def _same(picture: Picture, model: Model) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pair the items of other time steps with those that are drawn once for all of them; and links likewise."""
    once = {int(dict(b.data)["data-n"]) for b in picture.boxes if not b.chip and "data-all" in dict(b.data)}
    if not once:
        return [], []
    keys: dict[int, tuple[Any, ...]] = {}
    for number, loop in enumerate(find_loops(model).loops):
        for tile in loop.tiles:
            seen: Counter[tuple[str, str, str]] = Counter()
            for i in tile.members:
                item = model.items[i]
                kind = (item.path, item.op, item.name)
                keys[i] = (number, *kind, seen[kind])
                seen[kind] += 1
    shown = {keys[i]: i for i in once if i in keys}
    other = {i: shown[key] for i, key in keys.items() if key in shown and shown[key] != i}
    arriving, leaving = defaultdict[int, list[Link]](list), defaultdict[int, list[Link]](list)
    for link in model.links:
        arriving[link.target].append(link)
        if link.target not in keys:
            leaving[link.source].append(link)
    alike = []
    for i, m in other.items():
        at, to = {k.position: k.number for k in arriving[m]}, {k.target: k.number for k in leaving[m]}
        alike += [(k.number, at[k.position]) for k in arriving[i] if k.position in at]
        alike += [(k.number, to[k.target]) for k in leaving[i] if k.target in to]
    return list(other.items()), alike


def _short(x: float | None) -> float | None:
    """Return `x` with six digits; JSON has no infinities."""
    if x is None or x != x or x in (float("inf"), float("-inf")):
        return None
    return float(f"{x:.6g}")


def _json(data: Any) -> str:
    """Return `data` as JSON that cannot end the script element around it."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
