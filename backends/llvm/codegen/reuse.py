"""Nodes that have the same code: it is written for the first, and taken over by the others.

A network repeats its blocks, and code knows neither names nor buffer numbers. What it depends on is
what a node computes, how its arrays lie, and its schedule.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ....ir import Value
from ....ir.structure import op_structure, type_structure
from ..registry import emitter_of
from .code import Launch, NodeCode, Scratch


class _Model(NamedTuple):
    """What was written for the first node: the buffers of its arrays, launches and scratches."""

    slots: list[int]
    launches: tuple[Launch, ...]
    scratches: tuple[Scratch, ...]


@dataclass
class Written:
    """The code that was written for the nodes of one plan, by what it depends on."""

    _known: dict[Hashable, _Model] = field(default_factory=dict)

    def write(self, code: NodeCode) -> None:
        """Write the code of a node, or take over that of an equal one.

        Raises:
            CauceError: what the emitter raises.
        """
        slots, key = _situation(code)
        model = self._known.get(key)
        if model is None:
            emitter_of(code.node.op)(code)
            self._known[key] = _Model(slots, tuple(code.launches), tuple(code.scratches))
            return
        places = dict(zip(model.slots, slots))
        for scratch in model.scratches:
            places[scratch.slot] = slot = code.new_slot()
            code.scratches.append(replace(scratch, slot=slot))
        for launch in model.launches:
            own = tuple(places[slot] for slot in launch.slots)
            code.launches.append(replace(launch, slots=own))


def _situation(code: NodeCode) -> tuple[list[int], Hashable]:
    """The buffers of the arrays of a node, each once, and all else that its code depends on."""
    slots: dict[int, int] = {}

    def lies(value: Value) -> Hashable:
        access = code.accesses[value]
        place = slots.setdefault(access.slot, len(slots))
        return type_structure(value.type), replace(access, slot=place)

    operands = tuple(map(lies, code.node.operands))
    results = tuple(map(lies, code.node.results))
    key = (op_structure(code.node.op), code.schedule, operands, results)
    return list(slots), key
