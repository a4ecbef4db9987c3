"""The captured program: straight-line code over values that are known by shape and dtype alone."""

import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from tinyseq.backend import Array
from tinyseq.core.dispatch import INTERPRETERS, STATE
from tinyseq.core.dtypes import DType
from tinyseq.core.op import Op
from tinyseq.core.shapes import Shape
from tinyseq.errors import CaptureError
from tinyseq.methods import ArrayMethods


class Symbol(ArrayMethods):
    """A value known only by shape, dtype and place in a graph. It has the methods of a Tensor."""

    __slots__ = ("device", "dtype", "line", "name", "owner", "shape")

    def __init__(self, shape: Shape, dtype: DType, line: "Line | None", owner: Any = None, device: Any = None) -> None:
        self.shape, self.dtype, self.line, self.owner, self.device = shape, dtype, line, owner, device
        self.name = ""

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __bool__(self) -> bool:
        raise CaptureError("bool: a value is not known while a function is being captured; use where(condition, x, y)")

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<symbol {self.dtype}{list(self.shape)}>"


class Const:
    """An array that is part of the program."""

    __slots__ = ("array",)
    line: "Line | None" = None  # no line makes it

    def __init__(self, array: Array) -> None:
        self.array = array

    @property
    def shape(self) -> Shape:
        """The shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> DType:
        """The dtype of the array."""
        return self.array.dtype


NUMBERS = (bool, int, float)
Operand: TypeAlias = "Symbol | Const | float | int | bool"


class Line:
    """One operation of the program: `out = op(*args, **params)`.

    `key` is what it has in common with lines of the same result; a Builder sets it.
    """

    __slots__ = ("args", "key", "op", "out", "params")

    def __init__(self, op: Op, args: tuple[Any, ...], params: dict[str, Any], out: Symbol) -> None:
        self.op, self.args, self.params, self.out = op, args, params, out
        self.key: Any = None

    def again(self, args: Sequence[Any]) -> "Line":
        """Return this line on other operands of the same shapes."""
        old = self.out
        if all(map(operator.is_, args, self.args)):
            return self
        line = Line(self.op, tuple(args), self.params, Symbol(old.shape, old.dtype, None, old.owner, old.device))
        line.out.line = line
        return line


def new_line(op: Op, args: Sequence[Any], params: dict[str, Any], owner: Any = None) -> Line:
    """Return a line with a new result, whose shape and dtype follow from the rules of `op`."""
    shape = op.shape(*[() if isinstance(a, NUMBERS) else a.shape for a in args], **params)
    dtype = op.result_dtype([getattr(a, "dtype", None) for a in args], params)
    device = params.get("device")
    for a in args if device is None else ():
        if type(a) is Symbol and a.device is not None:
            device = a.device
            break
    line = Line(op, tuple(args), params, Symbol(tuple(shape), dtype, None, owner, device))
    line.out.line = line
    return line


class Graph:
    """Straight-line code from `inputs` to `outputs`.

    Printing it shows the program as text, one line for each operation.
    """

    def __init__(self, inputs: Sequence[Symbol], lines: Sequence[Line], outputs: Sequence[Any]) -> None:
        self.inputs, self.lines, self.outputs = list(inputs), list(lines), list(outputs)

    def users(self) -> dict[Symbol, list[Line]]:
        """Return the lines that use each value."""
        found: dict[Symbol, list[Line]] = {s: [] for s in self.inputs}
        for line in self.lines:
            found[line.out] = []
            for a in line.args:
                if type(a) is Symbol and (not (using := found[a]) or using[-1] is not line):
                    using.append(line)
        return found

    def check(self) -> None:
        """Raise if a line uses a value before it exists, or disagrees with the rules of its operation."""
        known = set(self.inputs)
        for line in self.lines:
            for a in line.args:
                if isinstance(a, Symbol) and a not in known:
                    raise CaptureError(f"{line.op.name}: uses a value that does not exist yet")
            again = new_line(line.op, line.args, line.params).out
            if again.shape != line.out.shape or again.dtype != line.out.dtype:
                raise CaptureError(f"{line.op.name}: recorded as {line.out!r}, its rules say {again!r}")
            known.add(line.out)
        for out in self.outputs:
            if isinstance(out, Symbol) and out not in known:
                raise CaptureError("the program returns a value that it does not compute")

    def take_apart(self, kept: Iterable[Line]) -> None:
        """Let go of the lines that are not among `kept`.

        A line and its result refer to each other, and would otherwise stay until the cycle collector comes by.
        """
        wanted = set(kept)
        for line in self.lines:
            if line not in wanted:
                line.out.line = None

    def signature(self) -> tuple[Any, ...]:
        """Return what two captures of the same program have in common: its structure, without identities."""
        number: dict[Symbol, int] = {}
        for s in self.inputs:
            number[s] = len(number)

        def of(a: Any) -> Any:
            if isinstance(a, Symbol):
                return ("%", number[a])
            return ("const", a.array.tobytes(), a.array.shape, str(a.array.dtype)) if isinstance(a, Const) else a

        rows = []
        for line in self.lines:
            rows.append((line.op.name, tuple(of(a) for a in line.args), repr(line.params), line.out.shape))
            number[line.out] = len(number)
        return (*rows, tuple(of(o) for o in self.outputs))

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __str__(self) -> str:
        names: dict[Symbol, str] = {s: f"%{i}" for i, s in enumerate(self.inputs)}

        def show(a: Any) -> str:
            if isinstance(a, Symbol):
                return names[a]
            return f"const{list(a.shape)}" if isinstance(a, Const) else repr(a)

        text = [f"inputs: {', '.join(f'{names[s]}: {s.dtype}{list(s.shape)}' for s in self.inputs)}"]
        for line in self.lines:
            names[line.out] = f"%{len(names)}"
            params = "".join(f" {k}={v}" for k, v in line.params.items())
            args = " ".join(map(show, line.args))
            text.append(f"{names[line.out]}: {line.out.dtype}{list(line.out.shape)} = {line.op.name} {args}{params}")
        text.append(f"return {', '.join(map(show, self.outputs))}")
        return "\n".join(text)


class _OfSymbols:
    """Hands calls with Symbols to the capture that they belong to."""

    def apply(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Symbol:
        """Record in the capture in progress."""
        bottom = STATE.get().bottom
        for a in args:
            if isinstance(a, Symbol) and a.owner is not bottom:
                raise CaptureError(
                    f"{op.name}: a value of a captured function was used after its capture ended; "
                    "return it from the function instead"
                )
        recorded: Symbol = bottom.apply(op, args, params)
        return recorded


of_symbols: Any = _OfSymbols()
INTERPRETERS[Symbol] = of_symbols
