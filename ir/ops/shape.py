"""Ops that move data without computing: reshape, transpose, concat, slice, flip, pad, gather."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..attributes import Pair, positive
from ..builder import Builder
from ..dims import Dim, divide_exactly, product, sizes
from ..errors import AttributeMistake, ShapeError, TypeMismatch
from ..graph import Node, Value
from ..op import Gradients, Op, Values, register
from ..types import Array, DType, TensorType
from .broadcast import broadcast, same_dtype, sum_to
from .reduce import normalize_axes, normalize_axis


@register
class Reshape(Op):
    """y = x with another shape, elements in row-major order. ONNX Reshape-14 with a full shape."""

    shape: tuple[Dim, ...]

    name = "reshape"
    exact = True

    def infer(self, x: TensorType) -> TensorType:
        if product(self.shape) != x.size:
            wanted = ",".join(map(str, self.shape))
            raise ShapeError(
                f"{x} has {x.size} elements, the shape [{wanted}] has {product(self.shape)}",
                fix="give a shape with as many elements; -1 stands for what is left over",
            ).between(x.size, product(self.shape))
        return x.with_shape(self.shape)

    def reference(self, x: Array) -> Array:
        return x.reshape(sizes(self.shape))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(Reshape(node.operands[0].type.shape), dy),)


def complete_shape(x: TensorType, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """``shape`` with one -1 replaced by what is left of the elements of ``x``.

    Raises:
        ShapeError: several -1, or no whole number is left.
    """
    unknown = [i for i, dim in enumerate(shape) if dim == -1]
    if not unknown:
        return shape
    rest = product(tuple(dim for dim in shape if dim != -1))
    left = divide_exactly(x.size, rest)
    if len(unknown) > 1 or left is None:
        raise ShapeError(
            f"cannot reshape {x} ({x.size} elements) to [{','.join(map(str, shape))}]",
            fix="use at most one -1, and sizes whose product divides the number of elements; "
            "nn.flatten(x) keeps the batch and merges the rest",
        )
    return tuple(left if dim == -1 else dim for dim in shape)


@register
class Flatten(Op):
    """y = x with the dimensions from start_dim to end_dim made one, as in PyTorch.

    With the default, [N, C, H, W] becomes [N, C*H*W]: ONNX Flatten-13 with axis 1.
    """

    start_dim: int = 1
    end_dim: int = -1

    name = "flatten"
    exact = True

    def infer(self, x: TensorType) -> TensorType:
        start = normalize_axis(self.start_dim, x.rank, self.name)
        end = normalize_axis(self.end_dim, x.rank, self.name)
        if start > end:
            raise AttributeMistake(
                f"flatten: start_dim {start} comes after end_dim {end} in {x}",
                fix="give the first dimension to merge, then the last: flatten(x, 1, -1)",
            )
        merged = product(x.shape[start : end + 1])
        return x.with_shape((*x.shape[:start], merged, *x.shape[end + 1 :]))

    def reference(self, x: Array) -> Array:
        start, end = self.start_dim % x.ndim, self.end_dim % x.ndim
        return x.reshape(
            *x.shape[:start], int(np.prod(x.shape[start : end + 1])), *x.shape[end + 1 :]
        )

    def decompose(self, b: Builder, *operands: Value) -> Values:
        (x,) = operands
        return b(Reshape(self.infer(x.type).shape), x)


@register
class Transpose(Op):
    """y[i_perm[0], i_perm[1], ...] = x[i_0, i_1, ...]. ONNX Transpose-13.

    Negative axes count from the last, as in NumPy.
    """

    perm: tuple[int, ...]

    name = "transpose"
    exact = True

    def check(self) -> None:
        rank = len(self.perm)
        vars(self)["perm"] = tuple(i + rank if -rank <= i < 0 else i for i in self.perm)

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.perm) != list(range(x.rank)):
            raise AttributeMistake(
                f"transpose: perm {list(self.perm)} is no order of the {x.rank} dimensions of {x}",
                fix=f"name each of {', '.join(map(str, range(x.rank)))} once",
            )
        return x.with_shape(x.shape[axis] for axis in self.perm)

    def reference(self, x: Array) -> Array:
        return np.transpose(x, self.perm)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(Transpose(tuple(self.perm.index(i) for i in range(len(self.perm)))), dy),)


@register
class Concat(Op):
    """y = the operands side by side along one axis. ONNX Concat-13."""

    axis: int

    name = "concat"
    exact = True
    operands = ("x", "*xs")

    def infer(self, *xs: TensorType) -> TensorType:
        same_dtype(self.name, *xs)
        axis = normalize_axis(self.axis, xs[0].rank, self.name)
        total: Dim = 0
        for x in xs:
            others = [(a, b) for i, (a, b) in enumerate(zip(xs[0].shape, x.shape)) if i != axis]
            differ = [(a, b) for a, b in others if a != b]
            if x.rank != xs[0].rank or differ:
                shown = ", ".join(f"{a} and {b}" for a, b in differ)
                raise ShapeError(
                    f"concat along axis {axis}: {xs[0]} and {x} differ elsewhere too"
                    + f", {shown}" * bool(differ),
                    fix="all other sizes must be equal: pool, pad or slice one of them",
                ).between(*next(iter(differ), ()))
            total = total + x.shape[axis]
        return xs[0].with_shape(total if i == axis else dim for i, dim in enumerate(xs[0].shape))

    def reference(self, *xs: Array) -> Array:
        return np.concatenate(xs, axis=self.axis)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        grads = []
        start: Dim = 0
        for x in node.operands:
            stop = start + x.type.shape[self.axis]
            grads.append(b(Slice((self.axis,), (start,), (stop,)), dy))
            start = stop
        return grads


@register
class Slice(Op):
    """y = x[start:stop:step] along each of some axes, bounds counted from 0. ONNX Slice-13."""

    axes: tuple[int, ...]
    starts: tuple[Dim, ...]
    stops: tuple[Dim, ...]
    steps: tuple[int, ...] | None = None

    name = "slice"
    exact = True

    def check(self) -> None:
        counts = {len(self.axes), len(self.starts), len(self.stops)}
        if len(counts) > 1 or (self.steps is not None and len(self.steps) not in counts):
            raise AttributeMistake("slice: axes, starts, stops and steps must be equally many")
        if self.steps is not None and min(self.steps, default=1) < 1:
            raise AttributeMistake(
                f"slice: steps must be at least 1, got {list(self.steps)}",
                fix="to go backwards, slice forwards and flip the result",
            )
        if self.steps is not None and all(step == 1 for step in self.steps):
            vars(self)["steps"] = None

    def bounds(self, rank: int) -> list[tuple[int, Dim, Dim, int]]:
        """(axis, start, stop, step) of each sliced axis."""
        steps = self.steps or (1,) * len(self.axes)
        axes = (normalize_axis(axis, rank, self.name) for axis in self.axes)
        return list(zip(axes, self.starts, self.stops, steps))

    def infer(self, x: TensorType) -> TensorType:
        shape = list(x.shape)
        for axis, start, stop, step in self.bounds(x.rank):
            size = x.shape[axis]
            known = [bound for bound in (start, stop, size) if isinstance(bound, int)]
            if (
                any(bound < 0 for bound in known)
                or (isinstance(start, int) and isinstance(stop, int) and start > stop)
                or (isinstance(stop, int) and isinstance(size, int) and stop > size)
            ):
                raise ShapeError(
                    f"slice [{start}:{stop}] along axis {axis} of {x}, which has size {size}",
                    fix=f"bounds count from 0, start <= stop <= {size}: the last index is one less",
                )
            shape[axis] = (stop - start + (step - 1)) // step
        return x.with_shape(shape)

    def reference(self, x: Array) -> Array:
        self.infer(TensorType.of(x))  # NumPy cuts what lies beyond a size; the type would be wrong
        index: list[Any] = [slice(None)] * x.ndim
        for axis, start, stop, step in self.bounds(x.ndim):
            first, end = sizes((start, stop))
            index[axis] = slice(first, end, step)
        return x[(*index, ...)]  # the ellipsis keeps a scalar an array

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        shape = node.operands[0].type.shape
        return (b(SliceBackward(shape, self.axes, self.starts, self.stops, self.steps), dy),)


@register
class SliceBackward(Op):
    """dx = zeros of ``shape`` with dy at the sliced places: the transpose of slice."""

    shape: tuple[Dim, ...]
    axes: tuple[int, ...]
    starts: tuple[Dim, ...]
    stops: tuple[Dim, ...]
    steps: tuple[int, ...] | None = None

    name = "slice_backward"
    exact = True
    operands = ("dy",)
    results = ("dx",)

    def slice(self) -> Slice:
        """The slice whose transpose this is."""
        return Slice(self.axes, self.starts, self.stops, self.steps)

    def infer(self, dy: TensorType) -> TensorType:
        wanted = self.slice().infer(dy.with_shape(self.shape))
        if wanted.shape != dy.shape:
            raise ShapeError(f"slice_backward: the slice gives {wanted}, dy is {dy}")
        return dy.with_shape(self.shape)

    def reference(self, dy: Array) -> Array:
        dx = np.zeros(sizes(self.shape), dy.dtype)
        self.slice().reference(dx)[...] = dy
        return dx

    def gradient(self, b: Builder, node: Node, dx: Value) -> Gradients:
        return (b(self.slice(), dx),)


@register
class Flip(Op):
    """y = x with the order of elements along each of ``axes`` reversed. NumPy's ``flip``."""

    axes: tuple[int, ...]

    name = "flip"
    exact = True

    def infer(self, x: TensorType) -> TensorType:
        normalize_axes(self.axes, x.rank, self.name)
        return x

    def reference(self, x: Array) -> Array:
        return np.flip(x, self.axes)

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (b(self, dy),)


