"""Dtypes: their names, the default, and how mixed ones combine (as in PyTorch, not as in NumPy)."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from tinyseq.errors import DTypeError

DType: TypeAlias = np.dtype[Any]

float16, float32, float64 = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
uint8, int8, int16 = np.dtype("uint8"), np.dtype("int8"), np.dtype("int16")
int32, int64, bool_ = np.dtype("int32"), np.dtype("int64"), np.dtype("bool")
SUPPORTED = (float16, float32, float64, uint8, int8, int16, int32, int64, bool_)

_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}
_default = float32


def get_default_dtype() -> DType:
    """Return the dtype of floating-point values for which none is named.

    >>> get_default_dtype()
    dtype('float32')
    """
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Make `dtype` (float16, float32 or float64) the default for floating-point values.

    Raises
    ------
    DTypeError
        If `dtype` is not a floating-point dtype.
    """
    global _default
    wanted = as_dtype(dtype)
    if wanted.kind != "f":
        raise DTypeError(f"set_default_dtype: got {wanted}, wanted float16, float32 or float64")
    _default = wanted


def as_dtype(dtype: Any) -> DType:
    """Return `dtype` as a NumPy dtype; Python's `float` is the default dtype, as in PyTorch.

    >>> as_dtype("int64"), as_dtype(float)
    (dtype('int64'), dtype('float32'))

    Raises
    ------
    DTypeError
        If tinyseq has no such dtype.
    """
    if dtype is float:
        return _default
    try:
        found = np.dtype(dtype)
    except TypeError:
        listed = ", ".join(map(str, SUPPORTED))
        raise DTypeError(f"dtype: got {dtype!r}, wanted one of {listed} (devices are 'cpu' and 'cuda')") from None
    if found not in SUPPORTED:
        raise DTypeError(f"dtype: got {found}, wanted one of {', '.join(map(str, SUPPORTED))}")
    return found


def is_floating(dtype: DType) -> bool:
    """Tell whether values of `dtype` can have gradients."""
    return dtype.kind == "f"


def of_scalar(value: Any) -> DType:
    """Return the dtype that a Python number stands for on its own."""
    if isinstance(value, bool):
        return bool_
    return int64 if isinstance(value, int) else _default


def floating(*dtypes: DType, **params: Any) -> DType:
    """Dtype rule: the first dtype if it is floating, else the default."""
    return dtypes[0] if dtypes and dtypes[0].kind == "f" else _default


def promoted(operands: Sequence[Any]) -> DType:
    """Return the dtype in which mixed operands meet: arrays outrank 0-d arrays, which outrank Python numbers.

    A lower rank counts only if its kind (bool, integer, floating) is higher.
    Rule: https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc

    >>> promoted([np.zeros(2, np.int64), np.zeros(2, np.float32)])
    dtype('float32')
    >>> promoted([np.zeros(2, np.float32), np.zeros((), np.float64)])
    dtype('float32')
    """
    best: DType | None = None
    ranks: list[list[DType]] = [[], [], []]
    for v in operands:
        if hasattr(v, "dtype"):
            ranks[0 if len(v.shape) else 1].append(v.dtype)
        else:
            ranks[2].append(of_scalar(v))
    for rank in ranks:
        if not rank:
            continue
        joined = rank[0]
        for dtype in rank[1:]:
            joined = _joined(joined, dtype)
        if best is None or _CATEGORY[joined.kind] > _CATEGORY[best.kind]:
            best = joined
    return best or _default


def _joined(x: DType, y: DType) -> DType:
    if _CATEGORY[x.kind] != _CATEGORY[y.kind]:
        return x if _CATEGORY[x.kind] > _CATEGORY[y.kind] else y
    return np.promote_types(x, y)
