"""Optimiser updates: one step for one parameter, with the learning rate as an operand.

The formulas and their order are PyTorch's. The moments and the velocity start at zero.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..builder import Builder
from ..errors import AttributeMistake, ShapeError, TypeMismatch
from ..graph import Value
from ..op import Op, Values, register
from ..types import Array, DType, TensorType
from .broadcast import need_float, same_dtype
from .constant import scalar
from .elementwise import Add, Cast, Div, Mul, Pow, Sqrt, Sub


class Update(Op):
    """Base of updates: operands parameter, gradient, slots shaped like them, ..., lr.

    Class variables:
        not_negative: the attributes that must not be.
    """

    not_negative: ClassVar[tuple[str, ...]] = ("weight_decay",)

    def check(self) -> None:
        for what in self.not_negative:
            if not getattr(self, what) >= 0:
                raise AttributeMistake(
                    f"{self.name}: {what} must not be negative, got {getattr(self, what)}"
                )

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        parameter, _, *slots, lr = operands
        need_float(self.name, *operands)
        same_dtype(self.name, *operands)
        for name, tensor in zip(self.operands[1:-1], operands[1:-1]):
            if tensor.shape != parameter.shape:
                raise ShapeError(f"{self.name}: the parameter is {parameter}, {name} is {tensor}")
        if lr.shape != ():
            raise ShapeError(f"{self.name}: lr must be a scalar, got {lr}")
        return (parameter, *slots)


def write_decayed(b: Builder, parameter: Value, gradient: Value, weight_decay: float) -> Value:
    """Write gradient + weight_decay * parameter, the gradient with that of an L2 penalty."""
    if weight_decay == 0:
        return gradient
    return b(Add(), gradient, b(Mul(), parameter, scalar(b, weight_decay, parameter)))


@register
class SGDUpdate(Update):
    """new_parameter = parameter - lr * (gradient + weight_decay * parameter)."""

    weight_decay: float = 0.0

    name = "sgd_update"
    operands = ("parameter", "gradient", "lr")
    results = ("new_parameter",)
    flops_per_element = 4

    def reference(self, parameter: Array, gradient: Array, lr: Array) -> Array:
        return parameter - lr * (gradient + self.weight_decay * parameter)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        parameter, gradient, lr = operands
        gradient = write_decayed(b, parameter, gradient, self.weight_decay)
        return b(Sub(), parameter, b(Mul(), gradient, lr))


@register
class SGDMomentumUpdate(Update):
    """v = momentum * velocity + g, new_parameter = parameter - lr * v.

    g = gradient + weight_decay * parameter, and v is the new velocity. With Nesterov's momentum
    new_parameter = parameter - lr * (g + momentum * v).

    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning",
    with lr outside the velocity as in PyTorch (no dampening).
    """

    momentum: float
    nesterov: bool = False
    weight_decay: float = 0.0

    name = "sgd_momentum_update"
    operands = ("parameter", "gradient", "velocity", "lr")
    results = ("new_parameter", "new_velocity")
    flops_per_element = 8
    not_negative = ("weight_decay", "momentum")

    def reference(
        self, parameter: Array, gradient: Array, velocity: Array, lr: Array
    ) -> tuple[Array, Array]:
        g = gradient + self.weight_decay * parameter
        new_velocity = self.momentum * velocity + g
        step = g + self.momentum * new_velocity if self.nesterov else new_velocity
        return (parameter - lr * step, new_velocity)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        parameter, gradient, velocity, lr = operands
        momentum = scalar(b, self.momentum, parameter)
        g = write_decayed(b, parameter, gradient, self.weight_decay)
        new_velocity = b(Add(), b(Mul(), velocity, momentum), g)
        step = b(Add(), g, b(Mul(), new_velocity, momentum)) if self.nesterov else new_velocity
        return (b(Sub(), parameter, b(Mul(), step, lr)), new_velocity)


@register
class AdamUpdate(Update):
    """One step of Adam, or of AdamW where ``decoupled``; ``step`` counts from 1.

    m = beta1 * first_moment + (1 - beta1) * g, v = beta2 * second_moment + (1 - beta2) * g**2,
    new_parameter = q - lr * (m / (1 - beta1**step)) / (sqrt(v / (1 - beta2**step)) + epsilon).

    Adam: g = gradient + weight_decay * parameter, q = parameter. AdamW: g = gradient,
    q = parameter - lr * weight_decay * parameter. Kingma and Ba 2014, algorithm 1; Loshchilov and
    Hutter 2017, "Decoupled weight decay regularization", algorithm 2 with lr in front of the
    decay too, as in PyTorch.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False

    name = "adam_update"
    operands = ("parameter", "gradient", "first_moment", "second_moment", "step", "lr")
    results = ("new_parameter", "new_first_moment", "new_second_moment")
    flops_per_element = 15
    not_negative = ("weight_decay", "epsilon")

    def check(self) -> None:
        super().check()
        for what in ("beta1", "beta2"):
            if not 0 <= getattr(self, what) < 1:
                raise AttributeMistake(
                    f"{self.name}: {what} must lie in [0, 1), got {getattr(self, what)}"
                )

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        *tensors, step, lr = operands
        types = super().infer(*tensors, lr)
        if step != TensorType(DType.I64, ()):
            raise TypeMismatch(
                f"{self.name}: step must be i64[], got {step}",
                fix="count the steps in an integer scalar, from 1",
            )
        return types

    def reference(self, *operands: Array) -> tuple[Array, Array, Array]:
        parameter, gradient, first_moment, second_moment, step, lr = operands
        decay = self.weight_decay * parameter
        start = parameter - lr * decay if self.decoupled else parameter
        g = gradient if self.decoupled else gradient + decay
        m = self.beta1 * first_moment + (1 - self.beta1) * g
        v = self.beta2 * second_moment + (1 - self.beta2) * g**2
        m_unbiased = m / (1 - self.beta1 ** int(step))
        v_unbiased = v / (1 - self.beta2 ** int(step))
        return (start - lr * m_unbiased / (np.sqrt(v_unbiased) + self.epsilon), m, v)

    def decompose(self, b: Builder, *operands: Value) -> Values:
        parameter, gradient, first_moment, second_moment, step, lr = operands

        def constant(value: float) -> Value:
            return scalar(b, value, parameter)

        start, g = parameter, gradient
        if self.decoupled and self.weight_decay:
            rate = b(Mul(), lr, constant(self.weight_decay))
            start = b(Sub(), parameter, b(Mul(), parameter, rate))
        elif not self.decoupled:
            g = write_decayed(b, parameter, gradient, self.weight_decay)
        kept = b(Mul(), first_moment, constant(self.beta1))
        m = b(Add(), kept, b(Mul(), g, constant(1 - self.beta1)))
        squares = b(Mul(), b(Mul(), g, g), constant(1 - self.beta2))
        v = b(Add(), b(Mul(), second_moment, constant(self.beta2)), squares)
        # In f32, 1 - beta2**step would keep only some three digits in the first steps.
        steps = b(Cast(DType.F64), step)
        bias1 = write_bias(b, self.beta1, steps)
        bias2 = b(Sqrt(), write_bias(b, self.beta2, steps))
        dtype = parameter.type.dtype
        size = b(Div(), lr, b(Cast(dtype), bias1))
        root = b(Add(), b(Div(), b(Sqrt(), v), b(Cast(dtype), bias2)), constant(self.epsilon))
        return (b(Sub(), start, b(Mul(), b(Div(), m, root), size)), m, v)


def write_bias(b: Builder, beta: float, steps: Value) -> Value:
    """Write 1 - beta**steps, by which a moment that started at zero falls short."""
    return b(Sub(), scalar(b, 1, steps), b(Pow(), scalar(b, beta, steps), steps))
