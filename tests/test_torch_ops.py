"""torch's own table of operations as oracle: every name that both have, with the table's arguments, in float64.

A name that differs on purpose stands in docs/differences.md; the list there is checked too.
"""

import itertools
import pathlib
import re
import warnings

import numpy as np
import pytest

import tinyseq as ts

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # torch's tests need it
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    table = pytest.importorskip("torch.testing._internal.common_methods_invocations")

pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns of its own deprecations

MOST_SAMPLES = 12
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "differences.md"


def found(name):
    """Return what tinyseq calls `name`: a function, one of nn.functional, or a method."""
    for root in (ts, ts.nn.functional):
        value = root
        for part in name.split("."):
            value = getattr(value, part, None) if value is not None else None
        if callable(value):
            return value
    return getattr(ts.Tensor, name, None)


def listed():
    """Return the names under "Names that miss" on the page of differences, and those that only differ by chance."""
    section = PAGE.read_text(encoding="utf-8").split("## Names that miss")[1].split("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    names = {name: row[2] for row in rows for name in re.findall(r"`([^`]+)`", row[1])}
    return set(names), {name for name, reason in names.items() if "random" in reason or "contents" in reason}


def fits(op):
    """Tell whether the table's entry is of the plain kind: no variant, real numbers, not pooling."""
    return "pool" not in op.name and not op.variant_test_name and op.supports_dtype(torch.float64, "cpu")


MISSES, BY_CHANCE = listed()
ENTRIES = {op.name: op for op in table.op_db if fits(op) and found(op.name) is not None}


def samples(op, most=MOST_SAMPLES, of=30):
    """Return some of the first calls of `op` in the table, as (arguments, keywords, torch's results)."""
    calls = []
    for sample in itertools.islice(op.sample_inputs("cpu", torch.float64, requires_grad=op.supports_autograd), of):
        args = (sample.input, *sample.args)
        try:
            results = [r for r in flat(op.op(*args, **sample.kwargs)) if isinstance(r, torch.Tensor)]
        except Exception:  # the table also holds calls that torch refuses
            continue
        if results and not any(r.is_complex() for r in results):
            calls.append((args, sample.kwargs, results))
    return calls[:: max(1, len(calls) // most)]


def flat(value):
    return [leaf for v in value for leaf in flat(v)] if isinstance(value, list | tuple) else [value]


def converted(value):
    """Return torch's arguments as tinyseq's."""
    if isinstance(value, torch.Tensor):
        return ts.tensor(value.detach().numpy().copy(), requires_grad=value.requires_grad)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(map(converted, value))
    if isinstance(value, dict):
        return {k: converted(v) for k, v in value.items()}
    return getattr(ts, str(value).split(".")[1]) if isinstance(value, torch.dtype) else value


def compare(call, args, kwargs, wanted):
    """Check values, shapes and gradients of one call; the results are weighted, so that no gradient cancels."""
    ours, named = converted(args), converted(kwargs)
    got = [r for r in flat(call(*ours, **named)) if isinstance(r, ts.Tensor)]
    assert len(got) == len(wanted), f"{len(got)} results, torch has {len(wanted)}"
    theirs_total, ours_total = [], []
    for want, have in zip(wanted, got, strict=True):
        assert have.shape == tuple(want.shape)
        np.testing.assert_allclose(have.detach().numpy(), want.detach().numpy(), rtol=1e-9, atol=1e-11)
        if want.requires_grad:
            weights = np.random.default_rng(0).uniform(0.5, 1.5, want.shape)
            theirs_total.append((want * torch.tensor(weights)).sum())
            ours_total.append((have * ts.tensor(weights)).sum())
    pairs = [
        (a, b)
        for a, b in zip(flat([*args, *kwargs.values()]), flat([*ours, *named.values()]), strict=True)
        if isinstance(a, torch.Tensor) and a.requires_grad
    ]
    if not pairs or not theirs_total:
        return
    gradients = torch.autograd.grad(sum(theirs_total), [a for a, _ in pairs], allow_unused=True)
    sum(ours_total).backward()
    for (_, b), g in zip(pairs, gradients, strict=True):
        if g is not None:
            np.testing.assert_allclose(b.grad.numpy(), g.numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in MISSES])
def test_agrees_with_torch(name):
    calls = samples(ENTRIES[name])
    if not calls:
        pytest.skip("no sample of this name has real results")
    for args, kwargs, wanted in calls:
        compare(found(name), args, kwargs, wanted)


@pytest.mark.parametrize("name", sorted(MISSES - BY_CHANCE))
def test_a_listed_miss_is_one(name):
    assert name in ENTRIES, "tinyseq or torch has no such name"

    def agree():
        for args, kwargs, wanted in samples(ENTRIES[name], 60, 60):
            compare(found(name), args, kwargs, wanted)

    with pytest.raises(Exception):  # noqa: B017, PT011 -- whatever the difference is
        agree()


def test_enough_names():
    assert len(set(ENTRIES) - MISSES) >= 220


# Dtypes

DTYPES = ("float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool")
PROMOTING = ("add", "mul", "div", "maximum", "eq", "logical_and", "where", "atan2", "cat")


def operand(library, dtype, shape):
    return library.ones(shape, dtype=getattr(library, dtype))


@pytest.mark.parametrize("name", PROMOTING)
@pytest.mark.parametrize(("x", "y"), list(itertools.product(DTYPES, repeat=2)))
def test_mixed_dtypes_meet_where_torch_has_them_meet(name, x, y):
    def result(library):
        a, b = operand(library, x, (2,)), operand(library, y, (2,))
        if name == "where":
            return library.where(operand(library, "bool", (2,)), a, b)
        return library.cat([a, b]) if name == "cat" else getattr(library, name)(a, b)

    assert str(result(ts).dtype) == str(result(torch).dtype).removeprefix("torch.")


@pytest.mark.parametrize("number", [2, 2.5, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operator", ["__add__", "__rmul__", "__truediv__", "__pow__", "__lt__"])
def test_numbers_and_scalars_count_less_than_tensors(operator, dtype, number):
    def results(library):
        vector, scalar = operand(library, dtype, (2,)), operand(library, dtype, ())
        yield getattr(vector, operator)(number)
        yield getattr(scalar, operator)(number)
        yield getattr(vector, operator)(library.ones((), dtype=library.float64))

    ours, theirs = ([str(r.dtype) for r in results(library)] for library in (ts, torch))
    assert ours == [t.removeprefix("torch.") for t in theirs]


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod", "any", "count_nonzero", "amax", "sin", "sqrt"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "bool"])
def test_results_have_the_dtype_that_torch_gives_them(name, dtype):
    arguments = (0,) if name.startswith(("cum", "arg", "amax")) else ()
    ours, theirs = (getattr(library, name)(operand(library, dtype, (3,)), *arguments).dtype for library in (ts, torch))
    assert str(ours) == str(theirs).removeprefix("torch.")
