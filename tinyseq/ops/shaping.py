"""Views, joins and splits: operations that move values without changing them."""

import math
from collections.abc import Sequence
from typing import Any

from tinyseq.backend import Array, Namespace
from tinyseq.core import shapes
from tinyseq.core.define import op
from tinyseq.core.op import Value
from tinyseq.core.partial import Placed
from tinyseq.core.sample import Sample
from tinyseq.core.shapes import Dims, Shape, dim_of
from tinyseq.core.tape import each
from tinyseq.errors import ArgumentError, DTypeError, ShapeError


@op(
    shape=shapes.given,
    view=True,
    samples=(Sample(((3, 4),), params={"shape": (2, 6)}), Sample(((1,),), params={"shape": ()})),
)
def reshape_(xp: Namespace, x: Array, *, shape: Shape) -> Array:
    """Return `x` with the same elements in another shape."""
    return x.reshape(shape)


reshape_.defvjp(x=lambda g, x_shape: reshape_(g, shape=x_shape))


def reshape(x: Value, *shape: Any) -> Value:
    """Return `x` with the same elements in another shape; one size may be -1."""
    return reshape_(x, shape=shapes.resolve(shape, math.prod(x.shape)))


def _permuted(x: Shape, *, dims: Dims) -> Shape:
    if sorted(dims) != list(range(len(x))):
        raise ShapeError(f"dims {dims} are not an order of {len(x)} dimensions")
    return tuple(x[d] for d in dims)


@op(shape=_permuted, view=True, label="ᵀ", samples=(Sample(((2, 3, 4),), params={"dims": (2, 0, 1)}),))
def permute_(xp: Namespace, x: Array, *, dims: Dims) -> Array:
    """Return `x` with its dimensions in the order `dims`."""
    return x.transpose(dims)


permute_.defvjp(x=lambda g, dims: permute_(g, dims=tuple(sorted(range(len(dims)), key=dims.__getitem__))))


def permute(x: Value, *dims: Any) -> Value:
    """Return `x` with its dimensions in the order `dims`."""
    order = dims[0] if len(dims) == 1 and not hasattr(dims[0], "__index__") else dims
    return permute_(x, dims=tuple(dim_of(d, len(x.shape)) for d in order))


def transpose(x: Value, dim0: int, dim1: int) -> Value:
    """Return `x` with two dimensions swapped."""
    n = len(x.shape)
    a, b = dim_of(dim0, n), dim_of(dim1, n)
    order = list(range(n))
    if n:
        order[a], order[b] = order[b], order[a]
    return permute_(x, dims=tuple(order))


def t(x: Value) -> Value:
    """Return the transpose of a matrix (N, M) -> (M, N); vectors are returned as they are."""
    if len(x.shape) > 2:
        raise ShapeError(f"t: got {len(x.shape)} dimensions, wanted at most 2; use .mT or permute")
    return permute_(x, dims=(1, 0)) if len(x.shape) == 2 else x


@op(
    shape=shapes.given,
    view=True,
    label="expand",
    samples=(Sample(((1, 2),), params={"shape": (3, 2)}), Sample(((),), params={"shape": (2,)})),
)
def broadcast_to(xp: Namespace, x: Array, *, shape: Shape) -> Array:
    """Repeat `x` to `shape`, as broadcasting does."""
    return xp.broadcast_to(x, shape)