@register
class Pad(Op):
    """y = x with constant borders; ``pads`` are (before, after) of every axis. ONNX Pad-18."""

    pads: tuple[Pair, ...]
    value: float = 0.0

    name = "pad"

    def infer(self, x: TensorType) -> TensorType:
        if len(self.pads) != x.rank:
            raise ShapeError(
                f"pad: {len(self.pads)} pairs of borders for {x}, which has {x.rank} dimensions",
                fix="give (before, after) for every dimension",
            )
        return x.with_shape(
            before + dim + after for dim, (before, after) in zip(x.shape, self.pads)
        )

    def reference(self, x: Array) -> Array:
        if not self.pads:
            return x  # np.pad takes no scalar
        return np.pad(x, self.pads, constant_values=x.dtype.type(self.value))

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        shape = node.operands[0].type.shape
        axes = tuple(i for i, borders in enumerate(self.pads) if borders != (0, 0))
        starts = tuple(self.pads[i][0] for i in axes)
        stops = tuple(self.pads[i][0] + shape[i] for i in axes)
        return (b(Slice(axes, starts, stops), dy) if axes else dy,)


@register
class Gather(Op):
    """y = rows of x along one axis, chosen by indices: NumPy's ``take``. ONNX Gather-13."""

    axis: int = 0

    name = "gather"
    exact = True
    operands = ("x", "indices")

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        need_indices(self.name, indices)
        axis = normalize_axis(self.axis, x.rank, self.name)
        return x.with_shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))

    def reference(self, x: Array, indices: Array) -> Array:
        check_indices(indices, x.shape[self.axis])
        return np.take(x, indices, axis=self.axis)

    def indices(self, *operands: TensorType) -> Mapping[int, Dim]:
        return {1: operands[0].shape[self.axis]}

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        x, indices = node.operands
        axis = normalize_axis(self.axis, x.type.rank, self.name)
        return (b(GatherBackward(x.type.shape[axis], axis), dy, indices), None)


