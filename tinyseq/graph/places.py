"""Where each value lies in memory.

A value that ends in a `cat` is computed in its place there, so that stacked time is contiguous and batched products
need no copies; slices are views. Everything else lies in one arena, in which blocks are used again once the last
reader of a value has run.
"""

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyseq.core.dtypes import DType
from tinyseq.graph.ir import Graph, Line, Symbol

ALIGNMENT = 64


class Block:
    """A stretch of memory: part of the arena, or an input's."""

    __slots__ = ("first", "input", "last", "size", "start")

    def __init__(self, size: int, source: int | None = None) -> None:
        self.size, self.input = size, source
        self.first, self.last, self.start = -1, -1, 0


class Place:
    """How a value lies in a block: offset and strides in bytes."""

    __slots__ = ("block", "dtype", "offset", "shape", "strides")

    def __init__(self, block: Block, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: DType) -> None:
        self.block, self.offset, self.shape, self.strides, self.dtype = block, offset, shape, strides, dtype

    @property
    def contiguous(self) -> bool:
        """Whether the elements follow each other in row-major order."""
        wanted = contiguous_strides(self.shape, self.dtype)
        return all(n == 1 or s == w for n, s, w in zip(self.shape, self.strides, wanted, strict=True))


def contiguous_strides(shape: Sequence[int], dtype: DType) -> tuple[int, ...]:
    """Return row-major strides in bytes."""
    strides = [dtype.itemsize] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def size_in_bytes(symbol: Symbol) -> int:
    """Return how much memory a value takes."""
    return int(np.prod(symbol.shape, dtype=np.int64)) * symbol.dtype.itemsize


class Joins:
    """Which values are computed in place inside a longer one."""

    def __init__(self, graph: Graph, is_view: Any) -> None:
        self.follows: dict[Symbol, Symbol] = {}
        self.precedes: dict[Symbol, Symbol] = {}
        self.inside: dict[Symbol, tuple[Symbol, int]] = {}  # part of a cat along a later dimension: (cat, offset)
        tail_of: dict[Symbol, Symbol] = {}
        head_of: dict[Symbol, Symbol] = {}
        cats = [line for line in graph if line.op.name == "cat"]

        def can_move(a: Any) -> bool:
            return isinstance(a, Symbol) and a.line is not None and not is_view(a.line)

        for line in cats:
            if line.params["dim"] != 0 or not all(can_move(a) for a in line.args) or len(set(line.args)) < len(line.args):
                continue
            for a, b in zip(line.args, line.args[1:], strict=False):
                if a in self.follows or b in self.precedes or head_of.get(a, a) is b:
                    continue
                self.follows[a], self.precedes[b] = b, a
                head, tail = head_of.get(a, a), tail_of.get(b, b)
                tail_of[head], head_of[tail] = tail, head
        self.free: set[Symbol] = set()
        for line in cats:
            if line.params["dim"] == 0 and self._in_a_row(line.args):
                self.free.add(line.out)
        for line in reversed(cats):
            dim = line.params["dim"]
            if dim == 0 or len(set(line.args)) < len(line.args):
                continue
            taken = [a for a in line.args if not can_move(a) or a in self.inside or a in self.follows or a in self.precedes]
            if any(isinstance(a, Symbol) and a.line is not None and a.line.op.name == "cat" for a in line.args) or taken:
                continue
            self.free.add(line.out)
            at = 0
            for a in line.args:
                self.inside[a] = (line.out, at)
                at += a.shape[dim]

    def needs_copy(self, line: Line) -> bool:
        """Tell whether a `cat` or a `reshape` must move values, rather than look at memory that is there."""
        if line.op.name == "cat":
            return line.out not in self.free
        if line.op.name != "reshape":
            return False
        x = line.args[0]
        while x.line is not None and x.line.op.name in ("reshape", "select", "narrow", "permute", "broadcast_to"):
            if x.line.op.name in ("permute", "broadcast_to") or (x.line.op.name != "reshape" and x.line.params["dim"] != 0):
                return _drop_ones(x.shape) != _drop_ones(line.out.shape)
            x = x.line.args[0]
        return x in self.inside and _drop_ones(x.shape) != _drop_ones(line.out.shape)

    def _in_a_row(self, parts: Sequence[Any]) -> bool:
        pairs = zip(parts, parts[1:], strict=False)
        return all(isinstance(a, Symbol) and self.follows.get(a) is b for a, b in pairs)

    def chain(self, symbol: Symbol) -> list[Symbol]:
        """Return the values that must lie in a row with `symbol`, in order."""
        while symbol in self.precedes:
            symbol = self.precedes[symbol]
        found = [symbol]
        while found[-1] in self.follows:
            found.append(self.follows[found[-1]])
        return found


