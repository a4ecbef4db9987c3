"""Products made of the matrix product: batched, scaled and added, outer, tensor and Einstein products."""

import math
from collections.abc import Sequence
from typing import Any

from tinyseq.backend import device_of
from tinyseq.core import shapes
from tinyseq.core.op import Value
from tinyseq.core.shapes import dim_of
from tinyseq.errors import ArgumentError, ShapeError
from tinyseq.ops import signatures
from tinyseq.ops.creation import eye_
from tinyseq.ops.diagonals import diagonal
from tinyseq.ops.elementwise import div, mul
from tinyseq.ops.linalg import matmul
from tinyseq.ops.reduction import sum_
from tinyseq.ops.shaping import broadcast_to, cat_, narrow_, permute_, reshape_, select_, stack_, unsqueeze
from tinyseq.ops.solving import inv


def _ranked(name: str, wanted: tuple[int, ...], *values: Value) -> None:
    found = tuple(len(v.shape) for v in values)
    if found != wanted:
        listed = " and ".join(str(list(v.shape)) for v in values)
        raise ShapeError(f"{name}: got shapes {listed}, wanted {' and '.join(map(str, wanted))} dimensions")


def mm(input: Value, mat2: Value) -> Value:
    """Return the product of two matrices: (N, K), (K, M) -> (N, M)."""
    _ranked("mm", (2, 2), input, mat2)
    return matmul(input, mat2)


def bmm(input: Value, mat2: Value) -> Value:
    """Return the products of two stacks of matrices: (B, N, K), (B, K, M) -> (B, N, M)."""
    _ranked("bmm", (3, 3), input, mat2)
    if input.shape[0] != mat2.shape[0]:
        raise ShapeError(f"bmm: batch sizes differ, got shapes {list(input.shape)} and {list(mat2.shape)}")
    return matmul(input, mat2)


def mv(input: Value, vec: Value) -> Value:
    """Return the product of a matrix and a vector: (N, K), (K,) -> (N,)."""
    _ranked("mv", (2, 1), input, vec)
    return matmul(input, vec)


def dot(input: Value, tensor: Value) -> Value:
    """Return the sum of the products of two vectors: (N,), (N,) -> ()."""
    _ranked("dot", (1, 1), input, tensor)
    return matmul(input, tensor)


def vecdot(x: Value, y: Value, *, dim: int = -1) -> Value:
    """Return the sum of the products of `x` and `y` along `dim`, broadcast elsewhere."""
    product = mul(x, y)
    return sum_(product, dim=(dim_of(dim, len(product.shape)),), keepdim=False)


def outer(input: Value, vec2: Value) -> Value:
    """Return the products of all pairs: (N,), (M,) -> (N, M)."""
    _ranked("outer", (1, 1), input, vec2)
    return mul(unsqueeze(input, 1), vec2)


def inner(input: Value, other: Value) -> Value:
    """Return the sums of products over the last dimensions: (..., K), (***, K) -> (..., ***)."""
    if not input.shape or not other.shape:
        return mul(input, other)
    return tensordot(input, other, ([-1], [-1]))


def _scaled(input: Value, product: Value, beta: float, alpha: float) -> Value:
    scaled = product if alpha == 1 else mul(product, alpha)
    if beta == 0:  # then not even NaN in input counts
        shape = shapes.elementwise(tuple(input.shape), tuple(product.shape))
        return broadcast_to(scaled, shape=shape) if scaled.shape != shape else scaled
    return signatures.add(scaled, input, alpha=beta)


