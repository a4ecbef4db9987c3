"""`draw`: a picture of what a tensor was made from, or of what a function or a module does."""

import gc
import inspect
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tinyseq import ops
from tinyseq.autograd import Tensor, engine
from tinyseq.autograd.nested import tensors_in
from tinyseq.core.dispatch import override
from tinyseq.core.tape import Leaf
from tinyseq.errors import ArgumentError, RenderError
from tinyseq.graph import Graph
from tinyseq.render import engines, sources, svg as svgs, tiles
from tinyseq.render.loops import add_cuts
from tinyseq.render.model import MOST, Model, from_calls, from_tape, too_large
from tinyseq.render.page import page
from tinyseq.render.picture import Picture
from tinyseq.render.pinned import pinned
from tinyseq.render.program import from_program
from tinyseq.render.scene import Look, Scene, spots_in, whole
from tinyseq.render.style import Scale, clean
from tinyseq.render.trace import Call, Gradients, Observation, Observer, measure

View = Literal["rolled", "unrolled", "both", "ops", "backward"]
VIEWS = ("rolled", "unrolled", "both", "ops", "backward")
SHOWN = ("shape", "value", "grad")
MANY_STEPS = 50  # above this many, time steps are drawn once unless asked for
MOST_CUTS = 12  # that are told one by one
MOST_NODES = 3000  # that an engine lays out at once in reasonable time


def draw(
    target: Any,
    *inputs: Any,
    view: View | None = None,
    show: Iterable[str] = SHOWN,
    engine: str | os.PathLike[str] | None = None,
    names: Any = None,
    title: str = "",
) -> "Drawing":
    """Draw a computation as a graph of its operations.

    Parameters
    ----------
    target
        A tensor (what it was made from, as far as gradients go); a function or module, which is called once; or a
        captured graph.
    *inputs
        What the function or module is called with.
    view
        "rolled": one time step, its states returning through a delay; "unrolled": the time steps side by side; "both":
        the two beside each other;
        "ops": every operation a node, modules as frames; "backward": the unrolled steps with the gradients that flow
        back. By default unrolled, rolled above 50 steps, and "ops" where nothing is repeated over time.
    show
        What to show of "shape", "value" and "grad" (sizes of gradients as colour and width; needs a scalar result, or
        else they are those of the sum of the results).
    engine
        The program that lays graphs out: "graphviz-pure", "dot", "pygraphviz" or a path; see `TINYSEQ_DOT`.
    names
        Names for leaves: a module, or a mapping from names to tensors.
    title
        The first line below the picture.

    Returns
    -------
    Drawing
        It shows itself in a notebook, and `save`s itself as SVG, PNG, PDF, DOT or HTML.

    Raises
    ------
    RenderError
        If the graph is too large to read, or (when rendered) no engine is there. DOT text needs none.

    Examples
    --------
    >>> import tinyseq as ts
    >>> x = ts.tensor([1.0, 2.0], requires_grad=True)
    >>> drawing = draw((x * x).sum(), view="ops", names={"x": x})
    >>> [item.op for item in drawing.model.items]
    ['leaf', 'mul', 'sum']
    """
    shown = frozenset((show,) if isinstance(show, str) else show)
    if view is not None and view not in VIEWS:
        raise ArgumentError(f"draw: view is one of {', '.join(VIEWS)}; got {view!r}")
    if not shown.issubset(SHOWN):
        raise ArgumentError(f"draw: show takes {', '.join(SHOWN)}; got {sorted(shown.difference(SHOWN))}")
    with _uncollected():
        model = _model_of(target, inputs, names, "grad" in shown or view == "backward")
    steps = len(model.steps)
    if view is None:
        view = "ops" if steps < 2 else "unrolled" if steps <= MANY_STEPS else "rolled"
    return Drawing(model, view, Look(shown, view == "backward"), engine, clean(title))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the cycle collector away while very many small things are made that all stay: a quarter of the time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _model_of(target: Any, inputs: tuple[Any, ...], names: Any, sized: bool) -> Model:
    if isinstance(target, Tensor):
        model = _model_of_tensor(target, names, sized)
    elif isinstance(target, Graph):
        model = from_program(target)
    elif callable(target):
        model = _model_of_function(target, inputs, names, sized)
    else:
        raise ArgumentError(
            f"draw: takes a tensor, a function, a module or a captured graph; got {type(target).__name__}"
        )
    model.mark_states()
    return model


