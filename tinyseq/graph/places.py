"""Where each value lies in memory.

A value that ends in a `cat` is computed in its place there, so that stacked time is contiguous and batched products
need no copies; slices are views. Everything else lies in one arena, in which blocks are used again once the last
reader of a value has run.
"""

import bisect
import heapq
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyseq.backend import Array
from tinyseq.core.dtypes import DType
from tinyseq.core.shapes import Shape
from tinyseq.graph.ir import Const, Graph, Line, Symbol

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

    def __init__(self, block: Block, offset: int, shape: Shape, strides: Shape, dtype: DType) -> None:
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
    return math.prod(symbol.shape) * symbol.dtype.itemsize


VIEWS = frozenset(("select", "narrow", "reshape", "permute", "broadcast_to"))


def can_move(value: Any) -> bool:
    """Tell whether the program decides where `value` lies."""
    return isinstance(value, Symbol) and value.line is not None and value.line.op.name not in VIEWS


class Joins:
    """Which values are computed in place inside a longer one.

    `conflicts` lists the members of a `cat`, as (line, position), that cannot lie in it: inputs and views, which lie
    elsewhere already, and values that another `cat` has claimed. A `cat` without any is free.
    """

    def __init__(self, graph: Graph) -> None:
        self.follows: dict[Symbol, Symbol] = {}
        self.precedes: dict[Symbol, Symbol] = {}
        self.inside: dict[Symbol, tuple[Symbol, int]] = {}  # part of a cat along a later dimension: (cat, offset)
        self.conflicts: list[tuple[Line, int]] = []
        self.free: set[Symbol] = set()
        self._tail_of: dict[Symbol, Symbol] = {}
        self._head_of: dict[Symbol, Symbol] = {}
        cats = [line for line in graph if line.op.name == "cat"]
        for line in cats:
            if line.params["dim"] == 0:
                self._join_rows(line)
        for line in reversed(cats):
            if line.params["dim"] > 0:
                self._join_columns(line)

    def _join_rows(self, line: Line) -> None:
        """Put the members of a `cat` along the first dimension in a row."""
        parts = line.args
        first = {part: i for i, part in reversed(list(enumerate(parts)))}  # the first of those that come twice
        alone = len(parts) == 1  # nothing binds it to that place: a later claim would move it
        bad = {
            i for i, part in enumerate(parts) if alone or not can_move(part) or part in self.free or first[part] != i
        }
        for i, part in enumerate(parts):
            if i in bad:
                continue
            before = parts[i - 1] if i and i - 1 not in bad else None
            after = parts[i + 1] if i + 1 < len(parts) else None
            claimed = after is not None and self.follows.get(part, after) is not after
            if claimed or (before is not None and not self._link(before, part)):
                bad.add(i)
        self._note(line, sorted(bad))

    def _link(self, a: Symbol, b: Symbol) -> bool:
        """Make `b` follow `a` in memory, if both are free for that."""
        if self.follows.get(a) is b:
            return True
        if a in self.follows or b in self.precedes or self._head_of.get(a, a) is b:
            return False
        self.follows[a], self.precedes[b] = b, a
        head, tail = self._head_of.get(a, a), self._tail_of.get(b, b)
        self._tail_of[head], self._head_of[tail] = tail, head
        return True

    def _join_columns(self, line: Line) -> None:
        """Put the members of a `cat` along a later dimension side by side."""
        bad = []
        at = 0
        places = {}
        for i, part in enumerate(line.args):
            taken = part in self.inside or part in self.follows or part in self.precedes or part in places
            if not can_move(part) or taken or part.line.op.name == "cat":
                bad.append(i)
            else:
                places[part] = (line.out, at)
            at += part.shape[line.params["dim"]]
        if not bad:
            self.inside.update(places)
        self._note(line, bad)

    def _note(self, line: Line, bad: Sequence[int]) -> None:
        if bad:
            self.conflicts.extend((line, i) for i in bad)
        else:
            self.free.add(line.out)

    def needs_copy(self, line: Line) -> bool:
        """Tell whether a `cat` or a `reshape` must move values, rather than look at memory that is there."""
        if line.op.name == "cat":
            return line.out not in self.free
        if line.op.name != "reshape":
            return False
        x = line.args[0]
        if _drop_ones(x.shape) == _drop_ones(line.out.shape):
            return False
        while x.line is not None and x.line.op.name in VIEWS:
            name = x.line.op.name
            if name in ("permute", "broadcast_to") or (name != "reshape" and x.line.params["dim"] != 0):
                return True
            x = x.line.args[0]
        return x in self.inside

    def chain(self, symbol: Symbol) -> list[Symbol]:
        """Return the values that must lie in a row with `symbol`, in order."""
        while symbol in self.precedes:
            symbol = self.precedes[symbol]
        found = [symbol]
        while found[-1] in self.follows:
            found.append(self.follows[found[-1]])
        return found


