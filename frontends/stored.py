"""Reads the files that :meth:`Model.save` and the checkpoints of training write."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..ir import Array, Graph, Role
from ..ir.errors import CauceError, GraphError
from ..ir.record import Record
from ..ir.tensors_file import load_tensors
from ..ir.version import refuse_newer
from .model import CONSTANT, FORMAT, Model

if TYPE_CHECKING:
    from ..ir.preprocessing import Preprocessing
    from ..ir.unread import UnreadGraph

_AGAIN = "save the model again: the file was changed since"


class StoredGraphs(Record):
    """The graphs of a file, as text.

    Attributes:
        file: its path.
        metadata: its texts by name.
        constants: the arrays of large constants by digest, as the file names them.
        shapes: those of every parameter and state by name.
    """

    file: str
    metadata: Mapping[str, str]
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]

    def text(self, form: str) -> str:
        """The text of one of them.

        Raises:
            GraphError: the file lacks it.
        """
        if form not in self.metadata:
            known = ", ".join(map(repr, sorted(self.metadata)))
            raise GraphError(f"{self.file} has no {form!r} among {known}", fix=_AGAIN)
        return self.metadata[form]

    def read(self, form: str) -> Graph:
        """One of them, whose arrays have the shapes that its inputs say.

        Raises:
            GraphError: the file lacks it, or an array of it.
            ParseError: a text that is no graph.
        """
        text = self.text(form)
        from ..ir import parse

        try:
            graph = parse(text, self.constants)
        except CauceError as error:
            error.add_note(f"in {self.file}, written by cauce {self.metadata.get('cauce')}")
            raise
        for value in graph.inputs:
            shape = self.shapes.get(value.name)
            if value.role is not Role.DATA and shape != value.type.shape:
                found = "is missing" if shape is None else f"has shape {shape}"
                raise GraphError(
                    f"{self.file}: {value.name} should be {value.type}, but it {found}", fix=_AGAIN
                )
        return graph


class StoredModel(Record):
    """What a file holds of a model.

    Attributes:
        graphs: both forms of its graph.
        values: every parameter and state by name.
    """

    graphs: StoredGraphs
    values: Mapping[str, Array]

    @staticmethod
    def read(path: str | os.PathLike[str]) -> StoredModel:
        """What a file holds; for one that holds no model, the errors of ``cauce.load``."""
        file = os.fspath(path)
        tensors, metadata = load_tensors(path)
        for key in ("format", "model"):
            refuse_newer(file, metadata, key, FORMAT)
        if FORMAT not in (metadata.get("format"), metadata.get("model")):
            raise GraphError(
                f"{file} holds no cauce model (format {metadata.get('format')!r})",
                fix="load a file that Model.save or the checkpoints of Trainer.fit wrote; bare "
                f"weights are for model.load_state_dict(load_file({file!r})), with load_file of "
                "safetensors.numpy, and models.load_torch_weights for those of PyTorch",
            )
        constants = {
            name.removeprefix(CONSTANT): array
            for name, array in tensors.items()
            if name.startswith(CONSTANT)
        }
        # A checkpoint holds the optimizer's slots too; earlier versions do not name values.
        names = json.loads(metadata["values"]) if "values" in metadata else tensors
        values = {name: tensors[name] for name in names if not name.startswith(CONSTANT)}
        shapes = {name: array.shape for name, array in values.items()}
        return StoredModel(StoredGraphs(file, metadata, constants, shapes), values)

    def model(self, graph: Graph | UnreadGraph) -> Model:
        """The model, of which this is the inference form."""
        file, metadata = self.graphs.file, self.graphs.metadata
        model = Model(graph, partial(self.graphs.read, "training_graph"), self.values)
        model.frozen.update(_read_frozen(file, metadata))
        model.origin, model.metadata = metadata.get("origin", ""), _read_onnx(metadata)
        model._preprocessing = _read_preprocessing(file, metadata)
        return model


def _read_frozen(file: str, metadata: Mapping[str, str]) -> list[str]:
    """The names of the frozen parameters."""
    try:
        names = json.loads(metadata.get("frozen", "[]"))
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise GraphError(f"{file}: its 'frozen' is no list of names", fix=_AGAIN)
    return names


def _read_onnx(metadata: Mapping[str, str]) -> dict[str, str]:
    """What an ONNX file said of itself."""
    try:
        found = json.loads(metadata.get("onnx", "{}"))
    except ValueError:
        found = {}
    return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}


def _read_preprocessing(file: str, metadata: Mapping[str, str]) -> Preprocessing | None:
    """How the model takes images; None where its file does not say so.

    Raises:
        DataError: the file says it in a way that is not known.
    """
    if "preprocessing" not in metadata:
        return None
    from ..ir.preprocessing import Preprocessing

    return Preprocessing.from_text(metadata["preprocessing"], file)
