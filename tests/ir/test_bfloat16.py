"""Arrays of ml_dtypes's bfloat16 are what inputs and constants of bf16 take, beside float32."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import DType, Literal, TensorType
from cauce.ir.errors import TypeMismatch

HALVES = np.array([[1.0078125, -2.5, 3.140625]], ml_dtypes.bfloat16)  # 1 + 2**-7, and so on


@cauce.network
def double(x):  # type: ignore[no-untyped-def]
    return x + x


def test_a_feed_of_bfloat16() -> None:
    predict = cauce.compile(double.init(x=("N", 3), dtype="bf16"), backend="numpy")
    assert predict(HALVES).tolist() == [[2.015625, -5.0, 6.28125]]
    assert predict(HALVES.astype(np.float32)).tolist() == [[2.015625, -5.0, 6.28125]]


def test_other_inputs_do_not_take_it_but_the_remedy_does() -> None:
    predict = cauce.compile(double.init(x=("N", 3)), backend="numpy")
    with pytest.raises(TypeMismatch, match="got an array of bfloat16") as caught:
        predict(HALVES)
    assert caught.value.fix == "convert it: array.astype(np.float32)"
    assert predict(HALVES.astype(np.float32)).tolist() == [[2.015625, -5.0, 6.28125]]


def test_weights_of_bfloat16() -> None:
    @cauce.network
    def net(x):  # type: ignore[no-untyped-def]
        return nn.linear(x, 1, bias=False)

    model = net.init(x=("N", 3), dtype="bf16")
    model.load_state_dict({"linear1.weight": HALVES})
    one = np.array([[0, 0, 1]], np.float32)
    assert cauce.compile(model, backend="numpy")(one).tolist() == [[3.140625]]
    predict = cauce.compile(model.graph, backend="numpy")
    predict.load_state_dict({"linear1.weight": HALVES})
    assert predict(one).tolist() == [[3.140625]]


def test_the_type_by_its_array() -> None:
    assert DType.of(ml_dtypes.bfloat16) is DType.of(HALVES.dtype) is DType.BF16
    assert TensorType.of(HALVES) == TensorType(DType.BF16, (1, 3))
    constant = Literal(HALVES)
    assert (constant.dtype, constant.array.dtype) == (DType.BF16, np.float32)
    assert constant.array.tolist() == [[1.0078125, -2.5, 3.140625]]
