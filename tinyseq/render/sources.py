"""The views over time as DOT text: the parts that the pictures have, for an engine to place."""

from tinyseq.render.cells import Cell, cell
from tinyseq.render.loops import Loop, Repeats
from tinyseq.render.model import Model
from tinyseq.render.scene import Look, Scene, Spot, Wire, leaf_chip, whole
from tinyseq.render.tiles import gathered, loop_label, outer_paths, prepared


def both_scene(model: Model, look: Look) -> Scene:
    """Return the rolled and the unrolled graph in a frame each."""
    scene = Scene(backward=look.backward)
    for label, part in (("rolled", rolled_scene(model, look)), ("unrolled", whole(model, look))):
        scene.spots |= {f"{label}_{key}": Spot(s.box, (label, *s.path)) for key, s in part.spots.items()}
        for w in part.wires:
            scene.wires.append(Wire(f"{label}_{w.a}", f"{label}_{w.b}", w.curve, w.ports, w.loose))
    return scene


def rolled_scene(model: Model, look: Look) -> Scene:
    """Return the rolled view for DOT text: the same parts, in places of the engine's choice."""
    repeats, outer = prepared(model)
    model = gathered(model, repeats)
    scene, paths = Scene(backward=look.backward), outer_paths(model, repeats, outer)
    for i in sorted(outer):
        scene.spots[f"n{i}"] = Spot(look.box(model.items[i]), paths[i])
    for link in model.links:
        if link.target in outer and link.source not in repeats.where:
            tail = f"n{link.source}"
            if link.source not in outer:
                tail = f"w{link.number}"
                scene.spots[tail] = Spot(leaf_chip(model, link, link.number, look), paths[link.target])
            scene.wires.append(Wire(tail, f"n{link.target}", look.curve(link, model)))
    for n, loop in enumerate(repeats.loops):
        _add_loop(scene, f"l{n}", cell(model, repeats, loop, loop.typical(), look, outer), loop, model, repeats, look)
    return scene


def _add_loop(scene: Scene, mark: str, c: Cell, loop: Loop, model: Model, repeats: Repeats, look: Look) -> None:
    """Add the one cell of a loop to the scene of the rolled view, with a delay in each returning edge."""
    around = (f"{loop_label(model, loop)}  × {len(loop.tiles)}",)
    for key, spot in c.scene.spots.items():
        scene.spots[mark + key] = Spot(spot.box, around + spot.path)
    scene.wires += [Wire(mark + w.a, mark + w.b, w.curve) for w in c.scene.wires]
    for key, port in c.ins.items():
        head = mark + key
        if port.role is not None:
            delay, tail = f"{mark}d{key}", f"{mark}o{port.role[0]}"
            scene.spots[delay] = Spot(look.chip(f"delay {port.role[1]}", "state"), around)
            scene.wires.append(Wire(tail, delay, look.bundle(port.sources, model), loose=True))
            scene.wires.append(Wire(delay, head, look.bundle(port.sources, model)))
        elif port.sources and f"n{port.sources[0].source}" in scene.spots:
            scene.wires.append(Wire(f"n{port.sources[0].source}", head, look.bundle(port.sources, model)))
    for key, i in c.outs.items():
        for link in repeats.leaving.get(i, ()):
            if f"n{link.target}" in scene.spots:
                scene.wires.append(Wire(mark + key, f"n{link.target}", look.curve(link, model)))
