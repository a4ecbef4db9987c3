"""Timings in interleaved pairs, and the table that a run ends with.

Run with one thread: `OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m pytest tests/benchmarks`.
"""

import platform
import statistics
import time
from importlib import metadata

import pytest

ROWS = []


def pytest_configure(config):
    # A failing benchmark has not used its fixture, which is no second failure
    config.addinivalue_line("filterwarnings", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning")


@pytest.fixture
def pairs():
    """Time two functions in turn, so that what disturbs the machine disturbs both; returns lists of seconds.

    With `apart` each runs some steps in a row after a pause: one library's threads, which wait for work awake and on a
    core of their own, are asleep by then and do not disturb the other's.
    """

    def measure(ours, theirs, seconds=4.0, least=5, apart=False):
        for _ in range(10):  # past the calls at which a compiled function is checked again
            ours()
        theirs()
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < least:
            times.append((timed(ours, apart), timed(theirs, apart)))
        return times

    return measure


def timed(function, apart):
    rounds = 5 if apart else 1
    time.sleep(0.02 if apart else 0.0)
    begin = time.perf_counter()
    for _ in range(rounds):
        function()
    return (time.perf_counter() - begin) / rounds


@pytest.fixture
def row(benchmark):
    """Add a row to the table: medians of both, and the median of their ratios, which is returned."""

    def add(what, times, rival, limit):
        ours, theirs = (statistics.median(side) for side in zip(*times, strict=True))
        ratio = statistics.median(a / b for a, b in times)
        ROWS.append(f"{what:<28}{ours * 1e3:>10.2f}{theirs * 1e3:>12.2f}  {rival:<18}{ratio:>6.2f}{limit:>8.2f}")
        benchmark.extra_info.update(ratio=ratio, rival=rival, rival_seconds=theirs, pairs=len(times))
        return ratio

    return add


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    versions = []
    for package in ("numpy", "torch", "numba"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    terminalreporter.section("medians of interleaved pairs, milliseconds")
    terminalreporter.write_line(f"{processor()}, Python {platform.python_version()}, {', '.join(versions)}")
    terminalreporter.write_line(
        f"{'T, B, I, H':<28}{'tinyseq':>10}{'other':>12}  {'which':<18}{'ratio':>6}{'limit':>8}"
    )
    for line in ROWS:
        terminalreporter.write_line(line)
