"""Truncated backpropagation through time: which losses reach back how far, in pieces of a long sequence."""

import itertools

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import nn, optim
from tinyseq.errors import ArgumentError, DTypeError, GradientError, ShapeError

T, B, D, H = 11, 2, 3, 4
REACHES = [
    (3, 3),
    (3, 6),
    (3, 4),
    (3, 5),
    (2, 7),
    (1, 4),
    (4, 2),
    (4, 1),
    (5, 3),
    (11, 11),
    (11, 20),
    (20, 20),
    (4, 50),
]


def array(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def model():
    """Return a recurrent layer and a readout in float64, with random weights."""
    made = nn.ModuleList([nn.Recurrent(nn.RNNCell(D, H)), nn.Linear(H, 1)]).double()
    with ts.no_grad():
        for k, p in enumerate(made.parameters()):
            p.copy_(ts.tensor(array(*p.shape, seed=k) * 0.6))
    return made


X, Y = array(T, B, D), array(T, B, 1, seed=1)


def gradients(modules):
    found = {n: p.grad.numpy().copy() for n, p in modules.named_parameters() if p.grad is not None}
    modules.zero_grad()
    return found


@pytest.mark.parametrize(("k1", "k2"), REACHES)
def test_gradients_are_those_of_the_weights_used_in_the_last_k2_steps(k1, k2):
    """In torch, with weights of its own for each time step: the sum of their gradients from the cut on."""
    torch = pytest.importorskip("torch")
    rnn, head = made = model()
    own = {n: p.numpy() for n, p in made.state_dict().items()}
    weights = [{n: torch.tensor(v, requires_grad=True) for n, v in own.items()} for _ in range(T)]
    h, losses = torch.zeros(B, H, dtype=torch.float64), []
    for w, x, y in zip(weights, torch.tensor(X), torch.tensor(Y), strict=True):
        z = x @ w["0.cell.weight_ih"].T + h @ w["0.cell.weight_hh"].T + w["0.cell.bias_ih"] + w["0.cell.bias_hh"]
        h = torch.tanh(z)
        losses.append(((h @ w["1.weight"].T + w["1.bias"] - y) ** 2).sum())
    done = []
    for steps, output, state in nn.truncated_bptt(rnn, ts.tensor(X), k1=k1, k2=k2):
        ((head(output) - ts.tensor(Y[steps])) ** 2).sum().backward()
        mine = gradients(made)
        done += range(T)[steps]
        cut = max(0, steps.start - (k2 - k1)) if k2 >= k1 else max(steps.start, steps.stop - k2)
        for name, found in mine.items():
            first = steps.start if name.startswith("1.") else cut
            used = [weights[t][name] for t in range(first, steps.stop)]
            parts = torch.autograd.grad(sum(losses[steps]), used, retain_graph=True, allow_unused=True)
            np.testing.assert_allclose(found, sum(p.numpy() for p in parts), rtol=1e-10, atol=1e-12, err_msg=name)
        assert not state.h.requires_grad
    assert done == list(range(T))
    np.testing.assert_allclose(state.h.numpy(), h.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("lstm", [False, True])
def test_one_piece_is_the_whole_of_it(lstm):
    layer = (nn.LSTM if lstm else lambda d, h: nn.Recurrent(nn.GRUCell(d, h)))(D, H).double()
    x, start = ts.tensor(X), (ts.tensor(array(1, B, H), requires_grad=True), ts.tensor(array(1, B, H, seed=3)))
    start = start if lstm else ts.tensor(array(B, H), requires_grad=True)
    ((steps, output, _),) = nn.truncated_bptt(layer, x, k1=T, state=start)
    assert range(T)[steps] == range(T)
    (output**2).sum().backward()
    mine = gradients(layer)
    (layer(x, start)[0] ** 2).sum().backward()
    for name, found in gradients(layer).items():
        np.testing.assert_array_equal(mine[name], found)


@pytest.mark.parametrize(("k1", "k2"), REACHES)
def test_training_goes_through_the_steps_before_with_the_weights_of_now(k1, k2):
    """Against a loop in torch that keeps the latest state of every time step, and detaches it at the cuts."""
    torch = pytest.importorskip("torch")
    rnn, head = made = model()
    theirs = torch.nn.ModuleList([torch.nn.RNNCell(D, H), torch.nn.Linear(H, 1)]).double()
    theirs.load_state_dict({n.replace(".cell", ""): torch.tensor(p.numpy()) for n, p in made.state_dict().items()})
    cell, readout = theirs
    mine, other = optim.SGD(made.parameters(), lr=0.05), torch.optim.SGD(theirs.parameters(), lr=0.05)
    losses, wanted, states = [], [], {0: torch.zeros(B, H, dtype=torch.float64)}
    for stop in [*range(k1, T, k1), T]:
        first = (stop - 1) // k1 * k1
        start = max(0, first - (k2 - k1)) if k2 >= k1 else max(first, stop - k2)
        h, outputs = states[min(start, first)], {}
        for t in range(min(start, first), stop):
            h = cell(torch.tensor(X[t]), h.detach() if t <= start else h)
            outputs[t] = h.detach() if t < start else h
            states[t + 1] = h.detach()
        predicted = readout(torch.stack([outputs[t] for t in range(first, stop)]))
        loss = ((predicted - torch.tensor(Y[first:stop])) ** 2).mean()
        other.zero_grad()
        loss.backward()
        other.step()
        wanted.append(loss.item())
    for steps, output, _ in nn.truncated_bptt(rnn, ts.tensor(X), k1=k1, k2=k2):
        loss = ((head(output) - ts.tensor(Y[steps])) ** 2).mean()
        mine.zero_grad()
        loss.backward()
        mine.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, wanted, rtol=1e-10)
    for a, b in zip(made.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-12)


def leaves(state):
    return [leaf for part in state for leaf in leaves(part)] if isinstance(state, tuple) else [state]


def stack():
    return nn.StackedCells([nn.LSTMCell(D, H), nn.Zoneout(nn.GRUCell(H, H), 0.0)]).double()


def by_hand(cell):
    """Return a function with a user's own loop over time."""

    def run(x, state, mask=None):
        state = cell.initial_state(B) if state is None else state
        outputs = []
        for t in range(x.shape[0]):
            output, state = nn.Cell.forward(cell, x[t], state)
            outputs.append(output)
        return ts.stack(outputs), state

    return run


@pytest.mark.parametrize(("k1", "k2"), [(3, 3), (3, 7), (4, 2)])
def test_functions_nested_states_and_batches_first(k1, k2):
    cell = stack()
    runs = [(nn.Recurrent(cell), {}), (by_hand(cell), {}), (nn.Recurrent(cell, batch_first=True), {})]
    found = []
    for run, options in runs:
        first = getattr(run, "batch_first", False)
        x = ts.tensor(X.swapaxes(0, 1) if first else X)
        pieces = []
        for steps, output, state in nn.truncated_bptt(run, x, k1=k1, k2=k2, **options):
            output = output.transpose(0, 1) if first else output
            assert output.shape == (steps.stop - steps.start, B, H)
            (output**2).sum().backward()
            pieces += [output.detach().numpy(), *(leaf.numpy() for leaf in leaves(state))]
            pieces += gradients(cell).values()
        found.append(pieces)
    whole, end = nn.Recurrent(cell)(ts.tensor(X))
    np.testing.assert_allclose(output.detach().numpy(), whole.detach().numpy()[steps], rtol=1e-12)
    for a, b in zip(leaves(state), leaves(end), strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths_and_masks(kind, batch_first):
    """Padding changes nothing: neither outputs nor gradients, also where a piece lies behind a sequence's end."""
    layer = kind(D, H, batch_first=batch_first).double()
    lengths = [T, 4]
    valid = np.arange(T)[:, None] < np.array(lengths)

    def run(x, **which):
        x = ts.tensor(x.swapaxes(0, 1) if batch_first else x)
        found = []
        for _, output, _ in nn.truncated_bptt(layer, x, k1=3, k2=5, **which):
            (output**2).sum().backward()
            found += [output.detach().numpy(), *gradients(layer).values()]
        return found

    spoiled = X.copy()
    spoiled[~valid] = np.nan
    wanted = run(X, lengths=lengths)
    for other in (
        run(spoiled, lengths=ts.tensor(lengths)),
        run(spoiled, mask=ts.tensor(valid.T if batch_first else valid)),
    ):
        for a, b in zip(wanted, other, strict=True):
            np.testing.assert_array_equal(a, b)
    alone = []  # the sequences one by one, without padding
    for b, n in enumerate(lengths):
        x = ts.tensor(X[:n, b : b + 1].swapaxes(0, 1) if batch_first else X[:n, b : b + 1])
        total = {}
        for steps, output, _ in nn.truncated_bptt(layer, x, k1=3, k2=5):
            (output**2).sum().backward()
            total[steps.start] = list(gradients(layer).values())
        alone.append(total)
    per_piece = len(list(layer.parameters())) + 1
    for k, start in enumerate(range(0, T, 3)):
        grads = wanted[k * per_piece + 1 : (k + 1) * per_piece]
        for i, grad in enumerate(grads):
            np.testing.assert_allclose(grad, sum(a[start][i] for a in alone if start in a), rtol=1e-9, atol=1e-12)


def test_a_context_goes_to_every_piece():
    rnn = nn.Recurrent(nn.Attend(nn.GRUCell(D + 2, H), memory_size=2)).double()
    memory = nn.Memory(ts.tensor(array(5, B, 2)), lengths=[5, 3])
    outputs = [o.detach().numpy() for _, o, _ in nn.truncated_bptt(rnn, ts.tensor(X), k1=4, k2=6, context=memory)]
    np.testing.assert_allclose(
        np.concatenate(outputs), rnn(ts.tensor(X), context=memory)[0].detach().numpy(), rtol=1e-12
    )


@pytest.mark.parametrize(("k1", "k2", "captures"), [(4, 4, 2), (4, 8, 3), (4, 12, 3), (4, 2, 3)])
def test_a_compiled_layer_is_captured_for_few_kinds_of_pieces(k1, k2, captures):
    """The first state is None, later ones have no history, and those inside a piece have one."""
    rnn, head = made = model()
    compiled = ts.compile(rnn)
    x, y = ts.tensor(array(40, B, D)), ts.tensor(array(40, B, 1, seed=1))

    def train(run):
        made.load_state_dict(model().state_dict())
        optimizer, losses = optim.Adam(made.parameters(), lr=0.02), []
        for steps, output, _ in nn.truncated_bptt(run, x, k1=k1, k2=k2):
            loss = nn.functional.mse_loss(head(output), y[steps])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    np.testing.assert_allclose(train(compiled), train(rnn), rtol=1e-9)
    assert compiled._captures == captures


def test_a_whole_training_step_is_captured_once_for_all_pieces():
    rnn, head = made = model()
    optimizer = optim.SGD(made.parameters(), lr=0.05)
    x, y = ts.tensor(X[:10]), ts.tensor(Y[:10])

    def train(x, y):
        losses = []
        for steps, output, _ in nn.truncated_bptt(rnn, x, k1=2, k2=4):
            loss = nn.functional.mse_loss(head(output), y[steps])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return ts.stack(losses)

    eager = [train(x, y).numpy() for _ in range(3)]
    made.load_state_dict(model().state_dict())
    compiled = ts.compile(train)
    for wanted in eager:
        np.testing.assert_allclose(compiled(x, y).numpy(), wanted, rtol=1e-9)
    assert compiled._captures == 1


@pytest.mark.parametrize("k2", [2, 3, 6])
def test_without_gradients_no_step_is_run_twice(k2):
    rnn, seen = nn.Recurrent(nn.GRUCell(D, H)).double(), []

    def run(x, state):
        seen.append(x.shape[0])
        return rnn(x, state)

    with ts.no_grad():
        outputs = [output.numpy() for _, output, _ in nn.truncated_bptt(run, ts.tensor(X), k1=3, k2=k2)]
        np.testing.assert_allclose(np.concatenate(outputs), rnn(ts.tensor(X))[0].numpy(), rtol=1e-12)
    assert sum(seen) == T


def test_the_first_state_has_its_history_in_the_first_piece():
    rnn, encoder = nn.Recurrent(nn.GRUCell(D, H)).double(), nn.Linear(2, H).double()
    start = encoder(ts.tensor(array(B, 2)))
    got = []
    for _, output, _ in nn.truncated_bptt(rnn, ts.tensor(X), k1=3, k2=9, state=start):
        (output**2).sum().backward()
        got.append(encoder.weight.grad is not None)
        encoder.zero_grad()
    assert got == [True, False, False, False]


RNN = nn.Recurrent(nn.GRUCell(D, H)).double()


@pytest.mark.parametrize(
    ("run", "x", "options", "error", "words"),
    [
        (RNN, X, {"k1": 0}, ArgumentError, "k1=0, wanted a positive integer"),
        (RNN, X, {"k1": 2.0}, ArgumentError, "k1=2.0"),
        (RNN, X, {"k1": 2, "k2": -1}, ArgumentError, "k2=-1"),
        (RNN, X, {"k1": True}, ArgumentError, "k1=True"),
        (nn.GRUCell(D, H), X, {"k1": 2}, ArgumentError, r"wanted what runs over time: nn.Recurrent\(cell\)"),
        (nn.Recurrent(nn.GRUCell(D, H), reverse=True), X, {"k1": 2}, ArgumentError, "Recurrent walks backward"),
        (nn.LSTM(D, H, bidirectional=True), X, {"k1": 2}, ArgumentError, "LSTM walks backward"),
        (ts.compile(nn.LSTM(D, H, bidirectional=True)), X, {"k1": 2}, ArgumentError, "LSTM walks backward"),
        (nn.Bidirectional(nn.GRUCell(D, H), nn.GRUCell(D, H)), X, {"k1": 2}, ArgumentError, "walks backward"),
        (nn.Recurrent(nn.GRUCell(D, H), stateful=True), X, {"k1": 2}, ArgumentError, "stateful"),
        (None, X, {"k1": 2}, DTypeError, "NoneType to run"),
        (RNN, X[:0], {"k1": 2}, ShapeError, r"got shape \[0, 2, 3\]"),
        (RNN, X[:, :0], {"k1": 2, "batch_first": True}, ShapeError, r"wanted \(B, T, ...\)"),
        (RNN, X, {"k1": 2, "lengths": [T + 1, 2]}, ArgumentError, "truncated_bptt: got lengths"),
        (RNN, X, {"k1": 2, "state": [ts.zeros(3)]}, ShapeError, "Recurrent"),
        (RNN, X, {"k1": 2, "state": np.zeros((B, H))}, DTypeError, "ndarray in the state"),
        (lambda x, s: x, X, {"k1": 2}, DTypeError, r"run returned .*wanted a pair \(output, state\)"),
        (lambda x, s: (x[0], x[0]), X, {"k1": 3}, ShapeError, r"wanted \(3, B, ...\): that of every step"),
        (lambda x, s: (x, {"h": x[0]}), X, {"k1": 3}, DTypeError, "detach_state: got dict in the state"),
    ],
)
def test_wrong_calls(run, x, options, error, words):
    with pytest.raises(error, match=words):
        list(nn.truncated_bptt(run, ts.tensor(x), **options))


def test_wrong_arguments_are_told_at_the_call():
    with pytest.raises(DTypeError, match="ndarray, wanted a tensor"):
        nn.truncated_bptt(RNN, X, k1=2)
    with pytest.raises(GradientError, match="in `run`"):
        nn.truncated_bptt(RNN, nn.Linear(D, D).double()(ts.tensor(X)), k1=2)
    with pytest.raises(DTypeError, match="detach_state: got set"):
        nn.detach_state((ts.zeros(1), {1}))


def test_a_leaf_that_wants_gradients_may_be_the_sequence():
    x = ts.tensor(X, requires_grad=True)
    for _, output, _ in itertools.islice(nn.truncated_bptt(RNN, x, k1=3, k2=3), 2):
        output.sum().backward()
    reached = x.grad.numpy().any((1, 2))
    assert reached.tolist() == [True] * 6 + [False] * (T - 6)
