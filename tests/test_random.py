"""Random numbers: streams that can be seeded, saved and captured, of the distributions that they promise."""

import itertools

import numpy as np
import pytest
from scipy import stats

import tinyseq as ts
from tinyseq import ops
from tinyseq.core import dtypes
from tinyseq.core.dispatch import override
from tinyseq.errors import ArgumentError, ShapeError
from tinyseq.graph.capture import Capture
from tinyseq.graph.replay import Replay

DRAWS = {
    "rand": lambda g: ts.rand(3, 2, generator=g),
    "rand half": lambda g: ts.rand(5, generator=g, dtype=ts.float16),
    "randn": lambda g: ts.randn(5, generator=g, dtype=ts.float64),
    "randint": lambda g: ts.randint(2, 9, (4,), generator=g),
    "randperm": lambda g: ts.randperm(7, generator=g),
    "bernoulli": lambda g: ts.bernoulli(ts.full((9,), 0.5), generator=g),
    "normal": lambda g: ts.normal(ts.zeros(3), ts.ones(3), generator=g),
    "multinomial": lambda g: ts.multinomial(ts.ones(6), 3, generator=g),
    "multinomial again": lambda g: ts.multinomial(ts.ones(6), 9, True, generator=g),
    "uniform_": lambda g: ts.zeros(3).uniform_(-1, 1, generator=g),
    "normal_": lambda g: ts.zeros(3).normal_(1, 2, generator=g),
}
every_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@every_draw
def test_a_seed_and_a_state_name_a_place_in_the_stream(draw):
    g = ts.Generator().manual_seed(3)
    state = g.get_state()
    first, second = draw(g).numpy(), draw(g).numpy()
    assert not np.array_equal(first, second) or first.dtype == bool
    again = ts.Generator().set_state(state)
    for wanted in (first, second):
        np.testing.assert_array_equal(draw(again).numpy(), wanted)
    np.testing.assert_array_equal(draw(ts.Generator().manual_seed(3)).numpy(), first)


def test_a_state_is_plain_and_complete_in_the_middle_of_a_block():
    g = ts.Generator().manual_seed(0)
    for count in range(1, 12):
        ts.rand(count, generator=g)  # float32 draws use half a word
        state = np.array(g.get_state().tolist(), np.uint64)
        wanted = ts.rand(5, generator=g).numpy()
        np.testing.assert_array_equal(ts.rand(5, generator=ts.Generator().set_state(state)).numpy(), wanted)


def test_manual_seed_seeds_the_default_generator():
    ts.manual_seed(7)
    a = ts.rand(4).numpy()
    assert not np.array_equal(ts.rand(4).numpy(), a)
    ts.manual_seed(7)
    np.testing.assert_array_equal(ts.rand(4).numpy(), a)
    np.testing.assert_array_equal(ts.rand(4, generator=ts.Generator().manual_seed(7)).numpy(), a)


def test_a_checkpoint_keeps_the_position_of_the_default_generator(tmp_path):
    ts.manual_seed(7)
    ts.rand(3)
    ts.save({"rng": ts.get_rng_state()}, tmp_path / "checkpoint")
    wanted = ts.rand(4).numpy()
    ts.set_rng_state(ts.load(tmp_path / "checkpoint")["rng"])
    np.testing.assert_array_equal(ts.rand(4).numpy(), wanted)


@every_draw
def test_replay_draws_on_from_the_stream_as_eager_does(draw):
    g = ts.Generator().manual_seed(1)
    capture = Capture()
    with override(bottom=capture):
        out = draw(g)
    run = Replay(capture.graph([out.payload]))
    inputs = [a for a, _ in capture.inputs.values()]
    g.manual_seed(1)
    replayed = [run(inputs)[0] for _ in range(3)]
    g.manual_seed(1)
    for have in replayed:
        np.testing.assert_array_equal(have, draw(g).numpy())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_distributions(dtype):
    g, kind = ts.Generator().manual_seed(0), getattr(ts, dtype)
    u = ts.rand(20000, generator=g, dtype=kind).numpy().astype(float)
    assert 0 <= u.min() <= u.max() < 1
    n = ts.randn(20000, generator=g, dtype=kind).numpy().astype(float)
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(n, "norm").pvalue > 1e-3 or dtype == "float16"
    assert abs(n.mean()) < 0.03
    assert abs(n.std() - 1) < 0.03


