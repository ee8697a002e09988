"""What training minimises and watches: the loss and the metrics, written into the graph."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from .frontends.batch_metrics import accuracy, binary_accuracy, top_k
from .frontends.losses import BINARY_LOSSES, CLASS_LOSSES, LOSSES
from .frontends.tensor import Tensor
from .frontends.tracing import extend, tracing
from .ir import DType, Graph, TensorType, Value
from .ir.errors import (
    AttributeMistake,
    GraphError,
    ShapeError,
    TypeMismatch,
    did_you_mean,
    need,
    shown,
)
from .ir.location import definition
from .ir.ops.activation import Softmax
from .ir.ops.shape import Flatten, Reshape
from .ir.remedies import need_own_loss
from .ir.tracebacks import warn

TARGET = "target"
Loss = Callable[..., Tensor]
METRICS: dict[str, Loss] = {"accuracy": accuracy, "top5": top_k(5)}


def write_loss(
    graph: Graph,
    loss: str | Loss,
    metrics: Sequence[str] | Mapping[str, Loss] = (),
    target: TensorType | str | None = None,
) -> None:
    """Write a target input, the loss and metrics; they become the outputs of ``graph``.

    Raises:
        AttributeMistake: an unknown loss or metric.
        GraphError: the network has an input called ``target`` already, or several outputs where
            the loss takes one.
    """
    loss_name = loss if isinstance(loss, str) else None
    if loss_name is not None and loss_name not in LOSSES:
        raise AttributeMistake(
            f"there is no loss {loss_name!r}",
            fix=did_you_mean(
                loss_name,
                LOSSES,
                f"use one of {', '.join(LOSSES)}, or a function (output, target) -> scalar",
            ),
        )
    trace = extend(graph)
    outputs = [Tensor(value, trace) for value in graph.outputs.values()]
    if any(value.name == TARGET for value in graph.inputs):
        raise GraphError(
            f"network {graph.name} has an input called {TARGET!r}, as the labels are",
            fix="give the parameter of the network another name",
        )
    if loss_name is not None and len(outputs) != 1:
        raise GraphError(
            f"the loss {loss_name!r} takes one output, network {graph.name} has {len(outputs)}: "
            f"{', '.join(graph.outputs)}",
            fix=f"pass a function ({', '.join(graph.outputs)}, target) -> scalar as the loss",
        )
    type_ = _target_type(outputs[0], loss_name, target)
    goal = Tensor(graph.add_input(TARGET, type_), trace)
    function: Loss = LOSSES[loss] if isinstance(loss, str) else loss
    with tracing(trace):
        results = {"loss": _scalar("loss", function, outputs, goal)}
        for name, metric in _metrics(metrics, loss_name).items():
            results[name] = _scalar(f"metric {name}", metric, outputs, goal)
    if not results["loss"].type.dtype.is_float:
        raise TypeMismatch(
            f"the loss must be floating-point, it is {results['loss'].type}",
            fix="cast to f32 what it is computed from; what only counts has no gradient",
            loc=definition(function),
        )
    graph.outputs.clear()
    graph.outputs.update(results)


def warn_of_softmax(graph: Graph, loss: str | Loss) -> None:
    """Warn of cross entropy, which takes logits, behind a softmax: networks of files end in one."""
    outputs = list(graph.outputs.values())
    found = outputs[0].node if len(outputs) == 1 else None
    while found is not None and isinstance(found.op, (Flatten, Reshape)):
        found = found.operands[0].node
    if loss in CLASS_LOSSES and found is not None and isinstance(found.op, Softmax):
        warn(
            f"{graph.name} ends in softmax, and the loss {loss!r} applies softmax to what it is "
            "given: it will learn, but slowly",
            fix="let the network end in logits; onnx.utils.extract_model cuts a file before its "
            "last operator",
        )


def _scalar(what: str, function: Loss, outputs: Sequence[Tensor], goal: Tensor) -> Value:
    """What a loss or a metric writes.

    Raises:
        AttributeMistake, TypeMismatch: a function that takes or returns something else.
        ShapeError: a result that is not a scalar.
    """
    if not callable(function):
        raise TypeMismatch(
            f"the {what} must be a name or a function, got {shown(function)}",
            fix="write a function (output, target) -> scalar",
        )
    need_own_loss(what, function)
    try:
        inspect.signature(function).bind(*outputs, goal)
    except TypeError as error:
        raise AttributeMistake(
            f"the {what} is called with {len(outputs) + 1} tensors, the outputs of the network "
            f"and the target: {error}",
            fix="write it as a function (output, target) -> scalar",
            loc=definition(function),
        ) from None
    result = function(*outputs, goal)
    if not isinstance(result, Tensor):
        raise TypeMismatch(
            f"the {what} must return a tensor, it returned {shown(result)}",
            fix="compute it from the output and the target, and return it",
            loc=definition(function),
        )
    if result.shape != ():
        raise ShapeError(
            f"the {what} must be a scalar, it is {result.type}",
            fix="reduce it with mean() or sum()",
            loc=definition(function),
        )
    return result.value


def _target_type(output: Tensor, loss: str | None, target: TensorType | str | None) -> TensorType:
    if isinstance(target, TensorType):
        return target
    if target is None:
        target = "classes" if loss is None or loss in CLASS_LOSSES else "probabilities"
    if target == "classes":
        return TensorType(DType.I64, (output.shape[0], *output.shape[2:]))
    if target == "probabilities":
        return output.type
    raise AttributeMistake(
        f"there is no target {target!r}",
        fix="use 'classes', 'probabilities' or a TensorType",
    )


def _metrics(metrics: Sequence[str] | Mapping[str, Loss], loss: str | None) -> dict[str, Loss]:
    """The metrics by name; what accuracy is depends on the name of the loss."""
    if isinstance(metrics, Mapping):
        if "loss" in metrics:
            raise AttributeMistake(
                "a metric cannot be called 'loss', as the loss itself is",
                fix="give it another name",
            )
        return dict(metrics)
    need(
        metrics,
        (list, tuple),
        "metrics are a list of names, or functions by name",
        "write for example metrics=['accuracy']",
    )
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise AttributeMistake(
            f"there is no metric {unknown[0]!r}",
            fix=did_you_mean(unknown[0], METRICS, f"use one of {', '.join(METRICS)}"),
        )
    known = dict(METRICS)
    if loss in BINARY_LOSSES:
        known["accuracy"] = binary_accuracy(BINARY_LOSSES[loss])
    return {name: known[name] for name in metrics}
