"""Elements by their indices, the greatest ones, sums along the way: named as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.errors import AttributeMistake
from ..ir.location import here
from ..ir.ops import indexing, reduce, scan
from ..ir.tracebacks import user_facing
from .tensor import Size, Tensor
from .tracing import current

# PyTorch's names of what becomes of several updates of one element.
_REDUCTIONS = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}


@user_facing
def take_along_dim(x: Tensor, indices: Tensor, dim: int) -> Tensor:
    """x[indices[i, j, ...], j, ...] where ``dim`` is 0, and so along any other.

    This is PyTorch's ``gather`` too; ``nn.gather`` takes whole rows.

    x is of any dtype, and the indices, integers, are of its rank; the result has the shape of the
    indices and the dtype of x.

    Raises:
        TypeMismatch: indices that are not integers, or dtypes that differ.
        ShapeError: shapes that do not fit.
        AttributeMistake: x has no such dimension.
        ShapeError: in a run, an index that is not from 0 to the size of that dimension less 1.

    Examples:
        >>> order = cauce.network(lambda x: nn.take_along_dim(x, nn.argmax(x, 1, keepdim=True), 1))
        >>> cauce.compile(order.init(x=("N", 3)), "numpy")(np.float32([[1, 3, 2], [6, 5, 4]]))
        array([[3.],
               [6.]], dtype=float32)
    """
    return current().emit(indexing.GatherElements(dim), x, indices)


@user_facing
def scatter(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x with src[i, j, ...] at [index[i, j, ...], j, ...] where ``dim`` is 0, and so on.

    x and src are of one dtype, any, index is an integer; all three have one rank, index and src one
    shape. The result has the type of x. Of several updates of one element the last counts.

    Raises:
        TypeMismatch: indices that are not integers, or dtypes that differ.
        ShapeError: shapes that do not fit.
        AttributeMistake: x has no such dimension.
        ShapeError: in a run, an index that is not from 0 to the size of that dimension less 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.scatter(x, 0, nn.argmax(x, 0, True), x[1:2] * 10))
        >>> cauce.compile(net.init(x=(3,)), "numpy")(np.float32([1, 2, 5]))
        array([ 1.,  2., 20.], dtype=float32)
    """
    return current().emit(indexing.ScatterElements(dim), x, index, src)


