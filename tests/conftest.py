"""What every test starts from: the same seed, the default dtype and grad mode on; GPU tests only where there is one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests import fake_cupy
from tinyseq import backend
from tinyseq.core import dtypes
from tinyseq.core.dispatch import STATE, State

pytest.register_assert_rewrite("tests.helpers")


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    """Start from the default state and restore it, so that no test sees what another one switched."""
    token = STATE.set(State())
    yield
    STATE.reset(token)
    dtypes.set_default_dtype(dtypes.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)


REAL = [pytest.param("real", marks=pytest.mark.gpu)] if backend.cuda_is_available() else []


@pytest.fixture(params=["fake", *REAL])
def cuda(request: Any) -> Iterator[str]:
    """Name the device under test: on the stand-in for CuPy, and on the real one where there is a GPU."""
    if request.param == "real":
        yield "cuda"
    else:
        with fake_cupy.installed():
            yield "cuda"


@pytest.fixture
def fake() -> Iterator[Any]:
    """Install the stand-in for CuPy, and give it."""
    with fake_cupy.installed() as module:
        yield module


def pytest_runtest_setup(item: Any) -> None:
    """Skip tests marked `gpu` where CuPy sees no device."""
    if item.get_closest_marker("gpu") is not None and not backend.cuda_is_available():
        pytest.skip("needs CuPy and a GPU")
