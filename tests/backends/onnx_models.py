"""Runs exported models: by ONNX Runtime, and by ONNX's own reference for what that cannot run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

from cauce.ir import Array

_OPTIONS = onnxruntime.SessionOptions()
_OPTIONS.intra_op_num_threads = 1
# Warnings count: ONNX Runtime warns where a declared shape is not the one it finds.
_OPTIONS.log_severity_level = 2


def run(model: ModelProto, feeds: Mapping[str, object]) -> dict[str, Array]:
    """The outputs by name, computed by ONNX Runtime."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), _OPTIONS, providers=["CPUExecutionProvider"]
    )
    arrays = {name: np.asarray(feed) for name, feed in feeds.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays)))


def run_f64(model: ModelProto, feeds: Mapping[str, object]) -> dict[str, Array]:
    """The outputs by name, by ``onnx.reference`` where ONNX Runtime has no kernel for float64."""
    try:
        return run(model, feeds)
    except NoKernel:
        evaluator: Any = ReferenceEvaluator(model)
        arrays = {name: np.asarray(feed) for name, feed in feeds.items()}
        return dict(zip(evaluator.output_names, map(np.asarray, evaluator.run(None, arrays))))


def assert_agree(got: Mapping[str, Array], wanted: Mapping[str, Array], tolerance: float) -> None:
    """Same names, shapes and dtypes; floats within ``tolerance`` of the largest, all else equal."""
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        assert (got[name].shape, got[name].dtype) == (array.shape, array.dtype), name
        if array.dtype.kind != "f" or tolerance == 0:
            np.testing.assert_array_equal(got[name], array, err_msg=name)
            continue
        scale = max(1.0, float(np.abs(array).max(initial=0)))
        np.testing.assert_allclose(
            got[name].astype(np.float64),
            array.astype(np.float64),
            rtol=0,
            atol=tolerance * scale,
            err_msg=name,
        )
