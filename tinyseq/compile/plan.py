"""A plan: a captured program, where its inputs come from, what becomes of its outputs, and when it may be used."""

from collections.abc import Callable, Sequence
from operator import attrgetter, is_
from sys import getrefcount
from typing import Any, NamedTuple

from tinyseq.autograd import Tensor, engine
from tinyseq.autograd.function import OutputNode
from tinyseq.backend import Array, namespace_of, owner
from tinyseq.compile.node import CompiledNode
from tinyseq.compile.record import Argument, Backward, Copied, Held, Index, Made, Recorded, Shared
from tinyseq.compile.trees import mapped
from tinyseq.core.dispatch import STATE
from tinyseq.core.tape import CLOCK, Node, stamp_write
from tinyseq.errors import CaptureError
from tinyseq.graph import Graph, Line, Symbol
from tinyseq.graph.capture import Slot, grad_of, owner_of, set_grad

_PAYLOAD, _NODE = attrgetter("payload"), attrgetter("node")


class GradSlot(NamedTuple):
    """Whose gradient: of an argument, by number, or of a leaf or tensor from outside."""

    argument: int | None
    owner: Any

    def find(self, tensors: Sequence[Any]) -> Any:
        """Return the leaf or tensor that keeps the gradient in this call."""
        return self.owner if self.argument is None else owner_of(tensors[self.argument])


class Seen(NamedTuple):
    """A gradient that the program looked at, as it was: None, or a shape and dtype."""

    slot: GradSlot
    kind: Any


def find_slot(slot: Slot, found: Recorded) -> GradSlot:
    """Return whose gradient a capture met."""
    for i, t in enumerate(found.stand_ins):
        if slot.owner is t or slot.owner is t.node:
            return GradSlot(i, None)
    return GradSlot(None, slot.owner)


def kind_of(grad: Any) -> Any:
    """Return what of a gradient a program depends on, but its values."""
    return None if grad is None else (grad.payload.shape, grad.payload.dtype, grad.node is None)


def outline(found: Recorded) -> tuple[Any, ...]:
    """Return what a capture does besides its operations, in a form that can be compared."""
    origins = [
        ("held", id(o.tensor)) if type(o) is Held else ("copied", o.array.tobytes()) if type(o) is Copied else o
        for o in found.origins
    ]
    grads = []
    for slot, number in found.grads:
        argument, holder = find_slot(slot, found)
        grads.append((argument, id(holder), number))
    back = found.backward and ([k for k, _ in found.backward.saved], len(found.backward.leaves))
    return found.result, origins, grads, found.writes, back


