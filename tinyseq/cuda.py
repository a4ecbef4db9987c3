"""NVIDIA GPUs: are there any, and have they finished."""

from tinyseq import backend


def is_available() -> bool:
    """Tell whether CuPy is installed and sees a GPU."""
    return backend.cuda_is_available()


def device_count() -> int:
    """Return the number of GPUs that CuPy sees; 0 without CuPy."""
    return int(backend.cupy().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """Return the index of the GPU in use."""
    return int(backend.cupy().cuda.runtime.getDevice())


def synchronize() -> None:
    """Wait until the GPU has done all that it was given.

    Raises
    ------
    DeviceError
        If there is no GPU.
    """
    backend.cupy().cuda.Device().synchronize()
