"""Text, streams, loaders and count models, against plain Python."""

import math
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
import pytest

import tinyseq as ts
from tinyseq import data
from tinyseq.errors import ArgumentError, DTypeError, ShapeError


def test_the_english_text_is_english_and_the_same_each_time():
    text = data.english_text()
    assert len(text) > 300_000
    assert text.count(" the ") > 3000
    assert ".. " in text or "*" in text
    assert text == data.english_text()


def test_a_vocabulary_turns_text_into_indices_and_back():
    text = data.english_text()[:5000]
    vocabulary = data.Vocabulary.of(text)
    codes = vocabulary.encode(text)
    assert codes.dtype == np.int64
    assert len(vocabulary) == len(set(text)) == codes.max() + 1
    assert "".join(vocabulary.decode(codes)) == text
    assert vocabulary.decode(ts.tensor(codes[:3])) == list(text[:3])


def test_a_vocabulary_of_words_with_an_unknown_one():
    vocabulary = data.Vocabulary(["<unk>", "cell", "state"], unknown="<unk>")
    assert vocabulary.encode(["state", "gate", "cell"]).tolist() == [2, 0, 1]


def test_vocabulary_errors():
    with pytest.raises(ArgumentError, match="'z' is not among the 2 symbols"):
        data.Vocabulary.of("ab").encode("abz")
    with pytest.raises(ArgumentError, match="twice"):
        data.Vocabulary("aa")
    with pytest.raises(ArgumentError, match="'<unk>'"):
        data.Vocabulary("ab", unknown="<unk>")


@pytest.mark.parametrize(("n", "batch_size", "steps"), [(101, 4, 5), (21, 4, 5), (100, 1, 7), (50, 7, 1)])
def test_bptt_batches_run_through_the_text_without_a_gap(n, batch_size, steps):
    codes = np.random.default_rng(0).permutation(n)
    batches = data.BPTTBatches(codes, batch_size, steps)
    pairs = list(batches)
    assert len(pairs) == len(batches) > 0
    assert all(x.shape == y.shape == (steps, batch_size) and x.dtype == np.int64 for x, y in pairs)
    x, y = (np.concatenate([np.asarray(part) for part in side]) for side in zip(*pairs, strict=True))
    after = dict(zip(codes[:-1].tolist(), codes[1:].tolist(), strict=True))
    assert all(after[a] == b for a, b in zip(x.ravel().tolist(), y.ravel().tolist(), strict=True))
    assert np.array_equal(x[1:], y[:-1])  # each stream goes on where it was
    assert len(set(x.ravel().tolist())) == x.size > n - 1 - batch_size * steps - batch_size


def test_batches_are_copies():
    codes = np.arange(10)
    for x, _ in data.BPTTBatches(codes, 2, 2):
        x[0] = -1
    assert codes.tolist() == list(range(10))
    assert next(iter(data.BPTTBatches(codes, 2, 2)))[0].tolist() == [[0, 4], [1, 5]]


def test_a_text_that_is_too_short_says_how_much_is_wanted():
    with pytest.raises(ArgumentError, match="got 64 symbols, wanted at least 65 for 8 streams of 8 steps"):
        data.BPTTBatches(np.zeros(64, np.int64), 8, 8)
    with pytest.raises(ArgumentError, match="wanted at least 1"):
        data.BPTTBatches(np.zeros(64, np.int64), 0, 8)


# Count models


def counted(codes, split, size, order, smoothing):
    """The equations as they stand in the docstring, one symbol at a time."""
    grams, context, kinds = Counter(), Counter(), defaultdict(set)
    for n in range(1, order + 1):
        for i in range(n - 1, split):
            gram = tuple(codes[i - n + 1 : i + 1])
            grams[gram] += 1
            context[n, gram[:-1]] += 1
            kinds[n, gram[:-1]].add(gram[-1])
    bits = 0.0
    for i in range(split, len(codes)):
        p = 1 / size
        for n in range(1, order + 1):
            gram = tuple(codes[i - n + 1 : i + 1])
            total, new = context[n, gram[:-1]], len(kinds[n, gram[:-1]])
            if smoothing is not None:
                p = (grams[gram] + smoothing) / (total + smoothing * size)
            elif total:
                p = (grams[gram] + new * p) / (total + new)
        bits -= math.log2(p)
    return bits / (len(codes) - split)


