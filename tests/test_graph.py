"""Captured programs: every pass and every runner computes what the plain replay computes."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.lib.array_utils import byte_bounds

import tinyseq as ts
from tinyseq import nn
from tinyseq.blas import NO_TRANSPOSE, TRANSPOSE, openblas
from tinyseq.core.dispatch import override
from tinyseq.graph import Capture, Graph, placed, threads
from tinyseq.graph.kernels import Kernel
from tinyseq.graph.native import Native, can_run
from tinyseq.graph.passes import PASSES, improve
from tinyseq.graph.placed import Placed
from tinyseq.graph.places import ALIGNMENT, Block, Joins, Place, Places
from tinyseq.graph.planning import HostCall, Planning
from tinyseq.graph.products import DEPTH
from tinyseq.graph.replay import Replay
from tinyseq.nn import functional as F

T, B, INPUTS, H = 7, 4, 5, 12


def lstm(x, h, c, w):
    i, f, g, o = (x @ w[0] + h @ w[1] + w[2]).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def peephole(x, h, c, w):
    """Looks its vectors up anew at every step, so that their gradients come in many like terms."""
    i, f, g, o = (x @ w[0] + h @ w[1] + w[2]).chunk(4, 1)
    i, f = (i + w[3][0] * c).sigmoid(), (f + w[3][1] * c).sigmoid()
    c = f * c + i * g.tanh()
    return (o + w[3][2] * c).sigmoid() * c.tanh(), c


def half_used(x, h, c, w):
    """Leaves two of four parts of a split without a use, so that their gradients are gaps."""
    z, u, _, _ = (x @ w[0] + h @ w[1] + w[2]).chunk(4, 1)
    u = u.sigmoid()
    h = u * h + (1 - u) * z.tanh()
    return h, h


def transposing(x, h, c, w):
    """Transposes its weights at every step."""
    z = (x @ w[0].t().t() + h @ w[1].t().t()).chunk(4, 1)[1]
    return z.relu().exp() * 0.1, c


def normalised(x, h, c, w):
    """Reduces over rows at every step."""
    z = x @ w[0] + h @ w[1]
    z = (z - z.mean(-1, keepdim=True)) / (z.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    i, f, g, o = (z * w[2]).chunk(4, 1)
    c = ts.where(f > 0, f.sigmoid() * c, 0.0) + i.sigmoid() * g.tanh()
    return o.sigmoid() * ts.maximum(c, ts.minimum(g, o)), c


CELLS = [lstm, peephole, half_used, transposing, normalised]


def trained(cell, dtype=ts.float32):
    """Return the program of one training step of `cell`, and its inputs."""
    rng = np.random.default_rng(0)
    x, r = (ts.tensor(rng.standard_normal(s), dtype=dtype) for s in ((T, B, INPUTS), (T, B, H)))
    shapes = ((INPUTS, 4 * H), (H, 4 * H), (4 * H,), (3, H))
    w = [ts.tensor(rng.uniform(-0.4, 0.4, s), dtype=dtype).requires_grad_() for s in shapes]
    capture = Capture()
    with override(bottom=capture):
        h = c = ts.zeros(B, H, dtype=dtype)
        hs = []
        for t in range(T):
            h, c = cell(x[t], h, c, w)
            hs.append(h)
        loss = (ts.stack(hs) * r).sum()
        used = [p for p in w if p is not w[3] or cell is peephole]
        used = [p for p in used if p is not w[2] or cell is not transposing]
        gradients = ts.autograd.grad(loss, used)
        outputs = [capture.read(v) for v in (loss, *gradients)]
    return capture.graph(outputs), [array for array, _ in capture.inputs.values()]


def agree(got, want, tolerance):
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance * np.abs(w).max())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", [*PASSES, "all", "none"])
def test_a_pass_changes_nothing_but_the_program(cell, name):
    graph, inputs = trained(cell, ts.float64)
    without = [] if name == "all" else [p for p in PASSES if p != name]
    better = improve(graph, without)
    better.check()
    agree(Replay(better)(inputs), Replay(graph)(inputs), 1e-12)


def overlapping(x):
    """Return the gradient of a value of which parts are used that overlap, and are as long as the whole together."""
    x = (x * 1.0).detach().requires_grad_()
    y = x * x
    return ts.autograd.grad((y[:, :2] * 2.0).sum() + y[:, 1:3].exp().sum(), x)[0]


def crossed(x):
    """Return rows of a square matrix with a column between them."""
    square = x[:, :3] * 2.0
    return ts.stack([square[0], square[:, 1], square[2]])


def joined_in_the_middle(x):
    """Return a join whose parts lie there in stretches that no kernel can walk."""
    y = x.reshape(3, 2, 2)
    return ts.cat([y.exp(), y.tanh()[:, :1] * 2.0], 1) + 1.0


def joined_again(x):
    """Return joins whose parts are joins, alone or with others."""
    y = ts.cat([x * 2.0, x.exp()])
    return ts.cat([y, x.tanh()]), ts.cat([ts.cat([x.exp(), x.tanh()], 1)]), ts.cat([ts.cat([x + 1.0]), x.tanh()], 1)


def alone_and_in_columns(x):
    """Return a value that is joined with nothing, and beside another one."""
    y = x.exp()
    return ts.cat([y]) * 2.0, ts.cat([y, x.tanh()], 1)


def one_times(x):
    """Return slices of a product that is one of its factors, a join."""
    y = ts.cat([x + 1.0, x.tanh()]) * ts.ones(6, 4)
    z = y + y
    return z[:3].exp() + z[3:]


def many_matrices(x):
    """Return a product with very many joined matrices, of a value that is transposed within each."""
    left = x.reshape(1, 4, 3).expand(2100, 4, 3) * 2.0
    return left.transpose(1, 2) @ ts.cat([left[1:] * 3.0, left[:1].exp()])


def of_arrays(x):
    """Return values that are computed from arrays, which are no tensors."""
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    y = x.clone()
    y.assign(a)
    seen = x.reshape(12) + ts.reshape(a, (12,)), x[0] * ts.narrow(a, 0, 1, 1)[0], x + ts.sum(a, dim=0)
    return *seen, y.T.clone(), y.sum(0), ts.matmul(a, x.T) + ts.matmul(a + 1, x.T)


TEMPTING = {  # to a pass that shares or drops too much
    "two zeros": lambda x: (x / 0.0, x / -0.0),
    "ones of a larger shape": lambda x: x[:1] * ts.ones(3, 4),
    "ones of a wider dtype": lambda x: x * ts.ones(3, 4, dtype=ts.float64),
    "overlapping slices": overlapping,
    "slices of slices": lambda x: x[:, 1:][:, 1:2] + x[1:][:1, :1],
    "a join of parts in another order": lambda x: ts.cat([x[:, 2:], x[:, :2]], 1),
    "a stack of rows seen as columns": lambda x: ts.stack([x[0], x[1], x[2]], 1),
    "a stack of rows and columns": crossed,
    "a join along a dimension in the middle": joined_in_the_middle,
    "joins of joins": joined_again,
    "a join of one": alone_and_in_columns,
    "a product with ones": one_times,
    "joins of many matrices": many_matrices,
    "constants": of_arrays,
    "a row with a dimension more": lambda x: x.T[1:3].reshape(2, 1, 3).exp(),
    "a column that broadcasts": lambda x: (x * x[:, :1] + x[0])[:, 1:3],
}


@pytest.fixture
def littered(monkeypatch):
    """Fill what no program has written with NaN."""

    def memory(size):
        return np.full(size // 4 + 16, np.nan, np.float32).view(np.uint8)[:size]

    monkeypatch.setattr(placed, "_aligned", memory)


@pytest.mark.parametrize("without", [(), tuple(PASSES), ("share", "gather_sums"), ("copy_shared_parts",)])
@pytest.mark.parametrize("name", TEMPTING)
def test_programs_that_tempt_the_passes(name, without, littered):
    x = ts.tensor(np.random.default_rng(0).standard_normal((3, 4)), dtype="float32")
    capture = Capture()
    with override(bottom=capture):
        out = TEMPTING[name](x)
        outputs = [capture.read(v) for v in (out if isinstance(out, tuple) else (out,))]
    graph, inputs = capture.graph(outputs), [array for array, _ in capture.inputs.values()]
    better = improve(graph, without)
    better.check()
    want = Replay(graph)(inputs)
    for array in inputs:
        array.flags.writeable = False  # nothing writes to an input
    for run in (Replay(better), Native(better), Placed(better, Planning(better, None))):
        found = run(inputs)
        agree(found, want, 1e-6)
        assert [a.dtype for a in found] == [a.dtype for a in want]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("optimised", [True, False])
def test_native_code_agrees_with_numpy(cell, count, optimised, monkeypatch):
    monkeypatch.setattr(threads, "_threads", count)
    monkeypatch.setattr(threads, "is_worth", lambda total, shares, waits: True)
    graph, inputs = trained(cell)
    better = improve(graph) if optimised else graph
    assert can_run(better)
    run = Native(better)
    want = Replay(graph)(inputs)
    for _ in range(3):
        agree(run(inputs), want, 3e-5)
    moved = [np.array(a) for a in inputs]  # the same values elsewhere in memory
    agree(run(moved), want, 3e-5)


def test_the_input_projection_leaves_the_time_loop():
    graph, _ = trained(lstm)
    products = [line for line in improve(graph) if line.op.name == "matmul"]
    # the projection; T recurrent ones forward; T - 1 backward; one for each weight's gradient
    assert len(products) == 1 + T + (T - 1) + 2


@pytest.mark.parametrize("cell", [lstm, peephole, half_used, normalised])
def test_a_longer_sequence_needs_no_new_kernel(cell, monkeypatch):
    kernels = []
    for steps in (6, 11):
        monkeypatch.setitem(globals(), "T", steps)
        graph, _ = trained(cell)
        jobs = Planning(improve(graph), openblas()).jobs
        kernels.append({job.what for job in jobs if isinstance(job.what, Kernel)})
    assert kernels[0] == kernels[1]


def test_the_cores_meet_only_between_loops(monkeypatch):
    monkeypatch.setattr(threads, "_threads", 2)
    graph, _ = trained(lstm)
    native = [job for job in Planning(improve(graph), openblas()).jobs if not isinstance(job.what, HostCall)]
    parts = [[threads.share(job.what, job.table, job.shape, w, 2) for w in range(2)] for job in native]
    waits = threads.barriers([[p and p[1] for p in job] for job in parts])
    assert 0 < sum(waits) < T


def test_a_barrier_stands_where_shares_touch():
    touch = threads.Touched
    apart = [[touch([], [(0, 8)]), touch([], [(8, 16)])], [touch([(0, 8)], []), touch([(8, 16)], [])]]
    assert threads.barriers(apart) == [False, False]
    read_after_write = [apart[0], [touch([(0, 16)], []), None]]
    assert threads.barriers(read_after_write) == [False, True]
    write_after_read = [[touch([(0, 16)], []), None], [None, touch([], [(8, 16)])]]
    assert threads.barriers(write_after_read) == [False, True]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 400)), min_size=1, max_size=30))
def test_blocks_in_use_at_the_same_time_lie_apart(lives):
    empty = Graph([], [], [])
    places = Places(empty, Joins(empty))
    for first, more, size in lives:
        block = places.new_block(size)
        block.first, block.last = first, first + more
    size = places.arrange()
    for block in places.blocks:
        assert block.start % ALIGNMENT == 0
        assert 0 <= block.start <= size - block.size
    for a, b in itertools.combinations(places.blocks, 2):
        if a.first <= b.last and b.first <= a.last:
            assert a.start + a.size <= b.start or b.start + b.size <= a.start


def test_memory_given_back_serves_longer_blocks():
    empty = Graph([], [], [])
    places = Places(empty, Joins(empty))
    for first, last, size in ((0, 1, 640), (0, 1, 640), (0, 9, 64), (2, 9, 1280)):
        block = places.new_block(size)
        block.first, block.last = first, last
    assert places.arrange() == 640 + 640 + 64


def test_parts_of_a_sum_do_not_pile_up():
    size, parts = 64, 7
    x, first = ts.ones(parts, size, size), ts.ones(size, size)
    capture = Capture()
    with override(bottom=capture):
        h, total = first, None
        for k in range(parts):
            h = (h @ x[k]).tanh()
            part = x[k].T @ h
            total = part if total is None else total + part
        outputs = [capture.read(total * 2.0)]
    planned = Planning(capture.graph(outputs), openblas())
    assert planned.size <= 6 * 4 * size * size


SPANS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)).map(lambda s: (s[0], s[0] + s[1])), max_size=2)
SHARES = st.one_of(st.none(), st.builds(threads.Touched, SPANS, SPANS))


def touch(one, other):
    """Tell whether the shares of two workers touch the same bytes, and one of them writes."""
    if one is None or other is None:
        return False
    pairs = [*itertools.product(one.writes, [*other.reads, *other.writes]), *itertools.product(one.reads, other.writes)]
    return any(set(range(*a)) & set(range(*b)) for a, b in pairs)


@given(st.lists(st.tuples(SHARES, SHARES, SHARES), min_size=1, max_size=6))
def test_barriers_stand_before_every_conflict_and_nowhere_else(jobs):
    wanted, since = [], 0
    for k, job in enumerate(jobs):
        before = [(j, share) for earlier in jobs[since:k] for j, share in enumerate(earlier)]
        wanted.append(any(i != j and touch(mine, share) for i, mine in enumerate(job) for j, share in before))
        since = k if wanted[-1] else since
    assert threads.barriers(jobs) == wanted


def test_jobs_may_touch_any_number_of_stretches():
    many = threads.Touched([(16 * i, 16 * i + 8) for i in range(70_000)], [])
    last = threads.Touched([], many.reads[-1:])
    assert threads.barriers([[many, None], [None, last]]) == [False, True]


def test_programs_of_several_threads_do_not_wait_for_each_others_shares(monkeypatch):
    class Slow(ThreadPoolExecutor):
        def submit(self, *args):
            time.sleep(0.05)
            return super().submit(*args)

    with Slow(2) as pool:
        monkeypatch.setattr(threads, "pool", lambda workers: pool)
        meetings = [threading.Barrier(3), threading.Barrier(3)]
        calls = [threads.together(lambda k, _: meetings[k].wait(2), [(k, 0)] * 3) for k in range(2)]
        with ThreadPoolExecutor(2) as callers:
            for done in [callers.submit(call) for call in calls]:
                done.result()


def test_threads_take_turns_at_one_program():
    x = ts.ones(200, 200)
    capture = Capture()
    with override(bottom=capture):
        y = x
        for _ in range(8):
            y = (y @ x * 0.005).double().exp().float()
        outputs = [capture.read(y)]
    graph = capture.graph(outputs)
    inputs = [[np.full((200, 200), k, np.float32)] for k in (0.1, 0.2, 0.3, 0.4)]
    for run in (Native(graph), Placed(graph, Planning(graph, None))):
        want = [run(arrays) for arrays in inputs]
        with ThreadPoolExecutor(4) as callers:
            for got, alone in zip(callers.map(run, inputs * 5), want * 5, strict=True):
                agree(got, alone, 1e-6)


def test_no_stretch_between_barriers_is_longer_than_the_search_can_watch(monkeypatch):
    monkeypatch.setattr(threads, "MOST_WATCHED", 3)
    jobs = [[threads.Touched([], [(16 * i, 16 * i + 8)]), None] for i in range(8)]
    assert threads.barriers(jobs) == [False, False, False, True, False, False, True, False]


@pytest.mark.parametrize("transposed", [True, False])
def test_a_share_of_a_product_touches_the_bytes_of_its_rows(transposed):
    m, n, k, width = 7, 3, 5, 10  # the left side is part of a wider matrix
    arena = np.zeros(1000, np.float32)
    a = np.ndarray((m, k), np.float32, arena, 64, (4, 4 * width) if transposed else (4 * width, 4))
    b, c = np.ndarray((k, n), np.float32, arena, 1600), np.ndarray((m, n), np.float32, arena, 2400)

    def span(array):
        low, high = byte_bounds(array)
        return low - arena.ctypes.data, high - arena.ctypes.data

    pa, pb, pc = (Place(Block(4000), span(v)[0], v.shape, v.strides, v.dtype) for v in (a, b, c))
    flag = TRANSPOSE if transposed else NO_TRANSPOSE
    strides = [s // 4 for s in a.strides]
    tables = {  # with the positions of m, of the left side and of the result
        "gemm": ([0, flag, NO_TRANSPOSE, m, n, k, (pa, 0), width, (pb, 0), n, (pc, 0), n], 3, 6, 10),
        "product": ([m, n, k, (pa, 0), *strides, (pb, 0), n, (pc, 0), n], 0, 3, 8),
    }
    for what, (table, count, left, out) in tables.items():
        at = 0
        for worker in range(3):
            part, touched = threads.share(what, table, None, worker, 3)
            rows = slice(at, at + part[count])
            assert touched.reads == [span(a[rows]), span(b)]
            assert touched.writes == [span(c[rows])]
            assert [pa.offset + part[left][1], pc.offset + part[out][1]] == [span(a[rows])[0], span(c[rows])[0]]
            at += part[count]
        assert at == m


def test_values_that_cannot_lie_where_they_are_joined_or_seen_are_copied():
    x, y = (ts.tensor(np.random.default_rng(k).standard_normal((4, 6)), dtype="float32") for k in range(2))
    capture = Capture()
    with override(bottom=capture):
        a = x * 2 + y
        twice = ts.cat([a, a, y.exp()], 1)
        seen = (x.exp() * y).T.reshape(2, -1) @ y.reshape(12, 2)
        outputs = [capture.read(v) for v in (twice, seen)]
    graph, inputs = capture.graph(outputs), [array for array, _ in capture.inputs.values()]
    agree(Native(improve(graph))(inputs), Replay(graph)(inputs), 1e-5)
    agree(Native(graph)(inputs), Replay(graph)(inputs), 1e-5)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exp", "sqrt", "abs", "relu", "neg", "sign"])
@pytest.mark.parametrize("shape", [(3, 37), (1, 16), (5, 1)])
def test_kernel_functions_are_accurate(name, shape):
    values = np.linspace(-30, 30, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    values.flat[0] = np.nan if name != "sign" else 0.0
    x = ts.tensor(abs(values) if name == "sqrt" else values)
    capture = Capture()
    with override(bottom=capture):
        out = capture.read(getattr(ts, name)(x))
    run = Native(capture.graph([out]))
    assert not any(isinstance(job.what, HostCall) for job in Planning(capture.graph([out]), openblas()).jobs)
    want = getattr(ts, name)(ts.tensor(np.asarray(x), dtype=ts.float64)).numpy()
    np.testing.assert_allclose(run([x.payload])[0], want, rtol=1e-6, atol=5e-7)


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge", "maximum", "minimum"])
def test_kernels_compare_special_values_as_numpy(name):
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0], np.float32)
    x, y = (ts.tensor(v.copy()) for v in np.meshgrid(special, special))
    capture = Capture()
    with override(bottom=capture):
        out = capture.read(getattr(ts, name)(x, y))
    run = Native(capture.graph([out]))
    assert not any(isinstance(job.what, HostCall) for job in Planning(capture.graph([out]), openblas()).jobs)
    np.testing.assert_array_equal(run([x.payload, y.payload])[0], getattr(ts, name)(x, y).numpy())


@pytest.mark.parametrize("shape", [*itertools.product((1, 2), (1, 3), (1, 4)), (3, 4), (3, 1), (4,), ()])
def test_operands_of_every_broadcast_shape(shape):
    rng = np.random.default_rng(0)
    x, y = (ts.tensor(rng.standard_normal(s), dtype="float32") for s in ((2, 3, 4), shape))
    capture = Capture()
    with override(bottom=capture):
        out = capture.read(x * y + 1.0)
    found = Native(capture.graph([out]))([x.payload, y.payload])[0]
    np.testing.assert_allclose(found, x.numpy() * y.numpy() + 1.0, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(37,), (1, 40), (40, 1), (5, 37), (3, 4, 33), (2, 1, 3, 16)])
def test_sums_of_every_shape(shape, count, monkeypatch):
    monkeypatch.setattr(threads, "_threads", count)
    monkeypatch.setattr(threads, "is_worth", lambda total, shares, waits: True)
    x = ts.tensor(np.random.default_rng(0).standard_normal(shape), dtype="float32")
    dims = [d for n in range(1, len(shape) + 1) for d in itertools.combinations(range(len(shape)), n)]
    fewer = [shape[k:] for k in range(1, len(shape) + 1)]
    capture = Capture()
    with override(bottom=capture):
        y = x.exp()  # lies in the arena, where the sum of everything is shared
        sums = [y.sum(d, keepdim=keep) for d in dims for keep in (False, True)]
        outputs = [capture.read(v) for v in (*sums, *[y.sum_to_size(s or (1,)) for s in fewer])]
    graph = capture.graph(outputs)
    for found, want in zip(Native(graph)([x.payload]), Replay(graph)([x.payload]), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-5)
        assert found.shape == want.shape
    kinds = {job.what for job in Planning(graph, openblas()).jobs if isinstance(job.what, str)}
    assert kinds == {"rowsum", "colsum"} or len(shape) == 1


@pytest.mark.parametrize("shape", [(300_000,), (300_000, 1), (3, 100_000)])
def test_long_sums_are_accurate(shape):
    x = ts.tensor(np.full(shape, 0.1), dtype="float32")
    capture = Capture()
    with override(bottom=capture):
        outputs = [capture.read(v) for v in (x.sum(), x.sum(-1))]
    for found, dim in zip(Native(capture.graph(outputs))([x.payload]), (None, -1), strict=True):
        np.testing.assert_allclose(found, x.payload.sum(dim, np.float64), rtol=5e-6)


def test_every_output_is_an_array_of_its_own():
    x = ts.tensor(np.arange(1.0, 4.0), dtype="float32")
    capture = Capture()
    with override(bottom=capture):
        y = x * 2.0
        outputs = [capture.read(v) for v in (x * 1, x[1:], y, y[1:], y)]
        outputs.append(ts.reshape(np.ones(3, np.float32), (3,)))
    better = improve(capture.graph(outputs))
    for run in (Replay(better), Native(better), Placed(better, Planning(better, None))):
        want = [a.copy() for a in run([x.payload])]
        for a in (found := run([x.payload])):
            a += 1.0
        agree(found, [a + 1.0 for a in want], 1e-6)
        agree(run([x.payload]), want, 1e-6)
        assert not any(np.shares_memory(a, b) for a, b in itertools.combinations([*found, x.payload], 2))


def test_a_number_may_be_too_large_for_float16():
    x = ts.ones(3, dtype=ts.float16)
    capture = Capture()
    with override(bottom=capture):
        out = capture.read(x + 1e6)
    graph = capture.graph([out])
    np.testing.assert_array_equal(Placed(graph, Planning(graph, None))([x.payload])[0], np.inf)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(16, 16), (1, 40), (40, 1), (17, 33), (50, 7)])
def test_transposed_copies_of_every_shape(shape, count, monkeypatch):
    monkeypatch.setattr(threads, "_threads", count)
    monkeypatch.setattr(threads, "is_worth", lambda total, shares, waits: True)
    x = ts.tensor(np.random.default_rng(0).standard_normal(shape), dtype="float32")
    capture = Capture()
    with override(bottom=capture):
        outputs = [capture.read(v.T.clone()) for v in (x, x.exp(), x.exp()[:, : shape[1] // 2 + 1])]
    graph = capture.graph(outputs)
    for found, want in zip(Native(graph)([x.payload]), Replay(graph)([x.payload]), strict=True):
        np.testing.assert_allclose(found, want, rtol=1e-6)
    assert 1 in shape or "transpose" in {job.what for job in Planning(graph, openblas()).jobs if type(job.what) is str}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("m", [2, 3, 4, 7, 8, 13, 29])
@pytest.mark.parametrize("n", [16, 32, 48, 80, 112])
def test_products_of_every_shape(m, n, count, monkeypatch):
    monkeypatch.setattr(threads, "_threads", count)
    monkeypatch.setattr(threads, "is_worth", lambda total, shares, waits: True)
    rng = np.random.default_rng(0)
    inputs = [ts.tensor(rng.standard_normal((m, k)), dtype="float32") for k in (1, 5, DEPTH, 2 * DEPTH + 3)]
    weights = [ts.tensor(rng.standard_normal((x.shape[1], n)), dtype="float32") for x in inputs]
    capture = Capture()
    with override(bottom=capture):
        straight = [x @ w for x, w in zip(inputs, weights, strict=True)]
        across = [x.T.clone().T @ w for x, w in zip(inputs, weights, strict=True)]
        apart = [ts.cat([x, x], 1)[:, 1 : 1 + x.shape[1]] @ w for x, w in zip(inputs, weights, strict=True)]
        outputs = [capture.read(v) for v in (*straight, *across, *apart)]
    graph, arrays = capture.graph(outputs), [a for a, _ in capture.inputs.values()]
    wide = [
        [a.astype(np.float64) for a in pair]
        for pair in zip(map(np.asarray, inputs), map(np.asarray, weights), strict=True)
    ]
    moved = [np.concatenate([x, x], 1)[:, 1 : 1 + x.shape[1]] @ w for x, w in wide]
    want = [*[x @ w for x, w in wide] * 2, *moved]
    for found, exact in zip(Native(graph)(arrays), want, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5 * abs(exact).max())


def test_inputs_may_lie_in_any_order():
    x = ts.tensor(np.arange(12.0).reshape(3, 4), dtype="float32")
    capture = Capture()
    with override(bottom=capture):
        out = capture.read(x.exp() - x)
    run, want = Native(capture.graph([out])), x.exp().numpy() - x.numpy()
    columns, every_other = np.asfortranarray(x.payload), np.repeat(x.payload, 2, axis=1)[:, ::2]
    for array in (x.payload, columns, every_other, x.payload):
        np.testing.assert_allclose(run([array])[0], want, rtol=1e-5)


def test_a_whole_step_of_a_model_runs_natively():
    ts.manual_seed(0)
    model, head = nn.LSTM(INPUTS, H), nn.Linear(H, 3)
    weights = [*model.parameters(), *head.parameters()]
    x, y = ts.randn(T, B, INPUTS), ts.randint(0, 3, (T * B,))
    capture = Capture()
    with override(bottom=capture):
        loss = F.cross_entropy(head(model(x)[0]).reshape(-1, 3), y)
        outputs = [capture.read(v) for v in (loss, *ts.autograd.grad(loss, weights))]
    graph, inputs = capture.graph(outputs), [array for array, _ in capture.inputs.values()]
    agree(Native(improve(graph))(inputs), Replay(graph)(inputs), 3e-5)


def test_the_program_can_be_printed_and_is_checked():
    graph, _ = trained(lstm)
    text = str(graph)
    assert text.count("\n") == len(graph) + 1
    assert "matmul" in text
    graph.check()
    broken = Graph(graph.inputs, graph.lines[1:], graph.outputs)
    with pytest.raises(ts.errors.CaptureError, match="does not exist yet"):
        broken.check()
