"""The operations: the only place where mathematics is written.

Each module lists in `__all__` what it offers here. `tinyseq.ops.signatures` is left out: it has functions of the same
names as operations.
"""

from tinyseq.ops.activation import *
from tinyseq.ops.arranging import *
from tinyseq.ops.composite import *
from tinyseq.ops.creation import *
from tinyseq.ops.diagonals import *
from tinyseq.ops.elementwise import *
from tinyseq.ops.gathering import *
from tinyseq.ops.gaussian import *
from tinyseq.ops.indexing import *
from tinyseq.ops.linalg import *
from tinyseq.ops.norms import *
from tinyseq.ops.products import *
from tinyseq.ops.random import *
from tinyseq.ops.reduction import *
from tinyseq.ops.rounding import *
from tinyseq.ops.selecting import *
from tinyseq.ops.shaping import *
from tinyseq.ops.solving import *
from tinyseq.ops.sorting import *
from tinyseq.ops.special import *