def test_frequencies():
    g = ts.Generator().manual_seed(0)
    weights = np.array([1.0, 2.0, 0.0, 5.0])
    drawn = ts.multinomial(ts.tensor(weights), 8000, replacement=True, generator=g).numpy()
    assert stats.chisquare(np.bincount(drawn, minlength=4)[[0, 1, 3]], 8000 * weights[[0, 1, 3]] / 8).pvalue > 1e-3
    rows = ts.multinomial(ts.tensor(np.tile(weights, (6000, 1))), 2, generator=g).numpy()
    assert (rows[:, 0] != rows[:, 1]).all()
    assert (rows != 2).all()
    # P(first 3, then 1) = 5/8 · 2/3
    assert abs(np.mean((rows == [3, 1]).all(1)) - 5 / 8 * 2 / 3) < 0.02
    whole = ts.randint(0, 5, (5000,), generator=g).numpy()
    assert stats.chisquare(np.bincount(whole)).pvalue > 1e-3
    orders = [tuple(ts.randperm(3, generator=g).tolist()) for _ in range(1200)]
    assert stats.chisquare([orders.count(p) for p in itertools.permutations(range(3))]).pvalue > 1e-3


def test_dropout_mask():
    g = ts.Generator().manual_seed(0)
    mask = ops.dropout_mask_(generator=g, shape=(9000,), p=0.25, dtype=dtypes.float64, device=g.device)
    assert set(np.unique(mask)) == {0.0, 1 / 0.75}
    assert abs(mask.mean() - 1) < 0.03


def test_no_gradient_flows_through_a_draw():
    p = ts.full((4,), 0.5, requires_grad=True)
    assert not ts.bernoulli(p).requires_grad
    assert ts.normal(p).requires_grad  # but through the mean


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ts.Generator().manual_seed("a"), ArgumentError),
        (lambda: ts.Generator().set_state([1, 2]), ShapeError),
        (lambda: ts.randint(5, 5, (2,)), ArgumentError),
        (lambda: ts.multinomial(ts.ones(3), 4), ArgumentError),
        (lambda: ts.zeros(2).uniform_(1, 0), ArgumentError),
        (lambda: ts.zeros(2).normal_(0, -1), ArgumentError),
    ],
)
def test_errors(call, error):
    with pytest.raises(error):
        call()


def test_numbers_like_a_tensor_have_its_shape_and_the_dtype_asked_for():
    x = ts.zeros(2, 300, dtype=ts.float64)
    for like in (ts.rand_like, ts.randn_like, ts.ones_like, ts.zeros_like, lambda x, **o: ts.full_like(x, 3, **o)):
        assert (like(x).shape, like(x).dtype) == ((2, 300), ts.float64)
        assert like(x, dtype="float32").dtype == ts.float32
    assert ts.randint_like(x, 5).dtype == ts.float64
    assert set(ts.randint_like(x, 3, dtype="int64").numpy().flat) == {0, 1, 2}
    assert set(ts.randint_like(x, 5, 7).numpy().flat) == {5.0, 6.0}


def test_normal_numbers_of_means_and_deviations_that_broadcast():
    ts.manual_seed(0)
    mean, std = ts.tensor([[0.0], [100.0]]), ts.tensor([1.0, 2.0, 0.0])
    drawn = ts.normal(mean, std)
    assert drawn.shape == (2, 3)
    noise = (drawn - mean)[:, :2] / std[:2]
    assert len(set(noise.numpy().flat)) == 4  # one number for each element of the result
    np.testing.assert_array_equal(drawn[:, 2].numpy(), [0.0, 100.0])
    assert (drawn[1] > 80).all()
    assert ts.normal(5.0, ts.zeros(4)).tolist() == [5.0] * 4
    assert ts.normal(mean, 0.0).tolist() == mean.tolist()
    assert ts.normal(2.0, 0.0, (3, 1)).tolist() == [[2.0]] * 3


@pytest.mark.parametrize("offset", [-1, 0, 2])
def test_indices_of_triangles_that_are_no_squares(offset):
    np.testing.assert_array_equal(ts.tril_indices(2, 4, offset).numpy(), np.tril_indices(2, offset, 4))
    np.testing.assert_array_equal(ts.triu_indices(2, 4, offset).numpy(), np.triu_indices(2, offset, 4))
    assert ts.triu_indices(2, 4).dtype == ts.int64