@pytest.mark.parametrize("smoothing", [0.01, 1.0, None])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_count_models_match_their_equations(order, smoothing):
    text = data.english_text()[:4000]
    vocabulary = data.Vocabulary.of(text)
    codes = vocabulary.encode(text)
    found = data.ngram_bits(codes, 3000, len(vocabulary), order, smoothing)
    assert found == pytest.approx(counted(codes.tolist(), 3000, len(vocabulary), order, smoothing), rel=1e-12)


def test_count_models_of_the_english_text():
    text = data.english_text()
    vocabulary = data.Vocabulary.of(text)
    codes = vocabulary.encode(text)
    split = len(codes) - len(codes) // 10
    found = [data.ngram_bits(codes, split, len(vocabulary), order) for order in (1, 2, 3, 4)]
    assert found == pytest.approx([4.67, 3.35, 2.51, 2.13], abs=0.1)  # the text changes a little with Python


def test_count_model_errors():
    with pytest.raises(ArgumentError, match="split 10"):
        data.ngram_bits(np.zeros(10, int), 10, 2, 2)
    with pytest.raises(ArgumentError, match="order 5"):
        data.ngram_bits(np.zeros(10, int), 4, 2, 5)


def test_count_models_of_many_symbols_and_of_one():
    codes = np.random.default_rng(0).integers(0, 50_000, 1000)
    assert data.ngram_bits(codes, 900, 50_000, 8) == pytest.approx(counted(codes.tolist(), 900, 50_000, 8, 0.01))
    assert data.ngram_bits(np.zeros(50, int), 40, 1, 3, None) == 0.0


# Datasets and loaders


def pairs(n):
    return data.TensorDataset(ts.tensor(np.arange(2.0 * n).reshape(n, 2)), ts.tensor(np.arange(n)))


def test_a_loader_goes_through_everything_once():
    x, y = (np.concatenate([np.asarray(b) for b in side]) for side in zip(*data.DataLoader(pairs(10), 4), strict=True))
    assert y.tolist() == list(range(10))
    assert np.array_equal(x[:, 0], 2.0 * y)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_the_last_batch(drop_last, sizes):
    loader = data.DataLoader(pairs(10), 4, drop_last=drop_last)
    assert [len(y) for _, y in loader] == sizes
    assert len(loader) == len(sizes)


def test_shuffling_keeps_pairs_together_and_follows_the_generator():
    def orders(seed):
        loader = data.DataLoader(pairs(50), 8, shuffle=True, generator=ts.Generator().manual_seed(seed))
        passes = []
        for _ in range(2):
            batches = list(loader)
            assert all(np.array_equal(np.asarray(x)[:, 0], 2.0 * np.asarray(y)) for x, y in batches)
            passes.append([i for _, y in batches for i in y.tolist()])
        return passes

    first, second = orders(0)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first != list(range(50))
    assert orders(0) == [first, second]
    assert orders(1) != [first, second]


def test_collate_of_every_kind():
    class Pair(NamedTuple):
        left: object
        right: object

    samples = [{"t": ts.tensor([float(i)]), "n": i, "s": str(i), "p": Pair(np.float32(i), [i, 0.5])} for i in range(2)]
    batch = data.default_collate(samples)
    assert batch["t"].tolist() == [[0.0], [1.0]]
    assert batch["n"].tolist() == [0, 1]
    assert batch["s"] == ["0", "1"]
    assert isinstance(batch["p"], Pair)
    assert batch["p"].left.tolist() == [0.0, 1.0]
    assert [m.tolist() for m in batch["p"].right] == [[0, 1], [0.5, 0.5]]
    with pytest.raises(DTypeError, match="collate_fn"):
        data.default_collate([object()])


def test_a_collate_function_of_your_own_for_sequences_of_unequal_length():
    loader = data.DataLoader(["a", "abc", "ab"], 3, collate_fn=lambda words: max(map(len, words)))
    assert list(loader) == [3]


def test_a_subset():
    subset = data.Subset(pairs(10), [7, 3])
    assert [y.tolist() for _, y in data.DataLoader(subset, 2)] == [[7, 3]]


def test_dataset_errors():
    with pytest.raises(ShapeError, match=r"\[2\], \[3\]"):
        data.TensorDataset(ts.zeros(2), ts.zeros(3))
    with pytest.raises(ShapeError):
        data.TensorDataset(ts.tensor(1.0))
    with pytest.raises(ArgumentError, match="batch_size 0"):
        data.DataLoader(pairs(3), 0)
