"""Every operation, on every one of its samples: rules, gradients, documentation. And the checker itself is checked."""

import copy
import inspect

import numpy as np
import pytest

import tinyseq as ts
from tests.helpers import GRADIENTS, OPS, every_gradient, every_op, every_sample
from tinyseq import testing
from tinyseq.core.dispatch import EAGER
from tinyseq.core.op import Op
from tinyseq.core.partial import PARTIAL
from tinyseq.core.sample import Sample
from tinyseq.core.tape import shortcut


def first_gradients(call, arrays, params, seed=0):
    """Return the result of `call` and the gradients of its floating inputs, for a random cotangent."""
    inputs = [ts.Tensor(a) for a in arrays]
    leaves = [x.requires_grad_() for x in inputs if x.dtype.kind == "f"]
    out = call(*inputs, **params)
    cotangent = ts.tensor(np.random.default_rng(seed).uniform(0.5, 1.5, out.shape))
    return out.detach().numpy(), [g.numpy() for g in ts.autograd.grad(out, leaves, cotangent)]


# Rules


@every_sample
def test_shape_and_dtype_rules(op, sample):
    testing.check_rules(op, sample)


@every_sample
def test_nothing_is_written_and_only_views_share_memory(op, sample):
    testing.check_purity(op, sample)


@every_sample
def test_a_sample_says_the_same_each_time(op, sample):
    for a, b in zip(sample.arrays(1), sample.arrays(1), strict=True):
        np.testing.assert_array_equal(a, b)


@every_op
def test_documented(op):
    assert op.__doc__, f"{op.name} has no docstring"
    first = op.__doc__.splitlines()[0]
    assert first.startswith(("Return", "Join", "Sum", "Repeat", "Draw")), first
    assert first.endswith("."), first
    assert op.samples, f"{op.name} has no samples"


@every_op
def test_arrays_are_positional_and_parameters_keyword_only(op):
    kinds = {p.kind for p in inspect.signature(op).parameters.values()}
    assert kinds <= {
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.KEYWORD_ONLY,
    }
    for sample in op.samples:
        assert set(sample.params) == set(op.parameters)
        hash(tuple(sample.params.values()))  # a captured program is keyed by them


@every_op
def test_every_differentiable_input_has_a_rule(op):
    floating = {op._input(i) for s in op.samples for i in testing.floating_inputs(s)}
    if op.differentiable:
        assert floating <= set(op.rules)
        assert floating, f"{op.name}: no sample has a floating input; pass differentiable=False"
    else:
        assert not op.rules


# Gradients


@every_gradient
def test_gradients_of_first_order(op, sample):
    testing.check_gradients(op, sample, orders=(1,))


@every_gradient
def test_gradients_of_second_order(op, sample):
    testing.check_gradients(op, sample, orders=(2,))


@every_gradient
def test_gradients_by_complex_step(op, sample):
    testing.check_complex_step(op, sample)


@pytest.mark.parametrize(
    "name",
    [
        "add",
        "mul",
        "div",
        "exp",
        "log",
        "sqrt",
        "tanh",
        "sigmoid",
        "matmul",
        "linear",
        "sum",
        "cat",
        "stack",
        "narrow",
        "pow",
    ],
)
def test_the_complex_step_reaches_analytic_operations(name):
    op = Op.registry[name]
    assert {testing.check_complex_step(op, s) for s in op.samples} == {2}


@every_gradient
def test_the_short_path_agrees_with_the_general_one(op, sample):
    short = first_gradients(shortcut(op), sample.arrays(), sample.params)
    general = first_gradients(op, sample.arrays(), sample.params)
    np.testing.assert_array_equal(short[0], general[0])
    for a, b in zip(short[1], general[1], strict=True):
        np.testing.assert_array_equal(a, b)


@every_gradient
def test_gradients_at_other_values(op, sample):
    testing.check_op(op, sample, seed=7)


