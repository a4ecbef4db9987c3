"""More recurrent cells, each as its equations in the paper. B is the batch; sizes are named as in `Cell`."""

from typing import Any

from tinyseq.autograd.creation import zeros
from tinyseq.nn import functional as F, init
from tinyseq.nn.cell import Cell
from tinyseq.nn.cells import GRUCell
from tinyseq.nn.layers import LayerNorm, Linear, new_parameter
from tinyseq.nn.parameter import Parameter


class PeepholeLSTMCell(Cell):
    """An LSTM whose gates see the cell state: i and f the one before the step, o the one after it.

    F. A. Gers, J. Schmidhuber, "Recurrent nets that time and count", IJCNN 2000, equations 1 to 5.
    """

    state_names = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int, *, clip: float | None = None) -> None:
        super().__init__(input_size, hidden_size, clip=clip)
        self.ih = Linear(input_size, 4 * hidden_size)
        self.hh = Linear(hidden_size, 4 * hidden_size, bias=False)
        self.peep_i, self.peep_f, self.peep_o = (Parameter(zeros(hidden_size)) for _ in range(3))

    def project(self, x: Any) -> Any:
        """Return W x + b for all gates."""
        return self.ih(x)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for a projected `x`."""
        i, f, g, o = (x + self.hh(state.h)).chunk(4, -1)
        i = self.clipped(i + self.peep_i * state.c).sigmoid()
        f = self.clipped(f + self.peep_f * state.c).sigmoid()
        g = self.clipped(g).tanh()
        c = f * state.c + i * g
        o = self.clipped(o + self.peep_o * c).sigmoid()
        self.tap(i=i, f=f, g=g, o=o)
        h = o * c.tanh()
        return h, self.State(h, c)


class CoupledLSTMCell(Cell):
    """An LSTM that forgets as much as it takes in: `i = 1 - f`.

    K. Greff et al., "LSTM: a search space odyssey", IEEE Trans. Neural Networks and Learning Systems 28 (2017),
    variant CIFG.
    """

    state_names = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int, *, clip: float | None = None) -> None:
        super().__init__(input_size, hidden_size, clip=clip)
        self.ih = Linear(input_size, 3 * hidden_size)
        self.hh = Linear(hidden_size, 3 * hidden_size, bias=False)

    def project(self, x: Any) -> Any:
        """Return W x + b for all gates."""
        return self.ih(x)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for a projected `x`."""
        i, g, o = self.clipped(x + self.hh(state.h)).chunk(3, -1)
        i, g, o = self.tap(i=i.sigmoid(), g=g.tanh(), o=o.sigmoid())
        c = state.c + i * (g - state.c)
        h = o * c.tanh()
        return h, self.State(h, c)


class LayerNormLSTMCell(Cell):
    """An LSTM with layer normalisation of both products and of the cell state.

    J. L. Ba et al., "Layer normalization", arXiv:1607.06450, equations 20 to 22.
    """

    state_names = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.ih = Linear(input_size, 4 * hidden_size, bias=False)
        self.hh = Linear(hidden_size, 4 * hidden_size, bias=False)
        self.norm_ih, self.norm_hh = LayerNorm(4 * hidden_size), LayerNorm(4 * hidden_size, bias=False)
        self.norm_c = LayerNorm(hidden_size)

    def project(self, x: Any) -> Any:
        """Return the normalised W x, with the bias."""
        return self.norm_ih(self.ih(x))

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for a projected `x`."""
        i, f, g, o = (x + self.norm_hh(self.hh(state.h))).chunk(4, -1)
        i, f, g, o = self.tap(i=i.sigmoid(), f=f.sigmoid(), g=g.tanh(), o=o.sigmoid())
        c = f * state.c + i * g
        h = o * self.norm_c(c).tanh()
        return h, self.State(h, c)


ResetAfterGRUCell = GRUCell


class ResetBeforeGRUCell(Cell):
    """`h = (1 - z) n + z h`, with `n = tanh(W x + U (r h) + b)`: the reset gate before the product.

    K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
    EMNLP 2014, equations 5 to 8. `GRUCell`, also named `ResetAfterGRUCell`, is the variant of cuDNN and PyTorch.
    """

    def __init__(self, input_size: int, hidden_size: int, *, clip: float | None = None) -> None:
        super().__init__(input_size, hidden_size, clip=clip)
        self.ih = Linear(input_size, 3 * hidden_size)
        self.gates_hh = Linear(hidden_size, 2 * hidden_size, bias=False)
        self.new_hh = Linear(hidden_size, hidden_size, bias=False)

    def project(self, x: Any) -> Any:
        """Return W x + b for both gates and the candidate."""
        return self.ih(x)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for a projected `x`."""
        x_r, x_z, x_n = x.chunk(3, -1)
        h_r, h_z = self.gates_hh(state.h).chunk(2, -1)
        r, z = self.tap(r=self.clipped(x_r + h_r).sigmoid(), z=self.clipped(x_z + h_z).sigmoid())
        n = self.tap(n=self.clipped(x_n + self.new_hh(r * state.h)).tanh())
        h = n + z * (state.h - n)
        return h, self.State(h)


class MGUCell(Cell):
    """The minimal gated unit: `h = (1 - f) h + f tanh(W x + U (f h) + b)`, with one gate f.

    G.-B. Zhou et al., "Minimal gated unit for recurrent neural networks", Int. J. Automation and Computing 13 (2016),
    equations 8 to 10.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.ih = Linear(input_size, 2 * hidden_size)
        self.gate_hh = Linear(hidden_size, hidden_size, bias=False)
        self.new_hh = Linear(hidden_size, hidden_size, bias=False)

    def project(self, x: Any) -> Any:
        """Return W x + b for the gate and the candidate."""
        return self.ih(x)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for a projected `x`."""
        x_f, x_n = x.chunk(2, -1)
        f = self.tap(f=(x_f + self.gate_hh(state.h)).sigmoid())
        n = self.tap(n=(x_n + self.new_hh(f * state.h)).tanh())
        h = state.h + f * (n - state.h)
        return h, self.State(h)


class MinimalRNNCell(Cell):
    """`h = u h + (1 - u) z`, with `z = tanh(W x + b)` and `u = sigmoid(U h + V z + c)`.

    M. Chen, "MinimalRNN: toward more interpretable and trainable recurrent neural networks", arXiv:1711.06788,
    equations 1 to 3.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.encode = Linear(input_size, hidden_size)
        self.zh = Linear(hidden_size, hidden_size)
        self.hh = Linear(hidden_size, hidden_size, bias=False)

    def project(self, x: Any) -> Any:
        """Return z."""
        return self.encode(x).tanh()

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for z in place of `x`."""
        u = self.tap(u=(self.hh(state.h) + self.zh(x)).sigmoid())
        h = x + u * (state.h - x)
        return h, self.State(h)


class IndRNNCell(Cell):
    """`h = relu(W x + u h + b)`: each unit sees only itself, through one number u.

    S. Li et al., "Independently recurrent neural network (IndRNN)", CVPR 2018, equation 2.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.ih = Linear(input_size, hidden_size)
        self.u = new_parameter(hidden_size)
        init.uniform_(self.u, 0.0, 1.0)

    def project(self, x: Any) -> Any:
        """Return W x + b."""
        return self.ih(x)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for a projected `x`."""
        h = F.relu(x + self.u * state.h)
        return h, self.State(h)
