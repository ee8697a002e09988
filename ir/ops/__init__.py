"""All ops, one file a family; importing this package registers them."""

from . import activation, constant, conv, elementwise, fused, linear, reduce, shape

__all__ = ["activation", "constant", "conv", "elementwise", "fused", "linear", "reduce", "shape"]
