"""Find out who else looks at the memory of a tensor that is about to be given a new history.

A write in place changes what every tensor on the same memory holds, but the new history belongs to one of them. A
view that was taken before would go on with the old one, and its gradient would be wrong. So such a write is refused
while another tensor or array can see it. No list of views is kept for this (it would cost every view that is made):
an array counts its references, and a write with history is rare.
"""

from sys import getrefcount
from typing import Any

import numpy as np

from tinyseq.backend import is_array
from tinyseq.core.tape import RELEASED, Node, Tracked

# What getrefcount says of an array that one tensor holds, and nobody else
_ONE = Tracked(np.empty(0))
_ALONE = getrefcount(_ONE.payload)
# An in-place operation is recorded as a few nodes; those that kept its operand are among the newest
_NEWEST = 32


def seen_elsewhere(tensor: Any) -> int:
    """Return how many references there are to the array of `tensor`, or to the memory behind it, but its own."""
    others = getrefcount(tensor.payload) - _ALONE
    base = getattr(tensor.payload, "base", None)
    while base is not None and is_array(base):
        others += getrefcount(base) - _ALONE - 1  # `base` itself is one more
        base = base.base
    return others


def kept_by(node: Any, array: Any) -> int:
    """Return how often the newest nodes that lead to `node` keep `array` for backward."""
    count, found = 0, [node]
    for n in found:  # grows while it is walked
        if isinstance(n, Node):
            if n.kept is not RELEASED:
                count += sum(k is array for kept in n.kept for k in (kept if isinstance(kept, tuple) else (kept,)))
            if len(found) < _NEWEST:
                found.extend(e for e in n.edges if e not in found)
    return count


def is_expanded(array: Any) -> bool:
    """Tell whether several elements of `array` stand in one place, as after `expand`, or may do so."""
    if type(array) is np.ndarray:
        return not array.flags.writeable
    return any(step == 0 and size > 1 for step, size in zip(array.strides, array.shape, strict=True))
