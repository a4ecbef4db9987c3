"""Print versions, BLAS, threads, numba, renderer and GPU found; for what is missing, the command that installs it."""

import argparse
import importlib
import importlib.util
import os
import platform
from importlib import metadata
from typing import Any

import numpy as np

from tinyseq.backend import cupy
from tinyseq.blas import blas_threads
from tinyseq.errors import DeviceError, RenderError
from tinyseq.render import engines

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options: there are none."""


def run(options: argparse.Namespace) -> int:
    """Print what is found."""
    rows = {
        "tinyseq": _version("tinyseq") or "not installed as a package",
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "NumPy": np.__version__,
        "BLAS": _blas(),
        "threads": _threads(),
        "safetensors": _version("safetensors") or "missing",
        "numba": _extra("numba", "fast", "compiled functions run without it, but slower"),
        "renderer": _renderer(),
        "matplotlib": _extra("matplotlib", "viz", "needed for plots"),
        "GPU": _gpu(),
    }
    for name, found in rows.items():
        print(f"{name:<13}{found}")
    return 0


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _extra(package: str, extra: str, why: str) -> str:
    """Return the version of an optional package that can be imported, or how to get it."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        said = "missing" if _version(package) is None else f"cannot be imported ({error})"
        return f'{said}; {why}: pip install "tinyseq[{extra}]"'
    return _version(package) or "there"


def _blas() -> str:
    config: Any = np.show_config(mode="dicts")
    found = config.get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()


def _threads() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    blas = blas_threads()
    return f"{usable} cores" + (f"; BLAS uses up to {blas}" if blas else "") + "".join(f"; {x}" for x in limits)


def _renderer() -> str:
    try:
        engine = engines.find()
    except RenderError as error:
        return f"missing; {error}"
    version = _version(engine.name)
    return f"{engine.name}{f' {version}' if version else ''}" + (f" ({engine.program})" if engine.program else "")


def _gpu() -> str:
    if importlib.util.find_spec("cupy") is None:
        return 'none used; with an NVIDIA GPU: pip install "tinyseq[cuda]"'
    try:
        library = cupy()
        properties = library.cuda.runtime.getDeviceProperties(0)
    except DeviceError as error:
        return f"none; {error}"
    return f"{properties['name'].decode()}, CuPy {library.__version__}"
