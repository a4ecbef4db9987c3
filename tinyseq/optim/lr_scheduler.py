"""Schedules of the learning rate: call `scheduler.step()` after the optimizer's steps, as often as the schedule counts.

The count is a 0-d tensor and each schedule is a formula of it made of operations, so a captured training step may
include the schedule. (`LambdaLR` and `ReduceLROnPlateau` run Python on values and stay outside.)
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinyseq import ops
from tinyseq.autograd import no_grad
from tinyseq.errors import ArgumentError, DTypeError
from tinyseq.optim.optimizer import Optimizer, new_number


class LRScheduler:
    """The base of schedules: subclasses define `rate(base, n)`.

    Parameters
    ----------
    optimizer
        Whose learning rates to set, each from the one it has now, or its `initial_lr`.
    last_epoch
        How many steps have been made before; -1 for a new schedule.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise DTypeError(f"{type(self).__name__}: got {type(optimizer).__name__}, wanted an optimizer")
        self.optimizer = optimizer
        self.base_lrs = [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups]
        self.count = new_number(float(max(last_epoch, 0)), optimizer.param_groups[0].rate.device)
        self.apply()

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps (a 0-d tensor), from the initial one `base`."""
        raise NotImplementedError(f"{type(self).__name__}: define rate(self, base, n)")

    def apply(self) -> None:
        """Set the learning rates to what the schedule says now."""
        with no_grad():
            for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group.rate.assign(self.rate(base, self.count))

    def step(self) -> None:
        """Count one step more, and set the learning rates."""
        with no_grad():
            self.count.assign(self.count + 1.0)
        self.apply()

    @property
    def last_epoch(self) -> int:
        """How many steps have been made."""
        return int(self.count.item())

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what must be saved to go on later."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a schedule with this `state_dict` was."""
        self.base_lrs = list(state_dict["base_lrs"])
        with no_grad():
            self.count.assign(float(state_dict["last_epoch"]))
        self.apply()


class StepLR(LRScheduler):
    """`base · gamma ^ floor(n / step_size)`."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ArgumentError(f"StepLR: got step_size {step_size}, wanted at least 1")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps."""
        return base * ops.pow(float(self.gamma), n // float(self.step_size))


class MultiStepLR(LRScheduler):
    """`base · gamma ^ k`, where k of the `milestones` have been reached."""

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps."""
        reached = n * 0.0
        for milestone in self.milestones:
            reached = reached + ops.where(n >= float(milestone), 1.0, reached * 0.0)
        return base * ops.pow(float(self.gamma), reached)


class ConstantLR(LRScheduler):
    """`base · factor` for `total_iters` steps, then `base`."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps."""
        return ops.where(n < float(self.total_iters), base * self.factor, n * 0.0 + base)


class LinearLR(LRScheduler):
    """`base` times a factor that goes straight from `start_factor` to `end_factor` in `total_iters` steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not (0 < start_factor <= 1 and 0 <= end_factor <= 1 and total_iters >= 1):
            raise ArgumentError(
                f"LinearLR: got {start_factor}, {end_factor}, {total_iters}; wanted factors up to 1 and at least 1 step"
            )
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps."""
        part = ops.clamp(n / float(self.total_iters), max=1.0)
        return base * (self.start_factor + part * (self.end_factor - self.start_factor))


class PolynomialLR(LRScheduler):
    """`base · (1 - n / total_iters) ^ power`, and 0 after that."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps."""
        return base * ops.pow(1.0 - ops.clamp(n / float(self.total_iters), max=1.0), float(self.power))


class ExponentialLR(LRScheduler):
    """`base · gamma ^ n`."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps."""
        return base * ops.pow(float(self.gamma), n)


class CosineAnnealingLR(LRScheduler):
    """`eta_min + (base - eta_min) (1 + cos(π n / T_max)) / 2`.

    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5, without
    the restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise ArgumentError(f"CosineAnnealingLR: got T_max {T_max}, wanted at least 1")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps."""
        return self.eta_min + (base - self.eta_min) * (1.0 + ops.cos(n * (math.pi / self.T_max))) * 0.5


class OneCycleLR(LRScheduler):
    """Up from `max_lr / div_factor` to `max_lr`, then down to the start divided by `final_div_factor`.

    L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    arXiv:1708.07120. The momentum is left as it is.

    Parameters
    ----------
    total_steps
        The length of the whole cycle.
    pct_start
        The part of it that goes up.
    anneal_strategy
        "cos" or "linear".
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear") or total_steps < 2 or not 0 < pct_start < 1:
            raise ArgumentError(
                f"OneCycleLR: got {anneal_strategy!r}, total_steps {total_steps}, pct_start {pct_start}; "
                "wanted 'cos' or 'linear', at least 2 and between 0 and 1"
            )
        self.max_lr, self.start = max_lr, max_lr / div_factor
        self.end = self.start / final_div_factor
        self.turn, self.last, self.strategy = pct_start * total_steps - 1, float(total_steps - 1), anneal_strategy
        super().__init__(optimizer, last_epoch)

    def between(self, start: float, end: float, part: Any) -> Any:
        """Return what lies `part` of the way from `start` to `end`."""
        if self.strategy == "cos":
            part = (1.0 - ops.cos(part * math.pi)) * 0.5
        return start + part * (end - start)

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps."""
        up = self.between(self.start, self.max_lr, n / self.turn if self.turn else 1.0 + n * 0.0)
        down = self.between(self.max_lr, self.end, ops.clamp((n - self.turn) / (self.last - self.turn), max=1.0))
        return ops.where(n <= self.turn, up, down)


class SequentialLR(LRScheduler):
    """One schedule after the other: each starts anew when its milestone is reached."""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        if len(schedulers) != len(milestones) + 1 or sorted(milestones) != list(milestones):
            raise ArgumentError(
                f"SequentialLR: got {len(schedulers)} schedules and milestones {list(milestones)}; "
                "wanted one milestone less, in ascending order"
            )
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, n: Any) -> Any:
        """Return the learning rate after `n` steps."""
        first, *others = self.schedulers
        value = first.rate(base, n)
        for milestone, scheduler in zip(self.milestones, others, strict=True):
            later = scheduler.rate(base, ops.clamp(n - float(milestone), min=0.0))
            value = ops.where(n >= float(milestone), later, value)
        return value


