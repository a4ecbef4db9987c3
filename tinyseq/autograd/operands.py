"""Make the operands of one call fit each other: Python numbers, NumPy arrays and mixed dtypes."""

from typing import Any

import numpy as np

from tinyseq import ops
from tinyseq.core import dtypes
from tinyseq.core.dispatch import describe
from tinyseq.core.op import Op
from tinyseq.errors import DTypeError


def fit_operands(op: Op, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return operands of one dtype where `op` wants one, by recorded casts; `args` itself if they already fit."""
    plain = tuple(as_operand(op, a) for a in args)
    if any(p is not a for p, a in zip(plain, args, strict=True)):
        args = plain
    if op.operands is None:
        return _floating(args) if op.floating else args
    skip = 1 if op.operands == "promote branches" else 0
    operands = args[skip:]
    if op.operands == "same":
        found = {a.dtype for a in operands if hasattr(a, "dtype")}
        if len(found) > 1:
            listed = ", ".join(map(describe, operands))
            raise DTypeError(f"{op.name}: operands have different dtypes, got {listed}; cast one with .to(dtype)")
        return args
    common = dtypes.promoted(operands)
    if op.floating and common.kind != "f":
        common = dtypes.get_default_dtype()
    fitted = tuple(_cast(a, common) for a in operands)
    if all(f is a for f, a in zip(fitted, operands, strict=True)):
        return args
    return (*args[:skip], *fitted)


def as_operand(op: Op, value: Any) -> Any:
    """Return `value` as something that operations take: a tensor, an array or a Python number."""
    if isinstance(getattr(value, "dtype", None), np.dtype) and not isinstance(value, np.generic):
        return value
    if isinstance(value, bool | int | float):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return value.item()
    raise DTypeError(f"{op.name}: got {_told(value)}")


def _told(value: Any) -> str:
    """Return what a value is that no operation takes, without its numbers, and what would do instead."""
    kind, wanted = type(value).__name__, "wanted a tensor or a number"
    if hasattr(value, "_fields"):
        return f"{kind}({', '.join(value._fields)}); {wanted}: take one of its fields, as .{value._fields[0]}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}; {wanted}: take one of its items, as in output, state = rnn(x)"
    if hasattr(value, "shape"):
        return f"{type(value).__module__}.{kind} of shape {list(value.shape)}; {wanted}: make one with tinyseq.tensor"
    return f"{kind} {value!r}"[:80] + f"; {wanted}"


def _cast(value: Any, dtype: dtypes.DType) -> Any:
    if not hasattr(value, "dtype"):
        return float(value) if dtype.kind == "f" and not isinstance(value, float) else value
    return value if value.dtype == dtype else ops.cast(value, dtype=dtype)


def _floating(args: tuple[Any, ...]) -> tuple[Any, ...]:
    wanted = dtypes.get_default_dtype()
    return tuple(_cast(a, wanted) if hasattr(a, "dtype") and a.dtype.kind != "f" else a for a in args)
