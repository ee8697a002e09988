"""The weights of a model by name, and the list of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from ..ir import Array, Input
from ..ir.errors import TypeMismatch
from ..ir.tracebacks import user_facing


class Parameters(list[Input]):
    """The list of a model's parameters; a call, as in PyTorch, says that none is needed."""

    @user_facing
    def __call__(self) -> NoReturn:
        """Raise TypeMismatch."""
        raise TypeMismatch(
            "model.parameters is a list, it is not called",
            fix="leave it out for an optimizer, which gets them from the model: "
            "cauce.Trainer(model, optimizer=cauce.SGD(0.1)); their numbers: model.state_dict()",
        )


def read_only(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Views of arrays that nobody can write through."""
    views = {name: np.asarray(array).view() for name, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views


def some(names: list[str]) -> str:
    """The first of some names in brackets."""
    return f" ({', '.join(map(str, names[:4]))}{', ...' * (len(names) > 4)})" if names else ""
