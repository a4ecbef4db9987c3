"""The norms of gradients before and after clipping."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np

from tinyseq.autograd import Tensor
from tinyseq.inspect import plots
from tinyseq.inspect.timeline import host, size

Array = np.ndarray


class Clipping:
    """Measures gradients before and after a block that clips them, as often as the block runs.

    Parameters
    ----------
    parameters
        A module, a mapping from names to tensors, or tensors.

    Attributes
    ----------
    names
        The names of the parameters: P.

    >>> import tinyseq as ts
    >>> layer = ts.nn.Linear(2, 1)
    >>> layer(ts.full((1, 2), 100.0)).sum().backward()
    >>> clipping = Clipping(layer)
    >>> with clipping:
    ...     _ = ts.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    >>> clipping.before.shape, clipping.total_before.round(2), clipping.total_after.round(2)
    ((1, 2), array([141.42]), array([1.]))
    """

    def __init__(self, parameters: Any) -> None:
        self._tensors = _named(parameters)
        self.names = tuple(self._tensors)
        self._before: list[list[float]] = []
        self._after: list[list[float]] = []

    def __enter__(self) -> Self:
        self._held = self._norms()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._before.append(self._held)
            self._after.append(self._norms())

    def _norms(self) -> list[float]:
        return [np.nan if t.grad is None else size(host(t.grad.payload)) for t in self._tensors.values()]

    @property
    def before(self) -> Array:
        """Norms before clipping: (N runs, P); NaN for a parameter without a gradient."""
        return np.array(self._before).reshape(-1, len(self.names))

    @property
    def after(self) -> Array:
        """Norms after clipping: (N runs, P)."""
        return np.array(self._after).reshape(-1, len(self.names))

    @property
    def total_before(self) -> Array:
        """The norm of all gradients together, before: (N)."""
        return np.sqrt(np.nansum(self.before**2, axis=1))

    @property
    def total_after(self) -> Array:
        """The norm of all gradients together, after: (N)."""
        return np.sqrt(np.nansum(self.after**2, axis=1))

    def plot(self, ax: Any = None, *, log: bool = True) -> Any:
        """Draw both totals over the runs, or bars for each parameter if there was one run; return the axes."""
        if len(self._before) != 1:
            ax = plots.new_axes(ax, "Norm of all gradients together", "update", "norm")
            totals = {"before clipping": self.total_before, "after clipping": self.total_after}
            return plots.lines(ax, np.arange(1, len(self._before) + 1), totals, log=log)
        ax = plots.new_axes(ax, "Norms of the gradients before and after clipping", "", "norm")
        names = [*self.names, "all together"]
        places = np.arange(len(names))
        for k, (when, norms, total) in enumerate(
            (("before", self.before, self.total_before), ("after", self.after, self.total_after))
        ):
            ax.bar(places + 0.4 * k - 0.2, [*norms[0], total[0]], 0.38, label=when, color=plots.COLORS[k])
        ax.set_xticks(places, names, rotation=30, ha="right")
        if log:
            ax.set_yscale("log")
        ax.legend(frameon=False)
        return ax


def _named(parameters: Any) -> Mapping[str, Tensor]:
    if hasattr(parameters, "named_parameters"):
        return dict(parameters.named_parameters())
    if isinstance(parameters, Mapping):
        return dict(parameters)
    several = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return {f"parameter {k}": t for k, t in enumerate(several)}
