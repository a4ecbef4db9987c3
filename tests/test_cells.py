"""The cell protocol: every cell under every wrapper and driver, padding, recordings, and errors of wrong cells."""

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import nodes_of
from tinyseq import nn
from tinyseq.core.dispatch import STATE
from tinyseq.errors import ArgumentError, DTypeError, ShapeError

T, B, H, S, M = 4, 3, 4, 5, 2  # inputs are as wide as states, so that Residual fits everything
LENGTHS = [4, 1, 3]


class UserCell(nn.Cell):
    """A cell as a user writes one: no projection, and a state of two shapes."""

    state_names = ("h", "traces")

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.ih = nn.Linear(input_size, hidden_size)
        self.hh = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size)
        self.decay = nn.Parameter(ts.tensor([[0.5], [0.9]]))

    def initial_state(self, batch_size):
        return self.State(self.zeros(batch_size, self.hidden_size), self.zeros(batch_size, 2, self.hidden_size))

    def step(self, x, state):
        traces = state.traces * self.decay + (1 - self.decay) * state.h.unsqueeze(1)
        z = self.tap(z=self.norm(self.ih(x) + self.hh(state.h)) + traces.sum(1))
        h = z.tanh()
        return h, state._replace(h=h, traces=traces)


CELLS = {
    "user": UserCell,
    "rnn": nn.RNNCell,
    "relu": lambda i, h: nn.RNNCell(i, h, nonlinearity="relu"),
    "lstm": nn.LSTMCell,
    "projected": lambda i, h: nn.LSTMCell(i, h + 2, proj_size=h),
    "clipped": lambda i, h: nn.LSTMCell(i, h, clip=0.8),
    "gru": nn.GRUCell,
    "reset before": nn.ResetBeforeGRUCell,
    "peephole": nn.PeepholeLSTMCell,
    "coupled": nn.CoupledLSTMCell,
    "layer norm": nn.LayerNormLSTMCell,
    "mgu": nn.MGUCell,
    "minimal": nn.MinimalRNNCell,
    "ind": nn.IndRNNCell,
}
WRAPPERS = {
    "bare": lambda make: make(H, H),
    "zoneout": lambda make: nn.Zoneout(make(H, H), 0.3),
    "variational": lambda make: nn.VariationalDropout(make(H, H), 0.2, 0.3, 0.2),
    "residual": lambda make: nn.Residual(make(H, H)),
    "bahdanau": lambda make: nn.Attend(make(H + M, H), M, "bahdanau", attention_size=3),
    "luong": lambda make: nn.Attend(make(H, H), M, "luong"),
}
DRIVERS = {
    "forward": lambda cell: nn.Recurrent(cell()),
    "reversed": lambda cell: nn.Recurrent(cell(), reverse=True),
    "stacked": lambda cell: nn.Recurrent(nn.StackedCells([cell(), cell()])),
    "bidirectional": lambda cell: nn.Bidirectional(cell(), cell()),
}


def leaves(state):
    return [leaf for part in state for leaf in leaves(part)] if isinstance(state, tuple) else [state]


