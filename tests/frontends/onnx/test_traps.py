"""What importers are known to get wrong: a test for each, against ONNX Runtime or, where it has no
such kernel, ONNX's own reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator

import cauce
from cauce.ir import Array, TensorType
from cauce.passes.training_form import running_shares

from .build import agrees, model, single

_RANDOM = np.random.default_rng(23)
node = helper.make_node


def floats(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


IMAGE = floats(2, 4, 5, 6)


def agrees_with_reference(proto: ModelProto, feeds: dict[str, Array]) -> None:
    wanted = ReferenceEvaluator(proto).run(None, feeds)
    loaded = cauce.load_onnx(proto)
    for backend in ("numpy", "llvm"):
        got = cauce.compile(loaded, backend=backend)(**feeds)
        for one, other in zip(got if isinstance(got, tuple) else (got,), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [11, 13])
def test_before_opset_13_a_softmax_is_over_all_axes_from_one_on(op_type: str, opset: int) -> None:
    for attributes in ({}, {"axis": 2}, {"axis": 0}):
        agrees(single(op_type, {"x": IMAGE}, {}, opset, **attributes), {"x": IMAGE})


@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("opset", [10, 19])
def test_a_window_that_would_start_in_the_padding_behind_is_dropped(
    counted: int, opset: int
) -> None:
    window = {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [0, 0, 1, 1], "ceil_mode": 1}
    for x in (floats(1, 2, 5, 6), floats(1, 2, 4, 7)):
        for op_type in ("MaxPool", "AveragePool"):
            more = {"count_include_pad": counted} if op_type == "AveragePool" else {}
            agrees(single(op_type, {"x": x}, {}, opset, **window, **more), {"x": x})


def test_integers_are_divided_towards_0_and_sizes_too() -> None:
    """(3 - H) / 2, of which the sizes of an expression are rounded down."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "two"], ["h"]),
        node("Sub", ["three", "h"], ["less"]),
        node("Div", ["less", "two"], ["half"]),
    ]
    stored = {"two": np.int64(2), "three": np.int64(3)}
    for height in (4, 5, 6):
        x = floats(1, 2, height, 3)
        agrees(model(nodes, {"x": x}, ["half"], stored), {"x": x})


def test_the_remainder_of_integers_has_the_sign_of_the_divisor_unless_it_is_fmod() -> None:
    x, y = np.array([-7, 7, -7, 7], np.int32), np.array([3, -3, -3, 3], np.int32)
    for fmod, wanted in ((0, [2, -2, -1, 1]), (1, [-1, 1, -1, 1])):
        loaded = agrees(
            single("Mod", {"x": x, "y": y}, {}, 13, fmod=fmod), feeds := {"x": x, "y": y}
        )
        np.testing.assert_array_equal(cauce.compile(loaded)(**feeds), wanted)


def test_a_batch_norm_of_opset_7_may_have_statistics_for_each_pixel() -> None:
    shape = IMAGE.shape[1:]
    stored = {"s": floats(*shape), "b": floats(*shape), "m": floats(*shape)}
    stored["v"] = np.abs(floats(*shape)) + np.float32(0.5)
    proto = single("BatchNormalization", {"x": IMAGE}, stored, 7, spatial=0)
    wanted = (IMAGE - stored["m"]) / np.sqrt(stored["v"] + 1e-5) * stored["s"] + stored["b"]
    loaded = cauce.load_onnx(proto)
    for backend in ("numpy", "llvm"):
        got = cauce.compile(loaded, backend=backend)(IMAGE)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_the_momentum_of_a_batch_norm_is_what_is_kept() -> None:
    """ONNX: running = momentum * running + (1 - momentum) * batch; PyTorch the other way round."""
    stored = {name: np.abs(floats(4)) + np.float32(0.5) for name in "sbmv"}
    proto = single("BatchNormalization", {"x": IMAGE}, stored, 15, momentum=0.75)
    shares = running_shares(cauce.load_onnx(proto).training_graph)
    assert shares == {"m": 0.25, "v": 0.25}


