"""The place of a compiled function on the tape: one node, however long the function is."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from tinyseq.backend import Array, namespace_of
from tinyseq.core.dispatch import Scope, as_array
from tinyseq.core.shapes import Shape
from tinyseq.core.tape import CLOCK, RELEASED, Node, last_write, written_at
from tinyseq.errors import CaptureError, GradientError

_OP = SimpleNamespace(name="compiled", label="compiled", view=False, elementwise=False, random=False, inputs=())
_LAYOUT: Any = SimpleNamespace(op=_OP, names=(), wanted=())


class Cotangents:
    """Gradients of some outputs of one call on their way to the node that they share."""

    __slots__ = ("parts",)
    shape: Shape = ()

    def __init__(self, parts: dict[int, Any]) -> None:
        self.parts = parts

    def __add__(self, other: "Cotangents") -> "Cotangents":
        return Cotangents({**self.parts, **other.parts})


class CompiledNode(Node):
    """A call of a compiled function: its backward is a captured program too.

    `shapes` and `dtypes` are those of the outputs that need gradients; an output that receives none counts as zero.
    """

    __slots__ = ("outputs", "program")

    def __init__(
        self,
        program: Callable[[Sequence[Array]], list[Array]],
        saved: tuple[Array, ...],
        edges: tuple[Any, ...],
        outputs: Sequence[tuple[Shape, Any]],
        scope: Scope,
        seq: int,
    ) -> None:
        self.layout, self.edges, self.kept, self.params = _LAYOUT, edges, saved, {}
        self.shape, self.scope, self.seq, self.hooks = (), scope, seq, None
        self.program, self.outputs = program, outputs
        if len(outputs) == 1:
            self.shape = outputs[0][0]

    def pull(self, g: Any) -> Any:
        """Run the backward program."""
        self.check_saved()
        parts = g.parts if type(g) is Cotangents else {0: g}
        if any(hasattr(part, "payload") for part in parts.values()):
            raise CaptureError(
                "create_graph: the gradient of a compiled function cannot be differentiated again; compile the whole "
                "step with both gradients in it, or call the function uncompiled (compiled.function)"
            )
        xp = namespace_of(map(as_array, parts.values()))
        full = [
            as_array(parts[i]) if i in parts else xp.zeros(shape, dtype)
            for i, (shape, dtype) in enumerate(self.outputs)
        ]
        return self.program([*self.kept, *full])

    def check_saved(self) -> None:
        """Raise if the saved values were released, or modified in place since."""
        if self.kept is RELEASED:
            raise GradientError(
                "compiled: backward through this graph a second time; its saved values were released after the "
                "first. Pass retain_graph=True to the first backward"
            )
        if last_write() > self.seq and any(written_at(a) > self.seq for a in self.kept):
            raise GradientError(
                "compiled: a value that this compiled function saved for backward was modified in place, so its "
                "gradient would be wrong. Modify a clone()"
            )


class OutputNode(Node):
    """One of several outputs of a compiled function."""

    __slots__ = ("index",)

    def __init__(self, shared: CompiledNode, index: int) -> None:
        self.layout, self.edges, self.kept, self.params = _LAYOUT, (shared,), (), {}
        self.shape, self.scope, self.seq, self.hooks = shared.outputs[index][0], shared.scope, next(CLOCK), None
        self.index = index

    def pull(self, g: Any) -> Any:
        """Hand the gradient on, with a note of whose it is."""
        return (Cotangents({self.index: g}),)
