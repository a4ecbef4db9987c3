"""The place of a compiled function on the tape: one node, however long the function is."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from tinyseq.autograd.function import Parts
from tinyseq.backend import Array, namespace_of
from tinyseq.core.dispatch import Scope, as_array
from tinyseq.core.shapes import Shape
from tinyseq.core.tape import RELEASED, Node, last_write, written_at
from tinyseq.errors import CaptureError, GradientError

_OP = SimpleNamespace(name="compiled", label="compiled", view=False, elementwise=False, random=False, inputs=())
_LAYOUT: Any = SimpleNamespace(op=_OP, names=(), wanted=())


class CompiledNode(Node):
    """A call of a compiled function: its backward is a captured program too.

    `shapes` holds shape and dtype of each output that needs a gradient; one that receives none counts as zero.
    """

    __slots__ = ("program", "shapes")

    def __init__(
        self,
        program: Callable[[Sequence[Array]], list[Array]],
        saved: tuple[Array, ...],
        edges: tuple[Any, ...],
        shapes: Sequence[tuple[Shape, Any]],
        scope: Scope,
        seq: int,
    ) -> None:
        self.layout, self.edges, self.kept, self.params = _LAYOUT, edges, saved, {}
        self.shape, self.scope, self.seq, self.hooks = shapes[0][0] if len(shapes) == 1 else (), scope, seq, None
        self.program, self.shapes = program, shapes

    def pull(self, g: Any) -> Any:
        """Run the backward program."""
        self.check_saved()
        parts = g.parts if type(g) is Parts else {0: g}
        if any(hasattr(part, "payload") for part in parts.values()):
            raise CaptureError(
                "create_graph: the gradient of a compiled function cannot be differentiated again; compile the whole "
                "step with both gradients in it, or call the function uncompiled (compiled.function)"
            )
        xp = namespace_of(map(as_array, parts.values()))
        full = [
            as_array(parts[i]) if i in parts else xp.zeros(shape, dtype) for i, (shape, dtype) in enumerate(self.shapes)
        ]
        return self.program([*self.kept, *full])

    def check_saved(self) -> None:
        """Raise if the saved values were released, or modified in place since."""
        if self.kept is RELEASED:
            raise GradientError(
                "compiled: backward through this graph a second time; its saved values were released after the "
                "first. Pass retain_graph=True to the first backward; or, if a recurrent state is carried from one "
                "backward to the next, cut its history with nn.detach_state"
            )
        if last_write() > self.seq and any(written_at(a) > self.seq for a in self.kept):
            raise GradientError(
                "compiled: a value that this compiled function saved for backward was modified in place, so its "
                "gradient would be wrong. Modify a clone()"
            )
