"""Captured programs: a straight-line graph of operations, the passes that improve it, and what runs it."""

from tinyseq.graph.capture import Capture as Capture
from tinyseq.graph.ir import Const as Const, Graph as Graph, Line as Line, Symbol as Symbol
from tinyseq.graph.runner import Runner as Runner, runner_for as runner_for
