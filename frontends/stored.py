"""The parts of a model as its file has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..ir import Array, Graph, Role, parse
from ..ir.errors import CauceError, GraphError

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
