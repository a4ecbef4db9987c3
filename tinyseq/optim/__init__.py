"""Optimizers and schedules of the learning rate."""

from tinyseq.optim import lr_scheduler as lr_scheduler
from tinyseq.optim.algorithms import (
    SGD as SGD,
    Adagrad as Adagrad,
    Adam as Adam,
    AdamW as AdamW,
    RMSprop as RMSprop,
)
from tinyseq.optim.optimizer import Optimizer as Optimizer