@pytest.mark.parametrize("momentum", [None, 0.75])
def test_a_batch_norm_in_training_mode_gives_the_running_statistics(momentum: float | None) -> None:
    """It normalises with the batch's own; of the variances both are those of the population."""
    stored = {name: np.abs(floats(4)) + np.float32(0.5) for name in "sbmv"}
    given = {} if momentum is None else {"momentum": momentum}
    outputs = ["y", "mean", "var"]
    norm = node("BatchNormalization", ["x", *stored], outputs, training_mode=1, **given)
    proto = model([norm], {"x": IMAGE}, outputs, stored, 15)
    agrees_with_reference(proto, {"x": IMAGE})

    kept = 0.9 if momentum is None else momentum
    axes, each = (0, 2, 3), (slice(None), np.newaxis, np.newaxis)
    mean, var = IMAGE.mean(axes), IMAGE.var(axes)
    y = (IMAGE - mean[each]) / np.sqrt(var[each] + 1e-5) * stored["s"][each] + stored["b"][each]
    running = [kept * stored["m"] + (1 - kept) * mean, kept * stored["v"] + (1 - kept) * var]
    for backend in ("numpy", "llvm"):
        results = cauce.compile(cauce.load_onnx(proto), backend=backend)(IMAGE)
        for got, wanted in zip(results, [y, *running], strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "made",
    [
        single("Clip", {"x": IMAGE}, {"min": None, "max": np.float32(0.3)}, 13),
        single("Resize", {"x": IMAGE}, {"r": None, "s": np.array([1, 1, 2, 2], "f")}, 13),
        single("Pad", {"x": IMAGE}, {"p": ints(1, 2, 3, 4), "v": None, "a": ints(-1, 1)}, 18),
    ],
    ids=lambda proto: proto.graph.node[0].op_type,
)
def test_an_operand_without_a_name_is_left_out(made: ModelProto) -> None:
    assert "" in made.graph.node[0].input
    agrees(made, {"x": IMAGE})


@pytest.mark.parametrize(
    ("op_type", "old", "attributes", "new", "stored"),
    [
        ("Clip", 6, {"min": -0.5, "max": 0.5}, 11, {"a": np.float32(-0.5), "b": np.float32(0.5)}),
        ("Pad", 7, {"pads": [0, 0, 1, 2, 0, 0, 0, 1]}, 11, {"p": ints(0, 0, 1, 2, 0, 0, 0, 1)}),
        ("ReduceSum", 11, {"axes": [1, -1]}, 13, {"a": ints(1, -1)}),
        ("ReduceMean", 13, {"axes": [1, -1]}, 18, {"a": ints(1, -1)}),
        ("Unsqueeze", 11, {"axes": [0]}, 13, {"a": ints(0)}),
        ("Slice", 9, {"starts": [1], "ends": [3]}, 10, {"s": ints(1), "e": ints(3)}),
        ("Upsample", 7, {"scales": [1.0, 1.0, 2.0, 2.0]}, 9, {"s": np.array([1, 1, 2, 2], "f")}),
    ],
)
def test_what_was_an_attribute_became_an_operand(
    op_type: str, old: int, attributes: Any, new: int, stored: Any
) -> None:
    before = agrees(single(op_type, {"x": IMAGE}, {}, old, **attributes), {"x": IMAGE})
    after = agrees(single(op_type, {"x": IMAGE}, stored, new), {"x": IMAGE})
    one, other = (cauce.compile(model, backend="numpy")(IMAGE) for model in (before, after))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_parts_of_a_split_in_all_forms(opset: int) -> None:
    by_operand = {"s": ints(1, 3)} if opset >= 13 else {}
    by_attribute: dict[str, Any] = {} if opset >= 13 else {"split": [1, 3]}
    made = node("Split", ["x", *by_operand], ["a", "b"], axis=1, **by_attribute)
    agrees(model([made], {"x": IMAGE}, ["a", "b"], by_operand, opset), {"x": IMAGE})
    more = {"num_outputs": 4} if opset >= 18 else {}
    equal = node("Split", ["x"], list("abcd"), axis=1, **more)
    agrees(model([equal], {"x": IMAGE}, list("abcd"), {}, opset), {"x": IMAGE})


def test_the_last_part_of_a_split_may_be_smaller() -> None:
    made = node("Split", ["x"], ["a", "b", "c"], axis=2, num_outputs=3)
    agrees(model([made], {"x": IMAGE}, ["a", "b", "c"]), {"x": IMAGE})


@pytest.mark.parametrize("noop", [0, 1])
def test_a_reduction_over_no_axes_is_over_all_unless_it_is_over_none(noop: int) -> None:
    for stored in ({}, {"a": ints()}):
        proto = single("ReduceSum", {"x": IMAGE}, stored, 13, noop_with_empty_axes=noop)
        agrees(proto, {"x": IMAGE})


