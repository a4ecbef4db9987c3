"""RNN, LSTM and GRU, and their cells, against PyTorch with the same weights: results and every gradient."""

import copy
import itertools

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import nodes_of
from tinyseq import nn
from tinyseq.errors import ArgumentError, DTypeError, ShapeError

torch = pytest.importorskip("torch")

T, B, D, H = 6, 3, 4, 5
KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("LSTM", {"proj_size": 3}), ("GRU", {})]


def pair(kind, *args, **options):
    torch.manual_seed(len(str(options)))
    theirs = getattr(torch.nn, kind)(*args, **options).double()
    ours = getattr(nn, kind)(*args, **options).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def flat(state):
    return list(state) if isinstance(state, tuple) else [state]


def check(ours, theirs, values, states=(), call_ours=None, call_theirs=None):
    """Compare outputs, last states, and the gradients of inputs, states and parameters."""
    a = [ts.tensor(v, requires_grad=True) for v in (values, *states)]
    b = [torch.tensor(v, requires_grad=True) for v in (values, *states)]

    def run(module, tensors, call):
        hx = tuple(tensors[1:]) if len(tensors) > 2 else tensors[1] if len(tensors) == 2 else None
        output, state = module(tensors[0], hx) if call is None else call(module, tensors[0], hx)
        return [output, *flat(state)]

    mine, other = run(ours, a, call_ours), run(theirs, b, call_theirs)
    for x, y in zip(mine, other, strict=True):
        assert x.shape == tuple(y.shape)
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-10, atol=1e-10)
    for parts in (mine, other):
        sum((k + 1) * (x.tanh() * x).sum() for k, x in enumerate(parts)).backward()
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-10, atol=1e-10)
    named = dict(theirs.named_parameters())
    assert [n for n, _ in ours.named_parameters()] == list(named)
    for name, p in ours.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), named[name].grad.numpy(), rtol=1e-10, atol=1e-10, err_msg=name)


