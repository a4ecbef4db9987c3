"""How many threads NumPy's matrix products use: read and set while the program runs.

Works with the OpenBLAS that NumPy's wheels bring; with any other library `blas_threads` is None, and setting does
nothing. Changes hold for the whole process.
"""

import ctypes
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

# Where wheels keep the library (Linux and Windows, macOS), and what their builds call its functions
_FOLDERS = ("../numpy.libs", ".dylibs")
_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


@functools.cache
def _library() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """Return the functions that read and set the number of threads."""
    root = Path(np.__file__).parent
    for path in (p for folder in _FOLDERS for p in sorted((root / folder).glob("*openblas*"))):
        try:
            library = ctypes.CDLL(str(path.resolve()))
        except OSError:
            continue
        for name in _NAMES:
            if hasattr(library, name.format("set_num_threads")):
                return getattr(library, name.format("get_num_threads")), getattr(
                    library, name.format("set_num_threads")
                )
    return None


def blas_threads() -> int | None:
    """Return how many threads a matrix product uses at most; None if that cannot be known."""
    found = _library()
    return None if found is None else int(found[0]())


@contextmanager
def limited_blas(threads: int) -> Iterator[None]:
    """Let matrix products use at most `threads` threads inside a `with` block, in the whole process.

    >>> with limited_blas(1):
    ...     blas_threads() in (1, None)
    True
    """
    found, before = _library(), blas_threads()
    if found is None or before is None:
        yield
        return
    found[1](min(threads, before))
    try:
        yield
    finally:
        found[1](before)
