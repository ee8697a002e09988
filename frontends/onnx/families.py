"""The import rules: one small rule for each operator, by family, as in ``ir/ops``."""

from . import activation as activation
from . import arithmetic as arithmetic
from . import borders as borders
from . import choice as choice
from . import constant as constant
from . import control as control
from . import elementwise as elementwise
from . import indexing as indexing
from . import linear as linear
from . import loss as loss
from . import movement as movement
from . import normalize as normalize
from . import rearrange as rearrange
from . import reduce as reduce
from . import resize as resize
from . import shape as shape
from . import window as window
