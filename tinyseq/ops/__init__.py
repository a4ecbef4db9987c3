"""The operations: the only place where mathematics is written."""

from tinyseq.ops.activation import *  # noqa: F403
from tinyseq.ops.composite import *  # noqa: F403
from tinyseq.ops.creation import *  # noqa: F403
from tinyseq.ops.elementwise import *  # noqa: F403
from tinyseq.ops.indexing import *  # noqa: F403
from tinyseq.ops.linalg import *  # noqa: F403
from tinyseq.ops.random import *  # noqa: F403
from tinyseq.ops.reduction import *  # noqa: F403
from tinyseq.ops.shaping import *  # noqa: F403
from tinyseq.ops.sorting import *  # noqa: F403
from tinyseq.ops.special import *  # noqa: F403
