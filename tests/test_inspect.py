"""tinyseq.inspect against `.grad`, finite differences, products written out by hand, and recordings."""

import itertools

import numpy as np
import pytest

import tinyseq as ts
from tests.inspected import CELLS, MODELS, loss_of, recurrent
from tinyseq import inspect, nn
from tinyseq.autograd import engine
from tinyseq.errors import ArgumentError


@pytest.fixture(autouse=True)
def _double_precision():
    ts.set_default_dtype(ts.float64)
    ts.manual_seed(0)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [{}, {"lengths": [5, 2]}], ids=["whole", "lengths"])
def test_parts_of_every_weight_sum_to_its_gradient(name, options):
    model, x = MODELS[name](), ts.randn(5, 2, 3)
    loss = loss_of(model, x, **options)
    splits = {n: inspect.weight_gradient_by_step(loss, w) for n, w in model.named_parameters()}
    loss.backward()
    for n, w in model.named_parameters():
        assert np.abs(splits[n].total - w.grad.numpy()).max() < 1e-12 * max(1, np.abs(w.grad.numpy()).max()), n
        assert splits[n].parts.shape == (5, *w.shape)
        if "initial" not in n:
            assert not splits[n].outside.any()  # also that of a projection made for all steps at once


@pytest.mark.parametrize("weight", ["weight_ih", "weight_hh", "bias_ih"])
def test_the_part_of_a_step_is_the_gradient_of_the_copy_used_there(weight):
    # Each step gets a copy of the weights of its own; their gradients are the parts
    cell, x = nn.LSTMCell(2, 3), ts.randn(4, 2, 2)
    split = inspect.weight_gradient_by_step(loss_of(nn.Recurrent(cell), x), vars(cell)[weight])
    copies = []
    for _ in range(4):
        copy = nn.LSTMCell(2, 3)
        copy.load_state_dict(cell.state_dict())
        copies.append(copy)
    state, total = None, 0.0
    for x_t, copy in zip(x, copies, strict=True):
        state = copy(x_t, state)
        total = total + (state[0] ** 2).sum()
    total.backward()
    for part, norm, copy in zip(split.parts, split.norms, copies, strict=True):
        expected = vars(copy)[weight].grad.numpy()
        np.testing.assert_allclose(part, expected, rtol=1e-10, atol=1e-14)
        assert norm == pytest.approx(np.linalg.norm(expected))


def test_a_weight_used_inside_and_outside_of_the_loop():
    w = nn.Parameter(ts.randn(3, 3))

    class Tied(nn.Cell):
        def step(self, x, state):
            h = (x @ w + state.h @ w).tanh()
            return h, self.State(h)

    output, _ = nn.Recurrent(Tied(3, 3))(ts.randn(4, 2, 3) @ w)  # before the loop, in it, and after it
    loss = (output @ w).sum()
    split = inspect.weight_gradient_by_step(loss, w)
    loss.backward()
    assert split.outside.any()
    np.testing.assert_allclose(split.total, w.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_states_are_those_that_retain_grad_keeps(name):
    model, x = MODELS[name](), ts.randn(5, 2, 3)
    loss = loss_of(model, x)
    found = inspect.gradient_by_step(loss)
    expected = {}
    for node in engine.reachable([loss.node]):
        if getattr(node, "name", None) in ("h", "c"):

            def keep(g, node=node):
                expected.setdefault((node.scope.step, g.numpy().tobytes()), 0)

            engine.add_hook(node, keep)
    loss.backward()
    got = {(t, g.tobytes()) for values in found.gradients.values() for t, g in zip(found.steps, values, strict=True)}
    assert got == set(expected)
    for label, values in found.gradients.items():
        np.testing.assert_allclose(found.norms[label], np.sqrt((values**2).sum((1, 2))), rtol=1e-12)


def test_nothing_is_changed_by_looking():
    model, x = recurrent("lstm"), ts.randn(4, 2, 3)
    loss = loss_of(model, x)
    fired = []
    loss.register_hook(lambda g: fired.append(g))
    inspect.gradient_by_step(loss)
    inspect.jacobian_norms(loss)
    inspect.weight_gradient_by_step(loss, model.cell.weight_hh)
    inspect.explain_backward(loss)
    assert not fired
    assert all(p.grad is None for p in model.parameters())
    assert ts.is_grad_enabled()
    loss.backward()
    assert len(fired) == 1


def test_a_cut_shows_as_unknown_and_not_as_zero():
    model, x = recurrent("lstm"), ts.randn(6, 1, 3)
    _, state = model(x[:3])
    output, _ = model(x[3:], nn.detach_state(state))
    found = inspect.gradient_by_step(output.sum())
    assert found.steps.tolist() == [0, 1, 2]  # nothing leads before the cut
    joined, _ = model(x[3:], model(x[:3])[1])
    both = inspect.gradient_by_step(joined.sum())
    assert list(both.norms) == [
        "cell.c (loop 1 of 2)",
        "cell.h (loop 1 of 2)",
        "cell.c (loop 2 of 2)",
        "cell.h (loop 2 of 2)",
    ]
    np.testing.assert_array_equal(both.gradients["cell.h (loop 2 of 2)"], found.gradients["h"])


def test_taps_by_name():
    loss = loss_of(recurrent("lstm"), ts.randn(4, 2, 3))
    assert list(inspect.gradient_by_step(loss, names=["f", "o"]).norms) == ["f", "o"]
    assert set(inspect.gradient_by_step(loss).norms) == {"c", "h"}
    with pytest.raises(ArgumentError, match=r"there is no 'q' on the tape; got .*'f'"):
        inspect.gradient_by_step(loss, names=["q"])


# Jacobian matrices


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "peephole", "layer norm"])
def test_jacobian_norms_match_finite_differences(name):
    cell, x, eps = CELLS[name](2, 3), ts.randn(5, 2, 2), 1e-6
    found = inspect.jacobian_norms(nn.Recurrent(cell)(x)[0])
    with ts.no_grad():
        projected, states = cell.project(x), [cell.initial_state(2)]
        for x_t in projected:
            states.append(cell.step(x_t, states[-1])[1])
        states = [{n: getattr(s, n).numpy() for n in s._fields} for s in states[1:]]
        for k, t in itertools.combinations_with_replacement(range(5), 2):
            matrices = np.empty((2, 3, 3))
            for j in range(3):
                ends = []
                for change in (eps, -eps):
                    start = {n: v.copy() for n, v in states[k].items()}
                    start["h"][:, j] += change
                    state = cell.State(**{n: ts.tensor(v) for n, v in start.items()})
                    for x_t in projected[k + 1 : t + 1]:
                        state = cell.step(x_t, state)[1]
                    ends.append(state.h.numpy())
                matrices[:, :, j] = (ends[0] - ends[1]) / (2 * eps)
            expected = np.linalg.norm(matrices, 2, axis=(1, 2)).mean()
            assert found.norms[t, k] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert np.isnan(found.norms[np.triu_indices(5, 1)]).all()


