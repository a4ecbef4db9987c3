"""Gradients by time step: those of the states, and the share of each step in a weight's gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyseq.autograd import Tensor
from tinyseq.autograd.route import Route
from tinyseq.core.tape import Leaf
from tinyseq.errors import ArgumentError
from tinyseq.inspect import plots
from tinyseq.inspect.split import parts_by_label
from tinyseq.inspect.timeline import Key, Loop, host, labels, loops_behind, missing, size, start

Array = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class StateGradients:
    """What arrives at the states of every time step.

    Attributes
    ----------
    steps
        The time steps, ascending: (T).
    gradients
        dL/ds_t for each name: (T, B, ...), the total over every way in which s_t enters the result. NaN where none
        arrived: no way leads there on the tape, as behind a detached state.
    norms
        Their Euclidean norms over all but time: (T).
    """

    steps: Array
    gradients: Mapping[str, Array]
    norms: Mapping[str, Array]

    def __repr__(self) -> str:
        norms = ", ".join(f"|dL/d{name}| {plots.short(values)}" for name, values in self.norms.items())
        return f"<{type(self).__name__}: {len(self.steps)} time steps, {norms}>"

    def plot(self, ax: Any = None, *, names: Sequence[str] | None = None, log: bool = True, label: str = "") -> Any:
        """Draw the norms over time; return the matplotlib axes.

        `label` stands before each name, to tell several of these in the same axes apart.
        """
        ax = plots.new_axes(ax, "Gradient that arrives at each time step", "time step t", "norm of the gradient")
        chosen = {f"{label} |dL/d{n}|".strip(): self.norms[n] for n in names or self.norms}
        return plots.lines(ax, self.steps, chosen, log=log)


def gradient_by_step(
    loss: Tensor, names: Sequence[str] | None = None, gradient: Tensor | None = None
) -> StateGradients:
    """Return dL/dh_t, dL/dc_t and the like for every time step t, from the tape behind `loss`.

    Nothing is changed: no `grad` is written, and `loss.backward()` can follow.

    Parameters
    ----------
    loss
        A scalar, before `backward()` or after `backward(retain_graph=True)`.
    names
        Which named values: by default the states, that is, what the next step reads. Tapped values (gates) have the
        names that the cell gave them. Where a name occurs in several layers, it has the layer's path before it;
        where one layer ran several times, each run is told apart, as in `cell.h (loop 1 of 2)`.
    gradient
        The gradient to start from, if `loss` is not a scalar.

    Raises
    ------
    ArgumentError
        If nothing was recorded with a time step, or a name is not known.
    GradientError
        If backward has released the graph.

    >>> import tinyseq as ts
    >>> output, _ = ts.nn.Recurrent(ts.nn.LSTMCell(2, 3))(ts.ones(4, 1, 2))
    >>> found = gradient_by_step(output[-1].sum())
    >>> list(found.norms), found.gradients["c"].shape
    (['c', 'h'], (4, 1, 3))
    """
    seeds = start("gradient_by_step", loss, gradient)
    loops = loops_behind("gradient_by_step", loss)
    chosen = _chosen("gradient_by_step", loops, names)
    if not chosen:
        raise missing("gradient_by_step")
    wanted = {node: None for _, k, key in chosen for node in _nodes(loops[k], key)}
    found: dict[Any, Array] = {}

    def visit(node: Any, g: Any, _: Sequence[Any]) -> None:
        if node in wanted:
            found[node] = host(g)

    Route(list(seeds), list(wanted)).walk(seeds, visit)
    steps = np.unique(np.concatenate([loops[k].steps for _, k, _ in chosen]))
    gradients = {}
    for label, k, key in chosen:
        by_step = {turn.step: turn.named[key] for turn in loops[k].turns if key in turn.named}
        shape = next(iter(by_step.values())).shape
        dtype = next((g.dtype for g in found.values()), np.float64)
        arrived = [found.get(by_step.get(t)) for t in steps.tolist()]
        gradients[label] = np.stack([np.full(shape, np.nan, dtype) if g is None else g for g in arrived])
    norms = {label: np.array([size(g) for g in values]) for label, values in gradients.items()}
    return StateGradients(steps, gradients, norms)


def _nodes(loop: Loop, key: Key) -> list[Any]:
    return [turn.named[key] for turn in loop.turns if key in turn.named]


def _chosen(function: str, loops: Sequence[Loop], names: Sequence[str] | None) -> list[tuple[str, int, Key]]:
    """Return label, number of the loop and key of the values that are asked for."""
    if names is None:
        return [(label, k, key) for (k, key), label in labels(loops, [loop.states() for loop in loops]).items()]
    known = labels(loops, [loop.keys() for loop in loops])
    found = []
    for name in (names,) if isinstance(names, str) else names:
        same = [(label, k, key) for (k, key), label in known.items() if name in (label, key[1])]
        if not same:
            raise ArgumentError(
                f"{function}: there is no {name!r} on the tape; got {', '.join(map(repr, known.values()))}"
            )
        found += same
    return found


@dataclass(frozen=True, slots=True, eq=False)
class WeightGradient:
    """The gradient of a shared weight, split by the time step at which it was used.

    Attributes
    ----------
    steps
        The time steps, ascending: (T).
    parts
        What each step contributes: (T, *shape of the weight).
    outside
        What comes from no step: zeros, unless the weight is also used elsewhere.
    norms
        The Euclidean norms of `parts`: (T).
    """

    steps: Array
    parts: Array
    outside: Array
    norms: Array

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.steps)} time steps, norms {plots.short(self.norms)}>"

    @property
    def total(self) -> Array:
        """The gradient: the sum of all parts."""
        return self.parts.sum(0) + self.outside

    def plot(self, ax: Any = None, *, log: bool = False, label: str = "") -> Any:
        """Draw the norm of each step's share as bars; return the matplotlib axes."""
        ax = plots.new_axes(
            ax, "What each time step adds to the weight's gradient", "time step t", "norm of the contribution"
        )
        ax.bar(self.steps, self.norms, color=plots.COLORS[len(ax.containers) % len(plots.COLORS)], label=label or None)
        if log and (self.norms > 0).any():
            ax.set_yscale("log")
        if label:
            ax.legend(frameon=False)
        plots.whole_steps(ax.xaxis)
        return ax


