"""Capture: run a function once on Symbols, and write down what it does instead of computing.

Promises: what a function reads, writes and looks at outside of itself is known afterwards, and what cannot be written
down is refused. Memory is not modelled: a value is what it was when it was computed. So a view that is read after
what it looks at was written to, or that is itself written to, is refused too.
"""

from typing import Any, NamedTuple

from tinyseq.backend import Array, device_of, is_array
from tinyseq.core.dispatch import STATE
from tinyseq.core.op import Op
from tinyseq.core.tape import CLOCK, Leaf
from tinyseq.errors import CaptureError
from tinyseq.graph.builder import named
from tinyseq.graph.ir import Const, Graph, Line, Symbol, new_line


class Slot(NamedTuple):
    """Where a gradient is kept (a leaf, or a tensor that is none), and what was there when the capture began.

    `peeked` tells whether the function looked before it replaced it.
    """

    owner: Any
    before: Any
    peeked: bool

    @property
    def now(self) -> Any:
        """The gradient that is there now."""
        return grad_of(self.owner)


class Holder(NamedTuple):
    """A tensor from outside, and its place on the tape when it was first seen."""

    tensor: Any
    node: Any


def grad_of(owner: Any) -> Any:
    """Return the gradient that a leaf, or a tensor that is none, keeps."""
    return owner.grad if isinstance(owner, Leaf) else getattr(owner, "_grad", None)


def set_grad(owner: Any, grad: Any) -> None:
    """Replace the gradient that a leaf, or a tensor that is none, keeps."""
    if isinstance(owner, Leaf):
        owner.grad = grad
    else:
        owner._grad = grad


def owner_of(holder: Any) -> Any:
    """Return where the gradient of a tensor or leaf is kept."""
    node = getattr(holder, "node", None)
    return node if isinstance(node, Leaf) else holder