@op(
    shape=shapes.given,
    label="Σ",
    samples=(Sample(((3, 2),), params={"shape": (1, 2)}), Sample(((3, 2),), params={"shape": ()})),
)
def sum_to(xp: Namespace, x: Array, *, shape: Shape) -> Array:
    """Sum `x` over the dimensions along which `shape` was broadcast."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    return x.sum(axis=axes).reshape(shape) if axes else x.reshape(shape)


broadcast_to.defvjp(x=lambda g, x_shape: sum_to(g, shape=x_shape))
sum_to.defvjp(x=lambda g, x_shape: broadcast_to(g, shape=x_shape))


def _joined(*xs: Shape, dim: int) -> Shape:
    first, *others = xs
    for i, s in enumerate(others, 1):
        if s[:dim] + s[dim + 1 :] != first[:dim] + first[dim + 1 :] or len(s) != len(first):
            raise ShapeError(
                f"part {i} of shape {list(s)} does not fit part 0 of shape {list(first)} but for dim {dim}"
            )
    return (*first[:dim], sum(s[dim] for s in xs), *first[dim + 1 :])


@op(
    shape=_joined,
    operands="promote",
    samples=(Sample(((2, 3), (2, 1)), params={"dim": 1}), Sample(((0, 2), (3, 2)), params={"dim": 0})),
)
def cat_(xp: Namespace, *xs: Array, dim: int) -> Array:
    """Join arrays along the existing dimension `dim`."""
    return xp.concatenate(xs, dim)


def _split_like(g: Value, xs_shape: Sequence[Shape], dim: int) -> list[Value]:
    parts, start = [], 0
    for s in xs_shape:
        parts.append(narrow_(g, dim=dim, start=start, stop=start + s[dim]))
        start += s[dim]
    return parts


cat_.defvjp(xs=_split_like)


def _several(name: str, tensors: Sequence[Value]) -> list[Value]:
    """Return what `name` was given as a list, if it is one or more tensors."""
    several = [] if hasattr(tensors, "shape") else list(tensors)
    if hasattr(tensors, "shape") or not all(hasattr(v, "shape") for v in several):
        kinds = type(tensors).__name__ + (f" of {type(several[0]).__name__}" if several else "")
        raise DTypeError(f"{name}: got {kinds}, wanted a list or tuple of tensors, as in {name}([a, b], dim=0)")
    if not several:
        raise ArgumentError(f"{name}: got no tensors, wanted at least one")
    return several


def cat(tensors: Sequence[Value], dim: int = 0) -> Value:
    """Join a sequence of tensors along the existing dimension `dim`."""
    tensors = _several("cat", tensors)
    return cat_(*tensors, dim=dim_of(dim, len(tensors[0].shape)))


def _stacked(*xs: Shape, dim: int) -> Shape:
    for i, s in enumerate(xs):
        if s != xs[0]:
            raise ShapeError(f"part {i} has shape {list(s)}, part 0 has {list(xs[0])}")
    return (*xs[0][:dim], len(xs), *xs[0][dim:])


@op(
    shape=_stacked,
    operands="promote",
    samples=(Sample(((2, 3), (2, 3)), params={"dim": 1}), Sample(((), ()), params={"dim": 0})),
)
def stack_(xp: Namespace, *xs: Array, dim: int) -> Array:
    """Join arrays of equal shape along a new dimension `dim`."""
    return xp.stack(xs, dim)


stack_.defvjp(xs=lambda g, dim: unbind(g, dim))


def stack(tensors: Sequence[Value], dim: int = 0) -> Value:
    """Join a sequence of tensors of equal shape along a new dimension `dim`."""
    tensors = _several("stack", tensors)
    return stack_(*tensors, dim=dim_of(dim, len(tensors[0].shape) + 1))


def _narrowed(x: Shape, *, dim: int, start: int, stop: int) -> Shape:
    return (*x[:dim], stop - start, *x[dim + 1 :])


@op(shape=_narrowed, view=True, label="slice", samples=(Sample(((3, 4),), params={"dim": 1, "start": 1, "stop": 3}),))
def narrow_(xp: Namespace, x: Array, *, dim: int, start: int, stop: int) -> Array:
    """Return `x` from `start` up to `stop` along `dim`."""
    if dim + 1 == x.ndim:
        return x[..., start:stop]
    return x[(slice(None),) * dim + (slice(start, stop),)]


narrow_.defvjp(x=lambda g, dim, start: Placed(g, dim, start))


def _selected(x: Shape, *, dim: int, index: int) -> Shape:
    return x[:dim] + x[dim + 1 :]


@op(
    shape=_selected,
    view=True,
    label="[·]",
    samples=(Sample(((3, 4),), params={"dim": 0, "index": 2}), Sample(((3, 4),), params={"dim": 1, "index": 0})),
)
def select_(xp: Namespace, x: Array, *, dim: int, index: int) -> Array:
    """Return the slice `index` of `x` along `dim`, which is dropped."""
    return x[(slice(None),) * dim + (index, ...)]  # the ellipsis keeps a 0-d result a view


select_.defvjp(x=lambda g, dim, index: Placed(unsqueeze(g, dim), dim, index))


def _assembled(*parts: Shape, shape: Shape, dim: int, starts: Dims) -> Shape:
    return shape


@op(shape=_assembled, samples=(Sample(((2, 1), (2, 2)), params={"shape": (2, 4), "dim": 1, "starts": (0, 1)}),))
def assemble(xp: Namespace, *parts: Array, shape: Shape, dim: int, starts: Dims) -> Array:
    """Return zeros of `shape` to which each part is added at its start along `dim`."""
    out = xp.zeros(shape, parts[0].dtype)
    for part, start in zip(parts, starts, strict=True):
        out[(slice(None),) * dim + (slice(start, start + part.shape[dim]),)] += part
    return out


assemble.defvjp(
    parts=lambda g, parts_shape, dim, starts: [
        narrow_(g, dim=dim, start=a, stop=a + s[dim]) for a, s in zip(starts, parts_shape, strict=True)
    ]
)


def narrow(x: Value, dim: int, start: int, length: int) -> Value:
    """Return `length` slices of `x` along `dim`, from `start` on."""
    d = dim_of(dim, len(x.shape))
    size = x.shape[d]
    first = start + size if start < 0 else start
    if not 0 <= first <= first + length <= size:
        raise ArgumentError(f"narrow: start {start} and length {length} do not fit size {size} of dim {dim}")
    return narrow_(x, dim=d, start=first, stop=first + length)


def unsqueeze(x: Value, dim: int) -> Value:
    """Return `x` with a new dimension of size 1 at `dim`."""
    d = dim_of(dim, len(x.shape) + 1)
    return reshape_(x, shape=(*x.shape[:d], 1, *x.shape[d:]))


def squeeze(x: Value, dim: Any = None) -> Value:
    """Return `x` without its dimensions of size 1, or without those among `dim`."""
    dims = shapes.dims_of(dim, len(x.shape))
    return reshape_(x, shape=tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in dims))


def unbind(x: Value, dim: int = 0) -> list[Value]:
    """Return the slices of `x` along `dim`, each without it."""
    d = dim_of(dim, len(x.shape))
    return each(select_, x, [{"dim": d, "index": i} for i in range(x.shape[d])])


def split(x: Value, split_size: Any, dim: int = 0) -> list[Value]:
    """Cut `x` along `dim` into parts of `split_size` (the last may be smaller), or of the sizes listed."""
    d = dim_of(dim, len(x.shape))
    size = x.shape[d]
    if hasattr(split_size, "__index__"):
        if split_size < 0 or (split_size == 0 and size):
            raise ArgumentError(f"split: got split_size {split_size}, wanted a positive number")
        sizes = [min(split_size, size - a) for a in range(0, size, split_size or 1)] or [size]
    else:
        sizes = list(split_size)
        if sum(sizes) != size or min(sizes, default=0) < 0:
            raise ShapeError(f"split: sizes {sizes} do not add up to size {size} of dim {dim}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return each(narrow_, x, [{"dim": d, "start": a, "stop": a + n} for a, n in zip(starts, sizes, strict=True)])


def chunk(x: Value, chunks: int, dim: int = 0) -> list[Value]:
    """Cut `x` along `dim` into `chunks` parts of equal size (the last may be smaller)."""
    if chunks < 1:
        raise ArgumentError(f"chunk: got chunks {chunks}, wanted at least 1")
    d = dim_of(dim, len(x.shape))
    whole = x.shape[d]
    size = -(-whole // chunks)
    cuts = range(0, whole or 1, size or 1)
    return each(narrow_, x, [{"dim": d, "start": a, "stop": min(a + size, whole)} for a in cuts])


@op(shape=lambda x, *, dim: x, view=True, samples=(Sample(((2, 3, 4),), params={"dim": (0, 2)}),))
def flip_(xp: Namespace, x: Array, *, dim: Dims) -> Array:
    """Return `x` in reverse order along the dimensions `dim`."""
    return xp.flip(x, dim)


flip_.defvjp(x=lambda g, dim: flip_(g, dim=dim))


def flip(input: Value, *args: Any, dims: Any = ()) -> Value:
    """Return `input` in reverse order along `dims`: `flip(x, dims=(0, 1))`, `flip(x, (0, 1))` or `flip(x, 0, 1)`."""
    given = args[0] if len(args) == 1 else args or dims
    listed = (given,) if hasattr(given, "__index__") else tuple(given)
    return flip_(input, dim=shapes.dims_of(listed, len(input.shape))) if listed else input


def flatten(input: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """Return `input` with the dimensions from `start_dim` to `end_dim` made one."""
    n = len(input.shape)
    first, last = dim_of(start_dim, n), dim_of(end_dim, n)
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    joined = math.prod(input.shape[first : last + 1])
    return reshape_(input, shape=(*input.shape[:first], joined, *input.shape[last + 1 :]))


def unflatten(input: Value, dim: int, sizes: Sequence[int]) -> Value:
    """Return `input` with dimension `dim` cut into `sizes`, of which one may be -1."""
    d = dim_of(dim, len(input.shape))
    return reshape_(
        input, shape=(*input.shape[:d], *shapes.resolve((tuple(sizes),), input.shape[d]), *input.shape[d + 1 :])
    )


def expand(input: Value, *sizes: Any) -> Value:
    """Repeat dimensions of size 1 to `sizes`, without copying; -1 keeps a size."""
    wanted = sizes[0] if len(sizes) == 1 and not hasattr(sizes[0], "__index__") else sizes
    lead = len(wanted) - len(input.shape)
    known = [None] * lead + list(input.shape)
    if lead < 0 or any(n == -1 and k is None for n, k in zip(wanted, known, strict=True)):
        raise ShapeError(f"expand: sizes {list(wanted)} do not fit shape {list(input.shape)}")
    shape = tuple(k if n == -1 else int(n) for n, k in zip(wanted, known, strict=True))
    if any(k not in (None, 1, n) for n, k in zip(shape, known, strict=True)):
        raise ShapeError(f"expand: shape {list(input.shape)} does not expand to {list(shape)}; only sizes of 1 do")
    return broadcast_to(input, shape=shape)


def repeat(input: Value, *repeats: Any) -> Value:
    """Return `input` repeated `repeats` times along each dimension, new ones in front."""
    times = repeats[0] if len(repeats) == 1 and not hasattr(repeats[0], "__index__") else repeats
    lead = len(times) - len(input.shape)
    if lead < 0:
        raise ShapeError(f"repeat: got {len(times)} counts for {len(input.shape)} dimensions, wanted at least as many")
    shape = (1,) * lead + tuple(input.shape)
    between = reshape_(input, shape=tuple(n for size in shape for n in (1, size)))
    wide = broadcast_to(between, shape=tuple(n for r, size in zip(times, shape, strict=True) for n in (int(r), size)))
    return reshape_(wide, shape=tuple(int(r) * size for r, size in zip(times, shape, strict=True)))


def tile(input: Value, *dims: Any) -> Value:
    """Return `input` repeated `dims` times; counts for the leading dimensions may be left out."""
    times = tuple(dims[0] if len(dims) == 1 and not hasattr(dims[0], "__index__") else dims)
    return repeat(input, (1,) * (len(input.shape) - len(times)) + times)


__all__ = [
    "assemble", "broadcast_to", "cat", "cat_", "chunk", "expand", "flatten", "flip", "flip_", "narrow", "narrow_",
    "permute", "permute_", "repeat", "reshape", "reshape_", "select_", "split", "squeeze", "stack", "stack_", "sum_to",
    "t", "tile", "transpose", "unbind", "unflatten", "unsqueeze",
]  # fmt: skip