class Places:
    """The place of every value of a program; `arrays` are constants that it looks at, which come after its inputs."""

    def __init__(self, graph: Graph, joins: Joins) -> None:
        self.joins = joins
        self.blocks: list[Block] = []
        self.known: dict[Symbol | Const, Place] = {}
        self.arrays: list[Array] = []
        self.inputs = len(graph.inputs)
        for i, s in enumerate(graph.inputs):
            block = Block(size_in_bytes(s), i)
            self.known[s] = Place(block, 0, s.shape, contiguous_strides(s.shape, s.dtype), s.dtype)

    def new_block(self, size: int) -> Block:
        """Return another block of the arena."""
        block = Block(size)
        self.blocks.append(block)
        return block

    def of(self, symbol: Symbol) -> Place:
        """Return where `symbol` lies, deciding it now if need be."""
        stack: list[Symbol | Const] = [symbol]
        while stack:
            s = stack[-1]
            if s in self.known:
                stack.pop()
                continue
            waits = self._decide(s)
            if waits is not None:
                stack.append(waits)
        return self.known[symbol]

    def _decide(self, s: Symbol | Const) -> Symbol | Const | None:
        """Place `s`, or return the value that must be placed before."""
        if isinstance(s, Const):
            block = Block(s.array.nbytes, self.inputs + len(self.arrays))
            self.arrays.append(np.ascontiguousarray(s.array))
            self.known[s] = Place(block, 0, s.shape, contiguous_strides(s.shape, s.dtype), s.dtype)
            return None
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
        if name in VIEWS:
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
        block = self.new_block(sum(size_in_bytes(c) for c in chain))
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

        Blocks are taken in the order of time; one whose last reader has run gives its memory back.
        """
        memory = _Memory()
        busy: list[tuple[int, int, int]] = []
        for block in sorted(self.blocks, key=lambda b: b.first):
            while busy and busy[0][0] < block.first:
                _, start, length = heapq.heappop(busy)
                memory.give_back(start, length)
            length = -(-max(block.size, 1) // ALIGNMENT) * ALIGNMENT
            block.start = memory.take(length)
            heapq.heappush(busy, (block.last, block.start, length))
        return memory.size


class _Memory:
    """Free stretches of an arena that grows as needed; neighbours become one."""

    def __init__(self) -> None:
        self.size = 0
        self.by_length: list[tuple[int, int]] = []  # (length, start), sorted
        self.length_at: dict[int, int] = {}  # by start
        self.start_before: dict[int, int] = {}  # by end

    def take(self, length: int) -> int:
        """Return the start of the shortest free stretch that is long enough."""
        found = bisect.bisect_left(self.by_length, (length, 0))
        if found == len(self.by_length):
            start = self.start_before.get(self.size, self.size)  # what is free at the end grows
            if start < self.size:
                self._remove(start)
            self.size = start + length
            return start
        free, start = self.by_length[found]
        self._remove(start)
        if free > length:
            self._insert(start + length, free - length)
        return start

    def give_back(self, start: int, length: int) -> None:
        """Make a stretch free again."""
        end = start + length
        if end in self.length_at:
            length += self._remove(end)
        before = self.start_before.get(start)
        if before is not None:
            length += self._remove(before)
            start = before
        self._insert(start, length)

    def _insert(self, start: int, length: int) -> None:
        bisect.insort(self.by_length, (length, start))
        self.length_at[start], self.start_before[start + length] = length, start

    def _remove(self, start: int) -> int:
        length = self.length_at.pop(start)
        del self.start_before[start + length]
        del self.by_length[bisect.bisect_left(self.by_length, (length, start))]
        return length


def _drop_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _same_but_for_ones(base: Place, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return strides for a reshape that only adds or drops dimensions of size 1."""
    sizes = [(n, s) for n, s in zip(base.shape, base.strides, strict=True) if n != 1]
    if tuple(n for n, _ in sizes) != tuple(n for n in shape if n != 1):
        return None
    rest = iter(sizes)
    return tuple(0 if n == 1 else next(rest)[1] for n in shape)
