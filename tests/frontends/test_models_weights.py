"""Weights of PyTorch: torchvision's names, derived from the published architectures; loading."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from cauce import models
from cauce.frontends.network import Network
from cauce.ir import Array, Role, evaluate
from cauce.ir.errors import CauceError, DataError, GraphError, ShapeError, TypeMismatch

KEY = "random.key"


def layer(*names: str) -> list[str]:
    """A convolution or linear layer with a bias."""
    return [f"{name}.{part}" for name in names for part in ("weight", "bias")]


def bn(*names: str) -> list[str]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return [f"{name}.{part}" for name in names for part in parts]


def conv_bn(conv: str, norm: str) -> list[str]:
    return [f"{conv}.weight", *bn(norm)]


def resnet(depths: Iterable[int], convolutions: int) -> list[str]:
    """He et al. 2015, table 1; a projection wherever a stage changes the shape."""
    names = conv_bn("conv1", "bn1")
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            for i in range(1, convolutions + 1):
                names += conv_bn(f"{prefix}.conv{i}", f"{prefix}.bn{i}")
            if block == 0 and (stage > 1 or convolutions == 3):
                names += conv_bn(f"{prefix}.downsample.0", f"{prefix}.downsample.1")
    return names + layer("fc")


def vgg(places: Iterable[int], batch_norm: bool) -> list[str]:
    names = []
    for place in places:
        names += layer(f"features.{place}")
        names += bn(f"features.{place + 1}") if batch_norm else []
    return names + layer("classifier.0", "classifier.3", "classifier.6")


def mobilenet_v2() -> list[str]:
    """Sandler et al. 2018, table 2: 17 blocks, of which only the first does not expand."""
    names = conv_bn("features.0.0", "features.0.1")
    for block in range(1, 18):
        parts = ["0"] if block == 1 else ["0", "1"]
        for part in parts:
            names += conv_bn(f"features.{block}.conv.{part}.0", f"features.{block}.conv.{part}.1")
        last = len(parts)
        names += conv_bn(f"features.{block}.conv.{last}", f"features.{block}.conv.{last + 1}")
    return names + conv_bn("features.18.0", "features.18.1") + layer("classifier.1")


def densenet121() -> list[str]:
    """Huang et al. 2017, table 1: blocks of 6, 12, 24 and 16 layers with transitions between."""
    names = conv_bn("features.conv0", "features.norm0")
    for block, depth in enumerate((6, 12, 24, 16), start=1):
        for i in range(1, depth + 1):
            prefix = f"features.denseblock{block}.denselayer{i}"
            names += conv_bn(f"{prefix}.conv1", f"{prefix}.norm1")
            names += conv_bn(f"{prefix}.conv2", f"{prefix}.norm2")
        if block < 4:
            prefix = f"features.transition{block}"
            names += conv_bn(f"{prefix}.conv", f"{prefix}.norm")
    return names + bn("features.norm5") + layer("classifier")


def squeezenet(fires: Iterable[int]) -> list[str]:
    """Iandola et al. 2016, table 1: eight fire modules, counted with the pooling layers."""
    names = layer("features.0")
    for place in fires:
        parts = ("squeeze", "expand1x1", "expand3x3")
        names += layer(*(f"features.{place}.{part}" for part in parts))
    return names + layer("classifier.1")


# The names, and how many there are in torchvision's state_dict less num_batches_tracked.
NAMES: list[tuple[Network, dict[str, str], list[str], int]] = [
    (models.resnet18, {}, resnet((2, 2, 2, 2), 2), 102),
    (models.resnet34, {}, resnet((3, 4, 6, 3), 2), 182),
    (models.resnet50, {}, resnet((3, 4, 6, 3), 3), 267),
    (models.resnet101, {}, resnet((3, 4, 23, 3), 3), 522),
    (models.vgg11, {}, vgg((0, 3, 6, 8, 11, 13, 16, 18), False), 22),
    (models.vgg11_bn, {}, vgg((0, 4, 8, 11, 15, 18, 22, 25), True), 54),
    (models.vgg16, {}, vgg((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), False), 32),
    (models.vgg16_bn, {}, vgg((0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40), True), 84),
    (models.mobilenet_v2, {}, mobilenet_v2(), 262),
    (models.densenet121, {}, densenet121(), 606),
    (models.squeezenet, {"version": "1.0"}, squeezenet((3, 4, 5, 7, 8, 9, 10, 12)), 52),
    (models.squeezenet, {"version": "1.1"}, squeezenet((3, 4, 6, 7, 9, 10, 11, 12)), 52),
]


@pytest.mark.parametrize(
    ("network", "options", "names", "count"),
    NAMES,
    ids=[" ".join([network.name, *options.values()]) for network, options, *_ in NAMES],
)
def test_names_are_those_of_torchvision(
    network: Network, options: dict[str, str], names: list[str], count: int
) -> None:
    graph = network.graph(image=("N", 3, 224, 224), training=True, **options)
    found = [value.name for value in graph.inputs_with(Role.PARAMETER, Role.STATE)]
    assert sorted(set(found) - {KEY}) == sorted(names)
    assert len(names) == count


# Some weights of the published checkpoints.
SHAPES = [
    (models.resnet18, "layer2.0.downsample.0.weight", (128, 64, 1, 1)),
    (models.resnet50, "layer4.2.conv3.weight", (2048, 512, 1, 1)),
    (models.resnet50, "fc.weight", (1000, 2048)),
    (models.vgg16, "classifier.0.weight", (4096, 25088)),
    (models.vgg16_bn, "features.40.weight", (512, 512, 3, 3)),
    (models.mobilenet_v2, "features.1.conv.0.0.weight", (32, 1, 3, 3)),
    (models.mobilenet_v2, "features.17.conv.2.weight", (320, 960, 1, 1)),
    (models.densenet121, "features.transition3.conv.weight", (512, 1024, 1, 1)),
    (models.densenet121, "features.denseblock4.denselayer16.conv1.weight", (128, 992, 1, 1)),
    (models.squeezenet, "features.12.expand3x3.weight", (256, 64, 3, 3)),
    (models.squeezenet, "classifier.1.weight", (1000, 512, 1, 1)),
]


@pytest.mark.parametrize(("network", "name", "shape"), SHAPES)
def test_shapes_are_those_of_torchvision(
    network: Network, name: str, shape: tuple[int, ...]
) -> None:
    graph = network.graph(image=("N", 3, 224, 224))
    assert graph.value(name).type.shape == shape


# The logits of torchvision 0.29.1 in double precision, with the weights and the image below.
LOGITS = [
    (models.resnet18, {}, [-0.8229389174, 0.8708761318, -3.408228439]),
    (models.resnet50, {}, [-59.43190633, -100.9187558, 55.48898715]),
    (models.mobilenet_v2, {}, [-3.42366262, -3.252632967, -0.6162863372]),
    (models.densenet121, {}, [0.2485011359, -0.813416447, -0.4365563742]),
    (models.squeezenet, {"version": "1.0"}, [0.0, 1.35198418, 0.0]),
    (models.squeezenet, {"version": "1.1"}, [0.02633676251, 0.5475571155, 0.0]),
    pytest.param(
        models.vgg11_bn, {}, [0.01015501649, -0.1208186088, 0.0863769531], marks=pytest.mark.slow
    ),
]


def weight_by_rule(name: str, shape: tuple[int, ...]) -> Array:
    """Numbers that depend on the place alone, of a size that keeps activations moderate."""
    k = np.arange(math.prod(shape)).reshape(shape)
    if name.endswith("running_var"):
        weight: Array = 1 + np.sin(k) / 2
    elif len(shape) == 1:
        weight = np.cos(3 * k) / 10 + name.endswith("weight")  # of batch norm: around 1
    else:
        weight = np.cos(k * k % 1009) * 2 / np.sqrt(math.prod(shape[1:]))
    return weight


@pytest.mark.parametrize(("network", "options", "logits"), LOGITS)
def test_logits_are_those_of_torchvision(
    network: Network, options: dict[str, Any], logits: list[float]
) -> None:
    model = network.init(image=("N", 3, "H", "W"), dtype="f64", classes=3, **options)
    weights = {
        name: weight_by_rule(name, array.shape)
        for name, array in model.state_dict().items()
        if name != KEY
    }
    models.load_torch_weights(model, weights)
    inputs = {value.name for value in model.graph.inputs}
    feeds = {name: array for name, array in model.state_dict().items() if name in inputs}
    image = np.cos(np.arange(3 * 33 * 40)).reshape(1, 3, 33, 40)
    y = evaluate(model.graph, {"image": image, **feeds}).outputs["output"]
    np.testing.assert_allclose(y[0], logits, rtol=1e-8, atol=1e-9)


# ---- loading -------------------------------------------------------------------------------------


def state_of_torch(seed: int = 1) -> dict[str, Array]:
    """What torch.nn.Module.state_dict would give for a small VGG-like network, as arrays."""
    values = models.squeezenet.init(image=("N", 3, 32, 32), classes=3, seed=seed).state_dict()
    del values[KEY]
    return values


def test_loading_from_a_dict_and_from_a_file(tmp_path: Path) -> None:
    given = state_of_torch()
    file = tmp_path / "squeezenet.safetensors"
    save_file(given, file)
    for weights in (given, file, str(file)):
        model = models.squeezenet.init(image=("N", 3, 32, 32), classes=3)
        key = model.state_dict()[KEY]
        models.load_torch_weights(model, weights)
        loaded = model.state_dict()
        assert loaded.keys() == {*given, KEY}
        np.testing.assert_array_equal(loaded[KEY], key)
        for name, array in given.items():
            np.testing.assert_array_equal(loaded[name], array)


def batch_norm_weights(classes: int = 10) -> dict[str, Array]:
    """Weights of resnet20 with the counters that PyTorch's batch normalisation keeps."""
    values = models.resnet20.init(image=("N", 3, 32, 32), classes=classes, seed=5).state_dict()
    norms = [name.rpartition(".")[0] for name in values if name.endswith("running_mean")]
    counters = {f"{name}.num_batches_tracked": np.array(7) for name in norms}
    return {**values, **counters}


