"""Check operations: their shape and dtype rules, and their gradients of first and second order.

Two independent derivatives stand against the gradient rules: central differences of the forward rule in float64
(to 1e-6), and, where the forward rule takes complex numbers and is analytic, the complex step (to 1e-12). Use it on
operations of your own:

>>> from tinyseq.ops import tanh
>>> for sample in tanh.op.samples:
...     check_op(tanh.op, sample)

On a GPU the results and gradients of both orders are compared with those of NumPy, which the above has checked.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyseq.autograd import engine
from tinyseq.autograd.checks import GradcheckError, gradcheck as gradcheck, gradgradcheck as gradgradcheck
from tinyseq.autograd.tensor import Tensor
from tinyseq.backend import CPU, Array, Device, as_device, to_device
from tinyseq.core import dtypes
from tinyseq.core.dispatch import EAGER, override
from tinyseq.core.op import Op
from tinyseq.core.sample import Sample
from tinyseq.ops.random import Generator

DIFFERENCE_STEP = 1e-5
DIFFERENCE_TOLERANCE = 1e-6
COMPLEX_STEP = 1e-30
COMPLEX_TOLERANCE = 1e-12


class CheckError(AssertionError):
    """An operation does not do what its rules say."""


class Result(NamedTuple):
    """How the check of one sample of one operation ended."""

    name: str
    ok: bool
    message: str


def check_all(device: Any = "cpu", names: Sequence[str] | None = None) -> Iterator[Result]:
    """Check every sample of every operation (of those in `names`, if given) on `device`, and yield the results."""
    for op in list(Op.registry.values()):
        if names is not None and op.name not in names:
            continue
        for i, sample in enumerate(op.samples):
            name = f"{op.name}[{i}]"
            try:
                check_op(op, sample, device=device)
            except Exception as error:  # whatever a broken operation raises is its result
                yield Result(name, False, f"{type(error).__name__}: {error}")
            else:
                yield Result(name, True, "")


def check_op(op: Op, sample: Sample, *, device: Any = "cpu", seed: int = 0) -> None:
    """Check one sample of `op`: shape and dtype rules, purity, and gradients of first and second order.

    Raises
    ------
    CheckError
        If a result does not fit the rules, or a gradient is missing, wrong, or of another dtype than its input.
    """
    where = as_device(device)
    check_rules(op, sample, device=where, seed=seed)
    if where != CPU:
        check_against_host(op, sample, device=where, seed=seed)
        return
    check_purity(op, sample, seed=seed)
    if op.differentiable and floating_inputs(sample):
        check_gradients(op, sample, seed=seed)
        check_complex_step(op, sample, seed=seed)


def on_device(
    sample: Sample, device: Device, seed: int = 0, dtype: Any = np.float64
) -> tuple[list[Array], dict[str, Any]]:
    """Return the arrays and parameters of `sample`, moved to `device`."""
    arrays = [to_device(a, device) for a in sample.arrays(seed, dtype)]
    return arrays, {k: _moved(v, device) for k, v in sample.params.items()}


def _moved(value: Any, device: Device) -> Any:
    if isinstance(value, Generator):
        return Generator(device).manual_seed(value.initial_seed())
    return device if isinstance(value, Device) else value


def floating_inputs(sample: Sample) -> list[int]:
    """Return the positions of the inputs that gradients are asked of."""
    return [i for i, a in enumerate(sample.arrays()) if a.dtype.kind == "f"]


def check_rules(op: Op, sample: Sample, *, device: Any = "cpu", seed: int = 0) -> None:
    """Check that the result has the shape and dtype that the rules of `op` promise, for each floating dtype."""
    where = as_device(device)
    for dtype in (dtypes.float64, dtypes.float32, dtypes.float16):
        arrays, params = on_device(sample, where, seed, dtype)
        out = EAGER.apply(op, tuple(arrays), params)
        wanted_shape = op.shape(*(a.shape for a in arrays), **params)
        wanted_dtype = op.result_dtype([a.dtype for a in arrays], params)
        if tuple(out.shape) != tuple(wanted_shape):
            raise CheckError(f"{op.name}: the shape rule says {list(wanted_shape)}, the result has {list(out.shape)}")
        if out.dtype != wanted_dtype:
            raise CheckError(
                f"{op.name}: the dtype rule says {wanted_dtype}, the result has {out.dtype} ({dtype} inputs)"
            )


def check_purity(op: Op, sample: Sample, *, seed: int = 0) -> None:
    """Check that forward and gradient rules write to none of their arguments, and that only views share memory.

    Gradients must have the dtype of their inputs, also below float64.
    """
    for dtype in (dtypes.float64, dtypes.float32):
        arrays = sample.arrays(seed, dtype)
        for a in arrays:
            a.flags.writeable = False
        out = EAGER.apply(op, tuple(arrays), sample.params)
        if not op.view and any(np.shares_memory(out, a) for a in arrays):
            raise CheckError(f"{op.name}: the result shares memory with an input, but the operation is no view")
        if not op.differentiable:
            continue
        inputs, wanted = _tensors(arrays)
        if not wanted:
            continue
        result = op(*inputs, **sample.params)
        cotangent = np.ones(result.shape, result.dtype)
        cotangent.flags.writeable = False
        found = engine.grad([result], wanted, [Tensor(cotangent)], None, False, Tensor)
        for x, g in zip(wanted, found, strict=True):
            if g is None:
                raise CheckError(f"{op.name}: no gradient arrives at an input of shape {list(x.shape)}")
            if g.dtype != x.dtype:
                raise CheckError(f"{op.name}: the gradient of a {x.dtype} input is {g.dtype}")


def check_gradients(op: Op, sample: Sample, *, seed: int = 0, orders: Sequence[int] = (1, 2)) -> None:
    """Check the gradients of every floating input against central differences in float64.

    Raises
    ------
    CheckError
        If an input has no gradient rule, or a gradient of one of the `orders` (1, 2) is wrong.
    """
    missing = [op._input(i) for i in floating_inputs(sample) if op._input(i) not in op.rules]
    if missing:
        raise CheckError(
            f"{op.name}: no gradient rule for {', '.join(missing)}; give one, or pass differentiable=False"
        )
    inputs, _ = _tensors(sample.arrays(seed))
    limits: Any = {"eps": DIFFERENCE_STEP, "atol": DIFFERENCE_TOLERANCE, "rtol": DIFFERENCE_TOLERANCE}

    def function(*values: Any) -> Any:
        return op(*values, **sample.params)

    try:
        if 1 in orders:
            gradcheck(function, inputs, **limits)
        if 2 in orders:
            gradgradcheck(function, inputs, **limits)
    except GradcheckError as error:
        raise CheckError(f"{op.name}: {error}") from error


def check_complex_step(op: Op, sample: Sample, *, seed: int = 0) -> int:
    """Check the gradients against the complex step, and return up to which order (0, 1 or 2) that was possible.

    With a step `h` so small that its square vanishes, `Im f(x + ih) / h` is the derivative of an analytic `f`
    without any cancellation. W. Squire and G. Trapp, "Using complex variables to estimate derivatives of real
    functions", SIAM Review 40, 1998. A forward rule takes part if it accepts complex numbers, and if the result
    agrees with central differences, which it does not where the rule is not analytic (`abs`).
    """
    arrays, params = sample.arrays(seed), sample.params
    wanted = floating_inputs(sample)
    rng = np.random.default_rng(seed)

    def forward(*values: Array) -> Array:
        return op.forward(np, *values, **params)

    inputs, leaves = _tensors(arrays)
    result = op(*inputs, **params)
    v = rng.uniform(0.5, 1.5, result.shape)
    cotangent = Tensor(v.copy()).requires_grad_()
    first = engine.grad([result], leaves, [cotangent], True, True, Tensor)
    if not _agrees_with_complex_step(op, lambda *xs: np.sum(v * forward(*xs)), arrays, wanted, first, 1):
        return 0

    weights = [rng.uniform(0.5, 1.5, g.shape) for g in first]

    def weighted(*values: Array) -> Array:
        *xs, g = values
        pulled = _pulled(op, xs, params, wanted, g)
        return sum(np.sum(w * p) for w, p in zip(weights, pulled, strict=True))

    tracked = [(g, Tensor(w)) for g, w in zip(first, weights, strict=True) if g.requires_grad]
    if not tracked:
        return 1
    second = engine.grad([g for g, _ in tracked], [*leaves, cotangent], [w for _, w in tracked], True, False, Tensor)
    every = [*wanted, len(arrays)]
    return 2 if _agrees_with_complex_step(op, weighted, [*arrays, v], every, second, 2) else 1


def _agrees_with_complex_step(
    op: Op, function: Any, arrays: list[Array], positions: Sequence[int], gradients: Sequence[Any], order: int
) -> bool:
    """Compare; False if the complex step is not to be had. `function` maps arrays to a number."""
    for position, gradient in zip(positions, gradients, strict=True):
        for k in np.ndindex(arrays[position].shape):

            def at(step: complex, position: int = position, k: tuple[int, ...] = k) -> Any:
                kind = complex if isinstance(step, complex) else float
                moved = [a.astype(kind) if i in positions else a for i, a in enumerate(arrays)]
                moved[position][k] += step
                return function(*moved)

            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("error")
                    out = at(COMPLEX_STEP * 1j)
            except Exception:  # the forward rule takes real numbers only
                return False
            if not np.iscomplexobj(out):
                return False
            wanted = out.imag / COMPLEX_STEP
            difference = (at(DIFFERENCE_STEP) - at(-DIFFERENCE_STEP)) / (2 * DIFFERENCE_STEP)
            if not abs(difference - wanted) <= 10 * DIFFERENCE_TOLERANCE * (1 + abs(wanted)):
                return False  # not analytic
            found = 0.0 if gradient is None else float(gradient.payload[k])
            if not abs(found - wanted) <= COMPLEX_TOLERANCE * (1 + abs(wanted)):
                raise CheckError(
                    f"{op.name}: the gradient of order {order} for input {position}{list(k)} is {found:.17g}; "
                    f"the complex step says {wanted:.17g}"
                )
    return True


def _pulled(op: Op, arrays: list[Array], params: dict[str, Any], wanted: Sequence[int], g: Array) -> list[Array]:
    """Return the gradients of the inputs `wanted` as the rules make them of bare (also complex) arrays."""
    layout = op.layout(len(arrays), sum(1 << i for i in wanted))
    kept = layout.keep(op.forward(np, *arrays, **params), arrays, params)
    found = []
    with override(grad=False):
        for i, part in zip(layout.wanted, layout.pull(g, kept), strict=True):
            received = engine.Received(None)
            received.add(part)
            settled = received.settle(arrays[i].shape)
            lead = settled.ndim - arrays[i].ndim
            thin = tuple(lead + k for k, n in enumerate(arrays[i].shape) if n == 1 and settled.shape[lead + k] != 1)
            found.append(settled.sum(axis=(*range(lead), *thin)).reshape(arrays[i].shape))
    return found


def check_against_host(op: Op, sample: Sample, *, device: Any, seed: int = 0) -> None:
    """Check that result and gradients of both orders on `device` are there, and equal those of NumPy."""
    where = as_device(device)
    found, expected = (_everything(op, sample, d, seed) for d in (where, CPU))
    for name, wanted in expected.items():
        got = found[name]
        if wanted is None or got is None:
            if wanted is not got:
                raise CheckError(f"{op.name}: {name} is {got} on {where}, {wanted} on the host")
            continue
        if got.device != where:
            raise CheckError(f"{op.name}: {name} is on {got.device}, not on {where}")
        host, reference = got.detach().cpu().numpy(), wanted.detach().numpy()
        if op.random:  # another device, another stream
            continue
        if not np.allclose(host, reference, rtol=1e-9, atol=1e-11, equal_nan=True):
            gap = np.max(np.abs(host - reference))
            raise CheckError(f"{op.name}: {name} on {where} differs from NumPy's by up to {gap:.3g}")


def _everything(op: Op, sample: Sample, device: Device, seed: int) -> dict[str, Any]:
    arrays, params = on_device(sample, device, seed)
    inputs, leaves = _tensors(arrays)
    out: dict[str, Any] = {"the result": op(*inputs, **params)}
    result = out["the result"]
    if not isinstance(result, Tensor):
        out["the result"] = result = Tensor(result)
    if not (op.differentiable and leaves):
        return out
    v = to_device(np.random.default_rng(seed).uniform(0.5, 1.5, result.shape), device)
    first = engine.grad([result], leaves, [Tensor(v)], True, True, Tensor)
    out |= {f"gradient {i}": g for i, g in enumerate(first)}
    tracked = [g for g in first if g is not None and g.requires_grad]
    if tracked:
        ones = [Tensor(to_device(np.ones(g.shape), device)) for g in tracked]
        second = engine.grad(tracked, leaves, ones, True, False, Tensor)
        out |= {f"second gradient {i}": g for i, g in enumerate(second)}
    return out


def _tensors(arrays: Sequence[Array]) -> tuple[list[Tensor], list[Tensor]]:
    """Return a tensor for each array, and those among them that are floating and require gradients."""
    inputs = [Tensor(a) for a in arrays]
    leaves = [x.requires_grad_() for x in inputs if dtypes.is_floating(x.dtype)]
    return inputs, leaves
