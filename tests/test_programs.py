"""Random programs of operations, views and writes: the result is that of PyTorch, or one engine refuses."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import tinyseq as ts
from tinyseq.errors import TinyseqError

INDEX = st.integers(0, 50)
VIEWS = ["[:2]", "[1:3]", "[0]", "[::2]", "T", "reshape", "detach", "chunk", "unsqueeze", "expand"]
WRITES = ["add_", "mul_", "sub_", "tanh_", "copy_", "zero_", "setitem", "setslice"]
STEP = st.one_of(
    st.tuples(st.just("unary"), INDEX, st.sampled_from(["tanh", "exp", "neg", "double", "relu", "clone"])),
    st.tuples(st.just("binary"), INDEX, INDEX, st.sampled_from(["add", "mul", "sub"])),
    st.tuples(st.just("view"), INDEX, st.sampled_from(VIEWS)),
    st.tuples(st.just("write"), INDEX, INDEX, st.sampled_from(WRITES), st.booleans()),
)


def run_step(lib, pool, step):
    """Take one step of a program."""
    kind, i, *rest = step
    t = pool[i % len(pool)]
    if kind == "unary":
        f = {"double": lambda v: v * 2.0, "exp": lambda v: (v * 0.1).exp(), "neg": lambda v: -v}
        pool.append(f[rest[0]](t) if rest[0] in f else getattr(t, rest[0])())
    elif kind == "binary":
        other = pool[rest[0] % len(pool)]
        if tuple(other.shape) != tuple(t.shape):
            other = other.sum() * 0.1
        pool.append(getattr(lib, rest[1])(t, other))
    elif kind == "view":
        view = {
            "[:2]": lambda v: v[:2],
            "[1:3]": lambda v: v[1:3],
            "[0]": lambda v: v[0],
            "[::2]": lambda v: v[::2],
            "T": lambda v: v.transpose(0, -1),
            "reshape": lambda v: v.reshape(-1),
            "detach": lambda v: v.detach(),
            "chunk": lambda v: v.chunk(2, 0)[-1],
            "unsqueeze": lambda v: v.unsqueeze(0),
            "expand": lambda v: v.expand(2, *v.shape),
        }[rest[0]]
        pool.append(view(t) if len(t.shape) or rest[0] in ("reshape", "detach", "unsqueeze", "expand") else t * 1.0)
    else:
        other, how, quietly = pool[rest[0] % len(pool)], rest[1], rest[2]
        if tuple(other.shape) != tuple(t.shape):
            other = other.sum() * 0.1
        with lib.no_grad() if quietly else lib.enable_grad():
            if how in ("tanh_", "zero_"):
                getattr(t, how)()
            elif how == "setitem" and len(t.shape):
                t[0] = other.sum()
            elif how == "setslice" and len(t.shape):
                t[:1] = other.sum()
            elif how.startswith("set"):
                t.copy_(other)
            else:
                getattr(t, how)(other)


def run(lib, make, program):
    """Run a program from two leaves and a constant; return the values and the gradients of the leaves."""
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-1, 1, (3, 2)), rng.uniform(-1, 1, (3, 2)), rng.uniform(-1, 1, 3)]
    x, w, c = (make(a) for a in arrays)
    x.requires_grad_(), w.requires_grad_()
    pool = [x, w, c, x * 1.0, w * 2.0]
    for step in program:
        run_step(lib, pool, step)
    loss = sum((t * (0.5 + k)).sum() for k, t in enumerate(pool))
    loss.backward()
    return [np.asarray(t.detach()) for t in pool], [None if t.grad is None else np.asarray(t.grad) for t in (x, w)]


def compare(program):
    """Return how the program ended: both engines agree, or one of them refused it."""
    torch = pytest.importorskip("torch")
    try:
        mine = run(ts, ts.tensor, program)
    except TinyseqError:
        return "refused"
    try:
        theirs = run(torch, torch.tensor, program)
    except RuntimeError:
        return "refused by torch"
    for a, b in zip(mine[0] + mine[1], theirs[0] + theirs[1], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    return "agree"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(STEP, min_size=1, max_size=10))
def test_random_programs_agree_with_torch_or_raise(program):
    compare(program)


def test_many_longer_programs_agree_with_torch_or_raise():
    draw = random.Random(0)
    unary, binary = ["tanh", "exp", "neg", "double", "relu", "clone"], ["add", "mul", "sub"]

    def step():
        kind, i, j = (
            draw.choice(["unary", "binary", "view", "view", "write", "write"]),
            draw.randrange(50),
            draw.randrange(50),
        )
        return {
            "unary": (kind, i, draw.choice(unary)),
            "binary": (kind, i, j, draw.choice(binary)),
            "view": (kind, i, draw.choice(VIEWS)),
            "write": (kind, i, j, draw.choice(WRITES), draw.random() < 0.4),
        }[kind]

    outcomes = Counter(compare([step() for _ in range(draw.randint(3, 14))]) for _ in range(600))
    assert outcomes["agree"] > 150, outcomes
    assert outcomes["refused"] > 150, outcomes
