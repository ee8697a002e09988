"""The gradient of an op as text."""

from __future__ import annotations

import pytest

from cauce.ir import DType, Op, TensorType
from cauce.ir.gradient_text import gradient_text
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add, Equal
from cauce.ir.ops.shape import Concat
from cauce.ir.ops.update import SGDUpdate


def f32(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


def test_a_convolution_has_three() -> None:
    text = gradient_text(Conv2d(), [f32(2, 3, 8, 8), f32(4, 3, 3, 3), f32(4)])
    lines = text.splitlines()
    assert "conv2d_backward_data(%dy, %weight" in text and "conv2d_backward_weight(" in text
    assert [line.partition(":")[0] for line in lines[-3:]] == ["dx", "dweight", "dbias"]


def test_broadcasting_is_summed() -> None:
    assert "sum(%dz)" in gradient_text(Add(), [f32(4, 8), f32(8)])


def test_operands_of_a_list_are_numbered() -> None:
    text = gradient_text(Concat(axis=0), [f32(1), f32(2)])
    assert text.splitlines()[-1].startswith("dxs0: ")


@pytest.mark.parametrize(
    ("op", "types", "text"),
    [
        (Equal(), [f32(3), f32(3)], "zero wherever there is one"),
        (Relu(), [f32(3)], "dx: %"),
        (Add(), [TensorType(DType.I64, ())] * 2, "none: its results are not floating-point"),
        (Conv2d(), [f32(3)], "conv2d takes 2 to 3 operands"),
    ],
)
def test_others(op: Op, types: list[TensorType], text: str) -> None:
    assert text in gradient_text(op, types)


def test_composites_are_what_they_are_made_of() -> None:
    text = gradient_text(SGDUpdate(), [f32(3), f32(3), f32()])
    assert text.startswith("by the gradients of what it is made of:") and "= sub(" in text
