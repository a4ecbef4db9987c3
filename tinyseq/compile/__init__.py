"""`compile`: capture a function once, improve the program, and replay it; Tensor in, Tensor out."""

from tinyseq.compile.function import Compiled as Compiled, compile as compile
