"""Import of what changes or asks for the shape of a tensor."""

from __future__ import annotations

from ...ir import Dim
from ...ir.dims import product
from ...ir.ops.broadcast import broadcast
from ...ir.ops.reduce import normalize_axes, normalize_axis
from ...ir.ops.shape import Expand, Flatten, Reshape, complete_shape
from .call import Call
from .rules import Known, Made, imports


def _shape_of(n: Call) -> tuple[Dim, ...]:
    found = n.operand(0)
    return found.shape if isinstance(found, Known) else found.type.shape


@imports("Shape")
def _shape(n: Call) -> Made:
    """Shape-1; 15: start and end."""
    shape = _shape_of(n)
    start, end = n.integer("start", 0), n.integer("end", len(shape))
    return Known.of(list(shape[start:end]))


@imports("Size")
def _size(n: Call) -> Made:
    """Size-1."""
    return Known.of(product(_shape_of(n)))


@imports("Reshape")
def _reshape(n: Call) -> Made:
    """Reshape-1: shape is an attribute; 5: an operand; 14: allowzero."""
    x = n.value(0)
    n.ignore("consumed_inputs")
    wanted: tuple[Dim, ...]
    wanted = n.dims(1, "shape") if n.opset >= 5 else n.ints("shape") or ()
    if not n.integer("allowzero", 0):
        wanted = tuple(x.type.shape[i] if dim == 0 else dim for i, dim in enumerate(wanted))
    return n.b(Reshape(complete_shape(x.type, wanted)), x)


@imports("Flatten")
def _flatten(n: Call) -> Made:
    """Flatten-1 to 13: [i, j] from the dimensions before axis, and those from it on."""
    x = n.value(0)
    axis, shape = n.integer("axis", 1), x.type.shape
    if axis != len(shape):
        axis = normalize_axis(axis, len(shape), "Flatten")
    if axis == 1 and len(shape) > 1:
        return n.b(Flatten(), x)
    return n.b(Reshape((product(shape[:axis]), product(shape[axis:]))), x)


@imports("Squeeze")
def _squeeze(n: Call) -> Made:
    """Squeeze-1: axes is an attribute; 13: an operand. Without axes all of size 1 go."""
    x = n.value(0)
    shape, axes = x.type.shape, n.listed("axes", 1, 13)
    if axes is None:
        gone: tuple[int, ...] = tuple(i for i, dim in enumerate(shape) if dim == 1)
    else:
        gone = normalize_axes(axes, len(shape), "Squeeze")
    if any(shape[axis] != 1 for axis in gone):
        raise n.refuse(f"axes {list(gone)} of {x.type} are not all 1")
    return n.b(Reshape(tuple(dim for i, dim in enumerate(shape) if i not in gone)), x)


@imports("Unsqueeze")
def _unsqueeze(n: Call) -> Made:
    """Unsqueeze-1: axes is an attribute; 13: an operand. They count in the result."""
    x = n.value(0)
    axes = n.listed("axes", 1, 13) or ()
    rank = x.type.rank + len(axes)
    new, old = normalize_axes(axes, rank, "Unsqueeze"), iter(x.type.shape)
    return n.b(Reshape(tuple(1 if i in new else next(old) for i in range(rank))), x)


@imports("Expand")
def _expand(n: Call) -> Made:
    """Expand-8 and 13: broadcast against a shape, in which 1 leaves a size as it is."""
    x = n.value(0)
    shape = broadcast(x.type.shape, n.dims(1, "shape"))
    return x if shape == x.type.shape else n.b(Expand(shape), x)
