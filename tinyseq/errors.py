"""Exceptions raised by tinyseq.

Each inherits from the builtins that PyTorch and NumPy raise in the same place, so `except` clauses written for
either keep working.
"""


class TinyseqError(RuntimeError):
    """The base of every error that tinyseq raises on purpose: PyTorch raises a RuntimeError in most places."""


class ShapeError(TinyseqError, ValueError):
    """Operand shapes do not fit the operation, or each other."""


class DTypeError(TinyseqError, TypeError):
    """Operand dtypes do not fit the operation, or each other."""


class DeviceError(TinyseqError):
    """Operands live on different devices, or the device asked for is not there."""


class DimError(TinyseqError, IndexError):
    """A dimension or an index is out of range."""


class ArgumentError(TinyseqError, ValueError):
    """An argument's value is outside of what the function accepts."""


class GradientError(TinyseqError):
    """A gradient was asked for where none exists, or would be wrong."""


class CaptureError(TinyseqError):
    """A function cannot be captured as it is written."""


class FileError(TinyseqError, ValueError):
    """A file is damaged, or holds what tinyseq cannot read."""


class RenderError(TinyseqError):
    """A graph cannot be drawn: it is too large, or no engine is there to lay it out."""


class StateDictError(TinyseqError):
    """The names or shapes of saved values do not fit the module or optimizer that is to take them."""
