"""The graph as plain data: what is drawn, before anyone decides where.

It is made from the tape behind a tensor, or from the calls that were observed while a function ran (`trace`), and
knows nothing of pictures. Nothing here recurses, so the depth of a graph is of no account.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from tinyseq.core.op import Op
from tinyseq.core.tape import Leaf
from tinyseq.errors import RenderError
from tinyseq.render.style import clean
from tinyseq.render.trace import Call, Gradients, Observation, Source, size_of

MOST = 50_000  # operations in a graph that is drawn at all: an LSTM of 3,000 steps; more would take too long
ARITHMETIC = {"add", "sub", "mul", "div", "pow", "neg", "remainder", "floor_divide", "maximum", "minimum", "reciprocal"}
BY_MODULE = {
    "shaping": "shape",
    "indexing": "shape",
    "reduction": "reduction",
    "creation": "constant",
    "random": "constant",
    "linalg": "product",
}
ADVICE = (
    "draw fewer time steps (a graph of 6 shows what one of 1,000 does), or a part: a module alone, or a tensor earlier "
    "in the graph"
)


@dataclass(slots=True)
class Item:
    """One value in the graph, and the operation that made it.

    `gradient` is the Euclidean norm of the gradient that arrived at it, None where none was computed.
    """

    kind: str
    op: str
    label: str
    name: str = ""
    path: str = ""
    step: int | None = None
    shape: tuple[int, ...] = ()
    detail: str = ""
    value: str = ""
    mean: float | None = None  # of the absolute values, for values that have a name
    gradient: float | None = None
    released: tuple[str, ...] = ()  # what was saved for its gradient rules, and dropped by backward

    def __post_init__(self) -> None:
        self.name, self.path = clean(self.name), clean(self.path)
        self.label, self.detail = clean(self.label), clean(self.detail)

    @property
    def title(self) -> str:
        """What the node says on its first line: its name in bold (up to a tab) and its operation."""
        if not self.name:
            return self.label
        return self.name if self.kind in ("weight", "input") or not self.label else f"{self.name}\t = {self.label}"


@dataclass(slots=True)
class Link:
    """Item `source` is input `position` of item `target`; `gradient` is the size of what flows back.

    It is `cut` where the value was detached: a gradient would flow back here if it had not been.
    """

    number: int  # its place in the list of links
    source: int
    target: int
    position: int
    gradient: float | None = None
    least: float | None = None  # where it stands for the same link of several steps, of which `gradient` is the largest
    cut: bool = False


@dataclass(slots=True)
class Model:
    """Items in the order in which they were computed, links between them, and what should be said below."""

    items: list[Item] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    walk: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)  # backward: item, its links, in order

    @property
    def steps(self) -> list[int]:
        """The time steps that occur, in the order in which they were computed."""
        return list(dict.fromkeys(i.step for i in self.items if i.step is not None))

    @property
    def sizes_known(self) -> bool:
        """Whether any gradient was computed."""
        return bool(self.walk)

    @property
    def sizes(self) -> list[float]:
        """The sizes of all gradients that were computed."""
        return [g.gradient for g in self.links if g.gradient is not None]

    @property
    def cuts(self) -> list[int]:
        """The time steps that take a detached state from another step, in the order of execution."""
        ends = [(self.items[k.source], self.items[k.target]) for k in self.links if k.cut]
        return list(dict.fromkeys(b.step for a, b in ends if b.step is not None and a.step != b.step))

    def mark_states(self) -> None:
        """Call what one time step hands to another a state."""
        items = self.items
        for link in self.links:
            a, b = items[link.source], items[link.target]
            if a.step is not None and b.step is not None and a.step != b.step:
                a.kind = "state"
        for i in self.results:
            if items[i].kind not in ("weight", "input", "state") and items[i].step is None:
                items[i].kind = "result"


def too_large(count: int, most: int = MOST) -> RenderError:
    """Return the error for a graph of more than `most` operations."""
    found = f"more than {most:,}" if count > most else f"{count:,}"
    return RenderError(f"draw: the graph has {found} operations, too many for a picture that people can read; {ADVICE}")


def kind_of(op: Op, inputs: int, name: str) -> str:
    """Return the kind of node that shows a call of `op`."""
    if not inputs:
        return "constant"
    if name:
        return "gate"
    if op.name in ARITHMETIC:
        return "arithmetic"
    module = getattr(op.forward, "__module__", "").rpartition(".")[2]
    if module in BY_MODULE:
        return BY_MODULE[module]
    if "loss" in op.name or "entropy" in op.name or op.name.startswith("logsumexp"):
        return "reduction"
    return "function"


def detail_of(params: Mapping[str, Any]) -> str:
    """Return the parameters of a call as a tooltip prints them."""
    return ", ".join(f"{k}={_plain(v)}" for k, v in params.items())[:200]


def _plain(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def label_of(
    op: Op, scalars: Iterable[tuple[int, Any]], count: int, params: Mapping[str, Any], step: int | None = None
) -> str:
    """Return the symbol of a call, with the numbers among its operands.

    >>> from tinyseq import ops
    >>> label_of(Op.registry["mul"], [(1, 0.5)], 2, {})
    '× 0.5'
    """
    label = op.label
    if op.name == "select" and params.get("index") == step and step is not None:
        return "[t]"
    if not count and isinstance(params.get("value"), int | float):
        return f"{params['value']:g}"  # an array full of one number
    for position, number in scalars:
        text = f"{number:g}" if isinstance(number, float | int) else str(number)
        label = f"{text} {label}" if position == 0 and count > 1 else f"{label} {text}"
    return label


def from_tape(roots: list[Any], names: Mapping[Any, str], gradients: Gradients | None) -> Model:
    """Return the graph behind the nodes `roots`, as the tape has it: only what needs gradients is there.

    Raises
    ------
    RenderError
        If the graph is too large.
    """
    found = list(dict.fromkeys(roots))
    seen = set(found)
    for node in found:  # grows while it is walked
        for edge in node.edges:
            if edge not in seen:
                seen.add(edge)
                found.append(edge)
        if len(found) > MOST:
            raise too_large(len(found))
    found.sort(key=attrgetter("seq"))
    index = {node: i for i, node in enumerate(found)}
    model = Model(results=[index[r] for r in roots])
    used: dict[int, set[int | None]] = {}
    for node in found:
        model.items.append(_item_of_node(node, names, gradients))
        wanted = getattr(getattr(node, "layout", None), "wanted", range(len(node.edges)))
        for k, (edge, position) in enumerate(zip(node.edges, wanted, strict=True)):
            size = gradients.edges.get((node, k)) if gradients else None
            used.setdefault(index[edge], set()).add(model.items[-1].step)
            model.links.append(Link(len(model.links), index[edge], index[node], position, size))
    _add_walk(model, gradients, index)
    return model


def _item_of_node(node: Any, names: Mapping[Any, str], gradients: Gradients | None) -> Item:
    scope = getattr(node, "scope", None)
    path, step = scope if scope is not None else ("", None)
    size = gradients.nodes.get(node) if gradients else None
    if isinstance(node, Leaf):
        name = names.get(node) or getattr(node, "name", None) or "leaf"
        if size is None and node.grad is not None:
            size = size_of(node.grad.payload)
        return Item("weight", "leaf", "", str(name), "", None, tuple(node.shape), gradient=size)
    name = getattr(node, "name", None) or ""
    layout = getattr(node, "layout", None)
    if layout is None:  # a Function that the user wrote
        return Item("function", node.label, node.label, name, path, step, tuple(node.shape), gradient=size)
    op = layout.op
    return Item(
        kind_of(op, len(node.edges), name),
        op.name,
        label_of(op, (), 1, node.params, step),
        name,
        path,
        step,
        tuple(node.shape),
        detail_of(node.params),
        gradient=size,
        released=_released(node),
    )


def _released(node: Any) -> tuple[str, ...]:
    """Return the names of what backward has dropped at `node`: a rule without needs has nothing to lose."""
    layout = getattr(node, "layout", None)
    return tuple(layout.names) if layout is not None and node.released else ()


def _add_walk(model: Model, gradients: Gradients | None, index: Mapping[Any, int]) -> None:
    if gradients is None:
        return
    of: dict[int, list[int]] = {}
    for number, link in enumerate(model.links):
        if link.gradient is not None:
            of.setdefault(link.target, []).append(number)
    model.walk = [(index[n], tuple(of.get(index[n], ()))) for n in gradients.order if n in index]
    model.notes += gradients.notes


def from_calls(seen: Observation, gradients: Gradients | None) -> Model:
    """Return the graph of the observed calls that lead to the results, with inputs of every kind."""
    model = Model()
    index: dict[Any, int] = {}  # of calls, sources, and what the tape has
    for call in _leading(seen):
        node = seen.nodes.get(call.stamp + 1)
        edges = _edges(node)
        scalars = [(p, a) for p, a in enumerate(call.inputs) if not isinstance(a, Call | Source)]
        sources = []
        for position, made in enumerate(call.inputs):
            if isinstance(made, Call | Source):
                leaf = edges[position][1] if position in edges else None
                key = leaf if isinstance(leaf, Leaf) else made
                if key not in index:
                    index[key] = len(model.items)
                    model.items.append(_source(made, leaf if isinstance(leaf, Leaf) else None, gradients))
                sources.append((position, index[key]))
        here = index[call] = len(model.items)
        if node is not None:
            index[node] = here
        model.items.append(_item_of_call(call, node, scalars, len(sources), gradients))
        for position, source_item in sources:
            size = None
            if gradients and position in edges:
                size = gradients.edges.get((node, edges[position][0]))
            cut = position not in edges and _is_cut(seen, call, position)
            model.links.append(Link(len(model.links), source_item, here, position, size, cut=cut))
    model.results = [index[call] for call in seen.results if call in index]
    _add_walk(model, gradients, index)
    return model


def _is_cut(seen: Observation, call: Call, position: int) -> bool:
    """Whether input `position` of `call` has a history that the call was kept from, although it has a rule for it."""
    made, inputs = call.inputs[position], call.op.inputs
    if not call.recorded or inputs[min(position, len(inputs) - 1)] not in call.op.rules:
        return False
    return made in seen.detached or (isinstance(made, Call) and bool(_edges(seen.nodes.get(made.stamp + 1))))


def _edges(node: Any) -> dict[int, tuple[int, Any]]:
    """Return, by position of the input, the number and the end of each edge of `node`."""
    wanted = getattr(getattr(node, "layout", None), "wanted", ())
    return {position: (k, node.edges[k]) for k, position in enumerate(wanted)}


def _leading(seen: Observation) -> list[Call]:
    """Return the calls that lead to the results, in their order; not those that made a leaf's first values."""
    found = list(dict.fromkeys(seen.results))
    known = set(found)
    for call in found:  # grows while it is walked
        edges = _edges(seen.nodes.get(call.stamp + 1))
        for position, before in enumerate(call.inputs):
            leaf = position in edges and isinstance(edges[position][1], Leaf)
            if isinstance(before, Call) and before not in known and not leaf:
                known.add(before)
                found.append(before)
    found.sort(key=attrgetter("stamp"))
    return found


def _source(made: Source | Call, leaf: Leaf | None, gradients: Gradients | None) -> Item:
    """Return the item for a value that came from outside, or for a leaf."""
    kind, name = (made.kind, made.name) if isinstance(made, Source) else ("constant", "")
    if leaf is not None:
        kind = kind if kind == "input" else "weight"
        name = name or getattr(leaf, "name", None) or "leaf"
    size = gradients.nodes.get(leaf) if gradients and leaf is not None else None
    label = "" if name else "constant"
    return Item(kind, "leaf", label, name, shape=made.out.shape, value=made.out.value, gradient=size)


def _item_of_call(call: Call, node: Any, scalars: list[Any], inputs: int, gradients: Gradients | None) -> Item:
    name = (getattr(node, "name", None) or "") if node is not None else ""
    return Item(
        kind_of(call.op, inputs, name),
        call.op.name,
        label_of(call.op, scalars, len(call.inputs), call.params, call.scope.step),
        name,
        call.scope.path,
        call.scope.step,
        call.out.shape,
        detail_of(call.params),
        call.out.value,
        call.out.mean if name and call.scope.step is not None else None,
        gradients.nodes.get(node) if gradients and node is not None else None,
        _released(node),
    )
