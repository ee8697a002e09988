"""The image classifiers of the benchmarks, as cauce's models and as ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from protocol import Case, Prepared

import cauce
from cauce.ir import Array
from cauce.ir.dims import sizes
from cauce.ir.ops.normalize import BatchNorm

MODELS = ("resnet18", "resnet50", "mobilenet_v2", "resnet20", "vgg11", "densenet121")


def start(case: Case) -> tuple[cauce.Model, Array]:
    """The model and the images, which the peers must have alike.

    Fresh batch normalisations change nothing: here they have numbers as if trained.
    """
    size = 32 if case["model"] == "resnet20" else 224
    shape = (case["batch"], 3, size, size)
    model = getattr(cauce.models, case["model"]).init(image=shape, seed=0)
    rng = np.random.default_rng(0)
    numbers: dict[str, object] = {}
    for node in model.graph.nodes:
        if isinstance(node.op, BatchNorm):
            gamma, beta, mean, variance = (value.name for value in node.operands[1:])
            channels = sizes(node.operands[1].type.shape)
            numbers |= {name: rng.uniform(0.5, 1.5, channels) for name in (gamma, variance)}
            numbers |= {name: rng.normal(0, 0.1, channels) for name in (beta, mean)}
    model.load_state_dict(numbers, strict=False)
    return model, rng.standard_normal(shape, np.float32)


def exported(model: cauce.Model, folder: str) -> str:
    """The path of the ONNX file that cauce writes of ``model``."""
    path = Path(folder) / "model.onnx"
    cauce.export_onnx(model, path)
    return str(path)


def ready(step: Callable[[], Array], versions: dict[str, str]) -> Prepared:
    """A peer whose step returns the outputs, all of which are its evidence."""
    return Prepared(step, step().ravel().tolist(), versions)
