"""From an improved program to jobs: what runs, in order, on which places in memory."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tinyseq.backend import Array
from tinyseq.blas import NO_TRANSPOSE, TRANSPOSE, OpenBLAS
from tinyseq.core import dtypes
from tinyseq.core.op import Op
from tinyseq.graph import products
from tinyseq.graph.ir import NUMBERS, Const, Graph, Line, Symbol
from tinyseq.graph.kernels import Kernel, Operand, Step, parsed
from tinyseq.graph.places import VIEWS, Joins, Place, Places, contiguous_strides
from tinyseq.graph.schedule import Schedule

_F32 = dtypes.float32


class HostCall(NamedTuple):
    """What NumPy computes: `call(*operands)`, of which the last takes the result; places stand for arrays."""

    call: Callable[..., Any]
    operands: tuple[Any, ...]


class Job(NamedTuple):
    """One call of native code: a Kernel, or a function of fixed.ll by name, with its table; or a HostCall.

    A table has integers and (place, more bytes) for addresses. `shape` is that of a kernel's results.
    """

    what: Any
    table: list[Any]
    shape: tuple[int, ...] = ()


class Planning:
    """Plans one program; without a library for products, all of it is to run through NumPy, line by line.

    Attributes
    ----------
    jobs
        What runs, in order.
    constants
        Places that hold one number for good, with the number.
    arrays
        Constants that views look at: as inputs after those of the program.
    outputs
        The place of each output, or the value itself.
    size
        How many bytes the arena takes.
    """

    def __init__(self, graph: Graph, library: OpenBLAS | None, own_products: bool = False) -> None:
        self.own_products = own_products
        joins = Joins(graph)
        self.places = Places(graph, joins)
        self.returned = {o for o in graph.outputs if isinstance(o, Symbol)}
        self.jobs: list[Job] = []
        self.position = 0  # in the order of time, by which the lives of blocks are told
        constant: list[Line] = []
        if library is None:
            items = [line for line in graph if joins.needs_copy(line) or line.op.name not in ("cat", *VIEWS)]
        else:
            self.blas, self.schedule = library, Schedule(graph, joins.needs_copy)
            items = self.schedule.order()
        for item in items:
            if isinstance(item, Line) and item.op.name == "full":
                constant.append(item)
                continue
            if isinstance(item, list):
                self.jobs.extend(self._kernel_jobs(item))
            else:
                self._use(self.places.of(v) for v in (*item.args, item.out) if isinstance(v, Symbol))
                self.jobs.append(self._on_host(item) if library is None else self._job(item))
            self.position += 1
        self._use(self.places.of(o) for o in self.returned)
        for line in constant:
            block = self.places.of(line.out).block
            block.first, block.last = 0, self.position
        self.constants = [(self.places.of(line.out), line.params["value"]) for line in constant]
        self.outputs = [
            self.places.of(o) if isinstance(o, Symbol) else o.array if isinstance(o, Const) else o
            for o in graph.outputs
        ]
        self.arrays = self.places.arrays
        self.size = self.places.arrange()

    def _use(self, places: Iterable[Place]) -> None:
        """Note that the job being planned reads or writes `places`."""
        for place in places:
            block = place.block
            if block.first < 0:
                block.first = self.position
            block.last = self.position

    def _kernel_jobs(self, cluster: list[Line]) -> list[Job]:
        """Plan a kernel, between copies of what no kernel can reach as it lies."""
        shape = cluster[0].out.shape
        users, made = self.schedule.users, dict.fromkeys([line.out for line in cluster])
        read = [a for line in cluster for a in line.args if type(a) is Symbol and a not in made]
        stored = [s for s in made if s in self.returned or not all(u.out in made for u in users[s])]
        reached = {s: self.places.of(s) for s in dict.fromkeys((*read, *stored))}
        self._use(reached.values())
        flat = all(p.contiguous and p.shape == shape for p in reached.values())
        rows, columns = (1, math.prod(shape)) if flat else (math.prod(shape[:-1]), shape[-1])
        before: list[Job] = []
        after: list[Job] = []
        table: list[Any] = [rows, columns]
        operands: list[Operand] = []
        number: dict[Symbol, int] = {}
        for s, place in reached.items():
            access = (False, 0) if flat else _access(place, shape)
            if access is None:
                lies, place = place, self._row_major(place)
                if s in made:
                    after.append(Job(HostCall(_copy, (place, lies)), []))
                else:
                    before.append(Job(HostCall(_copy, (lies, place)), []))
                access = _access(place, shape)
                assert access is not None
            number[s] = len(operands)
            operands.append(Operand(access[0], "f" if place.dtype == _F32 else "b"))
            table += [(place, 0), access[1]]
        steps: list[Step] = []
        at: dict[Symbol, int] = {}
        for line in cluster:
            args = tuple(
                ("step", at[a])
                if a in at
                else ("load", number[a])
                if isinstance(a, Symbol)
                else ("number", float(a).hex())
                for a in line.args
            )
            at[line.out] = len(steps)
            named = tuple([args[i] for i in _formula_order(line.op)])
            kind = "f" if line.out.dtype == _F32 else "b"
            steps.append(Step(line.op.expr or "", named, kind, number.get(line.out, -1)))
        kernel = Kernel(tuple(operands), tuple(steps))
        return [*before, Job(kernel, table, shape), *after]

    def _row_major(self, place: Place) -> Place:
        """Return a place for a row-major copy, which is needed for the present job only."""
        block = self.places.new_block(math.prod(place.shape) * place.dtype.itemsize)
        block.first = block.last = self.position
        return Place(block, 0, place.shape, contiguous_strides(place.shape, place.dtype), place.dtype)

    def _job(self, line: Line) -> Job:
        if not all(type(a) is Symbol for a in line.args):  # native code reads what lies at a place
            return self._on_host(line)
        if line.op.name == "matmul":
            job = self._product(line)
            if job is not None:
                return job
        if line.op.name == "clone" and line.out.dtype == _F32 and len(line.out.shape) == 2:
            x, out = (self.places.of(v) for v in (line.args[0], line.out))
            if x.strides[0] == out.strides[1] == 4 and x.strides[1] >= 4 * x.shape[0]:
                return Job("transpose", [*x.shape, (x, 0), x.strides[1], (out, 0), out.strides[0]])
        if line.op.name in ("sum", "sum_to") and line.out.dtype == line.args[0].dtype == _F32:
            job = self._sum(line)
            if job is not None:
                return job
        return self._on_host(line)

    def _sum(self, line: Line) -> Job | None:
        """Plan a sum over the last dimension, over leading ones, or over all."""
        place, out = self.places.of(line.args[0]), self.places.of(line.out)
        shape, count, dims = place.shape, len(place.shape), _summed(line)
        if not out.contiguous or not dims:
            return None
        if dims == tuple(range(count)) and place.contiguous:  # by rows first, which is as exact as in pairs
            block = self.places.new_block(4 * math.prod(shape[:-1]))
            block.first = block.last = self.position
            rows = Place(block, 0, shape[:-1], contiguous_strides(shape[:-1], _F32), _F32)
            self.jobs.append(_row_sums(math.prod(shape[:-1]), shape[-1], place, 4 * shape[-1], rows))
            return _row_sums(1, math.prod(shape[:-1]), rows, 0, out)
        if dims == (count - 1,):
            access = _access(place, shape)
            if access is not None and not access[0]:
                return _row_sums(math.prod(shape[:-1]), shape[-1], place, access[1], out)
        if dims == tuple(range(len(dims))) and place.contiguous:
            columns = math.prod(shape[len(dims) :])
            return Job("colsum", [math.prod(shape[: len(dims)]), columns, (place, 0), 4 * columns, (out, 0)])
        return None

    def _product(self, line: Line) -> Job | None:
        a, b = line.args
        if not all(isinstance(x, Symbol) and x.dtype == _F32 and len(x.shape) == 2 for x in (a, b)):
            return None
        pa, pb, pc = self.places.of(a), self.places.of(b), self.places.of(line.out)
        (m, k), n = a.shape, b.shape[1]
        left, right, out = _matrix(pa), _matrix(pb), _matrix(pc)
        if left is None or right is None or out is None or out[0] != NO_TRANSPOSE:
            return None
        across = left[0] != NO_TRANSPOSE
        if self.own_products and right[0] == NO_TRANSPOSE and products.is_faster(m, n, across):
            ra, ca = (stride // 4 for stride in pa.strides)
            return Job("product", [m, n, k, (pa, 0), ra, ca, (pb, 0), right[1], (pc, 0), out[1]])
        gemm, gemv = self.blas.gemm, self.blas.gemv
        if m == 1 and pa.strides[1] == 4 and pc.strides[1] == 4:
            rows, columns, flag = (k, n, TRANSPOSE) if right[0] == NO_TRANSPOSE else (n, k, NO_TRANSPOSE)
            return Job("gemv", [gemv, flag, rows, columns, (pb, 0), right[1], (pa, 0), (pc, 0)])
        table = [gemm, left[0], right[0], m, n, k, (pa, 0), left[1], (pb, 0), right[1], (pc, 0), out[1]]
        return Job("gemm", table)

    def _on_host(self, line: Line) -> Job:
        operands = [a.array if isinstance(a, Const) else a for a in line.args]
        if line.op.name in ("clone", "reshape"):
            call: Callable[..., Any] = _copy
        elif line.op.name == "matmul" and len(line.args[0].shape) == len(line.args[1].shape) == 2:
            call = np.dot if self.places.of(line.out).contiguous else np.matmul
        elif (ufunc := _ufunc(line.op)) is not None and not line.params:
            call = ufunc
            floats = [a.dtype for a in line.args if isinstance(a, Symbol) and a.dtype.kind == "f"]
            if floats:  # NumPy takes twice as long to convert a Python number
                with np.errstate(over="ignore"):  # a large number is infinity in float16
                    operands = [np.array(a, floats[0]) if isinstance(a, NUMBERS) else a for a in operands]
        else:
            call = functools.partial(_write, line.op.forward, line.params)
        placed = [self.places.of(a) if isinstance(a, Symbol) else a for a in (*operands, line.out)]
        return Job(HostCall(call, tuple(placed)), [])


def _row_sums(rows: int, columns: int, x: Place, stride: int, out: Place) -> Job:
    return Job("rowsum", [rows, columns, (x, 0), stride, (out, 0), 4])


def _summed(line: Line) -> tuple[int, ...]:
    """Return the dimensions that a `sum` runs over, or a `sum_to` if they are leading ones; nothing if they are not."""
    if line.op.name == "sum":
        dims: tuple[int, ...] = line.params["dim"]
        return dims
    shape, kept = line.args[0].shape, line.out.shape
    kept = kept[next((i for i, n in enumerate(kept) if n != 1), len(kept)) :]
    dims = tuple(range(len(shape) - len(kept)))
    return dims if shape[len(dims) :] == kept else ()


def _copy(x: Array, out: Array) -> None:
    np.copyto(out, x.reshape(out.shape))


def _write(forward: Callable[..., Array], params: dict[str, Any], *operands: Any) -> None:
    operands[-1][...] = forward(np, *operands[:-1], **params)


@functools.cache
def _ufunc(op: Op) -> np.ufunc | None:
    """Return the function of NumPy that an operation is: then it can write its result where it belongs."""
    operands = tuple(object() for _ in op.inputs)

    class Namespace:
        """Tells what is asked of NumPy, instead of computing."""

        def __getattr__(self, name: str) -> Any:
            found = getattr(np, name)
            return lambda *args: found if isinstance(found, np.ufunc) and args == operands else None

    if op.variadic or op.parameters:
        return None
    try:
        found = op.forward(Namespace(), *operands)
    except (TypeError, AttributeError, KeyError):  # it does more than that
        return None
    by_position = isinstance(found, np.ufunc) and found not in (np.maximum, np.minimum)  # these want out=
    return found if by_position else None


@functools.cache
def _formula_order(op: Op) -> tuple[int, ...]:
    """Return which operands the formula of an operation names, in the order in which it names them."""
    found = parsed(op.expr or "")
    assert found is not None
    return tuple(op.inputs.index(name) for name in found[1])


def _access(place: Place, full: tuple[int, ...]) -> tuple[bool, int] | None:
    """Return (one value a row?, row stride) of an operand broadcast to `full`; None if a kernel cannot read it so."""
    lead = len(full) - len(place.shape)
    shape = (1,) * lead + place.shape
    strides = tuple(0 if n == 1 else s for n, s in zip(shape, (0,) * lead + place.strides, strict=True))
    spread = full[-1] != 1 and (shape[-1] == 1 or strides[-1] == 0)
    if not spread and full[-1] != 1 and strides[-1] != place.dtype.itemsize:
        return None
    rows = [(n, s) for n, s in zip(full[:-1], strides[:-1], strict=True) if n != 1]
    if not rows:
        return spread, 0
    for (_, outer), (n, inner) in itertools.pairwise(rows):
        if outer != n * inner:
            return None
    return spread, rows[-1][1]


def _matrix(place: Place) -> tuple[int, int] | None:
    """Return (transposed?, leading dimension) as BLAS wants it; None if it cannot read the matrix as it lies."""
    (m, n), (row, column) = place.shape, place.strides
    if (column == 4 or n == 1) and row % 4 == 0 and (row >= 4 * n or m == 1):
        return NO_TRANSPOSE, max(row // 4, n)
    if (row == 4 or m == 1) and column % 4 == 0 and column >= 4 * m:
        return TRANSPOSE, column // 4
    return None