@register
class GatherBackward(Op):
    """dx = zeros with every row of dy added at its index: the transpose of gather."""

    size: Dim
    axis: int = 0

    name = "gather_backward"
    operands = ("dy", "indices")
    results = ("dx",)

    def infer(self, dy: TensorType, indices: TensorType) -> TensorType:
        need_indices(self.name, indices)
        axis = normalize_axis(self.axis, dy.rank - indices.rank + 1, self.name)
        if dy.shape[axis : axis + indices.rank] != indices.shape:
            raise ShapeError(f"gather_backward: {dy} has no {indices} at axis {axis}")
        return dy.with_shape((*dy.shape[:axis], self.size, *dy.shape[axis + indices.rank :]))

    def reference(self, dy: Array, indices: Array) -> Array:
        (size,) = sizes((self.size,))
        check_indices(indices, size)
        axis = self.axis % (dy.ndim - indices.ndim + 1)
        tail = dy.shape[axis + indices.ndim :]
        dx = np.zeros((*dy.shape[:axis], size, *tail), dy.dtype)
        rows = np.moveaxis(dx, axis, 0)
        lead = tuple(range(axis, axis + indices.ndim))
        np.add.at(rows, indices, np.moveaxis(dy, lead, range(indices.ndim)))
        return dx

    def indices(self, *operands: TensorType) -> Mapping[int, Dim]:
        return {1: self.size}

    def gradient(self, b: Builder, node: Node, dx: Value) -> Gradients:
        return (b(Gather(self.axis), dx, node.operands[1]), None)