def _model_of_tensor(target: Tensor, names: Any, sized: bool) -> Model:
    if target.node is None:
        raise RenderError(
            "draw: this tensor has no history: nothing that it was made from requires gradients. "
            "Draw the function that made it: draw(function, *inputs)"
        )
    known = {t.node: name for name, t in _named(names) if isinstance(t.node, Leaf)}
    model = from_tape([target.node], known, None)  # refuses what is too large before it is measured
    if sized:
        model = from_tape([target.node], known, _measured([target]))
    add_cuts(model)
    return model


def _model_of_function(target: Callable[..., Any], inputs: tuple[Any, ...], names: Any, sized: bool) -> Model:
    held = [*_named(target), *_named(names)]
    given = _argument_names(target, inputs)
    tracked = any(t.node is not None for _, t in held) or any(t.node is not None for _, t in given)
    if not tracked:  # then the gradients of the inputs are of interest
        inputs = tuple([_requiring(a) for a in inputs])
        given = _argument_names(target, inputs)
    known = {id(t.payload): ("weight" if t.node is not None else "constant", name) for name, t in held}
    known |= {id(t.payload): ("input", name) for name, t in given}
    observer, gradients = Observer(MOST, too_large, known), None
    with override(grad=True, inference=False, bottom=observer):
        results = tensors_in(target(*inputs))
    if not results:
        raise RenderError("draw: the function returned no tensor; return what is to be drawn")
    calls = [c for c in (observer.maker(t.payload) for t in results) if isinstance(c, Call)]
    if not calls:
        raise RenderError("draw: the function returned its input; there is nothing to draw")
    if sized:
        gradients = _measured([t for t in results if t.node is not None])
    roots = [t.node for t in results if t.node is not None]
    behind = _by_number([*roots, *observer.detached.values()])
    return from_calls(Observation(calls, behind, observer.detached), gradients)


def _measured(results: list[Tensor]) -> Gradients | None:
    floating = [t for t in results if t.dtype.kind == "f"]
    if not floating:
        return None
    with override(grad=False):
        found = measure([t.node for t in floating], [ops.ones_like(t.payload) for t in floating])
    if not found.notes and (len(floating) > 1 or floating[0].shape):
        found.notes.append("Gradients are those of the sum of the results.")
    return found


def _by_number(roots: list[Any]) -> dict[int, Any]:
    """Return every node behind `roots` by its number."""
    return {node.seq: node for node in engine.reachable(roots)}


def _named(source: Any) -> list[tuple[str, Tensor]]:
    """Return the tensors that `source` knows by name: a module, a mapping, or a function with what it closes over."""
    if source is None:
        return []
    if isinstance(source, Mapping):
        return [(str(k), v) for k, v in source.items() if isinstance(v, Tensor)]
    if hasattr(source, "named_parameters"):
        buffers = source.named_buffers() if hasattr(source, "named_buffers") else ()
        return [(n, t) for n, t in [*source.named_parameters(), *buffers] if isinstance(t, Tensor)]
    owner = getattr(source, "__self__", None)
    if owner is not None:
        return _named(owner) if hasattr(owner, "named_parameters") else []
    if not inspect.isfunction(source):
        return []
    free = inspect.getclosurevars(source)
    found = []
    for name, value in [*free.globals.items(), *free.nonlocals.items()]:
        if isinstance(value, Tensor):
            found.append((name, value))
        elif hasattr(value, "named_parameters") and not inspect.isclass(value):
            found += _named(value)
        elif isinstance(value, Mapping):
            found += [(f"{name}.{k}", v) for k, v in value.items() if isinstance(v, Tensor)]
        elif isinstance(value, list | tuple):
            found += [(f"{name}[{k}]", v) for k, v in enumerate(value) if isinstance(v, Tensor)]
    return found


def _argument_names(target: Callable[..., Any], inputs: tuple[Any, ...]) -> list[tuple[str, Tensor]]:
    """Return the tensors among `inputs` with the names of the parameters that they are given to."""
    function = target.forward if hasattr(target, "forward") else target
    try:
        bound = inspect.signature(function).bind(*inputs).arguments
    except (TypeError, ValueError):
        bound = {f"input {i}": v for i, v in enumerate(inputs)}
    found = []
    for name, value in bound.items():
        inner = tensors_in(value)
        found += [(name if len(inner) == 1 else f"{name}[{i}]", t) for i, t in enumerate(inner)]
    return found