@every_gradient
def test_inputs_that_are_not_contiguous(op, sample):
    out, gradients = first_gradients(op, sample.arrays(), sample.params)

    def spread(a):
        wide = np.full(tuple(2 * n for n in a.shape), 99, a.dtype) if a.ndim else a
        if a.ndim:
            wide = np.asfortranarray(wide)[(slice(None, None, -2),) * a.ndim]
            wide[...] = a
        return wide

    strided = [spread(a) for a in sample.arrays()]
    assert all(a.size < 2 or not a.flags.c_contiguous for a in strided)
    other, others = first_gradients(op, strided, sample.params)
    np.testing.assert_allclose(other, out, rtol=1e-13, atol=1e-15)
    for a, b in zip(others, gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def twins(op, sample):
    """Positions of two floating inputs of one shape; None if there are none, or if a tie has no derivative."""
    arrays, floating = sample.arrays(), testing.floating_inputs(sample)
    pairs = [(i, j) for i in floating for j in floating if i < j and arrays[i].shape == arrays[j].shape]
    return pairs[0] if pairs and op.name not in ("maximum", "minimum", "fmax", "fmin") else None


@pytest.mark.parametrize(("op", "sample"), [case for case in GRADIENTS if twins(*case.values)])
def test_the_same_tensor_twice(op, sample):
    arrays, floating = sample.arrays(), testing.floating_inputs(sample)
    i, j = twins(op, sample)
    arrays[j] = arrays[i].copy()
    out, separate = first_gradients(op, arrays, sample.params)
    x = ts.tensor(arrays[i], requires_grad=True)
    inputs = [x if k in (i, j) else ts.tensor(a) for k, a in enumerate(arrays)]
    cotangent = ts.tensor(np.random.default_rng(0).uniform(0.5, 1.5, out.shape))
    (g,) = ts.autograd.grad(op(*inputs, **sample.params), x, cotangent)
    np.testing.assert_allclose(g.numpy(), separate[floating.index(i)] + separate[floating.index(j)], rtol=1e-13)


@pytest.mark.parametrize("op", [op for op in OPS if op.elementwise], ids=lambda op: op.name)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1, 1)], ids=str)
def test_elementwise_on_empty_and_0d(op, shape):
    sample = op.samples[0]
    arrays = [a.reshape(-1)[: 0 if 0 in shape else 1].reshape(shape) for a in sample.arrays()]
    out = EAGER.apply(op, tuple(arrays), sample.params)
    assert type(out) is np.ndarray
    assert out.shape == shape
    if op.differentiable:
        _, gradients = first_gradients(op, arrays, sample.params)
        for g in gradients:
            assert type(g) is np.ndarray
            assert g.shape == shape


# The checker is checked: what is wrong by 0.1 % must be found


def wrong(rule, monkeypatch, op, name):
    """Plant `rule` in `op`, and make the operation forget the layouts printed with the sound one."""
    monkeypatch.setitem(op.rules, name, rule)
    monkeypatch.setattr(op, "layouts", {})


def test_a_gradient_that_is_slightly_wrong_is_found(monkeypatch):
    op = Op.registry["tanh"]
    wrong(lambda g, out: 1.001 * (g - g * out * out), monkeypatch, op, "x")
    with pytest.raises(testing.CheckError, match=r"tanh: gradcheck: the derivative of output 0 .* for input 0"):
        testing.check_gradients(op, op.samples[0], orders=(1,))


def test_a_slightly_wrong_second_gradient_is_found(monkeypatch):
    op = Op.registry["tanh"]
    hidden = 0.999  # right in value, wrong in its own derivative: a constant factor that the rule takes back
    wrong(
        lambda g, out: g - g * (out * (hidden * out + (1 - hidden) * out.detach() if hasattr(out, "detach") else out)),
        monkeypatch,
        op,
        "x",
    )
    testing.check_gradients(op, op.samples[0], orders=(1,))
    with pytest.raises(testing.CheckError, match="tanh: gradcheck"):
        testing.check_gradients(op, op.samples[0], orders=(2,))


def test_the_complex_step_finds_what_differences_cannot(monkeypatch):
    op = Op.registry["exp"]
    wrong(lambda g, out: g * out * (1 + 1e-9), monkeypatch, op, "x")
    testing.check_gradients(op, op.samples[0])
    with pytest.raises(testing.CheckError, match="complex step"):
        testing.check_complex_step(op, op.samples[0])


