"""Philox, random_uniform and dropout: known answers, the counter's layout, statistics, mistakes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir import Array, Builder, DType, Graph, TensorType, evaluate, parse, verify
from cauce.ir.errors import AttributeMistake, ShapeError, TypeMismatch
from cauce.ir.ops.random import Dropout, RandomUniform, philox

from .evaluation import run, run_gradients, run_primitives

KEY = np.array([2011, 7], np.uint32)


def draws(*shape: int, stream: int = 0, key: Array = KEY, dtype: DType = DType.F32) -> Array:
    """random_uniform of this shape."""
    (y,) = run(RandomUniform(shape, stream, dtype), key)
    return y


# ---- Philox ------------------------------------------------------------------------------------

ONES = 0xFFFFFFFF
# From the file kat_vectors of the Random123 distribution, lines "philox4x32 10": counter, key,
# answer. The third counter and key are digits of pi.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_philox_known_answers(counter: list[int], key: list[int], answer: list[int]) -> None:
    words = philox(np.array(counter, np.uint32), np.array(key, np.uint32))
    assert words.dtype == np.uint32
    assert [hex(word) for word in words.tolist()] == [hex(word) for word in answer]


def test_philox_of_many_counters_is_philox_of_each() -> None:
    counters = np.arange(24, dtype=np.uint32).reshape(2, 3, 4)
    together = philox(counters, KEY)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[place], philox(counters[place], KEY))


def philox_by_hand(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x32-10 on Python ints, written from section 3.3 of the paper: a Feistel-like
    network of (L, R) pairs with L' = mullo(R, M), R' = mulhi(R, M) ^ k ^ L."""
    r0, l0, r1, l1 = counter
    for i in range(10):
        k0, k1 = (key[0] + i * 0x9E3779B9) % 2**32, (key[1] + i * 0xBB67AE85) % 2**32
        high0, low0 = divmod(r0 * 0xD2511F53, 2**32)
        high1, low1 = divmod(r1 * 0xCD9E8D57, 2**32)
        r0, l0, r1, l1 = high1 ^ l0 ^ k0, low1, high0 ^ l1 ^ k1, low0
    return [r0, l0, r1, l1]


# ---- random_uniform ----------------------------------------------------------------------------


