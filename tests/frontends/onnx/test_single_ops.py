"""One ONNX node at a time, in the opsets in which it changed, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cauce.ir import Array

from .build import agrees, single

_RANDOM = np.random.default_rng(7)
NEWEST = 23


def floats(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def of(value: float) -> Array:
    return np.array(value, np.float32)


IMAGE = floats(2, 4, 7, 9)
WITH_INF = np.array([[-np.inf, -2, -0.5, 0], [0.5, 3, np.inf, 1]], np.float32)
FLAGS = np.array([[True, False], [False, True]])
KERNEL = {"w": floats(6, 4, 3, 3), "b": floats(6)}
STATISTICS = {
    "scale": floats(4),
    "shift": floats(4),
    "mean": floats(4),
    "var": np.abs(floats(4)) + of(0.5),
}

# op_type, operands that are inputs, operands that are stored, opset, attributes
CASES: list[tuple[str, dict[str, Array], dict[str, Any], int, dict[str, Any]]] = []


def case(
    op_type: str,
    feeds: tuple[Array, ...] | Array,
    stored: dict[str, Any] | None = None,
    opsets: tuple[int, ...] = (7, 13, NEWEST),
    **attributes: Any,
) -> None:
    given = feeds if isinstance(feeds, tuple) else (feeds,)
    for opset in opsets:
        named = dict(zip("xyz", given))
        CASES.append((op_type, named, stored or {}, opset, attributes))


# ---- windows -----------------------------------------------------------------------------------

case("Conv", IMAGE, KERNEL)
case("Conv", IMAGE, KERNEL, (11,), pads=[1, 0, 2, 1], strides=[2, 1], kernel_shape=[3, 3])
case("Conv", IMAGE, {"w": floats(8, 1, 3, 2)}, (11,), group=4, dilations=[2, 1])
for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case("Conv", IMAGE, KERNEL, (11,), auto_pad=auto, strides=[2, 3])
    case("MaxPool", IMAGE, None, (7, 12), auto_pad=auto, strides=[2, 2], kernel_shape=[3, 2])
    case("AveragePool", IMAGE, None, (7, 19), auto_pad=auto, strides=[2, 2], kernel_shape=[3, 2])
case("Conv", floats(2, 4, 9), {"w": floats(6, 2, 3)}, (11,), group=2, pads=[2, 1], strides=[2])
case("Conv", floats(2, 4, 9), {"w": floats(6, 4, 4)}, (11,), auto_pad="SAME_LOWER")
case("MaxPool", IMAGE, None, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
case("MaxPool", IMAGE, None, kernel_shape=[3, 3])
case("MaxPool", IMAGE, None, (12, NEWEST), kernel_shape=[2, 2], dilations=[2, 3], ceil_mode=1)
case("MaxPool", floats(2, 4, 9), None, kernel_shape=[4], strides=[3], pads=[1, 2])
for counted in (0, 1):
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "count_include_pad": counted}
    case("AveragePool", IMAGE, None, pads=[1, 1, 1, 0], **window)
    case("AveragePool", IMAGE, None, (10, 19), pads=[1, 1, 0, 1], ceil_mode=1, **window)
    # A last window that would start in the padding is dropped.
    case("AveragePool", IMAGE, None, (19,), **{**window, "strides": [3, 3]}, ceil_mode=1)
case("AveragePool", floats(2, 4, 9), None, kernel_shape=[4], strides=[3], pads=[1, 2])
case("GlobalAveragePool", IMAGE)
case("GlobalAveragePool", floats(2, 3, 4, 5, 6), None, (13,))
case("GlobalMaxPool", IMAGE)
case("GlobalMaxPool", floats(2, 3, 5), None, (13,))
UP = {"w": floats(4, 3, 3, 2), "b": floats(3)}
case("ConvTranspose", IMAGE, UP, (7, 11, NEWEST))
case("ConvTranspose", IMAGE, UP, (11,), strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 2])
case("ConvTranspose", IMAGE, {"w": floats(4, 2, 3, 3)}, (11,), group=2, dilations=[2, 1])
case("ConvTranspose", IMAGE, UP, (11,), strides=[2, 2], output_shape=[14, 17])
case("ConvTranspose", IMAGE, UP, (11,), kernel_shape=[3, 2])
for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case("ConvTranspose", IMAGE, {"w": floats(4, 3, 4, 3)}, (11,), strides=[2, 1], auto_pad=auto)
case("ConvTranspose", floats(2, 4, 7), {"w": floats(4, 3, 3), "b": floats(3)}, (11,), strides=[2])

# ---- normalisation and activations -------------------------------------------------------------

case("BatchNormalization", IMAGE, STATISTICS, (7, 9, 14, 15), epsilon=0.01)
case("BatchNormalization", floats(3, 4), STATISTICS, (9,))
case("BatchNormalization", floats(3, 4, 5), STATISTICS, (9,))
case("BatchNormalization", floats(3, 4, 2, 3, 2), STATISTICS, (9,), momentum=0.5)
for name in ("Relu", "Sigmoid", "Tanh", "HardSigmoid"):
    case(name, WITH_INF)
case("Relu", np.array([-3, 0, 5], np.int32), None, (14,))
case("HardSigmoid", IMAGE, None, alpha=0.3, beta=0.4)
case("HardSwish", IMAGE, None, (14,))
case("LeakyRelu", WITH_INF)
case("LeakyRelu", IMAGE, None, alpha=0.3)
case("PRelu", IMAGE, {"slope": floats(4, 1, 1)}, (7, 9, 16))
case("PRelu", IMAGE, {"slope": floats(1)}, (9,))
case("Clip", WITH_INF, None, (7, 11, 13))
case("Clip", WITH_INF, None, (7,), min=-0.7, max=0.3)
case("Clip", WITH_INF, {"min": of(-0.7), "max": of(0.3)}, (11, 13))
case("Clip", WITH_INF, {"min": of(-0.7)}, (11, 13))
case("Clip", WITH_INF, {"min": None, "max": of(0.3)}, (11, 13))
case("Clip", IMAGE, {"min": of(0.5), "max": of(-0.5)}, (13,))
case("Clip", np.array([-3, 0, 50], np.int32), {"min": np.int32(-1), "max": np.int32(9)}, (12, 13))
case("Clip", (IMAGE, of(-0.3), of(0.4)), None, (13,))
for name in ("Softmax", "LogSoftmax"):
    case(name, IMAGE)
    case(name, IMAGE, axis=2)
    case(name, floats(3, 5), None, axis=1)
    case(name, IMAGE, None, (11, 13), axis=-3)
    case(name, IMAGE, None, (7, 13), axis=0)

# ---- elementwise -------------------------------------------------------------------------------

ROW = floats(9)
for name in ("Add", "Sub", "Mul", "Div"):
    case(name, (IMAGE, ROW))
    case(name, IMAGE, {"b": floats(4, 1, 1)})
    case(name, IMAGE, {"b": of(2.5)})
for name in ("Add", "Sub", "Mul"):
    case(name, (np.array([1, -2], np.int64), np.array([[3], [4]], np.int64)))
case("Pow", np.abs(IMAGE), {"e": of(1.7)}, (7, 12, 15))
case("Pow", IMAGE, {"e": np.int64(3)}, (12, 15))
for name in ("Max", "Min", "Sum", "Mean"):
    case(name, (IMAGE, IMAGE[::-1].copy(), floats(2, 4, 7, 9)))
    case(name, (IMAGE, ROW), None, (8, 13))
    case(name, IMAGE)
for name in ("Neg", "Abs", "Exp", "Reciprocal"):
    case(name, IMAGE)
case("Sign", IMAGE, None, (9, 13))
for name in ("Log", "Sqrt"):
    case(name, np.abs(IMAGE))
for name in ("Less", "Greater"):
    case(name, (IMAGE, ROW), None, (7, 9, 13))
for name in ("LessOrEqual", "GreaterOrEqual"):
    case(name, (IMAGE, IMAGE), None, (12, 16))
case("Equal", (np.array([1, 2, 3], np.int32), np.array([1, 0, 3], np.int32)))
case("Equal", (FLAGS, FLAGS[0]))
for name in ("And", "Or", "Xor"):
    case(name, (FLAGS, FLAGS[0]))
case("Not", FLAGS)
case("Where", (FLAGS, floats(2, 2), floats(2)), None, (9, 16))
case("Cast", IMAGE, None, (9, 13), to=11)
case("Cast", 5 * IMAGE, None, (9, 13, 19), to=6)
case("Cast", IMAGE, None, (13,), to=9)
case("Cast", FLAGS, None, (13,), to=1)
case("CastLike", IMAGE, {"like": np.int64(0)}, (15,))

# ---- products ----------------------------------------------------------------------------------

A, B, C = floats(3, 5), floats(5, 4), floats(4)
case("Gemm", A, {"w": B, "c": C})
case("Gemm", A, {"w": B.T.copy(), "c": C}, transB=1)
case("Gemm", A.T.copy(), {"w": B, "c": floats(1, 4)}, transA=1, alpha=0.5, beta=2.0)
case("Gemm", A, {"w": B, "c": floats(3, 1)}, alpha=0.5)
case("Gemm", A, {"w": B, "c": of(2)}, (7, 13))
case("Gemm", A, {"w": B}, (11, 13))
case("Gemm", (A, B, C), None, (13,))
case("MatMul", (A, B))
case("MatMul", (floats(2, 1, 3, 5), floats(4, 5, 2)))
case("MatMul", (floats(5), floats(2, 5, 3)), None, (13,))
case("MatMul", (floats(2, 3, 5), floats(5)), None, (13,))
case("MatMul", (floats(5), floats(5)), None, (13,))

# ---- reductions --------------------------------------------------------------------------------

REDUCTIONS = ["Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare"]
for name in REDUCTIONS:
    case(f"Reduce{name}", IMAGE, None)
    case(f"Reduce{name}", IMAGE, {"axes": ints(1, -1)}, (18,), keepdims=0)
    case(f"Reduce{name}", IMAGE, {"axes": ints()}, (18,), noop_with_empty_axes=1)
    case(f"Reduce{name}", IMAGE, {"axes": ints()}, (18,))
for name in REDUCTIONS[1:]:
    case(f"Reduce{name}", IMAGE, None, (7, 11, 13), axes=[2, 3], keepdims=0)
case("ReduceSum", IMAGE, None, (7, 11), axes=[-1, 1])
case("ReduceSum", IMAGE, {"axes": ints(2)}, (13,))
case("ReduceLogSum", np.abs(IMAGE), None, (13,), axes=[1])
case("ArgMax", IMAGE, None, axis=2)
case("ArgMax", IMAGE, None, (12, 13), axis=-1, keepdims=0)

# ---- shapes and movement -----------------------------------------------------------------------

case("Reshape", IMAGE, {"s": ints(0, -1, 3)})
case("Reshape", IMAGE, {"s": ints(0, 0, 63)}, (14,), allowzero=0)
case("Reshape", IMAGE, {"s": ints(2, -1)}, (14,), allowzero=1)
for axis in (0, 1, 2, 4):
    case("Flatten", IMAGE, axis=axis)
case("Flatten", IMAGE, None, (11, 13), axis=-1)
case("Flatten", floats(3), None, (13,), axis=1)
case("Squeeze", floats(1, 3, 1, 2), None, (7, 11), axes=[2])
case("Squeeze", floats(1, 3, 1, 2), {"axes": ints(0, -2)}, (13,))
case("Squeeze", floats(1, 3, 1, 2), None, (11, 13))
case("Unsqueeze", A, None, (7, 11), axes=[0, 2])
case("Unsqueeze", A, {"axes": ints(-1, 1)}, (13,))
case("Expand", floats(3, 1), {"s": ints(2, 1, 4)}, (8, 13))
case("Transpose", IMAGE)
case("Transpose", IMAGE, perm=[0, 2, 3, 1])
case("Concat", (IMAGE, floats(2, 1, 7, 9)), axis=1)
case("Concat", (IMAGE, IMAGE), None, (11, 13), axis=-2)
case("Slice", IMAGE, None, (7, 9), starts=[1, -3], ends=[2**31 - 1, -1], axes=[1, 3])
case("Slice", IMAGE, None, (7,), starts=[0, 1], ends=[9, 3])
for starts, ends, axes, steps in (
    ((1, 0), (2**63 - 1, -2), (2, -1), (2, 3)),
    ((-1, 5), (-(2**63), 1), (3, 2), (-2, -1)),
    ((20, 4), (0, -20), (3, 2), (-3, -2)),
    ((5,), (2,), (3,), (1,)),
    ((2,), (5,), (3,), (-1,)),
):
    bounds = {"s": ints(*starts), "e": ints(*ends), "a": ints(*axes), "t": ints(*steps)}
    case("Slice", IMAGE, bounds, (10, 13))
case("Slice", A, {"s": ints(1), "e": ints(2)}, (10, 13))
case("Pad", IMAGE, None, (7,), pads=[0, 0, 1, 2, 0, 1, 0, 3], value=1.5)
case("Pad", IMAGE, {"p": ints(0, 0, 1, 2, 0, 1, 0, 3), "v": of(1.5)}, (11, 13))
case("Pad", IMAGE, {"p": ints(0, -1, 1, -2, 0, 0, -2, 3)}, (11, 18))
case("Pad", IMAGE, {"p": ints(1, 2, 3, 4), "v": None, "axes": ints(-1, 1)}, (18, NEWEST))
case("Split", IMAGE, None, (7, 11), axis=3, split=[9])
case("Gather", IMAGE, {"i": ints(1, 0, -1)}, axis=2, opsets=(11, 13))
case("Gather", IMAGE, {"i": np.int32(2)}, axis=1)
case("Gather", (IMAGE, np.array([[0, -1], [3, -4]])), None, (11, 13), axis=1)
case("Identity", IMAGE)
case("Dropout", IMAGE)
case("Dropout", IMAGE, {"ratio": of(0.3), "mode": np.bool_(False)}, (12, 13))
case("Dropout", IMAGE, None, (7, 10), ratio=0.3)
case("Shape", IMAGE)
case("Shape", IMAGE, None, (15,), start=1, end=-1)
case("Size", IMAGE)
case("Compress", IMAGE, {"c": np.array([False, True, True])}, (9, 11), axis=2)
case("Compress", IMAGE, {"c": np.array([False, True, False, True])}, (11,))
case("EyeLike", floats(3, 5), None, (9, 22), k=1)
case("EyeLike", floats(3, 5), None, (9,), dtype=7)
case("ReverseSequence", floats(5, 3, 2), {"l": ints(1, 5, 3)}, (10,))
case("ReverseSequence", floats(3, 5, 2), {"l": ints(1, 5, 2)}, (10,), batch_axis=0, time_axis=1)


@pytest.mark.parametrize(
    ("op_type", "feeds", "stored", "opset", "attributes"),
    CASES,
    ids=[f"{i}-{c[0]}-{c[3]}" for i, c in enumerate(CASES)],
)
def test_a_node_is_what_onnx_runtime_makes_of_it(
    op_type: str, feeds: dict[str, Array], stored: dict[str, Any], opset: int, attributes: Any
) -> None:
    proto = single(op_type, feeds, stored, opset, **attributes)
    loaded = agrees(proto, feeds)
    for node in loaded.graph.nodes:
        assert f"{op_type}-{opset}" in str(node.loc) or node.path == "out"
