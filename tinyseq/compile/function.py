"""Compiled functions: which plan fits a call, when one is made anew, and when the Python is run again to make sure."""

import copy
import functools
import threading
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinyseq.compile.environment import Environment
from tinyseq.compile.plan import Plan
from tinyseq.compile.recheck import Recheck
from tinyseq.compile.record import located, record
from tinyseq.compile.trees import Call, Key
from tinyseq.core.dispatch import EAGER, STATE, TOP, State
from tinyseq.core.dtypes import get_default_dtype
from tinyseq.errors import ArgumentError, CaptureError
from tinyseq.graph import Capture, Graph, runner_for
from tinyseq.graph.runner import collector_paused

MOST_PLANS = 8


class Compiled:
    """A function that is captured at its first call with arguments of a kind, and replayed at later ones.

    Attributes
    ----------
    function
        What was compiled: calling it runs it as it is.
    graph
        The program captured last, before it was improved; printing it shows the operations.
    """

    def __init__(self, function: Callable[..., Any], *, without: tuple[str, ...] = (), recheck: bool = True) -> None:
        self.function = self.captured_function = function
        self.graph: Graph | None = None
        self._without, self._recheck = without, recheck
        self._plans: OrderedDict[Key, list[Plan]] = OrderedDict()
        self._last: Plan | None = None
        self._environment: Environment | None = None
        self._tokens: dict[Key, tuple[int, Environment]] = {}
        self._token = self._captures = 0
        self._facts: dict[str, Any] = {}
        self._changes: Counter[str] = Counter()
        self._lock = threading.RLock()
        functools.update_wrapper(self, function, assigned=("__module__", "__doc__"), updated=())
        self.__name__: str = getattr(function, "__name__", type(function).__name__)

    # Calling it

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the plan that fits these arguments; make one first if there is none."""
        state = STATE.get()
        if state.bottom is not EAGER:  # inside another capture the call is a part of that
            return self.function(*args, **kwargs)
        with self._lock:
            return self._run(state, args, kwargs)

    def _run(self, state: State, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        environment = self._environment
        if environment is None or not environment.is_same():
            environment = self._renew()
        key: list[Any] = [state.grad, state.inference, get_default_dtype(), self._token]
        call = others = None
        if kwargs or not TOP.keys() >= set(map(type, args)):
            call = Call(args, kwargs)
            tensors: Any = call.tensors
            key.append(call.key)
            if call.others:
                others = Environment(call.others)
                key.append(others.key)
        else:
            tensors = args
            key.append(len(args))
        for t in tensors:
            payload = t.payload
            key += (payload.shape, payload.dtype, t.node is None)
            if type(payload) is not _HOST:
                key.append(t.device)
        if len(tensors) > 1:
            pattern = _pattern(tensors)
            key.append(pattern)
            if pattern is not None and call is None:  # a plan counts each tensor once
                call = Call(args, kwargs)
                tensors = call.tensors
        found = tuple(key)
        for plan in self._plans.get(found, ()):
            if plan.is_current() and plan.fits(tensors):
                break
        else:
            call = call or Call(args, kwargs)
            plan = self._capture(found, call, environment)
            plan.keep = others  # identities in the key stay unique
            return plan.replay(call.tensors)
        if plan is not self._last:
            self._plans.move_to_end(found)
            self._last = plan
        plan.calls += 1
        if plan.calls == plan.next_check:
            self._check(plan, found, call or Call(args, kwargs), environment)
        return plan.replay(tensors)

    def _renew(self) -> Environment:
        """Look at closure and globals again; a number stands for what was found."""
        if self._environment is None:
            self._environment = Environment([(getattr(self, "__name__", "the function"), self.captured_function)])
        else:
            self._environment.renew()
        environment = self._environment
        if environment.key not in self._tokens:
            if len(self._tokens) > 4 * MOST_PLANS:
                used = {key[3] for key in self._plans}
                self._tokens = {k: v for k, v in self._tokens.items() if v[0] in used}
            number = 1 + max([v[0] for v in self._tokens.values()], default=0)
            self._tokens[environment.key] = number, environment.keep  # type: ignore[assignment]
        self._token = self._tokens[environment.key][0]
        return environment

    # Plans

    def _capture(self, key: Key, call: Call, environment: Environment) -> Plan:
        facts = {**call.facts, **environment.facts, "grad mode": key[0], "the default dtype": str(key[2])}
        plans = self._plans.setdefault(key, [])
        if self._captures:
            self._note_changes(facts, plans)
        plans[:] = [p for p in plans if p.is_current()]
        try:
            with collector_paused():
                found = record(self.captured_function, call, frozenset(environment.tensors), Capture())
                plan = Plan(found, functools.partial(runner_for, without=self._without))
        except CaptureError as error:
            raise located(error) from error.__cause__
        finally:
            if not plans:
                del self._plans[key]
        self._plans[key] = [*plans, plan]
        self._plans.move_to_end(key)
        while sum(map(len, self._plans.values())) > MOST_PLANS:
            oldest = next(iter(self._plans))
            self._plans[oldest].pop(0)
            if not self._plans[oldest]:
                del self._plans[oldest]
        self.graph, self._last, self._facts = plan.graph, plan, facts
        self._captures += 1
        return plan

    def _check(self, plan: Plan, key: Key, call: Call, environment: Environment) -> None:
        """Run the Python again, and compare; at the 2nd, 3rd, 4th, 8th, 16th ... call of a plan."""
        plan.next_check = plan.calls + 1 if plan.calls < 4 else 2 * plan.calls
        if not self._recheck:
            return
        again = Recheck(plan)
        try:
            with collector_paused():
                again.finish(record(self.captured_function, call, frozenset(environment.tensors), again))
        except BaseException as error:
            self._plans[key].remove(plan)
            if not self._plans[key]:
                del self._plans[key]
            if isinstance(error, CaptureError):
                raise located(error) from error.__cause__
            raise
        finally:
            again.forget()

    def _note_changes(self, facts: dict[str, Any], plans: list[Plan]) -> None:
        """Count what made another capture necessary, and warn once if there are too many."""
        before = self._facts
        changed = [k for k in {**before, **facts} if before.get(k, _MISSING) != facts.get(k, _MISSING)]
        if not changed and any(not p.is_current() for p in plans):
            changed = ["the contents of a parameter or buffer (its data was replaced)"]
        self._changes.update(changed or ["which tensors share memory, or have gradients already"])
        if self._captures == MOST_PLANS:
            most = [name for name, _ in self._changes.most_common(3)]
            warnings.warn(
                f"{self.__name__}: captured {self._captures + 1} times, because this keeps changing: "
                f"{'; '.join(most)}. Only the last {MOST_PLANS} plans are kept. Pad or bucket shapes; "
                "make a changing number a tensor",
                UserWarning,
                stacklevel=5,
            )

    def explain(self) -> str:
        """Return in words what was captured last, and what was made of it."""
        plan = self._last
        if plan is None:
            return f"{self.__name__}: not called yet"
        found, graph = plan.found, plan.graph
        read = sum(array.nbytes for array, _ in found.inputs)
        text = [
            f"{self.__name__}: {len(graph)} operations captured; called {plan.calls} times; "
            f"{sum(map(len, self._plans.values()))} plans of at most {MOST_PLANS}, {self._captures} captures",
            f"inputs: {len(found.inputs)} arrays, {read} bytes, of which {len(plan.of_arguments)} are arguments",
            f"outputs: {len(plan.made)} new tensors, {len(plan.grads)} gradients set, "
            f"{len(found.writes)} tensors modified",
        ]
        text += _words(plan.runner)
        if plan.backward is not None:
            text.append(f"backward: {len(plan.backward_graph)} operations, {len(plan.saved)} arrays saved for it")
            text += _words(plan.backward_runner)
        return "\n".join(text)

    # Being where a function or module was

    def __get__(self, instance: Any, kind: type | None = None) -> Any:
        """Return a compiled method: each instance has plans of its own."""
        if instance is None:
            return self
        bound = Compiled(self.function.__get__(instance, kind), without=self._without, recheck=self._recheck)
        held = getattr(instance, "__dict__", None)
        if held is not None:
            held[self.__name__] = bound
        return bound

    def __getattr__(self, name: str) -> Any:
        if name in ("function", "captured_function") or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.function, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Compiled":
        return Compiled(copy.deepcopy(self.function, memo), without=self._without, recheck=self._recheck)

    def __reduce__(self) -> Any:
        return compile, (self.function,)

    def __repr__(self) -> str:
        return f"<compiled {self.function!r}>"


_MISSING = object()
_HOST = np.ndarray


def _pattern(tensors: Any) -> Any:
    """Return which tensors are the same, or share their arrays; None if none are."""
    ids = [id(t) for t in tensors]
    arrays = [id(t.payload) for t in tensors]
    if len(set(ids)) == len(set(arrays)) == len(ids):
        return None
    return tuple([ids.index(i) for i in ids]), tuple([arrays.index(i) for i in arrays])


def _words(runner: Any) -> list[str]:
    explain = getattr(runner, "explain", None)
    said = [] if explain is None else explain()
    return [said] if isinstance(said, str) else [str(line) for line in said]


def compile(function: Any = None, *, without: Any = (), recheck: bool = True) -> Any:
    """Return `function`, or a module, that is captured at its first call and replayed as one program afterwards.

    Works on whole training steps (backward, clipping, optimizer and schedule included), on functions and modules that
    gradients flow through, and without gradients; as a decorator too. Results equal those of the uncompiled function
    to rounding, and random numbers come from the same stream in the same order.

    A plan belongs to the shapes, dtypes and `requires_grad` of the tensors among the arguments, to all other arguments,
    to the grad mode, and to the plain values and objects that the function can see (closure, globals, attributes): when
    one of them changes, another plan is made. The last 8 are kept. Python runs at the capture and at re-checks only
    (the 2nd, 3rd, 4th, 8th, 16th ... call of a plan), so `print`, counters and appended lists do not happen at each
    call. Several threads may call one compiled function, one after the other; training one model from several is not
    supported.

    Parameters
    ----------
    function
        A function, a method or a module. Tensors go in and come out, alone or in tuples, lists and dictionaries.
    without
        Names of passes to leave out; "native" for the plain NumPy runner.
    recheck
        Whether to run the Python again at times, to see that it still does the same.

    Raises
    ------
    CaptureError
        At a call: if a value is asked for that is not known yet (`float(t)`, `if t > 0`), naming the line; or if a
        re-check finds that the function has changed in a way that no guard can see.

    >>> from tinyseq import ones
    >>> double = compile(lambda x: x + x)
    >>> double(ones(2)), double(ones(2))
    (tensor([2., 2.]), tensor([2., 2.]))
    """
    if function is None:
        return functools.partial(compile, without=without, recheck=recheck)
    if not callable(function):
        raise ArgumentError(f"compile: got {type(function).__name__}, wanted a function or a module")
    if isinstance(function, Compiled):
        return function
    return Compiled(function, without=tuple(without), recheck=recheck)
