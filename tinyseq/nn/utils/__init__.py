"""Helpers for modules: clipping of gradients, sequences of different lengths, parameters as a vector."""

from tinyseq.nn.utils import rnn as rnn
from tinyseq.nn.utils.clip import (
    clip_grad_norm_ as clip_grad_norm_,
    clip_grad_value_ as clip_grad_value_,
    get_total_norm as get_total_norm,
)
from tinyseq.nn.utils.convert import (
    parameters_to_vector as parameters_to_vector,
    vector_to_parameters as vector_to_parameters,
)
