"""Write sequences with a model, one symbol at a time: greedily, by sampling, or with a beam.

All three drive a function `step(symbols, state) -> (logits, state)`: symbols int64 (N,), logits (N, V), and a state of
nested tuples of tensors (N, ...) or None, which holds all that the next step needs. `EncoderDecoder.step` is one. They
run eagerly, without gradients.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinyseq import ops
from tinyseq.autograd import Tensor, no_grad
from tinyseq.autograd.creation import full, multinomial, tensor
from tinyseq.backend import Array
from tinyseq.core import dtypes
from tinyseq.errors import ArgumentError, DTypeError, ShapeError
from tinyseq.nn.state import describe_state, map_state, named_leaves

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


class Hypothesis(NamedTuple):
    """A sequence that a model wrote.

    Attributes
    ----------
    symbols
        Without the start and the end.
    log_probability
        The natural logarithm of its probability; the end counts, if it was reached.
    score
        What it was ranked by.
    """

    symbols: list[int]
    log_probability: float
    score: float


def filtered(logits: Any, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Any:
    """Return logits (..., V) to sample from: divided by the temperature, and -inf for what is left out.

    Parameters
    ----------
    temperature
        Below 1 the likely becomes likelier, above 1 everything becomes more alike.
    top_k
        Keep the k largest; 0 keeps all. A. Fan et al., "Hierarchical neural story generation", ACL 2018.
    top_p
        Then keep the fewest whose probabilities, largest first, sum to at least p. A. Holtzman et al., "The curious
        case of neural text degeneration", ICLR 2020. In both, what equals the smallest one kept is kept.

    >>> filtered(tensor([1.0, 3.0, 2.0]), top_k=2)
    tensor([-inf,   3.,   2.])

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """
    if temperature <= 0 or not hasattr(top_k, "__index__") or top_k < 0 or not 0 < top_p <= 1:
        raise ArgumentError(
            f"filtered: got temperature {temperature}, top_k {top_k}, top_p {top_p}; wanted a temperature above 0, "
            "an integer of at least 0 as top_k, and top_p above 0 and at most 1"
        )
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        smallest = ops.topk(logits, top_k, dim=-1)[0][..., -1:]
        logits = ops.where(logits < smallest, -np.inf, logits)
    if top_p < 1:
        ranked = ops.sort(logits, dim=-1, descending=True)[0]
        chances = ops.softmax(ranked, -1)
        before = ops.cumsum(chances, -1) - chances
        smallest = ops.amin(ops.where(before < top_p, ranked, np.inf), -1, keepdim=True)
        logits = ops.where(logits < smallest, -np.inf, logits)
    return logits


def _check(name: str, state: Any, batch_size: int, start: int, end: int, max_length: int) -> None:
    """Raise if what all ways of writing are given cannot be."""
    for what, value, least in (
        ("batch_size", batch_size, 1),
        ("start", start, 0),
        ("end", end, 0),
        ("max_length", max_length, 0),
    ):
        if not hasattr(value, "__index__") or value < least:
            raise ArgumentError(f"{name}: got {what} {value!r}, wanted an integer of at least {least}")
    for path, part in named_leaves(state):
        if part is not None and (not isinstance(part, Tensor) or part.shape[:1] != (batch_size,)):
            where = f" ({path})" if path else ""
            raise ShapeError(
                f"{name}: got a state{where} {describe_state(part)}, wanted ({batch_size}, ...) for batch_size "
                f"{batch_size}: a tensor, None, or tuples of them"
            )


def _called(step: Step, symbols: Any, state: Any) -> tuple[Any, Any]:
    """Return the logits (N, V) of what follows `symbols` (N,), and the next state."""
    result = step(symbols, state)
    if not isinstance(result, tuple) or len(result) != 2:
        raise DTypeError(f"step: returned {describe_state(result)}, wanted a pair (logits, state)")
    logits = result[0]
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != symbols.shape[0]:
        raise ShapeError(
            f"step: returned logits {describe_state(logits)}, wanted ({symbols.shape[0]}, V): what follows the last "
            f"symbol of {symbols.shape[0]} sequences"
        )
    if np.isnan(_array(logits)).any():
        raise ArgumentError("step: returned logits that are NaN, from which nothing can be chosen")
    return result


def greedy(step: Step, state: Any, batch_size: int, *, start: int, end: int, max_length: int) -> list[Hypothesis]:
    """Take the likeliest symbol at each step; return a hypothesis for each of the batch.

    Parameters
    ----------
    step, state
        The model, and the state before the first symbol.
    start, end
        The symbol that stands before the first, and the one that ends a sequence.
    max_length
        After so many symbols the writing stops.

    Raises
    ------
    ArgumentError, ShapeError, DTypeError
        If a number is out of range, the state does not fit `batch_size`, or `step` returns something else than it
        should.
    """
    _check("greedy", state, batch_size, start, end, max_length)
    return _written(step, state, batch_size, start, end, max_length, lambda logits: ops.argmax(logits, -1))


def sample(
    step: Step,
    state: Any,
    batch_size: int,
    *,
    start: int,
    end: int,
    max_length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: Any = None,
) -> list[Hypothesis]:
    """Draw each symbol by its probability; return a hypothesis for each of the batch.

    Parameters
    ----------
    step, state, start, end, max_length
        As for `greedy`.
    temperature, top_k, top_p
        What is drawn from: see `filtered`. The log-probabilities are the model's own, before that.
    generator
        The `Generator` to draw with; by default that of the device.
    """
    _check("sample", state, batch_size, start, end, max_length)

    def drawn(logits: Any) -> Any:
        chances = ops.softmax(filtered(logits, temperature, top_k, top_p), -1)
        return ops.reshape(multinomial(chances, 1, generator=generator), -1)

    return _written(step, state, batch_size, start, end, max_length, drawn)


def _written(
    step: Step, state: Any, batch_size: int, start: int, end: int, max_length: int, choose: Callable[[Any], Any]
) -> list[Hypothesis]:
    """Write until every sequence has ended."""
    found: list[list[int]] = [[] for _ in range(batch_size)]
    total, live = np.zeros(batch_size), np.ones(batch_size, bool)
    symbols = full((batch_size,), start, dtype=dtypes.int64, device=_device_of(state))
    with no_grad():
        for _ in range(max_length):
            logits, state = _called(step, symbols, state)
            symbols = choose(logits)
            chosen = _array(symbols)
            total += np.where(live, _array(ops.log_softmax(logits, -1))[np.arange(batch_size), chosen], 0)
            for k in np.flatnonzero(live & (chosen != end)):
                found[k].append(int(chosen[k]))
            live &= chosen != end
            if not live.any():
                break
    return [Hypothesis(s, float(p), float(p)) for s, p in zip(found, total, strict=True)]


def length_penalty(length: Any, alpha: float) -> Any:
    """Return what the log-probability of a sequence of `length` symbols is divided by: ((5 + length) / 6) ** alpha.

    Y. Wu et al., "Google's neural machine translation system", arXiv:1609.08144, equation 14.
    """
    return ((5.0 + length) / 6.0) ** alpha


def beam_search(
    step: Step,
    state: Any,
    batch_size: int,
    *,
    start: int,
    end: int,
    max_length: int,
    beam_size: int = 4,
    alpha: float = 0.0,
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """Follow the `beam_size` likeliest beginnings; return the `n_best` sequences found for each of the batch, in order.

    Parameters
    ----------
    step, state, start, end, max_length
        As for `greedy`. A sequence that reaches `max_length` counts as it is.
    beam_size
        How many beginnings are followed.
    alpha
        Sequences are ranked by log-probability divided by `length_penalty(length, alpha)`, the end counting as one:
        0 ranks by probability, which favours short ones.
    n_best
        How many to return, at most `beam_size`.

    Raises
    ------
    ArgumentError
        If a number is out of range.
    """
    _check("beam_search", state, batch_size, start, end, max_length)
    if not 1 <= n_best <= beam_size or alpha < 0:
        raise ArgumentError(
            f"beam_search: got beam_size {beam_size}, n_best {n_best}, alpha {alpha}; "
            "wanted 1 <= n_best <= beam_size and alpha >= 0"
        )
    device = _device_of(state)
    prefixes: list[list[list[int]]] = [[[]] for _ in range(batch_size)]
    totals = [np.zeros(1) for _ in range(batch_size)]
    done: list[list[Hypothesis]] = [[] for _ in range(batch_size)]
    live = list(range(batch_size))  # the sequences still searched; their beginnings stand one after another
    symbols = full((batch_size,), start, dtype=dtypes.int64, device=device)
    with no_grad():
        for length in range(1, max_length + 1):
            logits, state = _called(step, symbols, state)
            chances = _array(ops.log_softmax(logits, -1)).astype(np.float64)
            rows: list[int] = []
            last: list[int] = []
            going, first = [], 0
            for b in live:
                count = len(totals[b])
                picked, at_end = _best(totals[b][:, None] + chances[first : first + count], end, beam_size)
                for row, total in at_end:
                    score = total / length_penalty(length, alpha)
                    done[b].append(Hypothesis(prefixes[b][row], total, score))
                done[b] = sorted(done[b], key=lambda h: -h.score)[:n_best]
                totals[b] = np.array([total for _, _, total in picked])
                prefixes[b] = [[*prefixes[b][row], symbol] for row, symbol, _ in picked]
                if picked and not _settled(done[b], totals[b][0] / length_penalty(max_length, alpha), n_best):
                    going.append(b)
                    rows += [first + row for row, _, _ in picked]
                    last += [symbol for _, symbol, _ in picked]
                first += count
            live = going
            if not live or length == max_length:
                break
            index = tensor(rows, device=device)
            state = map_state(lambda part: None if part is None else part[index], state)  # noqa: B023
            symbols = tensor(last, device=device)
    for b in live:
        scores = totals[b] / length_penalty(max_length, alpha)
        unfinished = (Hypothesis(p, float(t), float(s)) for p, t, s in zip(prefixes[b], totals[b], scores, strict=True))
        done[b] = sorted([*done[b], *unfinished], key=lambda h: -h.score)[:n_best]
    return done


def _best(totals: Array, end: int, beam_size: int) -> tuple[list[tuple[int, int, float]], list[tuple[int, float]]]:
    """Return the best ways on from beginnings (K, V), and those that end among as many: (row, symbol, total)."""
    flat = totals.reshape(-1)
    best = np.argsort(-flat, kind="stable")[: beam_size + len(totals)]  # each beginning ends in one way only
    picked: list[tuple[int, int, float]] = []
    at_end = []
    for place in best:
        row, symbol = divmod(int(place), totals.shape[1])
        if len(picked) == beam_size or flat[place] == -np.inf:
            break
        if symbol == end:
            at_end.append((row, float(flat[place])))
        else:
            picked.append((row, symbol, float(flat[place])))
    return picked, at_end


def _settled(done: list[Hypothesis], possible: float, n_best: int) -> bool:
    """Tell whether nothing that goes on can reach a place among those that have ended."""
    return len(done) == n_best and done[-1].score >= possible


def _array(value: Any) -> Array:
    return np.asarray(value.detach().cpu().numpy())


def _device_of(state: Any) -> Any:
    """Return the device of the first tensor in a state."""
    if isinstance(state, tuple):
        return next((d for d in map(_device_of, state) if d is not None), None)
    return state.device if isinstance(state, Tensor) else None
