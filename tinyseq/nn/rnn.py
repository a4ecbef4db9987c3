"""nn.RNN, nn.LSTM and nn.GRU: PyTorch's layers, made of the cells of this library and its driver."""

from typing import Any

from tinyseq import ops
from tinyseq.autograd import Tensor
from tinyseq.errors import DTypeError, ShapeError
from tinyseq.nn import functional as F
from tinyseq.nn.cells import GRUCell, LSTMCell, RNNCell, TorchCell
from tinyseq.nn.layers import check_sizes
from tinyseq.nn.module import Module
from tinyseq.nn.parameter import Parameter
from tinyseq.nn.unroll import time_first, unroll, valid_steps
from tinyseq.nn.utils.rnn import PackedSequence, pack_padded_like, unpacked


class RNNBase(Module):
    """Layers of one kind of cell, each in one or two directions.

    Parameters
    ----------
    input_size, hidden_size
        The size of the input, and that of the state in each direction.
    num_layers
        How many layers; each reads the outputs of the one below.
    bias
        Whether there are biases.
    batch_first
        Sequences are (B, T, ...) instead of (T, B, ...). States are (layers·directions, B, ...) in any case.
    dropout
        The probability of dropout on the outputs of each layer but the last.
    bidirectional
        Also walk backward, and concatenate the outputs.
    options
        What else the cell takes: `clip`.

    The parameters of layer k are named `weight_ih_lk`, `weight_hh_lk`, `bias_ih_lk`, `bias_hh_lk`, with `_reverse`
    appended for the backward walk; see the cell for their shapes.
    """

    cell_type: type[TorchCell]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_sizes(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        F.check_probability(name, dropout)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        options |= {"device": device, "dtype": dtype}
        self._cells: dict[str, TorchCell] = {}  # not children: their parameters are this module's own
        size = options.get("proj_size") or hidden_size
        for layer in range(num_layers):
            for suffix in ("", "_reverse") if bidirectional else ("",):
                below = input_size if layer == 0 else size * (2 if bidirectional else 1)
                self._add_cell(f"l{layer}{suffix}", self.cell_type(below, hidden_size, bias, **options))

    def _add_cell(self, label: str, cell: TorchCell) -> None:
        for name, parameter in cell.named_parameters(recurse=False):
            self.register_parameter(f"{name}_{label}", parameter)
        self._cells[label] = cell
        self._adopt(label, cell)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` an attribute, and give it to the cell that uses it."""
        super().register_parameter(name, param)
        for label, cell in self._cells.items():
            own = name.removesuffix(f"_{label}")
            if own != name and own in vars(cell):
                cell.register_parameter(own, param)

    def _forget_path(self) -> None:
        super()._forget_path()
        for cell in self._cells.values():
            cell._forget_path()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for label, cell in self._cells.items():
            self._adopt(label, cell)

    def reset_parameters(self) -> None:
        """Draw new values."""
        for cell in self._cells.values():
            cell.reset_parameters()

    def flatten_parameters(self) -> None:
        """Do nothing: for programs written for PyTorch, where it packs the weights for cuDNN."""

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None, mask: Any = None) -> Any:
        """Run all layers over `input`.

        Parameters
        ----------
        input
            (T, B, input_size), (B, T, input_size) with `batch_first`, (T, input_size) without a batch, or a
            `PackedSequence`.
        hx
            The state to start from, (layers·directions, B, hidden_size), zeros if left out; (h, c) for an LSTM.
        lengths, mask
            Which steps count; see `Recurrent`.

        Returns
        -------
        output, state
            (T, B, directions·size) and the last state, of the shape of `hx`.

        Raises
        ------
        ShapeError
            If `input`, `hx`, `lengths` or `mask` do not fit.
        """
        name = type(self).__name__
        if isinstance(input, PackedSequence):
            x, ends = unpacked(input)
            valid = valid_steps(name, x.shape[0], x.shape[1], ends, None, False, x.device)
            output, state = self._run(x, hx, valid)
            return pack_padded_like(output, input), state
        if not isinstance(input, Tensor):
            raise DTypeError(f"{name}: got {type(input).__name__}, wanted a tensor or a PackedSequence")
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            order = "(B, T" if self.batch_first else "(T, B"
            raise ShapeError(
                f"{name}: got input {list(input.shape)}, wanted {order}, {self.input_size}) or (T, {self.input_size})"
            )
        if input.ndim == 2:
            return self._run_single(input, hx)
        x, valid = time_first(name, input, lengths, mask, self.batch_first)
        output, state = self._run(x, hx, valid)
        return (ops.transpose(output, 0, 1) if self.batch_first else output), state

    def _run_single(self, input: Any, hx: Any) -> Any:
        """Run one sequence (T, input_size) without a batch dimension."""
        if hx is not None:
            hx = tuple(part.unsqueeze(1) for part in hx) if isinstance(hx, tuple | list) else hx.unsqueeze(1)
        output, state = self._run(input.unsqueeze(1), hx, None)
        ends = tuple(part.squeeze(1) for part in state) if isinstance(state, tuple) else state.squeeze(1)
        return output.squeeze(1), ends

    def _run(self, x: Any, hx: Any, valid: Any) -> Any:
        """Run all layers over `x` (T, B, input_size), which is zero where it does not count."""
        starts = self._starts(x.shape[1], hx)
        ends: list[Any] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in ("", "_reverse") if self.bidirectional else ("",):
                cell = self._cells[f"l{layer}{suffix}"]
                output, end = unroll(cell, x, starts[len(ends)], None, valid, reverse=bool(suffix))
                outputs.append(output)
                ends.append(end)
            x = ops.cat(outputs, -1) if self.bidirectional else outputs[0]
            if layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        stacked = tuple(ops.stack(parts) for parts in zip(*ends, strict=True))
        return x, stacked if len(stacked) > 1 else stacked[0]

    def _starts(self, batch: int, hx: Any) -> list[Any]:
        """Return the state that each cell starts from."""
        cells = list(self._cells.values())
        if hx is None:
            return [cell.initial_state(batch) for cell in cells]
        wanted = cells[0].initial_state(batch)
        given = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
        shapes = [(len(cells), *part.shape) for part in wanted]
        if [part.shape for part in given] != shapes:
            got = ", ".join(str(list(part.shape)) for part in given)
            listed = ", ".join(f"{n} {list(s)}" for n, s in zip(wanted._fields, shapes, strict=True))
            raise ShapeError(f"{type(self).__name__}: got hx {got}, wanted {listed} (layers·directions, batch, size)")
        return [cell.State(*(part[k] for part in given)) for k, cell in enumerate(cells)]

    def extra_repr(self) -> str:
        """Return the sizes and what is switched on."""
        parts = [str(self.input_size), str(self.hidden_size)]
        parts += [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        parts += [f"dropout={self.dropout}"] if self.dropout else []
        parts += [f"{n}=True" for n in ("batch_first", "bidirectional") if vars(self)[n]]
        return ", ".join(parts)


class RNN(RNNBase):
    """Layers of `RNNCell`: `h = tanh(W_ih x + b_ih + W_hh h + b_hh)`, or relu; see `RNNBase`.

    >>> import tinyseq
    >>> output, h = RNN(3, 4, num_layers=2)(tinyseq.zeros(7, 2, 3))
    >>> output.shape, h.shape
    ((7, 2, 4), (2, 2, 4))
    """

    cell_type = RNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        common = (bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(input_size, hidden_size, num_layers, *common, nonlinearity=nonlinearity, **options)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Layers of `LSTMCell`; gates in the order i, f, g, o; see `RNNBase`.

    Parameters
    ----------
    proj_size
        The size to which h is projected (the parameters `weight_hr_lk`); 0 for none.

    >>> import tinyseq
    >>> output, (h, c) = LSTM(3, 4, bidirectional=True)(tinyseq.zeros(7, 2, 3))
    >>> output.shape, h.shape, c.shape
    ((7, 2, 8), (2, 2, 4), (2, 2, 4))
    """

    cell_type = LSTMCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        common = (bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(input_size, hidden_size, num_layers, *common, proj_size=proj_size, **options)
        self.proj_size = proj_size


class GRU(RNNBase):
    """Layers of `GRUCell`; gates in the order r, z, n, the reset gate after the product; see `RNNBase`."""

    cell_type = GRUCell
