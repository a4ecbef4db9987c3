"""The terms of backpropagation through time, as the engine walks them and as products of explicit matrices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinyseq.autograd import Tensor
from tinyseq.autograd.creation import as_tensor
from tinyseq.autograd.route import Route, dense
from tinyseq.inspect.jacobians import one_step, whole_matrix
from tinyseq.inspect.split import add, parts_by_label
from tinyseq.inspect.timeline import Key, Loop, host

Array = np.ndarray
Adjoint = dict[Key, Array]  # a gradient for each state of one turn
Place = tuple[int, Key]  # the number of a turn, and a state


class Terms:
    """What arrives at the states of one loop, and by which way.

    Attributes
    ----------
    direct, carried, total
        For each place: what the loss takes from this state not by way of a later turn; what the next turn hands back;
        and the whole gradient, which also has what comes by way of other states of the same turn (c by way of h).
    """

    def __init__(self, loss: Tensor, seeds: Mapping[Any, Any], loop: Loop) -> None:
        self.loss, self.seeds, self.loop = loss, seeds, loop
        self.count = len(loop.turns)
        self.keys = loop.states()
        self.places = loop.places()
        self.direct: dict[Place, Array] = {}
        self.carried: dict[Place, Array] = {}
        self.total: dict[Place, Array] = {}
        self._collect()
        self._matrices = [self._matrices_of(k) for k in range(self.count)]

    def states(self, k: int) -> dict[Key, Any]:
        """Return the nodes of the states that turn `k` made."""
        named = self.loop.turns[k].named
        return {key: named[key] for key in self.keys if key in named}

    def at(self, values: Mapping[Place, Array], k: int) -> Adjoint:
        """Return the values of turn `k`."""
        return {key: values[k, key] for key in self.states(k)}

    def arriving(self, k: int) -> Adjoint:
        """Return λ_k: what arrives at the states from outside of their own turn."""
        return {key: self.direct[k, key] + self.carried[k, key] for key in self.states(k)}

    def _collect(self) -> None:
        owner = {node: (k, key) for k in range(self.count) for key, node in self.states(k).items()}
        for node, place in owner.items():
            for sums in (self.direct, self.carried, self.total):
                sums[place] = np.zeros(node.shape)
        entering: dict[int, dict[Any, Any]] = {}  # each turn's other values that are used outside of it, as outputs
        for node, seed in self.seeds.items():
            if node in owner:
                self.direct[owner[node]] += host(seed)
            elif node in self.places:
                add(entering.setdefault(self.places[node], {}), node, seed)

        def visit(node: Any, g: Any, parts: Sequence[Any]) -> None:
            if node in owner:
                self.total[owner[node]] += host(g)
            origin = self.places.get(node)
            for edge, part in zip(node.edges if parts else (), parts, strict=True):
                place = self.places.get(edge)
                if part is None or place is None or place == origin:
                    continue
                if edge in owner:
                    sums = self.carried if origin == place + 1 else self.direct
                    sums[owner[edge]] += host(dense(part, edge.shape))
                else:
                    add(entering.setdefault(place, {}), edge, dense(part, edge.shape))

        Route(list(self.seeds)).walk(self.seeds, visit)
        for k, seeds in entering.items():
            self._enter(k, seeds, owner)

    def _enter(self, k: int, seeds: Mapping[Any, Any], owner: Mapping[Any, Place]) -> None:
        """Take gradients of values of turn `k` to its states, not through one state to the next."""

        def visit(node: Any, g: Any, _: Sequence[Any]) -> None:
            if node in owner:
                self.direct[owner[node]] += host(g)

        ends = list(self.states(k).values())
        Route(list(seeds), ends, stop=True, inside=lambda node: self.places.get(node) == k).walk(seeds, visit)

    def _matrices_of(self, k: int) -> dict[tuple[Key, Key], Array]:
        """Return ds_k/ds_{k-1}: for each pair of states, (B, units, units)."""
        return one_step(self.places, k, self.states(k - 1), self.states(k), self.loss) if k else {}

    def back(self, k: int, adjoint: Adjoint) -> Adjoint:
        """Return (ds_k/ds_{k-1})ᵀ times a gradient at s_k, with explicit matrices."""
        found = {}
        for other, node in self.states(k - 1).items():
            total = np.zeros((node.shape[0], int(np.prod(node.shape[1:]))))
            for key, g in adjoint.items():
                total += np.einsum("bij,bi->bj", self._matrices[k][key, other], g.reshape(len(g), -1))
            found[other] = total.reshape(node.shape)
        return found

    def factor(self, k: int) -> float:
        """Return the largest singular value of ds_k/ds_{k-1}, all states together, the mean over the batch."""
        return float(np.linalg.norm(whole_matrix(self._matrices[k]), 2, axis=(1, 2)).mean())

    def weight_parts(self, k: int, adjoint: Adjoint, weight: Any) -> dict[int, Array]:
        """Walk from a gradient at the states of turn `k` to a weight; return its parts by the turn of their use."""
        like = self.loss
        seeds = {
            self.states(k)[key]: as_tensor(g, dtype=like.dtype, device=like.device).payload
            for key, g in adjoint.items()
            if g.any()
        }
        found = parts_by_label(seeds, weight, self.places.get) if seeds else {}
        return {place: host(part).astype(np.float64) for place, part in found.items() if isinstance(place, int)}

    def in_own_turn(self, k: int, adjoint: Adjoint, weight: Any) -> Array:
        """Return (∂s_k/∂W)ᵀ times a gradient at s_k: what the weight's use in turn `k` receives."""
        return self.weight_parts(k, adjoint, weight).get(k, np.zeros(weight.shape))
