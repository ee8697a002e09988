"""Weights of a network that has become part of another one: names, and loading by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import cauce
from cauce import models, nn
from cauce.frontends.network import Network
from cauce.ir.errors import AttributeMistake, GraphError, ShapeError, TypeMismatch

from ..stand_ins import TorchTensor

KEY = "random.key"
HEAD = {"fc.weight", "fc.bias"}


def wrapped(part: Network, name: str | None = "backbone", **options: Any) -> Network:
    """A network that takes bytes and has another one inside, and a layer of its own."""

    @cauce.network
    def from_bytes(image, classes=10):
        x = nn.conv2d(nn.normalize(image, 0.5, 0.25), 3, 1, name="conv1")
        return part(x, classes=classes, name=name, **options)

    return from_bytes


def init(network: Network, **options: Any) -> cauce.Model:
    return network.init(image=("N", 3, 32, 32), dtype="u8", **options)


def torch_weights(network: Network = models.resnet20, seed: int = 7, **options: Any) -> Any:
    """What a torch module gives: arrays by its own names, with the counters of batch norms."""
    values = network.init(image=("N", 3, 32, 32), seed=seed, **options).state_dict()
    norms = [name.rpartition(".")[0] for name in values if name.endswith("running_mean")]
    rng = np.random.default_rng(seed)
    for norm in norms:  # statistics other than the first ones of every model
        values[f"{norm}.running_mean"][:] = rng.standard_normal(values[f"{norm}.weight"].shape)
        values[f"{norm}.num_batches_tracked"] = np.array(7)
    values.pop(KEY, None)
    return values


# ---- names -------------------------------------------------------------------------------------


def test_a_name_stands_before_the_names_of_the_layers() -> None:
    alone = models.resnet18.graph(image=("N", 3, 32, 32))
    graph = wrapped(models.resnet18).graph(image=("N", 3, 32, 32), dtype="u8", classes=1000)
    inner = {value.name for value in graph.inputs if value.name.startswith("backbone.")}
    assert inner == {f"backbone.{v.name}" for v in alone.inputs if v.name != "image"}
    assert {value.name for value in graph.inputs} - inner == {
        "image",
        "conv1.weight",
        "conv1.bias",
    }


def test_numbers_are_kept_apart_from_names_that_end_in_one() -> None:
    @cauce.network
    def conv3(x):
        return nn.conv2d(x, 3, 3)

    @nn.block
    def stage2(x):
        return nn.conv2d(x, 3, 1)

    @cauce.network
    def net(image):
        return stage2(stage2(conv3(conv3(image))))

    names = [v.name for v in net.graph(image=("N", 3, 8, 8)).inputs if v.name.endswith("weight")]
    assert names == [
        "conv3_1.conv1.weight",
        "conv3_2.conv1.weight",
        "stage2_1.conv1.weight",
        "stage2_2.conv1.weight",
    ]


def test_names_below_scopes_and_of_several_parts() -> None:
    @cauce.network
    def linear(x):
        return nn.linear(x, 2)

    @cauce.network
    def net(x):
        with nn.scope("encoder"):
            x = linear(x, name="left.first")
        return linear(linear(x, name="right"))

    names = [v.name for v in net.graph(x=("N", 4)).inputs if v.name.endswith("weight")]
    assert names == [
        "encoder.left.first.linear1.weight",
        "right.linear1.weight",
        "linear1.linear1.weight",
    ]


def test_names_that_cannot_be() -> None:
    with pytest.raises(GraphError, match="two layers called 'conv1'"):
        init(wrapped(models.resnet20, "conv1"))
    with pytest.raises(AttributeMistake, match="the name of a layer is text"):
        init(wrapped(models.resnet20, 3))  # type: ignore[arg-type]
    with pytest.raises(AttributeMistake, match="the name 'name' is an argument"):

        @cauce.network
        def net(x, name="a"):
            return x


# ---- loading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["backbone", "backbone."])
@pytest.mark.parametrize("kind", ["file", "arrays", "tensors"])
def test_weights_of_a_part(kind: str, prefix: str, tmp_path: Path) -> None:
    given = torch_weights()
    weights: Any = given
    if kind == "file":
        weights = tmp_path / "resnet20.safetensors"
        save_file(given, weights)
    elif kind == "tensors":
        weights = {name: TorchTensor(array) for name, array in given.items()}
    model = init(wrapped(models.resnet20))
    before = model.state_dict()
    models.load_torch_weights(model, weights, prefix=prefix)
    after = model.state_dict()
    loaded = {f"backbone.{name}" for name in given if not name.endswith("batches_tracked")}
    assert loaded == after.keys() - {"conv1.weight", "conv1.bias"}
    for name, array in after.items():
        wanted = given[name.removeprefix("backbone.")] if name in loaded else before[name]
        np.testing.assert_array_equal(array, wanted, err_msg=name)


def test_the_part_computes_as_it_did_alone() -> None:
    @cauce.network
    def twice(image):
        return models.resnet20(image, name="first") - models.resnet20(image, name="second")

    given = {seed: torch_weights(seed=seed) for seed in (1, 2)}
    model = twice.init(image=("N", 3, 16, 16))
    models.load_torch_weights(model, given[1], prefix="first")
    models.load_torch_weights(model, given[2], prefix="second")
    alone = models.resnet20.init(image=("N", 3, 16, 16))
    image = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    parts = []
    for seed in (1, 2):
        models.load_torch_weights(alone, given[seed])
        parts.append(cauce.compile(alone, "numpy")(image))
    y = cauce.compile(model, "numpy")(image)
    np.testing.assert_allclose(y, parts[0] - parts[1], rtol=1e-4, atol=1e-4)


def test_a_prefix_and_new_names_together() -> None:
    given = {f"module.{name}": array for name, array in torch_weights().items()}
    model = init(wrapped(models.resnet20))
    models.load_torch_weights(
        model, given, rename=lambda name: name.removeprefix("module."), prefix="backbone"
    )
    np.testing.assert_array_equal(model.values["backbone.fc.weight"], given["module.fc.weight"])


def test_the_random_key_of_another_model_is_passed_over() -> None:
    options = {"image": ("N", 3, 32, 32), "classes": 3}
    other = models.squeezenet.init(seed=4, **options)
    assert KEY in other.values
    model = models.squeezenet.init(**options)
    models.load_torch_weights(model, other.state_dict())
    for name in model.values.keys() - {KEY}:
        np.testing.assert_array_equal(model.values[name], other.values[name])


# ---- what is said where names differ -----------------------------------------------------------


def refused(model: cauce.Model, weights: Any, kind: type[Exception], **options: Any) -> Any:
    before = model.state_dict()
    with pytest.raises(kind) as caught:
        models.load_torch_weights(model, weights, **options)
    for name, array in model.values.items():
        np.testing.assert_array_equal(array, before[name])
    return caught.value


def test_the_remedy_is_the_prefix_that_works() -> None:
    model = init(wrapped(models.resnet20, None))
    error = refused(model, torch_weights(), GraphError)
    assert error.fix == "these are the weights of a part of it: pass prefix='resnet20_1'"
    models.load_torch_weights(model, torch_weights(), prefix="resnet20_1")


def test_the_remedy_is_the_renaming_that_works() -> None:
    model = models.resnet20.init(image=("N", 3, 32, 32))
    given = {f"module.{name}": array for name, array in torch_weights().items()}
    error = refused(model, given, GraphError)
    assert error.fix == "pass rename=lambda name: name.removeprefix('module.')"
    models.load_torch_weights(model, given, rename=eval(error.fix.removeprefix("pass rename=")))


def test_weights_of_another_network_get_no_prefix() -> None:
    given = torch_weights(models.resnet32)
    error = refused(init(wrapped(models.resnet20)), given, GraphError)
    assert "architecture" in error.fix
    error = refused(init(wrapped(models.resnet20)), given, GraphError, prefix="backbone")
    assert "unexpected" in str(error) and "architecture" in error.fix
    error = refused(init(wrapped(models.resnet20)), {}, GraphError)
    assert "99 of 99 are missing" in str(error)


def test_a_prefix_that_no_name_has() -> None:
    error = refused(init(wrapped(models.resnet20)), torch_weights(), GraphError, prefix="back")
    assert "from_bytes has no weights whose names begin with 'back.'" in str(error)
    assert error.fix == "its names begin with conv1, backbone"
    refused(init(wrapped(models.resnet20)), torch_weights(), TypeMismatch, prefix=3)


def test_a_head_for_other_classes_is_replaced_after_loading() -> None:
    given = torch_weights(classes=100)
    error = refused(init(wrapped(models.resnet20)), given, ShapeError, prefix="backbone")
    assert "classes=1000; replace_head makes a head" in error.fix
    model = init(wrapped(models.resnet20), classes=100)
    models.load_torch_weights(model, given, prefix="backbone")
    head = model.replace_head(3)
    assert head.values["backbone.fc.weight"].shape == (3, 64)
    for name in given.keys() & {n.removeprefix("backbone.") for n in head.values} - HEAD:
        np.testing.assert_array_equal(head.values[f"backbone.{name}"], given[name])