@user_facing
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x with src[i, j, ...] added at [index[i, j, ...], j, ...] where ``dim`` is 0, and so on.

    x and src are of one dtype, floating-point or integer, index is an integer; all three have one
    rank, index and src one shape. The result has the type of x.

    Raises:
        TypeMismatch: indices that are not integers, or dtypes that differ.
        ShapeError: shapes that do not fit.
        AttributeMistake: x has no such dimension.
        ShapeError: in a run, an index that is not from 0 to the size of that dimension less 1.

    Examples:
        >>> net = cauce.network(lambda x: nn.scatter_add(x, 0, nn.argmax(x, 0, True), x[1:2] * 10))
        >>> cauce.compile(net.init(x=(3,)), "numpy")(np.float32([1, 2, 5]))
        array([ 1.,  2., 25.], dtype=float32)
    """
    return current().emit(indexing.ScatterElements(dim, "add"), x, index, src)


@user_facing
def scatter_reduce(x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str) -> Tensor:
    """As ``scatter_add`` along ``dim``, for ``reduce`` "sum", "prod", "amax" or "amin".

    x and src are of one dtype, floating-point or integer, index is an integer; all three have one
    rank, index and src one shape. The result has the type of x.

    Raises:
        TypeMismatch: indices that are not integers, or dtypes that differ.
        ShapeError: shapes that do not fit.
        AttributeMistake: x has no such dimension.
        ShapeError: in a run, an index that is not from 0 to the size of that dimension less 1.

    Examples:
        >>> def greater(x):
        ...     return nn.scatter_reduce(x, 0, nn.argmax(x, 0, True), x[1:2] * 10, "amax")
        >>> net = cauce.network(greater)
        >>> cauce.compile(net.init(x=(3,)), "numpy")(np.float32([1, 2, 5]))
        array([ 1.,  2., 20.], dtype=float32)
    """
    if reduce not in _REDUCTIONS:
        raise AttributeMistake(
            f"scatter_reduce: there is no reduce {reduce!r}",
            fix=f"use one of {', '.join(_REDUCTIONS)}",
            loc=here(),
        )
    return current().emit(indexing.ScatterElements(dim, _REDUCTIONS[reduce]), x, index, src)


@user_facing
def topk(
    x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """The k greatest elements along ``dim``, the greatest first, and their indices.

    The least ones where not ``largest``. They are sorted in any case; of equal elements the first
    comes first.

    x is floating-point or integer; the values have its dtype, the indices are i64. Both have its
    shape with k along ``dim``. ``sorted`` changes nothing.

    Raises:
        TypeMismatch: x is bool.
        AttributeMistake: x has no such dimension.
        ShapeError: k is negative, or larger than the dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.topk(x, 2)).init(x=("N", 3))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 3, 2]]))
        (array([[3., 2.]], dtype=float32), array([[1, 2]]))
    """
    values, indices = current().emit_all(indexing.TopK(k, dim, largest), x)
    return values, indices


@user_facing
def argmax(x: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """The index of the first greatest element along ``dim``, i64.

    x is floating-point or integer; the result has its shape without ``dim``, which ``keepdim``
    keeps with size 1. NaN counts before all numbers.

    Raises:
        TypeMismatch: x is bool.
        AttributeMistake: x has no such dimension.
        ShapeError: the dimension is empty.

    Examples:
        >>> net = cauce.network(lambda x: nn.argmax(x)).init(x=("N", 3))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 3, 2]]))
        array([1])
    """
    return current().emit(reduce.ArgMax(dim, keepdim), x)


@user_facing
def argmin(x: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """The index of the first least element along ``dim``, i64.

    x is floating-point or integer; the result has its shape without ``dim``, which ``keepdim``
    keeps with size 1. NaN counts before all numbers.

    Raises:
        TypeMismatch: x is bool.
        AttributeMistake: x has no such dimension.
        ShapeError: the dimension is empty.

    Examples:
        >>> net = cauce.network(lambda x: nn.argmin(x)).init(x=("N", 3))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 3, 2]]))
        array([0])
    """
    return current().emit(reduce.ArgMin(dim, keepdim), x)


@user_facing
def logsumexp(x: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """The logarithm of the sum of e**x over ``dim``, which overflows nowhere.

    x is floating-point; the result has its dtype, and its shape without the dimensions ``dim``,
    which ``keepdim`` keeps with size 1.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: x has no such dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.logsumexp(x, 1)).init(x=("N", 2))
        >>> cauce.compile(net, "numpy")(np.float32([[1000, 1000]]))
        array([1000.6932], dtype=float32)
    """
    return current().emit(reduce.LogSumExp(dim, keepdim), x)  # type: ignore[arg-type]


@user_facing
def cumsum(x: Tensor, dim: int) -> Tensor:
    """The sum of all elements up to each, along ``dim``.

    x is floating-point or integer, of any shape but a scalar's; the result has both.

    Raises:
        TypeMismatch: x is bool.
        AttributeMistake: x has no such dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.cumsum(x, 0)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([1, 2, 3]))
        array([1., 3., 6.], dtype=float32)
    """
    return current().emit(scan.CumSum(dim), x)


@user_facing
def cumprod(x: Tensor, dim: int) -> Tensor:
    """The product of all elements up to each, along ``dim``.

    x is floating-point or integer, of any shape but a scalar's; the result has both.

    Raises:
        TypeMismatch: x is bool.
        AttributeMistake: x has no such dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.cumprod(x, 0)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([1, 2, 3]))
        array([1., 2., 6.], dtype=float32)
    """
    return current().emit(scan.CumProd(dim), x)


@user_facing
def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The last two dimensions on and below a diagonal, 0 above it.

    x is of any dtype, [..., rows, columns]; the result has both. Diagonals above the main one count
    from 1, those below from -1.

    Raises:
        ShapeError: fewer than two dimensions.

    Examples:
        >>> net = cauce.network(lambda x: nn.tril(x)).init(x=(2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2], [3, 4]]))
        array([[1., 0.],
               [3., 4.]], dtype=float32)
    """
    return current().emit(indexing.Trilu(False, diagonal), x)


@user_facing
def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The last two dimensions on and above a diagonal, 0 below it.

    x is of any dtype, [..., rows, columns]; the result has both. Diagonals above the main one count
    from 1, those below from -1.

    Raises:
        ShapeError: fewer than two dimensions.

    Examples:
        >>> net = cauce.network(lambda x: nn.triu(x)).init(x=(2, 2))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2], [3, 4]]))
        array([[1., 2.],
               [0., 4.]], dtype=float32)
    """
    return current().emit(indexing.Trilu(True, diagonal), x)


@user_facing
def arange(end: Size, dtype: object = "i64") -> Tensor:
    """0, 1, ..., end - 1; ``end`` may be a size of a tensor that is not known yet.

    The result is [end], floating-point or integer as ``dtype`` says.

    Raises:
        ShapeError: a negative size.

    Examples:
        >>> net = cauce.network(lambda x: nn.arange(x.shape[0])).init(x=("N",))
        >>> cauce.compile(net, "numpy")(np.zeros(4, np.float32))
        array([0, 1, 2, 3])
    """
    return current().emit(indexing.Arange(end, dtype))  # type: ignore[arg-type]
