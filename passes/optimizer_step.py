"""The training step as one graph:
``(parameters, state, learning rate, batch) -> (loss, metrics)``, with new parameters and state as
updates in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, DType, Graph, Input, Role, TensorType, Value
from ..ir.errors import GraphError
from ..ir.ops.constant import scalar
from ..ir.ops.elementwise import Add, Mul
from .autodiff import gradients
from .gradient_clipping import GradientClipping
from .optimizers import Optimizer
from .partial_batches import PartialStep, Parts

LEARNING_RATE = "lr"
STEP = "optimizer.step"


def add_training_step(
    graph: Graph,
    loss: str,
    optimizer: Optimizer,
    trainable: Sequence[Input] | None = None,
    clip: GradientClipping | None = None,
    parts: Parts | None = None,
) -> list[Input]:
    """Write gradients and the optimiser's update into ``graph``, in place.

    Adds a hyperparameter ``lr``, for each parameter the optimiser's slots as state
    (``conv1.weight.velocity``), and the updates of all of them. A parameter that the loss does not
    depend on is left as it is. The rate of a parameter is ``lr`` times its factor in
    ``optimizer.lr_factors``.

    Args:
        graph: a network in its training form, with the loss among its outputs.
        loss: the name of that output.
        optimizer: what writes the update.
        trainable: the parameters to train; all where None, none of the others changes.
        clip: what the gradients pass through before the update.
        parts: how the batch is cut, if so; the graph then has inputs that say which part a call
            computes (``partial_batches.py``).

    Returns:
        The new state inputs; all of them start at zero.

    Raises:
        GraphError: no such output, or no parameter to train; or a pattern of ``lr_factors`` that no
            parameter matches, frozen or not.
        UnsupportedOp: an op on the way has no gradient, or cannot work on a part of a batch.
    """
    if loss not in graph.outputs:
        raise GraphError(f"graph {graph.name} has no output called {loss!r}")
    parameters = graph.inputs_with(Role.PARAMETER) if trainable is None else list(trainable)
    partial = None if parts is None else PartialStep(graph, loss, parts)
    minimised = graph.outputs[loss] if partial is None else partial.loss
    grads = gradients(graph, minimised, parameters)
    trained = [(p, grad) for p, grad in zip(parameters, grads) if grad is not None]
    if not trained:
        raise GraphError(
            f"the loss of {graph.name} depends on no parameter",
            fix="compute the loss from the network's output, and do not freeze every parameter",
        )
    if partial is not None:
        whole = partial.of_batch({parameter.name: gradient for parameter, gradient in trained})
        trained = [(parameter, gradient) for (parameter, _), gradient in zip(trained, whole)]
    if clip is not None:
        b = Builder(graph, suffix="clip", path="optimizer")
        clipped = clip.apply(b, [gradient for _, gradient in trained])
        trained = [(parameter, gradient) for (parameter, _), gradient in zip(trained, clipped)]
    dtype = trained[0][0].type.dtype
    lr = graph.add_input(LEARNING_RATE, TensorType(dtype, ()), Role.HYPERPARAMETER)
    b = Builder(graph, suffix="update", path="optimizer")
    added: list[Input] = []
    step = None
    if optimizer.counts_steps:
        count = graph.add_input(STEP, TensorType(DType.I64, ()), Role.STATE)
        step = b(Add(), count, scalar(b, 1, DType.I64))
        graph.updates[count] = step
        added.append(count)
    factors = optimizer.factors(value.name for value in graph.inputs_with(Role.PARAMETER))
    rates: dict[float, Value] = {1.0: lr}
    for factor in factors.values():
        if factor not in rates:
            rates[factor] = b(Mul(), lr, scalar(b, factor, lr))
    for parameter, gradient in trained:
        slots = [
            graph.add_input(f"{parameter.name}.{slot}", parameter.type, Role.STATE)
            for slot in optimizer.slots
        ]
        added += slots
        b.path, b.loc = parameter.name, gradient.loc
        rate = rates[factors[parameter.name]]
        new = optimizer.update(b, parameter, gradient, slots, rate, step)
        graph.updates.update(zip((parameter, *slots), new))
    if partial is not None:
        partial.hold()
        added += partial.added
    return added
