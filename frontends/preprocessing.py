"""What of preprocessing a graph does itself, and whether what is said of a model fits its graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..ir import Array, Dim, DType, Graph, Input, Node, Role, Value
from ..ir.attributes import Pair
from ..ir.errors import AttributeMistake, GraphError, ShapeError
from ..ir.ops.constant import Constant
from ..ir.ops.elementwise import Add, Cast, Div, Mul, Sub
from ..ir.preprocessing import ORDERS, Preprocessing

# What a pixel from 0 to 1 is divided by, or what is taken off, is less: deviations are at most 1/2.
_MOST_OF_UNIT = 2.0


@dataclass(frozen=True)
class Pictures:
    """The input of a graph that takes images.

    Attributes:
        value: the input, of four dimensions.
        axis: the dimension of the channels: 1, or 3 where they come last.
    """

    value: Input
    axis: int

    @property
    def channels(self) -> Dim:
        """How many there are."""
        return self.value.type.shape[self.axis]

    @property
    def size(self) -> tuple[Dim, Dim]:
        """Height and width."""
        shape = self.value.type.shape
        return (shape[2], shape[3]) if self.axis == 1 else (shape[1], shape[2])

    @property
    def fixed_size(self) -> Pair | None:
        """Height and width, where both are known."""
        height, width = self.size
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def pictures(inputs: list[Input], name: str) -> Pictures:
    """The input that takes images; channels come second, or last where only that can be.

    Args:
        inputs: the data inputs of a graph.
        name: of the graph.

    Raises:
        GraphError: several inputs, or one of other dimensions.
    """
    if len(inputs) != 1 or inputs[0].type.rank != 4:
        takes = ", ".join(f"{value.name}: {value.type}" for value in inputs)
        raise GraphError(
            f"preprocessing is for a model with one input of images, {name} takes ({takes})",
            fix="prepare its inputs by hand, and call what cauce.compile(model) gives",
        )
    shape, known = inputs[0].type.shape, set(ORDERS.values())
    last = isinstance(shape[1], int) and shape[1] not in known and shape[3] in known
    return Pictures(inputs[0], 3 if last else 1)


# ---- what the graph does -----------------------------------------------------------------------


@dataclass(frozen=True)
class Normalization:
    """(pixel - mean) / std at the beginning of a graph.

    Attributes:
        mean: for each channel, or one for all; of pixels from 0 to 1.
        std: likewise.
        bytes: whether the graph takes pixels from 0 to 255.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bytes: bool


def normalization(graph: Graph, values: Mapping[str, Array]) -> Normalization | None:
    """What ``nn.normalize``, or a chain of the same kind, does to the images of a graph.

    It is found where nothing else reads the images, and where their sum with, or their product
    with, one number for each channel is computed: the numbers are constants or, in files made
    elsewhere, parameters. None where there is no such chain.

    Args:
        graph: which one.
        values: parameters that may be such numbers, by name.
    """
    taken = pictures(graph.inputs_with(Role.DATA), graph.name)
    value: Value = taken.value
    slope, offset = np.ones(1), np.zeros(1)
    found = False
    while len(value.users) == 1 and not graph.leaves(value):
        node = value.users[0]
        if isinstance(node.op, Cast) and node.op.to.is_float:
            value = node.result
            continue
        step = _step(node, value, taken, values)
        if step is None:
            break
        slope, offset = slope * step[0], offset * step[0] + step[1]
        value, found = node.result, True
    if not found or not (slope > 0).all():
        return None
    mean, std = -offset / slope, 1 / slope
    takes_bytes = taken.value.type.dtype is DType.U8 or bool(
        max(np.abs(mean).max(), std.max()) > _MOST_OF_UNIT
    )
    unit = 255.0 if takes_bytes else 1.0
    return Normalization(_rounded(mean / unit), _rounded(std / unit), takes_bytes)


def _step(
    node: Node, value: Value, taken: Pictures, values: Mapping[str, Array]
) -> tuple[Array, Array] | None:
    """(a, b) where a node computes a * value + b, each one number or one for each channel."""
    if not isinstance(node.op, (Add, Sub, Mul, Div)) or node.operands.count(value) != 1:
        return None
    left = node.operands[0] is value
    numbers = _channels(node.operands[1 if left else 0], taken, values)
    if numbers is None:
        return None
    match node.op:
        case Add():
            return np.ones(1), numbers
        case Sub():
            return (np.ones(1), -numbers) if left else (-np.ones(1), numbers)
        case Mul():
            return numbers, np.zeros(1)
        case _:
            return (1 / numbers, np.zeros(1)) if left and numbers.all() else None


