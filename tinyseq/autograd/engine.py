"""The backward walk: from a result to its leaves, newest operation first, without recursion.

The walk carries bare payloads (arrays, or Symbols while a function is being captured); with `create_graph` it
carries Tensors, and so is recorded itself. The rules cannot tell the difference.
"""

import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from tinyseq import ops
from tinyseq.backend import is_array
from tinyseq.core.dispatch import STATE, as_array, override
from tinyseq.core.partial import PARTIAL, Placed, Product, Summed
from tinyseq.core.shapes import Shape
from tinyseq.core.tape import RELEASED, Leaf, Node, last_write
from tinyseq.errors import DeviceError, DTypeError, GradientError, ShapeError

# Products are stacked up to this many rows: enough for BLAS to run at full speed, few enough to bound memory.
MOST_ROWS = 8192

_SEQ, _START = attrgetter("seq"), attrgetter("start")
_Array = np.ndarray


class Received:
    """The contributions that one value has received, apart where adding them up late gains."""

    __slots__ = ("dense", "placed", "products", "rows", "summed")

    def __init__(self, dense: Any) -> None:
        self.dense = dense
        self.placed: list[Placed] = []
        self.products: list[Product] = []
        self.summed: list[Summed] = []
        self.rows = 0

    def add(self, part: Any) -> None:
        """Take one contribution more."""
        kind = type(part)
        if kind is Product:
            self.products.append(part)
            if type(part.left) is _Array:
                self.rows += part.left.size // (part.left.shape[-1] or 1)
                if self.rows > MOST_ROWS:
                    self.add(stacked_product(self.products))
                    self.products, self.rows = [], 0
        elif kind is Summed:
            self.summed.append(part)
        elif kind is Placed:
            self.placed.append(part)
        else:
            self.dense = part if self.dense is None else self.dense + part

    def settle(self, shape: Shape) -> Any:
        """Return the sum, as the gradient of a value of `shape`."""
        placed = self.placed
        while placed:
            dim = placed[0].dim
            self.add(joined([p for p in placed if p.dim == dim], dim, shape))
            placed = [p for p in placed if p.dim != dim]
        if self.products:
            self.add(stacked_product(self.products))
        if self.summed:
            self.add(ops.sum_to(rows([s.value for s in self.summed[::-1]], len(shape)), shape=shape))
        return self.dense


def reachable(roots: Sequence[Any]) -> list[Any]:
    """Return every node from which a gradient may flow on, newest first."""
    found = list(dict.fromkeys(roots))
    seen = set(found)
    for node in found:  # grows while it is walked
        for edge in node.edges:
            if edge not in seen:
                seen.add(edge)
                found.append(edge)
    found.sort(key=_SEQ, reverse=True)
    return found


def leading_to(targets: set[Any], order: Sequence[Any]) -> set[Any]:
    """Return the nodes in `order` (newest first) through which `targets` can be reached."""
    useful = set(targets)
    for node in reversed(order):
        if node not in useful and any(e in useful for e in node.edges):
            useful.add(node)
    return useful


