"""NumPy or CuPy for these arrays: the only module that imports CuPy.

Promises: no array moves between host and device unless `to_device` is called, and importing needs NumPy alone.
"""

import functools
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tinyseq.errors import ArgumentError, DeviceError

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray
Namespace: TypeAlias = ModuleType


class Device(NamedTuple):
    """Where an array lives: `cpu`, or `cuda` with the index of the GPU.

    >>> str(Device("cpu")), str(Device("cuda", 1))
    ('cpu', 'cuda:1')
    """

    type: str
    index: int | None = None  # type: ignore[assignment]  # hides tuple.index, as torch.device has it

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


CPU = Device("cpu")

# The library that owns each array type. CuPy's row appears the first time that a CUDA device is asked for: until
# then no CuPy array can have reached an operation.
NAMESPACES: dict[type, Namespace] = {np.ndarray: np}


def namespace_of(arrays: Any) -> Namespace:
    """Return the library that owns the first array among `arrays`; NumPy if there is none."""
    for a in arrays:
        xp = NAMESPACES.get(type(a))
        if xp is not None:
            return xp
    return np


def is_array(value: Any) -> bool:
    """Tell whether `value` is an array of a library that is in use."""
    return type(value) in NAMESPACES


@functools.cache
def cupy() -> Namespace:
    """Return CuPy, or raise a `DeviceError` that says what is missing."""
    try:
        module = importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceError("device 'cuda' needs CuPy: pip install cupy-cuda13x (or cupy-cuda12x)") from error
    try:
        count = module.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own type, from a module that may be half loaded
        raise DeviceError(f"device 'cuda' needs an NVIDIA GPU and its driver; CuPy says: {error}") from error
    if count == 0:
        raise DeviceError("device 'cuda' needs an NVIDIA GPU; CuPy finds none")
    NAMESPACES[module.ndarray] = module
    return module


def cuda_is_available() -> bool:
    """Tell whether CuPy is installed and sees a GPU."""
    try:
        cupy()
    except DeviceError:
        return False
    return True


def as_device(device: "Device | str | None") -> Device:
    """Return `device` as a `Device`; `None` is the CPU.

    >>> as_device("cpu")
    Device(type='cpu', index=None)

    Raises
    ------
    ArgumentError
        If the name is neither `cpu` nor `cuda` nor `cuda:<index>`.
    """
    if device is None:
        return CPU
    if isinstance(device, Device):
        return device
    kind, _, index = str(device).partition(":")
    if kind == "cpu" and index in ("", "0"):
        return CPU
    if kind == "cuda" and (index == "" or index.isdigit()):
        return Device("cuda", int(index or 0))
    raise ArgumentError(f"device: got {device!r}, wanted 'cpu', 'cuda' or 'cuda:<index>'")


def namespace_on(device: Device) -> Namespace:
    """Return the library that makes arrays on `device`."""
    return np if device.type == "cpu" else cupy()


@contextmanager
def on(device: Device) -> Iterator[Namespace]:
    """Give the library that makes arrays on `device`, and make them there inside the `with` block."""
    xp = namespace_on(device)
    if xp is np:
        yield xp
    else:
        with xp.cuda.Device(device.index or 0):
            yield xp


def device_of(array: Array) -> Device:
    """Return where `array`, or a value that stands for one, lives."""
    if isinstance(array, np.ndarray | np.generic):
        return CPU
    found = array.device
    if found is None or isinstance(found, Device | str):
        return as_device(found)
    return Device("cuda", int(found.id))


def to_device(array: Array, device: Device) -> Array:
    """Return `array` on `device`: the one place where data crosses between host and GPU."""
    if device_of(array) == device:
        return array
    if device.type == "cpu":
        return cupy().asnumpy(array)
    with on(device) as xp:
        return xp.asarray(array)


def owner(array: Array) -> Array:
    """Return the array that owns the memory which `array` looks at."""
    base = getattr(array, "base", None)
    while base is not None and type(base) in NAMESPACES:
        array, base = base, base.base
    return array
