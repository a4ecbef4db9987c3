"""The tensor that a module trains."""

from typing import Any

from tinyseq.autograd import Tensor


class Parameter(Tensor):
    """A tensor that becomes part of a module when it is assigned to one of its attributes.

    Parameters
    ----------
    data
        The tensor whose memory the parameter takes over; its history stays behind.
    requires_grad
        Whether training changes it.

    >>> from tinyseq import zeros
    >>> Parameter(zeros(2))
    tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.payload if isinstance(data, Tensor) else data)
        if requires_grad:
            self.requires_grad_()
