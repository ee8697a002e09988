"""What of a training step cannot be pickled: functions that have no name elsewhere."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

from .ir.errors import GraphError
from .ir.record import Record


class LeftBehind(Record):
    """In the place of what makes a step again, where functions that it needs were not pickled.

    Attributes:
        functions: the arguments that they were.
    """

    functions: tuple[str, ...]

    def __call__(self) -> Any:
        names = ", ".join(self.functions)
        raise GraphError(
            "other parameters of the model are frozen than when this step was made, and it cannot "
            f"be made again here: its {names} stayed in another process",
            fix="define functions at the level of a module, or freeze before the step is pickled",
        )


def not_pickled(again: Any) -> list[str]:
    """The arguments of a step, by name, that hold functions which pickle does not find."""
    known = {"loss": again.args[1], **again.keywords} if isinstance(again, partial) else {}
    names = ("loss", "metrics", "trainable", "clip", "passes")
    return [name for name in names if not travels(known.get(name))]


def travels(value: object) -> bool:
    """Whether pickle takes a value: it finds functions and classes by name alone."""
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True