def test_jacobian_norms_of_rows_orders_and_layers():
    model, x = nn.LSTM(2, 3, num_layers=2), ts.randn(4, 1, 2)
    output, _ = model(x)
    with pytest.raises(ArgumentError, match=r"'l0\.h'.*'l1\.h'"):
        inspect.jacobian_norms(output)
    whole = inspect.jacobian_norms(output, "l1.c", order="fro")
    row = inspect.jacobian_norms(output, "l1.c", order="fro", rows=[2])
    np.testing.assert_array_equal(row.norms[2], whole.norms[2])
    assert np.isnan(row.norms[3]).all()
    assert whole.norms[1, 1] == pytest.approx(3**0.5)


def test_a_plain_rnn_has_the_jacobians_of_the_textbook():
    cell, x = nn.RNNCell(2, 3), ts.randn(5, 1, 2)
    output, _ = nn.Recurrent(cell)(x)
    h, w = output.detach().numpy(), cell.weight_hh.detach().numpy()
    matrix = np.eye(3)
    for t in range(2, 5):
        matrix = np.diag(1 - h[t, 0] ** 2) @ w @ matrix
        assert inspect.jacobian_norms(output).norms[t, 1] == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-12)


class SkippingCell(nn.Cell):
    """Reads the state of two steps ago by way of a list: no chain of states."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.far = nn.Linear(hidden_size, hidden_size)
        self.seen = []

    def step(self, x, state):
        h = (x + 0.5 * state.h).tanh()
        if len(self.seen) > 1:
            h = h + self.far(self.seen[-2])
        self.seen.append(h)
        return h, self.State(h)


def test_jacobian_norms_where_states_do_not_tell_all():
    cell, x = SkippingCell(3, 3), ts.randn(4, 1, 3, requires_grad=True)
    output, _ = nn.Recurrent(cell)(x)
    found = inspect.jacobian_norms(output, order="fro")
    (h0, *_, h2, h3) = cell.seen
    rows = [ts.autograd.grad(h3[0, j], [h0, h2], retain_graph=True) for j in range(3)]
    expected = [np.linalg.norm(np.concatenate([row[i].numpy() for row in rows])) for i in range(2)]
    np.testing.assert_allclose(found.norms[3, [0, 2]], expected, rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_products_of_single_steps_are_the_jacobians_of_whole_walks(name, monkeypatch):
    output, _ = MODELS[name]()(ts.randn(5, 2, 3))
    labels = [label for label in inspect.gradient_by_step(output.sum()).norms if "loop" not in label]
    chained = [inspect.jacobian_norms(output, label).norms for label in labels]
    monkeypatch.setattr("tinyseq.inspect.jacobians.is_chain", lambda loop, output: False)
    walked = [inspect.jacobian_norms(output, label).norms for label in labels]
    np.testing.assert_allclose(chained, walked, rtol=1e-9, atol=1e-14)


# What vanishes and what does not


def test_the_gradient_vanishes_in_an_rnn_and_not_in_an_lstm():
    steps, x = 60, ts.randn(60, 4, 8)
    first = {}
    for kind, cell in (("rnn", nn.RNNCell(8, 16)), ("lstm", nn.LSTMCell(8, 16))):
        with ts.no_grad():
            if kind == "lstm":
                cell.bias_ih[16:32] = 3.0  # the forget gate starts open: Gers et al. 2000
        output, _ = nn.Recurrent(cell)(x)
        norms = inspect.gradient_by_step(output[-1].sum()).norms["h" if kind == "rnn" else "c"]
        assert len(norms) == steps
        first[kind] = norms[0] / norms[-1]
    assert first["rnn"] < 1e-9
    assert first["lstm"] > 1e-3


# Recordings


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "peephole", "stack"])
def test_gates_are_those_that_the_driver_records(name):
    model, x = recurrent(name), ts.randn(5, 2, 3)
    _, _, expected = model(x, record=True)
    found = inspect.gates(model, x)
    short = {n.rpartition(".")[2] for n in expected}
    assert {n.rpartition(".")[2] for n in found.values} == short
    by_bytes = {v.numpy().tobytes() for v in expected.values()}
    assert {v.tobytes() for v in found.values.values()} == by_bytes


def test_gates_of_an_lstm_by_hand():
    model, x = nn.LSTM(2, 3), ts.randn(4, 1, 2)
    found = inspect.gates(model, x)
    w_ih, w_hh, b_ih, b_hh = (p.detach().numpy() for p in model.parameters())
    h, c = np.zeros((1, 3)), np.zeros((1, 3))
    for t, x_t in enumerate(x.numpy()):
        i, f, g, o = np.split(x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
        i, f, g, o = 1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), np.tanh(g), 1 / (1 + np.exp(-o))
        c = f * c + i * g
        h = o * np.tanh(c)
        for name, value in {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h}.items():
            np.testing.assert_allclose(found[name][t], value, rtol=1e-12)
    assert list(inspect.gates(model, x, names=["f"]).values) == ["f"]


def test_gates_of_both_directions_stand_at_their_steps():
    model, x = nn.LSTM(2, 3, bidirectional=True), ts.randn(4, 1, 2)
    found = inspect.gates(model, x)
    output = model(x)[0].detach().numpy()
    np.testing.assert_allclose(found["l0.h"], output[..., :3])
    np.testing.assert_allclose(found["l0_reverse.h"], output[..., 3:])


# Clipping


def test_norms_before_and_after_clipping():
    model, x = recurrent("lstm"), ts.randn(4, 2, 3)
    clipping = inspect.Clipping(model)
    for limit in (1e9, 0.5):
        model.zero_grad()
        loss_of(model, x).backward()
        with clipping:
            total = nn.utils.clip_grad_norm_(model.parameters(), limit).item()
    np.testing.assert_allclose(clipping.total_before, [total, total])
    np.testing.assert_allclose(clipping.total_after, [total, 0.5], rtol=1e-5)
    expected = [np.linalg.norm(p.grad.numpy()) for p in model.parameters()]
    np.testing.assert_allclose(clipping.after[1], expected)
    assert clipping.names == tuple(n for n, _ in model.named_parameters())


def test_results_are_shown_in_a_line_each():
    rnn, x = nn.Recurrent(nn.LSTMCell(2, 3)), ts.randn(12, 2, 2)
    output, _ = rnn(x)
    loss = output.sum()
    found = inspect.gradient_by_step(loss)
    first, last = found.norms["h"][[0, -1]]
    shown = repr(found)
    assert shown.startswith("<StateGradients: 12 time steps, |dL/dc| [")
    assert "\n" not in shown
    assert f"|dL/dh| [{first:.3g}, " in shown
    assert shown.endswith(f", {last:.3g}]>")
    assert "12 time steps, norms [" in repr(inspect.weight_gradient_by_step(loss, rnn.cell.weight_hh))
    assert repr(inspect.jacobian_norms(output)) == "<JacobianNorms: h, 12 time steps, norms [12, 12]>"
    assert "12 time steps, i [12, 2, 3], f [12, 2, 3]" in repr(inspect.gates(rnn, x))
