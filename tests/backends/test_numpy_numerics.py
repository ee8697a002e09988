"""What the NumPy backend's kernels promise beyond agreeing with the reference on small samples:
exact bits where they choose or draw, accuracy over long sums, and memory that stays channels-last.
"""

from __future__ import annotations

import numpy as np
import pytest

from cauce import SGD, models, train_step
from cauce.backends.numpy import KERNELS, program
from cauce.backends.numpy.elementwise import choose
from cauce.backends.numpy.memory import Memory
from cauce.backends.numpy.random import philox
from cauce.ir import Array, Op
from cauce.ir.ops.normalize import BatchNormTrain, BatchNormTrainBackward
from cauce.ir.ops.pool import MaxPool2d, MaxPool2dBackward
from cauce.ir.ops.random import RandomUniform
from cauce.ir.ops.reduce import Mean, Sum
from cauce.ir.ops.shape import GatherBackward

from ..ops.test_random import KNOWN_ANSWERS

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.5]


def run(op: Op, *operands: Array) -> Array:
    """The first result of a kernel."""
    results = KERNELS[type(op)](op, Memory(), *operands)
    return results[0] if isinstance(results, tuple) else results


def image(*shape: int, dtype: str = "float32") -> Array:
    """A normal image [N, C, H, W] that lies channels-last."""
    n, c, h, w = shape
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, h, w, c)).astype(dtype).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_choices_keep_every_bit(dtype: str) -> None:
    x, y = (m.ravel() for m in np.meshgrid(*2 * [np.array(SPECIAL, dtype)]))
    for condition in (np.arange(len(x)) % 2 == 0, np.asarray(True), np.asarray(False)):
        wanted = np.where(condition, x, y)
        bits = f"u{x.itemsize}"
        np.testing.assert_array_equal(
            choose(Memory(), condition, x, y).view(bits), wanted.view(bits)
        )
        for scalar in np.array(SPECIAL, dtype):
            scalar = np.asarray(scalar)
            for pair in ((x, scalar), (scalar, y), (scalar, scalar)):
                wanted = np.where(condition, *pair)
                np.testing.assert_array_equal(
                    choose(Memory(), condition, *pair).view(bits), wanted.view(bits)
                )


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "int64", "uint32"])
def test_choices_of_integers(dtype: str) -> None:
    x, y = np.arange(4).astype(dtype), np.arange(4)[::-1].astype(dtype)
    chosen = choose(Memory(), np.array([True, False, True, False]), x, y)
    assert chosen.dtype == x.dtype
    np.testing.assert_array_equal(chosen, np.array([x[0], y[1], x[2], y[3]]))


def test_philox_known_answers() -> None:
    for counter, key, answer in KNOWN_ANSWERS:
        words = philox([np.array([word], np.uint64) for word in counter], np.array(key, np.uint32))
        assert [int(word[0]) for word in words] == answer


def test_draws_over_several_blocks_are_the_reference() -> None:
    key = np.array([5, 9], np.uint32)
    for shape in ((7, 5, 31, 33), (40_001,), (3, 20_001)):
        op = RandomUniform(shape, stream=3)
        np.testing.assert_array_equal(run(op, key), op.reference(key))


def test_batch_statistics_keep_their_digits_under_a_large_mean() -> None:
    x = image(16, 8, 32, 32)
    shifted = x + np.float32(1000)
    ones = np.ones(8, np.float32)
    kernel = KERNELS[BatchNormTrain](BatchNormTrain(), Memory(), shifted, ones, 0 * ones)
    wide = shifted.astype(np.float64)
    y, mean, variance = BatchNormTrain().reference(wide, ones, 0 * ones)
    for actual, wanted, tolerance in zip(kernel, (y, mean, variance), (2e-4, 0.1, 1e-5)):
        assert np.abs(actual - wanted).max() <= tolerance
    # E[x**2] - E[x]**2 in float32 has nothing left here but rounding.
    naive = (shifted**2).mean(axis=(0, 2, 3)) - shifted.mean(axis=(0, 2, 3)) ** 2
    assert np.abs(naive - variance).max() > 1e-2


def test_batch_norm_gradients_over_many_blocks() -> None:
    x, dy = image(32, 16, 24, 24), image(32, 16, 24, 24)[::-1]
    gamma = np.linspace(-1, 2, 16, dtype=np.float32)
    mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    op = BatchNormTrainBackward()
    operands = (x, gamma, mean, variance, dy)
    results = KERNELS[type(op)](op, Memory(), *operands)
    wanted = op.reference(*(operand.astype(np.float64) for operand in operands))
    for actual, reference in zip(results, wanted):
        assert np.abs(actual - reference).max() <= 1e-5 * np.abs(reference).max()


@pytest.mark.parametrize("op", [Sum((0, 2, 3)), Mean((0, 2, 3)), Sum((0, 2, 3), keepdims=True)])
def test_channel_sums_are_accurate(op: Op) -> None:
    x = image(64, 3, 32, 31) + np.float32(3)
    wanted = op.reference(x.astype(np.float64))
    actual = run(op, x)
    assert actual.shape == wanted.shape and actual.dtype == np.float32
    np.testing.assert_allclose(actual, wanted, rtol=1e-6)


def test_a_nan_row_does_not_spread_to_other_rows() -> None:
    dy = np.array([[1.0, 2.0], [np.nan, np.inf], [3.0, 4.0]])
    dx = run(GatherBackward(4), dy, np.array([2, 0, 2]))
    np.testing.assert_array_equal(dx, [[np.nan, np.inf], [0, 0], [4, 6], [0, 0]])


def test_max_pooling_of_nan_and_ties_gives_the_gradient_to_the_first() -> None:
    x = np.array([[[[1.0, 1.0, np.nan, 2.0], [1.0, 0.0, np.nan, np.nan]]]])
    y = run(MaxPool2d((2, 2)), x)
    np.testing.assert_array_equal(y, [[[[1.0, np.nan]]]])
    dx = run(MaxPool2dBackward((2, 2)), x, np.array([[[[5.0, 7.0]]]]))
    np.testing.assert_array_equal(dx, [[[[5, 0, 7, 0], [0, 0, 0, 0]]]])


@pytest.mark.parametrize(
    ("name", "channels", "size"), [("resnet20", 3, 16), ("lenet5", 1, 28), ("squeezenet", 3, 64)]
)
def test_a_training_step_runs_channels_last(
    monkeypatch: pytest.MonkeyPatch, name: str, channels: int, size: int
) -> None:
    """No kernel makes an image that lies in another order in memory."""
    others: list[str] = []

    def watch(name: str, kernel: program.Kernel) -> program.Kernel:
        def watched(op: Op, memory: Memory, *operands: Array) -> Array | tuple[Array, ...]:
            results = kernel(op, memory, *operands)
            for y in results if isinstance(results, tuple) else (results,):
                if y.ndim == 4 and y.shape[0] == 2 and min(y.shape) > 1:
                    strides = y.transpose(0, 2, 3, 1).strides
                    if list(strides) != sorted(strides, reverse=True):
                        others.append(name)
            return results

        return watched

    for op, kernel in KERNELS.items():
        monkeypatch.setitem(KERNELS, op, watch(op.name, kernel))
    model = getattr(models, name).init(image=("N", channels, size, size))
    step = train_step(model, "cross_entropy", SGD(0.1, momentum=0.9), backend="numpy")
    rng = np.random.default_rng(0)
    batch = (rng.standard_normal((2, channels, size, size)).astype(np.float32), np.array([1, 7]))
    state = step(step.init(), batch)
    assert np.isfinite(state.loss)
    assert not others
