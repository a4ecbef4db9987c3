"""Shape rules shared by operations: plain tuples in, plain tuple out."""

import math
import sys
from types import FrameType
from typing import Any, TypeAlias

import numpy as np

from tinyseq.errors import ArgumentError, DimError, DTypeError, ShapeError

Shape: TypeAlias = tuple[int, ...]
Dims: TypeAlias = tuple[int, ...]

# Where the functions stand that users call with a shape or a dimension
_PUBLIC = ("tinyseq.ops.", "tinyseq.autograd.creation", "tinyseq.nn.functional", "tinyseq.nn.losses_functional")


def called() -> str:
    """Return `"name: "` of the function that the user called, for a message.

    The stack is looked at only when something is wrong, so that no call pays for handing its name down.
    """
    frame: FrameType | None = sys._getframe(1)
    name = ""
    while frame is not None and (module := frame.f_globals.get("__name__", "")).startswith("tinyseq."):
        function = frame.f_code.co_name
        if module.startswith(_PUBLIC) and not function.startswith(("_", "<")):
            name = f"{function.rstrip('_')}: "
        frame = frame.f_back
    return name


def elementwise(*shapes: Shape, **params: Any) -> Shape:
    """Broadcast shapes as NumPy does.

    >>> elementwise((3, 1), (2,))
    (3, 2)
    """
    widest = max(shapes, key=len)
    if all(shape in (widest, ()) for shape in shapes):
        return widest
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(list(s)) for s in shapes)
        raise ShapeError(f"cannot broadcast shapes {listed}; sizes must be equal or 1, from the right") from None


def dim_of(dim: int, ndim: int) -> int:
    """Return `dim` counted from the front.

    >>> dim_of(-1, 3)
    2

    Raises
    ------
    DimError
        If a value of `ndim` dimensions has no such dimension.
    """
    limit = max(ndim, 1)
    try:
        wanted = dim.__index__()
    except (AttributeError, TypeError):
        raise DTypeError(f"{called()}dim: got {type(dim).__name__} {dim!r}, wanted an integer"[:200]) from None
    if not -limit <= wanted < limit:
        raise DimError(f"{called()}dim {wanted} is out of range for {ndim} dimensions: wanted {-limit} to {limit - 1}")
    return wanted + ndim if wanted < 0 and ndim else max(wanted, 0) if ndim else 0


def dims_of(dim: Any, ndim: int) -> Dims:
    """Return `dim` (an integer, several, or None for all) as sorted dimensions counted from the front."""
    if dim is None or (ndim == 0 and not isinstance(dim, int)):
        return tuple(range(ndim))
    dims = tuple(dim_of(d, ndim) for d in ((dim,) if hasattr(dim, "__index__") else dim))
    if not dims:
        return tuple(range(ndim))
    if ndim == 0:
        return ()
    if len(set(dims)) != len(dims):
        raise ShapeError(f"{called()}dim {tuple(dim)} names a dimension twice")
    return tuple(sorted(dims))


def reduced(x: Shape, *, dim: Dims, keepdim: bool, **params: Any) -> Shape:
    """Drop the dimensions `dim`, or keep them with size 1."""
    return tuple(1 if i in dim else n for i, n in enumerate(x) if keepdim or i not in dim)


def same(x: Shape, *others: Shape, **params: Any) -> Shape:
    """Return the shape of the first input."""
    return x


def given(*inputs: Shape, shape: Shape, **params: Any) -> Shape:
    """Return the shape that the call names."""
    return shape


def matmul(a: Shape, b: Shape) -> Shape:
    """Matrix product of any rank, as `numpy.matmul`: (..., N, K) @ (..., K, M) -> (..., N, M)."""
    if not a or not b:
        raise ShapeError(f"a product needs at least one dimension on both sides, got {list(a)} @ {list(b)}")
    left = a if len(a) > 1 else (1, *a)
    right = b if len(b) > 1 else (*b, 1)
    if left[-1] != right[-2]:
        raise ShapeError(f"inner sizes differ: {list(a)} @ {list(b)}, {left[-1]} against {right[-2]}")
    batch = elementwise(left[:-2], right[:-2])
    return batch + (left[-2],) * (len(a) > 1) + (right[-1],) * (len(b) > 1)


def resolve(shape: Any, size: int | None = None) -> Shape:
    """Return a shape as a tuple of integers; one -1 is worked out from `size`.

    >>> resolve((2, -1), 6)
    (2, 3)

    Raises
    ------
    ShapeError, ArgumentError
        If a size is negative, or the sizes do not multiply to `size`.
    """
    if len(shape) == 1 and not hasattr(shape[0], "__index__"):
        shape = shape[0]
    try:
        sizes = tuple(n.__index__() for n in shape)
    except (AttributeError, TypeError):
        raise DTypeError(f"{called()}shape: got {shape!r}, wanted integers") from None
    free = [i for i, n in enumerate(sizes) if n == -1]
    if len(free) > 1 or any(n < -1 for n in sizes) or (free and size is None):
        but = " but for one -1" if size is not None else ""
        raise ArgumentError(f"{called()}shape {list(sizes)}: sizes must not be negative{but}")
    if size is None:
        return sizes
    known = math.prod(n for n in sizes if n != -1)
    if free and known and size % known == 0:
        sizes = tuple(size // known if n == -1 else n for n in sizes)
    if math.prod(sizes) != size or -1 in sizes:
        raise ShapeError(f"{called()}shape {list(sizes)} does not hold {size} elements")
    return sizes