@pytest.mark.parametrize("shape", [(1,), (4, 1, 1), (6,), (4, 5, 6), (1, 1, 1)])
@pytest.mark.parametrize("opset", [7, 9, 16])
def test_slopes_of_a_prelu_broadcast_from_the_last_axis(shape: tuple[int, ...], opset: int) -> None:
    agrees(single("PRelu", {"x": IMAGE}, {"slope": floats(*shape)}, opset), {"x": IMAGE})


def test_an_even_window_of_a_response_norm_is_longer_behind() -> None:
    """ONNX Runtime has odd ones alone. (The reference goes over as many channels as images.)"""
    x = floats(5, 5, 3, 4)
    for size in (2, 4):
        proto = single("LRN", {"x": x}, {}, 13, size=size, alpha=0.5)
        proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("out", 1, x.shape))
        agrees_with_reference(proto, {"x": x})


def test_a_scale_of_a_group_norm_is_of_a_group_before_opset_21() -> None:
    groups = {"g": floats(2), "b": floats(2)}
    channels = {name: np.repeat(array, 2) for name, array in groups.items()}
    made = [
        cauce.load_onnx(single("GroupNormalization", {"x": IMAGE}, stored, opset, num_groups=2))
        for stored, opset in ((groups, 18), (channels, 21))
    ]
    one, other = (cauce.compile(model, backend="numpy")(IMAGE) for model in made)
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("last", [0, 1])
def test_of_equal_elements_the_first_is_the_greatest_or_the_last(last: int) -> None:
    x = np.array([[3, 5, 5, 1], [2, 2, 2, 2]], np.float32)
    for op_type in ("ArgMax", "ArgMin"):
        proto = single(op_type, {"x": x}, {}, 13, axis=1, select_last_index=last)
        agrees(proto, {"x": x})


def test_a_hard_sigmoid_has_a_slope_of_a_fifth() -> None:
    """A sixth in PyTorch, and in HardSwish."""
    x = np.array([-3, -2.5, 0, 1, 2.5, 3], np.float32)
    loaded = agrees(single("HardSigmoid", {"x": x}, {}, 6), {"x": x})
    wanted = np.clip(0.2 * x + 0.5, 0, 1)
    np.testing.assert_allclose(cauce.compile(loaded)(x), wanted, rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3), (2, 1), (2, 3)])
def test_the_addend_of_a_gemm_broadcasts(shape: tuple[int, ...]) -> None:
    x, stored = floats(2, 5), {"w": floats(5, 3), "c": floats(*shape)}
    agrees(single("Gemm", {"x": x}, stored, 13, beta=0.5), {"x": x})


def test_weights_among_the_inputs_of_an_old_file_are_no_inputs() -> None:
    """Of IR version 3, which lists them."""
    proto = single("Conv", {"x": IMAGE}, {"w": floats(3, 4, 2, 2), "b": floats(3)}, 8)
    assert [value.name for value in proto.graph.input] == ["x", "w", "b"]
    loaded = agrees(proto, {"x": IMAGE})
    assert [value.name for value in cauce.compile(loaded).inputs] == ["x"]


@pytest.mark.parametrize(
    ("shape", "allowzero", "to"),
    [((2, 3, 4), 0, (0, -1)), ((0, 3, 4), 1, (4, 0)), ((2, 3, 4), 0, (-1, 3, 0))],
)
def test_a_0_in_the_shape_of_a_reshape_is_the_size_that_was_there_or_0(
    shape: tuple[int, ...], allowzero: int, to: tuple[int, ...]
) -> None:
    x = floats(*shape)
    proto = single("Reshape", {"x": x}, {"s": ints(*to)}, 14, allowzero=allowzero)
    agrees(proto, {"x": x}, inputs={"x": TensorType.make("f32", shape)})


def test_an_expand_goes_both_ways() -> None:
    for shape, to in (((3, 1), (2, 1, 4)), ((2, 3, 4), (1, 4)), ((2, 3, 4), (1,))):
        agrees(single("Expand", {"x": floats(*shape)}, {"s": ints(*to)}, 13), {"x": floats(*shape)})


@pytest.mark.parametrize("last", [2**31 - 1, 2**63 - 1])
def test_a_slice_to_the_end_and_backwards(last: int) -> None:
    bounds = [((1,), (last,), (1,)), ((-1,), (-last,), (-1,)), ((last,), (0,), (-2,))]
    for starts, ends, steps in bounds:
        stored = {"s": ints(*starts), "e": ints(*ends), "a": ints(2), "t": ints(*steps)}
        agrees(single("Slice", {"x": IMAGE}, stored, 13), {"x": IMAGE})
