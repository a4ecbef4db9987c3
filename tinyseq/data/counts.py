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
        If `split` leaves too little before or nothing behind it.
    """
    codes = np.asarray(codes, np.int64)
    if not order <= split < len(codes):
        raise ArgumentError(f"ngram_bits: split {split} is not between order {order} and the length {len(codes)}")
    p = np.full(len(codes) - split, 1 / size)
    grams = np.zeros(len(codes) + 1, np.int64)  # one number for each run of n symbols, in the order of their ends
    for n in range(1, order + 1):
        contexts = grams[:-1]
        grams = np.unique(contexts * size + codes[n - 1 :], return_inverse=True)[1]
        if smoothing is not None and n < order:
            continue
        cut = split - n + 1
        seen, asked = contexts[:cut], contexts[cut:]
        count = _counts(grams[:cut], grams[cut:])
        total = _counts(seen, asked)
        if smoothing is None:
            followers = _counts(seen[np.unique(grams[:cut], return_index=True)[1]], asked)
            p = np.where(total > 0, (count + followers * p) / np.maximum(total + followers, 1), p)
        else:
            p = (count + smoothing) / (total + smoothing * size)
    return float(-np.log2(p).mean())


def _counts(seen: Array, asked: Array) -> Array:
    """Return how often each of `asked` stands in `seen`."""
    return np.bincount(seen, minlength=int(asked.max()) + 1)[asked]
