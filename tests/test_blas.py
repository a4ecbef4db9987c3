"""The limit on the threads of matrix products."""

import numpy as np
import pytest

from tinyseq.blas import blas_threads, limited_blas, openblas


def test_the_limit_holds_inside_and_is_lifted_after_an_error():
    before = blas_threads()
    seen = []

    def fails():
        with limited_blas(1):
            seen.append(blas_threads())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fails()
    assert seen[0] in (1, None)
    assert blas_threads() == before


def test_the_limit_never_raises_the_number():
    before = blas_threads()
    with limited_blas(10_000):
        assert blas_threads() == before


@pytest.mark.skipif("openblas" not in str(np.show_config(mode="dicts")), reason="NumPy uses another BLAS")
def test_the_library_of_numpy_is_found():
    assert openblas() is not None
    assert blas_threads() >= 1


def test_without_openblas_nothing_happens(monkeypatch):
    monkeypatch.setattr("tinyseq.blas.openblas", lambda: None)
    with limited_blas(1):
        assert blas_threads() is None
