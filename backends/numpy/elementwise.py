"""Elementwise kernels: NumPy's functions with their results in the call's memory, and choices.

NumPy's ``where`` branches at every element, which a random condition makes slow. Here a choice is
made on the bits, with a mask of ones or zeros: ``((x ^ y) & mask) ^ y``.
"""

from __future__ import annotations

import numpy as np

from ...ir import Array, DType, Op, registry
from ...ir.ops import elementwise as ops
from ...ir.ops.activation import LeakyRelu, Relu, Sigmoid
from .kernels import KERNELS, Kernel, kernel
from .memory import Memory


def _by_function(function: np.ufunc, dtype: np.dtype[np.bool_] | None) -> Kernel:
    def run(op: Op, memory: Memory, *operands: Array) -> Array:
        return function(*operands, out=memory.result(*operands, dtype=dtype))

    return run


for _op in registry().values():
    if issubclass(_op, ops.Elementwise) and _op.function:
        _predicate = issubclass(_op, (ops.Comparison, ops.Logical))
        KERNELS[_op] = _by_function(_op.function, np.dtype(np.bool_) if _predicate else None)


@kernel(Relu)
def relu(op: Relu, memory: Memory, x: Array) -> Array:
    return np.maximum(x, 0, out=memory.result(x))


def choose(memory: Memory, condition: Array, x: Array, y: Array) -> Array:
    """x where the condition holds, else y; all broadcast.

    >>> choose(Memory(), np.array([True, False]), np.array([1.5, 2.5]), np.array(-0.0))
    array([ 1.5, -0. ])
    """
    bits = np.dtype(f"i{x.dtype.itemsize}")
    x_bits, y_bits = x.view(bits), y.view(bits)
    if x.ndim == 0 and not x_bits:
        condition, x_bits, y_bits = np.logical_not(condition), y_bits, x_bits
    # True is 1, so its negative is -1, all ones in every width.
    truth = condition.view(np.int8)
    mask = np.negative(truth, out=memory.result(truth))
    if y_bits.ndim == 0 and not y_bits:
        chosen = np.bitwise_and(x_bits, mask, out=memory.result(x_bits, mask, dtype=bits))
        return np.asarray(chosen).view(x.dtype)
    differ = np.bitwise_xor(x_bits, y_bits, out=memory.result(x_bits, y_bits))
    chosen = np.asarray(np.bitwise_and(differ, mask, out=memory.result(differ, mask, dtype=bits)))
    np.bitwise_xor(chosen, y_bits, out=chosen)
    return chosen.view(x.dtype)


@kernel(ops.Cast)
def cast(op: ops.Cast, memory: Memory, x: Array) -> Array:
    """Halves are carried in float32: what is in it is rounded with the results of all kernels."""
    return x if op.to is DType.F16 and x.dtype == np.float32 else op.reference(x)


@kernel(ops.Pow)
def pow_(op: ops.Pow, memory: Memory, x: Array, y: Array) -> Array:
    if x.dtype.kind != "f":
        return op.reference(x, y)
    return np.power(ops.base_of_power(x, y), y, out=memory.result(x, y))


@kernel(ops.Where)
def where(op: ops.Where, memory: Memory, condition: Array, x: Array, y: Array) -> Array:
    return choose(memory, condition, x, y)


@kernel(LeakyRelu)
def leaky_relu(op: LeakyRelu, memory: Memory, x: Array) -> Array:
    leak = np.multiply(x, x.dtype.type(op.negative_slope), out=memory.result(x))
    return choose(memory, x > 0, x, leak)


@kernel(Sigmoid)
def sigmoid(op: Sigmoid, memory: Memory, x: Array) -> Array:
    """e**min(x, 0) / (1 + e**-|x|): both cases of the stable formula without a choice."""
    powers = np.exp(np.minimum(x, 0))
    small = np.exp(-np.abs(x))
    return np.divide(powers, small + 1, out=memory.result(x))
