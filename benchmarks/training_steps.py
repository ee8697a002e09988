"""A training step of a residual network, prepared for each library: same weights, batch, optimiser.

The evidence is the losses of the first steps: the first tells that forward and loss agree, the
others that gradients and updates do.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from protocol import Case, Prepared

import cauce
from cauce.ir import Array

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4
RATES = {"resnet20": 0.1, "resnet18": 0.001}  # at which rounding grows slowly from step to step
FIRST = 4  # how many losses are compared
TOLERANCE = 1e-3


def numpy_step(case: Case) -> Prepared:
    """cauce's NumPy backend; the threads are those of NumPy's BLAS."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return _cauce_step(case, "numpy", {"numpy": np.__version__, blas["name"]: blas["version"]})


def llvm_step(case: Case) -> Prepared:
    """cauce's native code."""
    return _cauce_step(case, "llvm", {"llvmlite": version("llvmlite")})


def eager_step(case: Case) -> Prepared:
    """PyTorch, op by op."""
    return _torch_step(case)


def channels_last_step(case: Case) -> Prepared:
    """PyTorch, op by op, with images and weights channels last in memory."""
    return _torch_step(case, channels_last=True)


def compiled_step(case: Case) -> Prepared:
    """torch.compile of network and loss, and so of their gradients."""
    return _torch_step(case, compiled=True)


def _start(case: Case) -> tuple[cauce.Model, Array, Array]:
    """The model and a batch, which the peers must have alike."""
    rng = np.random.default_rng(0)
    name = case.get("model", "resnet20")
    size, classes = (32, 10) if name == "resnet20" else (224, 1000)
    images = rng.standard_normal((case["batch"], 3, size, size)).astype(np.float32)
    labels = rng.integers(0, classes, (case["batch"],))
    network = getattr(cauce.models, name)
    return network.init(image=("N", 3, size, size), seed=0), images, labels


def _rate(case: Case) -> float:
    return RATES[case.get("model", "resnet20")]


def _ready(step: Callable[[], float], versions: dict[str, str]) -> Prepared:
    return Prepared(step, [step() for _ in range(FIRST)], versions)


def _cauce_step(case: Case, backend: str, versions: dict[str, str]) -> Prepared:
    model, *batch = _start(case)
    sgd = cauce.SGD(_rate(case), momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    train = cauce.train_step(model, "cross_entropy", sgd, backend=backend)
    state = train.init()
    return _ready(lambda: train(state, batch).loss, {"cauce": cauce.__version__, **versions})


def _torch_step(case: Case, channels_last: bool = False, compiled: bool = False) -> Prepared:
    import torch
    from torch.nn import functional as F
    from torch_network import torch_network

    torch.set_num_threads(case["threads"])
    model, images, labels = _start(case)
    image, target = torch.from_numpy(images), torch.from_numpy(labels)
    network = torch_network(model)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        image = image.to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(network.parameters(), _rate(case), MOMENTUM, weight_decay=WEIGHT_DECAY)

    def loss_of(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(network(image), target)

    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> float:
        sgd.zero_grad()
        loss = forward(image, target)
        loss.backward()
        sgd.step()
        return loss.item()

    return _ready(step, {"torch": torch.__version__})
