"""Reads the files that :meth:`Model.save` and the checkpoints of training write."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..ir import Array, Graph, Role
from ..ir.errors import CauceError, GraphError
from ..ir.tensors_file import load_tensors
from ..ir.tracebacks import user_facing
from ..ir.version import refuse_newer
from .model import CONSTANT, FORMAT, Model

if TYPE_CHECKING:
    from ..ir.preprocessing import Preprocessing

_AGAIN = "save the model again: the file was changed since"


def read_frozen(file: str, metadata: Mapping[str, str]) -> list[str]:
    """The names of the frozen parameters."""
    try:
        names = json.loads(metadata.get("frozen", "[]"))
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise GraphError(f"{file}: its 'frozen' is no list of names", fix=_AGAIN)
    return names


def read_onnx(metadata: Mapping[str, str]) -> dict[str, str]:
    """What an ONNX file said of itself."""
    try:
        found = json.loads(metadata.get("onnx", "{}"))
    except ValueError:
        found = {}
    return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}


def read_graph(
    file: str,
    metadata: Mapping[str, str],
    constants: Mapping[str, Array],
    shapes: Mapping[str, tuple[int, ...]],
    form: str,
) -> Graph:
    """A graph of a file, whose arrays have the shapes that its inputs say."""
    if form not in metadata:
        raise GraphError(
            f"{file} has no {form!r} among {', '.join(map(repr, sorted(metadata)))}", fix=_AGAIN
        )
    from ..ir import parse

    try:
        graph = parse(metadata[form], constants)
    except CauceError as error:
        error.add_note(f"in {file}, written by cauce {metadata.get('cauce')}")
        raise
    for value in graph.inputs:
        shape = shapes.get(value.name)
        if value.role is not Role.DATA and shape != value.type.shape:
            found = "is missing" if shape is None else f"has shape {shape}"
            raise GraphError(
                f"{file}: {value.name} should be {value.type}, but it {found}",
                fix=_AGAIN,
            )
    return graph


def read_preprocessing(file: str, metadata: Mapping[str, str]) -> Preprocessing | None:
    """How the model takes images; None where its file does not say so.

    Raises:
        DataError: the file says it in a way that is not known.
    """
    if "preprocessing" not in metadata:
        return None
    from ..ir.preprocessing import Preprocessing

    return Preprocessing.from_text(metadata["preprocessing"], file)


@user_facing
def load(path: str | os.PathLike[str]) -> Model:
    """Read a model that :meth:`Model.save` wrote, or the model of a checkpoint of a training run.

    Arrays have the names, shapes and dtypes that they were written with.

    Args:
        path: a file of :meth:`Model.save`, or a checkpoint of :class:`~cauce.training.Checkpoints`.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: not a safetensors file, a damaged one, or one of a later version of cauce.
        GraphError: a file that is not a model of cauce, or lacks a part of one.
        ParseError: a graph in the file that is none.
        MissingExtra: safetensors is not installed.

    Examples:
        >>> @cauce.network
        ... def net(x, classes=3):
        ...     y = nn.relu(nn.linear(x, 4, name="hidden"))
        ...     return nn.linear(y, classes, name="head")
        >>> net.init(x=("N", 8), seed=3).save("net.safetensors")
        >>> model = cauce.load("net.safetensors")
        >>> cauce.compile(model, "numpy")(np.zeros((1, 8), np.float32)).shape
        (1, 3)
    """
    tensors, metadata = load_tensors(path)
    for key in ("format", "model"):
        refuse_newer(os.fspath(path), metadata, key, FORMAT)
    if FORMAT not in (metadata.get("format"), metadata.get("model")):
        raise GraphError(
            f"{os.fspath(path)} holds no cauce model (format {metadata.get('format')!r})",
            fix="load a file that Model.save or the checkpoints of Trainer.fit wrote; bare weights "
            f"are for model.load_state_dict(load_file({os.fspath(path)!r})), with load_file of "
            "safetensors.numpy, and models.load_torch_weights for those of PyTorch",
        )
    constants = {n.removeprefix(CONSTANT): a for n, a in tensors.items() if n.startswith(CONSTANT)}
    # A checkpoint holds the optimizer's slots too; files of earlier versions do not name values.
    names = json.loads(metadata["values"]) if "values" in metadata else tensors
    values = {name: tensors[name] for name in names if not name.startswith(CONSTANT)}
    shapes = {name: array.shape for name, array in values.items()}
    read = partial(read_graph, os.fspath(path), metadata, constants, shapes)
    model = Model(read("graph"), partial(read, "training_graph"), values)
    model.frozen.update(read_frozen(os.fspath(path), metadata))
    model.origin, model.metadata = metadata.get("origin", ""), read_onnx(metadata)
    model._preprocessing = read_preprocessing(os.fspath(path), metadata)
    return model
