"""Linear algebra under the names of `torch.linalg`."""

from tinyseq.core.op import Value
from tinyseq.ops.diagonals import diagonal as _diagonal
from tinyseq.ops.norms import linalg_norm as norm, matrix_norm, vector_norm
from tinyseq.ops.products import cross, matrix_power, multi_dot, vander, vecdot
from tinyseq.ops.solving import inv, solve


def diagonal(A: Value, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Value:
    """Return the diagonals of the matrices that `A` has in `dim1` and `dim2`, as the last dimension."""
    return _diagonal(A, offset, dim1, dim2)


__all__ = [
    "cross",
    "diagonal",
    "inv",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "solve",
    "vander",
    "vecdot",
    "vector_norm",
]