def array(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def randomised(module):
    """Give every parameter random values: zeros and ones would hide mistakes."""
    module.double()
    with ts.no_grad():
        for k, p in enumerate(module.parameters()):
            p.copy_(ts.tensor(array(*p.shape, seed=k) * 0.6))
    return module


VALID = np.array([[t < n for n in LENGTHS] for t in range(T)])


def options(which):
    return {"none": {}, "lengths": {"lengths": ts.tensor(LENGTHS)}, "mask": {"mask": ts.tensor(VALID)}}[which]


def loss_of(rnn, x, memory, how):
    """Return a number that depends on every output and every state, and these."""
    context = {} if memory is None else {"context": nn.Memory(memory, lengths=[5, 2, 4])}
    output, state = rnn(x, **options(how), **context)
    parts = [output, *leaves(state)]
    return sum((part * ts.tensor(array(*part.shape, seed=9))).sum() for part in parts), parts


def seeded_loss(rnn, x, memory, how):
    """Return the number with the same random masks each time."""
    ts.manual_seed(5)
    return loss_of(rnn, x, memory, how)


def run(rnn, x_values, memory_values, how, captured=False):
    """Return outputs and states, the gradients of inputs, memory and parameters, and these tensors."""
    for p in rnn.parameters():
        p.grad = None
    x = ts.tensor(x_values, requires_grad=True)
    memory = None if memory_values is None else ts.tensor(memory_values, requires_grad=True)

    def step(x, memory):
        loss, parts = loss_of(rnn, x, memory, how)
        loss.backward()
        return parts

    ts.manual_seed(5)
    parts = (ts.compile(step, without=("native",)) if captured else step)(x, memory)
    tensors = [x, *([] if memory is None else [memory]), *rnn.parameters()]
    return [p.detach().numpy() for p in parts], [t.grad.numpy().copy() for t in tensors], tensors


def slope(rnn, tensors, directions, memory, how, step=1e-6):
    """Return the derivative of the loss along `directions`, by central differences."""
    values = [t.detach().numpy().copy() for t in tensors]
    found = []
    with ts.no_grad():
        for sign in (1, -1):
            for t, v, d in zip(tensors, values, directions, strict=True):
                t.assign(ts.tensor(v + sign * step * d))
            found.append(seeded_loss(rnn, tensors[0], tensors[1] if memory is not None else None, how)[0].item())
        for t, v in zip(tensors, values, strict=True):
            t.assign(ts.tensor(v))
    return (found[0] - found[1]) / (2 * step)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_wrapper_and_driver(cell, wrapper, driver):
    """Gradients are right; padding, whatever it holds, changes nothing and gets nothing, also when captured."""
    rnn = randomised(DRIVERS[driver](lambda: WRAPPERS[wrapper](CELLS[cell])))
    x = array(T, B, H)
    attends = wrapper in ("bahdanau", "luong")
    memory = array(S, B, M, seed=1) if attends else None
    for how in ("none", "lengths", "mask"):
        parts, grads, tensors = run(rnn, x, memory, how)
        directions = [array(*g.shape, seed=2) for g in grads]
        by_hand = slope(rnn, tensors, directions, memory, how)
        total = sum((g * d).sum() for g, d in zip(grads, directions, strict=True))
        np.testing.assert_allclose(total, by_hand, rtol=1e-6, atol=1e-7)
        if how == "none":
            assert np.isfinite(parts[0]).all()
            continue
        garbage = x.copy()
        garbage[~VALID] = np.array([np.inf, -np.inf, np.nan, 1e300])
        spoiled = None
        if attends:
            spoiled = memory.copy()
            spoiled[2:, 1] = np.nan
            spoiled[4:, 2] = np.inf
        other_parts, other_grads, _ = run(rnn, garbage, spoiled, how)
        for a, b in zip(parts + grads, other_parts + other_grads, strict=True):
            np.testing.assert_array_equal(a, b)
        assert not grads[0][~VALID].any()
        assert not parts[0][~VALID].any()
    again, again_grads, _ = run(rnn, garbage, spoiled, "mask", captured=True)
    for a, b in zip(parts + grads, again + again_grads, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-12)
    assert not again_grads[0][~VALID].any()


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("cell", CELLS)
def test_each_sequence_alone_gives_the_same(cell, driver):
    rnn = randomised(DRIVERS[driver](lambda: CELLS[cell](H, H)))
    x = ts.tensor(array(T, B, H))
    output, state = rnn(x, lengths=LENGTHS)
    for b, n in enumerate(LENGTHS):
        alone, alone_state = rnn(x[:n, b : b + 1])
        np.testing.assert_allclose(alone.detach().numpy()[:, 0], output.detach().numpy()[:n, b], rtol=1e-12, atol=1e-14)
        for one, all_ in zip(leaves(alone_state), leaves(state), strict=True):
            np.testing.assert_allclose(one.detach().numpy()[0], all_.detach().numpy()[b], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_by_hand_is_a_step_of_the_driver(cell):
    made = randomised(CELLS[cell](H, H))
    x = ts.tensor(array(T, B, H))
    output, end = nn.Recurrent(made)(x)
    state = made.initial_state(B)
    for t in range(T):
        one, state = nn.Cell.forward(made, x[t], state)
        np.testing.assert_allclose(one.detach().numpy(), output.detach().numpy()[t], rtol=1e-12, atol=1e-14)
    for a, b in zip(leaves(state), leaves(end), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)


# The equations of the papers, in NumPy


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x, weight, bias=0.0):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def peephole(w, x, h, c):
    i, f, g, o = np.split(x @ w["ih.weight"].T + w["ih.bias"] + h @ w["hh.weight"].T, 4, -1)
    i, f = sigmoid(i + w["peep_i"] * c), sigmoid(f + w["peep_f"] * c)
    new = f * c + i * np.tanh(g)
    return sigmoid(o + w["peep_o"] * new) * np.tanh(new), new


def coupled(w, x, h, c):
    i, g, o = np.split(x @ w["ih.weight"].T + w["ih.bias"] + h @ w["hh.weight"].T, 3, -1)
    new = (1 - sigmoid(i)) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(new), new


def layer_norm(w, x, h, c):
    z = norm(x @ w["ih.weight"].T, w["norm_ih.weight"], w["norm_ih.bias"]) + norm(
        h @ w["hh.weight"].T, w["norm_hh.weight"]
    )
    i, f, g, o = np.split(z, 4, -1)
    new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(norm(new, w["norm_c.weight"], w["norm_c.bias"])), new


def reset_before(w, x, h):
    x_r, x_z, x_n = np.split(x @ w["ih.weight"].T + w["ih.bias"], 3, -1)
    h_r, h_z = np.split(h @ w["gates_hh.weight"].T, 2, -1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + (r * h) @ w["new_hh.weight"].T)
    return ((1 - z) * n + z * h,)


def mgu(w, x, h):
    x_f, x_n = np.split(x @ w["ih.weight"].T + w["ih.bias"], 2, -1)
    f = sigmoid(x_f + h @ w["gate_hh.weight"].T)
    return ((1 - f) * h + f * np.tanh(x_n + (f * h) @ w["new_hh.weight"].T),)


def minimal(w, x, h):
    z = np.tanh(x @ w["encode.weight"].T + w["encode.bias"])
    u = sigmoid(h @ w["hh.weight"].T + z @ w["zh.weight"].T + w["zh.bias"])
    return (u * h + (1 - u) * z,)


def ind(w, x, h):
    return (np.maximum(x @ w["ih.weight"].T + w["ih.bias"] + w["u"] * h, 0),)


EQUATIONS = {
    "peephole": peephole, "coupled": coupled, "layer norm": layer_norm, "reset before": reset_before, "mgu": mgu,
    "minimal": minimal, "ind": ind,
}  # fmt: skip


@pytest.mark.parametrize("cell", EQUATIONS)
def test_cells_follow_their_paper(cell):
    made = randomised(CELLS[cell](3, H))
    weights = {k: v.numpy() for k, v in made.state_dict().items()}
    x = array(T, B, 3)
    output, state = nn.Recurrent(made)(ts.tensor(x))
    held = tuple(np.zeros((B, H)) for _ in made.state_names)
    for t in range(T):
        held = EQUATIONS[cell](weights, x[t], *held)
        np.testing.assert_allclose(output.detach().numpy()[t], held[0], rtol=1e-12, atol=1e-14)
    for a, b in zip(state, held, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["bahdanau", "luong"])
def test_attention_follows_its_paper(kind):
    wrapped = randomised(nn.Attend(nn.GRUCell(H + M, H) if kind == "bahdanau" else nn.GRUCell(H, H), M, kind))
    w = {k: v.numpy() for k, v in wrapped.state_dict().items()}
    x, memory = array(T, B, H), array(S, B, M, seed=1)
    output, _, record = nn.Recurrent(wrapped)(ts.tensor(x), context=ts.tensor(memory), record=True)
    h = np.zeros((B, H))
    for t in range(T):
        out, inputs = None, x[t]
        if kind == "bahdanau":
            hidden = np.tanh(h @ w["query.weight"].T + memory @ w["key.weight"].T + w["key.bias"])
            scores = (hidden @ w["score.weight"].T)[..., 0]
            alpha = np.exp(scores) / np.exp(scores).sum(0)
            inputs = np.concatenate([x[t], (alpha[..., None] * memory).sum(0)], -1)
        h = wrapped.cell(ts.tensor(inputs), ts.tensor(h)).detach().numpy()
        out = h
        if kind == "luong":
            scores = ((memory @ w["key.weight"].T) * h).sum(-1)
            alpha = np.exp(scores) / np.exp(scores).sum(0)
            out = np.tanh(np.concatenate([(alpha[..., None] * memory).sum(0), h], -1) @ w["mix.weight"].T)
        np.testing.assert_allclose(output.detach().numpy()[t], out, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(record["attention"].numpy()[t], alpha.T, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["bahdanau", "luong"])
def test_attention_over_padding_is_attention_over_what_counts(kind):
    wrapped = randomised(nn.Attend(nn.GRUCell(H + M, H) if kind == "bahdanau" else nn.GRUCell(H, H), M, kind))
    rnn, x, memory = nn.Recurrent(wrapped), ts.tensor(array(T, B, H)), ts.tensor(array(S, B, M, seed=1))
    lengths = [5, 0, 2]
    output, _, record = rnn(x, context=nn.Memory(memory, lengths), record=True)
    mask = ts.tensor(np.arange(S)[:, None] < np.array(lengths))
    np.testing.assert_array_equal(
        rnn(x, context=nn.Memory(memory, mask=mask))[0].detach().numpy(), output.detach().numpy()
    )
    assert not record["attention"].numpy()[:, 2, 2:].any()
    for b in (0, 2):
        alone, _ = rnn(x[:, b : b + 1], context=memory[: lengths[b], b : b + 1])
        np.testing.assert_allclose(alone.detach().numpy()[:, 0], output.detach().numpy()[:, b], rtol=1e-12)
    nothing, _ = rnn(x[:, 1:2], context=memory[:1, 1:2] * 0.0)  # an empty memory gives a mean of zero
    np.testing.assert_allclose(nothing.detach().numpy()[:, 0], output.detach().numpy()[:, 1], rtol=1e-12)


# Wrappers


class Passing(nn.Cell):
    """Gives its input and keeps it as the state: shows what a wrapper does to both."""

    def step(self, x, state):
        return state.h, state._replace(h=x)


def test_zoneout():
    ts.manual_seed(0)
    rnn = nn.Recurrent(nn.Zoneout(Passing(50, 50), 0.25))
    x = ts.tensor(np.arange(1.0, 9.0).reshape(8, 1, 1) * np.ones((8, 40, 50)))
    rnn.cell.cell.zeros = lambda *shape: ts.zeros(*shape, dtype="float64")
    _, _, record = rnn(x, record=True)
    states = record["h"].numpy()
    before = np.concatenate([np.zeros((1, 40, 50)), states[:-1]])
    kept = states == before
    assert np.all(kept | (states == x.numpy()))
    assert abs(kept.mean() - 0.25) < 0.01
    assert not np.array_equal(kept[0], kept[1])
    rnn.eval()
    _, _, record = rnn(x, record=True)
    wanted = 0.0
    for t in range(8):
        wanted = 0.25 * wanted + 0.75 * (t + 1)
        np.testing.assert_allclose(record["h"].numpy()[t], wanted)


def test_zoneout_by_name_mixes_outputs_that_are_states():
    lstm = nn.LSTMCell(H, H)
    x = ts.tensor(array(T, B, H).astype(np.float32))
    rnn = nn.Recurrent(nn.Zoneout(lstm, {"h": 1.0}))
    output, state = rnn(x)
    assert not output.detach().numpy().any()
    assert not state.h.detach().numpy().any()
    assert state.c.detach().numpy().any()
    with pytest.raises(ArgumentError, match="the state is h, c"):
        nn.Zoneout(lstm, {"hidden": 0.1})
    deep = nn.Zoneout(nn.StackedCells([nn.LSTMCell(H, H), nn.GRUCell(H, H)]), {"layer0.h": 1.0, "c": 0.5})
    assert deep.chances == [1.0, 0.5, 0.0]


def test_variational_dropout_draws_one_mask_for_each_sequence():
    ts.manual_seed(0)
    rnn = nn.Recurrent(nn.VariationalDropout(Passing(30, 30), input=0.5, output=0.5, state=0.5))
    x = ts.ones(6, 4, 30)
    output, _, record = rnn(x, record=True)
    seen = record["h"].numpy()
    assert set(np.unique(seen)) == {0.0, 2.0}
    assert (seen == seen[:1]).all()
    assert not (seen[0] == seen[0, :1]).all()
    later = output.numpy()[1:]
    assert (later == later[:1]).all()
    assert set(np.unique(later)) == {0.0, 8.0}
    assert not np.array_equal(rnn(x)[0].numpy(), output.numpy())
    rnn.eval()
    np.testing.assert_array_equal(rnn(x)[0].numpy()[1:], x.numpy()[1:])
    with pytest.raises(ArgumentError, match="the state is h"):
        nn.VariationalDropout(Passing(3, 3), state=0.5, names=("c",))


def test_wrappers_compose():
    ts.manual_seed(0)
    inner = nn.StackedCells([nn.Residual(nn.LSTMCell(H, H)), nn.Attend(nn.GRUCell(H + M, H), M)])
    rnn = randomised(nn.Recurrent(nn.VariationalDropout(nn.Zoneout(inner, 0.1), input=0.2, state=0.1)))
    x, memory = array(T, B, H), array(S, B, M, seed=1)
    _, grads, tensors = run(rnn, x, memory, "lengths")
    directions = [array(*g.shape, seed=2) for g in grads]
    total = sum((g * d).sum() for g, d in zip(grads, directions, strict=True))
    np.testing.assert_allclose(total, slope(rnn, tensors, directions, memory, "lengths"), rtol=1e-6)
    output, state, record = rnn(ts.tensor(x), context=ts.tensor(memory), record=True)
    names = {"layer0.i", "layer0.f", "layer0.g", "layer0.o", "layer1.r", "layer1.z", "layer1.n", "layer1.attention"}
    assert set(record) == names | {"layer0.h", "layer0.c", "layer1.h"}
    assert record["layer1.attention"].shape == (T, B, S)
    np.testing.assert_array_equal(record["layer0.c"].numpy()[-1], state.layer0.c.detach().numpy())
    assert "cell.cell.cell.layer0.cell.weight_ih" in rnn.state_dict()
    assert output.shape == (T, B, H)


# Drivers


def test_batch_first_and_merges():
    cells = randomised(nn.ModuleList([nn.GRUCell(H, H), nn.GRUCell(H, H)]))
    x = array(T, B, H)
    parts = [
        nn.Recurrent(c, reverse=r)(ts.tensor(x))[0].detach().numpy() for c, r in zip(cells, (False, True), strict=True)
    ]
    wanted = {"concat": np.concatenate(parts, -1), "sum": sum(parts), "mul": parts[0] * parts[1], "ave": sum(parts) / 2}
    for merge, value in wanted.items():
        both = nn.Bidirectional(*cells, merge=merge, batch_first=True)
        output, state = both(ts.tensor(x.swapaxes(0, 1)))
        np.testing.assert_allclose(output.detach().numpy().swapaxes(0, 1), value, rtol=1e-12)
        assert state._fields == ("forward", "backward")
    again, _ = both(ts.tensor(x.swapaxes(0, 1)), state, mask=ts.tensor(VALID.T))
    assert again.shape == (B, T, H)
    with pytest.raises(ArgumentError, match="merge"):
        nn.Bidirectional(*cells, merge="max")
    with pytest.raises(ShapeError, match="forward, backward"):
        both(ts.tensor(x.swapaxes(0, 1)), ts.zeros(B, H))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_last_output_is_that_at_the_end_of_each_walk(reverse):
    cell = randomised(nn.Residual(nn.LSTMCell(H, H)))
    x = ts.tensor(array(T, B, H))
    every, _ = nn.Recurrent(cell, reverse=reverse)(x, lengths=LENGTHS)
    last, _ = nn.Recurrent(cell, reverse=reverse, return_sequences=False)(x, lengths=LENGTHS)
    wanted = [every.detach().numpy()[0 if reverse else n - 1, b] for b, n in enumerate(LENGTHS)]
    np.testing.assert_array_equal(last.detach().numpy(), wanted)
    whole, _ = nn.Recurrent(cell, reverse=reverse, return_sequences=False)(x)
    every, _ = nn.Recurrent(cell, reverse=reverse)(x)
    np.testing.assert_array_equal(whole.detach().numpy(), every.detach().numpy()[0 if reverse else -1])


def test_an_empty_sequence_keeps_its_state():
    rnn = nn.Recurrent(nn.LSTMCell(H, H))
    start = (ts.ones(B, H), ts.ones(B, H))
    output, state = rnn(ts.ones(T, B, H), start, lengths=[4, 0, 2])
    assert not output.detach().numpy()[:, 1].any()
    assert (state.h.detach().numpy()[1] == 1).all()
    assert not (state.h.detach().numpy()[0] == 1).any()


def test_learned_initial_state():
    rnn = nn.Recurrent(nn.StackedCells([UserCell(H, H), nn.LSTMCell(H, H)]), learn_initial_state=True)
    names = [n for n, _ in rnn.named_parameters(recurse=False)]
    assert names == ["initial_layer0_h", "initial_layer0_traces", "initial_layer1_h", "initial_layer1_c"]
    assert rnn.initial_layer0_traces.shape == (2, H)
    randomised(rnn)
    x = ts.tensor(array(T, B, H))
    output, _ = rnn(x)
    output.sum().backward()
    assert all(p.grad.numpy().any() for p in rnn.parameters(recurse=False))
    given = tuple(p.detach().unsqueeze(0).expand(B, *p.shape) for p in rnn.parameters(recurse=False))
    same, _ = rnn(x, (given[:2], given[2:]))
    np.testing.assert_array_equal(same.detach().numpy(), output.detach().numpy())


def test_stateful_layers_go_on_where_they_stopped():
    rnn = nn.Recurrent(nn.LSTMCell(H, H), stateful=True)
    x = ts.tensor(array(6, B, H).astype(np.float32))
    whole = nn.Recurrent(rnn.cell)(x)[0].detach().numpy()
    first, _ = rnn(x[:2])
    second, state = rnn(x[2:])
    np.testing.assert_allclose(np.concatenate([first.detach().numpy(), second.detach().numpy()]), whole, rtol=1e-6)
    second.sum().backward()  # ends where the second call began
    third, _ = rnn(x[:1])
    third.sum().backward()
    with pytest.raises(ShapeError, match="reset_state"):
        rnn(x[:, :2])
    rnn.reset_state()
    np.testing.assert_allclose(rnn(x[:2])[0].detach().numpy(), whole[:2], rtol=1e-6)
    assert not any(leaf.requires_grad for leaf in nn.detach_state(state))


@pytest.mark.parametrize("reverse", [False, True])
def test_recordings(reverse):
    cell = randomised(nn.LSTMCell(H, H))
    x = ts.tensor(array(T, B, H))
    output, _, record = nn.Recurrent(cell, reverse=reverse)(x, lengths=LENGTHS, record=True)
    assert set(record) == {"i", "f", "g", "o", "h", "c"}
    assert all(v.shape == (T, B, H) and not v.requires_grad for v in record.values())
    np.testing.assert_array_equal(record["h"].numpy()[VALID], output.detach().numpy()[VALID])
    assert not any(v.numpy()[~VALID].any() for v in record.values())
    c = {k: v.numpy() for k, v in record.items()}
    order = range(T - 1, 0, -1) if reverse else range(T - 1)
    for t in order:
        after = t - 1 if reverse else t + 1
        wanted = c["f"][after] * c["c"][t] + c["i"][after] * c["g"][after]
        np.testing.assert_allclose(c["c"][after][VALID[after]], wanted[VALID[after]], rtol=1e-12)
    _, _, both = nn.Bidirectional(cell, nn.GRUCell(H, H).double())(x, record=True)
    assert {"forward.i", "backward.z", "backward.h"} <= set(both)


def test_nodes_carry_path_time_step_and_tapped_names():
    model = nn.Sequential(nn.Recurrent(nn.StackedCells([UserCell(H, H), nn.Zoneout(nn.GRUCell(H, H), 0.5)])))
    output, _ = model[0](ts.zeros(3, B, H))
    found = nodes_of(output)
    scopes = {(n.scope.path, n.scope.step) for n in found if n.label == "linear"}
    stack = "0.cell.layer"
    assert {s for s in scopes if s[0].startswith(stack + "0")} == {
        (f"{stack}0.{k}", t) for k in ("ih", "hh") for t in range(3)
    } - {(f"{stack}0.hh", 0)} | {(f"{stack}0.hh", 0)}
    assert {(f"{stack}1.cell", t) for t in range(3)} <= scopes
    named = {(n.scope.path, n.name, n.scope.step) for n in found if hasattr(n, "name")}
    assert {(f"{stack}0", "z", 1), (f"{stack}1.cell", "r", 2)} <= named
    assert STATE.get().scope.path == ""


# Wrong cells and wrong calls


class Broken(nn.Cell):
    state_names = ("h", "c")

    def __init__(self, step):
        super().__init__(H, H)
        self.broken = step

    def step(self, x, state):
        return self.broken(x, state)


X = ts.zeros(T, B, H)
BROKEN = {
    "a single value": (lambda x, s: x, DTypeError, "pair"),
    "a state alone": (lambda x, s: s, DTypeError, "pair"),
    "too few parts": (lambda x, s: (x, (x,)), ShapeError, r"at time step 0, returned state"),
    "a bare tensor": (lambda x, s: (x, x), ShapeError, r"wanted \(h: \[3, 4\], c: \[3, 4\]\)"),
    "a wrong shape": (lambda x, s: (x, s._replace(c=ts.zeros(B, H + 1))), ShapeError, r"c: \[3, 5\]"),
    "a wrong batch": (lambda x, s: (x, s._replace(c=ts.zeros(1, H))), ShapeError, r"c: \[1, 4\]"),
    "time for batch": (lambda x, s: (x.t(), s), ShapeError, "mix up time and batch"),
    "an output that is no tensor": (lambda x, s: (None, s), DTypeError, r"NoneType, wanted a tensor \(3, ...\)"),
    "the state first": (lambda x, s: (s, x), ShapeError, r"wanted \(h: \[3, 4\], c: \[3, 4\]\)"),
    "a dictionary as output": (lambda x, s: ({"h": x}, s), DTypeError, r"output dict, .*\(output, state\)"),
    "a part that is not there": (lambda x, s: (x, s._replace(m=x)), ValueError, "'m'"),
    "no part of the state": (lambda x, s: (s.m, s), AttributeError, "'m'"),
    "a state of arrays": (lambda x, s: (x, s._replace(c=np.zeros((B, H)))), ShapeError, "c: ndarray"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_cells_that_return(what):
    step, error, words = BROKEN[what]
    with pytest.raises(error, match=words) as caught:
        nn.Recurrent(Broken(step))(X)
    told = "at time step 0 of Broken; x: [3, 4], state: (h: [3, 4], c: [3, 4])"
    assert told in caught.value.__notes__
    assert STATE.get().scope.path == ""


def test_plain_tuples_are_states_too():
    rnn = nn.Recurrent(Broken(lambda x, s: (x, (s[0] + x, s[1]))))
    _, state = rnn(ts.ones(T, B, H), [ts.zeros(B, H), ts.zeros(B, H)])
    assert (state.h.numpy() == T).all()


class BadStart(nn.GRUCell):
    def __init__(self, start):
        super().__init__(H, H)
        self.start = start

    def initial_state(self, batch_size):
        return self.start


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.Recurrent(nn.Cell(3, 4)), ArgumentError, "no step"),
        (lambda: nn.Zoneout(nn.Cell(3, 4)), ArgumentError, "no step"),
        (lambda: nn.Recurrent(nn.Linear(3, 4)), DTypeError, "wanted an nn.Cell"),
        (lambda: nn.StackedCells([]), ArgumentError, "at least one"),
        (lambda: nn.GRUCell(3, -1), ArgumentError, "hidden_size"),
        (lambda: nn.GRUCell(3, 4, clip=0.0), ArgumentError, "GRUCell: got clip 0.0, wanted a positive bound"),
        (lambda: nn.Zoneout(nn.GRUCell(3, 4), 1.5), ArgumentError, "probability"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(ts.zeros(T)), ShapeError, r"\(T, B, ...\)"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H), batch_first=True)(ts.zeros(B, 0, H)), ShapeError, "time step"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(np.zeros((T, B, H))), DTypeError, "wanted a tensor"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(X, lengths=[4, 5, 1]), ArgumentError, "from 1 to 5, wanted 0 to 4"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(X, lengths=[4, -1, 1]), ArgumentError, "from -1"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(X, lengths=[4, 1]), ShapeError, r"wanted \[3\]"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(X, lengths=ts.zeros(3)), DTypeError, "integers"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(X, mask=ts.zeros(T, B)), DTypeError, "bool"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(X, mask=ts.zeros(B, T) > 0), ShapeError, r"wanted \[4, 3\]"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(X, ts.zeros(T, H)), ShapeError, "batch of 3"),
        (lambda: nn.Recurrent(nn.LSTMCell(H, H))(X, ts.zeros(B, H)), ShapeError, r"\(h: \[3, 4\], c: \[3, 4\]\)"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(X, context=X), ArgumentError, "takes none"),
        (lambda: nn.Recurrent(BadStart(ts.zeros(1, H)))(X), ShapeError, r"initial_state.*wanted \(3, ...\)"),
        (lambda: nn.Recurrent(BadStart((X, X)))(X), ShapeError, "initial_state"),
        (lambda: nn.Recurrent(nn.GRUCell(H + 1, H))(X), ShapeError, "linear"),
        (lambda: nn.Recurrent(nn.Residual(nn.GRUCell(H, H + 1)))(X), ShapeError, "Residual"),
        (lambda: nn.Recurrent(nn.Attend(nn.GRUCell(H + M, H), M))(X), ArgumentError, "no memory"),
        (lambda: nn.Recurrent(nn.Attend(nn.GRUCell(H + M, H), M))(X, context=X), ShapeError, r"\(S, B, M\)"),
        (lambda: nn.Attend(nn.GRUCell(H, H), M, "dot"), ArgumentError, "bahdanau"),
        (lambda: nn.Attend(nn.GRUCell(M, H), M), ArgumentError, "must count"),
    ],
)
def test_wrong_calls(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("hidden", r"Named: got state_names 'hidden', wanted a tuple of names, as \('hidden',\)"),
        (("h", "h"), "duplicate"),
        (("h t",), "identifiers"),
        (("_h",), "underscore"),
    ],
)
def test_names_of_the_state_that_cannot_be(names, words):
    with pytest.raises(ArgumentError, match=words):
        type("Named", (nn.Cell,), {"state_names": names})


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda self, x: x, r"Wrong.step: takes \(self, x\), wanted \(self, x, state\) or"),
        (lambda self, x, state, context, more: x, "context, more"),
        (lambda self, x, *, state: x, "wanted"),
    ],
)
def test_steps_that_cannot_be_called(step, words):
    with pytest.raises(ArgumentError, match=words):
        type("Wrong", (nn.Cell,), {"step": step})


