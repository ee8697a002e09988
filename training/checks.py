"""What ``fit`` is given, checked before the first step: a run of hours should not end in a typo."""

from __future__ import annotations

from ..ir.attributes import not_negative
from ..ir.dims import is_int
from ..ir.errors import AttributeMistake, need, shown
from .augment import Transform
from .checkpoints import Checkpoints
from .data import Dataset
from .early_stopping import EarlyStopping

_DATASET = "make one of arrays, Dataset(images, labels, classes), or by a reader such as load_npz"


def check_dataset(what: str, given: object) -> None:
    """Raise TypeMismatch for anything but a data set."""
    need(given, Dataset, f"{what} takes a Dataset", _DATASET)


def check_augment(given: object) -> None:
    """Raise TypeMismatch for anything but a list of transforms."""
    what, fix = "augment= takes a list of transforms", "write augment=[RandomHorizontalFlip()]"
    need(given, (list, tuple), what, fix)
    assert isinstance(given, (list, tuple))
    for transform in given:
        need(transform, Transform, what, fix)


def check_fit(
    epochs: object,
    validate: object,
    early_stopping: object,
    checkpoints: object,
) -> None:
    """Check the arguments of ``fit`` against one another.

    Raises:
        AttributeMistake, TypeMismatch: an argument that cannot be, or a validation value that is
            needed without a validation set.
    """
    if not is_int(epochs) or epochs < 1:  # type: ignore[operator]
        raise AttributeMistake(
            f"epochs must be an int of at least 1, got {shown(epochs)}",
            fix="write epochs=5, or evaluate in place of fit, which only measures",
        )
    if validate is not None:
        check_dataset("validate=", validate)
    needs = []
    if early_stopping is not None:
        fix = "write early_stopping=EarlyStopping(patience=5)"
        need(early_stopping, EarlyStopping, "early_stopping= takes a rule", fix)
        needs.append("early stopping")
    if checkpoints is not None:
        fix = "write checkpoints=Checkpoints('runs/first')"
        need(checkpoints, Checkpoints, "checkpoints= takes a folder's rule", fix)
        assert isinstance(checkpoints, Checkpoints)
        if checkpoints.best is not None:
            needs.append(f"the best {checkpoints.best} of the checkpoints")
    if needs and validate is None:
        raise AttributeMistake(
            f"{' and '.join(needs)} cannot be judged without a validation set",
            fix="pass one: fit(..., validate=test)",
        )


def checked_rate(rate: object, step: int) -> float:
    """A learning rate as a float.

    Raises:
        AttributeMistake: not a finite number of at least 0.
    """
    fix = "pass for example lr=0.1, or a function from the step to such a number"
    return not_negative(rate, f"the learning rate of step {step}", fix)