def need_indices(op: str, indices: TensorType) -> None:
    """Raise TypeMismatch unless ``indices`` are integers."""
    if not indices.dtype.is_integer:
        raise TypeMismatch(f"{op} takes integer indices, got {indices}", fix="cast them to i64")


def check_indices(indices: Array, size: int) -> None:
    """Raise ShapeError unless every index lies within 0 .. size - 1."""
    if indices.size and not (indices.min() >= 0 and indices.max() < size):
        raise index_error(indices[(indices < 0) | (indices >= size)].ravel()[0], size)


def index_error(index: int, size: int) -> ShapeError:
    """What to raise for an index that does not lie within 0 .. size - 1: the same everywhere."""
    return ShapeError(
        f"index {index} is out of range for size {size}",
        fix=f"indices run from 0 to {size - 1}; if they are class labels, check them, or give the "
        "network more classes"
        if size
        else "there is nothing to choose from: give no indices, or a larger array",
    )


@register
class Expand(Op):
    """y = x broadcast to ``shape``. ONNX Expand-13."""

    shape: tuple[Dim, ...]

    name = "expand"
    exact = True

    def infer(self, x: TensorType) -> TensorType:
        if broadcast(x.shape, self.shape) != self.shape:
            wanted = ",".join(map(str, self.shape))
            raise ShapeError(f"{x} cannot be expanded to [{wanted}]")
        return x.with_shape(self.shape)

    def reference(self, x: Array) -> Array:
        return np.broadcast_to(x, sizes(self.shape)).copy()

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        return (sum_to(b, dy, node.operands[0].type.shape),)


@register
class OneHot(Op):
    """y[..., k] = 1 where x = k, else 0, for k below ``depth``. ONNX OneHot-11."""

    depth: int
    dtype: DType = DType.F32

    name = "one_hot"
    exact = True
    operands = ("indices",)
    zero_gradient = True

    def check(self) -> None:
        positive(self.depth, "depth")

    def infer(self, indices: TensorType) -> TensorType:
        need_indices(self.name, indices)
        return TensorType(self.dtype, (*indices.shape, self.depth))

    def reference(self, indices: Array) -> Array:
        check_indices(indices, self.depth)
        return (indices[..., None] == np.arange(self.depth)).astype(self.dtype.numpy)

    def indices(self, *operands: TensorType) -> Mapping[int, Dim]:
        return {0: self.depth}
