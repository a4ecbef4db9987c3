"""What the tests of tinyseq.inspect share: recurrent models of every kind."""

from tinyseq import nn

CELLS = {
    "rnn": lambda i, h: nn.RNNCell(i, h),
    "lstm": lambda i, h: nn.LSTMCell(i, h),
    "lstm projected": lambda i, h: nn.LSTMCell(i, h, proj_size=h - 1),
    "gru": lambda i, h: nn.GRUCell(i, h),
    "peephole": lambda i, h: nn.PeepholeLSTMCell(i, h),
    "layer norm": lambda i, h: nn.LayerNormLSTMCell(i, h),
    "residual": lambda i, h: nn.Residual(nn.GRUCell(h, h)),
    "stack": lambda i, h: nn.StackedCells([nn.LSTMCell(i, h), nn.GRUCell(h, h)]),
}


def recurrent(name, i=3, h=3, **options):
    return nn.Recurrent(CELLS[name](i, h), **options)


def loss_of(model, x, **options):
    return (model(x, **options)[0] ** 2).sum()


MODELS = {name: (lambda name=name: recurrent(name)) for name in CELLS} | {
    "reverse": lambda: recurrent("gru", reverse=True),
    "learned start": lambda: recurrent("lstm", learn_initial_state=True),
    "bidirectional": lambda: nn.Bidirectional(nn.GRUCell(3, 2), nn.LSTMCell(3, 2)),
    "two layers": lambda: nn.LSTM(3, 2, num_layers=2, bidirectional=True),
}
