"""Watching a function run: every call of an operation, and the size of every gradient.

The tape keeps only what backward needs. A drawing shows more: inputs without gradients, constants, values. So the
function runs once with an interpreter at the bottom that computes as always and takes notes.
"""

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyseq import ops
from tinyseq.autograd import engine
from tinyseq.backend import Array
from tinyseq.core.dispatch import STATE, Eager, Scope, override
from tinyseq.core.op import Op
from tinyseq.core.partial import Placed, Product
from tinyseq.core.tape import CLOCK
from tinyseq.errors import GradientError, RenderError

SMALL = 24  # values of arrays with up to this many elements are kept
TOLD = 25_000  # calls whose values are kept: no picture shows those of the later ones


@dataclass(frozen=True, slots=True)
class Summary:
    """What is remembered of an array: its shape, its values if they are few, and the mean of their absolute values."""

    shape: tuple[int, ...]
    value: str
    mean: float | None


@dataclass(slots=True, eq=False)
class Source:
    """A value that no observed call made."""

    out: Summary
    kind: str
    name: str


@dataclass(slots=True, eq=False)
class Call:
    """One observed call. `inputs` are what made its arguments: calls, sources, or plain numbers."""

    op: Op
    inputs: tuple[Any, ...]
    params: Mapping[str, Any]
    out: Summary
    scope: Scope
    stamp: int  # the node that the tape makes of this call has the next number of the tape's clock
    recorded: bool = True  # whether a tape ran


class Observer(Eager):
    """Computes as `Eager` does and takes note of each call; refuses to note more than `most`.

    It holds no array, so that all memory is freed when it would be without it, and in-place writes find arrays
    shared only where they are.
    """

    def __init__(self, most: int, refuse: Any, names: Mapping[int, tuple[str, str]]) -> None:
        self.most, self.refuse, self.names, self.count = most, refuse, names, 0
        self.makers: dict[int, tuple[Any, Any]] = {}  # by identity of the array, as long as it lives
        self.detached: dict[Any, Any] = {}  # nodes of values that were detached, by the values' makers

    def apply(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Array:
        """Compute, and take note."""
        out = super().apply(op, args, params)
        self.count += 1
        if self.count > self.most:
            raise self.refuse(self.count, self.most)
        inputs = tuple([self.maker(a) if hasattr(a, "shape") else a for a in args])
        state = STATE.get()
        self.remember(
            out, Call(op, inputs, params, summary(out, self.count <= TOLD), state.scope, next(CLOCK), state.grad)
        )
        return out

    def watch(self, tensor: Any) -> None:
        """Take note that a value goes on without its history."""
        if tensor.node is not None:
            self.detached[self.maker(tensor.payload)] = tensor.node

    def write(self, tensor: Any, value: Any) -> None:
        """Copy, and take the maker of `value` for the maker of what `tensor` holds."""
        super().write(tensor, value)
        if hasattr(value, "shape"):
            self.remember(tensor.payload, self.maker(value))

    def maker(self, array: Any) -> Any:
        """Return the call that made `array`, or the source that stands for it."""
        held = self.makers.get(id(array))
        if held is not None:
            return held[1]
        source = Source(summary(array), *self.names.get(id(array), ("constant", "")))
        self.remember(array, source)
        return source

    def remember(self, array: Any, maker: Any) -> None:
        """Take `maker` for the maker of `array` until that is freed, and its identity may be another array's."""
        makers, key = self.makers, id(array)
        makers[key] = (weakref.ref(array, lambda dead: _forget(makers, key, dead)), maker)


def _forget(makers: dict[int, tuple[Any, Any]], key: int, dead: Any) -> None:
    held = makers.get(key)
    if held is not None and held[0] is dead:
        del makers[key]


def summary(array: Any, told: bool = True) -> Summary:
    """Return what is remembered of `array`; its values only if they are to be `told`."""
    shape = tuple(array.shape)
    if not getattr(array, "size", 0) or array.dtype.kind not in "fiub":
        return Summary(shape, "", None)
    if told and array.size <= SMALL:
        values = array.ravel().tolist()
        mean = sum(map(abs, values)) / len(values)
        shown = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in values]
        return Summary(shape, shown[0] if not shape else "[" + ", ".join(shown) + "]", mean)
    with np.errstate(all="ignore"):
        mean = float(abs(array).sum()) / array.size
    if not told or array.dtype.kind == "b":
        return Summary(shape, "", mean)
    return Summary(shape, f"{float(array.min()):.3g} to {float(array.max()):.3g}", mean)


@dataclass(slots=True)
class Observation:
    """What was seen: the calls that made the results, and the tape behind them."""

    results: list[Call]
    nodes: dict[int, Any]  # of the tape, by number
    detached: Mapping[Any, Any] = field(default_factory=dict)  # nodes of detached values, by the values' makers


@dataclass(slots=True)
class Gradients:
    """Sizes (Euclidean norms) of gradients at nodes and along edges, and the order in which nodes were visited."""

    nodes: dict[Any, float] = field(default_factory=dict)
    edges: dict[tuple[Any, int], float] = field(default_factory=dict)
    order: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def size_of(g: Any) -> float:
    """Return the Euclidean norm of an array."""
    if type(g) is np.ndarray:
        flat = g.ravel()
        if flat.dtype != np.float64:
            flat = flat.astype(np.float64)
        return math.sqrt(float(flat @ flat))
    wide = g.astype("float64")
    return math.sqrt(float((wide * wide).sum()))


def measure(roots: Sequence[Any], seeds: Sequence[Any]) -> Gradients:
    """Walk back from the nodes `roots` with the gradients `seeds`, and return the size of every gradient.

    It changes nothing: no `grad` is written, nothing saved is released, no hook is called.
    """
    found = Gradients()
    pending: dict[Any, Any] = {}
    with override(grad=False), np.errstate(all="ignore"):
        for root, seed in zip(roots, seeds, strict=True):
            pending[root] = pending[root] + seed if root in pending else seed
        for node in engine.reachable(list(pending)):
            g = pending.pop(node, None)
            if g is None:
                continue
            found.nodes[node] = size_of(g)
            found.order.append(node)
            if not node.edges:
                continue
            try:
                pulled = node.pull(g)
            except GradientError as error:
                if not found.notes:
                    found.notes.append(_why(node, error))
                continue
            for k, (edge, part) in enumerate(zip(node.edges, pulled, strict=True)):
                if part is None:
                    continue
                part = dense(part, edge.shape)
                found.edges[node, k] = size_of(part)
                pending[edge] = pending[edge] + part if edge in pending else part
    return found


def _why(node: Any, error: GradientError) -> str:
    if getattr(node, "released", False):
        return (
            "Gradients were not computed: backward has released what the graph had saved. "
            "Draw before backward(), or use backward(retain_graph=True)."
        )
    return f"Gradients were not computed beyond {node.label}: {error}"


def dense(part: Any, shape: tuple[int, ...]) -> Any:
    """Return a contribution to a gradient as an array of `shape`."""
    if type(part) is Product:
        left = part.left.reshape(-1, part.left.shape[-1])
        return left.swapaxes(0, 1) @ part.right.reshape(-1, part.right.shape[-1])
    if type(part) is Placed:
        return ops.assemble(part.value, shape=tuple(shape), dim=part.dim, starts=(part.start,))
    return part if part.shape == tuple(shape) else ops.sum_to(part, shape=tuple(shape))


__all__ = ["Call", "Gradients", "Observation", "Observer", "RenderError", "measure", "size_of"]
