"""Writes in place: a gradient is right, or there is an error; never a wrong gradient."""

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import leaf
from tinyseq.errors import GradientError

# What was saved for backward

IN_PLACE = {
    "add_": lambda t: t.add_(1.0),
    "mul_": lambda t: t.mul_(3.0),
    "+=": lambda t: t.__iadd__(1.0),
    "copy_": lambda t: t.copy_(ts.zeros(3, dtype=ts.float64)),
    "zero_": lambda t: t.zero_(),
    "fill_": lambda t: t.fill_(7.0),
    "[0] =": lambda t: t.__setitem__(0, 5.0),
    "[mask] =": lambda t: t.__setitem__(t > 0, 5.0),
    "clamp_": lambda t: t.clamp_(0.9, 1.1),
    "uniform_": lambda t: t.uniform_(),
}
ALIASES = {
    "itself": lambda t: t,
    "detach": lambda t: t.detach(),
    "detached slice": lambda t: t.detach()[0:3],
    "view of a view": lambda t: t.detach().reshape(3, 1).reshape(3)[:3],
    "data": lambda t: t.data,
}


@pytest.mark.parametrize("how", IN_PLACE)
@pytest.mark.parametrize("alias", ALIASES)
def test_a_saved_value_that_was_written_to_raises(how, alias):
    x = leaf([1.0, 2.0, 3.0])
    a = x * 1.0
    y = (a * a).sum()
    with ts.no_grad():
        IN_PLACE[how](ALIASES[alias](a))
    with pytest.raises(GradientError, match=r"mul: its saved value '[xy]' of shape \[3\] was modified in place"):
        y.backward()


@pytest.mark.parametrize("how", IN_PLACE)
def test_a_saved_leaf_that_was_written_to_raises(how):
    x = leaf([1.0, 2.0, 3.0])
    y = (x * x).sum()
    with ts.no_grad():
        IN_PLACE[how](x)
    with pytest.raises(GradientError, match="modified in place"):
        y.backward()


def test_a_write_to_a_base_is_seen_through_a_saved_view():
    x = leaf([1.0, 2.0, 3.0])
    a = x * 1.0
    v = a[1:]
    y = (v * v).sum()
    with ts.no_grad():
        a[2] = 9.0
    with pytest.raises(GradientError, match="modified in place"):
        y.backward()


def test_a_write_before_saving_or_to_other_memory_is_no_harm():
    x = leaf([1.0, 2.0, 3.0])
    a = x * 1.0
    b = a.clone()
    with ts.no_grad():
        a.add_(1.0)
        y = None
    y = (b * b).sum()
    with ts.no_grad():
        a.add_(1.0)
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0, 6.0])


@pytest.mark.parametrize("read", [lambda t: t.numpy(), np.asarray, lambda t: t.T.numpy(), lambda t: t[1:].numpy()])
def test_arrays_handed_out_cannot_be_written_to(read):
    a = leaf([1.0, 2.0, 3.0]) * 1.0
    array = read(a.detach())
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 5.0
    with pytest.raises(ValueError, match="read-only"):
        array += 1.0
    with pytest.raises(ValueError, match="read-only"):
        np.add(array, 1.0, out=array)


def test_arrays_taken_in_are_copied():
    source = np.array([1.0, 2.0])
    for make in (ts.tensor, ts.from_numpy, ts.as_tensor):
        t = make(source)
        source[0] += 1.0
        assert t[0].item() == source[0] - 1.0


def test_in_place_with_history():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    a = x * 2.0
    a += w
    a *= 5.0
    a.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [10.0, 10.0])
    np.testing.assert_array_equal(w.grad.numpy(), [5.0, 5.0])


def test_filling_a_buffer_step_by_step():
    x = leaf([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    out = ts.zeros(3, 2, dtype=ts.float64)
    for t in range(3):
        out[t] = x[t].exp()
    (out * out).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(2 * x.detach().numpy()))


# What a write with history is refused for, and what not


@pytest.mark.parametrize(
    "alias", [lambda a: a[:2], lambda a: a.reshape(3, 1), lambda a: a.detach(), lambda a: a.detach().numpy()]
)
def test_a_write_with_history_is_refused_while_another_tensor_sees_it(alias):
    x = leaf([1.0, 2.0, 3.0])
    a = x * 1.0
    seen = alias(a)
    with pytest.raises(GradientError, match=r"mul_: cannot give this tensor a new history: .* shared with a view"):
        a.mul_(x)
    del seen
    a.mul_(x)
    a.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0, 6.0])


def test_a_view_without_history_cannot_take_one_on_behind_its_base():
    base = ts.zeros(3, dtype=ts.float64)
    view = base[:2]
    with pytest.raises(GradientError, match="add_: cannot give this tensor a new history"):
        view.add_(leaf([1.0, 2.0]))
    with pytest.raises(GradientError, match="setitem: cannot give this tensor a new history"):
        base[0] = leaf(1.0)


def test_a_view_of_a_value_that_is_gone_may_be_written_to():
    x = leaf([1.0, 2.0, 3.0, 4.0])
    a = (x * 2.0).reshape(2, 2)
    a.mul_(a.detach().clone())
    a.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4.0, 8.0, 12.0, 16.0])


def test_what_the_write_itself_saved_stays_as_it_was():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    a = x * 1.0
    a.mul_(y)
    a.mul_(a)
    a.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.array([1.0, 2.0]) * np.array([9.0, 16.0]))
    np.testing.assert_allclose(y.grad.numpy(), 2 * np.array([3.0, 4.0]) * np.array([1.0, 4.0]))


def test_expanded_tensors_cannot_be_written_to():
    x = ts.zeros(1, 3).expand(2, 3)
    with pytest.raises(ts.errors.ShapeError, match="add_: elements of an expanded tensor share their memory"):
        x.add_(1.0)


def test_every_write_is_noticed_not_only_the_first():
    x = leaf([1.0, 2.0, 3.0])
    a = x * 1.0
    with ts.no_grad():
        a.add_(1.0)
    y = (a * a).sum()
    with ts.no_grad():
        a.add_(1.0)
    with pytest.raises(GradientError, match="modified in place"):
        y.backward()


def test_a_write_is_noticed_under_create_graph():
    x = leaf([1.0, 2.0, 3.0])
    a = x * 1.0
    y = (a * a).sum()
    with ts.no_grad():
        a.add_(1.0)
    with pytest.raises(GradientError, match="modified in place"):
        y.backward(create_graph=True)


@pytest.mark.parametrize("product", [lambda x, w: x @ w.T, ts.nn.functional.linear], ids=["matmul", "linear"])
def test_a_matrix_that_was_written_to_is_read_anew(product):
    x, w = ts.tensor(np.eye(3)[:2]), ts.tensor(np.arange(12.0).reshape(4, 3))
    for step in range(4):  # copies are kept from the second product on
        for _ in range(3):
            np.testing.assert_array_equal(product(x, w).numpy(), w.numpy().T[:2])
        w.add_(float(step))


def test_a_transposed_matrix_that_was_written_to_is_read_anew():
    x, w = ts.tensor(np.eye(3)[:2]), ts.tensor(np.arange(12.0).reshape(4, 3)).T
    for step in range(4):
        for _ in range(3):
            np.testing.assert_array_equal((x @ w).numpy(), w.numpy()[:2])
        w.add_(float(step))
