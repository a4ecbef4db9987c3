"""Compiled functions: what they take and return, how they nest, draw random numbers, and write."""

import copy
from typing import NamedTuple

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import close, new
from tinyseq import nn
from tinyseq.errors import CaptureError

F = nn.functional


# What is compiled


def test_as_decorator_with_and_without_options():
    @ts.compile
    def one(x):
        """Double."""
        return x * 2.0

    @ts.compile(without=("native",))
    def two(x):
        return x * 2.0

    assert one.__doc__ == "Double."
    assert one.__name__ == "one"
    close(one(new(3)), two(new(3)))
    with pytest.raises(ts.errors.ArgumentError, match="compile"):
        ts.compile(3)


def test_a_module():
    model = nn.Linear(3, 2)
    compiled = ts.compile(model)
    x = new(4, 3, requires_grad=True)
    (compiled(x) ** 2).sum().backward()
    mine = [model.weight.grad, model.bias.grad, x.grad]
    model.weight.grad = model.bias.grad = x.grad = None
    (model(x) ** 2).sum().backward()
    for a, b in zip(mine, [model.weight.grad, model.bias.grad, x.grad], strict=True):
        close(a, b)
    assert len(list(compiled.parameters())) == 2
    assert compiled.weight is model.weight


def test_methods_have_plans_of_their_own():
    class Scale(nn.Module):
        def __init__(self, by):
            self.by = by

        @ts.compile
        def forward(self, x):
            return x * self.by

    two, three = Scale(2.0), Scale(3.0)
    x = new(3)
    for _ in range(3):
        close(two(x), x * 2.0)
        close(three(x), x * 3.0)
    two.by = 5.0
    close(two(x), x * 5.0)
    twin = copy.deepcopy(two)
    twin.by = 7.0
    close(twin(x), x * 7.0)
    close(two(x), x * 5.0)


def test_nested_compiled_functions():
    w = new(3, requires_grad=True)
    inner = ts.compile(lambda x: (x * w).tanh())
    outer = ts.compile(lambda x: inner(x).sum() + inner(2.0 * x).sum())
    for _ in range(3):
        w.grad = None
        x = new(3)
        outer(x).backward()
        mine, w.grad = w.grad, None
        ((x * w).tanh().sum() + (2.0 * x * w).tanh().sum()).backward()
        close(mine, w.grad)
        close(inner(x), (x * w).tanh())


def test_recursion():
    @ts.compile
    def power(x, n):
        return x if n == 0 else x * power(x, n - 1)

    x = new(3)
    for _ in range(3):
        close(power(x, 3), x * x * x * x)
    close(power(x, 2), x * x * x)


def test_what_was_captured_can_be_read():
    w = new(3, 3, requires_grad=True)
    compiled = ts.compile(lambda x: (x @ w).tanh().sum())
    assert "not called" in compiled.explain()
    compiled(new(2, 3))
    assert "matmul" in str(compiled.graph)
    said = compiled.explain()
    assert "3 operations captured" in said
    assert "backward" in said


# Arguments and results


class Pair(NamedTuple):
    first: ts.Tensor
    second: ts.Tensor


def test_trees_of_arguments_and_results():
    @ts.compile
    def function(pair, *rest, scale, **more):
        return {"sum": pair.first + pair.second, "rest": [r * scale for r in rest]}, Pair(more["a"][0]["b"], pair.first)

    for scale in (2.0, 3.0):
        a, b, c, d = (new(2, seed=i) for i in range(4))
        result, pair = function(Pair(a, b), c, d, scale=scale, a=[{"b": d * 1.0}])
        close(result["sum"], a + b)
        close(result["rest"][1], d * scale)
        close(pair.first, d)
        assert pair.second is a
        assert type(pair) is Pair


def test_a_list_is_not_a_tuple():
    function = ts.compile(lambda pair: (pair, len(pair)))
    x, y = new(2), new(2, seed=1)
    for pair in ((x, y), [x, y], Pair(x, y), [x]):
        result, count = function(pair)
        assert type(result) is type(pair)
        assert count == len(pair)


def test_results_that_are_no_tensors():
    @ts.compile
    def function(x, n):
        return x.shape, n + 1, None, "text", 0.5, True

    for n in (1, 2):
        assert function(new(2, 3), n) == ((2, 3), n + 1, None, "text", 0.5, True)
    with pytest.raises(CaptureError, match="returned a object"):
        ts.compile(lambda x: object())(new(1))


def test_results_that_are_arguments_or_parameters():
    w, buffer = new(3, requires_grad=True), new(3)
    function = ts.compile(lambda x: (x, w, buffer, x.detach(), x * w))
    for _ in range(3):
        x = new(3, requires_grad=True)
        same, param, held, detached, product = function(x)
        assert same is x
        assert param is w
        assert held is buffer
        assert not detached.requires_grad
        close(detached, x)
        assert product.requires_grad


