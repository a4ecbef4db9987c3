"""The operations: the only place where mathematics is written."""

from tinyseq.ops.activation import *  # noqa: F403
from tinyseq.ops.arranging import *  # noqa: F403
from tinyseq.ops.composite import *  # noqa: F403
from tinyseq.ops.creation import *  # noqa: F403
from tinyseq.ops.diagonals import *  # noqa: F403
from tinyseq.ops.elementwise import *  # noqa: F403
from tinyseq.ops.gaussian import *  # noqa: F403
from tinyseq.ops.indexing import *  # noqa: F403
from tinyseq.ops.linalg import *  # noqa: F403
from tinyseq.ops.norms import *  # noqa: F403
from tinyseq.ops.products import *  # noqa: F403
from tinyseq.ops.random import *  # noqa: F403
from tinyseq.ops.reduction import *  # noqa: F403
from tinyseq.ops.rounding import *  # noqa: F403
from tinyseq.ops.selecting import *  # noqa: F403
from tinyseq.ops.shaping import *  # noqa: F403
from tinyseq.ops.solving import *  # noqa: F403
from tinyseq.ops.sorting import *  # noqa: F403
from tinyseq.ops.special import *  # noqa: F403
