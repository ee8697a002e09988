"""Layers that move elements, choose among them, or count them. Named as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.attributes import positive
from ..ir.errors import AttributeMistake, need, shown
from ..ir.location import here
from ..ir.ops import elementwise
from ..ir.ops import shape as shape_ops
from ..ir.tracebacks import user_facing
from .functional import _layer
from .tensor import Number, Size, Tensor
from .tracing import current


@user_facing
def flatten(x: Tensor, start_dim: int = 1, end_dim: int = -1, *, name: str | None = None) -> Tensor:
    """Dimensions start_dim to end_dim made one: [N, C, H, W] becomes [N, C*H*W].

    x is of any dtype, with at least one dimension; sizes may be symbols.

    Raises:
        AttributeMistake: x has no such dimensions, or start_dim is behind end_dim.

    Examples:
        >>> net = cauce.network(lambda x: nn.flatten(x)).init(x=("N", 3, 4, 4))
        >>> cauce.compile(net, "numpy")(np.zeros((2, 3, 4, 4), np.float32)).shape
        (2, 48)
    """
    return _layer("flatten", name, lambda: shape_ops.Flatten(start_dim, end_dim), x)


@user_facing
def concat(tensors: Sequence[Tensor], dim: int = 1, *, name: str | None = None) -> Tensor:
    """The tensors side by side along ``dim``, by default the channels.

    They are of one dtype, any, and of the same sizes but along ``dim``.

    Raises:
        ShapeError: other sizes differ, or ranks.
        TypeMismatch: dtypes that differ, or no list.
        AttributeMistake: no tensors, or no such dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.concat([x, 2 * x])).init(x=("N", 2))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2]]))
        array([[1., 2., 2., 4.]], dtype=float32)
    """
    need(tensors, (list, tuple), "concat takes a list of tensors", "write concat([a, b])")
    if not tensors:
        raise AttributeMistake("concat of no tensors", fix="give at least one: concat([a, b])")
    return _layer("concat", name, lambda: shape_ops.Concat(dim), *tensors)


@user_facing
def flip(x: Tensor, dims: int | Sequence[int], *, name: str | None = None) -> Tensor:
    """The elements in reverse order along these dimensions, as ``torch.flip``.

    x is of any shape and dtype. ``dims`` may count from the last.

    Raises:
        AttributeMistake: x has no such dimension, or one is named twice.

    Examples:
        >>> net = cauce.network(lambda x: nn.flip(x, 1)).init(x=("N", 3))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2, 3]]))
        array([[3., 2., 1.]], dtype=float32)
    """
    return _layer("flip", name, lambda: shape_ops.Flip(dims), x)  # type: ignore[arg-type]


@user_facing
def where(condition: Tensor, x: Tensor | Number, y: Tensor | Number) -> Tensor:
    """x where the condition holds, else y; one of them may be a number.

    The condition is bool; x and y are of one dtype, any. Shapes broadcast, and the result has the
    broadcast one.

    Raises:
        AttributeMistake: neither x nor y is a tensor.
        TypeMismatch: a condition that is not bool, or dtypes that differ.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.where(x > 0, x, 0.0)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([0., 0., 2.], dtype=float32)
    """
    fix = "write condition.cast('f32') * (x - y) + y for two numbers"
    return current().emit(elementwise.Where(), condition, *_pair("where", x, y, fix))


@user_facing
def maximum(x: Tensor | Number, y: Tensor | Number) -> Tensor:
    """The greater of two tensors, element by element; one of them may be a number.

    x and y are of one dtype, floating-point or integer; their shapes broadcast. NaN wins.

    Raises:
        AttributeMistake: neither x nor y is a tensor.
        TypeMismatch: dtypes that differ, or bools.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.maximum(x, 0.0)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([0., 0., 2.], dtype=float32)
    """
    return current().emit(elementwise.Maximum(), *_pair("maximum", x, y, "use Python's max"))


@user_facing
def minimum(x: Tensor | Number, y: Tensor | Number) -> Tensor:
    """The lesser of two tensors, element by element; one of them may be a number.

    x and y are of one dtype, floating-point or integer; their shapes broadcast. NaN wins.

    Raises:
        AttributeMistake: neither x nor y is a tensor.
        TypeMismatch: dtypes that differ, or bools.
        ShapeError: shapes that do not broadcast.

    Examples:
        >>> net = cauce.network(lambda x: nn.minimum(x, 0.0)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-1.,  0.,  0.], dtype=float32)
    """
    return current().emit(elementwise.Minimum(), *_pair("minimum", x, y, "use Python's min"))


def _pair(layer: str, x: Tensor | Number, y: Tensor | Number, fix: str) -> tuple[Tensor, Tensor]:
    """Two tensors of two operands, at least one of which is a tensor."""
    if isinstance(x, Tensor):
        return x, x._operand(y)
    if isinstance(y, Tensor):
        return y._operand(x), y
    raise AttributeMistake(
        f"{layer}: x or y must be a tensor, got {shown(x)} and {shown(y)}", fix=fix, loc=here()
    )


@user_facing
def gather(x: Tensor, indices: Tensor, dim: int = 0) -> Tensor:
    """Rows of x along ``dim`` chosen by integer indices, as ``numpy.take``.

    x is of any dtype, [..., size, ...] with ``dim`` in its middle; the indices are integers of any
    shape, which takes the place of that dimension.

    Raises:
        TypeMismatch: indices that are not integers.
        AttributeMistake: x has no such dimension.
        ShapeError: in a run, an index that is not from 0 to the size of that dimension less 1.

    Examples:
        >>> net = cauce.network(lambda i: nn.gather(nn.arange(5) * 10, i)).init(i=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([3, 0]))
        array([30,  0])
    """
    return current().emit(shape_ops.Gather(dim), x, indices)


@user_facing
def one_hot(indices: Tensor, num_classes: int, dtype: object = "f32") -> Tensor:
    """1 at the place of each index along a new last dimension, else 0.

    The indices are integers of any shape, and the result of one dimension more, ``num_classes``, in
    ``dtype``.

    Raises:
        TypeMismatch: indices that are not integers.
        AttributeMistake: num_classes below 1.
        ShapeError: in a run, an index that is none of the classes.

    Examples:
        >>> net = cauce.network(lambda x: nn.one_hot(x, 3)).init(x=(2,), dtype="i64")
        >>> cauce.compile(net, "numpy")(np.int64([2, 0]))
        array([[0., 0., 1.],
               [1., 0., 0.]], dtype=float32)
    """
    depth = positive(num_classes, "num_classes")
    return current().emit(shape_ops.OneHot(depth, dtype), indices)  # type: ignore[arg-type]


@user_facing
def reshape(x: Tensor, shape: Sequence[Size]) -> Tensor:
    """The elements in another shape; one -1 stands for what is left over.

    x is of any dtype and shape; sizes may be symbols, by name too.

    Raises:
        ShapeError: another number of elements, or more than one -1.

    Examples:
        >>> net = cauce.network(lambda x: nn.reshape(x, (-1, 4))).init(x=("N", 2, 4))
        >>> cauce.compile(net, "numpy")(np.zeros((3, 2, 4), np.float32)).shape
        (6, 4)
    """
    return x.reshape(tuple(shape))