class Walk:
    """One backward walk: what every node has received so far, and what becomes of it."""

    def __init__(self, make: Callable[[Any, Any], Any], retain_graph: bool, create_graph: bool) -> None:
        self.make, self.retain_graph, self.create_graph = make, retain_graph, create_graph
        self.pending: dict[Any, Any] = {}

    def run(self, order: Sequence[Any], deliver: Callable[[Any, Any], None], targets: set[Any] | None) -> None:
        """Visit `order`, newest first, and hand what arrives at each leaf or target to `deliver`."""
        useful = None if targets is None else leading_to(targets, order)
        pending, create_graph, release = self.pending, self.create_graph, not self.retain_graph
        anomaly = STATE.get().anomaly
        for node in order:
            g = pending.pop(node, None)
            if g is None or (useful is not None and node not in useful):
                continue
            if type(g) is Received:
                g = g.settle(node.shape)
            if node.hooks is not None:
                g = self.call_hooks(node, g)
            edges = node.edges
            if not edges:
                deliver(node, g)
                continue
            if targets is not None and node in targets:
                deliver(node, g)
            if create_graph or type(node) is not Node:
                pulled = self.pull_any(node, g)
            else:  # what node.pull does, without the call
                kept = node.kept
                if kept is RELEASED or last_write() > node.seq:
                    node.check_saved()
                pulled = node.layout.pull(g, kept)
            if anomaly:
                check_finite(node, pulled)
            if release:
                node.release()
            for edge, part in zip(edges, pulled):  # noqa: B905 -- strict doubles the cost of the loop
                held = pending.get(edge)
                if type(part) is not _Array or type(held) is Received or part.shape != edge.shape:
                    self.receive(node, edge, part)
                else:  # what receive does with nearly all gradients, without the call
                    pending[edge] = part if held is None else held + part

    def receive(self, node: Node, edge: Any, part: Any) -> None:
        """Add what `node` hands to `edge`."""
        if part is None:
            return
        if type(part) not in PARTIAL and part.shape != edge.shape:
            part = self.fit(node, edge, part)
        held = self.pending.get(edge)
        if type(part) in PARTIAL and type(held) is not Received:
            held = self.pending[edge] = Received(held)
        if type(held) is Received:
            held.add(part)
        else:
            self.pending[edge] = part if held is None else held + part

    def fit(self, node: Node, edge: Any, g: Any) -> Any:
        """Undo broadcasting; refuse any other gradient of the wrong shape."""
        if not node.layout.op.elementwise:
            raise ShapeError(
                f"{node.label}: its gradient rule returned shape {list(g.shape)}, the input has {list(edge.shape)}"
            )
        lead = len(g.shape) - len(edge.shape)
        if edge.shape and lead and g.shape[lead:] == edge.shape:
            return Summed(g)
        return ops.sum_to(g, shape=edge.shape)

    def pull_any(self, node: Any, g: Any) -> Any:
        """Pull; with `create_graph`, with what was kept turned back into Tensors, so that the rules are recorded."""
        if not self.create_graph or type(node) is not Node:
            return node.pull(g)
        node.check_saved()
        op, layout = node.layout.op, node.layout
        history = dict(zip(layout.wanted, node.edges, strict=True))
        kept = tuple(
            self.with_history(op, name, value, node, history)
            for name, value in zip(layout.names, node.kept, strict=True)
        )
        return layout.pull(g, kept)

    def with_history(self, op: Any, name: str, value: Any, node: Node, history: dict[int, Any]) -> Any:
        """Return a kept value as the Tensor that it was."""
        if name == "out":
            return self.make(value, node)
        if name not in op.inputs:
            return value
        position = op.inputs.index(name)
        if isinstance(value, tuple):
            return tuple(self.make(v, history.get(position + i)) for i, v in enumerate(value))
        return self.make(value, history.get(position)) if hasattr(value, "dtype") else value

    def call_hooks(self, node: Any, g: Any) -> Any:
        """Show the gradient to the hooks, which may replace it."""
        for hook in list(node.hooks.values()):
            given = g if self.create_graph else self.make(as_array(g), None)
            replaced = hook(given)
            if replaced is not None:
                if replaced.shape != node.shape:
                    raise ShapeError(
                        f"hook of {node.label}: returned shape {list(replaced.shape)}, wanted {list(node.shape)}"
                    )
                g = replaced if self.create_graph else STATE.get().bottom.read(replaced)
        return g


def stacked_product(products: list[Product]) -> Any:
    """Return the sum of `leftᵀ @ right` over `products` as one product."""
    oldest_first = products[::-1]  # the order of time, in which other parts of a program stack the same values
    left, right = rows([p.left for p in oldest_first]), rows([p.right for p in oldest_first])
    return ops.matmul(left.swapaxes(0, 1), right)


def rows(values: list[Any], ndim: int = 1) -> Any:
    """Stack values, of which the last `ndim` dimensions are a row each, into one value of `ndim + 1` dimensions."""
    if len(values) > 1:
        if len(values[0].shape) == ndim or len({len(v.shape) for v in values}) > 1:
            values = [v.reshape(math.prod(v.shape[:-ndim]), *v.shape[-ndim:]) for v in values]
        values = [ops.cat_(*values, dim=0)]
    (whole,) = values
    if len(whole.shape) == ndim + 1:
        return whole
    return whole.reshape(math.prod(whole.shape[:-ndim]), *whole.shape[-ndim:])


def joined(parts: list[Placed], dim: int, shape: Shape) -> Any:
    """Return the sum of parts placed along dimension `dim` of a value of `shape`."""
    parts.sort(key=_START)
    end = 0
    for p in parts:
        if p.start != end:
            break
        end += p.value.shape[dim]
    else:
        if end == shape[dim]:
            return ops.cat_(*[p.value for p in parts], dim=dim) if len(parts) > 1 else parts[0].value
    return ops.assemble(*[p.value for p in parts], shape=shape, dim=dim, starts=tuple([p.start for p in parts]))


def check_finite(node: Any, pulled: Sequence[Any]) -> None:
    """Raise if a gradient is NaN, naming the operation and the line that called it."""
    for edge, part in zip(node.edges, pulled, strict=True):
        if type(part) in PARTIAL:
            received = Received(None)
            received.add(part)
            part = received.settle(edge.shape)
        array = as_array(getattr(part, "payload", part))
        if is_array(array) and bool((array != array).any()):
            trace = getattr(node, "trace", None)
            where = (
                f"It was called at:\n{trace}"
                if trace
                else "Run the forward pass inside detect_anomaly(), too, to see its line"
            )
            raise GradientError(f"{node.label}: its gradient is NaN (anomaly detection). {where}")