class LambdaLR(LRScheduler):
    """`base · f(n)` for a function, or one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        count = len(optimizer.param_groups)
        self.lambdas = list(lr_lambda) if isinstance(lr_lambda, Sequence) else [lr_lambda] * count
        if len(self.lambdas) != count:
            raise ArgumentError(f"LambdaLR: got {len(self.lambdas)} functions for {count} groups")
        super().__init__(optimizer, last_epoch)

    def apply(self) -> None:
        """Set the learning rates to what the functions return now."""
        for group, base, function in zip(self.optimizer.param_groups, self.base_lrs, self.lambdas, strict=True):
            group["lr"] = base * function(self.last_epoch)


class ReduceLROnPlateau:
    """Multiplies the learning rate by `factor` when a metric has not improved for more than `patience` steps.

    Parameters
    ----------
    mode
        "min" if smaller is better, else "max".
    threshold, threshold_mode
        What counts as better: by a fraction ("rel") or an amount ("abs").
    cooldown
        How many steps to wait after a reduction.
    min_lr, eps
        The lowest rate, and the smallest change that is made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs") or not 0 < factor < 1:
            raise ArgumentError(
                f"ReduceLROnPlateau: got {mode!r}, {threshold_mode!r}, factor {factor}; "
                "wanted 'min' or 'max', 'rel' or 'abs', a factor between 0 and 1"
            )
        self.optimizer, self.sign = optimizer, 1.0 if mode == "min" else -1.0
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.threshold_mode, self.cooldown, self.min_lr, self.eps = threshold_mode, cooldown, min_lr, eps
        self.best = math.inf * self.sign
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: Any) -> None:
        """Take note of one value of the metric."""
        value = float(metrics)
        self.last_epoch += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                reduced = max(group["lr"] * self.factor, self.min_lr)
                if group["lr"] - reduced > self.eps:
                    group["lr"] = reduced
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, value: float) -> bool:
        if math.isinf(self.best):
            return value * self.sign < self.best * self.sign
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        if self.threshold_mode == "rel" and self.best < 0:
            margin = -margin  # as PyTorch: best · (1 - threshold), whatever the sign of best
        return value * self.sign < self.best * self.sign - margin

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what must be saved to go on later."""
        names = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        return {name: vars(self)[name] for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a schedule with this `state_dict` was."""
        vars(self).update(state_dict)
