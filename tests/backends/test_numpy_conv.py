"""Convolution on the NumPy backend: the blocks it works in, the pieces it multiplies in, layouts.

The samples of the facets are small and fit in one block; here blocks and pieces are made smaller.
"""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.backends.numpy import KERNELS, matmul, windows
from cauce.backends.numpy.matmul import multiply, multiply_transposed
from cauce.backends.numpy.memory import Memory
from cauce.backends.numpy.windows import Windows
from cauce.ir import Op
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight

from ..facets.sample import Sample, strategy

CONVOLUTIONS = (Conv2d, Conv2dBackwardData, Conv2dBackwardWeight)
every_convolution = pytest.mark.parametrize("op", CONVOLUTIONS, ids=lambda op: op.name)


def agrees(sample: Sample) -> None:
    """Assert that the kernel gives what the reference gives."""
    actual = KERNELS[type(sample.op)](sample.op, Memory(), *sample.operands)
    np.testing.assert_allclose(actual, sample.op.reference(*sample.operands), atol=1e-11)


@pytest.mark.parametrize("elements", [1, 40, 200])
@every_convolution
def test_small_blocks_give_the_same(op: type[Op], elements: int) -> None:
    @given(strategy(op))
    def check(sample: Sample) -> None:
        with patch.object(windows, "BLOCK", elements):
            agrees(sample)

    check()


@pytest.mark.parametrize(("small", "least"), [(24, 2), (60, 1), (1, 1), (200, 7)])
@every_convolution
def test_small_pieces_give_the_same(op: type[Op], small: int, least: int) -> None:
    @given(strategy(op))
    def check(sample: Sample) -> None:
        with patch.object(matmul, "SMALL", small), patch.object(matmul, "LEAST_ROWS", least):
            agrees(sample)

    check()


def test_blocks_cover_every_window_once() -> None:
    window = Windows((3, 3), (1, 1), (1, 1), (1, 1), (7, 5))
    for size in ((1, 1), (2, 7), (5, 3), (9, 9)):
        seen = np.zeros((5, 7), int)
        for images, rows in window.blocks(5, size):
            seen[images, rows] += 1
        assert (seen == 1).all()


def test_blocks_hold_whole_images_where_they_fit_and_rows_where_not() -> None:
    window = Windows((3, 3), (1, 1), (1, 1), (1, 1), (10, 5))
    with patch.object(windows, "BLOCK", 1000):
        assert window.block_size(batch=64, row=25) == (4, 10)
        assert window.block_size(batch=3, row=25) == (3, 10)
        assert window.block_size(batch=64, row=300) == (1, 3)
        assert window.block_size(batch=64, row=5000) == (1, 1)


def test_padded_blocks_are_the_padded_image() -> None:
    x = np.arange(1.0, 1 + 2 * 4 * 3 * 2).reshape(2, 4, 3, 2)
    window = Windows((3, 2), (1, 1), (1, 1), (1, 2), (4, 6))
    padded = np.pad(x, ((0, 0), (1, 1), (2, 2), (0, 0)))
    with patch.object(windows, "BLOCK", 2):
        for (images, rows), part in window.padded_blocks(Memory(), x, row=1):
            assert rows.stop - rows.start == 2
            np.testing.assert_array_equal(part, padded[images, rows.start : rows.stop + 2])


def test_padding_may_be_negative() -> None:
    """Backward data crops dy where the padding is larger than the kernel."""
    x = np.arange(1.0, 1 + 5 * 4).reshape(1, 5, 4, 1)
    window = Windows((1, 1), (1, 1), (1, 1), (-2, -1), (3, 3))
    ((_, part),) = window.padded_blocks(Memory(), x, row=1)
    np.testing.assert_array_equal(part, x[:, 2:5, 1:4])


@given(
    groups=st.integers(1, 2),
    images=st.integers(1, 3),
    rows=st.integers(1, 40),
    small=st.sampled_from([1, 20, 60, 10**6]),
    least=st.integers(1, 8),
)
def test_products_in_pieces(groups: int, images: int, rows: int, small: int, least: int) -> None:
    rng = np.random.default_rng(rows)
    a = rng.standard_normal((groups, images, rows + 2, 3))[:, :, 1:-1]
    b = rng.standard_normal((groups, 3, 4))
    dy = rng.standard_normal((groups, images, rows, 4))
    out = np.full((images, rows, groups, 4), np.nan).transpose(2, 0, 1, 3)
    with patch.object(matmul, "SMALL", small), patch.object(matmul, "LEAST_ROWS", least):
        multiply(a, b, out)
        transposed = multiply_transposed(a, dy)
    np.testing.assert_allclose(out, np.einsum("gnrk,gko->gnro", a, b), atol=1e-12)
    np.testing.assert_allclose(transposed, np.einsum("gnrk,gnro->gko", a, dy), atol=1e-12)


def test_results_lie_channels_last_in_memory() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, 3, 3))
    for stride in ((1, 1), (2, 2)):
        op = Conv2d(stride, ((1, 1), (1, 1)))
        y = KERNELS[Conv2d](op, Memory(), x, weight)
        assert isinstance(y, np.ndarray)
        backward = Conv2dBackwardData(*op.geometry(), size=x.shape[2:])
        dx = KERNELS[Conv2dBackwardData](backward, Memory(), y, weight)
        assert isinstance(dx, np.ndarray)
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous
        assert dx.transpose(0, 2, 3, 1).flags.c_contiguous


def test_an_empty_batch_is_an_empty_result() -> None:
    x, weight = np.zeros((0, 3, 5, 5)), np.ones((4, 3, 3, 3))
    y = KERNELS[Conv2d](Conv2d(), Memory(), x, weight)
    assert isinstance(y, np.ndarray) and y.shape == (0, 4, 3, 3)
    dw = KERNELS[Conv2dBackwardWeight](Conv2dBackwardWeight(kernel=(3, 3)), Memory(), x, y)
    np.testing.assert_array_equal(dw, np.zeros_like(weight))
