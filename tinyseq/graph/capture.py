"""Capture: run a function once on Symbols, and write down what it does instead of computing."""

from typing import Any

from tinyseq.backend import Array, device_of, is_array
from tinyseq.core.op import Op
from tinyseq.errors import CaptureError
from tinyseq.graph.ir import Const, Graph, Line, Symbol, new_line


class Capture:
    """The bottom interpreter while a function is being captured.

    Arrays that belong to tensors from outside become inputs when they are first read, whether they are arguments or
    parameters; an in-place write makes a new value that later reads see. So one array is one input, however many
    tensors look at it.
    """

    level = 1

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.inputs: dict[int, tuple[Array, Symbol]] = {}  # by identity of the array
        self.holders: dict[int, list[Any]] = {}  # the tensors that were seen to hold each array
        self.current: dict[Any, Symbol] = {}  # what a written array (by id) or Symbol stands for now
        self.touched: dict[Any, Any] = {}  # whose gradient changed, and what it was before

    def apply(self, op: Op, args: Any, params: dict[str, Any]) -> Symbol:
        """Record `op`."""
        operands = [Const(a) if is_array(a) else a for a in args]
        try:
            line = new_line(op, operands, params, self)
        except CaptureError:
            raise
        except Exception as error:
            given = ", ".join(f"{getattr(a, 'dtype', '')}{list(getattr(a, 'shape', ()))}" for a in operands)
            raise type(error)(f"{op.name}: {error}; got {given}") from error
        self.lines.append(line)
        return line.out

    def read(self, tensor: Any) -> Any:
        """Return what the payload of `tensor` stands for now: an input, or what was last written to it."""
        payload = tensor.payload
        if isinstance(payload, Symbol):
            if payload.owner is not self:
                raise CaptureError("a tensor of another captured function was used; return it from that function")
            return self.current.get(payload, payload)
        key = id(payload)
        if key not in self.inputs:
            symbol = Symbol(payload.shape, payload.dtype, None, self, device_of(payload))
            self.inputs[key] = (payload, symbol)
            self.holders[key] = []
        if not any(t is tensor for t in self.holders[key]):
            self.holders[key].append(tensor)
        return self.current.get(key, self.inputs[key][1])

    def write(self, tensor: Any, value: Any) -> None:
        """Make later reads of `tensor`, and of all that share its payload, see `value`."""
        target = self.read(tensor)
        wanted = value
        if not isinstance(value, Symbol):
            wanted = self.apply(_op("full_like"), [target], {"value": value}) if not is_array(value) else Const(value)
        if wanted.shape != target.shape:
            wanted = self.apply(_op("broadcast_to"), [wanted], {"shape": target.shape})
        if wanted.dtype != target.dtype:
            wanted = self.apply(_op("cast"), [wanted], {"dtype": target.dtype})
        if isinstance(wanted, Const):
            wanted = self.apply(_op("clone"), [wanted], {})
        payload = tensor.payload
        self.current[payload if isinstance(payload, Symbol) else id(payload)] = wanted

    def touch(self, holder: Any) -> None:
        """Take note that the gradient of `holder` (a leaf or a tensor) is about to change."""
        if holder not in self.touched:
            self.touched[holder] = holder.grad

    def written(self) -> dict[int, tuple[Array, Symbol]]:
        """Return the arrays from outside that were written to, and what they must hold in the end."""
        return {k: (self.inputs[k][0], s) for k, s in self.current.items() if isinstance(k, int)}

    def graph(self, outputs: list[Any]) -> Graph:
        """Return what was recorded."""
        return Graph([s for _, s in self.inputs.values()], self.lines, outputs)


def _op(name: str) -> Op:
    return Op.registry[name]
