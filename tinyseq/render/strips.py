"""Strips below a picture: what gates did, and how large gradients of states were, at each time step."""

from tinyseq.render import style
from tinyseq.render.loops import Loop
from tinyseq.render.model import Item, Model
from tinyseq.render.picture import Cell, Picture, Strip
from tinyseq.render.scene import Look, common_path

HEIGHT = 14.0
LABEL = 104.0  # room for the names at the left
NARROW, WIDE = 1.0, 40.0  # of one step, where the picture does not say


def add_strips(picture: Picture, model: Model, loop: Loop, columns: list[tuple[float, float]], look: Look) -> None:
    """Add the strips of `loop` below `picture`; `columns` says where each step stands (left edge, width)."""
    found: dict[str, list[tuple[int, Item]]] = {}
    for k, tile in enumerate(loop.tiles):
        for i in tile.members:
            item = model.items[i]
            if item.name:
                found.setdefault(item.name, []).append((k, item))
    y = picture.h + 20
    made = []
    for name, values in found.items():
        kind = values[0][1].kind
        if kind != "state" and any(item.mean is not None for _, item in values):
            cells = [_value_cell(name, item, *columns[k]) for k, item in values]
            made.append(Strip(f"mean |{name}|", y, cells))
            y += HEIGHT + 2
    if model.sizes_known and ("grad" in look.show or look.backward):
        for name, values in found.items():
            if values[0][1].kind == "state":
                cells = [_gradient_cell(name, item, picture, *columns[k]) for k, item in values]
                made.append(Strip(f"‖∂L/∂{name}‖", y, cells))
                y += HEIGHT + 2
    if not made:
        return
    every = max(1, round(28 / columns[0][1]))
    axis = [
        Cell(x, w, f"t={tile.step}" if every == 1 else str(tile.step), "", None, None)
        for tile, (x, w) in list(zip(loop.tiles, columns, strict=True))[::every]
    ]
    path = ".".join(common_path(model.items[i] for t in loop.tiles[:2] for i in t.members))
    picture.strips += [*made, Strip(path, y, axis)]
    picture.h = y + HEIGHT


def even_columns(count: int, width: float) -> list[tuple[float, float]]:
    """Return places for `count` steps in about `width` points."""
    each = max(NARROW, min(WIDE, (width - LABEL) / count))
    return [(LABEL + each * k, each) for k in range(count)]


def _value_cell(name: str, item: Item, x: float, w: float) -> Cell:
    mean = item.mean
    text = "" if mean is None or w < 26 else f"{mean:.2f}"
    said = "not known" if mean is None else style.number_text(mean)
    return Cell(x, w, text, f"mean |{name}|, t = {item.step}: {said}", None, None if mean is None else min(1.0, mean))


def _gradient_cell(name: str, item: Item, picture: Picture, x: float, w: float) -> Cell:
    size = item.gradient
    if size is None:
        return Cell(x, w, "none" if w > 26 else "", f"gradient of {name}, t = {item.step}: not computed", None, None)
    text = style.number_text(size) if w > 38 else ""
    title = f"gradient of {name}, t = {item.step}: {style.number_text(size)}"
    return Cell(x, w, text, title, picture.scale.level(size), None)
