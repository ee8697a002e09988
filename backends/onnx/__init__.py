"""Export to ONNX: one rule for each op, by family, as in ``ir/ops``."""

from . import activation as activation
from . import adaptive_pool as adaptive_pool
from . import collective as collective
from . import constant as constant
from . import conv as conv
from . import elementwise as elementwise
from . import indexing as indexing
from . import integers as integers
from . import linear as linear
from . import linear_units as linear_units
from . import nll_loss as nll_loss
from . import normalize as normalize
from . import pool as pool
from . import random as random
from . import rearrange as rearrange
from . import reduce as reduce
from . import resize as resize
from . import scan as scan
from . import shape as shape
from . import trigonometry as trigonometry
from .exporter import export as export
from .exporter import save as save
