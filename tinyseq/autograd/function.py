"""Operations with a gradient written by the user, as a class with two static methods."""

from collections.abc import Sequence
from typing import Any

from tinyseq import ops
from tinyseq.autograd.anomaly import user_lines
from tinyseq.autograd.tensor import Tensor
from tinyseq.core.dispatch import STATE, override
from tinyseq.core.op import Layout
from tinyseq.core.shapes import Shape, elementwise
from tinyseq.core.tape import RELEASED, Node, written_at
from tinyseq.errors import GradientError, ShapeError


class Context:
    """What `forward` leaves for `backward`: saved tensors, and whatever attributes it sets."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._to_save: tuple[Tensor | None, ...] = ()
        self._constant: tuple[int, ...] = ()
        self._materialize = True
        self._node: CustomNode | None = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or results for `backward`, where they are `ctx.saved_tensors`.

        They are watched for in-place writes and released after backward; tensors that `forward` only computed on
        the way may be kept too, but no gradient flows through them.
        """
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise GradientError(
                    f"save_for_backward: got {type(t).__name__}; it takes tensors, keep other values as ctx attributes"
                )
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors given to `save_for_backward`."""
        return self._to_save if self._node is None else self._node.saved()

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that no gradient flows through these results of `forward`."""
        self._constant = tuple(id(t) for t in tensors)

    def set_materialize_grads(self, value: bool) -> None:
        """Choose what `backward` gets for a result that received no gradient: zeros (the default) or None."""
        self._materialize = value


