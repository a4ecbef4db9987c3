"""One self-contained page: the picture, and a script that steps through it forward and backward.

Nothing is fetched from anywhere, and the policy in its head says so: only the one style and the one script whose
digests stand there may run.
"""

import base64
import hashlib
import html
import json
from collections import Counter
from dataclasses import replace
from importlib import resources
from typing import Any

from tinyseq.render.model import Model
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
    return {
        "nodes": nodes,
        "links": links,
        "walk": walk,
        "notes": model.notes,
        "same": _same(picture, model),
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


def _same(picture: Picture, model: Model) -> list[tuple[int, int]]:
    """Pair each item that is not drawn with the drawn one that is the same part of another time step."""
    drawn = {int(value) for b in picture.boxes if not b.chip for name, value in b.data if name == "data-n"}
    keys: list[tuple[Any, ...]] = []
    seen: Counter[tuple[Any, ...]] = Counter()
    for item in model.items:
        kind = (item.path, item.op, item.name)
        keys.append((*kind, seen[item.step, *kind]))
        seen[item.step, *kind] += 1
    stepped = [i for i, item in enumerate(model.items) if item.step is not None]
    shown = {keys[i]: i for i in stepped if i in drawn}
    return [(i, shown[keys[i]]) for i in stepped if i not in drawn and keys[i] in shown]


def _short(x: float | None) -> float | None:
    """Return `x` with six digits; JSON has no infinities."""
    if x is None or x != x or x in (float("inf"), float("-inf")):
        return None
    return float(f"{x:.6g}")


def _json(data: Any) -> str:
    """Return `data` as JSON that cannot end the script element around it."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
