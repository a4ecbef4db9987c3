"""A captured program as plain data."""

from typing import Any

from tinyseq.graph import Const, Graph, Symbol
from tinyseq.render.model import MOST, Item, Link, Model, detail_of, kind_of, label_of, too_large
from tinyseq.render.trace import summary


def from_program(graph: Graph) -> Model:
    """Return the graph of a captured program: its inputs, constants and lines. Values and gradients are not known.

    Raises
    ------
    RenderError
        If the program is too large.
    """
    if len(graph) > MOST:
        raise too_large(len(graph))
    model = Model()
    index: dict[Any, int] = {}
    for n, symbol in enumerate(graph.inputs):
        index[symbol] = n
        model.items.append(Item("input", "leaf", "", symbol.name or f"%{n}", shape=tuple(symbol.shape)))
    for line in graph:
        sources = []
        for position, a in enumerate(line.args):
            if isinstance(a, Const) and id(a) not in index:
                index[id(a)] = len(model.items)
                model.items.append(
                    Item("constant", "leaf", "constant", shape=tuple(a.shape), value=summary(a.array).value)
                )
            if isinstance(a, Symbol | Const):
                sources.append((position, index[a if isinstance(a, Symbol) else id(a)]))
        scalars = [(p, a) for p, a in enumerate(line.args) if not isinstance(a, Symbol | Const)]
        here = index[line.out] = len(model.items)
        model.items.append(
            Item(
                kind_of(line.op, len(sources), line.out.name),
                line.op.name,
                label_of(line.op, scalars, len(line.args), line.params),
                line.out.name,
                shape=tuple(line.out.shape),
                detail=detail_of(line.params),
            )
        )
        model.links += [Link(len(model.links) + k, s, here, p) for k, (p, s) in enumerate(sources)]
    model.results = [index[o] for o in graph.outputs if isinstance(o, Symbol)]
    return model
