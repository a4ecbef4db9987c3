"""The OpenBLAS that NumPy's wheels carry, called without Python in between."""

import contextlib
import ctypes
import functools
import glob
import os
from collections.abc import Iterator

import numpy as np


class OpenBLAS:
    """Addresses of the two products that programs use, and the library's own number of threads."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.gemm = ctypes.cast(library.scipy_cblas_sgemm64_, ctypes.c_void_p).value or 0
        self.gemv = ctypes.cast(library.scipy_cblas_sgemv64_, ctypes.c_void_p).value or 0
        self._get = library.scipy_openblas_get_num_threads64_
        self._set = library.scipy_openblas_set_num_threads64_

    def threads(self) -> int:
        """Return how many threads a product may take."""
        return int(self._get())

    @contextlib.contextmanager
    def on_one_thread(self) -> Iterator[None]:
        """Keep products on the thread that calls them."""
        before = self.threads()
        if before == 1:
            yield
            return
        self._set(1)
        try:
            yield
        finally:
            self._set(before)


@functools.cache
def openblas() -> OpenBLAS | None:
    """Return NumPy's own OpenBLAS, or None where NumPy was built with another library."""
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    for path in glob.glob(os.path.join(folder, "libscipy_openblas64_*")):
        try:
            return OpenBLAS(ctypes.CDLL(path))
        except AttributeError:
            continue
    return None
