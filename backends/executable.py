"""The executable that users call: a backend's program with the values of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import Array, Graph, Input, TensorType
from ..ir.attributes import positive
from ..ir.communicator import Communicator
from ..ir.dims import symbols
from ..ir.errors import (
    AttributeMistake,
    CompileError,
    GraphError,
    ShapeError,
    TypeMismatch,
    UnsupportedOp,
    did_you_mean,
    need,
)
from ..ir.evaluate import bind_symbols, check_feed, check_feeds
from ..ir.tracebacks import user_facing
from .contract import Dims, NodeTime, Program, State, check_shape
from .recent import Recent
from .weights import Following, Holder, PackedWeights

if TYPE_CHECKING:
    from .plan_text import PlanText
    from .profile import Profile

TAP = "tap "  # what the names of tapped outputs start with


@user_facing
class Executable:
    """A compiled graph. Call it with arrays, by position or by name.

    With one output it returns one array, otherwise a tuple in the graph's order. Inputs are never
    altered. An executable may be called from several threads at once.

    One that was compiled from a model follows it: a call computes with the weights that the model
    holds when the call begins, all of them old or all of them new. ``load_state_dict`` gives it
    weights of its own, and ends that.

    What a call takes and gives has the dtypes and shapes of :attr:`inputs` and :attr:`outputs`.

    Args:
        program: what the backend compiled.
        parameters: values of the fixed parameters, by name; may be loaded later.
        outputs: how many of the graph's outputs a call returns; those behind are taps.

    Attributes:
        communicator: of the ranks that make each call together, for a graph that sums over them;
            None where there is one. It stays behind where an executable is pickled.

    Raises:
        GraphError, ShapeError, TypeMismatch: parameters that are missing or do not fit.

    Examples:
        >>> model = cauce.network(lambda x: nn.relu(nn.linear(x, 2, name="fc"))).init(x=("N", 3))
        >>> predict = cauce.compile(model, "numpy", taps=["fc"])
        >>> predict.name, predict.backend, predict.graph, predict.taps
        ('<lambda>', 'numpy', <graph <lambda>: 2 nodes>, ['fc'])
        >>> [value.name for value in predict.inputs], list(predict.outputs)
        (['x'], ['output'])
        >>> x = np.ones((1, 3), np.float32)
        >>> predict(x).shape, predict.run({"x": x})["output"].shape
        ((1, 2), (1, 2))
        >>> y, taps = predict.tapped(x)
        >>> taps["fc"].shape
        (1, 2)
        >>> predict.load_state_dict({name: 0 * array for name, array in model.values.items()})
        >>> predict(x, out=np.empty((1, 2), np.float32))
        array([[0., 0.]], dtype=float32)
        >>> predict.follow(model)
        >>> print(predict.plan())
        graph "<lambda>"(%x: f32[N,3]) -> (f32[N,2], f32[N,2]) {
          @fc.weight: f32[2,3] parameter
          @fc.bias: f32[2] parameter
          %fc = linear(%x, @fc.weight, @fc.bias) : f32[N,2]
          %relu1 = relu(%fc) : f32[N,2]
          return output=%relu1, "tap fc"=%fc
        }
        >>> len(predict.profile(x, repeat=3))
        2
    """

    communicator: Communicator | None = None

    def __init__(
        self,
        program: Program,
        parameters: Mapping[str, object] | None = None,
        outputs: int | None = None,
    ) -> None:
        self.program = program
        self.name = program.interface.name
        self._inputs = program.interface.called
        self._names = [value.name for value in self._inputs]
        self._updated = program.interface.updated
        self._types = dict(program.interface.outputs)
        self._count = len(self._types) if outputs is None else outputs
        self._weights: PackedWeights | Following | None = None
        self._dims: Recent[tuple[tuple[int, ...], ...], Dims] = Recent()
        if parameters is not None or not program.interface.fixed:
            self.load_state_dict(parameters or {})

    @property
    def graph(self) -> Graph:
        """The graph as the passes left it."""
        return self.program.graph

    @property
    def backend(self) -> str:
        """The name of the backend that compiled it."""
        return self.program.backend

    @property
    def inputs(self) -> list[Input]:
        """What a call takes, in order: data, then hyperparameters, as the graph lists them."""
        return list(self._inputs)

    @property
    def outputs(self) -> dict[str, TensorType]:
        """What a call returns, in order, with the types."""
        return dict(list(self._types.items())[: self._count])

    @property
    def taps(self) -> list[str]:
        """What :meth:`tapped` returns beside the outputs."""
        return [name.removeprefix(TAP) for name in list(self._types)[self._count :]]

    def __repr__(self) -> str:
        takes = ", ".join(f"{value.name}: {value.type}" for value in self._inputs)
        gives = ", ".join(f"{name}: {type_}" for name, type_ in self.outputs.items())
        return f"<Executable {self.name} on {self.backend}: ({takes}) -> ({gives})>"

    def load_state_dict(self, parameters: Mapping[str, object]) -> None:
        """Take new weights, without recompiling. Names that the graph does not use are ignored.

        An executable that followed a model (:meth:`follow`) no longer does.

        Raises:
            GraphError: a parameter is missing.
            ShapeError, TypeMismatch: an array that does not fit its parameter.
        """
        self._weights = PackedWeights(_prepared(self.program, parameters))

    def follow(self, model: Holder) -> None:
        """Take the weights of a model now, and in each call those that it then holds.

        Other weights are packed anew by the first call that meets them; nothing is recompiled. The
        model is not kept: where nothing else refers to it, its last weights stay.

        Raises:
            GraphError, ShapeError, TypeMismatch: as for :meth:`load_state_dict`.
        """
        # What prepares refers to the program alone: an executable in a circle would stay, with its
        # memory, until Python next looks for circles.
        self._weights = Following(model, partial(_prepared, self.program))

    def __getstate__(self) -> dict[str, Any]:
        """The program and the weights: the model that is followed, else what was packed of it."""
        weights = self._weights
        model = weights.model() if isinstance(weights, Following) else None
        packed = PackedWeights(weights.packed()) if weights is not None and model is None else None
        made_for = self.program.fingerprint
        return {
            "program": self.program,
            "outputs": self._count,
            "model": model,
            "packed": packed,
            "made_for": made_for,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Be what :meth:`__getstate__` says; a copy of a model follows the copy.

        Raises:
            CompileError: weights that were packed for another processor or another version.
        """
        program, packed = state["program"], state["packed"]
        if packed is not None and program.fingerprint != state["made_for"]:
            raise CompileError(
                f"the weights of {program.interface.name} were packed for {state['made_for']}, "
                f"and here they would be for {program.fingerprint}",
                fix="send the model, and compile it here: cauce.compile(model)",
            )
        Executable.__init__(self, program, outputs=state["outputs"])
        if state["model"] is not None:
            self.follow(state["model"])
        elif packed is not None:
            self._weights = packed

    def new_state(self, values: Mapping[str, object]) -> State:
        """A state for a graph that updates its inputs (a training step).

        Args:
            values: an array for each updated input, by name.

        Raises:
            GraphError: a missing or unknown name.

        Examples:
            >>> text = "graph count(%x: f32[]) -> f32[] { @total: f32[] state "
            >>> text += "%sum = add(%x, @total) : f32[] return %sum update @total = %sum }"
            >>> count = cauce.compile(cauce.parse(text), "numpy")
            >>> state = count.new_state({"total": np.float32(0)})
            >>> count(np.float32(2), state=state), count(np.float32(3), state=state)
            (array(2., dtype=float32), array(5., dtype=float32))
        """
        arrays = check_feeds(self._updated, values, self.name)
        for value, array in zip(self._updated, arrays):
            check_shape(value, array)
        names = (value.name for value in self._updated)
        state = self.program.new_state(dict(zip(names, arrays)))
        state.program = self.program.identity
        return state

    def __call__(
        self,
        *args: object,
        state: State | None = None,
        out: Array | Sequence[Array] | None = None,
        **kwargs: object,
    ) -> Any:
        """Run once.

        Args:
            args: data and hyperparameters in order.
            state: for a graph that updates its inputs: updated in place.
            out: arrays to write the outputs to (one, or one for each output).
            kwargs: data and hyperparameters by name.

        Raises:
            GraphError: parameters not loaded, a missing or unknown input, or no state.
            ShapeError, TypeMismatch: an array that does not fit.
        """
        outputs = self._run(self._arguments(args, kwargs), state, out, None)[: self._count]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def tapped(
        self, *args: object, state: State | None = None, **kwargs: object
    ) -> tuple[Any, dict[str, Array]]:
        """Run once; returns what a call returns, and the tapped values by name."""
        everything = self._run(self._arguments(args, kwargs), state, None, None)
        outputs, taps = everything[: self._count], everything[self._count :]
        result = outputs[0] if len(outputs) == 1 else tuple(outputs)
        return result, dict(zip(self.taps, taps))

    def run(self, feeds: Mapping[str, object], state: State | None = None) -> dict[str, Array]:
        """Run once with inputs by name; returns the outputs by name."""
        outputs = self._run(dict(feeds), state, None, None)
        return dict(zip(self.outputs, outputs))

    def profile(
        self, *args: object, state: State | None = None, repeat: int = 1, **kwargs: object
    ) -> Profile:
        """Run and return the time of every node, in order; ``print`` shows a table.

        Args:
            args: data and hyperparameters in order.
            state: as for a call; each run updates it.
            repeat: how many times to run. The time of a node is the median of its times: the first
                run of a process, and what else the machine does, weigh little in it.
            kwargs: data and hyperparameters by name.

        Raises:
            AttributeMistake: a ``repeat`` below 1.
        """
        from .profile import Profile

        runs: list[list[NodeTime]] = []
        for _ in range(positive(repeat, "repeat")):
            runs.append([])
            self._run(self._arguments(args, kwargs), state, None, runs[-1])
        return Profile(*runs)

    def plan(self, **sizes: int) -> PlanText:
        """How the graph runs, as text: kernels, layouts, the order, the memory.

        Args:
            sizes: of the symbols, ``N=1``: the native backend then says where each buffer lies.

        Raises:
            GraphError: a name that is no symbol of the graph.
        """
        known = {s for value in self._inputs for dim in value.type.shape for s in symbols(dim)}
        for name in sizes:
            if name not in known:
                otherwise = (
                    f"its symbols are {', '.join(sorted(known))}"
                    if known
                    else "all its sizes are fixed"
                )
                raise GraphError(
                    f"{self.name} has no symbol called {name!r}",
                    fix=did_you_mean(name, known, otherwise),
                )
        from .plan_text import PlanText

        return PlanText.of(self.name, self.program.plan(**sizes))

    def code(self, form: str | None = None, layer: str | None = None) -> str:
        """The code that the backend has generated, as text.

        Args:
            form: one of the backend's; of native code ``"llvm"`` (LLVM IR, the first and the
                default) and ``"assembly"``.
            layer: its path; everything where None.

        Raises:
            AttributeMistake: the backend has no such form.
            GraphError: there is no such layer.
            UnsupportedOp: a backend that generates no code.

        Examples:
            >>> model = cauce.network(lambda x: nn.relu(x)).init(x=("N", 4))
            >>> code = cauce.compile(model, "llvm").code("llvm")
            >>> "define" in code
            True
        """
        forms = self.program.forms
        if not forms:
            raise UnsupportedOp(
                f"the {self.backend} backend generates no code", fix="compile with backend='llvm'"
            )
        form = forms[0] if form is None else form
        if form not in forms:
            raise AttributeMistake(
                f"the {self.backend} backend shows no code as {form!r}",
                fix=did_you_mean(form, forms, f"use one of {', '.join(forms)}"),
            )
        return self.program.code(form, layer)

    def _arguments(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> dict[str, object]:
        names = self._names
        if len(args) > len(names):
            raise GraphError(
                f"{self.name} takes ({', '.join(names)}), got {len(args)} arrays",
                fix="give an array for each, in this order or by name",
            )
        feeds = dict(zip(names, args))
        twice = [name for name in kwargs if name in feeds]
        if twice:
            raise GraphError(
                f"{self.name}: {', '.join(twice)} given by position and by name",
                fix="give each input once",
            )
        return {**feeds, **kwargs}

    def _run(
        self,
        feeds: Mapping[str, object],
        state: State | None,
        out: Array | Sequence[Array] | None,
        profile: list[NodeTime] | None,
    ) -> list[Array]:
        if self._weights is None:
            raise GraphError(
                f"{self.name} has no parameter values yet",
                fix="call load_state_dict, or compile a Model instead of its graph",
            )
        if state is None and self._updated:
            names = ", ".join(value.name for value in self._updated[:3])
            raise GraphError(
                f"{self.name} updates {len(self._updated)} arrays ({names}, ...), "
                "and no state that holds them was given",
                fix="make a state with new_state(values) and pass it as state=",
            )
        if state is not None and not self._updated:
            raise GraphError(
                f"{self.name} updates nothing, it takes no state", fix="leave out state="
            )
        if state is not None:
            need(state, State, "state= takes a state", "make it with new_state(values)")
        if state is not None and state.program != self.program.identity:
            raise GraphError(
                f"this state is not of {self.name}: another executable made it",
                fix="make one here: new_state({**values, **other.read()})",
            )
        packed = self._weights.packed()
        arrays = check_feeds(self._inputs, feeds, self.name)
        dims = self._dims.get(tuple([array.shape for array in arrays]), lambda: self._bind(arrays))
        outputs = self._outputs(out, dims, arrays)
        arena = self.program.new_arena(dims)
        call = (dims, packed, state, arena, arrays, outputs, profile)
        if self.communicator is None:
            return self.program.main(*call)
        return self.program.main(*call, communicator=self.communicator)

    def _bind(self, arrays: Sequence[Array]) -> Dims:
        """The sizes of the symbols, which every node takes."""
        dims = bind_symbols([value.type for value in self._inputs], arrays, names=self._inputs)
        self.program.check(dims)
        return dims

    def _outputs(
        self, out: Array | Sequence[Array] | None, dims: Dims, inputs: Sequence[Array]
    ) -> list[Array | None]:
        if out is None:
            return [None] * len(self._types)
        types = self.outputs
        given: list[Any] = list(out) if isinstance(out, (tuple, list)) else [out]
        if len(given) != len(types):
            raise GraphError(
                f"out has {len(given)} arrays, {self.name} has {len(types)} outputs",
                fix=f"give an array for each of {', '.join(types)}",
            )
        for (name, type_), array in zip(types.items(), given):
            wanted = type_.bind(dims)
            fix = f"make it with np.empty({wanted.shape}, np.{wanted.dtype.numpy.name})"
            need(array, np.ndarray, f"out for {name} must be an array {wanted}", fix)
            if array.shape != wanted.shape:
                raise ShapeError(
                    f"out for {name} must be {wanted}, got an array of shape {array.shape}", fix=fix
                )
            if array.dtype != wanted.dtype.numpy:
                raise TypeMismatch(
                    f"out for {name} must be {wanted}, got an array of {array.dtype}", fix=fix
                )
            others = [*inputs, *given]
            shared = sum(np.shares_memory(array, other) for other in others) > 1
            if shared or not array.flags.writeable:
                raise GraphError(
                    f"out for {name} must be memory of its own that can be written to",
                    fix="give an array made with np.empty",
                )
        return [*given, *[None] * (len(self._types) - len(types))]


def _prepared(program: Program, parameters: Mapping[str, object]) -> Any:
    """What the backend makes of weights; see :meth:`Executable.load_state_dict`."""
    fixed, name = program.interface.fixed, program.interface.name
    missing = [value.name for value in fixed if value.name not in parameters]
    if missing:
        raise GraphError(
            f"{name}: no value for the parameters {', '.join(missing)}",
            fix="pass all of them, as Model.state_dict() does",
        )
    arrays = {}
    for value in fixed:
        arrays[value.name] = array = check_feed(value, parameters[value.name])
        check_shape(value, array)
    return program.prepare(arrays)
