"""What the plots share: matplotlib, which is optional, and one look."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from tinyseq.errors import RenderError

Array = np.ndarray

# Told apart by line style and marker as well as by colour (Okabe and Ito's palette)
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vP*"
FEW = 40  # steps: markers up to here


def short(values: Array) -> str:
    """Return numbers in one short line: all of a few, or the first and the last ones.

    >>> short(np.arange(20.0))
    '[0, 1, 2, ... 17, 18, 19]'
    """
    shown = [f"{value:.3g}" for value in values]
    return f"[{', '.join(shown if len(shown) <= 8 else [*shown[:3], '... ' + shown[-3], *shown[-2:]])}]"


def new_axes(ax: Any, title: str, x: str, y: str, size: tuple[float, float] = (6.4, 3.2)) -> Any:
    """Return `ax`, or axes of a new figure, with title and labels.

    Raises
    ------
    RenderError
        If matplotlib is not installed.
    """
    if ax is None:
        _, ax = _matplotlib("pyplot").subplots(figsize=size, layout="constrained")
    ax.set_title(title, fontsize="medium")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def look(number: int, points: int) -> dict[str, Any]:
    """Return how the line with this number is drawn."""
    found: dict[str, Any] = {"color": COLORS[number % len(COLORS)], "linestyle": STYLES[number % len(STYLES)]}
    if points <= FEW:
        found |= {"marker": MARKERS[number % len(MARKERS)], "markersize": 4}
    return found


def lines(ax: Any, x: Array, named: Mapping[str, Array], *, log: bool) -> Any:
    """Draw one line for each of `named` over `x`; a point that is not known (NaN) is left out."""
    offset = len(ax.get_lines())
    for k, (name, values) in enumerate(named.items()):
        ax.plot(x, values, label=name, **look(offset + k, len(x)))
    if log:
        values = np.concatenate([*named.values(), *[np.asarray(line.get_ydata(), float) for line in ax.get_lines()]])
        positive = values[values > 0]
        ax.set_yscale("log" if positive.size else "linear")
    whole_steps(ax.xaxis)
    if len(ax.get_lines()) > 1 or named:
        ax.legend(frameon=False)
    return ax


def whole_steps(axis: Any) -> None:
    """Put ticks on whole numbers only."""
    axis.get_major_locator().set_params(integer=True)


def image(ax: Any, values: Array, rows: Array, columns: Array, *, label: str, **options: Any) -> Any:
    """Draw a matrix as a heat map with a colour bar; what is not known (NaN) stays blank."""
    shown = ax.imshow(values, aspect="auto", interpolation="nearest", **options)
    for axis, numbers, most in ((ax.xaxis, columns, 12), (ax.yaxis, rows, 6)):
        places = np.arange(0, len(numbers), -(-len(numbers) // most))
        axis.set_ticks(places, labels=[str(numbers[p]) for p in places])
    ax.figure.colorbar(shown, ax=ax, label=label)
    return ax


def log_image(
    ax: Any, values: Array, rows: Array, columns: Array, *, label: str, limits: tuple[float, float] | None = None
) -> Any:
    """Draw a heat map with a logarithmic scale, of at most twelve powers of ten unless `limits` say otherwise."""
    known = values[np.isfinite(values) & (values > 0)]
    low, high = (float(known.min()), float(known.max())) if known.size else (1.0, 1.0)
    low, high = limits or (max(low, high * 1e-12), max(high, low * 1.001))
    norm = _matplotlib("colors").LogNorm(low, high, clip=True)
    shown = np.where(values < low, low, values)
    return image(ax, shown, rows, columns, label=label, norm=norm, cmap="cividis")


def column_of_axes(count: int) -> list[Any]:
    """Return the axes of a new figure, one below the other."""
    size = (6.4, 0.4 + 1.3 * count)
    _, found = _matplotlib("pyplot").subplots(count, 1, figsize=size, layout="constrained", squeeze=False, sharex=True)
    return list(found[:, 0])


def _matplotlib(part: str) -> Any:
    try:
        return import_module(f"matplotlib.{part}")
    except ImportError as error:
        raise RenderError('plot: needs matplotlib: pip install "tinyseq[viz]"') from error
