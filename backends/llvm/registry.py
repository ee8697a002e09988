"""What the backend knows of each op: facts, which lowering reads, and what writes its code.

``register(op, facts, emit)`` says all that the backend must know of an op. The modules of
``codegen/kernels`` register those of cauce; an op from elsewhere works by its registration alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...ir import Op, TensorType
from ...ir.errors import UnsupportedOp
from ...ir.layout import CHANNELS_LAST, NO_HALO, Halo, Order, Strided, Strides
from ...ir.record import Record

if TYPE_CHECKING:
    from .schedule.schedule import Choice, Setting
    from .target import Target

Types = Sequence[TensorType]


class Weight(Record):
    """The operand that an anchor reads once for each tile, in an order of its own.

    Attributes:
        place: of the operand.
        order: the axes as it is read, the one across the lanes innermost.
        packs: whether the emitter accepts it in blocks, as ``Blocked`` has them.
        fixed: whether it is brought into that order only where it never changes.
        flip: whether its taps are read backwards.
    """

    place: int
    order: Order
    packs: bool = True
    fixed: bool = False
    flip: bool = False


class Facts:
    """What lowering must know of an op beside its meaning; a family of ops has a subclass.

    The methods take the op and the types of its operands, in order; types have no layouts yet
    unless a method says so.

    Class variables:
        anchor: whether it becomes a kernel, and has a schedule.
        epilogue: whether an anchor applies elementwise ops to its result on registers.
        prologue: whether an anchor computes its operand on registers, by elementwise ops.
        reads_weight_once: whether its weight, where it is large, is to be read once for a whole
            batch.
        is_view: whether its result is the operand's buffer under another shape or order, where
            that can be (:meth:`view`).
        writes_halo: whether it can write its result within a halo.
        writes_part: whether it can write its result as a part of a concatenation.
    """

    anchor: ClassVar[bool] = False
    epilogue: ClassVar[bool] = False
    prologue: ClassVar[bool] = False
    reads_weight_once: ClassVar[bool] = False
    is_view: ClassVar[bool] = False
    writes_halo: ClassVar[bool] = False
    writes_part: ClassVar[bool] = False

    def images(self, op: Any, operands: Types) -> tuple[int, ...]:
        """The places of operands that are read channels-last."""
        return ()

    def reads_planar(self, op: Any, operands: Types, target: Target) -> bool:
        """Whether an image that lies channel by channel is better read so."""
        return False

    def weight(self, op: Any, operands: Types) -> Weight | None:
        """The operand that is laid out for this op, if there is one."""
        return None

    def halo(self, op: Any, operands: Types) -> Halo:
        """The zeros around the first image that are read."""
        return NO_HALO

    def order(self, op: Any, operands: Types, result: TensorType) -> Order:
        """The order in which the result lies; ``operands`` have their layouts."""
        return row_major_order(result)

    def view(
        self, op: Any, operand: TensorType, strides: Strides, result: TensorType
    ) -> Strides | None:
        """The strides of the result of a view in the buffer of the operand, which has ``strides``;
        None where it needs a buffer of its own."""
        return None

    def schedules(
        self, op: Any, operands: Types, result: TensorType, setting: Setting
    ) -> Sequence[Choice]:
        """How an anchor can run, the best way first; ``operands`` have the layouts that they are
        made in."""
        raise NotImplementedError

    def by_image(
        self, op: Any, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        """Whether each image of the result is made of the same image of the operands.

        ``of_images`` says which operands have images along axis 0, one of them at least, or none
        where the op itself names the batch.
        """
        return False


class ImageFacts(Facts):
    """An op whose result is an image, lying channels-last."""

    writes_halo = True
    writes_part = True

    def order(self, op: Any, operands: Types, result: TensorType) -> Order:
        return CHANNELS_LAST


class FollowingFacts(Facts):
    """An op whose result lies as its first operand does."""

    writes_halo = True

    def order(self, op: Any, operands: Types, result: TensorType) -> Order:
        return order_of(operands[0])


class ElementwiseFacts(Facts):
    """An elementwise op: the result lies as the first operand of its shape that is no row-major
    array."""

    writes_halo = True
    writes_part = True

    def order(self, op: Any, operands: Types, result: TensorType) -> Order:
        orders = (order_of(type_) for type_ in operands if type_.shape == result.shape)
        rows = row_major_order(result)
        return next((order for order in orders if order != rows), rows)

    def by_image(
        self, op: Any, operands: Types, result: TensorType, of_images: Sequence[bool]
    ) -> bool:
        # An array of lower rank would be broadcast along images.
        return all(type_.rank == result.rank for type_, own in zip(operands, of_images) if own)


def row_major_order(type_: TensorType) -> Order:
    """The axes of an array in row-major order."""
    return tuple(range(type_.rank))


def order_of(type_: TensorType) -> Order:
    """The order in which a strided array lies."""
    assert isinstance(type_.layout, Strided), "a packed array has no order"
    return type_.layout.order


# ---- the table ---------------------------------------------------------------------------------

# What an emitter takes is codegen's own business.
Emitter = Callable[[Any], None]


class Registration(Record):
    """What is known of an op: its facts, and what writes its code."""

    facts: Facts
    emit: Emitter


_REGISTRY: dict[type[Op], Registration] = {}


def register(op: type[Op], facts: Facts, emit: Emitter) -> None:
    """Say what the backend knows of an op; what was said before is replaced."""
    _REGISTRY[op] = Registration(facts, emit)


def registered() -> Mapping[type[Op], Registration]:
    """All that is known, by op."""
    return _REGISTRY


def known_facts(op: Op) -> Facts | None:
    """The facts of an op; None where nothing is known of it, as of composites."""
    known = _REGISTRY.get(type(op))
    return known.facts if known is not None else None


def facts_of(op: Op) -> Facts:
    """The facts of an op.

    Raises:
        UnsupportedOp: nothing is known of it.
    """
    return _registration(op).facts


def emitter_of(op: Op) -> Emitter:
    """What writes the code of an op.

    Raises:
        UnsupportedOp: nothing is known of it.
    """
    return _registration(op).emit


def _registration(op: Op) -> Registration:
    known = _REGISTRY.get(type(op))
    if known is None:
        raise UnsupportedOp(
            f"the llvm backend has no kernel for {op.name}",
            fix="register one: backends/llvm/registry.py",
        )
    return known