def _requiring(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype.kind == "f" and value.node is None:
        return value.detach().requires_grad_()
    return value


class Drawing:
    """A graph that can be looked at. What is costly happens when it is asked for.

    Attributes
    ----------
    model
        The graph as plain data.
    view
        What is drawn: "rolled", "unrolled", "both", "ops" or "backward".
    """

    def __init__(
        self, model: Model, view: str, look: Look, engine: str | os.PathLike[str] | None = None, title: str = ""
    ) -> None:
        self.model, self.view, self.look, self.engine, self.title = model, view, look, engine, title

    @property
    def source(self) -> str:
        """The graph as DOT; it needs no engine."""
        scenes = {"rolled": sources.rolled_scene, "both": sources.both_scene}
        if self.view in scenes and len(self.model.steps) > 1:
            return scenes[self.view](self.model, self.look).source(words=True)
        return self._scene.source(words=True)

    @cached_property
    def _scene(self) -> Scene:
        return whole(self.model, self.look)

    @cached_property
    def picture(self) -> Picture:
        """The graph with every place decided.

        Raises
        ------
        RenderError
            If no engine is there, or the graph is too large for it.
        """
        program = engines.find(self.engine)
        model, steps = self.model, len(self.model.steps)
        over_time = {"rolled": tiles.rolled, "both": tiles.both}.get(self.view, tiles.unrolled)
        if self.view != "ops" and steps > 1:
            with _uncollected():
                made = over_time(model, self.look, program)
        else:
            if (count := spots_in(model)) > MOST_NODES:
                raise too_large(count, MOST_NODES)
            made, _ = self._scene.place(program.layout([self._scene.source()])[0])
        made.gradients = model.sizes_known and ("grad" in self.look.show or self.look.backward)
        made.scale = Scale.of(model.sizes)
        made.captions = [*self._captions(steps), *made.captions, *self.model.notes]
        return made

    def _captions(self, steps: int) -> list[str]:
        lines = [self.title] if self.title else []
        if self.view == "backward":
            lines.append(
                "Arrows run the way gradients do, from results to inputs. g is the size (Euclidean norm) of the "
                "gradient that arrives at a node; += is what one time step adds to the gradient of a shared weight."
            )
        if self.view in ("rolled", "unrolled", "both") and steps < 2:
            lines.append(
                "Nothing here is repeated over time, so this is the view of all operations. Time steps come from "
                "recurrent layers: nn.Recurrent around a cell of your own, nn.LSTM, and so on."
            )
        if self.view in ("unrolled", "both") and steps > MANY_STEPS:
            lines.append(f"{steps} time steps: view='rolled' shows the same in one.")
        if cuts := self.model.cuts:
            many = ", …" if len(cuts) > MOST_CUTS else ""
            lines.append(
                f"Cut: t = {', '.join(map(str, cuts[:MOST_CUTS]))}{many} takes a state that was detached; no gradient "
                "flows from there to earlier steps."
            )
        return lines

    @cached_property
    def svg(self) -> str:
        """The picture as SVG text."""
        return svgs.svg(self.picture)

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.svg}</div>'

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the drawing; the ending of `path` says how: .svg, .png, .pdf, .dot (or .gv), .html.

        The file appears whole or not at all. PDF needs a system `dot`.
        """
        target = Path(path)
        kind = target.suffix.lower().lstrip(".")
        if kind in ("dot", "gv"):
            data = self.source.encode()
        elif kind == "svg":
            data = self.svg.encode()
        elif kind in ("html", "htm"):
            data = page(self.picture, self.model, self.title or "tinyseq").encode()
        elif kind in ("png", "pdf", "jpg"):
            data = engines.find(self.engine).run(pinned(self.picture), kind, pinned=True)
        else:
            raise ArgumentError(f"draw: save takes .svg, .png, .pdf, .dot or .html; got {target.name!r}")
        _write(target, data)
        return target

    def __repr__(self) -> str:
        m = self.model
        return f"<Drawing {self.view}: {len(m.items)} nodes, {len(m.links)} edges, {len(m.steps)} time steps>"


def _write(target: Path, data: bytes) -> None:
    """Write beside `target` and rename, so that nobody meets half a file."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


__all__ = ["Call", "Drawing", "draw"]
