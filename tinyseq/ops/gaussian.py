"""The error function and the normal distribution function."""

import math
from collections.abc import Sequence

from tinyseq.backend import Array, Namespace
from tinyseq.core.op import Value
from tinyseq.ops.elementwise import exp, function

# erf(x) / x is smooth in x² for |x| <= 1, and erfc(x) e^(x²) (1 + 2x) is smooth in
# t = (x - 3) / (x + 3) for x >= 0. Each is a series of Chebyshev polynomials, fitted with 40 digits to an error below
# 1e-16; the ends may be dropped where the dtype has fewer digits.

_NEAR = (
    0.9754769393826541, -0.14226120510371364, 0.010035582187599796, -0.00057687646997674848, 2.7419931252196061e-5,
    -1.1043175507344508e-6, 3.8488755420345037e-8, -1.1808582533875467e-9, 3.233421582605091e-11,
    -7.9910159470045488e-13, 1.7990725113961456e-14, -3.7186354878186926e-16, 7.103599003714253e-18,
)  # fmt: skip
_FAR = (
    1.17756257419656, 0.0053539045396156768, -0.093775503422842091, 0.05436652555744322, -0.018976596707845207,
    0.0044534260614627116, -0.00063355317105531469, 1.7661719523171592e-5, 1.2841532864056671e-5,
    -2.0072285659059914e-6, -1.8075227904148371e-7, 7.5498283438250928e-8, 1.8856685238386028e-9,
    -2.699519049798364e-9, -1.4600791199391049e-11, 1.036160744596949e-10, 1.475715976623473e-12,
    -4.2773400643969108e-12, -2.07922492859799e-13, 1.8134502003176962e-13, 1.9734255745447388e-14,
    -7.2879437375926732e-15, -1.5169878690228116e-15, 2.3514112258781404e-16, 1.0006111691821668e-16,
)  # fmt: skip


def _series(xp: Namespace, t: Array, coefficients: Sequence[float]) -> Array:
    """Sum a Chebyshev series at `t` in [-1, 1] by Clenshaw's recurrence."""
    if t.dtype.itemsize < 8:
        coefficients = [c for c in coefficients if c > 1e-9 or c < -1e-9]
    twice = t + t
    this, last = xp.zeros_like(t), xp.zeros_like(t)
    for c in coefficients[:0:-1]:
        this, last = twice * this - last + c, this
    return t * this - last + coefficients[0]


def _erf_near(xp: Namespace, x: Array) -> Array:
    return x * _series(xp, 2 * (x * x) - 1, _NEAR)


def _erfc_far(xp: Namespace, x: Array) -> Array:
    """Return erfc(x) for x >= 0."""
    scaled = _series(xp, (x - 3) / (x + 3), _FAR) / (1 + 2 * x)
    high = xp.trunc(x * 64) / 64  # e^(-x²) with x² in two parts, as rounding x² alone would cost digits
    return scaled * xp.exp(-high * high) * xp.exp((high - x) * (high + x))


def _between(xp: Namespace, x: Array, cut: float) -> Array:
    return xp.minimum(xp.absolute(x), x.dtype.type(cut))


@function("erf({x})", quiet=True)
def erf(xp: Namespace, x: Array) -> Array:
    """Return the error function, `2 / sqrt(π)` times the integral of `e ** -t²` from 0 to `x`."""
    far = xp.copysign(1 - _erfc_far(xp, _between(xp, x, 30)), x)
    return xp.where(xp.absolute(x) < 1, _erf_near(xp, xp.clip(x, -1, 1)), far)


@function("erfc({x})", quiet=True)
def erfc(xp: Namespace, x: Array) -> Array:
    """Return `1 - erf(x)`, accurate where that is small."""
    far = _erfc_far(xp, _between(xp, x, 30))
    return xp.where(x < 0.5, xp.where(x < -1, 2 - far, 1 - _erf_near(xp, xp.clip(x, -1, 1))), far)


erf.defvjp(x=lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))
erfc.defvjp(x=lambda g, x: g * (-2 / math.sqrt(math.pi)) * exp(-x * x))


def ndtr(input: Value) -> Value:
    """Return the area under the standard normal curve up to `x`."""
    return 0.5 * erfc(input * -math.sqrt(0.5))


__all__ = ["erf", "erfc", "ndtr"]
