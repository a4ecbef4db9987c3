"""One capture of a call: what it computes, and what it does to tensors outside of itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tinyseq.autograd import Tensor, engine
from tinyseq.backend import Array
from tinyseq.compile.environment import is_foreign
from tinyseq.compile.trees import Call, is_plain, leaves, mapped
from tinyseq.core.dispatch import override
from tinyseq.core.shapes import Shape
from tinyseq.core.tape import Leaf, Node
from tinyseq.errors import CaptureError
from tinyseq.graph import Capture, Line, Symbol
from tinyseq.graph.builder import named
from tinyseq.graph.capture import Slot, set_grad

# Where a tensor that is returned, or set as a gradient, comes from. Numbers count arguments, inputs and outputs.


class Argument(NamedTuple):
    """An argument itself."""

    number: int


class Held(NamedTuple):
    """A tensor from outside that is none of the arguments."""

    tensor: Any


class Shared(NamedTuple):
    """A new tensor on the memory of an input."""

    number: int


class Copied(NamedTuple):
    """A new tensor with a copy of a constant."""

    array: Array


class Made(NamedTuple):
    """A new tensor: an output of the program; `live` counts those that gradients flow through."""

    number: int
    live: int | None
    is_leaf: bool


@dataclass
class Recorded:
    """What a capture found.

    Attributes
    ----------
    inputs
        The arrays that are read, with the Symbols that stand for them.
    outputs
        What the forward program computes: first results and gradients, then what is written, then what is saved.
    result, leaves
        The tree that the function returned, with the origins of tensors in place of tensors; and its leaves.
    origins
        Every tensor that is returned or set as a gradient, once.
    grads
        Gradients that were replaced: whose, and by which of `origins` (None: dropped).
    writes
        Which input is written to, and which output it receives.
    """

    capture: Capture
    stand_ins: list[Tensor]
    inputs: list[tuple[Array, Symbol]] = field(default_factory=list)
    outputs: list[Symbol] = field(default_factory=list)
    result: Any = None
    origins: list[Any] = field(default_factory=list)
    grads: list[tuple[Slot, int | None]] = field(default_factory=list)
    writes: list[tuple[int, int]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    backward: "Backward | None" = None


@dataclass
class Backward:
    """The backward program: its inputs are `saved` and one cotangent for each output that gradients flow through.

    `saved` counts outputs of the forward program, or inputs where it is negative (-1 is the first).
    """

    cotangents: list[Symbol]
    shapes: list[tuple[Shape, Any]]
    saved: list[tuple[int, Symbol]]
    lines: list[Line]
    leaves: list[Leaf]
    grads: list[Any]


@dataclass(frozen=True, slots=True)
class Index:
    """In a result: the tensor of this number among the origins."""

    number: int


def record(function: Callable[..., Any], call: Call, known: frozenset[int], capture: Capture) -> Recorded:
    """Capture `function(*call.args, **call.kwargs)`; whatever happens, tensors outside are as they were before.

    `known` are the identities of tensors that the function can reach by itself, so that they can be returned as they
    are.

    Raises
    ------
    CaptureError
        If something cannot be captured, naming the user's line.
    """
    stand_ins = [_stand_in(t, capture) for t in call.tensors]
    args, kwargs = call.replaced(stand_ins)
    before = leaves((args, kwargs))
    recorder = _Recorder(capture, stand_ins, known)
    try:
        with override(bottom=capture):
            result = function(*args, **kwargs)
            for refused in filter(caught_by_user, capture.refused):
                raise refused
            after = leaves((args, kwargs))
            if len(before) != len(after) or not all(map(is_same, before, after)):
                raise CaptureError("the function changes a list or dictionary among its arguments; return a new one")
            recorder.finish(result)
    except CaptureError as error:
        raise located(error) from error.__cause__
    finally:
        problem = _restore(capture)
    if problem:
        raise CaptureError(problem)
    return recorder.found


def caught_by_user(error: CaptureError) -> bool:
    """Tell whether the function caught a refusal, and went on without the value; tinyseq's own code may do that."""
    return error.__traceback__ is not None and not is_foreign(error.__traceback__.tb_frame.f_globals.get("__name__"))


