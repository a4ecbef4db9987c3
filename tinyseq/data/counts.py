"""Count models of a text: what a network has to beat."""

import numpy as np

from tinyseq.backend import Array
from tinyseq.errors import ArgumentError


def ngram_bits(codes: Array, split: int, size: int, order: int, smoothing: float | None = 0.01) -> float:
    """Return how well counts of `order` adjacent symbols predict the rest of a text, in bits per symbol.

    Parameters
    ----------
    codes
        The text as indices below `size`: (N,).
    split
        Symbols before this position are counted, those from it on are predicted.
    size
        How many different symbols there are.
    order
        1 counts symbols alone, 2 pairs, and so on.
    smoothing
        A number is added to every count: p(w | context) = (c(context w) + a) / (c(context) + a size). With None,
        every order leans on the next lower one as far as its contexts are new (Witten and Bell, "The zero-frequency
        problem", IEEE Transactions on Information Theory 37, 1991, method C, interpolated):
        p(w | context) = (c(context w) + n p_lower(w)) / (c(context) + n), where n different symbols followed.

    Examples
    --------
    >>> text = np.array([0, 1] * 50)
    >>> round(ngram_bits(text, 80, 2, order=1), 3), round(ngram_bits(text, 80, 2, order=2), 3)
    (1.0, 0.0)

    Raises
    ------
    ArgumentError
        If `split` leaves too little before or nothing behind it, or the symbols are too many for the order.
    """
    codes = np.asarray(codes, np.int64)
    if not order <= split < len(codes):
        raise ArgumentError(f"ngram_bits: split {split} is not between order {order} and the length {len(codes)}")
    if size**order >= 2**63:
        raise ArgumentError(f"ngram_bits: order {order} of {size} symbols is too high to count in 64 bits")
    p = np.full(len(codes) - split, 1 / size)
    for n in range(1 if smoothing is None else order, order + 1):
        seen, asked = _grams(codes[:split], n, size), _grams(codes[split - n + 1 :], n, size)
        kinds, counts = np.unique(seen, return_counts=True)
        count = _looked_up(asked, kinds, counts)
        total = _looked_up(asked // size, *np.unique(seen // size, return_counts=True))
        if smoothing is None:
            followers = _looked_up(asked // size, *np.unique(kinds // size, return_counts=True))
            p = np.where(total > 0, (count + followers * p) / np.maximum(total + followers, 1), p)
        else:
            p = (count + smoothing) / (total + smoothing * size)
    return float(-np.log2(p).mean())


def _grams(codes: Array, n: int, size: int) -> Array:
    """Return each run of `n` adjacent symbols as one number, its last symbol in the lowest place."""
    grams = np.zeros(len(codes) - n + 1, np.int64)
    for i in range(n):
        grams = grams * size + codes[i : len(codes) - n + 1 + i]
    return grams


def _looked_up(wanted: Array, kinds: Array, counts: Array) -> Array:
    """Return the count of each of `wanted` among the sorted `kinds`; 0 for those that are not there."""
    place = np.minimum(np.searchsorted(kinds, wanted), len(kinds) - 1)
    return np.where(kinds[place] == wanted, counts[place], 0)
