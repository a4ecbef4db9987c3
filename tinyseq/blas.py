"""The OpenBLAS that NumPy's wheels carry: its number of threads, and its products without Python in between.

With any other library `openblas` is None: nothing can be read or set, and compiled programs call NumPy for products.
"""

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

NO_TRANSPOSE, TRANSPOSE = 111, 112  # how CBLAS is told to read a matrix

# Where wheels keep the library (Linux and Windows, macOS), and what their builds call its functions
_FOLDERS = ("../numpy.libs", ".dylibs")
_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


class OpenBLAS:
    """The library: how many threads a product takes, and the addresses of two products.

    `gemm` and `gemv` are the addresses of `cblas_sgemm` and `cblas_sgemv` with 64-bit sizes, 0 where there are none.
    """

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self._get = getattr(library, name.format("get_num_threads"))
        self._set = getattr(library, name.format("set_num_threads"))
        self.gemm, self.gemv = (_address(library, f"scipy_cblas_{product}64_") for product in ("sgemm", "sgemv"))

    def threads(self) -> int:
        """Return how many threads a product may take."""
        return int(self._get())

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Let products take at most `threads` threads inside a `with` block, in the whole process."""
        before = self.threads()
        if before <= threads:
            yield
            return
        self._set(threads)
        try:
            yield
        finally:
            self._set(before)


def _address(library: ctypes.CDLL, name: str) -> int:
    function = getattr(library, name, None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


@functools.cache
def openblas() -> OpenBLAS | None:
    """Return the OpenBLAS in use, or None where NumPy was built with another library."""
    root = Path(np.__file__).parent
    for path in (p for folder in _FOLDERS for p in sorted((root / folder).glob("*openblas*"))):
        try:
            library = ctypes.CDLL(str(path.resolve()))
        except OSError:
            continue
        for name in _NAMES:
            if hasattr(library, name.format("set_num_threads")):
                return OpenBLAS(library, name)
    return None


def blas_threads() -> int | None:
    """Return how many threads a matrix product uses at most; None if that cannot be known."""
    library = openblas()
    return None if library is None else library.threads()


@contextmanager
def limited_blas(threads: int) -> Iterator[None]:
    """Let matrix products use at most `threads` threads inside a `with` block, in the whole process.

    >>> with limited_blas(1):
    ...     blas_threads() in (1, None)
    True
    """
    library = openblas()
    if library is None:
        yield
        return
    with library.limited(threads):
        yield