def test_counted_batches_are_passed_over_and_halves_are_widened() -> None:
    given = {
        name: array if array.ndim == 0 else array.astype(np.float16)
        for name, array in batch_norm_weights().items()
    }
    model = models.resnet20.init(image=("N", 3, 32, 32))
    models.load_torch_weights(model, given)
    loaded = model.state_dict()
    assert all(array.dtype == np.float32 for array in loaded.values())
    for name, array in loaded.items():
        np.testing.assert_array_equal(array, given[name].astype(np.float32))


def test_renaming() -> None:
    given = {f"module.{name}": array for name, array in batch_norm_weights().items()}
    model = models.resnet20.init(image=("N", 3, 32, 32))
    models.load_torch_weights(model, given, rename=lambda name: name.removeprefix("module."))
    np.testing.assert_array_equal(model.state_dict()["fc.weight"], given["module.fc.weight"])


def refuse(
    given: dict[str, Array], kind: type[Exception], message: str, rename: bool = False
) -> None:
    model = models.resnet20.init(image=("N", 3, 32, 32))
    before = model.state_dict()
    with pytest.raises(kind, match=message):
        models.load_torch_weights(model, given, (lambda name: "fc.bias") if rename else None)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_missing_weights() -> None:
    given = batch_norm_weights()
    del given["fc.weight"], given["bn1.running_var"]
    refuse(given, GraphError, r"of resnet20: 2 of 97 are missing \(bn1.running_var, fc.weight\)")


