"""Pooling: worked examples, ONNX Runtime, finite differences, symbolic sizes, mistakes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from onnx import TensorProto, helper

from cauce.ir import Array, Builder, Graph, Op, TensorType, evaluate, parse, symbol
from cauce.ir.dims import substitute
from cauce.ir.errors import AttributeMistake, ShapeError, TypeMismatch
from cauce.ir.ops.adaptive_pool import (
    AdaptiveAvgPool2d,
    AdaptiveAvgPool2dBackward,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool2dBackward,
    AdaptiveMaxPool2dSelect,
)
from cauce.ir.ops.pool import (
    AvgPool2d,
    AvgPool2dBackward,
    FixedWindows,
    GlobalAvgPool2d,
    MaxPool2d,
    MaxPool2dBackward,
    MaxPool2dSelect,
)
from tests.facets.sample import Sample, strategy

NOTES = np.array([[1, 2, 1, 0], [2, 3, 1, 1], [3, 0, 0, 2], [1, 1, 2, 3]], float)[None, None]


def run(op: Op, *operands: Array) -> Array:
    """The result of a graph of this one op."""
    graph = Graph()
    inputs = [graph.add_input(f"x{i}", TensorType.of(a)) for i, a in enumerate(operands)]
    graph.outputs["y"] = Builder(graph)(op, *inputs)
    y = evaluate(graph, {f"x{i}": a for i, a in enumerate(operands)}).outputs["y"]
    assert TensorType.of(y) == graph.outputs["y"].type
    return y


# ---- worked examples -------------------------------------------------------------------------


def test_worked_example_max_pooling() -> None:
    assert run(MaxPool2d(2), NOTES).tolist() == [[[[3, 1], [3, 3]]]]


def test_worked_example_average_pooling() -> None:
    assert run(AvgPool2d(2), NOTES).tolist() == [[[[2, 0.75], [1.25, 1.75]]]]


def test_worked_example_adaptive_average_pooling() -> None:
    expected = [[[[2, 1.75, 0.75], [2, 1, 1], [1.25, 0.75, 1.75]]]]
    assert run(AdaptiveAvgPool2d(3), NOTES).tolist() == expected


def test_adaptive_maximum_of_the_worked_example() -> None:
    expected = [[[[3, 3, 1], [3, 3, 2], [3, 2, 3]]]]
    assert run(AdaptiveMaxPool2d(3), NOTES).tolist() == expected


def test_global_average_is_the_mean_and_decomposes_into_it() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType.make("f64", ("N", 1, "H", "W")))
    b = Builder(graph)
    graph.outputs["op"] = b(GlobalAvgPool2d(), x)
    graph.outputs["parts"] = GlobalAvgPool2d().decompose(b, x)
    outputs = evaluate(graph, {"x": NOTES}).outputs
    assert outputs["op"].tolist() == outputs["parts"].tolist() == [[[[23 / 16]]]]
    assert graph.outputs["op"].type == graph.outputs["parts"].type


# ---- against ONNX Runtime --------------------------------------------------------------------


@st.composite
def geometries(draw: st.DrawFn, dilated: bool) -> tuple[dict[str, object], Array]:
    """Attributes of windows, and an x [1, 2, H, W] that they need not fit."""

    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    kernel = pair(1, 4)
    attributes = {
        "kernel_size": kernel,
        "stride": pair(1, 4),
        "padding": tuple(pair(0, k - 1) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    if dilated:
        attributes["dilation"] = pair(1, 3)
    shape = (1, 2, *pair(1, 9))
    x = np.random.default_rng(draw(st.integers(0, 999))).standard_normal(shape)
    return attributes, x.astype(np.float32)


def onnx_runtime(op: FixedWindows, x: Array) -> Array:
    """What ONNX Runtime gives for the op of the same meaning."""
    (top, bottom), (left, right) = op.padding
    attributes: dict[str, object] = {
        "kernel_shape": op.kernel_size,
        "strides": op.stride,
        "pads": (top, left, bottom, right),
        "ceil_mode": int(op.ceil_mode),
    }
    if isinstance(op, MaxPool2d):
        node = helper.make_node("MaxPool", ["x"], ["y"], dilations=op.dilation, **attributes)
    else:
        assert isinstance(op, AvgPool2d)
        attributes["count_include_pad"] = int(op.count_include_pad)
        node = helper.make_node("AveragePool", ["x"], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (None,) * 4)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (y,) = session.run(None, {"x": x})
    return y


def pooled_or_reject(op: FixedWindows, x: Array) -> Array:
    try:
        return run(op, x)
    except ShapeError:
        reject()


@given(geometries(dilated=True))
def test_max_pooling_is_what_onnx_runtime_gives(drawn: tuple[dict[str, object], Array]) -> None:
    attributes, x = drawn
    op = MaxPool2d(**attributes)
    y = pooled_or_reject(op, x)
    assume(np.isfinite(y).all())  # where a window is all padding, ONNX Runtime gives its lowest
    np.testing.assert_array_equal(y, onnx_runtime(op, x))


@given(geometries(dilated=False), st.booleans())
def test_average_pooling_is_what_onnx_runtime_gives(
    drawn: tuple[dict[str, object], Array], count_include_pad: bool
) -> None:
    attributes, x = drawn
    op = AvgPool2d(**attributes, count_include_pad=count_include_pad)
    y = pooled_or_reject(op, x)
    np.testing.assert_allclose(y, onnx_runtime(op, x), rtol=1e-5, atol=1e-6)


# ---- ceil mode and symbolic sizes ------------------------------------------------------------


@given(geometries(dilated=True))
def test_ceil_mode_is_the_rule_of_pytorch(drawn: tuple[dict[str, object], Array]) -> None:
    attributes, x = drawn
    op = MaxPool2d(**{**attributes, "ceil_mode": True})
    y = pooled_or_reject(op, x)
    for axis, size in enumerate(x.shape[2:]):
        _, stride, (before, after), _ = op.geometry(axis)
        quotient = -(-(size + before + after - op.extent(axis)) // stride)
        last_starts_inside = quotient * stride < size + before
        assert y.shape[2 + axis] == quotient + last_starts_inside


def test_ceil_mode_keeps_a_last_window_that_starts_inside_and_drops_one_in_the_padding() -> None:
    column = np.arange(5.0).reshape(1, 1, 5, 1)
    window = {"kernel_size": (2, 1), "stride": (2, 1)}
    assert run(MaxPool2d(**window), column).ravel().tolist() == [1, 3]
    assert run(MaxPool2d(**window, ceil_mode=True), column).ravel().tolist() == [1, 3, 4]
    padded = MaxPool2d(**window, padding=((1, 1), (0, 0)), ceil_mode=True)
    assert run(padded, column).ravel().tolist() == [0, 2, 4]


def test_divisors_count_padding_but_not_what_ceil_mode_adds() -> None:
    ones = np.ones((1, 1, 4, 4))
    windows = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
    inside, padded = np.array([2, 3, 1]), np.array([3, 3, 2])
    counted = run(AvgPool2d(**windows), ones)[0, 0]
    np.testing.assert_allclose(counted, np.outer(inside, inside) / np.outer(padded, padded))
    left_out = run(AvgPool2d(**windows, count_include_pad=False), ones)[0, 0]
    assert left_out.tolist() == np.ones((3, 3)).tolist()


@given(geometries(dilated=True))
def test_symbolic_sizes_become_the_concrete_ones(drawn: tuple[dict[str, object], Array]) -> None:
    attributes, x = drawn
    op = MaxPool2d(**attributes)
    y = pooled_or_reject(op, x)
    inferred = op.infer(TensorType.make("f32", ("N", "C", "H", "W")))
    assert inferred.bind(dict(zip("NCHW", x.shape))) == TensorType.of(y)


def test_symbolic_sizes_print_in_their_simplest_form() -> None:
    x = TensorType.make("f32", ("N", 64, "H", "W"))
    assert str(MaxPool2d(3, 2, 1).infer(x)) == "f32[N,64,(H + 1)//2,(W + 1)//2]"
    assert str(AvgPool2d(2).infer(x)) == "f32[N,64,H//2,W//2]"
    assert str(AvgPool2d(2, ceil_mode=True).infer(x)) == "f32[N,64,(H + 1)//2,(W + 1)//2]"
    assert str(AdaptiveAvgPool2d((7, 1)).infer(x)) == "f32[N,64,7,1]"
    assert str(GlobalAvgPool2d().infer(x)) == "f32[N,64,1,1]"


# ---- gradients -------------------------------------------------------------------------------

DIFFERENTIABLE = [
    MaxPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    AvgPool2dBackward,
    MaxPool2dBackward,
    MaxPool2dSelect,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool2dBackward,
    AdaptiveMaxPool2dBackward,
    AdaptiveMaxPool2dSelect,
]


@pytest.mark.parametrize("cls", DIFFERENTIABLE, ids=lambda cls: cls.name)
def test_gradient_is_the_finite_difference_in_a_random_direction(cls: type[Op]) -> None:
    @given(strategy(cls), st.integers(0, 999))
    def check(sample: Sample, seed: int) -> None:
        if not sample.differentiable:
            return  # of integers
        rng = np.random.default_rng(seed)
        *others, point = sample.operands
        direction = rng.uniform(-1, 1, point.shape)
        dy = rng.standard_normal(run(sample.op, *sample.operands).shape)

        graph = Graph()
        inputs = [graph.add_input(f"x{i}", TensorType.of(a)) for i, a in enumerate(sample.operands)]
        b = Builder(graph)
        node = b(sample.op, *inputs).node
        assert node is not None
        *zeros, slope = sample.op.gradient(b, node, graph.add_input("dy", node.result.type))
        assert zeros == [None] * len(others)
        graph.outputs["slope"] = slope
        feeds = {f"x{i}": a for i, a in enumerate(sample.operands)} | {"dy": dy}
        analytic = evaluate(graph, feeds).outputs["slope"] * direction

        def loss(step: float) -> float:
            return float((run(sample.op, *others, point + step * direction) * dy).sum())

        step = 1e-2  # exact: all are linear as long as no maximum moves, and values stand 0.1 apart
        numeric = (loss(step) - loss(-step)) / (2 * step)
        assert abs(analytic.sum() - numeric) <= 1e-6 * np.abs(analytic).sum() + 1e-10

    check()


def test_gradients_run_with_symbolic_sizes_and_survive_the_text_form() -> None:
    graph = Graph()
    b = Builder(graph)
    x = graph.add_input("x", TensorType.make("f64", ("N", 1, "H", "W")))
    greatest = b(MaxPool2d(2), x).node
    mean = b(AvgPool2d(2), greatest.result).node
    dy = graph.add_input("dy", mean.result.type)
    (inner,) = mean.op.gradient(b, mean, dy)
    (graph.outputs["dx"],) = greatest.op.gradient(b, greatest, inner)
    twin = parse(str(graph))
    assert twin.same_as(graph)
    dx = evaluate(twin, {"x": NOTES, "dy": np.array([[[[4.0]]]])}).outputs["dx"]
    assert dx.tolist() == [[[[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]]]


# ---- ties, NaN, infinities, overlaps ---------------------------------------------------------


def test_the_first_of_equal_maxima_takes_the_gradient() -> None:
    x, dy = np.ones((1, 1, 2, 4)), np.array([[[[5.0, 7.0]]]])
    assert run(MaxPool2dBackward(2), x, dy).tolist() == [[[[5, 0, 7, 0], [0, 0, 0, 0]]]]
    g = np.arange(8.0).reshape(1, 1, 2, 4)
    assert run(MaxPool2dSelect(2), x, g).tolist() == [[[[0, 2]]]]


def test_overlapping_windows_add_their_gradients() -> None:
    x = np.array([[[[0.0, 9.0, 1.0]]]])
    dy = np.array([[[[2.0, 3.0]]]])
    windows = {"kernel_size": (1, 2), "stride": 1}
    assert run(MaxPool2dBackward(**windows), x, dy).tolist() == [[[[0, 5, 0]]]]
    size = {"size": (1, 3)}
    assert run(AvgPool2dBackward(**windows, **size), dy).tolist() == [[[[1, 2.5, 1.5]]]]
    assert run(AdaptiveMaxPool2dBackward((1, 2)), x, dy).tolist() == [[[[0, 5, 0]]]]
    assert run(AdaptiveAvgPool2dBackward((1, 2), **size), dy).tolist() == [[[[1, 2.5, 1.5]]]]


@pytest.mark.parametrize("op", [MaxPool2d(2), AdaptiveMaxPool2d((1, 2))], ids=lambda op: op.name)
def test_nan_is_the_maximum_and_takes_the_gradient(op: MaxPool2d | AdaptiveMaxPool2d) -> None:
    x = np.array([[[[1, 2, 3, 4], [np.nan, 9, 5, np.inf]]]])
    np.testing.assert_array_equal(run(op, x), [[[[np.nan, np.inf]]]])
    backward = (
        MaxPool2dBackward(2) if isinstance(op, MaxPool2d) else AdaptiveMaxPool2dBackward((1, 2))
    )
    dx = run(backward, x, np.array([[[[1.0, 2.0]]]]))
    assert dx.tolist() == [[[[0, 0, 0, 0], [1, 0, 0, 2]]]]


def test_padding_never_takes_the_gradient() -> None:
    x = np.full((1, 1, 1, 1), -np.inf)
    assert run(MaxPool2d(2, 1, 1), x).tolist() == [[[[-np.inf] * 2] * 2]]
    assert run(MaxPool2dBackward(2, 1, 1), x, np.ones((1, 1, 2, 2))).tolist() == [[[[4]]]]


def test_a_dilated_window_around_a_small_input_is_empty() -> None:
    x = np.zeros((1, 1, 1, 1))  # places -1 and 1 of the rows, neither inside
    windows = {"kernel_size": (2, 1), "padding": ((1, 1), (0, 0)), "dilation": (2, 1)}
    assert run(MaxPool2d(**windows), x).tolist() == [[[[-np.inf]]]]
    assert run(MaxPool2dBackward(**windows), x, x + 1).tolist() == [[[[0]]]]
    assert run(MaxPool2dSelect(**windows), x, x + 1).tolist() == [[[[0]]]]


# ---- attributes, costs, mistakes -------------------------------------------------------------


def test_the_stride_is_the_kernel_size_unless_given() -> None:
    assert MaxPool2d((2, 3)) == MaxPool2d((2, 3), stride=(2, 3)) != MaxPool2d((2, 3), stride=2)
    graph = Graph()
    x = graph.add_input("x", TensorType.make("f32", (1, 1, 8, 8)))
    graph.outputs["y"] = Builder(graph)(MaxPool2d(2), x)
    assert "max_pool2d(%x) kernel_size=2 stride=2 : f32[1,1,4,4]" in str(graph)


def test_costs_count_the_cells_of_all_windows() -> None:
    def flops(op: Op, *shape: object) -> object:
        x = TensorType.make("f32", shape)
        return op.cost([x], [op.infer(x)]).flops

    assert flops(MaxPool2d(3, 2), 2, 5, 7, 7) == 2 * 5 * 9 * 9
    assert flops(AdaptiveAvgPool2d(3), 2, 5, 4, 6) == 2 * 5 * (2 + 2 + 2) * (2 + 2 + 2)
    assert flops(GlobalAvgPool2d(), 2, 5, 4, 6) == 2 * 5 * 24
    symbolic = flops(AdaptiveAvgPool2d((3, 1)), 2, 5, "H", 6)
    assert substitute(symbolic, {"H": 4}) == 2 * 5 * 6 * 6
    assert flops(AvgPool2d(2), "N", 1, 4, 4) == symbol("N") * 16


def test_a_kernel_larger_than_the_padded_input_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"max_pool2d: a kernel of 3 .* input: 1 \+ 0 \+ 1 = 2"):
        MaxPool2d(3, 1, ((0, 1), (1, 1))).infer(TensorType.make("f32", (1, 1, 1, 8)))
    with pytest.raises(ShapeError, match=r"extent 5 with dilation 2"):
        run(MaxPool2d(3, dilation=2), NOTES)


@pytest.mark.parametrize("cls", [MaxPool2d, AvgPool2d])
def test_padding_as_wide_as_the_kernel_is_refused(cls: type[MaxPool2d] | type[AvgPool2d]) -> None:
    with pytest.raises(AttributeMistake, match=r"2 columns .* 0 before the input and 2 after"):
        cls(2, padding=((1, 1), (0, 2)))
    assert MaxPool2d(2, padding=2, dilation=2).extent(0) == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: MaxPool2d(0),
        lambda: MaxPool2d(2, stride=0),
        lambda: MaxPool2d(2, dilation=0),
        lambda: AdaptiveAvgPool2d((0, 1)),
    ],
)
def test_sizes_below_one_are_refused(make: object) -> None:
    with pytest.raises(AttributeMistake, match="at least 1"):
        make()


def test_operands_that_do_not_fit_are_refused() -> None:
    x = TensorType.make("f32", ("N", 3, 8, 8))
    with pytest.raises(ShapeError, match=r"takes x \[N, C, H, W\]"):
        MaxPool2d(2).infer(TensorType.make("f32", (3, 8, 8)))
    with pytest.raises(ShapeError, match="H and W at least 1"):
        AdaptiveMaxPool2d(2).infer(TensorType.make("f32", (1, 1, 0, 4)))
    with pytest.raises(ShapeError, match=r"takes x \[N, C, H, W\]"):
        GlobalAvgPool2d().infer(TensorType.make("f32", (3, 8)))
    with pytest.raises(TypeMismatch, match="floating-point"):
        MaxPool2d(2).infer(x.with_dtype(TensorType.make("i32", ()).dtype))
    with pytest.raises(ShapeError, match=r"gives f32\[N,3,4,4\], dy is f32\[N,3,8,8\]"):
        MaxPool2dBackward(2).infer(x, x)
    with pytest.raises(ShapeError, match="one shape"):
        MaxPool2dSelect(2).infer(x, x.with_shape((1, 3, 8, 8)))
    with pytest.raises(ShapeError, match=r"gives f32\[N,3,4,4\], dy is f32\[N,3,8,8\]"):
        AvgPool2dBackward(2, size=(8, 8)).infer(x)
    with pytest.raises(ShapeError, match=r"and \(H, W\) of x"):
        AdaptiveAvgPool2dBackward(8, size=(8,)).infer(x)
