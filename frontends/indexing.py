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
    """x[indices[i, j, ...], j, ...] along dimension 0, and so along any other.

    This is PyTorch's ``gather`` too; ``nn.gather`` takes whole rows.
    """
    return current().emit(indexing.GatherElements(dim), x, indices)


@user_facing
def scatter(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x with src[i, j, ...] at [index[i, j, ...], j, ...] along dimension 0, and so on."""
    return current().emit(indexing.ScatterElements(dim), x, index, src)


@user_facing
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x with src[i, j, ...] added at [index[i, j, ...], j, ...] along dimension 0, and so on."""
    return current().emit(indexing.ScatterElements(dim, "add"), x, index, src)


@user_facing
def scatter_reduce(x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str) -> Tensor:
    """As ``scatter_add``, for ``reduce`` "sum", "prod", "amax" or "amin"."""
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
    """
    values, indices = current().emit_all(indexing.TopK(k, dim, largest), x)
    return values, indices


@user_facing
def argmax(x: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """The index of the first greatest element along ``dim``, i64."""
    return current().emit(reduce.ArgMax(dim, keepdim), x)


@user_facing
def argmin(x: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """The index of the first least element along ``dim``, i64."""
    return current().emit(reduce.ArgMin(dim, keepdim), x)


@user_facing
def logsumexp(x: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """The logarithm of the sum of e**x over ``dim``, which overflows nowhere."""
    return current().emit(reduce.LogSumExp(dim, keepdim), x)  # type: ignore[arg-type]


@user_facing
def cumsum(x: Tensor, dim: int) -> Tensor:
    """The sum of all elements up to each, along ``dim``."""
    return current().emit(scan.CumSum(dim), x)


@user_facing
def cumprod(x: Tensor, dim: int) -> Tensor:
    """The product of all elements up to each, along ``dim``."""
    return current().emit(scan.CumProd(dim), x)


@user_facing
def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The last two dimensions on and below a diagonal, 0 above it."""
    return current().emit(indexing.Trilu(False, diagonal), x)


@user_facing
def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The last two dimensions on and above a diagonal, 0 below it."""
    return current().emit(indexing.Trilu(True, diagonal), x)


@user_facing
def arange(end: Size, dtype: object = "i64") -> Tensor:
    """0, 1, ..., end - 1; ``end`` may be a size of a tensor that is not known yet."""
    return current().emit(indexing.Arange(end, dtype))  # type: ignore[arg-type]