def test_unexpected_weights() -> None:
    given = {**batch_norm_weights(), "fc2.weight": np.zeros(1)}
    refuse(given, GraphError, r"of resnet20: 1 are unexpected \(fc2.weight\)")


def test_weights_of_another_network() -> None:
    message = r"97 of 97 are missing \(.*, and 91 more\), 52 are unexpected \(.*, and 46 more\)"
    refuse(state_of_torch(), GraphError, message)


def test_weights_with_another_shape() -> None:
    message = r"2 weights of resnet20 have another shape: fc.weight is \[10, 64\], given \[3, 64\]"
    refuse(batch_norm_weights(classes=3), ShapeError, message)


def test_weights_of_another_kind() -> None:
    given = {**batch_norm_weights(), "fc.bias": np.zeros(10, np.int64)}
    refuse(given, TypeMismatch, "fc.bias is float32, got int64")


def test_two_weights_that_get_one_name() -> None:
    refuse(batch_norm_weights(), GraphError, "two of the weights are called fc.bias", rename=True)


def test_files_that_are_none(tmp_path: Path) -> None:
    model = models.resnet20.init(image=("N", 3, 32, 32))
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        models.load_torch_weights(model, tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")
    with pytest.raises(DataError, match="not a safetensors file"):
        models.load_torch_weights(model, broken)


def upper_halves(array: Array) -> bytes:
    """Float32 as bfloat16, cut off: what is left of 1 + 2**-7 is all of it."""
    return (array.view(np.uint32) >> np.uint32(16)).astype("<u2").tobytes()


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    model = models.lenet5.init(image=("N", 1, 28, 28))
    rng = np.random.default_rng(0)
    # 8 bits of mantissa: numbers that bfloat16 holds, so that nothing is rounded.
    wanted = {
        name: np.ldexp(rng.integers(-128, 129, array.shape), -7).astype(np.float32)
        for name, array in model.state_dict().items()
    }
    entries, end = {}, 0
    for name, array in wanted.items():
        start, end = end, end + 2 * array.size
        entries[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [start, end]}
    header = json.dumps(entries).encode()
    file = tmp_path / "halves.safetensors"
    data = b"".join(map(upper_halves, wanted.values()))
    file.write_bytes(len(header).to_bytes(8, "little") + header + data)
    models.load_torch_weights(model, file)
    for name, array in model.state_dict().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, wanted[name], err_msg=name)


