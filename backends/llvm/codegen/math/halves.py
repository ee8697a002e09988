"""Halves in registers: 16 bits to float32 and back, by an instruction or by integer code.

Rounding is to nearest, ties to even. A NaN stays one, of the same sign, with the upper bits of its
mantissa, and quiet: what the processor's instructions do, the integer code does too.
"""

from __future__ import annotations

import numpy as np

from .....ir import DType
from .....ir.halves import HALVES as HALVES
from .....ir.onnx.tensors import raw
from ..builder import Function, V, floating, lanes_of, splat, vector

_INFINITY, _QUIET = 0x7F800000, 0x00400000  # float32


def bits_of(value: float, dtype: DType) -> int:
    """The 16 bits of a number."""
    return int.from_bytes(raw(np.array(value), dtype), "little")


def widened(f: Function, bits: V, source: DType) -> V:
    """The float32 that equals a half, given as i16."""
    lanes = lanes_of(bits.type)[0]
    kind = vector("float", lanes)
    if source is DType.F16 and f.converts_halves:
        return f.cast("fpext", f.cast("bitcast", bits, vector("half", lanes)), kind)
    word = f.cast("zext", bits, vector("i32", lanes))
    if source is DType.BF16:
        return f.cast("bitcast", _by(f, "shl", word, 16), kind)
    # As a float32 the mantissa and the exponent, moved to their places, are 2**-112 times the
    # number, subnormal ones too.
    moved = _by(f, "shl", _by(f, "and", word, 0x7FFF), 13)
    least = floating(2.0**112, "float")
    number = f.op("fmul", f.cast("bitcast", moved, kind), splat(least, lanes))
    found = f.cast("bitcast", number, word.type)
    special = _by(f, "or", moved, _INFINITY)
    quiet = f.select(_above(f, special, _INFINITY), _by(f, "or", special, _QUIET), special)
    found = f.select(_above(f, moved, 0x0F7FFFFF), quiet, found)
    sign = _by(f, "shl", _by(f, "and", word, 0x8000), 16)
    return f.cast("bitcast", f.op("or", found, sign), kind)


def narrowed(f: Function, x: V, to: DType) -> V:
    """The half nearest to a float32, as i16."""
    lanes = lanes_of(x.type)[0]
    kind = vector("i16", lanes)
    if to is DType.F16 and f.converts_halves:
        return f.cast("bitcast", f.cast("fptrunc", x, vector("half", lanes)), kind)
    bits = f.cast("bitcast", x, vector("i32", lanes))
    write = _float16 if to is DType.F16 else _bfloat16
    return f.cast("trunc", write(f, bits), kind)


def _bfloat16(f: Function, bits: V) -> V:
    upper = _by(f, "lshr", bits, 16)
    rounding = _by(f, "add", _by(f, "and", upper, 1), 0x7FFF)
    rounded = _by(f, "lshr", f.op("add", bits, rounding), 16)
    is_nan = _above(f, _by(f, "and", bits, 0x7FFFFFFF), _INFINITY)
    return f.select(is_nan, _by(f, "or", upper, _QUIET >> 16), rounded)


def _float16(f: Function, bits: V) -> V:
    lanes = lanes_of(bits.type)[0]
    size = _by(f, "and", bits, 0x7FFFFFFF)
    odd = _by(f, "and", _by(f, "lshr", size, 13), 1)
    # The exponent counts from 15 in place of 127; what reaches 2**16 becomes infinity.
    based = f.op("add", _by(f, "sub", size, (112 << 23) - 0x0FFF), odd)
    found = _by(f, "lshr", based, 13)
    # Below 2**-14 halves are 2**-24 apart, as float32s are from 0.5 on.
    half = floating(0.5, "float")
    steps = f.op("fadd", f.cast("bitcast", size, vector("float", lanes)), splat(half, lanes))
    small = _by(f, "sub", f.cast("bitcast", steps, bits.type), 0x3F000000)
    found = f.select(_above(f, size, (113 << 23) - 1), found, small)
    # From 2**16 on all is infinite, or NaN.
    payload = _by(f, "or", _by(f, "and", _by(f, "lshr", size, 13), 0x3FF), 0x7E00)
    beyond = f.select(_above(f, size, _INFINITY), payload, splat(V(str(0x7C00), "i32"), lanes))
    found = f.select(_above(f, size, (143 << 23) - 1), beyond, found)
    return f.op("or", found, _by(f, "and", _by(f, "lshr", bits, 16), 0x8000))


def to_odd(f: Function, x: V) -> V:
    """A float64 as float32, by which it becomes the nearest half: with an odd mantissa where it is
    none, so that no tie comes up that the float64 was not."""
    lanes = lanes_of(x.type)[0]
    near = f.cast("fptrunc", x, vector("float", lanes))
    back = f.cast("fpext", near, x.type)
    bits = f.cast("bitcast", near, vector("i32", lanes))
    farther = f.compare("fcmp ogt", f.intrinsic("fabs", back), f.intrinsic("fabs", x))
    inner = f.select(farther, _by(f, "sub", bits, 1), bits)
    odd = f.select(f.compare("fcmp one", back, x), _by(f, "or", inner, 1), bits)
    return f.cast("bitcast", odd, near.type)


def _by(f: Function, name: str, a: V, number: int) -> V:
    """An instruction on integers with a constant."""
    lanes, element = lanes_of(a.type)
    return f.op(name, a, splat(V(str(number), element), lanes))


def _above(f: Function, a: V, number: int) -> V:
    """Whether integers that are not negative are greater than a constant."""
    lanes, element = lanes_of(a.type)
    return f.compare("icmp ugt", a, splat(V(str(number), element), lanes))