def values(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def start(kind, options, layers, directions, batch=(B,)):
    h = values(layers * directions, *batch, options.get("proj_size", H)) * 0.5
    return [h, values(layers * directions, *batch, H)] if kind == "LSTM" else [h]


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_every_option(kind, options, layers, bidirectional, bias, batch_first, given):
    common = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
    ours, theirs = pair(kind, D, H, layers, **common, **options)
    states = start(kind, options, layers, 1 + bidirectional) if given else []
    check(ours, theirs, values(B, T, D) if batch_first else values(T, B, D), states)


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # torch's, about its own speed
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_files_that_torch_wrote_load_as_they_are(kind, options, layers, bidirectional, bias, batch_first, tmp_path):
    files = pytest.importorskip("safetensors.torch")
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, **options}
    torch.manual_seed(layers)
    theirs = torch.nn.Sequential(getattr(torch.nn, kind)(D, H, layers, **options))
    files.save_file(theirs.state_dict(), tmp_path / "torch.safetensors")
    ours = nn.Sequential(getattr(nn, kind)(D, H, layers, **options))
    ours.load_state_dict(ts.load(tmp_path / "torch.safetensors"))
    x = values(B, T, D).astype(np.float32)
    mine, other = ours[0](ts.tensor(x)), theirs[0](torch.tensor(x))
    for a, b in zip([mine[0], *flat(mine[1])], [other[0], *flat(other[1])], strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_without_a_batch(kind, options, given):
    ours, theirs = pair(kind, D, H, 2, bidirectional=True, batch_first=True, **options)
    check(ours, theirs, values(T, D), start(kind, options, 2, 2, ()) if given else [])


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("lengths", [[6, 4, 1], [2, 5, 3]])
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_packed_sequences(kind, options, lengths, given):
    ours, theirs = pair(kind, D, H, 2, bidirectional=True, **options)
    in_order = sorted(lengths, reverse=True) == lengths

    def call(utils, as_lengths):
        def run(module, x, hx):
            packed = utils.pack_padded_sequence(x, as_lengths(lengths), enforce_sorted=in_order)
            output, state = module(packed, hx)
            return utils.pad_packed_sequence(output, total_length=T)[0], state

        return run

    check(
        ours,
        theirs,
        values(T, B, D),
        start(kind, options, 2, 2) if given else [],
        call(nn.utils.rnn, ts.tensor),
        call(torch.nn.utils.rnn, torch.tensor),
    )


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_lengths_give_what_packing_gives(kind, options):
    layer = getattr(nn, kind)(D, H, 2, bidirectional=True, **options)
    x = ts.tensor(values(T, B, D).astype(np.float32))
    packed = nn.utils.rnn.pack_padded_sequence(x, [6, 4, 1])
    output, state = layer(packed)
    padded, lengths = nn.utils.rnn.pad_packed_sequence(output)
    direct, direct_state = layer(x, lengths=lengths)
    mask = np.arange(T)[:, None] < np.array([6, 4, 1])
    masked, _ = layer(x, mask=ts.tensor(mask))
    np.testing.assert_array_equal(padded.detach().numpy(), direct.detach().numpy())
    np.testing.assert_array_equal(masked.detach().numpy(), direct.detach().numpy())
    for a, b in zip(flat(state), flat(direct_state), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"), [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {}), ("GRUCell", {})]
)
def test_cells(kind, options, bias, single, given):
    ours, theirs = pair(kind, D, H, bias, **options)
    lead = () if single else (B,)
    states = [values(*lead, H) * (k + 1) for k in range(2 if kind == "LSTMCell" else 1)] if given else []

    def call(module, x, hx):
        new = module(x, hx)
        new = module(x * 0.5, new)
        return flat(new)[0], new

    check(ours, theirs, values(*lead, D), states, call, call)


def test_dropout_between_layers():
    ts.manual_seed(0)
    layer = nn.LSTM(D, H, 2, dropout=0.5)
    x = ts.tensor(values(T, B, D).astype(np.float32))
    first, second = layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy()
    assert not np.array_equal(first, second)
    layer.eval()
    assert np.array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    layer.dropout = 1.0
    layer.train()
    with ts.no_grad():
        once = nn.LSTM(H, H)
        once.load_state_dict({k.replace("l1", "l0"): v for k, v in layer.state_dict().items() if "l1" in k})
        np.testing.assert_array_equal(layer(x)[0].numpy(), once(ts.zeros(T, B, H))[0].numpy())


def test_initial_values_are_uniform_in_one_over_root_of_hidden_size():
    ts.manual_seed(0)
    named = [*nn.GRU(200, 100, 2).named_parameters(), *nn.LSTM(200, 100, proj_size=60).named_parameters()]
    for name, p in named:
        v = p.detach().numpy()
        assert np.abs(v).max() <= 0.1, name
        assert abs(v.std() / (0.1 / np.sqrt(3)) - 1) < 0.1, name


def test_replacing_converting_and_copying_weights():
    layer = nn.LSTM(D, H, bidirectional=True)
    twin = copy.deepcopy(layer)
    x = ts.tensor(values(T, B, D).astype(np.float32))
    before = layer(x)[0].detach().numpy()
    layer.weight_hh_l0_reverse = nn.Parameter(ts.zeros(4 * H, H))
    after = layer(x)[0].detach().numpy()
    assert np.array_equal(before[..., :H], after[..., :H])
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(twin(x)[0].detach().numpy(), before)
    with ts.no_grad():
        twin.weight_ih_l0.zero_()
    assert not np.array_equal(twin(x)[0].detach().numpy(), before)
    assert layer.weight_ih_l0.detach().numpy().any()
    assert layer.double()(x.double())[0].dtype == np.float64
    assert len(list(layer.parameters())) == 8
    layer.zero_grad()
    layer.reset_parameters()
    assert layer.weight_hh_l0_reverse.detach().numpy().any()


def test_a_graph_shows_gates_time_steps_and_layers():
    model = nn.Sequential(nn.LSTM(D, H, 2, bidirectional=True))
    output, _ = model[0](ts.zeros(3, B, D))
    gates = {(n.scope.path, n.scope.step, n.name) for n in nodes_of(output) if hasattr(n, "name")}
    layers = ["0.l0", "0.l0_reverse", "0.l1", "0.l1_reverse"]
    assert gates == set(itertools.product(layers, range(3), ["i", "f", "g", "o", "h", "c"]))


# Packing by itself


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [[5, 3, 2, 2], [2, 5, 1, 5]])
def test_packing_matches_torch(lengths, batch_first):
    x = values(5, 4, 2) if not batch_first else values(4, 5, 2)
    in_order = sorted(lengths, reverse=True) == lengths
    ours = nn.utils.rnn.pack_padded_sequence(ts.tensor(x), lengths, batch_first, in_order)
    theirs = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(x), torch.tensor(lengths), batch_first, in_order)
    np.testing.assert_array_equal(ours.data.numpy(), theirs.data.numpy())
    np.testing.assert_array_equal(ours.batch_sizes.numpy(), theirs.batch_sizes.numpy())
    back, ends = nn.utils.rnn.pad_packed_sequence(ours, batch_first, -1.0, 7)
    wanted, wanted_ends = torch.nn.utils.rnn.pad_packed_sequence(theirs, batch_first, -1.0, 7)
    np.testing.assert_array_equal(back.numpy(), wanted.numpy())
    assert ends.tolist() == wanted_ends.tolist() == lengths


