"""What gates and states were at every time step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyseq.autograd.nested import tensors_in
from tinyseq.core.dispatch import override
from tinyseq.errors import ArgumentError
from tinyseq.inspect import plots
from tinyseq.inspect.running import Watch
from tinyseq.inspect.timeline import ADVICE, host, labels, loops_of

Array = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The named values of every time step.

    Attributes
    ----------
    steps
        The time steps, ascending: (T).
    values
        The values of each name: (T, B, ...).
    """

    steps: Array
    values: Mapping[str, Array]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in self.values.items())
        return f"<{type(self).__name__}: {len(self.steps)} time steps, {shapes}>"

    def __getitem__(self, name: str) -> Array:
        return self.values[name]

    def plot(self, axes: Any = None, *, names: Sequence[str] | None = None, sequence: int = 0) -> Any:
        """Draw a heat map for each name, units over time, of one sequence of the batch; return the matplotlib axes."""
        chosen = list(names or self.values)
        if axes is None:
            axes = plots.column_of_axes(len(chosen))
        for ax, name in zip(axes, chosen, strict=True):
            values = self.values[name][:, sequence].reshape(len(self.steps), -1).T
            bounded = values.min() >= 0 and values.max() <= 1
            most = 1.0 if bounded else float(np.abs(values).max()) or 1.0
            plots.new_axes(ax, "", "", f"{name}: unit")
            plots.image(
                ax,
                values,
                np.arange(len(values)),
                self.steps,
                label="",
                cmap="viridis" if bounded else "RdBu_r",
                vmin=0.0 if bounded else -most,
                vmax=most,
            )
        axes[-1].set_xlabel("time step t")
        return axes


def gates(module: Callable[..., Any], *inputs: Any, names: Sequence[str] | None = None, **options: Any) -> Recording:
    """Run a recurrent module and return its gates and states at every time step.

    Every value counts that the cell taps, and every state; also in a layer that has no `record`, in several layers,
    and in a model around them. Steps that a mask leaves out show what the cell computed there.

    Parameters
    ----------
    module
        A module or function, called once with `inputs` and `options`.
    names
        Which names; all by default. Where a name occurs in several layers, it has the layer's path before it.

    Raises
    ------
    ArgumentError
        If nothing was recorded with a time step, or a name is not known.

    >>> import tinyseq as ts
    >>> recording = gates(ts.nn.LSTM(2, 3), ts.ones(4, 1, 2))
    >>> list(recording.values), recording["f"].shape
    (['i', 'f', 'g', 'o', 'c', 'h'], (4, 1, 3))
    """
    watch = Watch()
    with override(grad=True, inference=False, bottom=watch):
        results = module(*inputs, **options)
    loops = loops_of([t.node for t in tensors_in(results) if t.node is not None])
    if not loops:
        raise ArgumentError(f"gates: nothing here was recorded with a time step and needs gradients. {ADVICE}")
    known = labels(loops, [loop.keys() for loop in loops])
    steps = np.unique(np.concatenate([loop.steps for loop in loops]))
    values = {}
    for (k, key), label in known.items():
        if names is not None and label not in names and key[1] not in names:
            continue
        made = {turn.step: host(watch.outputs[turn.named[key].seq]) for turn in loops[k].turns if key in turn.named}
        empty = np.full_like(next(iter(made.values())), np.nan)
        values[label] = np.stack([made.get(t, empty) for t in steps.tolist()])
    if not values:
        raise ArgumentError(f"gates: got names {names!r}, wanted some of {', '.join(map(repr, known.values()))}")
    return Recording(steps, values)