def is_same(a: Any, b: Any) -> bool:
    """Tell whether two leaves, or structural marks, of `leaves` agree."""
    return a is b or (type(a) is tuple and type(b) is tuple and a == b)


def _stand_in(tensor: Tensor, capture: Capture) -> Tensor:
    """Return a tensor that stands for an argument: its values are not known, and gradients stop there."""
    made = Tensor(capture.argument(tensor.payload))
    if tensor.node is not None:
        made.node = Leaf(tensor.shape)
        if isinstance(tensor.node, Leaf):
            made.node.grad, made.node.hooks = tensor.node.grad, tensor.node.hooks
    elif hasattr(tensor, "_grad"):
        made._grad = tensor._grad
    return made


def _restore(capture: Capture) -> str:
    """Put gradients and histories back as they were; return what was done to a tensor that cannot be captured."""
    problem = ""
    for slot in capture.slots.values():
        set_grad(slot.owner, slot.before)
    for held in capture.holders.values():
        for tensor, node in held.values():
            if tensor.node is not node and isinstance(tensor.node, Node):
                tensor.node = node
                problem = (
                    f"a tensor of shape {list(tensor.shape)} from outside of the function was modified in place by "
                    "values that need gradients; write under no_grad(), or return the new value"
                )
    return problem


def located(error: CaptureError) -> CaptureError:
    """Return `error` with the user's line: the innermost one outside of tinyseq."""
    place, trace = "", error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if not is_foreign(frame.f_globals.get("__name__")):
            place = f"\n  at {frame.f_code.co_filename}:{trace.tb_lineno}, in {frame.f_code.co_name}"
        trace = trace.tb_next
    if place and "\n  at " not in str(error):
        return CaptureError(f"{error}{place}").with_traceback(error.__traceback__)
    return error


