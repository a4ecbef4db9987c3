"""Backpropagation through time, told term by term from the tape, with each term checked by a second computation.

Let s_t be the states of step t (h_t; for an LSTM h_t and c_t), and ∂L/∂s_t what the loss takes from them directly,
not by way of a later step. Then, with λ_t for all that arrives at the end of step t,

    λ_t = ∂L/∂s_t + (ds_{t+1}/ds_t)ᵀ λ_{t+1}
    dL/dW = Σ_t Σ_{k≤t} (∂s_k/∂W)ᵀ (ds_{k+1}/ds_k)ᵀ ... (ds_t/ds_{t-1})ᵀ ∂L/∂s_t

P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proc. IEEE 78 (1990); the double sum as
in R. Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013, equations 3 to 5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinyseq.autograd import Tensor
from tinyseq.autograd.route import Route
from tinyseq.core.dispatch import override
from tinyseq.core.tape import Leaf
from tinyseq.errors import ArgumentError
from tinyseq.inspect import plots
from tinyseq.inspect.running import Nudge, Watch
from tinyseq.inspect.split import parts_by_label
from tinyseq.inspect.terms import Terms
from tinyseq.inspect.timeline import host, labels, loops_behind, missing, size, start

Array = np.ndarray

MOST_COLUMNS = 8  # of the table of terms, as text


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """One statement: its size as the engine has it, the largest relative difference, and how it was computed again."""

    text: str
    size: float
    error: float
    way: str  # "matrices", "one walk" of the engine, or finite "differences"
    passed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The terms of backpropagation through time; `print` it.

    Attributes
    ----------
    steps
        The time steps in the order in which they ran: (T).
    direct
        Norms of ∂L/∂s_t: (T).
    carried
        Norms of what the next step hands back: (T).
    arriving
        Norms of their sum λ_t: (T).
    terms
        For each weight the norms of the terms of the double sum at [t, k]: (T, T), NaN for k > t.
    checks
        Every statement that was checked.
    text
        All of it, to read.
    """

    steps: Array
    direct: Array
    carried: Array
    arriving: Array
    terms: Mapping[str, Array]
    checks: Sequence[Check]
    text: str

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def plot(self, ax: Any = None, *, weight: str | None = None) -> Any:
        """Draw a heat map of the terms of a weight, by default the first; return the matplotlib axes."""
        name = next(iter(self.terms)) if weight is None else weight
        ax = plots.new_axes(ax, f"Terms of dL/d {name}", "weight used at step k", "loss at step t", size=(5.0, 4.2))
        return plots.log_image(ax, self.terms[name], self.steps, self.steps, label="norm of the term")


def explain_backward(
    loss: Tensor | Callable[[], Tensor], weights: Any = None, *, loop: int = -1, tolerance: float | None = None
) -> Explanation:
    """Return the terms of backpropagation through time behind `loss`, each computed twice, as text and as arrays.

    The engine's walk is compared with products of explicit Jacobian matrices, and, if `loss` is a function, with
    central finite differences: the function runs again with one state, or one use of a weight, changed a little.
    Sequences of a batch must not influence one another. Meant for some ten steps of some ten units.

    Parameters
    ----------
    loss
        A scalar before `backward()`, or a function without arguments that returns one, the same in every run.
    weights
        A module, or a mapping from names to leaf tensors: which weights to explain, and their names. By default all
        that the steps use.
    loop
        Which recurrent layer, if there are several: an index in the order in which they ran.
    tolerance
        Relative error up to which a check passes; by default 1e-9 in float64 and 1e-3 otherwise, and its square root
        for finite differences.

    Raises
    ------
    ArgumentError
        If nothing was recorded with a time step.
    GradientError
        If backward has released the graph.

    >>> import tinyseq as ts
    >>> rnn = ts.nn.Recurrent(ts.nn.RNNCell(2, 3))
    >>> told = explain_backward(rnn(ts.ones(3, 1, 2))[0].sum(), rnn)
    >>> list(told.terms), told.passed
    (['cell.weight_ih', 'cell.weight_hh', 'cell.bias_ih', 'cell.bias_hh'], True)
    """
    rerun, watch = None, Watch()
    if not isinstance(loss, Tensor) and callable(loss):
        rerun = loss
        with override(grad=True, bottom=watch):
            loss = rerun()
    seeds = start("explain_backward", loss)
    loops = loops_behind("explain_backward", loss)
    if not -len(loops) <= loop < len(loops):
        raise ArgumentError(f"explain_backward: got loop {loop}; there are {len(loops)}")
    if not loops[loop].states():
        raise missing("explain_backward")
    terms = Terms(loss, seeds, loops[loop])
    if tolerance is None:
        tolerance = 1e-9 if loss.dtype == np.float64 else 1e-3
    teller = _Teller(terms, tolerance, rerun, watch, alone=len(loops) == 1)
    return teller.tell(_weights(loss, weights))


