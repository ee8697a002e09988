"""cauce: a graph compiler for convolutional networks.

A network is a Python function over symbolic tensors (``network``, ``nn``). ``init`` gives a
:class:`Model`; ``Trainer`` and ``train_step`` train it, ``compile`` runs it, ``export_onnx`` writes
it as an ONNX file.
"""

from pathlib import Path as _Path

_root = _Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file():
    # A checkout that lost its symbolic links (an archive, Windows): the folders lie at the root.
    __path__.append(str(_root))

from . import models, nn
from .compare import compare
from .compiler import compile, export_onnx
from .differentiate import gradients
from .frontends.model import Model, load
from .frontends.network import Network, network
from .ir import Graph, parse, verify
from .ir.errors import CauceError
from .ir.version import VERSION as __version__
from .passes.gradient_clipping import ClipNorm, ClipValue
from .passes.optimizers import SGD, Adam, AdamW
from .train_step import TrainStep, train_step
from .trainer import Trainer
from .training.data import Dataset, load_digits, load_idx

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CauceError",
    "ClipNorm",
    "ClipValue",
    "Dataset",
    "Graph",
    "Model",
    "Network",
    "TrainStep",
    "Trainer",
    "__version__",
    "compare",
    "compile",
    "export_onnx",
    "gradients",
    "load",
    "load_digits",
    "load_idx",
    "models",
    "network",
    "nn",
    "parse",
    "train_step",
    "verify",
]
