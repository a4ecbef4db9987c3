"""The optimizers, with PyTorch's arguments and results. g is the gradient of the parameter p, t the step count."""

from typing import Any

from tinyseq import ops
from tinyseq.autograd import Tensor
from tinyseq.errors import ArgumentError
from tinyseq.optim.optimizer import Group, Optimizer, check_fraction, check_not_negative


class SGD(Optimizer):
    """`p ← p - lr d`, where d is the gradient, or its running sum `b ← momentum b + (1 - dampening) g`.

    With `nesterov`, d = g + momentum b: I. Sutskever et al., "On the importance of initialization and momentum in
    deep learning", ICML 2013.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("SGD: nesterov=True wants a momentum above 0 and dampening 0")
        named = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**named, "nesterov": nesterov, "maximize": maximize})

    def check(self, options: dict[str, Any]) -> None:
        """Raise if a hyperparameter is out of range."""
        super().check(options)
        check_not_negative("SGD", momentum=options["momentum"])

    def update(self, group: Group, params: list[Tensor]) -> None:
        """Change `params`."""
        momentum, dampening = float(group["momentum"]), float(group["dampening"])
        if momentum and dampening:
            # The running sum starts at the first gradient, without dampening
            for count, together in self.counted(params):
                self.descend(group, together, momentum, ops.where(ops.gt(count, 1.0), 1.0 - dampening, 1.0))
        else:
            self.descend(group, params, momentum, None)

    def descend(self, group: Group, params: list[Tensor], momentum: float, damping: Any) -> None:
        """Move `params` against the gradient, which adds to the running sum with the factor `damping`."""
        for p in params:
            d = self.gradient(group, p)
            if momentum:
                b = self.slot(p, "momentum_buffer")
                b.assign(b * momentum + (d if damping is None else d * damping.to(dtype=p.dtype)))
                d = d + b * momentum if group["nesterov"] else b
            p.assign(p - d * group.rate.to(dtype=p.dtype))


class Adam(Optimizer):
    """`p ← p - lr m̂ / (√v̂ + eps)` with the running means m of g and v of g².

    `m ← β₁ m + (1 - β₁) g`, `v ← β₂ v + (1 - β₂) g²`, `m̂ = m / (1 - β₁ᵗ)`, `v̂ = v / (1 - β₂ᵗ)`.
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1. With `amsgrad`, v is
    replaced by its largest value so far: S. J. Reddi et al., "On the convergence of Adam and beyond", ICLR 2018.

    >>> import tinyseq
    >>> p = tinyseq.ones(2).requires_grad_()
    >>> optimizer = Adam([p], lr=0.1)
    >>> p.sum().backward()
    >>> optimizer.step()
    >>> p
    tensor([0.9, 0.9], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        named = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**named, "amsgrad": amsgrad, "maximize": maximize})

    def check(self, options: dict[str, Any]) -> None:
        """Raise if a hyperparameter is out of range."""
        super().check(options)
        beta1, beta2 = options["betas"]
        check_fraction(self._name, beta1=beta1, beta2=beta2)
        check_not_negative(self._name, eps=options["eps"])

    def decayed(self, group: Group, p: Tensor) -> tuple[Any, Any]:
        """Return the gradient and the parameter, with the weight decay in one of them."""
        return self.gradient(group, p), p

    def update(self, group: Group, params: list[Tensor]) -> None:
        """Change `params`."""
        beta1, beta2 = (float(b) for b in group["betas"])
        eps = float(group["eps"])
        for count, together in self.counted(params):
            root = ops.sqrt(1.0 - ops.pow(beta2, count))
            # lr m̂ / (√v̂ + eps) = size · m / (√v + root · eps)
            size, small = group.rate * root / (1.0 - ops.pow(beta1, count)), root * eps
            for p in together:
                g, start = self.decayed(group, p)
                m, v = self.slot(p, "exp_avg"), self.slot(p, "exp_avg_sq")
                m.assign(m * beta1 + g * (1.0 - beta1))
                v.assign(v * beta2 + g * g * (1.0 - beta2))
                if group["amsgrad"]:
                    largest = self.slot(p, "max_exp_avg_sq")
                    v = largest.assign(ops.maximum(largest, v))
                p.assign(start - m * size.to(dtype=p.dtype) / (ops.sqrt(v) + small.to(dtype=p.dtype)))


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself: `p ← p (1 - lr weight_decay)` before each step.

    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def decayed(self, group: Group, p: Tensor) -> tuple[Any, Any]:
        """Return the slope and the shrunken parameter."""
        shrink = (1.0 - group.rate * float(group["weight_decay"])).to(dtype=p.dtype)
        return self.slope(group, p), p * shrink


class RMSprop(Optimizer):
    """`p ← p - lr g / (√v + eps)` with the running mean v of g².

    T. Tieleman, G. Hinton, "Lecture 6.5: rmsprop", Coursera, 2012. With `centered`, the square of the running mean of
    g is taken off v: A. Graves, "Generating sequences with recurrent neural networks", arXiv:1308.0850, equation 40.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        named = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, {**named, "centered": centered, "maximize": maximize})

    def check(self, options: dict[str, Any]) -> None:
        """Raise if a hyperparameter is out of range."""
        super().check(options)
        check_not_negative("RMSprop", alpha=options["alpha"], eps=options["eps"], momentum=options["momentum"])

    def update(self, group: Group, params: list[Tensor]) -> None:
        """Change `params`."""
        alpha, eps, momentum = float(group["alpha"]), float(group["eps"]), float(group["momentum"])
        for p in params:
            g = self.gradient(group, p)
            v = self.slot(p, "square_avg")
            v.assign(v * alpha + g * g * (1.0 - alpha))
            spread: Any = v
            if group["centered"]:
                mean = self.slot(p, "grad_avg")
                mean.assign(mean * alpha + g * (1.0 - alpha))
                spread = v - mean * mean
            d = g / (ops.sqrt(spread) + eps)
            if momentum:
                b = self.slot(p, "momentum_buffer")
                d = b.assign(b * momentum + d)
            p.assign(p - d * group.rate.to(dtype=p.dtype))


class Adagrad(Optimizer):
    """`p ← p - lr / (1 + (t - 1) lr_decay) g / (√s + eps)` with the sum s of all g² so far.

    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 12 (2011).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        named = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps}
        start = {"initial_accumulator_value": initial_accumulator_value}
        super().__init__(params, {**named, **start, "maximize": maximize})

    def check(self, options: dict[str, Any]) -> None:
        """Raise if a hyperparameter is out of range."""
        super().check(options)
        checked = ("lr_decay", "initial_accumulator_value", "eps")
        check_not_negative("Adagrad", **{name: options[name] for name in checked})

    def update(self, group: Group, params: list[Tensor]) -> None:
        """Change `params`."""
        decay, eps, start = (float(group[k]) for k in ("lr_decay", "eps", "initial_accumulator_value"))
        for count, together in self.counted(params):
            size = group.rate / ((count - 1.0) * decay + 1.0)
            for p in together:
                g = self.gradient(group, p)
                s = self.slot(p, "sum", start)
                s.assign(s + g * g)
                p.assign(p - g * size.to(dtype=p.dtype) / (ops.sqrt(s) + eps))