def addmm(input: Value, mat1: Value, mat2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """Return `beta * input + alpha * mat1 @ mat2`."""
    return _scaled(input, mm(mat1, mat2), beta, alpha)


def addmv(input: Value, mat: Value, vec: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """Return `beta * input + alpha * mat @ vec`."""
    return _scaled(input, mv(mat, vec), beta, alpha)


def baddbmm(input: Value, batch1: Value, batch2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """Return `beta * input + alpha * batch1 @ batch2`, of stacks of matrices."""
    return _scaled(input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Value, batch1: Value, batch2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """Return `beta * input + alpha * (batch1 @ batch2)`, summed over the stack."""
    return _scaled(input, sum_(bmm(batch1, batch2), dim=(0,), keepdim=False), beta, alpha)


def addr(input: Value, vec1: Value, vec2: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """Return `beta * input + alpha * outer(vec1, vec2)`."""
    return _scaled(input, outer(vec1, vec2), beta, alpha)


def addcmul(input: Value, tensor1: Value, tensor2: Value, *, value: float = 1) -> Value:
    """Return `input + value * tensor1 * tensor2`."""
    return signatures.add(input, mul(tensor1, tensor2), alpha=value)


def addcdiv(input: Value, tensor1: Value, tensor2: Value, *, value: float = 1) -> Value:
    """Return `input + value * tensor1 / tensor2`."""
    return signatures.add(input, div(tensor1, tensor2), alpha=value)


def multi_dot(tensors: Sequence[Value]) -> Value:
    """Return the product of two or more matrices (the first and the last may be vectors), from left to right."""
    if len(tensors) < 2:
        raise ArgumentError(f"multi_dot: got {len(tensors)} tensors, wanted at least two")
    out = tensors[0]
    for t in tensors[1:]:
        out = matmul(out, t)
    return out


def cross(input: Value, other: Value, *, dim: int = -1) -> Value:
    """Return the vector product along `dim`, which has size 3."""
    shape = shapes.elementwise(tuple(input.shape), tuple(other.shape))
    d = dim_of(dim, len(shape))
    if shape[d] != 3:
        raise ShapeError(f"cross: got size {shape[d]} along dim {dim}, wanted 3")
    a, b = (
        [select_(v, dim=d, index=i) for i in range(3)]
        for v in (broadcast_to(input, shape=shape), broadcast_to(other, shape=shape))
    )
    return stack_(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0], dim=d)


def kron(input: Value, other: Value) -> Value:
    """Return the Kronecker product: every element of `input` times all of `other`."""
    n = max(len(input.shape), len(other.shape))
    a = (1,) * (n - len(input.shape)) + tuple(input.shape)
    b = (1,) * (n - len(other.shape)) + tuple(other.shape)
    left = reshape_(input, shape=tuple(s for size in a for s in (size, 1)))
    right = reshape_(other, shape=tuple(s for size in b for s in (1, size)))
    return reshape_(mul(left, right), shape=tuple(s * t for s, t in zip(a, b, strict=True)))


def trace(input: Value) -> Value:
    """Return the sum of the diagonal of a matrix."""
    _ranked("trace", (2,), input)
    return sum_(diagonal(input), dim=(0,), keepdim=False)


def tensordot(a: Value, b: Value, dims: Any = 2) -> Value:
    """Return the sums of products over `dims`: how many (the last of `a`, the first of `b`), or two lists of them."""
    n, m = len(a.shape), len(b.shape)
    if hasattr(dims, "__index__"):
        ours, theirs = list(range(n - dims, n)), list(range(dims))
    else:
        ours, theirs = ([dim_of(d, k) for d in listed] for listed, k in zip(dims, (n, m), strict=True))
    for i, j in zip(ours, theirs, strict=True):  # a size 1 is repeated, and so the other side is summed
        a = sum_(a, dim=(i,), keepdim=True) if b.shape[j] == 1 != a.shape[i] else a
        b = sum_(b, dim=(j,), keepdim=True) if a.shape[i] == 1 != b.shape[j] else b
    sizes = [a.shape[d] for d in ours]
    if sizes != [b.shape[d] for d in theirs]:
        raise ShapeError(f"tensordot: sizes along {dims} differ, got shapes {list(a.shape)} and {list(b.shape)}")
    left = [d for d in range(n) if d not in ours]
    right = [d for d in range(m) if d not in theirs]
    rows, columns = tuple(a.shape[d] for d in left), tuple(b.shape[d] for d in right)
    inner = math.prod(sizes)
    product = matmul(
        reshape_(permute_(a, dims=(*left, *ours)), shape=(math.prod(rows), inner)),
        reshape_(permute_(b, dims=(*theirs, *right)), shape=(inner, math.prod(columns))),
    )
    return reshape_(product, shape=rows + columns)


def einsum(equation: str, *operands: Any) -> Value:
    """Return the sum of products that an equation such as "bij,bjk->bik" asks for.

    Operands are taken in pairs from the left, and each pair is one matrix product. Letters that stand in one operand
    twice pick its diagonal; `...` stands for any further dimensions, which broadcast; without `->` the result has the
    letters that occur once, in the order of the alphabet.

    Raises
    ------
    ArgumentError
        If the equation does not fit the operands.
    """
    values = list(operands[0]) if len(operands) == 1 and not hasattr(operands[0], "shape") else list(operands)
    inputs, output = _parsed(equation, values)
    terms = [_without_repeats(v, labels) for v, labels in zip(values, inputs, strict=True)]
    value, labels = terms[0]
    for i, (other, other_labels) in enumerate(terms[1:], 2):
        later = set(output).union(*(ls for _, ls in terms[i:]))
        value, labels = _contracted(value, labels, other, other_labels, later)
    value, labels = _summed(value, labels, set(output))
    return permute_(value, dims=tuple(labels.index(c) for c in output)) if labels != output else value


def _parsed(equation: str, values: list[Any]) -> tuple[list[list[Any]], list[Any]]:
    """Return the labels of each operand and of the result: letters, and negative numbers for what `...` stands for."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(values):
        raise ArgumentError(f"einsum: equation {equation!r} names {len(terms)} operands, got {len(values)}")
    inputs, most = [], 0
    for term, value in zip(terms, values, strict=True):
        named = term.replace("...", "")
        free = len(value.shape) - len(named)
        if (named and not named.isalpha()) or free < 0 or (free and "..." not in term):
            raise ArgumentError(f"einsum: {term!r} of {equation!r} does not fit shape {list(value.shape)}")
        before, _, after = term.partition("...")
        inputs.append([*before, *range(-free, 0), *after])
        most = max(most, free)
    counted = [c for labels in inputs for c in labels if isinstance(c, str)]
    if arrow:
        before, dots, after = right.partition("...")
        output: list[Any] = [*before, *(range(-most, 0) if dots else ()), *after]
    else:
        output = [*range(-most, 0), *sorted(c for c in set(counted) if counted.count(c) == 1)]
    letters = [c for c in output if isinstance(c, str)]
    if len(set(letters)) != len(letters) or not set(letters) <= set(counted):
        raise ArgumentError(f"einsum: the result {right!r} of {equation!r} repeats a letter or names an unknown one")
    return inputs, output


def _without_repeats(value: Value, labels: list[Any]) -> tuple[Value, list[Any]]:
    labels = list(labels)
    for c in [c for c in dict.fromkeys(labels) if labels.count(c) > 1]:
        while labels.count(c) > 1:
            first = labels.index(c)
            second = labels.index(c, first + 1)
            value = diagonal(value, 0, first, second)
            labels = [x for i, x in enumerate(labels) if i not in (first, second)] + [c]
    return value, labels


def _summed(value: Value, labels: list[Any], wanted: set[Any]) -> tuple[Value, list[Any]]:
    """Sum over the labels that nobody wants."""
    dims = tuple(i for i, c in enumerate(labels) if c not in wanted)
    return (sum_(value, dim=dims, keepdim=False) if dims else value), [c for c in labels if c in wanted]


def _contracted(
    a: Value, a_labels: list[Any], b: Value, b_labels: list[Any], later: set[Any]
) -> tuple[Value, list[Any]]:
    """Multiply two operands, and sum over the labels that occur in neither a later one nor the result."""
    a, a_labels = _summed(a, a_labels, later | set(b_labels))
    b, b_labels = _summed(b, b_labels, later | set(a_labels))
    sizes = _sizes(a, a_labels, b, b_labels)
    batch = [c for c in a_labels if c in b_labels and c in later]
    inner = [c for c in a_labels if c in b_labels and c not in later]
    rows = [c for c in a_labels if c not in b_labels]
    columns = [c for c in b_labels if c not in a_labels]

    def arranged(value: Value, labels: list[Any], *groups: list[Any]) -> Value:
        order = [c for group in groups for c in group]
        moved = permute_(value, dims=tuple(labels.index(c) for c in order)) if order != labels else value
        full = tuple(sizes[c] for c in order)
        whole = broadcast_to(moved, shape=full) if tuple(moved.shape) != full else moved
        lead, *rest = groups
        return reshape_(whole, shape=(*(sizes[c] for c in lead), *(math.prod(sizes[c] for c in g) for g in rest)))

    product = matmul(arranged(a, a_labels, batch, rows, inner), arranged(b, b_labels, batch, inner, columns))
    labels = [*batch, *rows, *columns]
    return reshape_(product, shape=tuple(sizes[c] for c in labels)), labels


def _sizes(a: Value, a_labels: list[Any], b: Value, b_labels: list[Any]) -> dict[Any, int]:
    sizes = dict(zip(a_labels, a.shape, strict=True))
    for c, n in zip(b_labels, b.shape, strict=True):
        known = sizes.get(c, 1)
        if known not in (1, n) and n != 1:
            raise ShapeError(f"einsum: label {c!r} has size {known} in one operand and {n} in another")
        sizes[c] = n if known == 1 else known
    return sizes


def matrix_power(input: Value, n: int) -> Value:
    """Return the product of `n` square matrices `input`, by repeated squaring; of inverses if `n` is negative."""
    if n == 0:
        unit = eye_(shape=tuple(input.shape[-2:]), dtype=input.dtype, device=device_of(input))
        return signatures.add(mul(input, 0.0), unit)
    if n < 0:
        input, n = inv(input), -n
    out, square = None, input
    while n:
        if n & 1:
            out = square if out is None else matmul(out, square)
        n >>= 1
        square = matmul(square, square) if n else square
    return out


def vander(x: Value, *, N: int | None = None) -> Value:
    """Return the powers 0 to `N - 1` of each element, along a new last dimension."""
    x = x if x.shape else reshape_(x, shape=(1,))
    count = x.shape[-1] if N is None else N
    powers = [x * 0.0 + 1.0]
    while len(powers) < count:
        powers.append(powers[-1] * x)
    return stack_(*powers, dim=len(x.shape))


def diff(input: Value, n: int = 1, dim: int = -1, prepend: Value | None = None, append: Value | None = None) -> Value:
    """Return the differences of neighbours along `dim`, taken `n` times."""
    d = dim_of(dim, len(input.shape))
    out = _joined_ends(input, d, prepend, append) if n else input
    for _ in range(n):
        size = out.shape[d]
        if size == 0:
            break
        out = narrow_(out, dim=d, start=1, stop=size) - narrow_(out, dim=d, start=0, stop=size - 1)
    return out


def _joined_ends(input: Value, d: int, prepend: Value | None, append: Value | None) -> Value:
    parts = [p for p in (prepend, input, append) if p is not None]
    return cat_(*parts, dim=d) if len(parts) > 1 else input


__all__ = [
    "addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addr", "baddbmm", "bmm", "cross", "diff", "dot", "einsum",
    "inner", "kron", "matrix_power", "mm", "multi_dot", "mv", "outer", "tensordot", "trace", "vander", "vecdot",
]  # fmt: skip
