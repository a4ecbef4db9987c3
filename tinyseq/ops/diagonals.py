"""Diagonals and triangles of matrices."""

from tinyseq.backend import Array, Namespace
from tinyseq.core import shapes
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import Shape, dim_of
from tinyseq.errors import ShapeError
from tinyseq.ops.elementwise import add
from tinyseq.ops.shaping import flatten

AT = {"offset": 1, "dim1": 0, "dim2": 2}


def _on_diagonal(x: Shape, *, offset: int, dim1: int, dim2: int) -> Shape:
    length = max(min(x[dim1] + min(offset, 0), x[dim2] - max(offset, 0)), 0)
    return (*(n for i, n in enumerate(x) if i not in (dim1, dim2)), length)


@op(
    shape=_on_diagonal,
    view=True,
    samples=(Sample(((3, 4),), params={"offset": 0, "dim1": 0, "dim2": 1}), Sample(((3, 2, 4),), params=AT)),
)
def diagonal_(xp: Namespace, x: Array, *, offset: int, dim1: int, dim2: int) -> Array:
    """Return the diagonals of the matrices that `x` has in `dim1` and `dim2`, as the last dimension."""
    return x.diagonal(offset, dim1, dim2)


@op(
    shape=lambda g, *, shape, **params: shape,
    samples=(
        Sample(((3,),), params={"shape": (3, 4), "offset": 0, "dim1": 0, "dim2": 1}),
        Sample(((2, 3),), params={"shape": (3, 2, 4), **AT}),
    ),
)
def diagonal_back(xp: Namespace, g: Array, *, shape: Shape, offset: int, dim1: int, dim2: int) -> Array:
    """Return zeros of `shape` with `g` on their diagonals: the transpose of `diagonal`."""
    out = xp.zeros(shape, g.dtype)
    matrices = xp.moveaxis(out, (dim1, dim2), (-2, -1))
    along = xp.arange(g.shape[-1])
    matrices[..., along - min(offset, 0), along + max(offset, 0)] = g
    return out


diagonal_.defvjp(
    x=lambda g, x_shape, offset, dim1, dim2: diagonal_back(g, shape=x_shape, offset=offset, dim1=dim1, dim2=dim2)
)
diagonal_back.defvjp(g=lambda g, offset, dim1, dim2: diagonal_(g, offset=offset, dim1=dim1, dim2=dim2))


def diagonal(input: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """Return the diagonals of the matrices that `input` has in `dim1` and `dim2`, as the last dimension."""
    n = len(input.shape)
    first, second = dim_of(dim1, n), dim_of(dim2, n)
    if n < 2 or first == second:
        raise ShapeError(f"diagonal: got dims {dim1} and {dim2} of shape {list(input.shape)}, wanted two that differ")
    return diagonal_(input, offset=int(offset), dim1=first, dim2=second)


def diag_embed(input: Value, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Value:
    """Return matrices in `dim1` and `dim2` that hold the last dimension of `input` on their diagonal."""
    n = len(input.shape) + 1
    first, second = dim_of(dim1, n), dim_of(dim2, n)
    if first == second:
        raise ShapeError(f"diag_embed: got dims {dim1} and {dim2}, wanted two different ones")
    size = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((first, second)):
        shape.insert(d, size)
    return diagonal_back(input, shape=tuple(shape), offset=int(offset), dim1=first, dim2=second)


def diag(input: Value, diagonal: int = 0) -> Value:
    """Return the diagonal of a matrix, or the matrix with a vector as its diagonal."""
    if len(input.shape) == 1:
        return diag_embed(input, diagonal)
    if len(input.shape) != 2:
        raise ShapeError(f"diag: got {len(input.shape)} dimensions, wanted 1 or 2; use diagonal or diag_embed")
    return diagonal_(input, offset=int(diagonal), dim1=0, dim2=1)


def diagflat(input: Value, offset: int = 0) -> Value:
    """Return a matrix with the elements of `input` on its diagonal."""
    return diag_embed(flatten(input) if input.shape else input.reshape(1), offset)


def diagonal_scatter(input: Value, src: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    """Return `input` with `src` in place of its diagonals."""
    there = diagonal(input, offset, dim1, dim2)
    n = len(input.shape)
    place = {"shape": tuple(input.shape), "offset": int(offset), "dim1": dim_of(dim1, n), "dim2": dim_of(dim2, n)}
    return add(input - diagonal_back(there, **place), diagonal_back(src, **place))


TRIANGLES = (Sample(((3, 4),), params={"diagonal": 0}), Sample(((2, 3, 3),), params={"diagonal": -1}))


@op(shape=shapes.same, samples=TRIANGLES)
def tril_(xp: Namespace, x: Array, *, diagonal: int) -> Array:
    """Return the matrices `x` with zeros above the diagonal numbered `diagonal`."""
    return xp.tril(x, diagonal)


@op(shape=shapes.same, samples=TRIANGLES)
def triu_(xp: Namespace, x: Array, *, diagonal: int) -> Array:
    """Return the matrices `x` with zeros below the diagonal numbered `diagonal`."""
    return xp.triu(x, diagonal)


tril_.defvjp(x=lambda g, diagonal: tril_(g, diagonal=diagonal))
triu_.defvjp(x=lambda g, diagonal: triu_(g, diagonal=diagonal))


def tril(input: Value, diagonal: int = 0) -> Value:
    """Return the lower triangles of the matrices `input` (..., N, M), zeros elsewhere."""
    return tril_(input, diagonal=int(diagonal))


def triu(input: Value, diagonal: int = 0) -> Value:
    """Return the upper triangles of the matrices `input` (..., N, M), zeros elsewhere."""
    return triu_(input, diagonal=int(diagonal))


__all__ = [
    "diag", "diag_embed", "diagflat", "diagonal", "diagonal_", "diagonal_back", "diagonal_scatter", "tril", "tril_",
    "triu", "triu_",
]  # fmt: skip
