"""A look inside: gradients by time step, a weight's gradient split by step, Jacobians, gates, clipping, and BPTT told.

Every function reads the tape that ordinary code leaves behind, and changes nothing. Results are plain NumPy arrays
with a `plot` method, which needs matplotlib (the extra "viz").
"""

from tinyseq.inspect.clipping import Clipping as Clipping
from tinyseq.inspect.explain import (
    Check as Check,
    Explanation as Explanation,
    explain_backward as explain_backward,
)
from tinyseq.inspect.gradients import (
    StateGradients as StateGradients,
    WeightGradient as WeightGradient,
    gradient_by_step as gradient_by_step,
    weight_gradient_by_step as weight_gradient_by_step,
)
from tinyseq.inspect.jacobians import JacobianNorms as JacobianNorms, jacobian_norms as jacobian_norms
from tinyseq.inspect.recordings import Recording as Recording, gates as gates
