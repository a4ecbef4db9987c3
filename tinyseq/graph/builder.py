"""Rebuilding programs: what every pass is written with.

A `Builder` drops what nobody uses, shares what is computed twice, and undoes joins and splits that cancel.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from tinyseq.core.op import Op
from tinyseq.graph.ir import NUMBERS, Const, Graph, Line, Symbol, new_line


def named(name: str) -> Op:
    """Return the operation called `name`."""
    return Op.registry[name]


class Builder:
    """Collects the lines of a new program; equal lines become one."""

    def __init__(self, inputs: Sequence[Symbol]) -> None:
        self.inputs = list(inputs)
        self.lines: list[Line] = []
        self.known: dict[Any, Symbol] = {}

    def emit(self, op: Op | str, args: Sequence[Any], params: dict[str, Any], like: Line | None = None) -> Any:
        """Return the result of one operation, from an earlier line if there is one.

        `like` is a line with the same operation and result, whose shape need not be worked out again. If a builder
        made it of the same operands, nothing about it has become simpler since.
        """
        op = named(op) if isinstance(op, str) else op
        unchanged = like is not None and all(map(operator.is_, args, like.args))
        if like is not None and unchanged and like.key is not None:
            key = like.key
        else:
            rule = _SIMPLER.get(op.name)
            shorter = None if rule is None else rule(self, args, params)
            if shorter is not None:
                return shorter
            fixed = tuple(map(_hashable, params.values())) if like is None or like.key is None else like.key[1]
            key = (op, fixed, *[a if type(a) is Symbol else _identity(a) for a in args])
        known = self.known.get(key)
        if known is None:
            line = new_line(op, args, params) if like is None else like if unchanged else like.again(args)
            line.key = key
            self.lines.append(line)
            known = line.out
            if not line.op.random:
                self.known[key] = known
        return known

    def graph(self, outputs: Sequence[Any]) -> Graph:
        """Return the program that computes `outputs`, without what they do not need."""
        needed = {o for o in outputs if isinstance(o, Symbol)}
        kept = []
        for line in reversed(self.lines):
            if line.out in needed or line.op.random:
                kept.append(line)
                needed.update(line.args)
        return Graph(self.inputs, kept[::-1], outputs)


def _identity(a: Any) -> Any:
    return (id(a.array),) if isinstance(a, Const) else (type(a), a if a else repr(a))  # 0.0 is not -0.0


def _hashable(value: Any) -> Any:
    return repr(value) if type(value) in (slice, list, dict) or (type(value) is float and not value) else value


def rewrite(graph: Graph, visit: Callable[[Builder, Line, list[Any]], Any]) -> Graph:
    """Rebuild `graph`; `visit` returns the new value of a line, given its new operands."""
    builder = Builder(graph.inputs)
    new: dict[Any, Any] = {}
    for line in graph:
        new[line.out] = visit(builder, line, [new.get(a, a) for a in line.args])
    return builder.graph([new.get(o, o) for o in graph.outputs])


def edited(graph: Graph, edit: Callable[[list[Line], Line, list[Any]], Line | None]) -> Graph:
    """Rebuild `graph` without looking for what has become simpler or equal: for what must stay as it is written.

    `edit` appends lines to those that it is given, and returns the line that stands for another one, or None if that
    one only takes its new operands.
    """
    lines: list[Line] = []
    new: dict[Any, Any] = {}
    for line in graph:
        args = [new.get(a, a) for a in line.args]
        made = edit(lines, line, args) or line.again(args)
        lines.append(made)
        if made is not line:
            new[line.out] = made.out
    return Graph(graph.inputs, lines, [new.get(o, o) for o in graph.outputs])


def copied(builder: Builder, line: Line, args: list[Any]) -> Any:
    """Return the value of `line` on new operands."""
    return builder.emit(line.op, args, line.params, line)


# What needs no computation


def made_by(value: Any, *names: str) -> Line | None:
    """Return the line that made `value`, if its operation is one of `names`."""
    line = value.line if isinstance(value, Symbol) else None
    return line if line is not None and line.op.name in names else None


_ARRANGED = frozenset(("reshape", "broadcast_to", "select", "narrow", "permute", "clone"))


def _uniform(value: Any) -> float | None:
    """Return the number that every element of `value` is known to be."""
    line = value.line if type(value) is Symbol else None
    while line is not None and line.op.name in _ARRANGED:
        line = getattr(line.args[0], "line", None)
    return line.params["value"] if line is not None and line.op.name in ("full", "full_like") else None


def _select(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,) = args
    line = made_by(x, "stack")
    if line is not None and line.params["dim"] == params["dim"]:
        return line.args[params["index"]]
    line = made_by(x, "reshape")
    if line is None or params["dim"] != 0 or len(x.shape) < 2:
        return None
    source = line.args[0]  # (T * B, ...) seen as (T, B, ...): a row of it is a range of the source
    if len(source.shape) == len(x.shape) - 1 and source.shape[1:] == x.shape[2:]:
        rows = x.shape[1]
        start = params["index"] * rows
        return builder.emit("narrow", [source], {"dim": 0, "start": start, "stop": start + rows})
    return None


def _narrow(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,) = args
    dim, start, stop = params["dim"], params["start"], params["stop"]
    if (start, stop) == (0, x.shape[dim]):
        return x
    line = made_by(x, "narrow")
    if line is not None and line.params["dim"] == dim:
        first = line.params["start"]
        return builder.emit("narrow", [line.args[0]], {"dim": dim, "start": first + start, "stop": first + stop})
    line = made_by(x, "cat")
    if line is not None and line.params["dim"] == dim:
        at = 0
        for part in line.args:
            end = at + part.shape[dim]
            if at <= start and stop <= end:
                return builder.emit("narrow", [part], {"dim": dim, "start": start - at, "stop": stop - at})
            at = end
    return None


def _reshape(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,) = args
    if x.shape == params["shape"]:
        return x
    line = made_by(x, "reshape")
    return None if line is None else builder.emit("reshape", [line.args[0]], params)


def _permute(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,) = args
    dims = params["dims"]
    if dims == tuple(range(len(dims))):
        return x
    line = made_by(x, "permute")
    if line is None:
        return None
    inner = line.params["dims"]
    return builder.emit("permute", [line.args[0]], {"dims": tuple(inner[d] for d in dims)})


def _pieces(builder: Builder, parts: Sequence[Any], name: str, dim: int) -> Any:
    """Return the range of a value that `parts` cut along `dim` into slices, in order, if there is one."""
    first = made_by(parts[0], name)
    if first is None or first.params["dim"] != dim:
        return None
    whole = first.args[0]
    start = at = first.params["index" if name == "select" else "start"]
    for part in parts:
        line = made_by(part, name)
        if line is None or line.args[0] is not whole or line.params["dim"] != dim:
            return None
        if line.params["index" if name == "select" else "start"] != at:
            return None
        at = at + 1 if name == "select" else line.params["stop"]
    return builder.emit("narrow", [whole], {"dim": dim, "start": start, "stop": at})


def _cat(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    dim = params["dim"]
    if len(args) == 1:
        return args[0]
    whole = _pieces(builder, args, "narrow", dim)
    if whole is not None:
        return whole
    whole = _pieces(builder, args, "select", 0) if dim == 0 else None
    if whole is not None and len(whole.shape) > 1:
        return builder.emit("reshape", [whole], {"shape": (math.prod(whole.shape[:2]), *whole.shape[2:])})
    lines = [made_by(a, "reshape") for a in args]
    if dim == 0 and all(line is not None and line.args[0].shape == line.out.shape[1:] for line in lines):
        sources = [line.args[0] for line in lines if line is not None]  # each seen with a new first dimension
        if sources[0].shape and len({a.shape for a in args}) == 1 and args[0].shape[0] == 1:
            joined = builder.emit("cat", sources, {"dim": 0})
            return builder.emit("reshape", [joined], {"shape": (len(args), *sources[0].shape)})
    return None


def _stack(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    whole = _pieces(builder, args, "select", params["dim"])
    if whole is not None:
        return whole
    if params["dim"] == 0 and args[0].shape:  # a stack is a cat seen in another shape, so that both share memory
        joined = builder.emit("cat", args, {"dim": 0})
        return builder.emit("reshape", [joined], {"shape": (len(args), *args[0].shape)})
    return None


def _mul(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    for x, y in (args, args[::-1]):
        if (_uniform(y) if type(y) is Symbol else y) != 1:
            continue
        alike = not isinstance(y, Symbol) or (isinstance(x, Symbol) and (y.shape, y.dtype) == (x.shape, x.dtype))
        if isinstance(x, Symbol) and alike:
            return x
    return None


def _add(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    for x, y in (args, args[::-1]):
        if isinstance(y, NUMBERS) and y == 0 and isinstance(x, Symbol):
            return x
    return None


def _broadcast(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    return args[0] if args[0].shape == params["shape"] else None


def _sum_to(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,), shape = args, params["shape"]
    if x.shape == shape:
        return x
    if shape == (*x.shape[:-1], 1):
        return builder.emit("sum", [x], {"dim": (len(shape) - 1,), "keepdim": True})
    return None


def _pow(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    x, y = args
    return builder.emit("mul", [x, x], {}) if isinstance(y, NUMBERS) and y == 2 and isinstance(x, Symbol) else None


def _full_like(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,) = args
    if x.device is None:
        return None
    return builder.emit("full", [], {"shape": x.shape, **params, "dtype": x.dtype, "device": x.device})


def _linear(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    x, weight = args
    if len(x.shape) == 1:
        return None
    return builder.emit("matmul", [x, builder.emit("permute", [weight], {"dims": (1, 0)})], {})


def _matmul(builder: Builder, args: Sequence[Any], params: dict[str, Any]) -> Any:
    a, b = args
    if len(b.shape) != 2 or len(a.shape) < 3:
        return None
    flat = builder.emit("reshape", [a], {"shape": (math.prod(a.shape[:-1]), a.shape[-1])})
    product = builder.emit("matmul", [flat, b], {})
    return builder.emit("reshape", [product], {"shape": (*a.shape[:-1], b.shape[-1])})


_SIMPLER: dict[str, Callable[[Builder, Sequence[Any], dict[str, Any]], Any]] = {
    "select": _select,
    "narrow": _narrow,
    "reshape": _reshape,
    "permute": _permute,
    "cat": _cat,
    "stack": _stack,
    "mul": _mul,
    "add": _add,
    "broadcast_to": _broadcast,
    "sum_to": _sum_to,
    "pow": _pow,
    "full_like": _full_like,
    "linear": _linear,
    "matmul": _matmul,
}
