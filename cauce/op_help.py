"""All about one op as text: its meaning, attributes, and gradient."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from .ir import Builder, Graph, Op, Value
from .ir.errors import CauceError
from .ir.op import lookup
from .ir.ops.elementwise import Add, Mul
from .ir.ops.reduce import Sum
from .ir.parser import parse_type
from .ir.pass_manager import run_passes
from .ir.record import Record
from .op_examples import EXAMPLES
from .passes.autodiff import gradients
from .passes.pipelines import SIMPLIFY
from .support import Support, supported


class OpHelp(Record):
    """What there is to say of an op.

    Attributes:
        name: of the op.
        doc: its meaning: formula and source.
        operands: their names; ``"bias?"`` may be left out, ``"*xs"`` stands for any number.
        results: their names.
        attributes: each with its kind and, where it may be left out, its value then.
        gradient: that of an example as the text of a graph; why there is none elsewhere.
        support: what runs and exports it.
    """

    name: str
    doc: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    attributes: Mapping[str, str]
    gradient: str
    support: Support

    def __str__(self) -> str:
        lines = [f"{self.name}({', '.join(self.operands)}) -> {', '.join(self.results)}", ""]
        lines += [self.doc, ""]
        if self.attributes:
            width = max(map(len, self.attributes))
            lines += ["attributes:"]
            lines += [f"  {name:{width}}  {text}" for name, text in self.attributes.items()]
            lines += [""]
        lines += [
            f"numpy: {self.support.numpy}, llvm: {self.support.llvm}, onnx: {self.support.onnx}"
        ]
        return "\n".join([*lines, "", "gradient:", self.gradient])


def op_help(name: str) -> OpHelp:
    """All about the op called ``name``.

    Raises:
        UnsupportedOp: there is none.
    """
    cls = lookup(name)
    defaults = cls.defaults()
    attributes = {
        attribute: f"{kind}"
        + (f" = {_written(defaults[attribute])}" if attribute in defaults else "")
        for attribute, kind in cls.kinds().items()
    }
    return OpHelp(
        name,
        inspect.cleandoc(cls.__doc__ or ""),
        cls.operands,
        cls.results,
        attributes,
        example_gradient(cls),
        supported(cls),
    )


def _written(value: object) -> str:
    return str(value) if not isinstance(value, str) else repr(value)


def example_gradient(cls: type[Op]) -> str:
    """The gradient of an op: a graph from its operands, and the gradients of a loss by its
    results, to those by its operands.

    It is that of an example (``op_examples.py``). A composite without a gradient of its own is
    taken apart.
    """
    if cls.zero_gradient:
        return "zero: its results do not change, or jump, as its operands do"
    if any("Graph" in str(kind) for kind in cls.kinds().values()):
        return "that of its body, in whose place it stands"
    try:
        return gradient_graph(cls).to_text(locations=False)
    except CauceError as error:
        return f"none: {error.what}"


def gradient_graph(cls: type[Op]) -> Graph:
    """The graph that :func:`example_gradient` prints.

    Raises:
        UnsupportedOp: the op has no gradient.
    """
    types, attributes = EXAMPLES.get(cls.name, (("f32[N,M]",) * cls.arity()[0], {}))
    names = [operand.strip("?*") for operand in cls.operands]
    graph = Graph(f"gradient_of_{cls.name}")
    operands = [graph.add_input(name, parse_type(text)) for name, text in zip(names, types)]
    b = Builder(graph)
    results = b.results(cls(**attributes), *operands)
    # The loss whose gradient by a result is an input, dy: the sum of y * dy.
    loss: Value | None = None
    for name, result in zip(cls.results, results):
        if result.type.dtype.is_float:
            dy = graph.add_input(f"d{name}", result.type)
            part = b(Sum(), b(Mul(), result, dy))
            loss = part if loss is None else b(Add(), loss, part)
    assert loss is not None, f"{cls.name} has no floating-point result"
    by = [value for value in operands if value.type.dtype.is_float]
    for value, gradient in zip(by, gradients(graph, loss, by)):
        if gradient is not None:
            graph.outputs[f"d{value.name}"] = gradient
    run_passes(graph, SIMPLIFY)
    for name, found in graph.outputs.items():
        if found.node is not None and graph.is_free(name):
            graph.rename(found, name)
    return graph
