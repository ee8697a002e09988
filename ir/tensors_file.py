"""Named arrays with text metadata in one safetensors file, written all or nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from .errors import DataError, MissingExtra
from .files import existing, replacing
from .types import Array


def save_tensors(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays and metadata; an earlier file at ``path`` stays whole unless all went well.

    Raises:
        MissingExtra: safetensors is not installed.
        OSError: the file cannot be written.
    """
    _need_safetensors()
    from safetensors.numpy import save

    data = save({name: np.array(a, order="C") for name, a in arrays.items()}, dict(metadata))
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Read arrays and metadata.

    Raises:
        MissingExtra: safetensors is not installed.
        FileNotFoundError: there is no such file.
        DataError: not a safetensors file, or a damaged one.
    """
    _need_safetensors()
    from safetensors import SafetensorError, safe_open

    name = existing(path)
    try:
        with safe_open(name, framework="numpy") as file:
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return arrays, dict(file.metadata() or {})
    except (SafetensorError, ValueError) as error:
        raise DataError(
            f"{name} is not a safetensors file, or is damaged",
            fix="load a file that save wrote, or an earlier checkpoint",
        ) from error
    except TypeError as error:
        # safetensors asks NumPy for a type by its name.
        raise DataError(
            f"{name} holds an array of a type that NumPy does not have: {error}",
            fix="save the weights as float32",
        ) from None


def _need_safetensors() -> None:
    import importlib.util

    if importlib.util.find_spec("safetensors") is None:
        raise MissingExtra(
            "saving and loading needs safetensors, which is not installed",
            fix="pip install 'cauce[train]'",
        )
