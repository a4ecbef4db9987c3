"""Operations that make values from nothing, and that move them between devices."""

import math
from typing import Any

from tinyseq.backend import CPU, Array, Device, Namespace, device_of, on, to_device as move
from tinyseq.core import dtypes, shapes
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import Shape

F32 = {"dtype": dtypes.float32, "device": CPU}


@op(
    shape=shapes.given,
    dtype=lambda *, dtype, **params: dtype,
    samples=(Sample(params={"shape": (2, 3), "value": 1.5, **F32}),),
    differentiable=False,
)
def full_(xp: Namespace, *, shape: Shape, value: float, dtype: dtypes.DType, device: Device) -> Array:
    """Return an array of `shape` filled with `value`."""
    with on(device) as library:
        return library.full(shape, value, dtype)


@op(shape=shapes.same, samples=(Sample(((2, 3),), params={"value": 1.0}),), differentiable=False)
def full_like_(xp: Namespace, x: Array, *, value: float) -> Array:
    """Return an array like `x` filled with `value`."""
    return xp.full(x.shape, value, x.dtype)


def filled(x: Value, shape: Shape, value: float = 0) -> Value:
    """Return an array of `shape` filled with `value`, with the dtype of `x` and where `x` lives."""
    return full_(shape=shape, value=value, dtype=x.dtype, device=device_of(x))


def ones_like(x: Value) -> Value:
    """Return ones in the shape of `x`."""
    return full_like_(x, value=1.0)


@op(shape=shapes.same, samples=(Sample(((2, 3),)),), expr="{x}", elementwise=True)
def clone(xp: Namespace, x: Array) -> Array:
    """Return a copy of `x`, through which gradients flow."""
    return x.copy()


clone.defvjp(x=lambda g: g)


@op(shape=shapes.same, samples=(Sample(((2, 3),), params={"device": CPU, "source": CPU}),), label="to")
def to_device(xp: Namespace, x: Array, *, device: Device, source: Device) -> Array:
    """Return `x`, which lives on `source`, on `device`."""
    return x.copy() if device == source else move(x, device)


to_device.defvjp(x=lambda g, device, source: to_device(g, device=source, source=device))


@op(
    shape=lambda *, start, stop, step, **params: (max(0, math.ceil((stop - start) / step)),),
    dtype=lambda *, dtype, **params: dtype,
    samples=(Sample(params={"start": 0, "stop": 5, "step": 2, **F32}),),
    differentiable=False,
)
def arange_(xp: Namespace, *, start: Any, stop: Any, step: Any, dtype: dtypes.DType, device: Device) -> Array:
    """Return the numbers from `start` up to but not including `stop`, `step` apart."""
    count = max(0, math.ceil((stop - start) / step))  # as PyTorch; NumPy rounds differently for floating steps
    whole = all(isinstance(v, int) for v in (start, step))
    with on(device) as library:
        numbers = library.arange(count, dtype=dtypes.int64 if whole else dtypes.float64)
    return (start + numbers * step).astype(dtype)


@op(
    shape=shapes.given,
    dtype=lambda *, dtype, **params: dtype,
    samples=(Sample(params={"shape": (5,), "start": 0.0, "stop": 2.0, **F32}),),
    differentiable=False,
)
def linspace_(xp: Namespace, *, shape: Shape, start: float, stop: float, dtype: dtypes.DType, device: Device) -> Array:
    """Return `shape[0]` numbers, equally far apart, from `start` to `stop` inclusive."""
    with on(device) as library:
        return library.linspace(start, stop, *shape, dtype=dtype)


@op(
    shape=shapes.given,
    dtype=lambda *, dtype, **params: dtype,
    samples=(Sample(params={"shape": (2, 3), **F32}),),
    differentiable=False,
)
def eye_(xp: Namespace, *, shape: Shape, dtype: dtypes.DType, device: Device) -> Array:
    """Return a matrix with ones on its diagonal and zeros elsewhere."""
    with on(device) as library:
        return library.eye(*shape, dtype=dtype)


__all__ = ["arange_", "clone", "eye_", "filled", "full_", "full_like_", "linspace_", "ones_like", "to_device"]
