"""Modules: layers, recurrent cells and their drivers, losses."""

from tinyseq.nn import decode, functional, init, utils
from tinyseq.nn.activations import (
    CELU,
    ELU,
    GELU,
    GLU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from tinyseq.nn.attention import Attend, Memory
from tinyseq.nn.cell import Cell
from tinyseq.nn.cells import GRUCell, LSTMCell, RNNCell
from tinyseq.nn.containers import (
    ModuleDict,
    ModuleList,
    ParameterList,
    Sequential,
)
from tinyseq.nn.layers import (
    Bilinear,
    Dropout,
    Embedding,
    Flatten,
    Identity,
    LayerNorm,
    Linear,
    RMSNorm,
)
from tinyseq.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CosineSimilarity,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from tinyseq.nn.module import Module
from tinyseq.nn.parameter import Parameter
from tinyseq.nn.recurrent import Bidirectional, Recurrent
from tinyseq.nn.rnn import GRU, LSTM, RNN
from tinyseq.nn.seq2seq import Bridge, EncoderDecoder
from tinyseq.nn.state import detach_state
from tinyseq.nn.truncated import truncated_bptt
from tinyseq.nn.wrappers import (
    Residual,
    StackedCells,
    VariationalDropout,
    Zoneout,
)
from tinyseq.nn.zoo import (
    CoupledLSTMCell,
    IndRNNCell,
    LayerNormLSTMCell,
    MGUCell,
    MinimalRNNCell,
    PeepholeLSTMCell,
    ResetAfterGRUCell,
    ResetBeforeGRUCell,
)

__all__ = [
    "Attend", "BCELoss", "BCEWithLogitsLoss", "Bidirectional", "Bilinear", "Bridge", "CELU", "Cell",
    "CosineSimilarity", "CoupledLSTMCell", "CrossEntropyLoss", "Dropout", "ELU", "Embedding", "EncoderDecoder",
    "Flatten", "GELU", "GLU", "GRU", "GRUCell", "Hardsigmoid", "Hardswish", "Hardtanh", "HuberLoss", "Identity",
    "IndRNNCell", "KLDivLoss", "L1Loss", "LSTM", "LSTMCell", "LayerNorm", "LayerNormLSTMCell", "LeakyReLU",
    "Linear", "LogSigmoid", "LogSoftmax", "MGUCell", "MSELoss", "Memory", "MinimalRNNCell", "Mish", "Module",
    "ModuleDict", "ModuleList", "NLLLoss", "PReLU", "Parameter", "ParameterList", "PeepholeLSTMCell", "RMSNorm",
    "RNN", "RNNCell", "ReLU", "ReLU6", "Recurrent", "ResetAfterGRUCell", "ResetBeforeGRUCell", "Residual", "SELU",
    "Sequential", "SiLU", "Sigmoid", "SmoothL1Loss", "Softmax", "Softplus", "Softsign", "StackedCells", "Tanh",
    "VariationalDropout", "Zoneout", "decode", "detach_state", "functional", "init", "truncated_bptt", "utils",
]  # fmt: skip
