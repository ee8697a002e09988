"""What networks are made of; see :mod:`cauce.frontends.nn`."""

from .frontends.nn import *  # noqa: F403
from .frontends.nn import __all__ as __all__
from .frontends.nn import __getattr__ as __getattr__
