"""All ops, one file a family; importing a family registers its ops.

Those that most networks have are imported with this package. The others are when a name is looked
up that is not known by then, or all ops are asked for: a program that runs one network should not
wait for all there are.
"""

from . import activation as activation
from . import constant as constant
from . import conv as conv
from . import elementwise as elementwise
from . import fused as fused
from . import linear as linear
from . import normalize as normalize
from . import pool as pool
from . import reduce as reduce
from . import shape as shape


def import_all() -> None:
    """Import the other families."""
    from . import adaptive_pool as adaptive_pool
    from . import collective as collective
    from . import conv_nd as conv_nd
    from . import error_function as error_function
    from . import indexing as indexing
    from . import integers as integers
    from . import linear_units as linear_units
    from . import loss as loss
    from . import nll_loss as nll_loss
    from . import pool_indices as pool_indices
    from . import pool_nd as pool_nd
    from . import random as random
    from . import rearrange as rearrange
    from . import reorder as reorder
    from . import resize as resize
    from . import response_norm as response_norm
    from . import rounding as rounding
    from . import sample_norm as sample_norm
    from . import scan as scan
    from . import trigonometry as trigonometry
    from . import update as update
