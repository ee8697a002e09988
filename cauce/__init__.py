"""cauce: a graph compiler for convolutional networks.

A network is a Python function over symbolic tensors (``network``, ``nn``). ``init`` gives a
:class:`Model`; ``Trainer`` and ``train_step`` train it, ``compile`` runs it, ``export_onnx`` writes
it as an ONNX file.
"""

import os as _os
from typing import TYPE_CHECKING

_root = _os.path.dirname(_os.path.dirname(_os.path.realpath(__file__)))
if _os.path.isfile(_os.path.join(_root, "pyproject.toml")):
    # A checkout that lost its symbolic links (an archive, Windows): the folders lie at the root.
    __path__.append(_root)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CauceError",
    "CauceWarning",
    "ClipNorm",
    "ClipValue",
    "Dataset",
    "Graph",
    "Model",
    "Network",
    "Optimizer",
    "Preprocessing",
    "TrainStep",
    "Trainer",
    "__version__",
    "compare",
    "compile",
    "distributed",
    "explain",
    "export_onnx",
    "gradients",
    "load",
    "load_digits",
    "load_idx",
    "load_image",
    "load_onnx",
    "models",
    "network",
    "nn",
    "parse",
    "register_backend",
    "train_step",
    "verify",
    "view",
]

if TYPE_CHECKING:
    from . import backends as backends
    from . import distributed, models, nn
    from . import frontends as frontends
    from . import ir as ir
    from . import passes as passes
    from . import training as training
    from .comparison import compare
    from .compiler import compile, register_backend
    from .differentiate import gradients
    from .explaining import explain
    from .exporting import export_onnx
    from .frontends.model import Model
    from .frontends.network import Network, network
    from .image_input import load_image
    from .importing import load_onnx
    from .ir import Graph, parse, verify
    from .ir.errors import CauceError, CauceWarning
    from .ir.preprocessing import Preprocessing
    from .ir.version import VERSION as __version__
    from .loading import load
    from .passes.gradient_clipping import ClipNorm, ClipValue
    from .passes.optimizers import SGD, Adam, AdamW, Optimizer
    from .trainer import Trainer
    from .training.data import Dataset, load_digits, load_idx
    from .training_step import TrainStep, train_step
    from .viewing import view
else:
    # Imported when first asked for (PEP 562): a program pays for what it uses.
    _PLACES = {
        "Adam": "passes.optimizers:Adam",
        "AdamW": "passes.optimizers:AdamW",
        "CauceError": "ir.errors:CauceError",
        "CauceWarning": "ir.errors:CauceWarning",
        "ClipNorm": "passes.gradient_clipping:ClipNorm",
        "ClipValue": "passes.gradient_clipping:ClipValue",
        "Dataset": "training.data:Dataset",
        "Graph": "ir:Graph",
        "Model": "frontends.model:Model",
        "Network": "frontends.network:Network",
        "Optimizer": "passes.optimizers:Optimizer",
        "Preprocessing": "ir.preprocessing:Preprocessing",
        "SGD": "passes.optimizers:SGD",
        "TrainStep": "training_step:TrainStep",
        "Trainer": "trainer:Trainer",
        "__version__": "ir.version:VERSION",
        "backends": "backends",
        "compare": "comparison:compare",
        "compile": "compiler:compile",
        "distributed": "distributed",
        "explain": "explaining:explain",
        "export_onnx": "exporting:export_onnx",
        "register_backend": "compiler:register_backend",
        "frontends": "frontends",
        "gradients": "differentiate:gradients",
        "ir": "ir",
        "load": "loading:load",
        "load_digits": "training.data:load_digits",
        "load_idx": "training.data:load_idx",
        "load_image": "image_input:load_image",
        "load_onnx": "importing:load_onnx",
        "models": "models",
        "network": "frontends.network:network",
        "nn": "nn",
        "parse": "ir:parse",
        "passes": "passes",
        "train_step": "training_step:train_step",
        "training": "training",
        "verify": "ir:verify",
        "view": "viewing:view",
    }

    def __getattr__(name):
        if name not in _PLACES:
            if not name.startswith("_"):
                from .frontends import nn
                from .ir.habits import LAYERS, PACKAGE
                from .ir.remedies import unknown_attribute

                others = {
                    **LAYERS,
                    **{layer: f"cauce.nn.{layer}" for layer in nn.__all__},
                    **PACKAGE,
                }
                if name in others:
                    raise unknown_attribute(__name__, name, others, __all__)
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        home, _, attribute = _PLACES[name].partition(":")
        found = import_module(f".{home}", __name__)
        import_module(".displays", __name__)  # what these look like in a notebook
        globals()[name] = getattr(found, attribute) if attribute else found
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *_PLACES})