def _channels(value: Value, taken: Pictures, values: Mapping[str, Array]) -> Array | None:
    """A constant or a parameter as one number, or one for each channel, f64; else None."""
    if value.node is not None and isinstance(value.node.op, Constant):
        array = value.node.op.value.array
    elif isinstance(value, Input) and value.role is Role.PARAMETER and value.name in values:
        array = values[value.name]
    else:
        return None
    place = taken.axis - 4 + array.ndim
    if array.size != 1 and (array.ndim > 4 or place < 0 or array.size != array.shape[place]):
        return None
    return array.astype(np.float64).reshape(-1)


def _rounded(numbers: Array) -> tuple[float, ...]:
    """Numbers as they were written, before they were rounded to float32."""
    return tuple(float(f"{number:.6g}") for number in numbers)


# ---- what is said of a model -------------------------------------------------------------------


def fitted(given: Preprocessing, graph: Graph, values: Mapping[str, Array]) -> Preprocessing:
    """``given`` as it is true of a graph: what that does itself is not to be done before it.

    Raises:
        GraphError: the graph takes no images.
        ShapeError: images of another size or with other channels, or other classes.
        AttributeMistake: bytes that would not stay bytes.
    """
    taken = pictures(graph.inputs_with(Role.DATA), graph.name)
    type_ = taken.value.type
    if given.channels is not None and isinstance(taken.channels, int):
        wanted = ORDERS[given.channels]
        if wanted != taken.channels:
            raise ShapeError(
                f"{graph.name} takes {type_}: {taken.channels} channels, and "
                f"{given.channels} has {wanted}",
                fix="write channels='L' for grey images, 'RGB' or 'BGR' for those with colours",
            )
    if given.size is not None:
        for dim, size in zip(taken.size, given.size):
            if isinstance(dim, int) and dim != size:
                raise ShapeError(
                    f"{graph.name} takes {type_}, and preprocessing brings images to "
                    f"{given.size[0]} x {given.size[1]}",
                    fix=f"write size={taken.size}, or make the network for another size in init",
                )
    count = class_count(graph)
    if given.classes is not None and count not in (None, len(given.classes)):
        raise ShapeError(
            f"{graph.name} has {count} outputs, and there are {len(given.classes)} classes",
            fix="name each output, or leave classes out",
        )
    found = normalization(graph, values)
    if found is not None:
        given = replace(given, mean=found.mean, std=found.std, normalized_in_graph=True)
        if found.bytes:
            given = replace(given, scale=1.0)
    if type_.dtype is not DType.U8:
        return given
    if not given.normalized_in_graph and (given.mean, given.std) != (0.0, 1.0):
        raise AttributeMistake(
            f"{graph.name} takes bytes, {type_}, which cannot be normalised before",
            fix="leave mean and std out, or let the network do it: nn.normalize(image, mean, std)",
        )
    return replace(given, scale=1.0)


def class_count(graph: Graph) -> int | None:
    """How many classes the one output [N, K], or [N, K, 1, 1], tells apart; None where unknown."""
    if len(graph.outputs) != 1:
        return None
    shape = next(iter(graph.outputs.values())).type.shape
    if len(shape) < 2 or any(dim != 1 for dim in shape[2:]) or not isinstance(shape[1], int):
        return None
    return 2 if shape[1] == 1 else shape[1]


def completed(
    own: Preprocessing | None, found: Preprocessing, graph: Graph, values: Mapping[str, Array]
) -> Preprocessing | None:
    """What a model knows, and where it knows nothing, what the data it is trained on tell.

    None where it takes no images.
    """
    inputs = graph.inputs_with(Role.DATA)
    if len(inputs) != 1 or inputs[0].type.rank != 4:
        return own
    classes = found.classes
    if classes is not None and class_count(graph) not in (None, len(classes)):
        classes = None
    if own is not None:
        return own.named(classes) if own.classes is None else own
    taken = pictures(inputs, graph.name)
    size = taken.fixed_size or found.size
    channels = found.channels
    if channels is not None and taken.channels != ORDERS[channels]:
        channels = None
    return fitted(replace(found, classes=classes, size=size, channels=channels), graph, values)
