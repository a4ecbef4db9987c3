"""How much a state depends on an earlier one: |dh_t/dh_k|, the factor by which gradients shrink or grow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tinyseq.autograd import Tensor, engine
from tinyseq.autograd.creation import as_tensor
from tinyseq.autograd.route import Route
from tinyseq.errors import ArgumentError
from tinyseq.inspect import plots
from tinyseq.inspect.timeline import Key, Loop, host, loops_behind, pick

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

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}, {len(self.steps)} time steps, norms {list(self.norms.shape)}>"

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
    batch must not influence one another. Where each step depends on the earlier ones by the states of the one before
    alone, the matrices are products of those of single steps; else it takes a walk for each unit and each t.

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
    count = len(loop.turns)
    asked = [t for t in range(count) if rows is None or loop.turns[t].step in set(rows)]
    norms = np.full((count, count), np.nan)
    by_pair = _chained if is_chain(loop, output) else _walked
    for t, k, matrices in by_pair(loop, key, asked, output):
        norms[t, k] = float(np.linalg.norm(matrices, order, axis=(1, 2)).mean())
    return JacobianNorms(name, loop.steps, norms)


def is_chain(loop: Loop, output: Tensor) -> bool:
    """Tell whether every turn depends on the earlier ones by the states of the one before alone."""
    states, places = loop.states(), loop.places()
    passed = {turn.named.get(key) for turn in loop.turns for key in states}
    inside = engine.leading_to(set(places), engine.reachable([output.node]))
    return None not in passed and all(
        edge not in inside or places.get(edge) == k or (places.get(edge) == k - 1 and edge in passed)
        for node, k in places.items()
        for edge in node.edges
    )


def _walked(loop: Loop, key: Key, rows: Sequence[int], like: Tensor) -> Iterator[tuple[int, int, Array]]:
    """Yield t, k and the Jacobian matrices, by walks from step t over all earlier ones."""
    nodes = [turn.named.get(key) for turn in loop.turns]
    for t in rows:
        if nodes[t] is not None:
            earlier = [n for n in nodes[: t + 1] if n is not None]
            for before, matrices in jacobian(Route([nodes[t]], earlier), nodes[t], earlier, like).items():
                yield t, nodes.index(before), matrices


def _chained(loop: Loop, key: Key, rows: Sequence[int], like: Tensor) -> Iterator[tuple[int, int, Array]]:
    """Yield the same, as products of the matrices of single steps."""
    states = loop.states() if key in loop.states() else [*loop.states(), key]
    turns, places = [{s: turn.named[s] for s in states} for turn in loop.turns], loop.places()
    whole = [whole_matrix(one_step(places, k, turns[k - 1], turns[k], like)) if k else None for k in range(len(turns))]
    size = [int(np.prod(turns[0][s].shape[1:])) for s in states]
    first = sum(size[: states.index(key)])
    mine = slice(first, first + size[states.index(key)])
    for k in range(max(rows, default=-1) + 1):
        reach = one_step(places, k, {key: turns[k][key]}, turns[k], like)  # also from c to h within the step
        product = whole_matrix(reach)
        for t in range(k, max(rows) + 1):
            product = product if t == k else whole[t] @ product
            if t in rows:
                yield t, k, product[:, mine]


def one_step(
    places: Mapping[Any, int], k: int, before: Mapping[Key, Any], after: Mapping[Key, Any], like: Tensor
) -> dict[tuple[Key, Key], Array]:
    """Return the Jacobian matrices of the values `after` of turn `k` for each of `before`: (B, units, units)."""
    ends, found = list(before.values()), {}
    for key, node in after.items():
        made = jacobian(Route([node], ends, True, lambda n: places.get(n) == k), node, ends, like)
        found.update({(key, other): made[at] for other, at in before.items()})
    return found


def whole_matrix(blocks: Mapping[tuple[Key, Key], Array]) -> Array:
    """Return blocks, which stand in order of rows, then columns, as one matrix for each sequence."""
    rows: dict[Key, list[Array]] = {}
    for (row, _), block in blocks.items():
        rows.setdefault(row, []).append(block)
    return np.concatenate([np.concatenate(row, axis=2) for row in rows.values()], axis=1)


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