def element_by_hand(shape: tuple[int, ...], index: tuple[int, ...], stream: int) -> float:
    """One element of a draw with KEY, from the definition."""
    if len(shape) >= 3:
        n, c = index[:2]
        p = 0
        for i, size in zip(index[2:], shape[2:]):
            p = p * size + i
    elif len(shape) == 2:
        n, c, p = index[0], 0, index[1]
    else:
        n, c, p = 0, 0, index[0] if index else 0
    word = philox_by_hand([p // 4, c, n, stream], KEY.tolist())[p % 4]
    return (word >> 8) / 2**24


@given(st.lists(st.integers(1, 6), max_size=5), st.integers(0, 2**32 - 1))
def test_every_element_is_the_function_of_its_index(shape: list[int], stream: int) -> None:
    y = draws(*shape, stream=stream)
    wanted = [element_by_hand(y.shape, index, stream) for index in np.ndindex(y.shape)]
    assert y.shape == tuple(shape)
    assert y.ravel().tolist() == wanted


def test_draws_lie_in_the_half_open_interval_and_are_the_same_in_every_dtype() -> None:
    narrow, wide = draws(64, 3, 11, dtype=DType.F32), draws(64, 3, 11, dtype=DType.F64)
    assert narrow.dtype == np.float32 and wide.dtype == np.float64
    np.testing.assert_array_equal(narrow, wide)
    assert narrow.min() >= 0 and narrow.max() < 1


def test_a_larger_batch_extends_a_smaller_one() -> None:
    np.testing.assert_array_equal(draws(9, 3, 4, 5)[:2], draws(2, 3, 4, 5))
    np.testing.assert_array_equal(draws(9, 10)[:2], draws(2, 10))
    np.testing.assert_array_equal(draws(2, 7, 4, 5)[:, :3], draws(2, 3, 4, 5))


def test_draws_follow_the_logical_index_not_the_layout() -> None:
    y = draws(2, 3, 4, 5)
    np.testing.assert_array_equal(y, draws(2, 3, 20).reshape(2, 3, 4, 5))
    # Row by row and channel by channel, as a kernel with blocks of channels would draw.
    for n, c in np.ndindex(2, 3):
        np.testing.assert_array_equal(y[n, c], draws(n + 1, c + 1, 4, 5)[n, c])


def test_seed_step_and_stream_each_change_all_draws() -> None:
    base = draws(4, 3, 50)
    assert np.array_equal(base, draws(4, 3, 50))
    for other in (
        draws(4, 3, 50, key=np.array([2012, 7], np.uint32)),
        draws(4, 3, 50, key=np.array([2011, 8], np.uint32)),
        draws(4, 3, 50, stream=1),
    ):
        assert (base == other).mean() < 0.01


def test_statistics() -> None:
    """Moments, a chi-squared test of 64 bins, and no correlation along any part of the counter."""
    y = draws(64, 16, 128, dtype=DType.F64)
    error = 1 / np.sqrt(12 * y.size)  # the standard deviation of the mean
    assert abs(y.mean() - 0.5) < 4 * error
    assert abs(y.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / y.size)
    counts = np.bincount((y * 64).astype(int).ravel(), minlength=64)
    chi_squared = ((counts - y.size / 64) ** 2 / (y.size / 64)).sum()
    assert 63 - 4 * np.sqrt(126) < chi_squared < 63 + 4 * np.sqrt(126)
    neighbours = [(y[1:], y[:-1]), (y[:, 1:], y[:, :-1]), (y[..., 1:], y[..., :-1])]
    neighbours += [(y, draws(64, 16, 128, stream=1, dtype=DType.F64))]
    for left, right in neighbours:
        correlation = ((left - 0.5) * (right - 0.5)).mean() * 12
        assert abs(correlation) < 4 / np.sqrt(left.size)


def test_symbolic_shape() -> None:
    graph = Graph("net")
    x = graph.add_input("x", TensorType.make("f32", ("N", 3, "H", "W")))
    key = graph.add_input("key", TensorType.make("u32", (2,)))
    b = Builder(graph)
    uniform = b(RandomUniform(x.type.shape, 5), key)
    graph.outputs = {"y": b(Dropout(0.25), x, uniform), "u": uniform}
    verify(graph)
    assert "random_uniform(%key) shape=[N, 3, H, W] stream=5 : f32[N,3,H,W]" in str(graph)
    for shape in ((2, 3, 4, 5), (7, 3, 6, 6)):
        array = np.ones(shape, np.float32)
        outputs = evaluate(parse(str(graph)), {"x": array, "key": KEY}).outputs
        np.testing.assert_array_equal(outputs["u"], draws(*shape, stream=5))
        np.testing.assert_array_equal(outputs["y"] == 0, outputs["u"] < 0.25)


def test_random_uniform_mistakes() -> None:
    with pytest.raises(AttributeMistake, match="the stream must be a u32, got -1"):
        RandomUniform((2,), -1)
    with pytest.raises(AttributeMistake, match=f"got {2**32}"):
        RandomUniform((2,), 2**32)
    with pytest.raises(AttributeMistake, match="24 bits, which f16 does not hold"):
        RandomUniform((2,), 0, DType.F16)
    with pytest.raises(TypeMismatch, match=r"takes a key u32\[2\], got i64\[2\]"):
        run(RandomUniform((2,), 0), KEY.astype(np.int64))
    with pytest.raises(TypeMismatch, match=r"takes a key u32\[2\], got u32\[4\]"):
        run(RandomUniform((2,), 0), np.zeros(4, np.uint32))
    with pytest.raises(ShapeError, match=r"the third number of u32\[3\] on: a shape of rank 1"):
        run(RandomUniform((2,), 0), np.zeros(3, np.uint32))


def test_a_part_of_a_batch_draws_what_its_images_do_in_the_whole() -> None:
    whole = draws(9, 3, 7)
    (part,) = run(RandomUniform((4, 3, 7), 0), np.append(KEY, np.uint32(5)))
    np.testing.assert_array_equal(part, whole[5:])
    (wrapped,) = run(RandomUniform((2, 3), 0), np.append(KEY, np.uint32(2**32 - 1)))
    np.testing.assert_array_equal(wrapped[1], draws(1, 3)[0])


# ---- dropout -----------------------------------------------------------------------------------


def test_worked_example_dropout() -> None:
    x, uniform = np.array([1.0, 2, 1, 0]), np.array([0.6, 0.8, 0.2, 0.1])
    for results in (run(Dropout(0.5), x, uniform), run_primitives(Dropout(0.5), x, uniform)):
        assert results[0].tolist() == [2, 4, 0, 0]


def test_dropout_scales_by_what_is_kept() -> None:
    x, uniform = np.array([3.0, 3.0]), np.array([0.25, 0.2])
    assert run(Dropout(0.25), x, uniform)[0].tolist() == [4, 0]


@pytest.mark.parametrize("execute", [run, run_primitives])
def test_dropout_of_nothing_and_of_everything(execute: Callable[..., list[Array]]) -> None:
    x, uniform = np.array([1.0, -2, 0, np.inf]), np.array([0.0, 0.3, 0.6, 0.9])
    assert execute(Dropout(0.0), x, uniform)[0].tolist() == x.tolist()
    assert execute(Dropout(1.0), x, uniform)[0].tolist() == [0, 0, 0, 0]


def test_dropout_keeps_the_mean() -> None:
    (y,) = run(Dropout(0.3), np.ones((100, 10, 100), np.float32), draws(100, 10, 100))
    share = (y == 0).mean()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / y.size)
    assert abs(y.mean(dtype=np.float64) - 1) < 4 * np.sqrt(0.3 / 0.7 / y.size)
    assert sorted(set(y.ravel().tolist())) == [0, float(np.float32(1) / np.float32(0.7))]


def test_dropout_does_not_see_the_layout_in_memory() -> None:
    x, uniform = np.random.default_rng(0).random((2, 3, 4, 5)), draws(2, 3, 4, 5, dtype=DType.F64)
    (plain,) = run(Dropout(0.5), x, uniform)
    (turned,) = run(Dropout(0.5), np.asfortranarray(x), uniform)
    np.testing.assert_array_equal(plain, turned)


def test_dropout_gradient_is_the_same_mask() -> None:
    x, uniform = np.array([1.0, 2, 1, 0]), np.array([0.6, 0.8, 0.2, 0.1])
    dx, none = run_gradients(Dropout(0.5), (x, uniform), (np.array([1.0, 2, 3, 4]),))
    assert dx is not None and dx.tolist() == [2, 4, 0, 0]
    assert none is None


def test_dropout_mistakes() -> None:
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(AttributeMistake, match=f"probability of a zero, got {p}"):
            Dropout(p)
    with pytest.raises(ShapeError, match=r"x is f64\[2,3\], the draws are f64\[3\]"):
        run(Dropout(), np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(TypeMismatch, match="takes floating-point values, got i64"):
        run(Dropout(), np.zeros(3), np.zeros(3, np.int64))
