"""Networks: Python functions over symbolic tensors, and the models made from them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any

from ..ir import Graph, TensorType
from ..ir.attributes import plain
from ..ir.errors import (
    AttributeMistake,
    GraphError,
    ShapeError,
    TypeMismatch,
    did_you_mean,
    need,
    shown,
)
from ..ir.location import definition, here
from ..ir.tracebacks import user_facing
from .init import initial_values
from .model import Model
from .tensor import Tensor
from .tracing import Trace, current, is_tracing, tracing

Result = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
_RESERVED = ("seed", "dtype", "training", "name")


@user_facing
class Network:
    """A network as a function; :meth:`init` gives a model with parameters.

    Parameters of the function without a default are its inputs, keyword parameters with a default
    are options of the network.

    Inputs may have any shape and any dtype that :class:`TensorType` knows.

    Raises:
        TypeMismatch: something else than a function.
        AttributeMistake: a parameter with a name that ``init`` or a call takes, or one that stands
            for any number of arguments.

    Examples:
        >>> tiny = cauce.network(lambda x, width=4: nn.linear(x, width))
        >>> tiny.inputs, tiny.options
        (['x'], {'width': 4})
        >>> tiny.call_text()
        '<lambda>(x, width=4)'
        >>> model = tiny.init(x=("N", 8), width=2, seed=1)
        >>> print(tiny.graph(x=("N", 8)).to_text(locations=False))
        graph "<lambda>"(%x: f32[N,8]) -> f32[N,4] {
          @linear1.weight: f32[4,8] parameter
          @linear1.bias: f32[4] parameter
          %linear1 = linear(%x, @linear1.weight, @linear1.bias) : f32[N,4]
          return output=%linear1
        }
    """

    def __init__(self, function: Callable[..., Result]) -> None:
        need(
            function,
            (FunctionType, MethodType),
            "a network is made of a function",
            "decorate a function of tensors: @cauce.network",
        )
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__
        self.__module__, self.__qualname__ = function.__module__, function.__qualname__
        self.inputs: list[str] = []
        self.options: dict[str, Any] = {}
        for name, parameter in inspect.signature(function).parameters.items():
            if name in _RESERVED:
                raise AttributeMistake(
                    f"network {self.name}: the name {name!r} is an argument of init, of graph "
                    "or of a call",
                    fix="call the parameter something else",
                    loc=definition(function),
                )
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise AttributeMistake(
                    f"network {self.name}: {parameter} stands for any number of arguments",
                    fix="give each input a name of its own: init takes shapes by name",
                    loc=definition(function),
                )
            if parameter.default is inspect.Parameter.empty:
                self.inputs.append(name)
            else:
                self.options[name] = parameter.default

    def __reduce__(self) -> str:
        """A network travels as functions do: by its name.

        Raises:
            TypeMismatch: no module has it under that name.
        """
        if _by_name(self.__module__, self.__qualname__) is not self:
            raise TypeMismatch(
                f"network {self.name} cannot be pickled: {self.__module__} has no "
                f"{self.__qualname__} by which it would be found again",
                fix="define it at the level of a module, or send a model, which has its graphs: "
                f"{self.name}.init(...)",
                loc=definition(self.function),
            )
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<Network {self.call_text()}>"

    def call_text(self) -> str:
        """How it is called within another network: ``net(image, classes=10)``."""
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{self.name}({', '.join(self.inputs)}{options})"

    def __call__(self, *args: Any, name: str | None = None, **kwargs: Any) -> Any:
        """Use the network as a part of another one that is being traced.

        Args:
            args, kwargs: its inputs and options.
            name: what the names of its layers begin with: those of ``resnet18(x, name="backbone")``
                are ``backbone.conv1`` and so on; where None, that of the network with a number,
                ``resnet18_1``.

        Raises:
            GraphError: nothing is being traced, or there is a layer with that name.
        """
        if not is_tracing():
            raise GraphError(
                f"network {self.name} has no parameters yet, it cannot be called",
                fix=f"make a model: {self.name}.init({self.inputs[0]}=(...))",
                loc=here(),
            )
        try:
            inspect.signature(self.function).bind(*args, **kwargs)
        except TypeError as error:
            raise AttributeMistake(
                f"network {self.name}: {error}", fix=f"call it as {self.call_text()}"
            ) from None
        trace = current()
        path = trace.layer_path(self.name, name)
        with trace.scope(name or path.rpartition(".")[2]):
            return self.function(*map(plain, args), **{n: plain(v) for n, v in kwargs.items()})

    def init(self, *, seed: int = 0, dtype: object = "f32", **arguments: Any) -> Model:
        """A model: the network traced for these input shapes, with fresh parameters.

        Args:
            seed: of the parameters' first values; each depends on the seed and its name alone.
            dtype: the element type of inputs given as a shape.
            arguments: for every input its shape, such as ``("N", 3, 32, 32)``, or a
                :class:`TensorType`; options of the network may be overridden.

        Raises:
            GraphError: an input without a shape, or an argument the network does not have.
            CauceError: what the layers find wrong, with the line of the network.
        """
        types, options = self._arguments(arguments, dtype)
        inference = self._trace(types, options, training=False)
        training = self._trace(types, options, training=True)
        values = initial_values(training.initializers | inference.initializers, seed)
        return Model(inference.graph, training.graph, values)

    def graph(self, *, training: bool = False, dtype: object = "f32", **arguments: Any) -> Graph:
        """The network's graph alone, without values for its parameters.

        Args:
            training: whether in its training form.
            dtype: as for :meth:`init`, which may raise the same errors.
            arguments: likewise.
        """
        return self._trace(*self._arguments(arguments, dtype), training=training).graph

    def _arguments(
        self, arguments: Mapping[str, Any], dtype: object
    ) -> tuple[dict[str, TensorType], dict[str, Any]]:
        """The types of the inputs and the values of the options."""
        unknown = [name for name in arguments if name not in (*self.inputs, *self.options)]
        missing = [name for name in self.inputs if name not in arguments]
        if unknown or missing:
            problem = f"no shape for the input {', '.join(missing)}" if missing else ""
            surplus = f"no argument called {', '.join(unknown)}" if unknown else ""
            raise GraphError(
                f"network {self.name}: " + "; ".join(filter(None, (problem, surplus))),
                fix=did_you_mean(
                    unknown[0] if unknown else "",
                    self.options,
                    f"it takes {', '.join((*self.inputs, *self.options))}",
                ),
                loc=here(),
            )
        types = {name: _type(name, arguments[name], dtype) for name in self.inputs}
        options = {name: plain(arguments.get(name, value)) for name, value in self.options.items()}
        return types, options

    def _trace(
        self, types: Mapping[str, TensorType], options: Mapping[str, Any], *, training: bool
    ) -> Trace:
        trace = Trace(Graph(self.name), training=training)
        inputs = {
            name: Tensor(trace.graph.add_input(name, type_), trace) for name, type_ in types.items()
        }
        with tracing(trace):
            result = self.function(**inputs, **options)
        outputs = _named(result)
        if not outputs:
            raise GraphError(
                f"network {self.name} returned {shown(result)}: it has no output",
                fix="return a tensor, a tuple of tensors or a dict of them",
                loc=definition(self.function),
            )
        for name, tensor in outputs.items():
            if not isinstance(tensor, Tensor) or not isinstance(name, str):
                raise TypeMismatch(
                    f"network {self.name} returned {shown(result)}"
                    + (", perhaps for want of a return" if result is None else ""),
                    fix="return a tensor, a tuple of tensors or a dict of them by name",
                    loc=definition(self.function),
                )
            if not name or any(value.name == name for value in trace.graph.inputs):
                raise GraphError(
                    f"network {self.name} has an output called {name!r}"
                    + (", as an input or a parameter is" if name else ""),
                    fix="give the outputs names of their own: return {'classes': y}",
                    loc=definition(self.function),
                )
            trace.check_own(tensor)
            trace.graph.outputs[name] = tensor.value
        return trace


@user_facing
def network(function: Callable[..., Result]) -> Network:
    """Decorator: make a network of a function over symbolic tensors.

    Parameters of ``function`` without a default are inputs of the network, keyword parameters with
    one are its options. It returns a tensor, a tuple of them, or a dict of them by name.
    Shapes and dtypes of the inputs are given to ``init``.

    Raises:
        TypeMismatch: something else than a function.
        AttributeMistake: a parameter with a name that ``init`` or a call takes, or one that stands
            for any number of arguments.

    Examples:
        >>> @cauce.network
        ... def classifier(image, classes=10):
        ...     return nn.linear(nn.flatten(image), classes)
        >>> classifier
        <Network classifier(image, classes=10)>
        >>> classifier.init(image=("N", 1, 8, 8))
        <Model classifier: 650 parameters>
    """
    return Network(function)


def _by_name(module: str, name: str) -> Any:
    """What a module that is loaded has under a name; None where there is nothing."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _type(name: str, given: object, dtype: object) -> TensorType:
    if not isinstance(given, (TensorType, tuple, list)):
        raise AttributeMistake(
            f"the shape of input {name} must be a tuple, got {shown(given)}",
            fix=f'write for example {name}=("N", 3, 32, 32)',
            loc=here(),
        )
    type_ = given if isinstance(given, TensorType) else TensorType.make(dtype, given)
    if 0 in type_.shape:
        raise ShapeError(
            f"input {name} would be {type_}, which holds nothing",
            fix=f'give sizes of at least 1, or name an unknown one: {name}=("N", 3, 32, 32)',
            loc=here(),
        )
    return type_


def _named(result: Any) -> dict[str, Any]:
    if isinstance(result, Mapping):
        return dict(result)
    if isinstance(result, (tuple, list)):
        return {f"output{i}": tensor for i, tensor in enumerate(result)}
    return {"output": result}