def _weights(loss: Any, given: Any) -> list[tuple[str, Any]]:
    """Return names and leaf tensors or leaves."""
    if given is not None:
        named = given.named_parameters() if hasattr(given, "named_parameters") else given.items()
        return [(name, t) for name, t in named if isinstance(t.node, Leaf)]
    found: list[tuple[str, Any]] = []
    for leaf in reversed(Route([loss.node]).order):
        if isinstance(leaf, Leaf):
            name = f"W[{'×'.join(map(str, leaf.shape))}]"
            found.append((name + "'" * sum(n.rstrip("'") == name for n, _ in found), leaf))
    return found


class _Teller:
    """Checks the terms and writes the text."""

    def __init__(
        self, terms: Terms, tolerance: float, rerun: Callable[[], Tensor] | None, watch: Watch, alone: bool
    ) -> None:
        self.terms, self.tolerance, self.rerun, self.watch, self.alone = terms, tolerance, rerun, watch, alone
        self.steps = terms.loop.steps
        self.checks: list[Check] = []
        self.lines: list[str] = []
        self.base = float(terms.loss.item())
        self.precision = float(np.finfo(terms.loss.dtype).eps)

    def tell(self, weights: list[tuple[str, Any]]) -> Explanation:
        """Write all."""
        terms = self.terms
        names = ", ".join(labels([terms.loop], [terms.keys]).values())
        self.lines.append(
            f"L = {self.base:.6g}, {terms.count} time steps, states s_t = ({names}). |x| is the norm of x."
        )
        norms = self._arrivals()
        tables = {}
        for name, weight in weights:
            leaf = getattr(weight, "node", weight)
            if (table := self._weight(name, weight, leaf)) is not None:
                tables[name] = table
        failed = [check for check in self.checks if not check.passed]
        verdict = "all passed" if not failed else f"{len(failed)} FAILED: " + "; ".join(c.text for c in failed[:5])
        self.lines += ["", f"{len(self.checks)} checks, {verdict}."]
        return Explanation(self.steps, *norms, tables, self.checks, "\n".join([line.rstrip() for line in self.lines]))

    # The states

    def _arrivals(self) -> tuple[Array, Array, Array]:
        terms, last = self.terms, self.terms.count - 1
        direct, carried, arriving = (np.zeros(terms.count) for _ in range(3))
        head = f"{'step t':>8}{'|∂L/∂s_t|':>13}{'|from t+1|':>13}{'|λ_t|':>13}{'factor':>9}   checks"
        self.lines += ["", "Gradients of the states, from the last step to the first:"]
        self.lines += ["    λ_t = ∂L/∂s_t + (ds_t+1/ds_t)ᵀ λ_t+1", "", head]
        for k in range(last, -1, -1):
            own, handed, all_ = (
                _norm(a) for a in (terms.at(terms.direct, k), terms.at(terms.carried, k), terms.arriving(k))
            )
            direct[k], carried[k], arriving[k] = own, handed, all_
            said: list[Check] = []
            factor = f"{terms.factor(k + 1):9.4f}" if k < last else f"{'-':>9}"
            if k < last:
                again = terms.back(k + 1, terms.arriving(k + 1))
                error = max(_error(terms.carried[k, key], again[key]) for key in again)
                said.append(self._check(f"λ_{self.steps[k]}: from step t+1", handed, error, "matrices"))
            said += self._nudged_states(k)
            self.lines.append(f"{self.steps[k]:>8}{own:13.5g}{handed:13.5g}{all_:13.5g}{factor}   {_said(said)}")
        self.lines.append(
            "factor: the largest singular value of ds_t+1/ds_t; the carried gradient grows at most by it."
        )
        return direct, carried, arriving

    def _nudged_states(self, k: int) -> list[Check]:
        if self.rerun is None:
            return []
        said = []
        for key, node in self.terms.states(k).items():
            g = self.terms.total[k, key]
            call = self.watch.calls[node.seq]
            statement = f"|dL/d{key[1]}_{self.steps[k]}|"
            said.append(self._finite(statement, g, partial(Nudge, call=call)))
        return said

    # A weight

    def _weight(self, name: str, weight: Any, leaf: Any) -> Array | None:
        terms, n = self.terms, self.terms.count
        norms = np.full((n, n), np.nan)
        sums: dict[int, Array] = {}
        worst, count = 0.0, 0
        for t in range(n):
            own = terms.at(terms.direct, t)
            norms[t, : t + 1] = 0.0
            walked = terms.weight_parts(t, own, leaf)
            adjoint = own
            for k in range(t, -1, -1) if walked else ():
                part = walked.get(k, np.zeros(leaf.shape))
                norms[t, k] = size(part)
                sums[k] = sums[k] + part if k in sums else part
                worst, count = max(worst, _error(part, terms.in_own_turn(k, adjoint, leaf))), count + 1
                adjoint = terms.back(k, adjoint) if k else {}
        if not sums:
            return None
        found = parts_by_label(self.terms.seeds, leaf, terms.places.get)
        whole = {k: host(part).astype(np.float64) for k, part in found.items() if isinstance(k, int)}
        apart = max(_error(whole[k], sums.get(k, np.zeros(leaf.shape))) for k in whole)
        total = np.sum(list(whole.values()), axis=0)
        self.lines += ["", f"dL/dW for W = {name} {list(leaf.shape)}, the sum of {count} terms:"]
        self.lines.append("    Σ_t Σ_k≤t (∂s_k/∂W)ᵀ (ds_k+1/ds_k)ᵀ ... (ds_t/ds_t-1)ᵀ ∂L/∂s_t")
        self._table(norms, whole)
        self._written_out(norms, leaf)
        said = [
            self._check(f"{name}: {count} terms", size(total), worst, "matrices"),
            self._check(f"{name}: sum of the terms", size(total), apart, "one walk"),
        ]
        self.lines.append(f"checks: each term by {_said(said[:1])}; their sums over t by {_said(said[1:])}")
        if self.rerun is not None and isinstance(weight, Tensor):
            self._nudged_weight(name, weight, whole)
        return norms

    def _table(self, norms: Array, whole: Mapping[int, Array]) -> None:
        n = len(norms)
        columns = range(max(0, n - MOST_COLUMNS), n)
        left = ":" if columns[0] == 0 else f" (the last {len(columns)} of {n} steps):"
        self.lines += [
            "",
            f"norms of the terms{left}",
            "loss at t | used at " + "".join(f"{f'k={self.steps[k]}':>11}" for k in columns),
        ]
        for t in reversed(columns):
            cells = "".join(f"{norms[t, k]:11.3g}" if k <= t else f"{'':11}" for k in columns)
            self.lines.append(f"{f't={self.steps[t]}':>9} |         {cells}")
        together = "".join(f"{size(whole[k]) if k in whole else 0.0:11.3g}" for k in columns)
        self.lines.append(f" |sum over t|       {together}")

    def _written_out(self, norms: Array, leaf: Any) -> None:
        """Follow one term, the one with the longest way, factor by factor."""
        terms, (t, k) = (
            self.terms,
            max(((t, k) for t, k in zip(*np.nonzero(norms > 0), strict=True)), key=lambda p: p[0] - p[1]),
        )
        adjoint = terms.at(terms.direct, t)
        parts = [f"|∂L/∂s_{self.steps[t]}| = {_norm(adjoint):.3g}"]
        for at in range(t, k, -1):
            adjoint = terms.back(at, adjoint)
            parts.append(f"×ds_{self.steps[at]}/ds_{self.steps[at - 1]} → {_norm(adjoint):.3g}")
        parts.append(f"×∂s_{self.steps[k]}/∂W → {size(terms.in_own_turn(k, adjoint, leaf)):.3g}")
        shown = parts if len(parts) <= 9 else [*parts[:4], "...", *parts[-4:]]
        self.lines += ["", f"the longest way, t={self.steps[t]} to k={self.steps[k]}: {', '.join(shown)}"]

    def _nudged_weight(self, name: str, weight: Tensor, whole: Mapping[int, Array]) -> None:
        used = {k for node, k in self.terms.places.items() if weight.node in node.edges}
        if self.alone and used >= set(whole):
            said = [
                self._finite(
                    f"{name} at step {self.steps[k]}",
                    whole[k],
                    partial(Nudge, argument=weight.payload, step=int(self.steps[k])),
                )
                for k in sorted(whole)
            ]
            self.lines.append(f"each step's use of W changed alone: {_said(said)}")
        elif self.alone:
            said = [
                self._finite(f"{name}", np.sum(list(whole.values()), axis=0), partial(Nudge, argument=weight.payload))
            ]
            self.lines.append(f"W changed (it acts on all steps at once): {_said(said)}")

    # Checks

    def _check(self, text: str, value: float, error: float, way: str, allowed: float | None = None) -> Check:
        made = Check(text, value, error, way, error <= (self.tolerance if allowed is None else allowed))
        self.checks.append(made)
        return made

    def _finite(self, text: str, g: Any, nudge: Callable[[Array], Nudge]) -> Check:
        """Check that along the gradient `g` the loss changes by |g| a unit."""
        assert self.rerun is not None
        value = size(g)
        h = self.precision ** (1 / 3)
        direction = np.asarray(g / value if value else g).astype(self.terms.loss.dtype)
        losses = []
        for sign in (1.0, -1.0):
            with override(grad=False, bottom=nudge((sign * h * direction).astype(direction.dtype))):
                losses.append(float(self.rerun().item()))
        other = (losses[0] - losses[1]) / (2 * h)
        noise = 20 * self.precision * max(abs(self.base), abs(losses[0])) / h
        error = abs(other - value) / max(value, noise) if value or other else 0.0
        allowed = max(self.tolerance**0.5, min(1.0, noise / max(value, noise)))
        return self._check(text, value, error, "differences", allowed)


def _said(checks: Sequence[Check]) -> str:
    """Return the errors of some checks, and whether they passed."""
    found = []
    for way in dict.fromkeys(check.way for check in checks):
        same = [check for check in checks if check.way == way]
        verdict = "ok" if all(check.passed for check in same) else "FAILED"
        found.append(f"{way} {' '.join(f'{check.error:.0e}' for check in same)} {verdict}")
    return ", ".join(found)


def _norm(adjoint: Mapping[Any, Array]) -> float:
    return float(np.sqrt(sum(size(g) ** 2 for g in adjoint.values())))


def _error(a: Array, b: Array) -> float:
    largest = float(max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)))
    return float(np.abs(a - b).max(initial=0.0)) / largest if largest else 0.0