class Capture:
    """The bottom interpreter while a function is being captured.

    Arrays that belong to tensors from outside become inputs when they are first read, whether they are arguments or
    parameters; an in-place write makes a new value that later reads see. So one array is one input, however many
    tensors look at it.
    """

    def __init__(self) -> None:
        self.started = next(CLOCK)
        self.lines: list[Line] = []
        self.inputs: dict[int, tuple[Array, Symbol]] = {}  # by identity of the array
        self.holders: dict[int, dict[int, Holder]] = {}  # the tensors from outside that were seen to hold each array
        self.places: dict[Symbol, int] = {}  # of which array a Symbol is the input
        self.current: dict[Any, Symbol] = {}  # what a written array (by id) or Symbol stands for now
        self.replaced: set[Symbol] = set()  # what written arrays stood for before
        self.slots: dict[int, Slot] = {}  # gradients that were looked at or replaced, by identity of their owners
        self.born: dict[int, Array] = {}  # arrays made of Python data by the function itself
        self.refused: list[CaptureError] = []
        self.cotangents: list[Symbol] = []  # gradients that are to come from outside

    # What operations ask for

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
            self._check_owner(payload)
            if self.replaced:
                self._check_view(payload)
            return self.current.get(self.places.get(payload, payload), payload)
        node = tensor.node
        if node is not None and node.edges and node.seq < self.started and STATE.get().grad:
            raise self.refusal(
                "a tensor from outside of the function has a history that gradients would flow into; pass it to the "
                "function as an argument, or detach() it"
            )
        self.watch(tensor)
        key = id(payload)
        return self.current.get(key, self.inputs[key][1])

    def write(self, tensor: Any, value: Any) -> None:
        """Make later reads of `tensor`, and of all that share its payload, see `value`."""
        target = self.read(tensor)
        payload = tensor.payload
        if isinstance(payload, Symbol) and payload.line is not None and payload.line.op.view:
            raise self.refusal(
                f"a tensor that may be a view ({payload.line.op.name}) was modified in place; this cannot be captured. "
                "Write to the whole (x[i] = value), or to a clone()"
            )
        wanted = value
        if not isinstance(value, Symbol):
            wanted = self.apply(named("full_like"), [target], {"value": value}) if not is_array(value) else Const(value)
        if wanted.shape != target.shape:
            wanted = self.apply(named("broadcast_to"), [wanted], {"shape": target.shape})
        if wanted.dtype != target.dtype:
            wanted = self.apply(named("cast"), [wanted], {"dtype": target.dtype})
        if isinstance(wanted, Const):
            wanted = self.apply(named("clone"), [wanted], {})
        self.replaced.add(target)
        self.current[self.places.get(payload, payload) if isinstance(payload, Symbol) else id(payload)] = wanted

    def watch(self, tensor: Any) -> None:
        """Make the array of a tensor from outside an input, and remember that this tensor holds it."""
        payload = tensor.payload
        if isinstance(payload, Symbol):
            return
        self.argument(payload)
        held = self.holders[id(payload)]
        if id(tensor) not in held:
            held[id(tensor)] = Holder(tensor, tensor.node)

    def own(self, value: Any) -> Any:
        """Return a payload of its own that stands for `value`: a write to it leaves others alone."""
        if not isinstance(value, Symbol):
            return self.apply(named("clone"), [value], {})
        payload = Symbol(value.shape, value.dtype, None, self, value.device)
        self.current[payload] = value
        return payload

    def peek(self, holder: Any) -> None:
        """Take note that the gradient of `holder` is about to be looked at."""
        self._slot(holder, True)

    def touch(self, holder: Any) -> None:
        """Take note that the gradient of `holder` is about to be replaced."""
        self._slot(holder, False)

    def know(self, tensor: Any, what: str) -> None:
        """Raise, unless the values are constants that the function made itself."""
        if id(tensor.payload) not in self.born:
            raise self.refusal(
                f"{what}: a value is not known while a function is being captured; return the tensor and look at it "
                "outside, use where(condition, x, y) in place of a branch, or pass a Python number or list"
            )

    def bear(self, array: Array) -> None:
        """Take note that the function made `array` of Python data."""
        self.born[id(array)] = array

    # What was recorded

    def argument(self, array: Array) -> Symbol:
        """Return the input that stands for `array`; a new one at the first time."""
        found = self.inputs.get(id(array))
        if found is None:
            symbol = Symbol(array.shape, array.dtype, None, self, device_of(array))
            found = self.inputs[id(array)] = array, symbol
            self.holders[id(array)] = {}
            self.places[symbol] = id(array)
        return found[1]

    def cotangent(self, tensor: Any) -> Symbol:
        """Return what stands for the gradient of `tensor`, to come from outside."""
        self.cotangents.append(Symbol(tensor.shape, tensor.dtype, None, self, tensor.device))
        return self.cotangents[-1]

    def written(self) -> dict[int, tuple[Array, Symbol]]:
        """Return the arrays from outside that were written to, and what they must hold in the end."""
        return {k: (self.inputs[k][0], s) for k, s in self.current.items() if isinstance(k, int)}

    def graph(self, outputs: list[Any]) -> Graph:
        """Return what was recorded; `outputs` are payloads, of which the last values are returned."""
        return Graph([s for _, s in self.inputs.values()], self.lines, [self.current.get(o, o) for o in outputs])

    def refusal(self, message: str) -> CaptureError:
        """Return the error that says why this cannot be captured, and remember it in case that someone catches it."""
        self.refused.append(CaptureError(message))
        return self.refused[-1]

    def _slot(self, holder: Any, peeked: bool) -> None:
        owner = owner_of(holder)
        if id(owner) not in self.slots:
            self.slots[id(owner)] = Slot(owner, grad_of(owner), peeked)

    def _check_owner(self, payload: Symbol) -> None:
        if payload.owner is not self:
            raise self.refusal(
                "a tensor of another captured function was used, as one kept on an attribute; return it from that "
                "function, and make constants beforehand, as in __init__"
            )

    def _check_view(self, payload: Symbol) -> None:
        """Raise if `payload` may be a view of memory that was written to since."""
        line = payload.line
        while line is not None and line.op.view and isinstance(line.args[0], Symbol):
            if line.args[0] in self.replaced:
                raise self.refusal(
                    f"a tensor that may be a view ({payload.line.op.name if payload.line else ''}) is used after the "
                    "memory that it looks at was modified in place; this cannot be captured. Take the view after the "
                    "write, or of a clone()"
                )
            line = line.args[0].line
