"""Backpropagation told term by term, what errors say, and that every result has a plot."""

import sys

import numpy as np
import pytest

import tinyseq as ts
from tests.inspected import MODELS, loss_of, recurrent
from tinyseq import inspect, nn
from tinyseq.errors import ArgumentError, GradientError, RenderError


@pytest.fixture(autouse=True)
def _double_precision():
    ts.set_default_dtype(ts.float64)
    ts.manual_seed(0)


@pytest.mark.parametrize("name", MODELS)
def test_every_term_is_confirmed(name):
    model, x = MODELS[name](), ts.randn(4, 2, 3)
    told = inspect.explain_backward(lambda: loss_of(model, x), model)
    assert told.passed, told.text
    assert max(c.error for c in told.checks if c.way == "matrices") < 1e-10
    assert any(c.way == "differences" for c in told.checks)
    assert "FAILED" not in str(told)


def test_the_terms_of_a_loss_at_the_last_step():
    model, x = recurrent("rnn"), ts.randn(5, 1, 3)
    loss = model(x)[0][-1].sum()
    told = inspect.explain_backward(loss, {"W": model.cell.weight_hh})
    found = inspect.gradient_by_step(loss)
    np.testing.assert_allclose(told.arriving, found.norms["h"], rtol=1e-12)
    np.testing.assert_allclose(told.terms["W"][4], inspect.weight_gradient_by_step(loss, model.cell.weight_hh).norms)
    assert not told.terms["W"][np.tril_indices(4)].any()
    assert told.direct[:4].tolist() == [0.0] * 4


def test_a_wrong_gradient_is_found_out():
    class Wrong(ts.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.tanh()

        @staticmethod
        def backward(ctx, g):
            return g * 0.999

    class Cell(nn.Cell):
        def step(self, x, state):
            h = Wrong.apply(x + state.h) * 1.0
            return h, self.State(h)

    x = ts.randn(3, 1, 2).requires_grad_()
    told = inspect.explain_backward(lambda: nn.Recurrent(Cell(2, 2))(x)[0].sum())
    assert not told.passed
    assert "FAILED" in told.text


# Errors and plots


def test_errors_say_what_to_do():
    model, x = recurrent("rnn"), ts.randn(3, 1, 3)
    loss = loss_of(model, x)
    with pytest.raises(ArgumentError, match="time step"):
        inspect.gradient_by_step((ts.randn(3).requires_grad_() ** 2).sum())
    with pytest.raises(ArgumentError, match="leaf"):
        inspect.weight_gradient_by_step(loss, x)
    with pytest.raises(ArgumentError, match="does not depend"):
        inspect.weight_gradient_by_step(loss, ts.randn(3).requires_grad_())
    with pytest.raises(ArgumentError, match="wanted a tensor"):
        inspect.gradient_by_step(3.0)
    with pytest.raises(ArgumentError, match="loop 4"):
        inspect.explain_backward(loss, loop=4)
    with pytest.raises(ArgumentError, match="names"):
        inspect.gates(model, x, names=["q"])
    loss.backward()
    with pytest.raises(GradientError, match="released"):
        inspect.gradient_by_step(loss)


def test_every_result_has_a_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    model, x = recurrent("lstm"), ts.randn(5, 2, 3)
    loss = loss_of(model, x)
    found = inspect.gradient_by_step(loss)
    ax = found.plot()
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), next(iter(found.norms.values())))
    assert found.plot(ax, names=["h"], label="again") is ax
    assert len(ax.get_lines()) == 3
    split = inspect.weight_gradient_by_step(loss, model.cell.weight_hh)
    assert [bar.get_height() for bar in split.plot().patches] == split.norms.tolist()
    shown = inspect.jacobian_norms(loss).plot().get_images()[0].get_array()
    assert shown.shape == (5, 5)
    assert len(inspect.gates(model, x).plot(names=["f", "h"])) == 2
    told = inspect.explain_backward(loss, model)
    assert told.plot(weight="cell.weight_hh").get_images()
    loss.backward()
    clipping = inspect.Clipping(model)
    for _ in range(2):
        with clipping:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        assert clipping.plot() is not None
    pyplot.close("all")


def test_plots_without_matplotlib_say_what_to_install(monkeypatch):
    loss = loss_of(recurrent("rnn"), ts.randn(3, 1, 3))
    found = inspect.gradient_by_step(loss)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(RenderError, match="viz"):
        found.plot()
