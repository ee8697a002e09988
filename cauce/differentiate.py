"""Gradients inside a network that is being traced, or in any graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from .frontends.tensor import Tensor
from .frontends.tracing import current
from .ir import Graph, Value
from .ir.errors import GraphError, need
from .ir.tracebacks import user_facing
from .passes import autodiff


@overload
def gradients(loss: Tensor, wrt: Sequence[Tensor]) -> list[Tensor]: ...


@overload
def gradients(loss: Value, wrt: Sequence[Value], graph: Graph | None = None) -> list[Value]: ...


@user_facing
def gradients(
    loss: Tensor | Value, wrt: Sequence[Tensor] | Sequence[Value], graph: Graph | None = None
) -> list[Tensor] | list[Value]:
    """Extend the graph of ``loss`` by d loss / d x for each x of ``wrt``.

    A gradient has the shape and the dtype of its x.

    Args:
        loss: a floating-point scalar: a tensor of the network being traced, or a value of a graph.
        wrt: tensors of the same network, or values of the same graph.
        graph: the graph of ``loss``; needed where that is an input.

    Returns:
        A gradient for each x, with its type.

    Raises:
        GraphError: the loss does not depend on one of them.
        ShapeError, TypeMismatch: the loss is not a floating-point scalar.
        UnsupportedOp: an op on the way has no gradient.

    Examples:
        >>> @cauce.network
        ... def slope(x):
        ...     y = (x * x * x).sum()
        ...     return cauce.gradients(y, [x])[0]
        >>> cauce.compile(slope.init(x=(3,)), "numpy")(np.float32([1, 2, 3]))
        array([ 3., 12., 27.], dtype=float32)
    """
    need(loss, (Tensor, Value), "the loss is a tensor", "compute it from the network's output")
    need(wrt, (list, tuple), "wrt is a list of tensors", "write gradients(loss, [x])")
    for x in wrt:
        need(x, (Tensor, Value), "wrt is a list of tensors", "write gradients(loss, [x])")
    if isinstance(loss, Tensor):
        trace = current()
        trace.check_own(loss, *(x for x in wrt if isinstance(x, Tensor)))
        return [Tensor(value, trace) for value in _gradients(trace.graph, loss.value, wrt)]
    home = graph if graph is not None else loss.node.graph if loss.node is not None else None
    if home is None:
        raise GraphError("the loss is an input: pass its graph", fix="gradients(..., graph=graph)")
    return _gradients(home, loss, wrt)


def _gradients(graph: Graph, loss: Value, wrt: Sequence[Tensor | Value]) -> list[Value]:
    values = [x.value if isinstance(x, Tensor) else x for x in wrt]
    found = autodiff.gradients(graph, loss, values)
    for value, gradient in zip(values, found):
        if gradient is None:
            raise GraphError(
                f"the loss does not depend on %{value.name} in a differentiable way",
                fix="leave it out of wrt; its gradient is zero",
            )
    return [gradient for gradient in found if gradient is not None]
