"""The nine light models of the suite, with weights that make their arithmetic visible.

As shipped, every weight is 0.02 and every output one repeated value. Here weights are drawn after
He, and batch norms get the statistics of a batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

import cauce

from ..backends.onnx_models import run
from .cases import LIGHT, all_cases

NAMES = [
    *("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet"),
    *("squeezenet", "vgg19", "zfnet512"),
]


def with_drawn_weights(proto: ModelProto) -> ModelProto:
    """The model with He weights; what feeds the last Softmax is its output.

    As shipped, weights are made by ConstantOfShape.
    """
    random = np.random.default_rng(0)
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in [node for node in proto.graph.node if node.op_type == "ConstantOfShape"]:
        proto.graph.node.remove(node)
        shape = numpy_helper.to_array(stored[node.input[0]])
        filled = np.zeros(shape.tolist(), np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(filled, node.output[0]))
    norms = [node for node in proto.graph.node if node.op_type == "BatchNormalization"]
    scales = {node.input[1] for node in norms}
    means, variances = {node.input[3] for node in norms}, {node.input[4] for node in norms}
    for tensor in proto.graph.initializer:
        old = numpy_helper.to_array(tensor)
        if old.dtype != np.float32:
            continue
        array = random.standard_normal(old.shape, np.float32)
        if tensor.name in means:
            array = np.zeros_like(array)
        elif tensor.name in scales | variances:
            array = np.ones_like(array)
        elif array.ndim > 1:
            array *= np.sqrt(2 / np.prod(array.shape[1:]))
        else:
            array *= np.float32(0.1)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    last = proto.graph.node[-1]
    if last.op_type == "Softmax":
        del proto.graph.node[-1]
        proto.graph.output[0].CopyFrom(onnx.ValueInfoProto(name=last.input[0]))
    return proto


def calibrate(proto: ModelProto, x: Any) -> None:
    """Give batch norms the mean and the variance of what they get for ``x``, all in one run."""
    shares = {}
    for node in proto.graph.node:
        if node.op_type == "BatchNormalization":
            given = {entry.name: entry.f for entry in node.attribute}
            shares[node.input[3]] = shares[node.input[4]] = 1 - given.get("momentum", 0.9)
    if not shares:
        return
    model = cauce.load_onnx(proto)
    step = cauce.compile(model.training_graph, "numpy")
    step.load_state_dict(model.values)
    updated = {value.name for value in model.training_graph.updates}
    state = step.new_state({name: model.values[name] for name in updated})
    step(x, state=state)
    new = state.read()
    for tensor in proto.graph.initializer:
        if tensor.name in shares and tensor.name in new:
            old, share = numpy_helper.to_array(tensor), shares[tensor.name]
            batch = (new[tensor.name] - (1 - share) * old) / share
            assert np.ptp(batch) > 0
            tensor.CopyFrom(numpy_helper.from_array(batch.astype(np.float32), tensor.name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_light_model_equals_onnx_runtime(name: str) -> None:
    (case,) = [
        case
        for case in all_cases().values()
        if case.family == LIGHT and case.name == f"test_{name}"
    ]
    proto = with_drawn_weights(case.model())
    (taken,) = {v.name for v in proto.graph.input} - {t.name for t in proto.graph.initializer}
    x = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)
    calibrate(proto, x)
    (wanted,) = run(proto, {taken: x}).values()
    assert wanted.std() > 0.01 * np.abs(wanted).max()
    model = cauce.load_onnx(proto)
    for backend in ("numpy", "llvm"):
        got = cauce.compile(model, backend)(x)
        assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max(), backend
