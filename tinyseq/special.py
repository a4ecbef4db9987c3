"""Special functions under the names of `torch.special`."""

from tinyseq.ops.activation import log_softmax, softmax
from tinyseq.ops.elementwise import expm1, sigmoid as expit
from tinyseq.ops.reduction import logsumexp
from tinyseq.ops.special import entr, erf, erfc, exp2, log1p, logit, ndtr, round, sinc, xlog1py, xlogy

__all__ = [
    "entr", "erf", "erfc", "exp2", "expit", "expm1", "log1p", "log_softmax", "logit", "logsumexp", "ndtr", "round",
    "sinc", "softmax", "xlog1py", "xlogy",
]  # fmt: skip
