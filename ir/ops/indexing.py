"""Elements taken and put by their indices, the greatest ones, triangles and counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..builder import Builder
from ..dims import Dim, product, sizes
from ..errors import AttributeMistake, ShapeError, TypeMismatch
from ..graph import Node, Value
from ..op import Gradients, Op, Values, register
from ..types import Array, DType, TensorType
from .broadcast import Shape, same_dtype
from .constant import scalar, size_as
from .elementwise import (
    Add,
    Cast,
    Div,
    Equal,
    GreaterEqual,
    LessEqual,
    Mul,
    Sub,
    Where,
)
from .reduce import normalize_axis
from .scan import CumSum
from .shape import Expand, Gather, Reshape, Slice, check_indices, need_indices

REDUCTIONS = ("none", "add", "mul", "min", "max")
_FUNCTIONS = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}


def _filled(b: Builder, value: float, like: Value, shape: Shape) -> Value:
    return b(Expand(shape), scalar(b, value, like))


def _as(b: Builder, value: Value, dtype: DType) -> Value:
    return value if value.type.dtype is dtype else b(Cast(dtype), value)


class _Elements(Op):
    """Base of ops whose indices say where elements lie along one axis of x."""

    axis: int = 0

    def check_fit(self, x: TensorType, indices: TensorType, run: bool = False) -> None:
        """Check that the indices are no longer than x along all other axes; sizes over symbols
        are compared when they are known, in a run."""
        need_indices(self.name, indices)
        if x.rank != indices.rank:
            raise ShapeError(
                f"{self.name}: x is {x} and the indices are {indices}",
                fix="give both as many dimensions; gather takes whole rows",
            )
        axis = normalize_axis(self.axis, x.rank, self.name)
        for i, (size, count) in enumerate(zip(x.shape, indices.shape)):
            known = isinstance(size, int) and isinstance(count, int)
            if i != axis and (known or run) and count > size:  # type: ignore[operator]
                raise ShapeError(
                    f"{self.name} along axis {axis}: the indices {indices} reach beyond {x}",
                    fix=f"give at most {size} along axis {i}",
                )

    def check_run(self, *operands: TensorType) -> None:
        self.check_fit(operands[0], operands[1], run=True)

    def indices(self, *operands: TensorType) -> Mapping[int, Dim]:
        return {1: operands[0].shape[self.axis]}

    def places(self, x: Array, indices: Array) -> tuple[Array, ...]:
        """The index along each axis of x, for every element of the indices."""
        check_indices(indices, x.shape[self.axis])
        found: list[Array] = list(np.indices(indices.shape, sparse=True))
        found[self.axis] = indices.astype(np.int64)
        return tuple(found)


@register
class GatherElements(_Elements):
    """y[i, j, ...] = x[indices[i, j, ...], j, ...] along axis 0, and so along any other.

    PyTorch's ``gather``, NumPy's ``take_along_axis``. ONNX GatherElements-13.
    """

    name = "gather_elements"
    exact = True
    operands = ("x", "indices")

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        self.check_fit(x, indices)
        return x.with_shape(indices.shape)

    def reference(self, x: Array, indices: Array) -> Array:
        return np.asarray(x[self.places(x, indices)])

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x, indices = node.operands
        zeros = _filled(b, 0, dy, x.type.shape)
        return (b(ScatterElements(self.axis, "add"), zeros, indices, dy), None)


@register
class ScatterElements(_Elements):
    """y = x, but y[indices[i, j, ...], j, ...] = updates[i, j, ...] along axis 0, and so on.

    With a reduction the update is added, multiplied, or the lesser or greater one is kept. Of
    several updates of one element the last counts, or they come one after the other. The gradient
    of equal extremes is shared; products are right for zeros too. ONNX ScatterElements-18.
    """

    axis: int = 0
    reduction: str = "none"

    name = "scatter_elements"
    operands = ("x", "indices", "updates")

    def check(self) -> None:
        check_reduction(self.name, self.reduction)

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        self.check_fit(x, indices)
        same_dtype(self.name, x, updates)
        if updates.shape != indices.shape:
            raise ShapeError(
                f"{self.name}: the indices are {indices}, the updates {updates}",
                fix="give an index for each update",
            )
        if self.reduction != "none" and x.dtype is DType.BOOL:
            raise TypeMismatch(f"{self.name}: no {self.reduction} of bools", fix="cast to i32")
        return x

    def reference(self, x: Array, indices: Array, updates: Array) -> Array:
        y, places = x.copy(), self.places(x, indices)
        if self.reduction == "none":
            y[places] = updates
        else:
            _FUNCTIONS[self.reduction].at(y, places, updates)
        return y

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x, indices, updates = node.operands
        take = GatherElements(self.axis)
        if self.reduction == "none":
            zeros = _filled(b, 0, dy, updates.type.shape)
            dx = b(ScatterElements(self.axis), dy, indices, zeros)
            last = self._is_last(b, x, indices)
            return (dx, None, b(Where(), last, b(take, dy, indices), zeros))
        if self.reduction == "add":
            return (dy, None, b(take, dy, indices))
        factors = self._factors if self.reduction == "mul" else self._shares
        of_x, of_updates = factors(b, node)
        taken = b(take, dy, indices)
        return (b(Mul(), dy, of_x), None, b(Mul(), taken, of_updates))

    def _is_last(self, b: Builder, x: Value, indices: Value) -> Value:
        """Write whether an update is the last one of its element."""
        axis = normalize_axis(self.axis, x.type.rank, self.name)
        shape = indices.type.shape
        count = b(Arange(shape[axis]))
        column = tuple(size if i == axis else 1 for i, size in enumerate(shape))
        order = b(Expand(shape), b(Reshape(column), count))
        found = b(ScatterElements(self.axis), _filled(b, 0, order, x.type.shape), indices, order)
        return b(Equal(), order, b(GatherElements(self.axis), found, indices))

    def _shares(self, b: Builder, node: Node) -> tuple[Value, Value]:
        """Write what part of the gradient an element of x, and an update, gets as an extreme."""
        x, indices, updates = node.operands
        take, dtype = GatherElements(self.axis), x.type.dtype
        of_x = b(Cast(dtype), b(Equal(), x, node.result))
        of_updates = b(Cast(dtype), b(Equal(), updates, b(take, node.result, indices)))
        count = b(ScatterElements(self.axis, "add"), of_x, indices, of_updates)
        return b(Div(), of_x, count), b(Div(), of_updates, b(take, count, indices))

    def _factors(self, b: Builder, node: Node) -> tuple[Value, Value]:
        """Write the product of all other factors, for an element of x and for an update."""
        x, indices, updates = node.operands
        take, dtype = GatherElements(self.axis), x.type.dtype
        zero, one = scalar(b, 0, x), scalar(b, 1, x)

        def parts(value: Value) -> tuple[Value, Value, Value]:
            vanishes = b(Equal(), value, zero)
            return vanishes, b(Where(), vanishes, one, value), b(Cast(dtype), vanishes)

        (x_is_0, x_held, x_count), (u_is_0, u_held, u_count) = parts(x), parts(updates)
        # The product of all factors but zeros, and how many zeros there are.
        held = b(ScatterElements(self.axis, "mul"), x_held, indices, u_held)
        count = b(ScatterElements(self.axis, "add"), x_count, indices, u_count)

        def others(is_0: Value, own: Value, all_: Value, zeros: Value) -> Value:
            alone = b(Equal(), zeros, b(Cast(dtype), is_0))  # no other factor is 0
            return b(Where(), alone, b(Div(), all_, own), zero)

        return (
            others(x_is_0, x_held, held, count),
            others(u_is_0, u_held, b(take, held, indices), b(take, count, indices)),
        )


def check_reduction(op: str, reduction: str) -> None:
    """Raise AttributeMistake unless there is such a reduction."""
    if reduction not in REDUCTIONS:
        raise AttributeMistake(
            f"{op}: there is no reduction {reduction!r}", fix=f"use one of {', '.join(REDUCTIONS)}"
        )


# ---- indices of several axes -------------------------------------------------------------------


def _depth(op: str, x: TensorType, indices: TensorType, batch_dims: int = 0) -> int:
    """How many axes of x each index tells, counted behind those of the batch."""
    need_indices(op, indices)
    depth = indices.shape[-1] if indices.rank else 0
    fits = isinstance(depth, int) and 1 <= depth <= x.rank - batch_dims
    if not fits or not 0 <= batch_dims < indices.rank:
        raise ShapeError(
            f"{op}: the indices {indices} do not tell places in {x}, with {batch_dims} axes of "
            "a batch",
            fix=f"let their last size be known, from 1 to {x.rank - batch_dims}",
        )
    assert isinstance(depth, int)
    return depth


def _flat(b: Builder, indices: Value, shape: Shape) -> Value:
    """Write the places, in row-major order, of indices [..., depth] in an array of a shape.

    Each is gathered from the numbers below the size of its axis: one out of range is refused as
    itself and for that size, and reaches no other row.
    """
    lead = indices.type.shape[:-1]
    axis, total = len(lead), scalar(b, 0, DType.I64)
    for place, size in enumerate(shape):
        part = b(Reshape(lead), b(Slice((axis,), (place,), (place + 1,)), indices))
        part = b(Gather(0), b(Arange(size)), part)
        total = b(Add(), b(Mul(), total, size_as(b, size, DType.I64)), part)
    return total


def _check_each(indices: Array, shape: tuple[int, ...]) -> None:
    for place, size in enumerate(shape):
        check_indices(indices[..., place], size)


@register
class GatherNd(Op):
    """y[..., :] = x[indices[..., 0], ..., indices[..., r - 1], :] for indices [..., r].

    The first ``batch_dims`` axes of both stay as they are. ONNX GatherND-13.
    """

    batch_dims: int = 0

    name = "gather_nd"
    exact = True
    operands = ("x", "indices")

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        batch = self.batch_dims
        depth = _depth(self.name, x, indices, batch)
        if x.shape[:batch] != indices.shape[:batch]:
            raise ShapeError(f"{self.name}: {x} and {indices} have no common batch")
        return x.with_shape((*indices.shape[:-1], *x.shape[batch + depth :]))

    def reference(self, x: Array, indices: Array) -> Array:
        batch, depth = self.batch_dims, indices.shape[-1]
        _check_each(indices, x.shape[batch : batch + depth])
        lead: list[Any] = list(np.indices(indices.shape[:-1], sparse=True)[:batch])
        return np.asarray(x[(*lead, *np.moveaxis(indices.astype(np.int64), -1, 0))])

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, indices = operands
        batch, depth = self.batch_dims, _depth(self.name, x.type, indices.type, self.batch_dims)
        shape = x.type.shape
        inner, rest = shape[batch : batch + depth], shape[batch + depth :]
        places = _flat(b, indices, inner)
        if batch:
            lead = indices.type.shape[:batch]
            first = b(Mul(), b(Arange(product(lead))), size_as(b, product(inner), DType.I64))
            column = (*lead, *(1,) * (len(places.type.shape) - batch))
            places = b(Add(), places, b(Reshape(column), first))
        rows = b(Reshape((product(shape[: batch + depth]), *rest)), x)
        return b(Gather(0), rows, places)


@register
class ScatterNd(Op):
    """y = x, but y[indices[..., 0], ..., indices[..., r - 1], :] = updates[..., :].

    Reductions and several updates of one element are those of scatter_elements. ONNX ScatterND-18.
    """

    reduction: str = "none"

    name = "scatter_nd"
    operands = ("x", "indices", "updates")

    def check(self) -> None:
        check_reduction(self.name, self.reduction)

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        same_dtype(self.name, x, updates)
        depth = _depth(self.name, x, indices)
        wanted = (*indices.shape[:-1], *x.shape[depth:])
        if updates.shape != wanted:
            shown = ",".join(map(str, wanted))
            raise ShapeError(
                f"{self.name}: the updates are {updates}, for {x} and indices {indices}",
                fix=f"give updates of shape [{shown}]",
            )
        return x

    def reference(self, x: Array, indices: Array, updates: Array) -> Array:
        y, depth = x.copy(), indices.shape[-1]
        _check_each(indices, x.shape[:depth])
        places = tuple(np.moveaxis(indices.astype(np.int64), -1, 0))
        if self.reduction == "none":
            y[places] = updates
        else:
            _FUNCTIONS[self.reduction].at(y, places, updates)
        return y

    def decompose(self, b: Builder, *operands: Value) -> Values:
        x, indices, updates = operands
        depth = _depth(self.name, x.type, indices.type)
        shape = x.type.shape
        width, count = product(shape[depth:]), product(indices.type.shape[:-1])
        places = b(Reshape((count, 1)), _flat(b, indices, shape[:depth]))
        y = b(
            ScatterElements(0, self.reduction),
            b(Reshape((product(shape[:depth]), width)), x),
            b(Expand((count, width)), places),
            b(Reshape((count, width)), updates),
        )
        return b(Reshape(shape), y)


# ---- the greatest ------------------------------------------------------------------------------


@register
class TopK(Op):
    """The k greatest elements along one axis, the greatest first, and their indices as i64.

    The least ones, and the least first, where not ``largest``. Of equal elements the one with the
    lower index comes first (ONNX Runtime); NaN counts as greater than all numbers (NumPy,
    PyTorch). ONNX TopK-11.
    """

    k: Dim
    axis: int = -1
    largest: bool = True

    name = "topk"
    exact = True
    results = ("values", "indices")

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        axis = normalize_axis(self.axis, x.rank, self.name)
        size, k = x.shape[axis], self.k
        known = isinstance(k, int) and isinstance(size, int)
        if (isinstance(k, int) and k < 0) or (known and k > size):  # type: ignore[operator]
            raise ShapeError(
                f"topk: {k} of the {size} elements along axis {axis} of {x}",
                fix=f"take from 0 to {size} elements",
            )
        if x.dtype is DType.BOOL:
            raise TypeMismatch(f"topk takes numbers, got {x}", fix="cast it to f32 first")
        chosen = x.with_shape(k if i == axis else dim for i, dim in enumerate(x.shape))
        return chosen, chosen.with_dtype(DType.I64)

    def reference(self, x: Array) -> tuple[Array, Array]:
        (k,) = sizes((self.k,))
        self.infer(TensorType.of(x))
        if self.largest:
            # Backwards, so that of equal elements the first comes last, and then turned.
            back = np.argsort(np.flip(x, self.axis), self.axis, kind="stable")
            order = x.shape[self.axis] - 1 - np.flip(back, self.axis)
        else:
            order = np.argsort(x, self.axis, kind="stable")
        indices = np.take(order, np.arange(k), self.axis)
        return np.take_along_axis(x, indices, self.axis), indices

    def gradient(self, b: Builder, node: Node, *dys: Value | None) -> Gradients:
        dvalues = dys[0]
        if dvalues is None:
            return (None,)
        zeros = _filled(b, 0, dvalues, node.operands[0].type.shape)
        return (b(ScatterElements(self.axis, "add"), zeros, node.results[1], dvalues),)


# ---- triangles and counts ----------------------------------------------------------------------


@register
class Trilu(Op):
    """y = x on and above the diagonal of the last two dimensions, else 0; or on and below it.

    ``diagonal`` counts diagonals above the main one. PyTorch's ``triu`` and ``tril``. ONNX
    Trilu-14.
    """

    upper: bool = True
    diagonal: int = 0

    name = "trilu"
    exact = True

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 2:
            raise ShapeError(
                f"trilu takes at least two dimensions, got {x}", fix="reshape it to a matrix"
            )
        return x

    def reference(self, x: Array) -> Array:
        return (np.triu if self.upper else np.tril)(x, self.diagonal)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        *_, rows, columns = x.type.shape
        down, along = b(Reshape((rows, 1)), b(Arange(rows))), b(Arange(columns))
        compare = GreaterEqual() if self.upper else LessEqual()
        kept = b(compare, b(Sub(), along, down), scalar(b, self.diagonal, along))
        return b(Where(), kept, x, scalar(b, 0, x))


@register
class Arange(Op):
    """y_i = i for i below ``size``. PyTorch's ``arange``. ONNX Range-11 from 0."""

    size: Dim
    dtype: DType = DType.I64

    name = "arange"
    operands = ()
    zero_gradient = True

    def infer(self) -> TensorType:
        if isinstance(self.size, int) and self.size < 0:
            raise ShapeError(f"arange: there are no {self.size} numbers", fix="count from 0 on")
        return TensorType(self.dtype, (self.size,))

    def reference(self) -> Array:
        return np.arange(*sizes((self.size,))).astype(self.dtype.numpy)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        ones = b(Expand((self.size,)), scalar(b, 1, DType.I64))
        return _as(b, b(CumSum(0, exclusive=True), ones), self.dtype)
