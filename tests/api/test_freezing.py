"""What is frozen stays as it is in training, batch norms with their statistics too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Array, parse
from cauce.ir.errors import GraphError, ShapeError
from cauce.passes.inference import hold_statistics
from cauce.training import Checkpoints, Dataset

BACKENDS = ("numpy", "llvm")
EPS = 1e-5


@cauce.network
def net(x, affine=True, momentum=0.1):
    y = nn.conv2d(x, 3, 1, bias=False, name="conv")
    y = nn.batch_norm(y, affine=affine, momentum=momentum, name="bn")
    return nn.linear(nn.global_avg_pool(y * y), 2, bias=False, name="head")


def make(dtype: str = "f64", **options: Any) -> cauce.Model:
    """A model whose running statistics are far from those of the batches below."""
    model = net.init(x=("N", 2, "H", "W"), dtype=dtype, seed=1, **options)
    values = model.state_dict()
    values["bn.running_mean"][:] = [0.5, -0.25, 1.0]
    values["bn.running_var"][:] = [2.0, 0.5, 1.5]
    if "bn.weight" in values:
        values["bn.weight"][:] = [1.5, 0.75, -1.0]
        values["bn.bias"][:] = [0.25, -0.5, 0.125]
    model.load_state_dict(values)
    return model


def batch(n: int = 5, size: int = 3, dtype: str = "f64") -> tuple[Array, Array]:
    rng = np.random.default_rng(n)
    numpy = {"f64": np.float64, "f32": np.float32}[dtype]
    return rng.standard_normal((n, 2, size, size)).astype(numpy), np.arange(n) % 2


def by_hand(values: dict[str, Array], x: Array, labels: Array) -> float:
    """Loss of the network with its batch norm in inference form, by the formulas, in float64."""
    y = np.einsum("nchw,oc->nohw", x, values["conv.weight"][:, :, 0, 0])
    mean, variance = values["bn.running_mean"], values["bn.running_var"]
    scale = values.get("bn.weight", np.ones(3)) / np.sqrt(variance + EPS)
    shift = values.get("bn.bias", np.zeros(3)) - mean * scale
    y = y * scale[:, None, None] + shift[:, None, None]
    logits = (y * y).mean((2, 3)) @ values["head.weight"].T
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean())


def slope_by_hand(values: dict[str, Array], name: str, x: Array, labels: Array) -> Array:
    """The gradient of the loss by one parameter: central differences."""
    slope, step = np.zeros_like(values[name]), 1e-6
    for place in np.ndindex(slope.shape):
        ends = []
        for sign in (1, -1):
            moved = values[name].copy()
            moved[place] += sign * step
            ends.append(by_hand({**values, name: moved}, x, labels))
        slope[place] = (ends[0] - ends[1]) / (2 * step)
    return slope


def step_of(model: cauce.Model, backend: str, **options: Any) -> Any:
    return cauce.train_step(model, "cross_entropy", cauce.SGD(1.0), backend=backend, **options)


# Patterns, and what is then trained; no running statistic is.
FREEZES = [
    (("bn.*",), {"conv.weight", "head.weight"}),
    (("conv.*", "bn.*"), {"head.weight"}),
    (("*.running_*",), {"conv.weight", "bn.weight", "bn.bias", "head.weight"}),
    (("bn.weight", "bn.running_*"), {"conv.weight", "bn.bias", "head.weight"}),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("patterns", "trained"), FREEZES)
def test_a_frozen_batch_norm_trains_as_it_infers(
    patterns: tuple[str, ...], trained: set[str], backend: str
) -> None:
    model, (x, labels) = make(), batch()
    before = model.state_dict()
    model.freeze(*patterns)
    step = step_of(model, backend)
    state = step(step.init(), (x, labels))
    assert state.loss == pytest.approx(by_hand(before, x, labels), rel=1e-12)
    after = state.read()
    assert after.keys() == trained
    for name in trained:  # with a rate of 1, SGD has taken the gradient away
        slope = slope_by_hand(before, name, x, labels)
        np.testing.assert_allclose(before[name] - after[name], slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_predicate_holds_batch_norms_too(backend: str) -> None:
    model, (x, labels) = make(), batch()
    step = step_of(model, backend, trainable=lambda name: name.startswith("head"))
    state = step(step.init(), (x, labels))
    assert state.loss == pytest.approx(by_hand(model.state_dict(), x, labels), rel=1e-12)
    assert state.read().keys() == {"head.weight"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_statistics_that_move_while_parameters_stay(backend: str) -> None:
    """PyTorch's requires_grad=False: momentum 0.1, the variance in its unbiased form."""
    model, (x, labels) = make(), batch()
    before = model.state_dict()
    model.freeze("conv.*", "bn.*")
    model.unfreeze("*.running_*")
    assert model.frozen == {"conv.weight", "bn.weight", "bn.bias"}
    step = step_of(model, backend)
    after = step(step.init(), (x, labels)).read()
    assert after.keys() == {"head.weight", "bn.running_mean", "bn.running_var"}
    y = np.einsum("nchw,oc->nohw", x, before["conv.weight"][:, :, 0, 0])
    mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), ddof=1)
    for name, seen in (("bn.running_mean", mean), ("bn.running_var", variance)):
        np.testing.assert_allclose(after[name], 0.9 * before[name] + 0.1 * seen, rtol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_norm_without_parameters_is_frozen_by_its_name(backend: str) -> None:
    model, (x, labels) = make(affine=False), batch()
    before = model.state_dict()
    model.freeze("bn.*")
    assert model.frozen == {"bn.running_mean", "bn.running_var"}
    step = step_of(model, backend)
    state = step(step.init(), (x, labels))
    assert state.loss == pytest.approx(by_hand(before, x, labels), rel=1e-12)
    assert state.read().keys() == {"conv.weight", "head.weight"}


@pytest.mark.parametrize("patterns", [("bn.*",), ("*.running_*",)])
def test_the_number_of_batches_stays_with_the_statistics(patterns: tuple[str, ...]) -> None:
    model, (x, labels) = make(momentum=None), batch()
    counter = "bn.num_batches_tracked"
    assert counter in step_of(model, "numpy").init().read()
    model.freeze(*patterns)
    step = step_of(model, "numpy")
    assert not {name for name in step(step.init(), (x, labels)).read() if "_" in name}
    model.unfreeze("*")
    step = step_of(model, "numpy")
    assert step(step.init(), (x, labels)).read()[counter] == 1


def test_a_counter_that_another_batch_norm_reads_goes_on() -> None:
    @cauce.network
    def two(x):
        return nn.batch_norm(nn.batch_norm(x, momentum=None), momentum=None)

    text = two.graph(x=("N", 2, 3, 3), training=True).to_text(locations=False)
    own = [line for line in text.splitlines() if "@bn2.num_batches_tracked" in line]
    for line in own:
        if ": i64[] state" in line or line.strip().startswith("update"):
            text = text.replace(f"{line}\n", "")
    shared = text.replace("@bn2.num_batches_tracked", "@bn1.num_batches_tracked")
    held = {"bn1.running_mean", "bn1.running_var"}
    for names, left in ((held, 3), (held | {n.replace("1", "2") for n in held}, 0)):
        graph = parse(shared)
        hold_statistics(graph, names)
        assert len(graph.updates) == left
        assert ("bn1.num_batches_tracked" in {v.name for v in graph.updates}) == (left == 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_value_for_each_channel_is_enough_for_a_frozen_batch_norm(backend: str) -> None:
    model, (x, labels) = make(), batch(n=1, size=1)
    step = step_of(model, backend)
    with pytest.raises(ShapeError, match="one value for each channel"):
        step(step.init(), (x, labels))
    model.freeze("*.running_*")
    step = step_of(model, backend)
    loss = step(step.init(), (x, labels)).loss
    assert loss == pytest.approx(by_hand(model.state_dict(), x, labels), rel=1e-12)


@pytest.mark.parametrize("name", ["bn.running_mean", "bn.running_var"])
def test_one_statistic_without_the_other(name: str) -> None:
    model = make()
    model.freeze(name)
    other = {"bn.running_mean", "bn.running_var"} - {name}
    with pytest.raises(GraphError, match=f"{other.pop()} moves, the other is frozen") as caught:
        step_of(model, "numpy")
    remedy = str(caught.value.fix).rpartition(": ")[2]
    exec(remedy, {"model": model})
    step_of(model, "numpy")


def test_names_are_those_of_parameters_and_statistics() -> None:
    @cauce.network
    def drops(x):
        return nn.linear(nn.dropout(nn.batch_norm(nn.flatten(x))), 2)

    model = drops.init(x=("N", 2, 3, 3))
    model.freeze("*")
    assert model.frozen == model.values.keys() - {"random.key"}
    with pytest.raises(GraphError, match=r"statistic of drops is called 'random.key'"):
        model.freeze("random.key")
    model.unfreeze("*")
    assert model.frozen == set()
    asked: list[str] = []
    step_of(model, "numpy", trainable=lambda name: not asked.append(name))
    assert set(asked) == model.values.keys() - {"random.key"}


# ---- from call to call -------------------------------------------------------------------------


def data(count: int = 24) -> Dataset:
    images, labels = batch(count, 4, "f32")
    return Dataset(images + 3 * labels[:, None, None, None].astype(np.float32), labels, ("a", "b"))


def trainer_of(model: cauce.Model) -> cauce.Trainer:
    return cauce.Trainer(model, optimizer=cauce.SGD(0.05, momentum=0.9), backend="numpy")


def moved(model: cauce.Model, before: dict[str, Array]) -> set[str]:
    return {n for n, array in model.values.items() if not np.array_equal(array, before[n])}


def test_a_trainer_takes_what_is_frozen_when_fit_begins() -> None:
    model = make("f32")
    trainer = trainer_of(model)
    before = model.state_dict()
    model.freeze("bn.*")
    trainer.fit(data(), 1, batch_size=8, progress=False)
    assert moved(model, before) == {"conv.weight", "head.weight"}
    model.unfreeze("bn.running_*")
    before = model.state_dict()
    trainer.fit(data(), 1, batch_size=8, progress=False)
    assert moved(model, before) == {
        "conv.weight",
        "head.weight",
        "bn.running_mean",
        "bn.running_var",
    }


def test_slots_go_on_where_only_statistics_are_frozen() -> None:
    trainer = trainer_of(make("f32"))
    trainer.fit(data(), 1, batch_size=8, progress=False)
    earlier = trainer._state.read()
    trainer.model.freeze("*.running_*")
    again = trainer.step.current().init(after=trainer._state).read()
    assert "bn.running_mean" not in again
    for name in ("conv.weight.velocity", "bn.bias.velocity"):
        np.testing.assert_array_equal(again[name], earlier[name])
    trainer.model.freeze("conv.*")
    again = trainer.step.current().init(after=trainer._state).read()
    assert not again["bn.bias.velocity"].any()


def test_files_keep_what_is_frozen(tmp_path: Path) -> None:
    model = make("f32")
    model.freeze("bn.*")
    model.save(tmp_path / "net.safetensors")
    back = cauce.load(tmp_path / "net.safetensors")
    assert back.frozen == model.frozen >= {"bn.running_mean", "bn.running_var"}
    assert step_of(back, "numpy").init().read().keys() == {"conv.weight", "head.weight"}


def test_a_resumed_run_has_the_statistics_that_were_frozen(tmp_path: Path) -> None:
    options: dict[str, Any] = {"batch_size": 8, "progress": False}
    model = make("f32")
    model.freeze("bn.*")
    trainer_of(model).fit(data(), 2, **options)

    first = make("f32")
    first.freeze("bn.*")
    kept = Checkpoints(tmp_path / "run")
    trainer_of(first).fit(data(), 1, checkpoints=kept, **options)

    other = net.init(x=("N", 2, "H", "W"), seed=9)  # its statistics are 0 and 1
    other.freeze("bn.*")
    trainer = trainer_of(other)
    trainer.resume(kept)
    trainer.fit(data(), 2, **options)
    for name, array in model.values.items():
        np.testing.assert_array_equal(other.values[name], array, err_msg=name)
