"""The symbolic tensor: what a network's function computes with."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..ir import Array, Dim, DType, Op, TensorType, Value
from ..ir.attributes import parts
from ..ir.dims import DimExpr, as_dim, is_int
from ..ir.errors import AttributeMistake, ShapeError, TypeMismatch, located, shown
from ..ir.location import here
from ..ir.ops import elementwise as ew
from ..ir.ops import reduce, shape
from ..ir.ops.linear import MatMul
from ..ir.tracebacks import user_facing
from .habits import Habits

if TYPE_CHECKING:
    from .tracing import Trace

Size: TypeAlias = Dim | str
Number: TypeAlias = int | float | bool
Axes: TypeAlias = int | tuple[int, ...] | None
Index: TypeAlias = int | slice | EllipsisType


@user_facing
class Tensor(Habits):
    """A value of the graph that is being traced, with arithmetic.

    It has a type (``dtype``, ``shape``) but no numbers yet. Python numbers take its dtype.

    Operators broadcast as NumPy's do: tensors of one dtype, and numbers and arrays, which take it.

    Attributes:
        value: what it is in the graph.
        trace: where that graph is being written.

    Raises:
        TypeMismatch: dtypes that do not fit, or what is no tensor, number or array.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> def layer(x):
        ...     print(x.type, x.shape, x.dtype, x.ndim, x.channels, x.height, x.width)
        ...     mean, spread = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True).sqrt()
        ...     scaled = (x - mean) / (spread + 1e-5)
        ...     pixels = scaled.permute(0, 2, 3, 1).reshape(-1, x.channels)
        ...     gate = pixels.exp() / pixels.exp().sum(dim=-1, keepdim=True)
        ...     tops = gate.max(dim=-1), gate.min(dim=-1), gate.prod(dim=-1), gate.log().sum()
        ...     hits = gate.argmax().eq(gate.flip(1).argmin()).cast("f32")
        ...     return hits, gate[:2].flatten(), gate[0].expand(3, -1), *tops
        >>> graph = cauce.network(layer).graph(x=("N", 3, 4, 4))
        f32[N,3,4,4] (<dim N>, 3, 4, 4) f32 4 3 4 4
        >>> [str(value.type) for value in graph.outputs.values()]
        ['f32[16*N]', 'f32[6]', 'f32[3,3]', 'f32[16*N]', 'f32[16*N]', 'f32[16*N]', 'f32[]']
    """

    def __init__(self, value: Value, trace: Trace) -> None:
        self.value = value
        self.trace = trace

    def __copy__(self) -> Tensor:
        return self  # which no layer changes

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeMismatch(
            f"a symbolic tensor cannot be pickled: {self.value.name} is a part of the network that "
            "is being traced",
            fix="pickle the model that network.init gives",
            loc=here(),
        )

    # ---- type ----------------------------------------------------------------------------------

    @property
    def type(self) -> TensorType:
        """dtype and shape."""
        return self.value.type

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The dimensions: ints or symbolic expressions."""
        return self.value.type.shape

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.value.type.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def channels(self) -> Dim:
        """The size of dimension 1."""
        return self._dimension(1, "channels")

    @property
    def height(self) -> Dim:
        """The size of dimension 2."""
        return self._dimension(2, "height")

    @property
    def width(self) -> Dim:
        """The size of dimension 3."""
        return self._dimension(3, "width")

    def _dimension(self, axis: int, what: str) -> Dim:
        if self.ndim <= axis:
            raise ShapeError(
                f"{self.type} has no {what} (dimension {axis})",
                fix="images are [N, C, H, W]; reshape gives the tensor these dimensions",
                loc=here(),
            )
        return self.shape[axis]

    def __repr__(self) -> str:
        return f"<Tensor {self.value.name}: {self.type}>"

    def __bool__(self) -> bool:
        raise TypeMismatch(
            "a symbolic tensor has no truth value: its numbers are not known while tracing",
            fix="use nn.where(condition, a, b), or decide by shapes and options, which are known",
            loc=here(),
        )

    def __iter__(self) -> Iterator[Tensor]:
        # Without it Python would ask for x[0], x[1], ... without end.
        raise TypeMismatch(
            f"a symbolic tensor cannot be taken apart: {self.type}",
            fix="take what is needed by x[0], x[1], ...",
            loc=here(),
        )

    # ---- arithmetic ----------------------------------------------------------------------------

    def _emit(self, op: Op, *operands: Tensor) -> Tensor:
        return self.trace.emit(op, *operands)

    def _operand(self, other: object) -> Tensor:
        if isinstance(other, Tensor):
            return other
        if isinstance(other, (int, float, bool, np.generic, np.ndarray)):
            return self.trace.constant(other, self.dtype)
        raise TypeMismatch(
            f"a tensor cannot be combined with {shown(other)}",
            fix="use tensors of the same network, numbers or NumPy arrays",
            loc=here(),
        )

    def __add__(self, other: Tensor | Number) -> Tensor:
        return self._emit(ew.Add(), self, self._operand(other))

    def __radd__(self, other: Number) -> Tensor:
        return self._emit(ew.Add(), self._operand(other), self)

    def __sub__(self, other: Tensor | Number) -> Tensor:
        return self._emit(ew.Sub(), self, self._operand(other))

    def __rsub__(self, other: Number) -> Tensor:
        return self._emit(ew.Sub(), self._operand(other), self)

    def __mul__(self, other: Tensor | Number) -> Tensor:
        return self._emit(ew.Mul(), self, self._operand(other))

    def __rmul__(self, other: Number) -> Tensor:
        return self._emit(ew.Mul(), self._operand(other), self)

    def __truediv__(self, other: Tensor | Number) -> Tensor:
        return self._emit(ew.Div(), self, self._operand(other))

    def __rtruediv__(self, other: Number) -> Tensor:
        return self._emit(ew.Div(), self._operand(other), self)

    def __pow__(self, other: Tensor | Number) -> Tensor:
        return self._emit(ew.Pow(), self, self._operand(other))

    def __rpow__(self, other: Number) -> Tensor:
        return self._emit(ew.Pow(), self._operand(other), self)

    def __matmul__(self, other: Tensor | Array) -> Tensor:
        return self._emit(
            MatMul(), self, self._operand(other) if isinstance(other, np.ndarray) else other
        )

    def __rmatmul__(self, other: object) -> Tensor:
        return self._emit(MatMul(), self._operand(other), self)

    def __neg__(self) -> Tensor:
        return self._emit(ew.Neg(), self)

    def __abs__(self) -> Tensor:
        return self._emit(ew.Abs(), self)

    def __lt__(self, other: Tensor | Number) -> Tensor:
        return self._emit(ew.Less(), self, self._operand(other))

    def __le__(self, other: Tensor | Number) -> Tensor:
        return self._emit(ew.LessEqual(), self, self._operand(other))

    def __gt__(self, other: Tensor | Number) -> Tensor:
        return self._emit(ew.Greater(), self, self._operand(other))

    def __ge__(self, other: Tensor | Number) -> Tensor:
        return self._emit(ew.GreaterEqual(), self, self._operand(other))

    def __and__(self, other: Tensor | bool) -> Tensor:
        """Both conditions, element by element; for bool tensors, as ``|``, ``^`` and ``~``."""
        return self._emit(ew.LogicalAnd(), self, self._condition(other))

    def __rand__(self, other: bool) -> Tensor:
        return self._emit(ew.LogicalAnd(), self._condition(other), self)

    def __or__(self, other: Tensor | bool) -> Tensor:
        return self._emit(ew.LogicalOr(), self, self._condition(other))

    def __ror__(self, other: bool) -> Tensor:
        return self._emit(ew.LogicalOr(), self._condition(other), self)

    def __xor__(self, other: Tensor | bool) -> Tensor:
        return self._emit(ew.LogicalXor(), self, self._condition(other))

    def __rxor__(self, other: bool) -> Tensor:
        return self._emit(ew.LogicalXor(), self._condition(other), self)

    def __invert__(self) -> Tensor:
        return self._emit(ew.LogicalNot(), self)

    def _condition(self, other: object) -> Tensor:
        """The other operand of ``&``, ``|`` and ``^``, which are for conditions alone."""
        operand = self._operand(other)
        for tensor in (self, operand):
            if tensor.dtype is not DType.BOOL:
                raise TypeMismatch(
                    f"&, | and ^ combine conditions, which are bool, got {tensor.type}",
                    fix="compare first, in brackets: (x > 0) & (x < 1)",
                    loc=here(),
                )
        return operand

    def eq(self, other: Tensor | Number) -> Tensor:
        """self == other, element by element (``==`` itself compares identity)."""
        return self._emit(ew.Equal(), self, self._operand(other))

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return self._emit(ew.Exp(), self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return self._emit(ew.Log(), self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return self._emit(ew.Sqrt(), self)

    def cast(self, dtype: object) -> Tensor:
        """The same values as another dtype."""
        return self._emit(ew.Cast(DType.of(dtype)), self)

    # ---- reductions ----------------------------------------------------------------------------

    def sum(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The sum over ``dim`` (one, several, or all dimensions)."""
        return self._emit(reduce.Sum(_axes(dim), keepdim), self)

    def mean(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The mean over ``dim``."""
        return self._emit(reduce.Mean(_axes(dim), keepdim), self)

    def max(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The greatest element over ``dim``."""
        return self._emit(reduce.Max(_axes(dim), keepdim), self)

    def min(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The least element over ``dim``."""
        return self._emit(reduce.Min(_axes(dim), keepdim), self)

    def prod(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The product over ``dim``."""
        return self._emit(reduce.Prod(_axes(dim), keepdim), self)

    def var(self, dim: Axes = None, keepdim: bool = False, correction: int = 1) -> Tensor:
        """The variance over ``dim``, unbiased by default as in PyTorch."""
        return self._emit(reduce.Variance(_axes(dim), keepdim, correction), self)

    def argmax(self, dim: int = -1, keepdim: bool = False) -> Tensor:
        """The index of the first greatest element along ``dim``, i64."""
        return self._emit(reduce.ArgMax(dim, keepdim), self)

    def argmin(self, dim: int = -1, keepdim: bool = False) -> Tensor:
        """The index of the first least element along ``dim``, i64."""
        return self._emit(reduce.ArgMin(dim, keepdim), self)

    # ---- shape ---------------------------------------------------------------------------------

    def reshape(self, *dims: Size | Sequence[Size]) -> Tensor:
        """The elements in another shape; one -1 stands for what is left over."""
        with located(None):
            wanted = tuple(-1 if dim == -1 else as_dim(dim) for dim in _flat(dims))
            full = shape.complete_shape(self.type, wanted)
        return self._emit(shape.Reshape(full), self)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Dimensions ``start_dim`` to ``end_dim`` made one; all of them by default."""
        return self._emit(shape.Flatten(start_dim, end_dim), self)

    def permute(self, *dims: int | Sequence[int]) -> Tensor:
        """The dimensions in another order, one by one or as a tuple; negative ones count from the
        last."""
        return self._emit(shape.Transpose(_flat(dims)), self)

    def flip(self, *dims: int | Sequence[int]) -> Tensor:
        """The elements in reverse order along these dimensions; ``x[:, ::-1]`` does so too."""
        return self._emit(shape.Flip(_flat(dims)), self)

    def expand(self, *dims: Size | Sequence[Size]) -> Tensor:
        """Broadcast to a larger shape, given as numbers or as a tuple; -1 keeps a size."""
        flat = _flat(dims)
        lead = len(flat) - self.ndim
        full = tuple(
            self.shape[axis - lead] if dim == -1 and axis >= lead else as_dim(dim)
            for axis, dim in enumerate(flat)
        )
        return self._emit(shape.Expand(full), self)

    def __getitem__(self, index: Index | tuple[Index, ...]) -> Tensor:
        """Slices with ints, ranges and ``...``; negative bounds count from the end, and a negative
        step goes back.

        Raises:
            AttributeMistake: an index of another kind, or too many.
            ShapeError: an index beyond a known size; an unknown one is checked in each run.
        """
        items: list[Any] = list(index) if isinstance(index, tuple) else [index]
        places = [place for place, item in enumerate(items) if item is ...]
        for place in places[:1]:
            items[place : place + 1] = [slice(None)] * (self.ndim - len(items) + 1)
        if len(items) > self.ndim:
            raise AttributeMistake(
                f"{len(items)} indices for {self.type}, which has {self.ndim} dimensions",
                fix="give one index for each dimension at most",
                loc=here(),
            )
        axes, starts, stops, steps = [], [], [], []
        dropped, back = set(), []
        for axis, item in enumerate(items):
            size = self.shape[axis]
            if isinstance(item, slice):
                if item == slice(None):
                    continue
                if is_int(item.step) and item.step < 0:
                    start, stop = _reversed(item, size)
                    step = -item.step
                    back.append(axis)
                else:
                    start = _bound(item.start, size, 0)
                    stop = _bound(item.stop, size, size)
                    step = 1 if item.step is None else item.step
            elif is_int(item) or isinstance(item, DimExpr):
                start = _from_start(item, size)
                stop, step = start + 1, 1
                dropped.add(axis)
            else:
                raise AttributeMistake(
                    f"{self.type} cannot be indexed with {shown(item)}",
                    fix="use ints, ranges and ...; reshape adds a dimension, nn.gather takes rows",
                    loc=here(),
                )
            axes.append(axis)
            starts.append(start)
            stops.append(stop)
            steps.append(step)
        if not axes:
            return self
        op = shape.Slice(tuple(axes), tuple(starts), tuple(stops), tuple(steps))
        part = self._emit(op, self)
        if back:
            part = part.flip(back)
        if not dropped:
            return part
        kept = tuple(dim for axis, dim in enumerate(part.shape) if axis not in dropped)
        return part._emit(shape.Reshape(kept), part)


def _flat(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """What is given one by one, or as one sequence."""
    whole = parts(items[0]) if len(items) == 1 else None
    return items if whole is None else whole


def _axes(dim: Axes) -> tuple[int, ...] | None:
    return (dim,) if isinstance(dim, int) else dim


def _bound(bound: Dim | None, size: Dim, default: Dim) -> Dim:
    """A slice bound counted from 0 and, where both are known, held within the size."""
    if bound is None:
        return default
    bound = _from_start(bound, size)
    return min(bound, size) if isinstance(bound, int) and isinstance(size, int) else bound


def _reversed(item: slice, size: Dim) -> tuple[Dim, Dim]:
    """Start and stop of the slice with a positive step that takes what ``item`` takes backwards."""
    if isinstance(size, int) and all(isinstance(b, int | None) for b in (item.start, item.stop)):
        places = range(size)[item]
        return (places[-1], places[0] + 1) if places else (0, 0)
    step = -item.step
    first = size - 1 if item.start is None else _from_start(item.start, size)
    end = -1 if item.stop is None else _from_start(item.stop, size)
    count = (first - end + (step - 1)) // step
    return first - (count - 1) * step, first + 1


def _from_start(bound: Dim, size: Dim) -> Dim:
    """A bound counted from 0."""
    if is_int(bound):
        bound = operator.index(bound)  # type: ignore[arg-type]
    return size + bound if isinstance(bound, int) and bound < 0 else bound
