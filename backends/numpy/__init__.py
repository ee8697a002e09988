"""The NumPy backend: the reference interpreter with fast primitives."""

from . import collective as collective
from . import conv as conv
from . import elementwise as elementwise
from . import error_function as error_function
from . import movement as movement
from . import normalize as normalize
from . import pool as pool
from . import random as random
from . import reduce as reduce
from . import resize as resize
from .kernels import KERNELS as KERNELS
from .kernels import kernel as kernel
from .lowering import lower as lower
from .program import NumpyProgram as NumpyProgram
