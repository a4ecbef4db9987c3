"""Helpers for modules: clipping of gradients, sequences of different lengths, parameters as a vector."""

from tinyseq.nn.utils import rnn
from tinyseq.nn.utils.clip import (
    clip_grad_norm_,
    clip_grad_value_,
    get_total_norm,
)
from tinyseq.nn.utils.convert import (
    parameters_to_vector,
    vector_to_parameters,
)

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "get_total_norm", "parameters_to_vector", "rnn", "vector_to_parameters",
]  # fmt: skip