class _Recorder:
    """Turns what a function left behind into programs."""

    def __init__(self, capture: Capture, stand_ins: list[Tensor], known: frozenset[int]) -> None:
        self.capture, self.known = capture, known
        self.found = Recorded(capture, stand_ins)
        self.nodes = [t.node for t in stand_ins]
        self.arguments = {id(t): i for i, t in enumerate(stand_ins)}
        self.numbers: dict[int, int] = {}  # of tensors among the origins
        self.positions: dict[Any, int] = {}  # outputs, by the payload whose value they are
        self.taken: set[Symbol] = set()
        self.live: list[tuple[Tensor, Symbol]] = []
        self.keep: list[Any] = []  # so that identities stay unique

    def finish(self, result: Any) -> None:
        """Take stock of results, gradients and writes; then capture backward, if gradients flow through a result."""
        found, capture = self.found, self.capture
        for stand_in, node in zip(found.stand_ins, self.nodes, strict=True):
            if stand_in.node is not node:
                raise CaptureError(
                    "an argument was modified in place by values that need gradients, or its requires_grad was "
                    "changed; do that outside, or to a new tensor (clone() or detach())"
                )
        written = set(capture.written())
        found.result = mapped(self.origin_of, result)
        for slot in list(capture.slots.values()):
            now = slot.now
            if now is not slot.before:
                found.grads.append((slot, None if now is None else self.origin_of(now).number))
        inputs = list(capture.inputs)
        for key, (_, symbol) in capture.written().items():
            if key not in capture.born:
                found.writes.append((inputs.index(key), self.output(("write", key), symbol, written, True)))
        self.written = written
        split = len(capture.lines)
        found.lines = capture.lines[:split]
        if self.live:
            self.capture_backward(split)
        found.inputs = list(capture.inputs.values())

    def origin_of(self, value: Any) -> Any:
        """Return the number of a tensor among the origins; any other leaf as it is."""
        if not isinstance(value, Tensor):
            if is_plain(value):
                return value
            raise CaptureError(
                f"the function returned a {type(value).__name__}; a compiled function returns tensors, numbers, "
                "strings, None, and tuples, lists and dictionaries of them"
            )
        if id(value) not in self.numbers:
            self.keep.append(value)
            self.numbers[id(value)] = len(self.found.origins)
            self.found.origins.append(self._origin(value))
        return Index(self.numbers[id(value)])

    def _origin(self, tensor: Tensor) -> Any:
        capture, payload = self.capture, tensor.payload
        if id(tensor) in self.arguments:
            return Argument(self.arguments[id(tensor)])
        leaf = isinstance(tensor.node, Leaf)
        if not isinstance(payload, Symbol):
            if id(payload) in capture.born:
                if id(payload) not in capture.current:
                    return Copied(payload)
                return Made(self.output(id(payload), capture.read(tensor)), self._live(tensor), leaf)
            if leaf or id(tensor) in self.known or any(t is tensor for t in self.grads_before()):
                return Held(tensor)
            capture.watch(tensor)
            return Shared(list(capture.inputs).index(id(payload)))
        if payload in capture.places:
            return Shared(list(capture.inputs).index(capture.places[payload]))
        return Made(self.output(payload, capture.read(tensor)), self._live(tensor), leaf)

    def grads_before(self) -> list[Any]:
        """Return the gradients that were there when the capture began."""
        return [slot.before for slot in self.capture.slots.values()]

    def _live(self, tensor: Tensor) -> int | None:
        """Return a number if gradients flow through a result, and can still flow."""
        node = tensor.node
        if not isinstance(node, Node) or any(getattr(n, "released", False) for n in engine.reachable([node])):
            return None
        self.live.append((tensor, self.capture.cotangent(tensor)))
        return len(self.live) - 1

    def output(self, key: Any, symbol: Symbol, written: set[int] | None = None, target: bool = False) -> int:
        """Return the number of an output; each payload has its own, so that no two tensors share memory by chance."""
        if key not in self.positions:
            written = set(self.capture.written()) if written is None else written
            root = self._root(symbol)
            overwritten = root is not None and (target or root in written)
            if symbol in self.taken or symbol in self.capture.places or overwritten:
                symbol = self.capture.apply(named("clone"), [symbol], {})
            self.taken.add(symbol)
            self.positions[key] = len(self.found.outputs)
            self.found.outputs.append(symbol)
        return self.positions[key]

    def _root(self, symbol: Symbol) -> int | None:
        """Return the input that a value may be a view of."""
        while symbol.line is not None and symbol.line.op.view and isinstance(symbol.line.args[0], Symbol):
            symbol = symbol.line.args[0]
        return self.capture.places.get(symbol)

    def capture_backward(self, split: int) -> None:
        """Walk back from the results with unknown cotangents, and sort out what must be saved for that."""
        capture, found = self.capture, self.found
        received: dict[Any, Any] = {}
        roots = [t for t, _ in self.live]
        ends = [n for n in engine.reachable([t.node for t in roots]) if isinstance(n, Leaf)]
        hooks = [(leaf, leaf.hooks) for leaf in ends]
        try:
            for leaf in ends:  # the walk that reaches them at last will call their hooks
                leaf.hooks = None
            seeds = [Tensor(symbol) for _, symbol in self.live]
            engine.walk_from(roots, seeds, True, False, Tensor, received.__setitem__, None)
        finally:
            for leaf, held in hooks:
                leaf.hooks = held
        own = {id(t.node) for t in found.stand_ins}
        wanted = [leaf for leaf in ends if leaf in received and (id(leaf) in own or leaf.seq < capture.started)]
        end = len(capture.lines)
        lines = capture.lines[split:end]
        grads = [received[leaf] for leaf in wanted]
        made = {symbol for _, symbol in self.live} | {line.out for line in lines}
        used = (a for values in (*(line.args for line in lines), grads) for a in values if isinstance(a, Symbol))
        needed = dict.fromkeys(a for a in used if a not in made)
        saved: list[tuple[int, Symbol]] = []
        inputs = list(capture.inputs)
        for symbol in needed:
            place = capture.places.get(symbol)
            if place is not None and place not in self.written:
                saved.append((-1 - inputs.index(place), symbol))
            else:
                saved.append((self._saved(symbol), symbol))
        found.lines = capture.lines[:split] + capture.lines[end:]
        shapes = [(t.shape, t.dtype) for t in roots]
        cotangents = [symbol for _, symbol in self.live]
        found.backward = Backward(cotangents, shapes, saved, lines, wanted, grads)

    def _saved(self, symbol: Symbol) -> int:
        """Return the number of the output that is kept for backward."""
        if symbol in self.taken:
            return next(k for k, o in enumerate(self.found.outputs) if o is symbol)  # `==` would be an operation
        return self.output(("saved", symbol), symbol, self.written)
