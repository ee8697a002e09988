"""cauce: a graph compiler for convolutional networks."""

from pathlib import Path as _Path

_root = _Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file():
    # A checkout that lost its symbolic links (an archive, Windows): the folders lie at the root.
    __path__.append(str(_root))

from .ir import Graph, parse, verify
from .ir.errors import CauceError

__version__ = "0.1.0"
__all__ = ["CauceError", "Graph", "parse", "verify"]
