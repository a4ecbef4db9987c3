"""How much a state depends on an earlier one: |dh_t/dh_k|, the factor by which gradients shrink or grow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tinyseq.autograd import Tensor
from tinyseq.autograd.creation import as_tensor
from tinyseq.autograd.route import Route
from tinyseq.errors import ArgumentError
from tinyseq.inspect import plots
from tinyseq.inspect.timeline import host, loops_behind, pick

Array = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class JacobianNorms:
    """The norms of the Jacobian matrices of later states with respect to earlier ones.

    Attributes
    ----------
    name
        The state.
    steps
        The time steps in the order in which they ran: (T).
    norms
        |dh_t/dh_k| at [t, k], the mean over the batch: (T, T). NaN where step k comes after step t, and in rows that
        were not asked for.
    """

    name: str
    steps: Array
    norms: Array

    def plot(self, ax: Any = None, *, limits: tuple[float, float] | None = None) -> Any:
        """Draw a heat map on a logarithmic scale, which `limits` can fix; return the matplotlib axes."""
        s = self.name
        ax = plots.new_axes(ax, f"|d{s}_t / d{s}_k|", "earlier step k", "later step t", size=(5.0, 4.2))
        return plots.log_image(ax, self.norms, self.steps, self.steps, label="factor", limits=limits)


def jacobian_norms(
    output: Tensor, name: str = "h", *, order: float | Literal["fro", "nuc"] = 2, rows: Sequence[int] | None = None
) -> JacobianNorms:
    """Return |dh_t/dh_k| for all steps k <= t of the recurrent layer behind `output`.

    dh_t/dh_k is the total derivative: it runs through everything between the two, also other states. Sequences of a
    batch must not influence one another. It takes a backward walk for each unit and each t.

    R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013,
    equation 5.

    Parameters
    ----------
    output
        Any tensor computed from the layer, before `backward()`: its outputs, or a loss.
    name
        The state, with the layer's path before it if several layers have one of this name.
    order
        The matrix norm, as `numpy.linalg.norm` has it: 2 is the largest singular value, "fro" the Frobenius norm.
    rows
        Time steps t to compute; all by default.

    Raises
    ------
    ArgumentError
        If there is no such state on the tape.

    >>> import tinyseq as ts
    >>> output, _ = ts.nn.Recurrent(ts.nn.RNNCell(2, 3))(ts.ones(4, 1, 2))
    >>> jacobian_norms(output).norms.round(3)[0, 0]
    np.float64(1.0)
    """
    if not isinstance(output, Tensor) or output.node is None:
        raise ArgumentError("jacobian_norms: wanted a tensor with a history, computed from a recurrent layer")
    loops = loops_behind("jacobian_norms", output)
    loop, key = pick("jacobian_norms", loops, name, [found.keys() for found in loops])
    nodes = [turn.named.get(key) for turn in loop.turns]
    norms = np.full((len(nodes), len(nodes)), np.nan)
    asked = None if rows is None else set(rows)
    for t, node in enumerate(nodes):
        if node is None or (asked is not None and loop.turns[t].step not in asked):
            continue
        earlier = [n for n in nodes[: t + 1] if n is not None]
        for before, matrices in jacobian(Route([node], earlier), node, earlier, output).items():
            norms[t, nodes.index(before)] = float(np.linalg.norm(matrices, order, axis=(1, 2)).mean())
    return JacobianNorms(name, loop.steps, norms)


def jacobian(route: Route, node: Any, earlier: Sequence[Any], like: Tensor) -> dict[Any, Array]:
    """Return d node / d e for each of `earlier` along `route`: (B, units of node, units of e); zeros for no way.

    Dtype and device are those of `like`.
    """
    batch, units = node.shape[0], int(np.prod(node.shape[1:]))
    found = {e: np.zeros((batch, units, int(np.prod(e.shape[1:])))) for e in earlier}

    for j in range(units):
        seed = np.zeros((batch, units))
        seed[:, j] = 1.0

        def visit(at: Any, g: Any, _: Sequence[Any], j: int = j) -> None:
            if at in found:
                found[at][:, j] = host(g).reshape(batch, -1)

        start = as_tensor(seed.reshape(node.shape), dtype=like.dtype, device=like.device)
        route.walk({node: start.payload}, visit)
    return found