class Places:
    """The place of every value of a program."""

    def __init__(self, graph: Graph, joins: Joins) -> None:
        self.joins = joins
        self.blocks: list[Block] = []
        self.known: dict[Symbol, Place] = {}
        for i, s in enumerate(graph.inputs):
            block = Block(size_in_bytes(s), i)
            self.known[s] = Place(block, 0, s.shape, contiguous_strides(s.shape, s.dtype), s.dtype)

    def _new(self, size: int) -> Block:
        block = Block(size)
        self.blocks.append(block)
        return block

    def of(self, symbol: Symbol) -> Place:
        """Return where `symbol` lies, deciding it now if need be."""
        stack = [symbol]
        while stack:
            s = stack[-1]
            if s in self.known:
                stack.pop()
                continue
            waits = self._decide(s)
            if waits is not None:
                stack.append(waits)
        return self.known[symbol]

    def _decide(self, s: Symbol) -> Symbol | None:
        """Place `s`, or return the value that must be placed before."""
        line = s.line
        assert line is not None
        name = line.op.name
        if s in self.joins.free and line.params["dim"] == 0:
            first = line.args[0]
            if first not in self.known:
                return first
            base = self.known[first]
            self.known[s] = Place(base.block, base.offset, s.shape, contiguous_strides(s.shape, s.dtype), s.dtype)
            return None
        if name in ("select", "narrow", "permute", "broadcast_to", "reshape"):
            x = line.args[0]
            if x not in self.known:
                return x
            seen = self._view(line, self.known[x])
            if seen is not None:
                self.known[s] = seen
                return None
        if s in self.joins.inside:
            whole, at = self.joins.inside[s]
            if whole not in self.known:
                return whole
            base = self.known[whole]
            dim = whole.line.params["dim"]  # type: ignore[union-attr]
            self.known[s] = Place(base.block, base.offset + at * base.strides[dim], s.shape, base.strides, s.dtype)
            return None
        chain = self.joins.chain(s)
        block = self._new(sum(size_in_bytes(c) for c in chain))
        at = 0
        for c in chain:
            self.known[c] = Place(block, at, c.shape, contiguous_strides(c.shape, c.dtype), c.dtype)
            at += size_in_bytes(c)
        return None

    def _view(self, line: Line, base: Place) -> Place | None:
        """Return the place of a view, or None if it needs a copy."""
        shape, params = line.out.shape, line.params
        strides, offset = base.strides, base.offset
        if line.op.name == "select":
            d = params["dim"]
            offset += params["index"] * strides[d]
            strides = strides[:d] + strides[d + 1 :]
        elif line.op.name == "narrow":
            offset += params["start"] * strides[params["dim"]]
        elif line.op.name == "permute":
            strides = tuple(strides[d] for d in params["dims"])
        elif line.op.name == "broadcast_to":
            lead = len(shape) - len(base.shape)
            strides = (0,) * lead + tuple(
                0 if n == 1 and m != 1 else t for n, m, t in zip(base.shape, shape[lead:], strides, strict=True)
            )
        elif base.contiguous:
            strides = contiguous_strides(shape, base.dtype)
        else:
            squeezed = _same_but_for_ones(base, shape)
            if squeezed is None:
                return None
            strides = squeezed
        return Place(base.block, offset, shape, strides, base.dtype)

    def arrange(self) -> int:
        """Give every block of the arena its start, and return the arena's size.

        Blocks are taken in the order of time; one whose last reader has run gives its memory to the next of its size.
        """
        free: dict[int, list[int]] = {}
        busy: list[tuple[int, int, int]] = []
        size = 0
        for block in sorted(self.blocks, key=lambda b: b.first):
            while busy and busy[0][0] < block.first:
                _, start, length = heapq.heappop(busy)
                free.setdefault(length, []).append(start)
            length = -(-max(block.size, 1) // ALIGNMENT) * ALIGNMENT
            if free.get(length):
                block.start = free[length].pop()
            else:
                block.start, size = size, size + length
            heapq.heappush(busy, (block.last, block.start, length))
        return size


def _drop_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _same_but_for_ones(base: Place, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return strides for a reshape that only adds or drops dimensions of size 1."""
    sizes = [(n, s) for n, s in zip(base.shape, base.strides, strict=True) if n != 1]
    if tuple(n for n, _ in sizes) != tuple(n for n in shape if n != 1):
        return None
    rest = iter(sizes)
    return tuple(0 if n == 1 else next(rest)[1] for n in shape)
