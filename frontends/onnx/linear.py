"""Import of matrix products."""

from __future__ import annotations

from ...ir import Value
from ...ir.ops.elementwise import Add, Mul
from ...ir.ops.integers import IntegerMatMul
from ...ir.ops.linear import Linear, MatMul, swap_last
from ...ir.ops.shape import Reshape
from .call import Call
from .rules import Made, imports


@imports("Gemm")
def _gemm(n: Call) -> Made:
    """Gemm-1 to 6: C is broadcast where broadcast=1; 7: always; 11: C may be left out."""
    alpha, beta = n.real("alpha", 1.0), n.real("beta", 1.0)
    n.ignore("broadcast")
    x, weight = n.value(0), n.weight(1)
    if n.integer("transA", 0):
        x = swap_last(n.b, x)
    if not n.integer("transB", 0):
        weight = swap_last(n.b, weight)
    c = n.weight(2) if n.has(2) else None
    if x.type.dtype.is_integer:
        return _of_integers(n, x, weight, c, alpha, beta)
    if c is not None and c.type.shape == weight.type.shape[:1] and alpha == beta == 1:
        return n.b(Linear(), x, weight, c)
    y = n.b(Linear(), x, weight)
    y = _scaled(n, alpha, y)
    return y if c is None else n.b(Add(), y, _scaled(n, beta, c))


def _of_integers(
    n: Call, x: Value, weight: Value, c: Value | None, alpha: float, beta: float
) -> Value:
    if not (alpha.is_integer() and beta.is_integer()):
        raise n.refuse(f"alpha {alpha} and beta {beta} of integers")
    y = _scaled(n, alpha, _product(n, x, swap_last(n.b, weight)))
    return y if c is None else n.b(Add(), y, _scaled(n, beta, c))


def _product(n: Call, x: Value, y: Value) -> Value:
    return n.b(IntegerMatMul() if x.type.dtype.is_integer else MatMul(), x, y)


def _scaled(n: Call, factor: float, x: Value) -> Value:
    return x if factor == 1 else n.b(Mul(), x, n.scalar(factor, x))


@imports("MatMul")
def _matmul(n: Call) -> Made:
    """MatMul-1 to 13; a vector is a row before, and a column after."""
    x, y = n.value(0), n.value(1)
    row, column = x.type.rank == 1, y.type.rank == 1
    if row:
        x = n.b(Reshape((1, *x.type.shape)), x)
    if column:
        y = n.b(Reshape((*y.type.shape, 1)), y)
    z = _product(n, x, y)
    shape = list(z.type.shape)
    if column:
        del shape[-1]
    if row:
        del shape[-1 if column else -2]
    return n.b(Reshape(tuple(shape)), z) if row or column else z
