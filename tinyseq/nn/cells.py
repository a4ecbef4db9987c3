"""The cells of PyTorch: RNNCell, LSTMCell and GRUCell, with its parameter names, gate order and results."""

import math
from typing import Any

from tinyseq.errors import ArgumentError, ShapeError
from tinyseq.nn import functional as F, init
from tinyseq.nn.cell import Cell
from tinyseq.nn.layers import new_parameter


class TorchCell(Cell):
    """What the three share: `gates` matrices stacked in one weight, biases, and PyTorch's way of calling.

    Parameters
    ----------
    input_size, hidden_size
        The sizes of the input and of the state h.
    bias
        Whether there are biases.
    clip
        A bound on what the activation functions of the gates get, as of the operators of ONNX.

    Parameters start uniform in ±1 / √hidden_size: `weight_ih` (gates·hidden_size, input_size), `weight_hh`
    (gates·hidden_size, hidden_size), `bias_ih` and `bias_hh` (gates·hidden_size).
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        clip: float | None = None,
        recurrent_size: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, clip=clip)
        rows, made = self.gates * hidden_size, {"dtype": dtype, "device": device}
        self.bias = bias
        self.weight_ih = new_parameter(rows, input_size, **made)
        self.weight_hh = new_parameter(rows, recurrent_size or hidden_size, **made)
        self.bias_ih = new_parameter(rows, **made) if bias else None
        self.bias_hh = new_parameter(rows, **made) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new values."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def both_biases(self) -> Any:
        """Return the sum of the two biases, where nothing comes between them; None if there are none."""
        return None if self.bias_ih is None else self.bias_ih + self.bias_hh

    def project(self, x: Any) -> Any:
        """Return the part of every gate that depends on `x` alone."""
        return F.linear(x, self.weight_ih, self.both_biases())

    def forward(self, input: Any, hx: Any = None, context: Any = None) -> Any:
        """Compute one step as PyTorch's cell of this name: `h = cell(input, h)`, and (h, c) for an LSTM.

        `input` is (B, input_size), or (input_size) without a batch.
        """
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: got input {list(input.shape)}, "
                f"wanted (B, {self.input_size}) or ({self.input_size})"
            )
        single = input.ndim == 1
        x = input.unsqueeze(0) if single else input
        if hx is None:
            state = self.initial_state(x.shape[0])
        else:
            given = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
            given = tuple(part.unsqueeze(0) for part in given) if single else given
            sizes = (self.output_size, self.hidden_size)[: len(self.state_names)]
            wanted = [(x.shape[0], size) for size in sizes]
            if [part.shape for part in given] != wanted:
                got = ", ".join(str(list(part.shape[single:])) for part in given)
                named = ", ".join(f"{n} {list(s[single:])}" for n, s in zip(self.state_names, wanted, strict=True))
                raise ShapeError(f"{type(self).__name__}: got hx {got}, wanted {named}")
            state = self.State(*given)
        _, new = self.run(self.project(x), state)
        parts = tuple(part.squeeze(0) for part in new) if single else tuple(new)
        return parts if len(parts) > 1 else parts[0]


class RNNCell(TorchCell):
    """`h = tanh(W_ih x + b_ih + W_hh h + b_hh)`, or relu in place of tanh.

    J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        *,
        clip: float | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNNCell: got nonlinearity {nonlinearity!r}, wanted 'tanh' or 'relu'")
        super().__init__(input_size, hidden_size, bias, device, dtype, clip=clip)
        self.nonlinearity = nonlinearity

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for a projected `x`."""
        z = self.clipped(x + F.linear(state.h, self.weight_hh))
        h = z.tanh() if self.nonlinearity == "tanh" else z.relu()
        return h, self.State(h)


class LSTMCell(TorchCell):
    """`c = f c + i g`, `h = o tanh(c)`, with the gates i, f, o = sigmoid and g = tanh of `W_ih x + W_hh h + b`.

    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9 (1997); the forget gate is that of
    F. A. Gers et al., "Learning to forget", Neural Computation 12 (2000). With `proj_size`, h is `W_hr (o tanh(c))`:
    H. Sak et al., "Long short-term memory recurrent neural network architectures", Interspeech 2014, equation 7.
    """

    gates = 4
    state_names = ("h", "c")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int = 0,
        clip: float | None = None,
    ) -> None:
        if not 0 <= proj_size < hidden_size:
            raise ArgumentError(f"LSTMCell: got proj_size {proj_size}, wanted 0 to hidden_size - 1 = {hidden_size - 1}")
        super().__init__(input_size, hidden_size, bias, device, dtype, clip=clip, recurrent_size=proj_size or None)
        self.proj_size = proj_size
        self.weight_hr = new_parameter(proj_size, hidden_size, dtype=dtype, device=device) if proj_size else None
        if proj_size:
            self.reset_parameters()

    @property
    def output_size(self) -> int:
        """The size of h."""
        return self.proj_size or self.hidden_size

    def initial_state(self, batch_size: int) -> Any:
        """Return zeros h (B, proj_size or hidden_size) and c (B, hidden_size)."""
        return self.State(self.zeros(batch_size, self.output_size), self.zeros(batch_size, self.hidden_size))

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for a projected `x`."""
        i, f, g, o = self.clipped(x + F.linear(state.h, self.weight_hh)).chunk(4, -1)
        i, f, g, o = self.tap(i=i.sigmoid(), f=f.sigmoid(), g=g.tanh(), o=o.sigmoid())
        c = f * state.c + i * g
        h = o * c.tanh()
        if self.weight_hr is not None:
            h = F.linear(h, self.weight_hr)
        return h, self.State(h, c)


class GRUCell(TorchCell):
    """`h = (1 - z) n + z h`, with `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`: the reset gate after the product.

    K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, in the variant of cuDNN and
    PyTorch. `ResetBeforeGRUCell` is the one of the paper.
    """

    gates = 3

    def project(self, x: Any) -> Any:
        """Return the part of the gates and of the candidate that depends on `x` alone."""
        return F.linear(x, self.weight_ih, self.bias_ih)

    def step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return h and the new state, for a projected `x`."""
        x_r, x_z, x_n = x.chunk(3, -1)
        h_r, h_z, h_n = F.linear(state.h, self.weight_hh, self.bias_hh).chunk(3, -1)
        r, z = self.tap(r=self.clipped(x_r + h_r).sigmoid(), z=self.clipped(x_z + h_z).sigmoid())
        n = self.tap(n=self.clipped(x_n + r * h_n).tanh())
        h = n + z * (state.h - n)
        return h, self.State(h)