def test_more_parameters_of_a_step_are_no_context():
    class Scaled(nn.GRUCell):
        def step(self, x, state, *, scale=2.0):
            return super().step(x * scale, state)

    assert not Scaled(H, H).accepts_context
    assert nn.Recurrent(Scaled(H, H))(X)[0].shape == (T, B, H)


class Looking(nn.Cell):
    """Must have a context."""

    def step(self, x, state, context):
        return x + context, state


class Unsized(nn.Cell):
    """Does not call its base."""

    def __init__(self):
        self.layer = nn.Linear(H, H)

    def step(self, x, state):
        return x, state


class Shrinking(nn.Cell):
    """Loses a sequence on its way."""

    def step(self, x, state):
        return x, state if STATE.get().scope.step < 2 else state._replace(h=state.h[:1])


class Projecting(nn.Cell):
    """Makes something else of the inputs than one for each time step."""

    def project(self, x):
        return x[0]

    def step(self, x, state):
        return x, state


class Tapping(nn.Cell):
    """Names what is no tensor."""

    def step(self, x, state):
        return self.tap(number=1.0) * x, state


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.Recurrent(Looking(H, H))(X), ArgumentError, "Looking: its step wants a context"),
        (lambda: nn.Recurrent(nn.Zoneout(Looking(H, H)))(X), ArgumentError, "Looking: its step wants a context"),
        (lambda: nn.Recurrent(Unsized()), ArgumentError, r"Unsized has no sizes; .*super\(\).__init__"),
        (lambda: nn.Recurrent(nn.GRUCell), DTypeError, r"got the class GRUCell, .*GRUCell\(...\)"),
        (lambda: nn.Recurrent(Shrinking(H, H))(X), ShapeError, r"Shrinking.step at some .*h: \[1, 4\]"),
        (lambda: nn.Recurrent(Projecting(H, H))(X), ShapeError, r"Projecting.project: returned \[3, 4\] for 4 time"),
        (lambda: nn.Recurrent(Tapping(H, H))(X), DTypeError, "Tapping.tap: got float as number"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(ts.zeros(T, H)), ShapeError, r"without a batch; .*x.unsqueeze\(1\)"),
        (lambda: nn.StackedCells(nn.GRUCell(H, H)), DTypeError, "wanted a list of cells"),
        (
            lambda: nn.StackedCells([nn.GRUCell(H, 7), nn.LSTMCell(H, H)]),
            ArgumentError,
            r"layer0 \(GRUCell\) have size 7, but layer1 \(LSTMCell\) takes inputs of size 4",
        ),
        (lambda: UserCell(H, H)(X[0], ts.zeros(B, H)), ShapeError, r"UserCell for a batch of 3: got a state \[3, 4\]"),
        (lambda: nn.Recurrent(nn.GRUCell(H, H))(X, [np.zeros((B, H))]), ShapeError, r"got a state \(ndarray\)"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_an_error_in_an_initial_state_says_where():
    class Lacking(nn.LSTMCell):
        def initial_state(self, batch_size):
            return self.State(self.zeros(batch_size, self.hidden_size))

    with pytest.raises(TypeError) as caught:
        nn.Recurrent(Lacking(H, H))(X)
    assert caught.value.__notes__ == ["in Lacking.initial_state(batch_size=3); the state is ('h', 'c')"]


def test_a_missing_step_is_named():
    with pytest.raises(NotImplementedError, match="define step"):
        nn.Cell(3, 4)(ts.zeros(2, 3))


def test_values_tapped_at_some_steps_only_cannot_be_recorded():
    class Sometimes(nn.GRUCell):
        def step(self, x, state):
            if STATE.get().scope.step == 1:
                self.tap(odd=x)
            return super().step(x, state)

    with pytest.raises(ArgumentError, match="'odd' was tapped at 1 of 4 steps"):
        nn.Recurrent(Sometimes(H, H))(X, record=True)
