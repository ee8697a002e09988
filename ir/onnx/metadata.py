"""What a model says of itself beside its graph, as text by name, from a file and into one.

Names are those of the fields of ``ModelProto``; the documentation of its graph is
``graph.doc_string``, and an entry of ``metadata_props`` is ``metadata_props.<key>``. Two of these
are cauce's own: how the model takes images, and which of its initializers are no weights.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import DataError

_TEXTS = ("producer_name", "producer_version", "domain", "doc_string")
PREPROCESSING = "metadata_props.cauce.preprocessing"  # Preprocessing.to_text
CONSTANTS = "metadata_props.cauce.constants"
_VERSION, _GRAPH, _PROPERTY = "model_version", "graph.doc_string", "metadata_props."


def read_metadata(model: Any) -> dict[str, str]:
    """The metadata of a ``ModelProto``; what is empty, or no text, is left out."""
    found: dict[str, Any] = {name: getattr(model, name) for name in _TEXTS}
    found[_GRAPH] = model.graph.doc_string
    found |= {f"{_PROPERTY}{entry.key}": entry.value for entry in model.metadata_props}
    kept = {name: text for name, text in found.items() if text and isinstance(text, str)}
    return kept | ({_VERSION: str(model.model_version)} if model.model_version else {})


def write_metadata(model: Any, metadata: Mapping[str, str]) -> None:
    """Give a ``ModelProto`` what :func:`read_metadata` found."""
    for name, text in metadata.items():
        if name in _TEXTS:
            setattr(model, name, text)
        elif name == _VERSION:
            model.model_version = int(text)
        elif name == _GRAPH:
            model.graph.doc_string = text
        elif name.startswith(_PROPERTY):
            model.metadata_props.add(key=name.removeprefix(_PROPERTY), value=text)


def constants_of(metadata: Mapping[str, str], file: str) -> frozenset[str]:
    """The names of initializers that are constants, which training does not change.

    Raises:
        DataError: what the file says of them is no list of names.
    """
    try:
        names = json.loads(metadata.get(CONSTANTS, "[]"))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("it is no list of names")
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file}: its metadata cauce.constants cannot be read: {error}",
            fix="export the model again, or take this entry out of metadata_props",
        ) from error
    return frozenset(names)


def with_constants(metadata: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """The metadata with the names of initializers that are constants."""
    return {**metadata, **({CONSTANTS: json.dumps(sorted(names))} if names else {})}