@every_gradient
def test_a_planted_error_is_found_in_every_operation(op, sample, monkeypatch):
    sound = dict(op.rules)
    arrays = sample.arrays()
    for name, rule in sound.items():
        position = op.inputs.index(name)
        if not any(op._input(i) == name and arrays[i].size for i in testing.floating_inputs(sample)):
            continue
        with monkeypatch.context() as patch:
            wrong(spoilt(rule), patch, op, name)
            _, gradients = first_gradients(op, arrays, sample.params)
            if all(np.abs(g).max(initial=0.0) < 0.1 for g in gradients[position:]):
                continue  # 0.1 % of nothing
            with pytest.raises(testing.CheckError):
                testing.check_gradients(op, sample, orders=(1,))


def spoilt(rule):
    """Return `rule` with its gradients larger by 0.1 %."""

    def planted(*args):
        return spoil(rule(*args))

    planted.__signature__ = inspect.signature(rule)
    return planted


def spoil(part):
    """Make a gradient, of whatever form, larger by 0.1 %."""
    if type(part) in PARTIAL:
        spoiled = copy.copy(part)
        name = "left" if hasattr(part, "left") else "value"
        setattr(spoiled, name, getattr(part, name) * 1.001)
        return spoiled
    return [spoil(p) for p in part] if isinstance(part, list | tuple) else part * 1.001


def test_a_missing_rule_is_found(monkeypatch):
    op = Op.registry["mul"]
    monkeypatch.delitem(op.rules, "y")
    with pytest.raises(testing.CheckError, match="mul: no gradient rule for y"):
        testing.check_gradients(op, op.samples[0])


def test_a_wrong_shape_rule_is_found(monkeypatch):
    op = Op.registry["sum"]
    monkeypatch.setattr(op, "shape", lambda x, **params: x)
    with pytest.raises(testing.CheckError, match=r"sum: the shape rule says \[3, 2\], the result has \[2\]"):
        testing.check_rules(op, op.samples[0])


def test_a_wrong_dtype_rule_is_found(monkeypatch):
    op = Op.registry["eq"]
    monkeypatch.setattr(op, "dtype", None)
    with pytest.raises(testing.CheckError, match="eq: the dtype rule says float64, the result has bool"):
        testing.check_rules(op, op.samples[0])


def test_a_gradient_of_the_wrong_dtype_is_found(monkeypatch):
    op = Op.registry["exp"]
    wrong(lambda g, out: ts.ops.cast(g * out, dtype=np.dtype("float64")), monkeypatch, op, "x")
    with pytest.raises(testing.CheckError, match="exp: the gradient of a float32 input is float64"):
        testing.check_purity(op, op.samples[0])


def test_memory_shared_in_secret_is_found(monkeypatch):
    op = Op.registry["clone"]
    monkeypatch.setattr(op, "forward", lambda xp, x: x)
    with pytest.raises(testing.CheckError, match="clone: the result shares memory"):
        testing.check_purity(op, op.samples[0])


def test_a_forward_rule_that_writes_to_its_input_is_found(monkeypatch):
    op = Op.registry["neg"]
    monkeypatch.setattr(op, "forward", lambda xp, x: xp.negative(x, out=x))
    with pytest.raises(ts.errors.TinyseqError, match="read-only"):
        testing.check_purity(op, op.samples[0])


def test_check_all_names_what_failed(monkeypatch):
    op = Op.registry["exp"]
    wrong(lambda g, out: 1.001 * g * out, monkeypatch, op, "x")
    results = list(testing.check_all(names=["exp", "log"]))
    assert [r.name for r in results] == [*(f"exp[{i}]" for i in range(len(op.samples))), "log[0]"]
    assert [r.ok for r in results if r.name.startswith("log")] == [True]
    assert "exp" in results[0].message
    assert not results[0].ok


def test_samples_apart_are_distinct_and_not_zero():
    (a,) = Sample(((4, 5),), apart=True).arrays()
    assert np.min(np.abs(a)) > 1e-3
    assert np.min(np.diff(np.sort(a.reshape(-1)))) > 1e-3
