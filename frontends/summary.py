"""What there is in a model: its layers, and what each gives, owns and costs.

``Model.save`` writes it into the file, so that it is shown without reading weights or graphs. This
module imports no other at first, NumPy neither: ``cauce show`` takes as long as reading a header.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .model import Model

COLUMNS = ("layer", "op", "output", "parameters", "FLOPs")
KEY = "summary"  # in the metadata of a file


class Layer(NamedTuple):
    """One node of a graph.

    Attributes:
        path: of the layer.
        op: the name of the op.
        outputs: the types of the results, as text.
        parameters: how many numbers its parameters have; those that an earlier layer has too are
            counted there.
        flops: floating-point operations.
    """

    path: str
    op: str
    outputs: list[str]
    parameters: int
    flops: int

    @property
    def cells(self) -> tuple[str, ...]:
        """Under :data:`COLUMNS`."""
        outputs = ", ".join(self.outputs)
        return self.path, self.op, outputs, f"{self.parameters:,}", f"{self.flops:,}"


class Summary(NamedTuple):
    """A model at a glance.

    Attributes:
        name: of the network.
        inputs: the types of the data inputs, by name.
        outputs: the types of the outputs, by name.
        batch: the size of every symbol where FLOPs are counted.
        parameters: how many numbers are trained.
        origin: what of training came with it, where it is from another program.
        layers: in order.
    """

    name: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    batch: int
    parameters: int
    origin: str
    layers: list[Layer]

    @property
    def flops(self) -> int:
        """Floating-point operations of all layers."""
        return sum(layer.flops for layer in self.layers)

    @property
    def total(self) -> list[str]:
        """The lines below the layers."""
        line = (
            f"{self.name}: {self.parameters:,} parameters, {self.flops:,} FLOPs for a batch of "
            f"{self.batch}"
        )
        return [line, self.origin] if self.origin else [line]

    @property
    def text(self) -> str:
        """A table."""
        cells = [COLUMNS, *(layer.cells for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = [
            "  ".join(
                cell.rjust(width) if i > 2 else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths))
            )
            for row in cells
        ]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([lines[0], rule, *lines[1:], rule, *self.total])

    @property
    def data(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        about = {**self._asdict(), "flops": self.flops}
        del about["layers"]
        return {**about, "layers": [layer._asdict() for layer in self.layers]}

    @staticmethod
    def of(data: Mapping[str, Any]) -> Summary:
        """What :attr:`data` gave."""
        given = {name: data[name] for name in Summary._fields}
        return Summary(**{**given, "layers": [Layer(**layer) for layer in data["layers"]]})


def summarize(model: Model, batch: int = 1) -> Summary:
    """What there is in a model.

    Args:
        model: which one.
        batch: the size of every symbol where FLOPs are counted.

    Raises:
        ShapeError: FLOPs that depend on more than these.
        ZeroDivisionError: sizes that make no sense for this batch.
    """
    from ..ir import Input, Role
    from ..ir.dims import substitute
    from ..ir.errors import ShapeError

    graph, values = model.graph, model.values
    found = []
    counted: set[str] = set()
    sizes = dict.fromkeys(graph.symbols(), batch)
    for node in graph.nodes:
        owned = [v for v in node.operands if isinstance(v, Input) and v.role is Role.PARAMETER]
        fresh = {value.name for value in owned} - counted
        counted |= fresh
        flops = substitute(node.cost.flops, sizes)
        if not isinstance(flops, int):
            raise ShapeError(
                f"the FLOPs of {node.op.name} are {flops}, and not all of these sizes are known",
                fix="give the sizes of the inputs as ints",
                path=node.path,
                loc=node.loc,
            )
        types = [str(value.type) for value in node.results]
        parameters = sum(values[name].size for name in fresh)
        found.append(Layer(node.path, node.op.name, types, parameters, flops))
    return Summary(
        model.name,
        {value.name: str(value.type) for value in graph.inputs_with(Role.DATA)},
        {name: str(value.type) for name, value in graph.outputs.items()},
        batch,
        model.parameter_count(),
        model.origin,
        found,
    )


def stored(path: str | os.PathLike[str]) -> Summary | None:
    """The summary that ``Model.save`` wrote into a file, for a batch of 1.

    None where there is none: another file, a damaged one, or one of an earlier version. The header
    is read alone (a length of eight bytes and JSON), and no checksum is compared.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > os.fstat(file.fileno()).st_size:
                return None
            metadata = json.loads(file.read(length))["__metadata__"]
        return Summary.of(json.loads(metadata[KEY]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