def test_padding_matches_torch():
    sequences = [values(n, 2) for n in (3, 1, 5)]
    for options in ({}, {"batch_first": True, "padding_value": 9.0}, {"padding_side": "left"}):
        ours = nn.utils.rnn.pad_sequence([ts.tensor(s) for s in sequences], **options)
        theirs = torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sequences], **options)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    packed = nn.utils.rnn.pack_sequence([ts.tensor(s) for s in sequences], enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 2, 1, 1]


X = ts.zeros(T, B, D)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.LSTM(D, H)(ts.zeros(T, B, D + 1)), ShapeError, "wanted .T, B, 4"),
        (lambda: nn.LSTM(D, H, batch_first=True)(ts.zeros(B, T, D + 1)), ShapeError, "wanted .B, T, 4"),
        (lambda: nn.LSTM(D, H)(ts.zeros(0, B, D)), ShapeError, "at least one time step"),
        (lambda: nn.LSTM(D, H)(np.zeros((T, B, D))), DTypeError, "wanted a tensor"),
        (lambda: nn.LSTM(D, H)(X, ts.zeros(1, B, H)), ShapeError, r"h \[1, 3, 5\], c \[1, 3, 5\]"),
        (lambda: nn.GRU(D, H, 2)(X, ts.zeros(1, B, H)), ShapeError, r"h \[2, 3, 5\]"),
        (lambda: nn.RNN(D, H)(X, lengths=[6, 7, 1]), ArgumentError, "0 to 6"),
        (lambda: nn.RNN(D, H)(X, lengths=[6, 1]), ShapeError, r"wanted \[3\]"),
        (lambda: nn.RNN(D, H)(X, mask=ts.zeros(T, B)), DTypeError, "bool"),
        (lambda: nn.RNN(D, H, nonlinearity="cube"), ArgumentError, "nonlinearity"),
        (lambda: nn.LSTM(D, H, proj_size=H), ArgumentError, "proj_size"),
        (lambda: nn.LSTM(D, 0), ArgumentError, "hidden_size"),
        (lambda: nn.GRU(D, H, dropout=1.5), ArgumentError, "probability"),
        (lambda: nn.LSTMCell(D, H)(ts.zeros(B, D), (ts.zeros(B, H),)), ShapeError, "hx"),
        (lambda: nn.GRUCell(D, H)(ts.zeros(T, B, D)), ShapeError, "GRUCell"),
        (lambda: nn.utils.rnn.pack_padded_sequence(X, [1, 2, 3]), ArgumentError, "longest first"),
        (lambda: nn.utils.rnn.pack_padded_sequence(X, [6, 6, 0]), ArgumentError, "1 to 6"),
        (lambda: nn.utils.rnn.pack_padded_sequence(X, [6, 6]), ShapeError, "3 integers"),
        (lambda: nn.utils.rnn.pad_sequence([]), ArgumentError, "pad_sequence"),
        (lambda: nn.utils.rnn.pad_sequence([ts.zeros(2, 3), ts.zeros(2, 4)]), ShapeError, "length"),
    ],
)
def test_wrong_calls(call, error, words):
    with pytest.raises(error, match=words):
        call()
