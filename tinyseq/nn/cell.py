"""The protocol of recurrent cells: what one time step computes.

A cell is an ordinary module with one method, `step`. Drivers (`nn.Recurrent`, `nn.Bidirectional`) call it for each
time step; wrappers (`nn.Zoneout`, `nn.Attend`, ...) and `nn.StackedCells` are cells themselves.
"""

import inspect
import itertools
from collections import namedtuple
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar, Self

from tinyseq.autograd import Tensor
from tinyseq.autograd.creation import zeros
from tinyseq.core.dispatch import EAGER, STATE, Scope, State as LibraryState
from tinyseq.core.tape import Node
from tinyseq.errors import ArgumentError, DTypeError
from tinyseq.nn.layers import check_sizes
from tinyseq.nn.module import Module
from tinyseq.nn.parameter import Parameter
from tinyseq.nn.state import conform
from tinyseq.ops.composite import clamp

# What `tap` reports to while a driver records; None otherwise.
RECORDER: ContextVar[Any] = ContextVar("tinyseq recorder", default=None)


def state_type(name: str, fields: tuple[str, ...]) -> Any:
    """Return the named tuple for the states of one kind of cell.

    Raises
    ------
    ArgumentError
        If the names cannot be those of fields.
    """
    try:
        return namedtuple(name, fields)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{name}: got state_names {fields}, wanted different identifiers without a leading underscore: {error}"
        ) from error


def context_of(kind: "type[Cell]") -> tuple[bool, bool]:
    """Tell whether the `step` of a kind of cell takes a context, and whether it must have one.

    Raises
    ------
    ArgumentError
        If it cannot be called with an input and a state.
    """
    parameters = list(inspect.signature(kind.step).parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return True, False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in positional)
    if len(positional) < 3 or needed > 4:
        raise ArgumentError(
            f"{kind.__name__}.step: takes ({', '.join(p.name for p in parameters)}), wanted (self, x, state) or "
            "(self, x, state, context)"
        )
    return len(positional) > 3, needed > 3


def open_signature(function: Callable[..., Any]) -> Callable[..., Any]:
    """Tell type checkers that subclasses may leave out parameters."""
    return function


