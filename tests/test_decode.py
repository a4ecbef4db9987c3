"""Decoding and encoder-decoders, against enumeration of all sequences and against steps by hand."""

import itertools

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import nn
from tinyseq.errors import ArgumentError, DTypeError, ShapeError
from tinyseq.nn import decode, functional as F

START, END, SYMBOLS, LONGEST = 0, 1, 5, 4


def chain(seed, batch=3):
    """Return a model whose chances depend on the last two symbols, its state, and its tables (batch, V, V, V)."""
    tables = np.random.default_rng(seed).normal(0, 1.5, (batch, SYMBOLS, SYMBOLS, SYMBOLS)).astype(np.float32)

    def step(symbols, state):
        which, before = state
        logits = ts.tensor(tables)[which, before, symbols]
        return logits, (which, symbols)

    state = (ts.arange(batch), ts.zeros(batch, dtype=ts.int64))
    return step, state, tables


def log_chances(table, symbols, ended):
    """Return the log-probability of a sequence by hand."""
    total, before, last = 0.0, 0, START
    for symbol in [*symbols, *([END] if ended else [])]:
        row = table[before, last].astype(np.float64)
        total += row[symbol] - np.log(np.exp(row).sum())
        before, last = last, symbol
    return total


def all_sequences(table, alpha):
    """Return every sequence there is, ranked: (score, symbols, log-probability)."""
    others = [s for s in range(SYMBOLS) if s != END]
    found = []
    for length in range(LONGEST + 1):
        for symbols in itertools.product(others, repeat=length):
            ended = length < LONGEST
            total = log_chances(table, symbols, ended)
            found.append((total / ((5 + length + ended) / 6) ** alpha, list(symbols), total))
    return sorted(found, key=lambda f: -f[0])


@pytest.mark.parametrize("alpha", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_the_best_of_all_sequences(seed, alpha):
    step, state, tables = chain(seed)
    found = decode.beam_search(
        step, state, 3, start=START, end=END, max_length=LONGEST, beam_size=SYMBOLS**LONGEST, alpha=alpha, n_best=6
    )
    for b in range(3):
        wanted = all_sequences(tables[b], alpha)[:6]
        assert [h.symbols for h in found[b]] == [symbols for _, symbols, _ in wanted]
        assert np.allclose([h.score for h in found[b]], [score for score, _, _ in wanted], atol=1e-5)
        assert np.allclose([h.log_probability for h in found[b]], [total for _, _, total in wanted], atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_is_greedy_and_a_wider_one_is_no_worse(seed):
    step, state, tables = chain(seed)
    options = {"start": START, "end": END, "max_length": 8}
    greedy = decode.greedy(step, state, 3, **options)
    for b in range(3):
        assert greedy[b].log_probability == pytest.approx(
            log_chances(tables[b], greedy[b].symbols, len(greedy[b].symbols) < 8), abs=1e-5
        )
    narrow = decode.beam_search(step, state, 3, beam_size=1, **options)
    assert [h[0].symbols for h in narrow] == [h.symbols for h in greedy]
    wide = decode.beam_search(step, state, 3, beam_size=500, **options)
    assert all(w[0].log_probability >= g.log_probability - 1e-6 for w, g in zip(wide, greedy, strict=True))


def test_a_batch_decodes_as_its_members_do():
    step, state, _ = chain(7)
    options = {"start": START, "end": END, "max_length": 6, "beam_size": 3, "n_best": 3, "alpha": 0.6}
    together = decode.beam_search(step, state, 3, **options)
    for b in range(3):
        alone = decode.beam_search(step, (state[0][b : b + 1], state[1][:1]), 1, **options)[0]
        assert [h.symbols for h in alone] == [h.symbols for h in together[b]]
        assert len({tuple(h.symbols) for h in alone}) == 3


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [0, 1, 2, 3]),
        ({"top_k": 2}, [1, 3]),
        ({"top_p": 0.5}, [3]),
        ({"top_p": 0.8}, [1, 3]),
        ({"top_p": 0.97}, [1, 2, 3]),
    ],
)
def test_filters_keep_the_likeliest(options, kept):
    chances = np.array([0.02, 0.3, 0.08, 0.6])
    logits = decode.filtered(ts.tensor(np.log(chances)), **options).numpy()
    assert np.flatnonzero(np.isfinite(logits)).tolist() == kept
    hot = decode.filtered(ts.tensor(np.log(chances)), temperature=2.0).numpy()
    assert np.allclose(hot, np.log(chances) / 2)


def test_samples_have_the_frequencies_of_the_filtered_chances():
    logits = ts.tensor([[0.0, -30.0, 1.0, 2.0, -1.0]])
    count = 4000
    found = decode.sample(
        lambda symbols, state: (logits.expand(count, 5), state), None, count, start=0, end=1, max_length=1,
        temperature=2.0, top_k=3, generator=ts.Generator().manual_seed(0),
    )  # fmt: skip
    wanted = F.softmax(ts.tensor([0.0, 1.0, 2.0]) / 2, -1).numpy()
    seen = np.bincount([h.symbols[0] for h in found], minlength=5) / count
    assert seen[1] == seen[4] == 0
    assert np.allclose(seen[[0, 2, 3]], wanted, atol=4 * np.sqrt(0.25 / count))


def test_decoding_errors():
    step, state, _ = chain(0)
    with pytest.raises(ArgumentError, match="n_best"):
        decode.beam_search(step, state, 3, start=0, end=1, max_length=3, beam_size=2, n_best=3)
    with pytest.raises(ArgumentError, match="top_p"):
        decode.filtered(ts.zeros(3), top_p=0.0)
    with pytest.raises(ArgumentError, match=r"top_k 1\.5"):
        decode.filtered(ts.zeros(3), top_k=1.5)