class Function:
    """An operation whose gradient is written by the user.

    Subclasses define `forward(ctx, *args)`, which returns a tensor or a tuple of them, and `backward(ctx, *grads)`,
    which takes a gradient for each result and returns one (or None) for each argument of `forward`; both are static
    methods. Alternatively `forward(*args)` comes with `setup_context(ctx, inputs, output)`. Operations inside
    `forward` are not recorded; those in `backward` are if it runs with `create_graph=True`, so that higher
    derivatives follow from them. The class is used through `apply`:

    >>> import numpy as np
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3 * x * x
    >>> x = Tensor(np.array(2.0)).requires_grad_()
    >>> Cube.apply(x).backward()
    >>> x.grad.item()
    12.0
    """

    @staticmethod
    def forward(*args: Any) -> Any:
        """Compute the results; `ctx` comes first unless `setup_context` is defined."""
        raise NotImplementedError("Function: forward(ctx, *args) must be defined as a static method")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what `backward` needs, in place of doing so in `forward`."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Return a gradient, or None, for each argument of `forward`."""
        raise NotImplementedError("Function: backward(ctx, *grads) must be defined as a static method")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` on `args` and record it as one operation.

        Raises
        ------
        GradientError
            If `forward` returns something else than tensors.
        """
        ctx = Context()
        state = STATE.get()
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        with override(grad=False):
            if cls.setup_context is Function.setup_context:
                results = cls.forward(ctx, *args)
            else:
                results = cls.forward(*args)
                cls.setup_context(ctx, args, results)
        several = isinstance(results, tuple)
        outputs: tuple[Any, ...] = results if several else (results,)
        for out in outputs:
            if not isinstance(out, Tensor):
                raise GradientError(
                    f"{cls.__name__}.forward: returned {type(out).__name__}, wanted a tensor or a tuple of tensors"
                )
        if not state.grad or not any(ctx.needs_input_grad):
            return results
        node = CustomNode(cls, ctx, args, outputs)
        attached = tuple(
            Tensor(out.payload, None if _is_constant(out, ctx) else node.output(i)) for i, out in enumerate(outputs)
        )
        return attached if several else attached[0]


def _is_constant(out: Tensor, ctx: Context) -> bool:
    return id(out) in ctx._constant or out.dtype.kind != "f"


class _Named:
    """Stands where a node has its operation."""

    view = elementwise = False

    def __init__(self, name: str) -> None:
        self.name = self.label = name


class CustomNode(Node):
    """The node of one call of a `Function`: it runs `backward`."""

    __slots__ = ("ctx", "function", "positions", "shapes")

    def __init__(
        self, function: type[Function], ctx: Context, args: tuple[Any, ...], outputs: Sequence[Tensor]
    ) -> None:
        self.positions = tuple(i for i, needed in enumerate(ctx.needs_input_grad) if needed)
        self.shapes = tuple((out.shape, out.dtype, out.device) for out in outputs)
        named: Any = _Named(function.__name__)
        layout = Layout(named, self.positions, (), _no_keep, _no_pull)
        shape = outputs[0].shape if len(outputs) == 1 else ()
        edges = tuple(args[i].node for i in self.positions)
        # A saved result is kept without its node: that would hold this one, and so never be freed
        sources = {id(out): i for i, out in enumerate(outputs)}
        kept = tuple(
            t if t is None else (t.payload, sources.get(id(t)), None if id(t) in sources else t.node)
            for t in ctx._to_save
        )
        super().__init__(layout, edges, kept, {}, shape, STATE.get().scope)
        self.function, self.ctx = function, ctx
        if STATE.get().anomaly:
            self.trace = user_lines()
        ctx._to_save, ctx._node = (), None

    def output(self, index: int) -> Node:
        """Return the node of one result: this one, if there is no other result."""
        return self if len(self.shapes) == 1 else OutputNode(self, index)

    def saved(self) -> tuple[Tensor | None, ...]:
        """Return the saved tensors with their history.

        Raises
        ------
        GradientError
            If they were released by an earlier backward, or modified in place since.
        """
        self.check_saved()
        return tuple(None if s is None else self._restored(*s) for s in self.kept)

    def _restored(self, payload: Any, source: int | None, node: Any) -> Tensor:
        if source is None:
            return Tensor(payload, node)
        constant = payload.dtype.kind != "f"
        return Tensor(payload, None if constant else self.output(source))

    def check_saved(self) -> None:
        """Raise if the saved values were released, or modified in place since this node was recorded."""
        if self.kept is RELEASED:
            super().check_saved()
        for i, saved in enumerate(self.kept):
            if saved is not None and written_at(saved[0]) > self.seq:
                raise GradientError(
                    f"{self.label}: its saved tensor {i} of shape {list(saved[0].shape)} was modified in place after "
                    "it was saved, so its gradient would be wrong. Modify a clone()"
                )

    def pull(self, g: Any) -> Any:
        """Run `backward` on the gradient of the result, or on those of several results."""
        if self.kept is RELEASED:
            self.check_saved()
        parts = g.parts if type(g) is Parts else {0: g}
        recorded = STATE.get().grad
        grads = [self._received(parts.get(i), *made) for i, made in enumerate(self.shapes)]
        ctx = self.ctx
        ctx._node = self
        try:
            returned = self.function.backward(ctx, *grads)
        finally:
            ctx._node = None  # so that there is no reference cycle
        values = returned if isinstance(returned, tuple | list) else (returned,)
        count = len(ctx.needs_input_grad)
        if len(values) < count or any(v is not None for v in values[count:]):
            raise GradientError(
                f"{self.label}.backward: returned {len(values)} gradients, wanted {count}: one (or None) for each "
                "argument of forward"
            )
        return [self._fitted(values[i], edge, recorded) for i, edge in zip(self.positions, self.edges, strict=True)]

    def _received(self, g: Any, shape: Shape, dtype: Any, device: Any) -> Any:
        if g is None:
            if not self.ctx._materialize:
                return None
            return Tensor(ops.full_(shape=shape, value=0, dtype=dtype, device=device))
        return g if isinstance(g, Tensor) else Tensor(g)

    def _fitted(self, value: Any, edge: Any, recorded: bool) -> Any:
        if value is None:
            return None
        if not isinstance(value, Tensor):
            raise GradientError(f"{self.label}.backward: returned {type(value).__name__}, wanted tensors or None")
        if value.shape != edge.shape:
            if elementwise_fits(edge.shape, value.shape):
                value = ops.sum_to(value, shape=edge.shape)
            else:
                raise ShapeError(
                    f"{self.label}.backward: returned shape {list(value.shape)} for an input of shape "
                    f"{list(edge.shape)}"
                )
        return value if recorded else value.payload


class OutputNode(Node):
    """One of several results of one call: hands its gradient to the node that they share.

    `shared.shapes` holds a tuple for each result that starts with its shape.
    """

    __slots__ = ("index",)

    def __init__(self, shared: Any, index: int) -> None:
        super().__init__(shared.layout, (shared,), (), {}, shared.shapes[index][0], shared.scope)
        self.index = index

    def pull(self, g: Any) -> Any:
        """Return the gradient together with the place that it belongs to."""
        return (Parts({self.index: g}),)

    def release(self) -> None:
        """Keep what there is: nothing."""


class Parts:
    """The gradients that several results of one call have received so far, by index."""

    __slots__ = ("parts",)
    shape: Shape = ()  # that of the node which receives it

    def __init__(self, parts: dict[int, Any]) -> None:
        self.parts = parts

    def __add__(self, other: "Parts") -> "Parts":
        merged = dict(self.parts)
        for i, g in other.parts.items():
            merged[i] = merged[i] + g if i in merged else g
        return Parts(merged)


def elementwise_fits(small: Shape, large: Shape) -> bool:
    """Tell whether a value of shape `small` broadcasts to `large`."""
    try:
        return elementwise(small, large) == tuple(large)
    except ShapeError:
        return False


def _no_keep(*args: Any) -> tuple[Any, ...]:
    return ()


def _no_pull(*args: Any) -> tuple[Any, ...]:
    return ()
