"""Special functions under the names of `torch.special`."""

from tinyseq.ops.activation import log_softmax, softmax
from tinyseq.ops.elementwise import expm1, sigmoid as expit
from tinyseq.ops.gaussian import erf, erfc, ndtr
from tinyseq.ops.reduction import logsumexp
from tinyseq.ops.rounding import round
from tinyseq.ops.special import entr, exp2, log1p, logit, sinc, xlog1py, xlogy

__all__ = [
    "entr", "erf", "erfc", "exp2", "expit", "expm1", "log1p", "log_softmax", "logit", "logsumexp", "ndtr", "round",
    "sinc", "softmax", "xlog1py", "xlogy",
]  # fmt: skip
