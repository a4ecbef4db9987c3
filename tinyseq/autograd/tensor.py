"""Tensor: an array that remembers how it was made."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from tinyseq import ops
from tinyseq.autograd import engine
from tinyseq.autograd.anomaly import user_lines
from tinyseq.autograd.inplace import InPlace
from tinyseq.autograd.operands import fit_operands
from tinyseq.autograd.sharing import is_expanded, kept_by, seen_elsewhere
from tinyseq.backend import CPU, Array, Device, as_device, device_of, is_array
from tinyseq.core import dtypes
from tinyseq.core.dispatch import STATE, TOP, Eager
from tinyseq.core.op import Op
from tinyseq.core.shapes import Shape
from tinyseq.core.tape import Leaf, Node, Tracked, stamp_write
from tinyseq.errors import CaptureError, DeviceError, DTypeError, GradientError, ShapeError
from tinyseq.methods import ArrayMethods

_Array = np.ndarray


class Tensor(Tracked, InPlace, ArrayMethods):
    """A multi-dimensional array with a history, made by `tinyseq.tensor` and by operations.

    `payload` is the array (of NumPy or CuPy), or a Symbol while a function is being captured. `node` is the
    operation that made it, a `Leaf` where gradients are collected, or None.
    """

    __slots__ = ("__weakref__", "_grad")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        TOP[cls] = record

    # What it is

    @property
    def shape(self) -> Shape:
        """The size of each dimension."""
        return self.payload.shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.payload.shape)

    @property
    def dtype(self) -> dtypes.DType:
        """The dtype of the elements."""
        return self.payload.dtype

    @property
    def device(self) -> Device:
        """Where the elements live."""
        return device_of(self.payload)

    @property
    def is_cuda(self) -> bool:
        """Whether the elements live on a GPU."""
        return self.device.type == "cuda"

    # Its place in a graph

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Start or stop collecting gradients in this leaf tensor."""
        if isinstance(self.node, Node):
            if not requires_grad:
                raise GradientError(
                    "requires_grad_(False): only leaf tensors can stop requiring gradients; use detach()"
                )
        elif requires_grad and self.node is None:
            if not dtypes.is_floating(self.dtype):
                raise DTypeError(f"requires_grad_: got dtype {self.dtype}; only floating-point tensors have gradients")
            self.node = Leaf(self.shape)
            self.node.grad = getattr(self, "_grad", None)
        elif not requires_grad and self.node is not None:
            self._grad, self.node = self.node.grad, None
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether this tensor was made by the user rather than by a recorded operation."""
        return not isinstance(self.node, Node)

    @property
    def grad_fn(self) -> Node | None:
        """The recorded operation that made this tensor."""
        return self.node if isinstance(self.node, Node) else None

    @property
    def grad(self) -> "Tensor | None":
        """The gradient collected so far."""
        STATE.get().bottom.peek(self)
        return self.node.grad if isinstance(self.node, Leaf) else getattr(self, "_grad", None)

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is not None and not isinstance(value, Tensor):
            raise DTypeError(f"grad: got {type(value).__name__}, wanted a tensor, as tensor(value), or None")
        if value is not None and value.shape != self.shape:
            raise ShapeError(f"grad: got a tensor of shape {list(value.shape)} for one of shape {list(self.shape)}")
        STATE.get().bottom.touch(self)
        if isinstance(self.node, Leaf):
            self.node.grad = value
        else:
            self._grad = value

    def backward(
        self,
        gradient: "Tensor | None" = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add d self / d leaf to the `grad` of each leaf tensor (of those in `inputs`, if given).

        Raises
        ------
        GradientError
            If this tensor needs no gradient, or is not a scalar and no `gradient` is given, or if a value that was
            saved for backward has been modified or released since.
        """
        engine.backward([self], [gradient], retain_graph, create_graph, inputs, Tensor)

    def retain_grad(self) -> None:
        """Make backward store the gradient of this tensor although it is no leaf."""
        if self.node is None:
            raise GradientError("retain_grad: this tensor does not require gradients")
        if isinstance(self.node, Node):
            self_ = weakref.ref(self)

            def keep(g: Tensor) -> None:
                if (tensor := self_()) is not None:
                    tensor._grad = g

            engine.add_hook(self.node, keep)

    def register_hook(self, hook: Callable[["Tensor"], "Tensor | None"]) -> engine.HookHandle:
        """Call `hook` with the gradient of this tensor during backward; what it returns replaces it."""
        if self.node is None:
            raise GradientError("register_hook: this tensor does not require gradients")
        return engine.add_hook(self.node, hook)

    def detach(self) -> "Tensor":
        """Return a tensor on the same memory that has no history."""
        STATE.get().bottom.watch(self)
        return Tensor(self.payload)

    def detach_(self) -> Self:
        """Forget the history of this tensor."""
        self.node = None
        return self

    @property
    def data(self) -> "Tensor":
        """The tensor without its history; assigning replaces the contents."""
        return self.detach()

    @data.setter
    def data(self, value: "Tensor") -> None:
        if not isinstance(value, Tensor):
            raise DTypeError(f"data: got {type(value).__name__}, wanted a tensor, as tensor(value)")
        if is_array(self.payload) and not is_array(value.payload):
            raise CaptureError(
                "data: cannot be replaced while a function is being captured; use `with no_grad(): t.copy_(value)`"
            )
        if isinstance(self.node, Leaf) and value.shape != self.shape:
            self.node.shape = value.shape
        self.payload = value.payload

    # Its values

    def numpy(self) -> Array:
        """Return the values as a read-only NumPy array on the same memory.

        Writing goes through tinyseq (`t[0] = 1`, `t.copy_(...)`), which knows what is saved for backward; for an
        array of your own, take `t.numpy().copy()`.

        Raises
        ------
        GradientError
            If the tensor requires gradients; use `t.detach().numpy()`.
        DeviceError
            If it lives on a GPU; use `t.cpu().numpy()`.
        """
        if self.node is not None:
            raise GradientError("numpy: this tensor requires gradients; use t.detach().numpy()")
        return self._readonly("numpy")

    def _readonly(self, what: str) -> Array:
        STATE.get().bottom.know(self, what)
        payload = self.payload
        if type(payload) is not _Array:
            if not is_array(payload):
                raise CaptureError(f"{what}: a value is not known while a function is being captured")
            raise DeviceError(f"{what}: the tensor is on {self.device}; use t.cpu() first")
        view = payload.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        values = self._readonly("__array__")
        if dtype is not None and values.dtype != dtype:
            return values.astype(dtype)
        return values.copy() if copy else values

    def item(self) -> Any:
        """Return the value of a tensor with one element as a Python number."""
        STATE.get().bottom.know(self, "item")
        payload = self.payload
        if not hasattr(payload, "item"):
            raise CaptureError("item: a value is not known while a function is being captured; return it instead")
        if payload.size != 1:
            raise ShapeError(f"item: got shape {list(self.shape)}, wanted a single element")
        return payload.item()

    def tolist(self) -> Any:
        """Return the values as nested lists of Python numbers."""
        return self.detach().cpu().numpy().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise DTypeError(f"__index__: got dtype {self.dtype}, wanted an integer")
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise DTypeError("len: a 0-d tensor has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise DTypeError("iter: a 0-d tensor cannot be iterated over")
        return iter(self.unbind(0))

    def __format__(self, spec: str) -> str:
        """Format the value of a tensor with one element, as in `f"{loss:.3f}"`; any tensor without a `spec`."""
        return format(self.item(), spec) if spec else str(self)

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        if not isinstance(self.payload, _Array):
            body = str(self.payload)
        else:
            body = np.array2string(self.payload, separator=", ", prefix="tensor(", precision=4, threshold=1000)
        extra = ""
        if self.dtype not in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_):
            extra += f", dtype={self.dtype}"
        if self.device != CPU:
            extra += f", device='{self.device}'"
        if isinstance(self.node, Node):
            extra += f", grad_fn=<{self.node.label}>"
        elif self.node is not None:
            extra += ", requires_grad=True"
        return f"tensor({body}{extra})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if isinstance(self.node, Node):
            raise GradientError("deepcopy: only leaf tensors can be copied; use t.detach().clone()")
        copy = type(self)(self.payload.copy())
        copy.requires_grad_(self.requires_grad)
        memo[id(self)] = copy
        if self.grad is not None:
            copy.grad = Tensor(self.grad.payload.copy())
        return copy

    # Where it lives, and as what

    def to(
        self, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False
    ) -> "Tensor":
        """Return this tensor with another dtype, on another device, or both; itself if nothing changes.

        With `copy` it is always a new one. `non_blocking` is taken for programs that pass it, and changes nothing.
        """
        for a in args:
            if isinstance(a, Tensor):
                dtype, device = a.dtype, a.device
            elif isinstance(a, Device) or (isinstance(a, str) and a.partition(":")[0] in ("cpu", "cuda")):
                device = a
            else:
                dtype = a
        out = self
        if device is not None and as_device(device) != self.device:
            out = ops.to_device(out, device=as_device(device), source=self.device)
        if dtype is not None and dtypes.as_dtype(dtype) != self.dtype:
            out = ops.cast(out, dtype=dtypes.as_dtype(dtype))
        return self.clone() if copy and out is self else out

    def cuda(self, index: int = 0, non_blocking: bool = False) -> "Tensor":
        """Return this tensor on GPU `index`; `non_blocking` changes nothing."""
        return self.to(device=Device("cuda", index))

    def cpu(self) -> "Tensor":
        """Return this tensor in host memory."""
        return self.to(device=CPU)

    # In place

    def assign(self, value: Any, *, operation: str = "assign") -> Self:
        """Replace the contents by `value`, broadcast and cast to fit: what every in-place method ends in."""
        node = self.node
        if is_array(self.payload) and is_expanded(self.payload):
            raise ShapeError(f"{operation}: elements of an expanded tensor share their memory; modify a clone()")
        if STATE.get().grad:
            if isinstance(node, Leaf):
                raise GradientError(
                    f"{operation}: a leaf tensor that requires gradients cannot be modified in place; "
                    "use `with no_grad():`, or an operation that returns a new tensor"
                )
            if isinstance(value, Tensor) and value.shape != self.shape:
                value = ops.broadcast_to(value, shape=self.shape)
            if isinstance(value, Tensor) and value.dtype != self.dtype:
                value = ops.cast(value, dtype=self.dtype)
            made = value.node if isinstance(value, Tensor) else None
            eager = isinstance(STATE.get().bottom, Eager)  # a capture refuses it in the end
            if (node is not None or made is not None) and eager and is_array(self.payload):
                self._leave_saved(made, operation)
            self.node = made
        bottom = STATE.get().bottom
        bottom.write(self, bottom.read(value) if isinstance(value, Tensor) else value)
        if is_array(self.payload):
            stamp_write(self.payload)
        return self

    def _leave_saved(self, made: Any, operation: str) -> None:
        """Before a write with history: refuse it if another tensor would see it, and leave saved values alone."""
        others = seen_elsewhere(self)
        if others:
            if others != kept_by(made, self.payload):
                raise GradientError(
                    f"{operation}: cannot give this tensor a new history: its memory of shape {list(self.shape)} is "
                    "shared with a view, a detached tensor, an array from numpy(), or a value saved for backward, "
                    "whose gradients would be wrong. Modify a clone(), or assign to the whole (x[i] = value)"
                )
            self.payload = self.payload.copy()

    def __setitem__(self, key: Any, value: Any) -> None:
        self.assign(ops.put(self, key, value), operation="setitem")


def record(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Tensor:
    """Run `op` one level down on the payloads, and attach a node where gradients are wanted."""
    state = STATE.get()
    args = fit_operands(op, args)
    edges = [a.node if isinstance(a, Tensor) else None for a in args]
    payloads = [state.bottom.read(a) if isinstance(a, Tensor) else a for a in args]
    out = state.bottom.apply(op, payloads, params)
    mask = sum(1 << i for i, e in enumerate(edges) if e is not None)
    if not mask or not state.grad or not op.differentiable:
        return Tensor(out)
    layout = op.layout(len(edges), mask)
    if not layout.wanted:
        return Tensor(out)
    kept = layout.keep(out, payloads, params)
    node = Node(layout, tuple([edges[i] for i in layout.wanted]), kept, params, out.shape, state.scope)
    if state.anomaly:
        node.trace = user_lines()
    return Tensor(out, node)


TOP[Tensor] = record