class Plan:
    """A captured program, ready to run on the tensors among the arguments of a call."""

    def __init__(self, found: Recorded, make_runner: Callable[[Graph], Any]) -> None:
        self.calls, self.next_check = 1, 2
        self.keep: Any = None  # what must live as long as the plan
        self.found, capture = found, found.capture
        self.graph = Graph([s for _, s in found.inputs], found.lines, found.outputs)
        self._find_sources()
        self._find_state()
        self._find_overlaps()
        self.seen = [Seen(self._slot(s), kind_of(s.before)) for s in capture.slots.values() if s.peeked]
        self.grads = [(self._slot(slot), number) for slot, number in found.grads]
        self.made = [o for o in found.origins if isinstance(o, Made)]
        self.single = found.result.number if isinstance(found.result, Index) else None
        self.runner = make_runner(self.graph)
        self.backward: Backward | None = found.backward
        if found.backward is not None:
            self._find_backward(found.backward, make_runner)
        self.outline = outline(found)
        self.lines = capture.lines
        self._forget()

    def _slot(self, slot: Slot) -> GradSlot:
        return find_slot(slot, self.found)

    def _find_sources(self) -> None:
        """Sort the inputs by where their arrays come from in each call."""
        found, capture = self.found, self.found.capture
        arguments = {capture.places[t.payload]: i for i, t in reversed(list(enumerate(found.stand_ins)))}
        grads = {id(s.before.payload): s for s in capture.slots.values() if s.peeked and s.before is not None}
        self.template: list[Any] = []
        self.of_arguments: list[tuple[int, int]] = []
        self.of_grads: list[tuple[int, GradSlot]] = []
        self.aliased: list[tuple[int, Array]] = []
        for k, (array, _) in enumerate(found.inputs):
            key = id(array)
            fixed = False
            if key in arguments:
                if capture.holders[key]:
                    self.aliased.append((arguments[key], array))
                    fixed = True
                else:
                    self.of_arguments.append((k, arguments[key]))
            elif key in grads:
                self.of_grads.append((k, self._slot(grads[key])))
            else:
                fixed = True
            self.template.append(array if fixed else None)

    def _find_state(self) -> None:
        """List the tensors from outside that must still hold the same arrays."""
        capture = self.found.capture
        dynamic = {id(s.before) for s in capture.slots.values()}
        # One that nobody else refers to was made by the function itself, as by detach(). The count: the tuple in
        # `holders`, the loop's variable and the argument of getrefcount
        holders = [h for held in capture.holders.values() for h in held.values()]
        kept = [h for h in holders if getrefcount(h.tensor) > 2 and id(h.tensor) not in dynamic]
        self.tensors = [h.tensor for h in kept]
        self.arrays = [h.tensor.payload for h in kept]
        self.nodes = [h.node for h in kept]

    def _find_overlaps(self) -> None:
        """Refuse what would need a model of memory: writing to one of two arrays that share some of it."""
        found = self.found
        arrays = [array for array, _ in found.inputs]
        for k, _ in found.writes:
            for j, other in enumerate(arrays):
                if (
                    j != k
                    and owner(other) is owner(arrays[k])
                    and namespace_of([other]).may_share_memory(other, arrays[k])
                ):
                    raise CaptureError(
                        f"a tensor of shape {list(arrays[k].shape)} is modified in place while another one, of shape "
                        f"{list(other.shape)}, looks at the same memory; pass a clone()"
                    )
        by_input = dict(self.of_arguments)
        self.fixed = {id(a) for a in self.template if a is not None}
        self.written_owners = {id(owner(arrays[k])) for k, _ in found.writes if k not in by_input}
        self.written_arguments = [by_input[k] for k, _ in found.writes if k in by_input]
        self.read_owners = {id(owner(a)) for a in self.template if a is not None}

    def _find_backward(self, back: Backward, make_runner: Callable[[Graph], Any]) -> None:
        """Make the backward program of its lines, with Symbols of its own for what is saved."""
        own: dict[Any, Any] = {}
        for _, symbol in back.saved:
            own[symbol] = Symbol(symbol.shape, symbol.dtype, None, symbol.owner, symbol.device)
        lines = []
        for line in back.lines:
            out = Symbol(line.out.shape, line.out.dtype, None, line.out.owner, line.out.device)
            args = tuple([own.get(a, a) if isinstance(a, Symbol) else a for a in line.args])
            made = Line(line.op, args, line.params, out)
            out.line = made
            own[line.out] = out
            lines.append(made)
        inputs = [own[s] for _, s in back.saved] + back.cotangents
        outputs = [own.get(g, g) if isinstance(g, Symbol) else g for g in back.grads]
        self.backward_graph = Graph(inputs, lines, outputs)
        self.backward_runner = make_runner(self.backward_graph)
        self.saved = [k for k, _ in back.saved]
        numbers = {id(t.node): i for i, t in enumerate(self.found.stand_ins)}
        self.edges = [(numbers.get(id(leaf)), leaf) for leaf in back.leaves]
        self.live = [m.number for m in sorted((m for m in self.made if m.live is not None), key=lambda m: m.live or 0)]

    def _forget(self) -> None:
        """Drop what only the making of the plan needed."""
        capture = self.found.capture
        self.born = [id(array) in capture.born for array, _ in self.found.inputs]
        capture.holders, capture.current, capture.places, capture.slots = {}, {}, {}, {}
        capture.replaced = set()

    # Whether it may be used

    def is_current(self) -> bool:
        """Tell whether every tensor from outside still holds the array, and has the place on the tape, that it had."""
        return all(map(is_, map(_PAYLOAD, self.tensors), self.arrays)) and all(
            map(is_, map(_NODE, self.tensors), self.nodes)
        )

    def fits(self, tensors: Sequence[Any]) -> bool:
        """Tell whether gradients, and memory shared among the arguments and the state, are as they were."""
        for slot, kind in self.seen:
            if kind_of(grad_of(slot.find(tensors))) != kind:
                return False
        for i, array in self.aliased:
            if tensors[i].payload is not array:
                return False
        if not self.aliased and not self.fixed.isdisjoint([id(t.payload) for t in tensors]):
            return False
        if self.written_owners:
            for t in tensors:
                if id(owner(t.payload)) in self.written_owners and all(t.payload is not a for _, a in self.aliased):
                    return False
        for i in self.written_arguments:
            held = owner(tensors[i].payload)
            if id(held) in self.read_owners:
                return False
            if any(owner(t.payload) is held and t.payload is not tensors[i].payload for t in tensors):
                return False
        return True

    # Running it

    def replay(self, tensors: Sequence[Any]) -> Any:
        """Run the program on the tensors among the arguments, and return what the function would have returned."""
        inputs = self.template.copy()
        for k, i in self.of_arguments:
            inputs[k] = tensors[i].payload
        for k, slot in self.of_grads:
            inputs[k] = grad_of(slot.find(tensors)).payload
        outputs = self.runner(inputs)
        node = None
        if self.backward is not None:
            node = self._node(inputs, outputs, tensors)
        for k, o in self.found.writes:
            target = inputs[k]
            target[...] = outputs[o]
            stamp_write(target)
        found: list[Any] = [self._tensor(o, inputs, outputs, tensors, node) for o in self.found.origins]
        for slot, number in self.grads:
            self._set_grad(slot, None if number is None else found[number], tensors)
        if self.single is not None:
            return found[self.single]
        return mapped(lambda leaf: found[leaf.number] if type(leaf) is Index else leaf, self.found.result)

    def _tensor(
        self, origin: Any, inputs: list[Array], outputs: list[Array], tensors: Sequence[Any], node: CompiledNode | None
    ) -> Any:
        if type(origin) is Made:
            made = Tensor(outputs[origin.number])
            if origin.live is not None and node is not None:
                made.node = node if len(self.live) == 1 else OutputNode(node, origin.live)
            elif origin.is_leaf:
                made.requires_grad_()
            return made
        if type(origin) is Argument:
            return tensors[origin.number]
        if type(origin) is Shared:
            return Tensor(inputs[origin.number])
        if type(origin) is Copied:
            return Tensor(origin.array.copy())
        return origin.tensor

    def _node(self, inputs: list[Array], outputs: list[Array], tensors: Sequence[Any]) -> CompiledNode:
        saved = tuple([outputs[k] if k >= 0 else inputs[-1 - k] for k in self.saved])
        edges = tuple([leaf if i is None else tensors[i].node for i, leaf in self.edges])
        assert self.backward is not None
        return CompiledNode(self.backward_runner, saved, edges, self.backward.shapes, STATE.get().scope, next(CLOCK))

    def _set_grad(self, slot: GradSlot, grad: Any, tensors: Sequence[Any]) -> None:
        owner = slot.find(tensors)
        if isinstance(owner, Tensor) and isinstance(owner.node, Node) and grad is not None:
            # An argument with a history of its own: the gradient flows on, as in the uncompiled walk
            engine.backward([owner], [grad], None, False, None, Tensor)
        else:
            set_grad(owner, grad)
