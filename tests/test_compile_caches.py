"""What modules, rules of operations and plans keep between calls is neither stale nor a reason to capture anew."""

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import nn
from tinyseq.errors import CaptureError


def array(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


@pytest.mark.parametrize("product", ["matmul", "linear"])
@pytest.mark.parametrize("without", [(), ("native",)])
def test_a_weight_that_the_program_changes_is_read_anew(product, without):
    """Products in float64 run through the rule of the operation, which keeps copies of matrices that it meets again."""
    weight = ts.tensor(array(4, 4) * 0.3, requires_grad=True)
    x = ts.tensor(array(3, 4, seed=1))

    def train(x):
        for _ in range(2):
            h = x
            for _ in range(2):
                h = (h @ weight if product == "matmul" else nn.functional.linear(h, weight)).tanh()
            (gradient,) = ts.autograd.grad(((h - 1.0) ** 2).sum(), [weight])
            with ts.no_grad():
                weight.sub_(gradient * 0.05)
        return weight.detach().clone()

    def wanted(w, x):
        w = w.T if product == "linear" else w
        for _ in range(2):
            h1 = np.tanh(x @ w)
            h2 = np.tanh(h1 @ w)
            d2 = 2 * (h2 - 1) * (1 - h2 * h2)
            w = w - 0.05 * (x.T @ ((d2 @ w.T) * (1 - h1 * h1)) + h1.T @ d2)
        return w.T if product == "linear" else w

    compiled, now = ts.compile(train, without=without), weight.detach().numpy().copy()
    for _ in range(6):
        now = wanted(now, x.numpy())
        np.testing.assert_allclose(compiled(x).numpy(), now, rtol=1e-10)
    assert compiled._captures == 1


def test_a_result_kept_for_backward_may_be_any_of_several():
    weight = ts.tensor(array(4, 4), requires_grad=True)

    def run(x):
        a = (x @ weight).tanh()
        b = (a @ weight).tanh()
        return a, b, (b * b).tanh()

    x, compiled = ts.tensor(array(3, 4)), ts.compile(run)
    for _ in range(3):
        found = []
        for function in (run, compiled):
            a, b, c = function(x)
            found.append(ts.autograd.grad((a * b * c).sum(), [weight])[0].numpy())
        np.testing.assert_allclose(found[1], found[0], rtol=1e-10)


# Cells and modules that keep something on themselves


class Keeping(nn.Cell):
    """A user's cell that keeps, at each step, what `keep` says."""

    def __init__(self, keep=lambda x, h: None):
        super().__init__(2, 3)
        self.layer, self.keep, self.cache = nn.Linear(5, 3), keep, None

    def step(self, x, state):
        h = self.layer(ts.cat([x, state.h], -1)).tanh()
        self.cache = self.keep(x, h)
        return h, state._replace(h=h)


class Model(nn.Module):
    """A user's module: what it remembers about scopes is kept by a base class that is not the user's."""

    def __init__(self, cell):
        super().__init__()
        self.rnn = nn.Recurrent(cell)

    def forward(self, x):
        return self.rnn(x)[0].sum()


KEPT = {
    "nothing": lambda x, h: None,
    "a state": lambda x, h: h,
    "a state without its history": lambda x, h: h.detach(),
    "a nested state": lambda x, h: (h, (h, h)),
    "a shape": lambda x, h: x.shape,
    "plain values": lambda x, h: (x.ndim, "rows", (x.shape[0], None)),
}


def halve(modules):
    with ts.no_grad():
        for module in modules:
            for p in module.parameters():
                p.mul_(0.5)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("kept", KEPT)
def test_what_a_cell_keeps_makes_no_capture_at_each_call_and_no_stale_answer(kept, between, whole):
    model = Model(Keeping(KEPT[kept]))
    twin = Model(Keeping())
    twin.load_state_dict(model.state_dict())

    def run(x):
        loss = model(x)
        if whole:
            loss.backward()
        return loss.detach()

    compiled, made, eager_tensors = ts.compile(run), [], 0
    for k in range(12):
        if k == 7:
            halve([model, twin])
        x = ts.tensor(array(2 if k % 3 else 4, 1, 2, seed=k).astype(np.float32))
        model.zero_grad()
        np.testing.assert_allclose(compiled(x).item(), twin(x).item(), rtol=1e-4, atol=1e-6)
        made.append(compiled._captures)
        if between and k in (2, 5):  # an eager call keeps a tensor with values, which might matter
            with ts.no_grad():
                np.testing.assert_allclose(model(ts.zeros(3, 1, 2)).item(), twin(ts.zeros(3, 1, 2)).item(), rtol=1e-4)
            eager_tensors += "state" in kept
    assert made[-1] <= 3 + 2 * eager_tensors, made  # two shapes, and once more for what was None at first
    assert made[-1] == made[-3]


def test_a_cell_that_counts_its_steps_is_told_of_and_right():
    """A changing number may matter, so each value of it is captured; never a stale answer."""

    class Counting(Keeping):
        count = 0

        def step(self, x, state):
            self.count += 1
            return super().step(x * self.count, state)

    model = Model(Counting())
    compiled = ts.compile(model)
    x = ts.tensor(array(2, 1, 2).astype(np.float32))

    def call():
        before = model.rnn.cell.count
        found = compiled(x).item()
        model.rnn.cell.count = before
        np.testing.assert_allclose(found, model(x).item(), rtol=1e-5, atol=1e-6)

    with ts.no_grad():
        for _ in range(8):
            call()
        with pytest.warns(UserWarning, match=r"keeps changing: .*count"):
            call()


def test_a_constant_that_a_capture_made_cannot_be_kept():
    class Lazy(Keeping):
        def step(self, x, state):
            if self.cache is None:
                self.cache = ts.ones(2) * 2
            x = x * self.cache
            h = self.layer(ts.cat([x, state.h], -1)).tanh()
            return h, state._replace(h=h)

    compiled = ts.compile(Model(Lazy()))
    x = ts.tensor(array(2, 1, 2).astype(np.float32))
    compiled(x)
    with pytest.raises(CaptureError, match=r"kept on an attribute.*make constants beforehand, as in __init__"):
        compiled(x)


def test_modules_of_a_user_that_are_scoped_anew_between_calls():
    """A module remembers the states that it ran under: eager calls and other owners change that, not the plan."""
    model = Model(nn.StackedCells([nn.LSTMCell(2, 3), nn.Zoneout(nn.GRUCell(3, 3), 0.0)]))
    compiled, x = ts.compile(model), ts.tensor(array(2, 1, 2).astype(np.float32))
    for k in range(10):
        wanted = model(x).item()
        np.testing.assert_allclose(compiled(x).item(), wanted, rtol=1e-5)
        with ts.no_grad():
            model(ts.zeros(3 + k, 1, 2))
            model.rnn.cell(ts.zeros(1, 2))
    assert compiled._captures == 1