def test_outputs_are_new_each_time():
    function = ts.compile(lambda x: (x * 2.0, x * 3.0, ts.ones(2), ts.tensor([1.0, 2.0])))
    x = new(3)
    first = function(x)
    kept = [t.numpy().copy() for t in first]
    again = function(x)  # not under no_grad, which has plans of its own
    with ts.no_grad():
        for t in again:
            t.add_(1.0)
    second = function(new(3, seed=5))
    for t, k in zip(first, kept, strict=True):
        close(t, k)
    close(second[2], [np.float32(1)] * 2)
    close(second[3], np.float32([1, 2]))


def test_outputs_do_not_share_memory_by_chance():
    def function(x):
        y = ts.zeros(3)
        y.copy_(x)
        return y, x * 1.0

    x = new(3)
    y, z = ts.compile(function)(x)
    y.add_(5.0)
    z.add_(7.0)
    close(x, new(3))
    close(z, x + 7.0)


@pytest.mark.parametrize("without", [(), ("native",)], ids=["best", "numpy"])
def test_outputs_do_not_share_memory_because_their_values_agree(without):
    def function(x):
        y, z, value = ts.zeros(3), ts.zeros(3), x * 2.0
        y.copy_(value)
        z.copy_(value)
        return y, z, value

    x = new(3)
    y, z, value = ts.compile(function, without=without)(x)
    y.add_(5.0)
    z.add_(7.0)
    close(value, x * 2.0)
    close(y, value + 5.0)
    close(z, value + 7.0)


def test_the_same_result_twice_is_one_tensor():
    def function(x):
        y = x * 2.0
        return y, y, y.detach()

    a, b, c = ts.compile(function)(new(3))
    assert a is b
    a.add_(1.0)
    close(c, a)


def test_lengths_may_be_a_tensor():
    rnn = nn.Bidirectional(nn.GRUCell(3, 4), nn.GRUCell(3, 4))
    compiled = ts.compile(lambda x, lengths: rnn(x, lengths=lengths)[0])
    x = new(4, 2, 3)
    for lengths in ([4, 2], [1, 3], [2, 4]):
        close(compiled(x, ts.tensor(lengths)), rnn(x, lengths=ts.tensor(lengths))[0])
    assert compiled._captures == 1


# Random numbers


def test_a_sampling_loop():
    ts.manual_seed(0)
    cell, head = nn.GRUCell(5, 8), nn.Linear(8, 5)

    def step(token, h):
        h = cell(ts.eye(5)[token], h)
        h = h[0] if isinstance(h, tuple) else h
        return ts.multinomial(F.softmax(head(h), -1), 1).squeeze(-1), h

    def sample(step):
        ts.manual_seed(3)
        token, h, seen = ts.tensor([0, 1]), ts.zeros(2, 8), []
        with ts.no_grad():
            for _ in range(20):
                token, h = step(token, h)
                seen.append(token.tolist())
        return seen

    compiled = ts.compile(step)
    assert sample(compiled) == sample(step) == sample(compiled)
    assert compiled._captures == 1


def test_the_same_seed_gives_the_same_masks():
    drop = nn.Dropout(0.5)

    def function(x):
        return drop(x) + ts.rand(4) + F.dropout(x, 0.3)

    compiled = ts.compile(function)
    x = new(4)
    ts.manual_seed(7)
    wanted = [function(x) for _ in range(5)]
    ts.manual_seed(7)
    for w in wanted:
        close(compiled(x), w)
    drop.eval()
    generator = ts.Generator().manual_seed(1)
    drawn = ts.compile(lambda: ts.randn(3, generator=generator))
    first = [drawn(), drawn()]
    generator.manual_seed(1)
    close(drawn(), first[0])
    close(drawn(), first[1])


# Writes


def test_buffers_are_modified_in_place():
    mean = ts.zeros(3)

    @ts.compile
    def update(x):
        with ts.no_grad():
            mean.mul_(0.9).add_(x.detach() * 0.1)
        return x - mean

    wanted = np.zeros(3, np.float32)
    for i in range(5):
        x = new(3, seed=i)
        out = update(x)
        wanted = wanted * np.float32(0.9) + x.numpy() * np.float32(0.1)
        close(mean, wanted)
        close(out, x - mean)


def test_arguments_are_modified_in_place():
    @ts.compile
    def swap(a, b):
        old = a.clone()
        a.copy_(b)
        b.copy_(old)

    for i in range(3):
        a, b = new(3, seed=i), new(3, seed=i + 1)
        swap(a, b)
        close(a, new(3, seed=i + 1))
        close(b, new(3, seed=i))


def test_a_stateful_module():
    def run(compiled):
        ts.manual_seed(0)
        rnn = nn.Recurrent(nn.GRUCell(3, 4), stateful=True)
        rnn(new(2, 2, 3))
        step = ts.compile(rnn) if compiled else rnn
        with ts.no_grad():
            return [step(new(2, 2, 3, seed=i))[0] for i in range(5)]

    for a, b in zip(run(True), run(False), strict=True):
        close(a, b)
