"""tinyseq: an autograd engine and a framework for recurrent models, over NumPy or CuPy."""

from tinyseq import autograd as autograd
from tinyseq.autograd import (
    Tensor as Tensor,
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    no_grad as no_grad,
)
from tinyseq.autograd.creation import tensor as tensor, zeros as zeros
from tinyseq.ops import *  # noqa: F403
from tinyseq.serialization import load as load, save as save
