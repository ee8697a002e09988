"""The cases of ONNX's own backend test suite, and how one is run.

The suite is part of the onnx package: 1,884 cases of single operators, which are made when they are
loaded, and 149 models in files. Of these, nine are whole networks ("light": every weight is one
constant).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.runner import Runner

HERE = Path(__file__).parent
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
LIGHT = "light models"


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        name: ``test_relu``.
        family: the operator that a case of one operator is about; "simple models", "light models"
            and so on for others.
        expanded: whether the operator is written out by its definition as a function.
        given: what the suite's loader made.
    """

    name: str
    family: str
    expanded: bool
    given: Any = field(repr=False)

    def model(self) -> ModelProto:
        """The model."""
        if self.given.model is not None:
            return self.given.model
        if self.family == LIGHT:
            return onnx.load(_light_file(self.given.url))
        return onnx.load(Path(self.given.model_dir) / "model.onnx")

    def data(self, model: ModelProto) -> list[tuple[list[Any], list[Any]]]:
        """Inputs and expected outputs, for one run or several."""
        if self.given.data_sets is not None:
            return [(_plain(xs), _plain(ys)) for xs, ys in self.given.data_sets]
        if self.family == LIGHT:
            stored = {tensor.name for tensor in model.graph.initializer}
            taken = [value for value in model.graph.input if value.name not in stored]
            inputs = [_ramp(value) for value in taken]
            file = _light_file(self.given.url).with_suffix("")
            return [(inputs, [_tensor(Path(f"{file}_output_0.pb"))])]
        folder = Path(self.given.model_dir)
        return [
            (_files(each, "input", model.graph.input), _files(each, "output", model.graph.output))
            for each in sorted(folder.glob("test_data_set*"))
        ]

    def run(self, backend: Any) -> None:
        """Prepare the model and compare its outputs, as ONNX's own runner does.

        Raises:
            Exception: whatever goes wrong; an AssertionError for other outputs.
        """
        model = self.model()
        prepared = backend.prepare(model, "CPU")
        for inputs, expected in self.data(model):
            outputs = prepared.run(inputs)
            Runner.assert_similar_outputs(expected, outputs, self.given.rtol, self.given.atol)


@cache
def all_cases() -> dict[str, Case]:
    """Every case of the suite by its name, those of one operator made anew: some 5 seconds."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # expected values are computed with inf and NaN on purpose
        found = {kind: load_model_tests(kind=kind) for kind in KINDS}
    operators = {case.name: case.model.graph.node[0].op_type for case in found["node"]}
    cases = {}
    for kind, members in found.items():
        for given in sorted(members, key=lambda case: case.name):
            plain = re.sub(r"_expanded.*", "", given.name)
            family = LIGHT if kind == "real" else f"{kind} models"
            if kind == "node":
                family = operators.get(plain) or operators[given.name]
            cases[given.name] = Case(given.name, family, plain != given.name, given)
    return cases


def cnn_subset() -> list[str]:
    """The names of 840 cases of what convolutional networks are made of."""
    return (HERE / "cnn_subset.txt").read_text().split()


# ---- data --------------------------------------------------------------------------------------


def _plain(values: Sequence[Any]) -> list[Any]:
    """Arrays for messages, which some cases hold."""
    return [numpy_helper.to_array(v) if isinstance(v, TensorProto) else v for v in values]


def _files(folder: Path, kind: str, values: Sequence[Any]) -> list[Any]:
    """What is stored for the first inputs or outputs: tensors, sequences and optional values."""
    names = sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [_tensor(path, value.type) for path, value in zip(names, values)]


def _tensor(path: Path, type_: Any = None) -> Any:
    content = path.read_bytes()
    kind = type_.WhichOneof("value") if type_ is not None else "tensor_type"
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(content))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(content))
    return numpy_helper.to_array(TensorProto.FromString(content))


def _ramp(value: Any) -> Any:
    """The input for which the outputs of light models are stored: from 0 to 1, as in ONNX."""
    shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    count = int(np.prod(shape))
    return (np.arange(count).reshape(shape) / count).astype(np.float32)


def _light_file(url: str) -> Path:
    return Path(onnx.__file__).parent.parent / url
