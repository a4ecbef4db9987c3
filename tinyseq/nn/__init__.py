"""Modules: layers, recurrent cells and their drivers, losses."""

from tinyseq.nn import decode as decode, functional as functional, init as init, utils as utils
from tinyseq.nn.activations import (
    CELU as CELU,
    ELU as ELU,
    GELU as GELU,
    GLU as GLU,
    SELU as SELU,
    Hardsigmoid as Hardsigmoid,
    Hardswish as Hardswish,
    Hardtanh as Hardtanh,
    LeakyReLU as LeakyReLU,
    LogSigmoid as LogSigmoid,
    LogSoftmax as LogSoftmax,
    Mish as Mish,
    PReLU as PReLU,
    ReLU as ReLU,
    ReLU6 as ReLU6,
    Sigmoid as Sigmoid,
    SiLU as SiLU,
    Softmax as Softmax,
    Softplus as Softplus,
    Softsign as Softsign,
    Tanh as Tanh,
)
from tinyseq.nn.attention import Attend as Attend, Memory as Memory
from tinyseq.nn.cell import Cell as Cell
from tinyseq.nn.cells import GRUCell as GRUCell, LSTMCell as LSTMCell, RNNCell as RNNCell
from tinyseq.nn.containers import (
    ModuleDict as ModuleDict,
    ModuleList as ModuleList,
    ParameterList as ParameterList,
    Sequential as Sequential,
)
from tinyseq.nn.layers import (
    Bilinear as Bilinear,
    Dropout as Dropout,
    Embedding as Embedding,
    Flatten as Flatten,
    Identity as Identity,
    LayerNorm as LayerNorm,
    Linear as Linear,
    RMSNorm as RMSNorm,
)
from tinyseq.nn.losses import (
    BCELoss as BCELoss,
    BCEWithLogitsLoss as BCEWithLogitsLoss,
    CosineSimilarity as CosineSimilarity,
    CrossEntropyLoss as CrossEntropyLoss,
    HuberLoss as HuberLoss,
    KLDivLoss as KLDivLoss,
    L1Loss as L1Loss,
    MSELoss as MSELoss,
    NLLLoss as NLLLoss,
    SmoothL1Loss as SmoothL1Loss,
)
from tinyseq.nn.module import Module as Module
from tinyseq.nn.parameter import Parameter as Parameter
from tinyseq.nn.recurrent import Bidirectional as Bidirectional, Recurrent as Recurrent
from tinyseq.nn.rnn import GRU as GRU, LSTM as LSTM, RNN as RNN
from tinyseq.nn.seq2seq import Bridge as Bridge, EncoderDecoder as EncoderDecoder
from tinyseq.nn.state import detach_state as detach_state
from tinyseq.nn.truncated import truncated_bptt as truncated_bptt
from tinyseq.nn.wrappers import (
    Residual as Residual,
    StackedCells as StackedCells,
    VariationalDropout as VariationalDropout,
    Zoneout as Zoneout,
)
from tinyseq.nn.zoo import (
    CoupledLSTMCell as CoupledLSTMCell,
    IndRNNCell as IndRNNCell,
    LayerNormLSTMCell as LayerNormLSTMCell,
    MGUCell as MGUCell,
    MinimalRNNCell as MinimalRNNCell,
    PeepholeLSTMCell as PeepholeLSTMCell,
    ResetAfterGRUCell as ResetAfterGRUCell,
    ResetBeforeGRUCell as ResetBeforeGRUCell,
)