def seed(root: Any, gradient: Any, create_graph: bool, make: Callable[..., Any]) -> Any:
    """Return the gradient to start from at `root`."""
    if root.node is None:
        raise GradientError(
            "backward: this tensor does not require gradients; no operation with a tensor that does led to it, "
            "or it was computed under no_grad()"
        )
    if gradient is None:
        if math.prod(root.shape) != 1:
            raise GradientError(
                f"backward: gradients are of scalars, got shape {list(root.shape)}; "
                "take .sum() or .mean(), or pass the gradient of this shape"
            )
        gradient = make(ops.ones_like(STATE.get().bottom.read(root)), None)
    if not hasattr(gradient, "node"):
        raise DTypeError(f"backward: got a gradient of type {type(gradient).__name__}, wanted a tensor")
    if gradient.device != root.device:
        raise DeviceError(
            f"backward: got a gradient on {gradient.device} for a tensor on {root.device}; move it with .to(device)"
        )
    if gradient.shape != root.shape:
        raise ShapeError(f"backward: got a gradient of shape {list(gradient.shape)} for shape {list(root.shape)}")
    return gradient if create_graph else STATE.get().bottom.read(gradient)


def collect(leaf: Leaf, g: Any, make: Callable[..., Any]) -> None:
    """Add `g` to the gradient of `leaf`."""
    bottom = STATE.get().bottom
    bottom.peek(leaf)
    g = as_array(g)
    if hasattr(g, "payload"):
        leaf.grad = g if leaf.grad is None else leaf.grad + g
    elif leaf.grad is None:
        # Rules hand arrays on, also to several inputs, so a leaf takes a copy that is its own
        leaf.grad = make(bottom.own(g), None)
    else:
        with override(grad=False):
            leaf.grad.add_(make(g, None))


def backward(
    roots: Sequence[Any],
    gradients: Sequence[Any],
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Any,
    make: Callable[..., Any],
) -> None:
    """Add the gradients of `roots` to the `grad` of the leaves."""
    only = None if inputs is None else {t.node for t in ([inputs] if hasattr(inputs, "node") else inputs)}

    def deliver(node: Any, g: Any) -> None:
        if isinstance(node, Leaf):
            collect(node, g, make)

    walk_from(roots, gradients, retain_graph, create_graph, make, deliver, only)


def walk_from(
    roots: Sequence[Any],
    gradients: Sequence[Any],
    retain_graph: bool | None,
    create_graph: bool,
    make: Callable[..., Any],
    deliver: Callable[[Any, Any], None],
    targets: set[Any] | None,
) -> None:
    """Start at `roots` with `gradients` (None stands for one) and walk to the leaves, or to `targets` only."""
    walk = Walk(make, create_graph if retain_graph is None else retain_graph, create_graph)
    with override(grad=create_graph), np.errstate(all="ignore"):
        for root, gradient in zip(roots, gradients, strict=True):
            start = seed(root, gradient, create_graph, make)
            held = walk.pending.get(root.node)
            walk.pending[root.node] = start if held is None else held + start
        order = reachable(list(walk.pending))
        walk.run(order, deliver, targets)


def grad(
    roots: Sequence[Any],
    inputs: Sequence[Any],
    gradients: Sequence[Any],
    retain_graph: bool | None,
    create_graph: bool,
    make: Callable[..., Any],
) -> list[Any]:
    """Return the gradients of `roots` for `inputs`; None where no path leads."""
    for i, t in enumerate(inputs):
        if t.node is None:
            raise GradientError(f"grad: input {i} of shape {list(t.shape)} does not require gradients")
    wanted = {t.node for t in inputs}
    found: dict[Any, Any] = {}

    def deliver(node: Any, g: Any) -> None:
        if node in wanted:
            found[node] = as_array(g)

    walk_from(roots, gradients, retain_graph, create_graph, make, deliver, wanted)
    results = [found.get(t.node) for t in inputs]
    return [g if g is None or create_graph else make(g, None) for g in results]


class HookHandle:
    """Removes a hook again."""

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        """Stop calling the hook."""
        self._hooks.pop(self._key, None)


def add_hook(node: Any, hook: Callable[[Any], Any]) -> HookHandle:
    """Call `hook` with the gradient that arrives at `node`."""
    if node.hooks is None:
        node.hooks = {}
    key = max(node.hooks, default=-1) + 1
    node.hooks[key] = hook
    return HookHandle(node.hooks, key)