class Cell(Module):
    """The base of recurrent cells: name the state, and define `step`.

    >>> import tinyseq
    >>> from tinyseq import nn
    >>> class Plain(nn.Cell):
    ...     state_names = ("h",)
    ...     def __init__(self, input_size, hidden_size):
    ...         super().__init__(input_size, hidden_size)
    ...         self.ih = nn.Linear(input_size, hidden_size)
    ...         self.hh = nn.Linear(hidden_size, hidden_size, bias=False)
    ...     def step(self, x, state):
    ...         h = (self.ih(x) + self.hh(state.h)).tanh()
    ...         return h, state._replace(h=h)
    >>> output, state = nn.Recurrent(Plain(4, 5))(tinyseq.zeros(7, 2, 4))
    >>> output.shape, state.h.shape
    ((7, 2, 5), (2, 5))

    Attributes
    ----------
    state_names
        The names of the state's tensors, each (B, hidden_size) unless `initial_state` says otherwise.
    State
        The named tuple of these, made for each class.
    clip
        What `clipped` bounds its values by; None for nothing.
    """

    state_names: tuple[str, ...] = ("h",)
    State: Any = state_type("State", ("h",))
    clip: float | None = None
    _takes_context: ClassVar[bool] = False
    _needs_context: ClassVar[bool] = False
    _timelines: dict[str, Any]  # one at most; a dictionary, as caches of modules are

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the cell ready before `__init__`."""
        self = super().__new__(cls, *args, **kwargs)
        self.__dict__["_timelines"] = {}
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        names = vars(cls).get("state_names")
        if isinstance(names, str):
            raise ArgumentError(f"{cls.__name__}: got state_names {names!r}, wanted a tuple of names, as ({names!r},)")
        if isinstance(names, Sequence):
            cls.state_names = tuple(names)
            cls.State = state_type(f"{cls.__name__}State", cls.state_names)
        cls._takes_context, cls._needs_context = context_of(cls)

    def __init__(self, input_size: int, hidden_size: int, *, clip: float | None = None) -> None:
        super().__init__()
        check_sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        if clip is not None and not clip > 0:
            raise ArgumentError(f"{type(self).__name__}: got clip {clip}, wanted a positive bound, or None for none")
        self.input_size, self.hidden_size, self.clip = input_size, hidden_size, clip

    @open_signature
    def step(self, x: Any, state: Any, context: Any = None) -> tuple[Any, Any]:
        """Return the output (B, ...) and the new state, for the input of one time step.

        Parameters
        ----------
        x
            (B, input_size), or what `project` made of it.
        state
            A `State`; return `state._replace(...)` or a new one of the same shapes.
        context
            What stays the same over the whole sequence, such as the memory of an attention. Leave this parameter
            out of your own `step` if it needs none.
        """
        raise NotImplementedError(f"{type(self).__name__}: define step(self, x, state) -> (output, state)")

    @property
    def output_size(self) -> int:
        """The size of the last dimension of the outputs."""
        return self.hidden_size

    @property
    def accepts_context(self) -> bool:
        """Whether a context reaches this cell's `step`, or that of a cell in it."""
        return self._takes_context

    def project(self, x: Any) -> Any:
        """Return the part of the computation that depends on `x` (..., input_size) alone: by default `x`.

        The driver calls it once for all time steps, and `step` gets its result; so one large product stands in
        place of T small ones.
        """
        return x

    def initial_state(self, batch_size: int) -> Any:
        """Return the state before the first step: zeros, by default."""
        return self.State(*(self.zeros(batch_size, self.hidden_size) for _ in self.state_names))

    def zeros(self, *shape: int) -> Tensor:
        """Return zeros of the dtype and on the device of this cell's parameters."""
        own = (value for value in vars(self).values() if isinstance(value, Parameter))
        like = next(itertools.chain(own, self.parameters()), None)
        return zeros(*shape) if like is None else zeros(*shape, dtype=like.dtype, device=like.device)

    def clipped(self, z: Any) -> Any:
        """Return `z`, what an activation function is about to get, within ±`clip` if the cell has a bound."""
        return z if self.clip is None else clamp(z, -self.clip, self.clip)

    def tap(self, **named: Any) -> Any:
        """Name intermediate values, for recordings, plots and drawings; return them, in order.

        Returns
        -------
        tuple or Tensor
            The values; the value itself if there is only one.
        """
        for name, value in named.items():
            if not isinstance(value, Tensor):
                raise DTypeError(f"{type(self).__name__}.tap: got {type(value).__name__} as {name}, wanted a tensor")
            node = value.node
            if type(node) is Node:
                node.name = name  # type: ignore[attr-defined]  # a slot
        recorder = RECORDER.get()
        if recorder is not None:
            recorder.tapped(self, named)
        values = tuple(named.values())
        return values[0] if len(values) == 1 else values

    # What drivers and wrappers call

    def prepare(self, context: Any, batch_size: int) -> Any:
        """Return the context that each step of one sequence gets: called once per sequence, by the driver."""
        if context is None and self._needs_context:
            raise ArgumentError(f"{type(self).__name__}: its step wants a context; pass one, as rnn(x, context=...)")
        if context is not None and not self.accepts_context:
            raise ArgumentError(f"{type(self).__name__}: got a context, but its step takes none")
        return context

    def inputs(self, x: Any, context: Any) -> Any:
        """Return what the steps get as `x`, for the inputs of one or of all time steps."""
        return self.project(x)

    def run(self, x: Any, state: Any, context: Any = None) -> tuple[Any, Any]:
        """Call `step`, with everything recorded under this cell's path: how a wrapper calls the cell in it."""
        token = STATE.set(self._entered(STATE.get()))
        try:
            return self.step(x, state, context) if self._takes_context else self.step(x, state)
        finally:
            STATE.reset(token)

    def run_whole(self, x: Any, state: Any, context: Any = None) -> tuple[Any, Any]:
        """Call `step` on what `inputs` makes of the input of one time step."""
        return self.run(self.run_inputs(x, context), state, context)

    def run_inputs(self, x: Any, context: Any) -> Any:
        """Call `inputs`, with everything recorded under this cell's path."""
        token = STATE.set(self._entered(STATE.get()))
        try:
            return self.inputs(x, context)
        finally:
            STATE.reset(token)

    def forward(self, x: Any, state: Any = None, context: Any = None) -> tuple[Any, Any]:
        """Compute one step by hand: `output, state = cell(x, state)`."""
        batch_size = x.shape[0]
        if type(state) is not self.State:
            start = self.initial_state(batch_size)
            state = (
                start if state is None else conform(state, start, f"{type(self).__name__} for a batch of {batch_size}")
            )
        context = self.prepare(context, batch_size)
        return self.run_whole(x, state, context)

    def timeline(self, steps: int) -> list[LibraryState]:
        """Return the state of the library for each time step: the scope is this cell's path and the step."""
        base = STATE.get()
        held = self._timelines.get("last")
        if held is not None and held[0] is base and len(held[1]) >= steps:
            found: list[LibraryState] = held[1]
            return found
        path = self._path()
        made = [base.change(scope=Scope(path, t)) for t in range(steps)]
        if base.bottom is EAGER:  # a capture must not be kept alive
            self._timelines["last"] = base, made
        return made

    def _forget_path(self) -> None:
        self._timelines.clear()
        super()._forget_path()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_timelines"}

    def extra_repr(self) -> str:
        """Return the sizes, and the bound if there is one."""
        return f"{self.input_size}, {self.hidden_size}" + (f", clip={self.clip}" if self.clip is not None else "")
