"""Watching a function run: every call of an operation, and the size of every gradient.

The tape keeps only what backward needs. A drawing shows more: inputs without gradients, constants, values. So the
function runs once with an interpreter at the bottom that computes as always and takes notes.
"""

import math
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
from tinyseq.core.tape import CLOCK, stamp_write
from tinyseq.errors import GradientError, RenderError


@dataclass(slots=True, eq=False)
class Call:
    """One observed call. `inputs` are the calls that made its arguments, None for what came from outside."""

    op: Op
    args: tuple[Any, ...]
    inputs: tuple["Call | None", ...]
    params: Mapping[str, Any]
    out: Array
    scope: Scope
    stamp: int  # the node that the tape makes of this call has the next number of the tape's clock


class Observer(Eager):
    """Computes as `Eager` does and keeps each call; refuses to keep more than `most`."""

    def __init__(self, most: int, refuse: Any) -> None:
        self.most, self.refuse, self.count = most, refuse, 0
        self.makers: dict[int, Call] = {}  # by the identity of the array that was made
        self.kept: list[Any] = []  # so that no identity is given out twice

    def apply(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Array:
        """Compute, and take note."""
        out = super().apply(op, args, params)
        self.count += 1
        if self.count > self.most:
            raise self.refuse(self.count)
        makers = self.makers
        inputs = tuple([makers.get(id(a)) for a in args])
        makers[id(out)] = Call(op, tuple(args), inputs, params, out, STATE.get().scope, next(CLOCK))
        self.kept.append((args, out))
        return out

    def write(self, target: Array, value: Any) -> None:
        """Copy, and take the maker of `value` for the maker of `target`."""
        super().write(target, value)
        stamp_write(target)
        self.kept.append((target, value))
        maker = self.makers.get(id(value))
        if maker is not None:
            self.makers[id(target)] = maker


@dataclass(slots=True)
class Observation:
    """What was seen: the calls that made the results, the tape behind them, and names of what came from outside."""

    results: list[Call]
    nodes: dict[int, Any]  # of the tape, by number
    names: dict[int, tuple[str, str]]  # kind and name of arrays from outside, by identity


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
