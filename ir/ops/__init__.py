"""All ops, one file a family; importing this package registers them."""

from . import activation as activation
from . import adaptive_pool as adaptive_pool
from . import constant as constant
from . import conv as conv
from . import elementwise as elementwise
from . import fused as fused
from . import linear as linear
from . import loss as loss
from . import normalize as normalize
from . import pool as pool
from . import random as random
from . import reduce as reduce
from . import reorder as reorder
from . import shape as shape
from . import update as update