def weight_gradient_by_step(loss: Tensor, weight: Tensor, gradient: Tensor | None = None) -> WeightGradient:
    """Return the gradient of `loss` for `weight`, split by the time step at which the weight was used.

    A contribution belongs to the last time step on its way from the loss to the weight. So the share of W_ih in a
    layer that projects all inputs at once is that of the step that reads the projection.

    Parameters
    ----------
    loss
        A scalar, before `backward()` or after `backward(retain_graph=True)`.
    weight
        A leaf tensor, such as a parameter.
    gradient
        The gradient to start from, if `loss` is not a scalar.

    Raises
    ------
    ArgumentError
        If `weight` is not a leaf that requires gradients, or `loss` does not depend on it.
    GradientError
        If backward has released the graph.

    >>> import tinyseq as ts
    >>> cell = ts.nn.RNNCell(2, 3)
    >>> loss = ts.nn.Recurrent(cell)(ts.ones(4, 1, 2))[0].sum()
    >>> split = weight_gradient_by_step(loss, cell.weight_hh)
    >>> split.parts.shape
    (4, 3, 3)
    >>> loss.backward()
    >>> bool(abs(split.total - cell.weight_hh.grad.numpy()).max() < 1e-6)
    True
    """
    if not isinstance(weight, Tensor) or not isinstance(weight.node, Leaf):
        raise ArgumentError("weight_gradient_by_step: weight must be a leaf tensor that requires gradients")
    seeds = start("weight_gradient_by_step", loss, gradient)
    steps = np.unique(np.concatenate([loop.steps for loop in loops_behind("weight_gradient_by_step", loss)]))
    found = parts_by_label(seeds, weight.node, lambda node: node.scope.step)
    if not found:
        raise ArgumentError("weight_gradient_by_step: the loss does not depend on this weight")
    held = {label: host(part) for label, part in found.items()}
    nothing = np.zeros_like(next(iter(held.values())))
    parts = np.stack([held.get(t, nothing) for t in steps.tolist()])
    return WeightGradient(steps, parts, held.get(None, nothing), np.array([size(p) for p in parts]))
