"""Samples of values that need no operand, and of regions."""

from __future__ import annotations

from cauce.ir import Builder, DType, Graph, Literal, TensorType, Value
from cauce.ir.layout import Strided
from cauce.ir.ops.activation import Sigmoid, Tanh
from cauce.ir.ops.constant import Constant, DimSize, scalar
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add, Mul, Sub
from cauce.ir.ops.fused import Fused, Kernel
from cauce.ir.ops.reorder import Reorder

from .sample import Draw, Sample, samples


@samples(Constant)
def constant(draw: Draw) -> Sample:
    dtype = draw.choice(*DType)
    # Up to 125 elements: beyond 64 the text form holds a digest only.
    shape = draw.shape(0, 3, high=5)
    values = draw.normal(shape) if dtype.is_float else draw.integers(shape, 0, 100)
    near = dtype is DType.F64
    return Sample(Constant(Literal(values, dtype)), (), exact_in_f32=near)


@samples(DimSize)
def dim(draw: Draw) -> Sample:
    return Sample(DimSize(draw.int(1, 100)), ())


@samples(Reorder)
def reorder(draw: Draw) -> Sample:
    shape = draw.shape(1, 4)
    return Sample(
        Reorder(Strided(draw.subset(range(len(shape)), len(shape)))), (draw.normal(shape),), (0,)
    )


@samples(Kernel)
def kernel(draw: Draw) -> Sample:
    x, weight = draw.normal((2, 3, 5, 4)), draw.normal((4, 3, 3, 3))
    operands = (x, weight, draw.normal((4, 1, 1)), draw.normal((2, 4, 5, 4)))
    body = Graph("body")
    inputs = [body.add_input(f"x{i}", TensorType.of(array)) for i, array in enumerate(operands)]
    b = Builder(body)
    y = b(Conv2d(padding=((1, 1), (1, 1))), *inputs[:2])
    y = b(Tanh(), b(Add(), b(Mul(), y, inputs[2]), inputs[3]))
    body.outputs = {y.name: y}
    return Sample(Kernel(body), operands, tuple(range(len(operands))))


@samples(Fused)
def fused(draw: Draw) -> Sample:
    operands = tuple(map(draw.normal, draw.broadcastable(draw.int(1, 3))))
    body = Graph("body")
    inputs = [body.add_input(f"x{i}", TensorType.of(x)) for i, x in enumerate(operands)]
    b = Builder(body)
    y: Value = inputs[0]
    for x in inputs[1:]:
        y = b(draw.choice(Add(), Mul(), Sub()), y, x)
    for _ in range(draw.int(0, 3)):
        op = draw.choice(Tanh(), Sigmoid(), Mul())
        y = b(op, y, scalar(b, 0.75, y)) if isinstance(op, Mul) else b(op, y)
    if y is inputs[0]:
        y = b(Tanh(), y)
    body.outputs = {y.name: y}
    return Sample(Fused(body), operands, tuple(range(len(operands))))
