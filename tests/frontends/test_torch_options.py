"""Options that PyTorch documents: its formulas, written out in NumPy with float64, for values,
finite differences for gradients, in every backend and in the export."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.onnx.exporter import export
from cauce.ir import Array, TensorType
from cauce.ir.errors import AttributeMistake, CauceError, ShapeError, TypeMismatch

BACKENDS = ("numpy", "llvm")
REDUCTIONS = ("mean", "sum", "none")


def holds(function: Callable[..., Any], wanted: Array, *arrays: Array, names: str = "") -> None:
    """Hold a function of tensors against numbers, and the gradient of a weighted sum of its
    squares by the first array against finite differences; sizes of the batch are symbols."""
    weights = np.random.default_rng(5).standard_normal(np.shape(wanted)[1:])
    types = {
        f"x{i}": TensorType.make(a.dtype, ("N", *a.shape[1:]) if a.ndim else ())
        for i, a in enumerate(arrays)
    }

    @cauce.network
    def net(x0, x1=None, x2=None):
        given = [x for x in (x0, x1, x2) if x is not None]
        result = function(*given)
        return result, *cauce.gradients((result * result * weights).sum(), [x0])

    @cauce.network
    def two(x0, x1):
        result = function(x0, x1)
        return result, *cauce.gradients((result * result * weights).sum(), [x0])

    graph = (two if len(arrays) == 2 else net).graph(**types)
    feeds = dict(zip(types, arrays))

    def at(x: Array) -> float:
        compiled = executables["numpy"]
        return float((compiled.run({**feeds, "x0": x})["output0"] ** 2 * weights).sum())

    executables = {backend: cauce.compile(graph, backend) for backend in BACKENDS}
    slope = np.zeros_like(arrays[0])
    for place in np.ndindex(slope.shape):
        step = np.zeros_like(slope)
        step[place] = 1e-5
        slope[place] = (at(arrays[0] + step) - at(arrays[0] - step)) / 2e-5
    for executable in executables.values():
        found = executable.run(feeds)
        np.testing.assert_allclose(found["output0"], wanted, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found["output1"], slope, rtol=1e-5, atol=1e-7)
    onnx_models = pytest.importorskip("tests.backends.onnx_models")
    found = onnx_models.run_f64(export(graph), feeds)
    np.testing.assert_allclose(found["output0"], wanted, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found["output1"], slope, rtol=1e-4, atol=1e-6)


# ---- cross entropy -----------------------------------------------------------------------------


def softmax_logs(logits: Array) -> Array:
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def torch_cross_entropy(
    logits: Array,
    target: Array,
    reduction: str,
    smoothing: float,
    weight: Array | None,
    ignore: int | None,
) -> Array:
    """CrossEntropyLoss as documented, sample by sample."""
    w = np.ones(logits.shape[1]) if weight is None else weight
    logs = np.moveaxis(softmax_logs(logits), 1, -1)
    classes = logits.shape[1]
    indices = target.dtype.kind != "f"
    rows = target if indices else np.moveaxis(target, 1, -1)
    places = list(np.ndindex(logs.shape[:-1]))
    losses, shares = np.zeros(logs.shape[:-1]), np.zeros(logs.shape[:-1])
    for place in places:
        if indices and rows[place] == ignore:
            continue
        t = np.eye(classes)[rows[place]] if indices else rows[place]
        t = (1 - smoothing) * t + smoothing / classes
        losses[place] = -(w * t * logs[place]).sum()
        shares[place] = w[rows[place]] if indices else 1.0
    if reduction == "none":
        return losses
    return losses.sum() / shares.sum() if reduction == "mean" else losses.sum()


WEIGHT = np.array([0.5, 2.0, 1.25])


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 3)], ids=str)
@pytest.mark.parametrize(
    ("reduction", "smoothing", "weighted", "ignore"),
    [
        case
        for case in product(REDUCTIONS, (0.0, 0.3), (False, True), (None, -100, 1))
        if case[2] or case[3] is not None
    ],
)
def test_cross_entropy_of_classes(
    shape: tuple[int, ...], reduction: str, smoothing: float, weighted: bool, ignore: int | None
) -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal(shape)
    target = rng.integers(0, 3, (shape[0], *shape[2:]))
    target.flat[0], target.flat[-1] = 1, 0
    if ignore is not None:
        target.flat[1] = ignore
    weight = WEIGHT if weighted else None
    holds(
        lambda x, t: nn.cross_entropy(
            x, t, reduction, smoothing, weight=weight, ignore_index=ignore
        ),
        torch_cross_entropy(logits, target, reduction, smoothing, weight, ignore),
        logits,
        target,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_of_probabilities_with_weights(reduction: str, smoothing: float) -> None:
    rng = np.random.default_rng(2)
    logits, target = rng.standard_normal((3, 3, 2)), rng.dirichlet((1, 1, 1), (3, 2))
    target = np.ascontiguousarray(np.moveaxis(target, -1, 1))
    holds(
        lambda x, t: nn.cross_entropy(x, t, reduction, smoothing, weight=list(WEIGHT)),
        torch_cross_entropy(logits, target, reduction, smoothing, WEIGHT, None),
        logits,
        target,
    )


def test_weights_by_hand() -> None:
    """p is (1/4, 3/4): losses 1 * ln 4 and 3 * ln(4/3), divided by the weights 1 + 3."""
    logits = np.array([[0.0, math.log(3)]] * 3)
    target = np.array([0, 1, -100])
    wanted = (math.log(4) + 3 * math.log(4 / 3)) / 4
    holds(
        lambda x, t: nn.cross_entropy(x, t, weight=[1, 3], ignore_index=-100),
        np.asarray(wanted),
        logits,
        target,
    )


def loss_of(function: Any, *arrays: Array, backend: str = "numpy") -> Any:
    @cauce.network
    def net(x, t):
        return function(x, t)

    types = [TensorType.make(a.dtype, ("N", *a.shape[1:])) for a in arrays]
    return cauce.compile(net.graph(x=types[0], t=types[1]), backend)(*arrays)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_sample_that_counts_has_no_mean(backend: str) -> None:
    logits, target = np.zeros((2, 3)), np.array([7, 7])
    for reduction, wanted in (("mean", np.nan), ("sum", 0.0), ("none", [0.0, 0.0])):
        found = loss_of(
            lambda x, t, r=reduction: nn.cross_entropy(x, t, r, ignore_index=7),
            logits,
            target,
            backend=backend,
        )
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_small_unsigned_labels_and_a_label_that_they_cannot_have(backend: str) -> None:
    logits, target = np.random.default_rng(0).standard_normal((3, 3)), np.array([0, 255, 2])
    for dtype, ignore in ((np.uint8, 255), (np.uint8, -100), (np.int8, -1)):
        own = target if ignore == 255 else np.array([0, 1, 2])
        if dtype is np.int8:
            own = np.array([0, -1, 2])
        found = loss_of(
            lambda x, t, i=ignore: nn.cross_entropy(x, t, ignore_index=i),
            logits,
            own.astype(dtype),
            backend=backend,
        )
        wanted = torch_cross_entropy(logits, own, "mean", 0.0, None, ignore)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_labels_that_are_not_ignored_are_still_checked() -> None:
    logits, target = np.zeros((2, 3)), np.array([-100, 3])
    with pytest.raises(ShapeError, match=r"3 is out of range for (size )?3"):
        loss_of(lambda x, t: nn.cross_entropy(x, t, ignore_index=-100), logits, target)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"weight": [1.0, 2.0]}, ShapeError, r"weight has shape \[2\].* 3 classes"),
        ({"weight": 2.0}, ShapeError, r"weight has shape \[\].* 3 classes"),
        ({"weight": "balanced"}, TypeMismatch, "weight takes numbers, got 'balanced'"),
        ({"ignore_index": 0.5}, AttributeMistake, "ignore_index must be an int, got 0.5"),
        ({"ignore_index": 1, "reduction": "avg"}, AttributeMistake, "no reduction 'avg'"),
    ],
)
def test_options_that_cannot_be(options: Any, kind: type[CauceError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        loss_of(lambda x, t: nn.cross_entropy(x, t, **options), np.zeros((2, 3)), np.array([0, 1]))
    assert caught.value.loc is not None


def test_probabilities_have_no_class_to_ignore() -> None:
    with pytest.raises(AttributeMistake, match="ignore_index is a class index"):
        loss_of(
            lambda x, t: nn.cross_entropy(x, t, ignore_index=1), np.zeros((2, 3)), np.ones((2, 3))
        )


def test_a_trainer_takes_a_weighted_loss() -> None:
    @cauce.network
    def net(x):
        return nn.linear(x, 3)

    def weighted(output: Any, target: Any) -> Any:
        return nn.cross_entropy(output, target, weight=[1, 2, 3], ignore_index=-1)

    model = net.init(x=("N", 4))
    for backend in BACKENDS:
        step = cauce.train_step(model, weighted, cauce.SGD(0.5), backend=backend)
        state, x = step.init(), np.eye(4, dtype=np.float32)
        losses = [step(state, (x, np.array([0, 1, 2, -1]))).loss for _ in range(20)]
        assert losses[-1] < losses[0] / 2


# ---- binary cross entropy ----------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("pos_weight", [3.0, [0.5, 2.0, 4.0], np.array([[0.5, 2.0, 4.0]])], ids=str)
def test_pos_weight(reduction: str, pos_weight: Any) -> None:
    rng = np.random.default_rng(3)
    logits, target = rng.standard_normal((4, 3)) * 3, rng.uniform(0, 1, (4, 3))
    p = 1 / (1 + np.exp(-logits))
    losses = -(np.asarray(pos_weight) * target * np.log(p) + (1 - target) * np.log(1 - p))
    wanted = {"mean": losses.mean(), "sum": losses.sum(), "none": losses}[reduction]
    holds(
        lambda x, t: nn.binary_cross_entropy_with_logits(x, t, reduction, pos_weight=pos_weight),
        wanted,
        logits,
        target,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_pos_weight_is_stable(backend: str) -> None:
    """log sigmoid(-800) is -800, not log 0."""
    x, t = np.array([[-800.0, 800.0, 0.0]]), np.array([[1.0, 0.0, 1.0]])
    found = loss_of(
        lambda x, t: nn.binary_cross_entropy_with_logits(x, t, "none", pos_weight=2.0),
        x,
        t,
        backend=backend,
    )
    np.testing.assert_allclose(found, [[1600.0, 800.0, 2 * math.log(2)]], rtol=1e-12)


def test_pos_weight_that_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"\[2\] and \[N,3\] do not broadcast"):
        loss_of(
            lambda x, t: nn.binary_cross_entropy_with_logits(x, t, pos_weight=[1.0, 2.0]),
            np.zeros((2, 3)),
            np.zeros((2, 3)),
        )


# ---- pooling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "ceil", "divisor"),
    [
        (2, None, 0, False, 1),
        (3, 2, 1, False, 5),
        (3, 2, 1, True, 9),
        ((2, 3), (2, 2), (1, 1), True, -2),
        (3, 3, 0, True, 7),
    ],
)
def test_divisor_override(kernel: Any, stride: Any, padding: Any, ceil: bool, divisor: int) -> None:
    x = np.random.default_rng(4).standard_normal((2, 2, 7, 6))
    (kh, kw) = (kernel, kernel) if isinstance(kernel, int) else kernel
    (sh, sw) = (
        (kh, kw) if stride is None else (stride, stride) if isinstance(stride, int) else stride
    )
    (ph, pw) = (padding, padding) if isinstance(padding, int) else padding

    def count(size: int, k: int, s: int, p: int) -> int:
        number = math.ceil((size + 2 * p - k) / s) if ceil else (size + 2 * p - k) // s
        return number if ceil and number * s >= size + p else number + 1

    rows, columns = count(7, kh, sh, ph), count(6, kw, sw, pw)
    wide = np.pad(x, ((0, 0), (0, 0), (ph, ph + kh + sh), (pw, pw + kw + sw)))
    wanted = np.zeros((2, 2, rows, columns))
    for i, j in np.ndindex(rows, columns):
        window = wide[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
        wanted[:, :, i, j] = window.sum(axis=(2, 3)) / divisor
    for include in (True, False):
        holds(
            lambda t, c=include: nn.avg_pool2d(t, kernel, stride, padding, ceil, c, divisor),
            wanted,
            x,
        )


@pytest.mark.parametrize("divisor", [0, 1.5, True])
def test_divisors_that_cannot_be(divisor: Any) -> None:
    with pytest.raises(AttributeMistake, match="divisor_override"):
        loss_of(
            lambda x, t: nn.avg_pool2d(x, 2, divisor_override=divisor),
            np.zeros((1, 1, 4, 4)),
            np.zeros((1, 1)),
        )


@pytest.mark.parametrize("size", [(None, 2), (3, None), (None, None), None, (None, 1), (2, 3)])
@pytest.mark.parametrize("kind", ["mean", "max"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "symbolic"])
def test_adaptive_pools_that_keep_a_size(size: Any, kind: str, known: bool) -> None:
    x = np.random.default_rng(6).standard_normal((2, 3, 5, 7))
    rows, columns = (size, size) if size is None else size
    shape = (rows or 5, columns or 7)
    wanted = np.zeros((2, 3, *shape))
    for i, j in np.ndindex(shape):
        spans = [
            slice(place * full // k, -(-(place + 1) * full // k))
            for place, full, k in zip((i, j), (5, 7), shape)
        ]
        wanted[:, :, i, j] = getattr(x[:, :, spans[0], spans[1]], kind)(axis=(2, 3))
    pool = nn.adaptive_avg_pool2d if kind == "mean" else nn.adaptive_max_pool2d

    @cauce.network
    def net(image):
        return pool(image, size), *cauce.gradients((pool(image, size) ** 2).sum(), [image])

    kept = size is None or None in size
    sizes = (
        (5, 7) if known or not kept else ("H" if rows is None else 5, "W" if columns is None else 7)
    )
    graph = net.graph(image=TensorType.make("f64", ("N", 3, *sizes)))
    for backend in BACKENDS:
        y, dx = cauce.compile(graph, backend)(x)
        np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-15)
        # Along x itself the gradient of a sum of squares is twice it.
        assert (dx * x).sum() == pytest.approx(2 * (wanted**2).sum(), rel=1e-10)
    onnx_models = pytest.importorskip("tests.backends.onnx_models")
    found = onnx_models.run_f64(export(graph), {"image": x})
    np.testing.assert_allclose(found["output0"], wanted, rtol=1e-6, atol=1e-7)


# ---- transposed convolution --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "more", "known"),
    [
        (1, 0, 2, 1, True),
        (1, 0, 3, 2, False),
        (1, 2, 3, 2, True),
        (1, 1, 3, 2, False),
        (2, 1, 4, 3, True),
        (2, 3, 4, (3, 1), False),
        ((1, 2), (0, 1), (2, 3), (1, 2), True),
        (3, 1, 2, 2, False),
    ],
)
def test_output_padding_below_the_dilation(
    stride: Any, padding: Any, dilation: Any, more: Any, known: bool
) -> None:
    pairs = [(v, v) if isinstance(v, int) else v for v in (stride, padding, dilation, more)]
    (sh, sw), (ph, pw), (dh, dw), (oh, ow) = pairs
    rng = np.random.default_rng(7)
    x, weight, bias = (rng.standard_normal(shape) for shape in ((2, 3, 4, 3), (3, 2, 3, 2), (2,)))
    height = (4 - 1) * sh - 2 * ph + dh * (3 - 1) + oh + 1
    width = (3 - 1) * sw - 2 * pw + dw * (2 - 1) + ow + 1
    wide = np.zeros((2, 2, height + 2 * ph + 9, width + 2 * pw + 9))
    for i, j, r, s in np.ndindex(4, 3, 3, 2):
        part = np.einsum("nc,co->no", x[:, :, i, j], weight[:, :, r, s])
        wide[:, :, i * sh + r * dh, j * sw + s * dw] += part
    wanted = wide[:, :, ph : ph + height, pw : pw + width] + bias[:, None, None]

    @cauce.network
    def net(image):
        y = nn.conv_transpose2d(
            image, 2, (3, 2), stride=stride, padding=padding, output_padding=more,
            dilation=dilation, name="up",
        )  # fmt: skip
        return y, *cauce.gradients((y * y).sum(), [image])

    sizes = (4, 3) if known else ("H", "W")
    graph = net.graph(image=TensorType.make("f64", ("N", 3, *sizes)))
    values = {"up.weight": weight, "up.bias": bias}
    for backend in BACKENDS:
        executable = cauce.compile(graph, backend)
        executable.load_state_dict(values)
        y, dx = executable(x)
        np.testing.assert_allclose(y, wanted, rtol=1e-10, atol=1e-12)
        # The layer less its bias is linear: its transpose, of 2y, along x.
        along = 2 * (wanted * (wanted - bias[:, None, None])).sum()
        assert (dx * x).sum() == pytest.approx(along, rel=1e-9)
    onnx_models = pytest.importorskip("tests.backends.onnx_models")
    found = onnx_models.run_f64(export(graph, values), {"image": x})
    np.testing.assert_allclose(found["output0"], wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("stride", "dilation", "more"), [(2, 1, 2), (1, 2, 2), (2, 3, 3)])
def test_an_output_padding_of_both_is_refused(stride: int, dilation: int, more: int) -> None:
    with pytest.raises(ShapeError, match=rf"output_padding=\[{more}, {more}\] is not possible"):
        loss_of(
            lambda x, t: nn.conv_transpose2d(
                x, 2, 3, stride=stride, dilation=dilation, output_padding=more
            ),
            np.zeros((1, 1, 4, 4)),
            np.zeros((1, 1)),
        )


# ---- batch norm --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_norm_without_momentum_takes_the_mean_of_all_batches(backend: str) -> None:
    @cauce.network
    def net(x):
        return nn.linear(nn.batch_norm(x, momentum=None), 1)

    model = net.init(x=("N", 3))
    state_of = model.state_dict()
    assert state_of["bn1.num_batches_tracked"].shape == ()
    assert state_of["bn1.num_batches_tracked"].dtype == np.int64
    step = cauce.train_step(model, "mse_loss", cauce.SGD(0.0), backend=backend)
    state, rng = step.init(), np.random.default_rng(8)
    batches = [rng.standard_normal((n, 3)).astype(np.float32) + n for n in (4, 7, 5)]
    for number, x in enumerate(batches, 1):
        step(state, (x, np.zeros((len(x), 1), np.float32)))
        found = state.read()
        mean = np.mean([b.mean(axis=0, dtype=np.float64) for b in batches[:number]], axis=0)
        var = np.mean([b.var(axis=0, dtype=np.float64, ddof=1) for b in batches[:number]], axis=0)
        np.testing.assert_allclose(found["bn1.running_mean"], mean, rtol=1e-5)
        np.testing.assert_allclose(found["bn1.running_var"], var, rtol=1e-5)
        assert found["bn1.num_batches_tracked"] == number
    model.load_state_dict(found, strict=False)
    x = batches[0]
    normal = (x - mean) / np.sqrt(var + 1e-5)
    wanted = normal @ found["linear1.weight"].T + found["linear1.bias"]
    np.testing.assert_allclose(cauce.compile(model, backend)(x), wanted, rtol=1e-4, atol=1e-5)


def test_a_model_without_momentum_is_saved_and_takes_torchs_weights(tmp_path: Any) -> None:
    @cauce.network
    def net(x):
        return nn.linear(nn.batch_norm(x, momentum=None, name="bn"), 2, name="fc")

    model = net.init(x=("N", 3))
    given = {**model.state_dict(), "bn.num_batches_tracked": np.array(7)}
    cauce.models.load_torch_weights(model, given)
    model.save(tmp_path / "m.safetensors")
    again = cauce.load(tmp_path / "m.safetensors")
    assert again.state_dict()["bn.num_batches_tracked"] == 7
    assert again.training_graph.same_as(model.training_graph)
    assert "bn.num_batches_tracked" not in {value.name for value in again.graph.inputs}
