"""Broadcasting, as NumPy and ONNX define it, over symbolic shapes."""

from __future__ import annotations

from ..builder import Builder
from ..dims import Dim
from ..errors import ShapeError, TypeMismatch
from ..graph import Value
from ..types import DType, TensorType

Shape = tuple[Dim, ...]

_SHORTCUT = "; in a residual block, a 1x1 convolution with the stride brings the shortcut there"


def broadcast(*shapes: Shape) -> Shape:
    """The common shape of ``shapes``, aligned at the last dimension.

    Raises:
        ShapeError: two sizes that differ and are not 1; a symbol equals only itself.
    """
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result = []
    for axis, sizes in enumerate(zip(*padded)):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            shown = " and ".join("[" + ",".join(map(str, shape)) + "]" for shape in shapes)
            differ = " and ".join(str(size) for size in dict.fromkeys(sizes) if size != 1)
            counted = axis if all(len(shape) == rank for shape in shapes) else axis - rank
            raise ShapeError(
                f"shapes {shown} do not broadcast: dimension {counted} is {differ}",
                fix="sizes must be equal, or one of them 1"
                + " (dimensions are counted from the last)" * (counted < 0)
                + _SHORTCUT * (rank == 4),
            ).between(*wide)
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def same_dtype(op: str, *types: TensorType) -> DType:
    """The dtype of all ``types``.

    Raises:
        TypeMismatch: they differ.
    """
    dtypes = list(dict.fromkeys(type_.dtype for type_ in types))
    if len(dtypes) > 1:
        raise TypeMismatch(
            f"{op}: the operands are {' and '.join(map(str, types))}",
            fix=f"give them one dtype, for example with cast('{dtypes[0]}')",
        )
    return dtypes[0]


def need_float(op: str, *types: TensorType) -> None:
    """Raise TypeMismatch unless all ``types`` are floating-point."""
    for type_ in types:
        if not type_.dtype.is_float:
            raise TypeMismatch(
                f"{op} takes floating-point values, got {type_}",
                fix="cast it to f32 first; nn.normalize does so for bytes, and scales them",
            )


def need_number(op: str, *types: TensorType) -> None:
    """Raise TypeMismatch where one of ``types`` is bool."""
    for type_ in types:
        if type_.dtype is DType.BOOL:
            raise TypeMismatch(f"{op} takes numbers, got {type_}", fix="cast it to f32 first")


def sum_to(b: Builder, value: Value, shape: Shape) -> Value:
    """Write the gradient of a broadcast: sum ``value`` over what was broadcast from ``shape``."""
    from .reduce import Sum
    from .shape import Reshape

    wide = value.type.shape
    if wide == shape:
        return value
    lead = len(wide) - len(shape)
    axes = tuple(range(lead)) + tuple(
        axis + lead for axis, size in enumerate(shape) if size == 1 and wide[axis + lead] != 1
    )
    if axes:
        value = b(Sum(axes, keepdims=True), value)
    return value if value.type.shape == shape else b(Reshape(shape), value)
