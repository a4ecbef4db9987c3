"""Inverses and linear equations of small regular matrices."""

from tinyseq.backend import Array, Namespace
from tinyseq.core import shapes
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import Shape
from tinyseq.errors import ShapeError
from tinyseq.ops.linalg import matmul
from tinyseq.ops.shaping import select_, sum_to, transpose, unsqueeze

REGULAR = [[2.0, 0.3, -0.1], [0.4, -1.5, 0.2], [0.1, 0.5, 1.0]]


def _square(x: Shape) -> Shape:
    if len(x) < 2 or x[-1] != x[-2]:
        raise ShapeError(f"got shape {list(x)}, wanted square matrices (..., N, N)")
    return x


@op(shape=_square, samples=(Sample((REGULAR,)), Sample(([REGULAR, REGULAR],))))
def inv(xp: Namespace, x: Array) -> Array:
    """Return the inverses of the matrices `x` (..., N, N)."""
    return xp.linalg.inv(x)


inv.defvjp(x=lambda g, out: -matmul(transpose(out, -1, -2), matmul(g, transpose(out, -1, -2))))


def _solved(a: Shape, b: Shape) -> Shape:
    if len(b) < 2 or _square(a)[-1] != b[-2]:
        raise ShapeError(
            f"matrices {list(a)} do not fit right-hand sides {list(b)}, wanted (..., N, N) and (..., N, K)"
        )
    return (*shapes.elementwise(a[:-2], b[:-2]), *b[-2:])


SIDES = [[0.5, -1.0], [0.3, 2.0], [1.5, 0.7]]


@op(shape=_solved, samples=(Sample((REGULAR, SIDES)), Sample((REGULAR, [SIDES, SIDES]))), operands="same")
def solve_(xp: Namespace, a: Array, b: Array) -> Array:
    """Return `x` such that `a @ x` is `b`: (..., N, N), (..., N, K) -> (..., N, K)."""
    return xp.linalg.solve(a, b)


solve_.defvjp(
    a=lambda g, a, out: sum_to(-matmul(solve_(transpose(a, -1, -2), g), transpose(out, -1, -2)), shape=tuple(a.shape)),
    b=lambda g, a, b_shape: sum_to(solve_(transpose(a, -1, -2), g), shape=b_shape),
)


def solve(A: Value, B: Value, *, left: bool = True) -> Value:
    """Return `X` such that `A @ X` is `B`, or with `left=False` such that `X @ A` is `B`.

    `B` is a matrix (..., N, K), or a vector for each matrix (..., N).
    """
    vectors = len(B.shape) == 1 or (len(B.shape) == len(A.shape) - 1 and tuple(B.shape) == tuple(A.shape[:-1]))
    if vectors:
        column = unsqueeze(B, -1)
        found = solve_(A if left else transpose(A, -1, -2), column)
        return select_(found, dim=len(found.shape) - 1, index=0)
    if left:
        return solve_(A, B)
    return transpose(solve_(transpose(A, -1, -2), transpose(B, -1, -2)), -1, -2)


__all__ = ["inv", "solve", "solve_"]
