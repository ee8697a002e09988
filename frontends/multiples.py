"""Sizes that must be multiples of a number, since a network brings them back to what they were."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir import Dim, Input, TensorType
from ..ir.dims import substitute, symbol, symbols
from ..ir.errors import ShapeError

MOST = 64


def in_multiples(inputs: Iterable[Input], error: ShapeError) -> dict[str, TensorType] | None:
    """The types of inputs, with k*H in the place of each size H that an error is about.

    Where an image is halved and doubled again, 2*((H + 1)//2) meets H, and these are equal for
    even H alone. The k is the smallest, up to 64, with which the sizes agree that the error says
    to be unequal.

    Returns:
        The types by name; None where no such k makes them equal.
    """
    first, *others = error.unequal or (0, 1)
    differences: list[Dim] = [first - other for other in others]
    names = sorted({name for difference in differences for name in symbols(difference)})
    for factor in range(2, MOST + 1 if names else 0):
        wide = {name: factor * symbol(name) for name in names}
        if all(substitute(difference, wide) == 0 for difference in differences):
            return {
                value.name: value.type.with_shape(substitute(dim, wide) for dim in value.type.shape)
                for value in inputs
            }
    return None
