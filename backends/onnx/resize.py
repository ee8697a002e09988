"""Export of resizing: as Resize where ONNX Runtime has it so, else as what it is along each axis.

Along one axis resizing is a product with a matrix [L, R], or a Gather. Where sizes are known only
at run time, the matrix is an identity resized, and the indices are 0, 1, ..., L - 1 resized.
"""

from __future__ import annotations

import numpy as np

from ...ir import Dim, DType, Node, TensorType
from ...ir.errors import ExportFailure
from ...ir.ops.resize import Resampling, Resize, ResizeBackward
from .rules import HALVES_IN_F32, exports
from .writer import Writer

Shape = tuple[Dim, ...]

# What the Resize of ONNX Runtime takes.
_NEAREST = (DType.F32, DType.I32, DType.I8, DType.U8)


@exports(Resize, carriers=HALVES_IN_F32)
def _resize(w: Writer, op: Resize, node: Node, x: str) -> str:
    before, after = node.operands[0].type, node.result.type
    axes = op.axes_of(before.rank)
    if _is_direct(op, before, after):
        return _direct(w, op, axes, x, before.shape, after.shape)
    for place, axis in enumerate(axes):
        sizes = before.shape[axis], after.shape[axis]
        if op.mode == "nearest":
            x = w("Gather", x, _indices(w, op, place, *sizes), axis=axis)
        else:
            x = _product(w, x, axis, before.rank, _matrix(w, op, place, *sizes, before.dtype))
        if op.coordinate_transformation_mode == "tf_crop_and_resize":
            column = w.ints([after.shape[axis], *(1,) * (before.rank - 1 - axis)])
            inside = w("Reshape", _inside(w, op, place, *sizes), column)
            x = w("Where", inside, x, w.constant(op.extrapolation_value, before.dtype))
    return x


@exports(ResizeBackward, carriers=HALVES_IN_F32)
def _resize_backward(w: Writer, op: ResizeBackward, node: Node, dy: str) -> str:
    after, before = node.operands[0].type, node.result.type
    for place, axis in enumerate(op.axes_of(after.rank)):
        matrix = _matrix(w, op, place, before.shape[axis], after.shape[axis], after.dtype)
        dy = _product(w, dy, axis, after.rank, w("Transpose", matrix, perm=[1, 0]))
    return dy


def _is_direct(op: Resize, before: TensorType, after: TensorType) -> bool:
    """Whether ONNX Runtime's Resize gives the same."""
    axes = op.axes_of(before.rank)
    if op.mode == "nearest":
        taken = before.dtype in _NEAREST
    else:
        taken = before.dtype is DType.F32 and before.rank == 4 and set(axes) <= {2, 3}
    for place, axis in enumerate(axes):
        length, resized = before.shape[axis], after.shape[axis]
        known = isinstance(length, int) and isinstance(resized, int)
        if op.coordinate_transformation_mode == "tf_crop_and_resize":
            taken &= not known  # it takes the whole of an axis that stays as long
        if op.scales is not None and isinstance(length, int):
            taken &= int(np.float32(op.scales[place]) * np.float32(length)) == resized
        if op.scales is not None and op.coordinate_transformation_mode == "half_pixel_symmetric":
            taken &= not known  # opset 19
    return taken


def _direct(w: Writer, op: Resampling, axes: list[int], x: str, before: Shape, after: Shape) -> str:
    """One Resize."""
    roi, scales, sizes = "", "", ""
    if op.scales is None:
        sizes = w.ints(after)
    else:
        by_axis = dict(zip(axes, op.scales))
        factors = [by_axis.get(axis, 1.0) for axis in range(len(before))]
        scales = w.constant(np.array(factors, np.float32), DType.F32)
    coordinates = op.coordinate_transformation_mode
    if coordinates == "half_pixel_symmetric":
        if op.scales is not None:
            raise ExportFailure(
                "half_pixel_symmetric by scales is not in ONNX's opset 18, nor can it be written "
                "otherwise where sizes are not known",
                fix="resize to sizes in place of scales, or export with known sizes",
            )
        coordinates = "half_pixel"  # which it is where scales are quotients of sizes
    if op.roi is not None:
        starts, ends = np.zeros(len(before), np.float32), np.ones(len(before), np.float32)
        starts[axes], ends[axes] = op.roi[: len(axes)], op.roi[len(axes) :]
        roi = w.constant(np.concatenate([starts, ends]), DType.F32)
    attributes = {
        "mode": op.mode,
        "coordinate_transformation_mode": coordinates,
        "nearest_mode": op.nearest_mode,
        "cubic_coeff_a": op.cubic_coeff_a,
        "exclude_outside": int(op.exclude_outside),
        "extrapolation_value": op.extrapolation_value if isinstance(op, Resize) else 0.0,
    }
    if op.antialias:
        attributes["antialias"] = 1
    return w("Resize", x, roi, scales, sizes, **attributes)


def _indices(w: Writer, op: Resize, place: int, length: Dim, resized: Dim) -> str:
    """The place that each place reads, i64 [R]."""
    if isinstance(length, int) and isinstance(resized, int):
        return w.constant(op.table(place, length, resized).indices[:, 0], DType.I64)
    numbers = w.cast(w.range(length), DType.F32)
    return w.cast(_alone(w, op, place, [0], numbers, (length,), (resized,)), DType.I64)


def _matrix(w: Writer, op: Resampling, place: int, length: Dim, resized: Dim, dtype: DType) -> str:
    """The weights [L, R] with which each place reads the others."""
    if isinstance(length, int) and isinstance(resized, int):
        taps = op.table(place, length, resized)
        matrix = np.zeros((length, resized))
        np.add.at(matrix, (taps.indices, np.arange(resized)[:, None]), taps.weights)
        return w.constant(matrix.astype(dtype.numpy), dtype)
    row, column = (w("Unsqueeze", w.range(length), w.ints([axis])) for axis in (0, 1))
    identity = w.cast(w("Equal", row, column), DType.F32)
    return w.cast(_alone(w, op, place, [1], identity, (length, length), (length, resized)), dtype)


def _inside(w: Writer, op: Resize, place: int, length: Dim, resized: Dim) -> str:
    """Whether each place lies inside, [R]."""
    if isinstance(length, int) and isinstance(resized, int):
        return w.constant(op.table(place, length, resized).inside, DType.BOOL)
    ones = w("Expand", w.constant(1, DType.F32), w.ints([length]))
    nearest = op.with_attributes(mode="nearest", antialias=False)
    found = _alone(w, nearest, place, [0], ones, (length,), (resized,))
    return w.cast(found, DType.BOOL)


def _alone(
    w: Writer, op: Resampling, place: int, axes: list[int], x: str, before: Shape, after: Shape
) -> str:
    """One axis of the op, as that of another array in float32; 0 outside."""
    count = len(op.axes)
    fields = dict(op.attributes()) | {"axes": axes, "sizes": [after[axis] for axis in axes]}
    fields["extrapolation_value"] = 0.0
    if op.scales is not None:
        fields["scales"] = (op.scales[place],)
    if op.roi is not None:
        fields["roi"] = (op.roi[place], op.roi[place + count])
    return _direct(w, Resize(**fields), axes, x, before, after)


def _product(w: Writer, x: str, axis: int, rank: int, matrix: str) -> str:
    """x times a matrix, along an axis."""
    if axis == rank - 1:
        return w("MatMul", x, matrix)
    last = [*(i for i in range(rank) if i != axis), axis]
    back = [last.index(i) for i in range(rank)]
    return w("Transpose", w("MatMul", w("Transpose", x, perm=last), matrix), perm=back)