def test_arrays_of_bfloat16_are_taken() -> None:
    model = models.lenet5.init(image=("N", 1, 28, 28))
    halves = {n: a.astype(ml_dtypes.bfloat16) for n, a in model.state_dict().items()}
    wanted = {name: array.astype(np.float32) for name, array in halves.items()}
    for load in (model.load_state_dict, lambda given: models.load_torch_weights(model, given)):
        load(halves)
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, wanted[name], err_msg=name)


def test_types_that_numpy_lacks_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    file = tmp_path / "eighths.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(CauceError, match="as F8_E4M3"):
        models.load_torch_weights(models.lenet5.init(image=("N", 1, 28, 28)), file)


class Unconvertible:
    """As a tensor of PyTorch in bfloat16, or one that has a gradient."""

    __module__ = "torch"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, *_: object, **__: object) -> Array:
        raise self.error


@pytest.mark.parametrize("error", [TypeError("Got unsupported ScalarType"), RuntimeError("grad")])
def test_tensors_that_do_not_become_arrays(error: Exception) -> None:
    model = models.lenet5.init(image=("N", 1, 28, 28))
    name, *_ = model.state_dict()
    weights = {**model.state_dict(), name: Unconvertible(error)}
    for load in (model.load_state_dict, lambda given: models.load_torch_weights(model, given)):
        with pytest.raises(TypeMismatch, match=f"{name} cannot be made an array") as caught:
            load(weights)
        assert "tensor.detach().float().cpu()" in str(caught.value.fix)
