"""Functions that make new tensors."""

from typing import Any

import numpy as np

from tinyseq import ops
from tinyseq.autograd.tensor import Tensor
from tinyseq.backend import as_device, to_device
from tinyseq.core import dtypes, shapes


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a new tensor that holds a copy of `data`.

    Floating-point Python numbers become the default dtype; arrays keep theirs.
    """
    if isinstance(data, Tensor):
        array = data.payload.copy()
    else:
        array = np.array(data)
        if not hasattr(data, "dtype") and array.dtype.kind == "f":
            array = array.astype(dtypes.get_default_dtype())
    if dtype is not None:
        array = array.astype(dtypes.as_dtype(dtype), copy=False)
    dtypes.as_dtype(array.dtype)
    if device is not None:
        array = to_device(array, as_device(device))
    return Tensor(array).requires_grad_(requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of zeros."""
    wanted = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    payload = ops.full_(shape=shapes.resolve(size), value=0, dtype=wanted, device=as_device(device))
    return Tensor(payload).requires_grad_(requires_grad)
