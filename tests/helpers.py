"""What several test files share: arrays and tensors to start from, and how two results are compared."""

import warnings

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import testing
from tinyseq.core.op import Op
from tinyseq.core.tape import Node


def arr(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def new(*shape, seed=0, requires_grad=False):
    return ts.tensor(arr(*shape, seed=seed), requires_grad=requires_grad)


def close(a, b, rtol=1e-5, atol=1e-6):
    if b is None:
        assert a is None
        return
    a, b = (np.asarray(t.detach()) if isinstance(t, ts.Tensor) else np.asarray(t) for t in (a, b))
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def leaf(values, dtype="float64"):
    return ts.tensor(np.asarray(values, dtype), requires_grad=True)


def values(t):
    return t.detach().numpy()


def nodes_of(tensor):
    """Return every node of the graph behind `tensor`, without its leaves."""
    found, pending = set(), [tensor.node]
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(node.edges)
    return {node for node in found if type(node) is Node}


# Every operation, on every sample that it brings

OPS = list(Op.registry.values())
CASES = [pytest.param(op, sample, id=f"{op.name}-{i}") for op in OPS for i, sample in enumerate(op.samples)]
GRADIENTS = [c for c in CASES if c.values[0].differentiable and testing.floating_inputs(c.values[1])]

every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
every_sample = pytest.mark.parametrize(("op", "sample"), CASES)
every_gradient = pytest.mark.parametrize(("op", "sample"), GRADIENTS)


def inputs_of(op, sample, dtype):
    """Return new tensors for one sample; the floating ones require gradients."""
    made = [ts.Tensor(a) for a in sample.arrays(dtype=dtype)]
    if op.differentiable:
        for i in testing.floating_inputs(sample):
            made[i].requires_grad_()
    return made


# Compiled functions beside the functions that they were made of


def nothing():
    pass


def always_right(function, *calls, captures=None):
    """Compare `function` with its compiled self for each (what to do first, arguments)."""
    compiled = ts.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for before, args in calls:
            before()
            close(compiled(*args), function(*args))
    if captures is not None:
        assert compiled._captures == captures
    return compiled