NAN = float("nan")
ENOUGH = {"start": 0, "end": 1, "max_length": 2}


@pytest.mark.parametrize("write", [decode.greedy, decode.sample, decode.beam_search])
@pytest.mark.parametrize(
    ("step", "state", "changed", "error", "words"),
    [
        (lambda s, h: (ts.zeros(1, 2, 7), h), None, {}, ShapeError, r"logits \[1, 2, 7\], wanted \(2, V\)"),
        (lambda s, h: (ts.zeros(3, 7), h), None, {}, ShapeError, r"logits \[3, 7\], wanted \(2, V\)"),
        (lambda s, h: ts.zeros(2, 7), None, {}, DTypeError, r"wanted a pair \(logits, state\)"),
        (lambda s, h: (ts.full((2, 7), NAN), h), None, {}, ArgumentError, "NaN"),
        (None, (ts.zeros(2, 1), (ts.zeros(3, 1), None)), {}, ShapeError, r"state \(1.0\) \[3, 1\].*batch_size 2"),
        (None, [ts.zeros(2, 1)], {}, ShapeError, "tuples"),
        (None, None, {"end": None}, ArgumentError, "end None"),
        (None, None, {"start": -1}, ArgumentError, "start -1"),
        (None, None, {"max_length": 1.5}, ArgumentError, "max_length 1.5"),
    ],
)
def test_wrong_models_and_numbers_are_told(write, step, state, changed, error, words):
    with pytest.raises(error, match=words):
        write(step, state, 2, **(ENOUGH | changed))


def model_of(kind):
    """Return an encoder-decoder with attention or without."""
    ts.manual_seed(3)
    encoder = nn.Bidirectional(nn.GRUCell(4, 5), nn.GRUCell(4, 5))
    plain = nn.LSTMCell(14 if kind == "bahdanau" else 4, 5)
    cell = plain if kind is None else nn.Attend(plain, 10, kind)
    return nn.EncoderDecoder(
        nn.Embedding(9, 4), nn.Embedding(7, 4), encoder, nn.Recurrent(cell), nn.Linear(5, 7), nn.Bridge(10, cell)
    )


@pytest.mark.parametrize("kind", [None, "bahdanau", "luong"])
def test_teacher_forcing_equals_steps_by_hand(kind, rng):
    model = model_of(kind)
    read, written = ts.tensor(rng.integers(0, 9, (6, 2))), ts.tensor(rng.integers(0, 7, (5, 2)))
    lengths = ts.tensor([6, 3])
    whole = model(read, written, lengths)
    begun = model.start(read, lengths)
    for t in range(5):
        logits, begun = model.step(written[t], begun)
        assert np.allclose(logits.detach().numpy(), whole[t].detach().numpy(), atol=1e-6)
    shorter = model(read[:3, 1:], written[:, 1:])  # without the padding
    assert np.allclose(shorter.detach().numpy(), whole[:, 1:].detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", [None, "bahdanau"])
def test_scheduled_sampling_goes_from_the_teacher_to_the_model(kind, rng):
    model = model_of(kind)
    with ts.no_grad():
        model.head.weight.mul_(1e6)  # so sure of itself that drawing is taking the best
    read, written = ts.tensor(rng.integers(0, 9, (6, 64))), ts.tensor(rng.integers(0, 7, (5, 64)))
    forced, own, half = (model(read, written, teacher_forcing=p) for p in (1.0, 0.0, 0.5))

    def share_that_agrees(a, b):
        return np.isclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-3, atol=100).all(-1).mean()

    begun, symbols = model.start(read), written[0]
    for t in range(5):
        logits, begun = model.step(symbols, begun)
        assert share_that_agrees(logits, own[t]) > 0.95
        symbols = logits.argmax(-1)
    assert share_that_agrees(forced[0], half[0]) == 1
    expected = 0.5 + 0.5 * share_that_agrees(forced[1], own[1])
    assert abs(share_that_agrees(forced[1], half[1]) - expected) < 0.25
    half.sum().backward()
    assert model.source.weight.grad is not None


def test_an_encoder_decoder_is_captured_as_it_runs(rng):
    model = model_of("bahdanau")
    read, written = ts.tensor(rng.integers(0, 9, (6, 2))), ts.tensor(rng.integers(0, 7, (5, 2)))
    compiled = ts.compile(lambda r, w, n: model(r, w, n))
    for n in ([6, 3], [2, 5]):
        lengths = ts.tensor(n)
        assert np.allclose(
            compiled(read, written, lengths).detach().numpy(), model(read, written, lengths).detach().numpy(), atol=1e-5
        )


def test_encoder_decoder_errors():
    model = model_of(None)
    with pytest.raises(ShapeError, match="EncoderDecoder"):
        model(ts.zeros(6, 2, dtype=ts.int64), ts.zeros(5, 3, dtype=ts.int64))
    with pytest.raises(DTypeError, match=r"Bridge: got Recurrent, wanted an nn\.Cell"):
        nn.Bridge(5, nn.Recurrent(nn.GRUCell(3, 4)))
    with pytest.raises(ShapeError, match="together are 4, wanted 5"):
        nn.Bridge(5, nn.GRUCell(3, 4))((ts.zeros(2, 4),))
    with pytest.raises(ArgumentError, match="time first"):
        nn.EncoderDecoder(model.source, model.target, model.encoder, model.encoder, model.head)
