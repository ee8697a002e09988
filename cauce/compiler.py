"""Joins frontends, passes and backends: ``compile``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .backends.contract import Program, Request
from .backends.executable import TAP, Executable
from .backends.specialized import SpecializedExecutable
from .frontends.model import Model
from .frontends.open_model import OpenModel
from .ir import Array, Graph, Node, Role, Value
from .ir.attributes import flag, positive
from .ir.dims import DimExpr
from .ir.errors import (
    AttributeMistake,
    GraphError,
    MissingExtra,
    TypeMismatch,
    install,
    need,
    shown,
)
from .ir.installed import origin_of
from .ir.record import Record
from .ir.remedies import wrong_call
from .ir.tracebacks import user_facing
from .ir.unread import UnreadGraph

# Passes are imported when they run: code from the cache needs none.
if TYPE_CHECKING:
    from .ir.pass_manager import Instrument, Pass


def _numpy(request: Request) -> Program:
    from .backends.numpy import NumpyProgram

    if request.threads is not None:
        raise AttributeMistake(
            "the numpy backend takes its threads from NumPy's BLAS",
            fix="set OPENBLAS_NUM_THREADS before Python starts, or use backend='llvm'",
        )
    return NumpyProgram(request.optimize())


def _llvm(request: Request) -> Program:
    from .backends.llvm.driver import load_or_compile

    return load_or_compile(request)


class Backend(Record):
    """How a backend makes a program of a graph.

    Attributes:
        make: does it.
        primitives: whether composites are taken apart before, and their parts fused.
        whole: gives what says which composites stay whole all the same, in inference.
        settings: the names of what it takes from ``compile`` beside what all backends take; they
            are in ``Request.settings``, and part of the key of what it keeps.
    """

    make: Callable[[Request], Program]
    primitives: bool = False
    whole: Callable[[], Callable[[Node], bool]] | None = None
    settings: tuple[str, ...] = ()


def _whole_in_native_code() -> Callable[[Node], bool]:
    from .backends.llvm.whole import is_whole

    return is_whole


_BACKENDS = {
    "numpy": Backend(_numpy),
    "llvm": Backend(
        _llvm, primitives=True, whole=_whole_in_native_code, settings=("schedules", "precision")
    ),
}


@user_facing
def register_backend(
    name: str,
    make: Callable[[Request], Program],
    *,
    primitives: bool = False,
    settings: Sequence[str] = (),
) -> None:
    """Let ``compile`` know a backend, which ``backend=name`` chooses from then on.

    What a program must provide, shapes and dtypes included, is in ``backends/contract.py``;
    ``docs/recipes/add-a-backend.md`` writes one.

    Args:
        name: an earlier one with this name is replaced, but for cauce's own.
        make: makes a program of a request.
        primitives: whether composites are to be taken apart before, and their parts fused.
        settings: names of further arguments of ``compile`` that are for this backend.

    Raises:
        AttributeMistake: a name that is cauce's own.

    Examples:
        >>> from cauce.backends.numpy import NumpyProgram
        >>> cauce.register_backend("mine", lambda request: NumpyProgram(request.optimize()))
        >>> model = models.lenet5.init(image=("N", 1, 28, 28))
        >>> cauce.compile(model, backend="mine")(np.zeros((1, 1, 28, 28), np.float32)).shape
        (1, 10)
    """
    if name in ("auto", "numpy", "llvm"):
        raise AttributeMistake(
            f"{name!r} is a backend of cauce's own", fix=f"choose another name: 'my_{name}'"
        )
    _BACKENDS[name] = Backend(make, primitives, settings=tuple(settings))


def choose_backend(name: str = "auto") -> str:
    """The backend that ``name`` stands for: ``"auto"`` is llvm where llvmlite is installed.

    Elsewhere it is numpy. It is chosen by what is installed alone, never by what a graph holds: an
    op or a dtype that the chosen backend does not know is an error.

    Raises:
        AttributeMistake: there is no such backend.
        MissingExtra: what it needs is not installed.
    """
    native = origin_of("llvmlite") is not None
    if name == "auto":
        return "llvm" if native else "numpy"
    if name not in _BACKENDS:
        raise AttributeMistake(
            f"there is no backend {name!r}", fix=f"use one of auto, {', '.join(_BACKENDS)}"
        )
    if name == "llvm" and not native:
        raise MissingExtra(
            "the llvm backend needs llvmlite, which is not installed",
            fix=install("llvmlite"),
        )
    return name


@user_facing
def compile(
    model: Model | Graph,
    backend: str = "auto",
    batch: int | None = None,
    *,
    threads: int | None = None,
    taps: Sequence[str] = (),
    validate: bool = False,
    passes: Iterable[Pass] | None = None,
    instruments: Sequence[Instrument] = (),
    **settings: object,
) -> Executable:
    """Compile a model for inference, or any graph as it stands.

    Inputs and outputs have the dtypes and shapes of the graph; sizes that are symbols may differ
    from call to call.

    Args:
        model: a model (its inference graph is taken, and each call computes with the weights that
            the model then holds), or a graph; a graph's parameters are given later with
            ``load_state_dict``. A model with a graph for each size of a symbol (``OpenModel``) is
            compiled when a call comes with other sizes; the executable's repr says which.
        backend: ``"llvm"`` (native code), ``"numpy"``, or ``"auto"``: llvm where llvmlite is
            installed, else numpy. The executable's repr says which.
        batch: a fixed size for the batch, the symbol in dimension 0 of the data inputs; any size
            where None.
        threads: how many threads the llvm backend shares the work among; the results are the same
            for any number. ``CAUCE_NUM_THREADS``, or all processors, where None.
        taps: names of values, or layer paths, that ``executable.tapped`` gives beside the
            outputs. They are computed as the network says: nothing is folded into or out of them.
        validate: whether each pass is checked by translation validation: the reference runs
            before and after it on random inputs.
        passes: the passes to run; by default the pipeline for inference, or for training where a
            graph updates its inputs or has ops of training.
        instruments: what watches the passes.
        settings: what the backend takes beside these. The llvm backend takes ``schedules``: how
            some kernels run, by the name of the kernel as ``plan()`` lists it, in place of cauce's
            own choice; and ``precision``. With ``"strict"`` every sum of a convolution or a matrix
            product runs directly, in the order of its definition; ``"default"`` admits algorithms
            whose rounding is within a small factor of that (Winograd's, for 3x3 convolutions);
            ``"fast"`` admits more of them. ``docs/performance.md`` states the bounds.

    Returns:
        The executable: call it with arrays.

    Raises:
        UnsupportedOp: the backend has no rule for an op.
        AttributeMistake: no such backend or precision, or a batch or a number of threads below 1.
        MissingExtra: the backend needs what is not installed.
        GraphError: a tap that is no value of the graph.
        CompileError: with ``validate``, a pass that changed what the graph computes; a schedule
            that its kernel cannot have, or a name that no kernel has.
        TypeMismatch: a setting that the backend does not take.

    Examples:
        >>> model = models.lenet5.init(image=("N", 1, 28, 28), seed=0)
        >>> predict = cauce.compile(model, "numpy")
        >>> predict
        <Executable lenet5 on numpy: (image: f32[N,1,28,28]) -> (output: f32[N,10])>
        >>> predict(np.zeros((2, 1, 28, 28), np.float32)).shape
        (2, 10)
    """
    if not isinstance(model, (Model, Graph)):
        raise TypeMismatch(
            f"compile takes a Model or a Graph, got {shown(model)}",
            fix="make a model with network.init(...)",
        )
    name = choose_backend(backend)
    _check_settings(name, settings)
    own = None if passes is None else checked_passes(passes)
    if isinstance(model, OpenModel):
        common = {"batch": batch, "threads": threads, "taps": taps, "validate": validate}
        every = {**common, "passes": own, "instruments": tuple(instruments), **settings}
        return SpecializedExecutable(model, _Specialize(model, name, every), name, taps)
    need(taps, (list, tuple, set), "taps are a list of names", "write for example taps=['conv1']")
    if flag(validate, "validate"):
        from .ir.validation import TranslationValidation

        instruments = (*instruments, TranslationValidation())
    # What passes of one's own do, and what watches them, is not known beforehand.
    watched = own is not None or bool(instruments)
    given = model if isinstance(model, Graph) else model.unread or model.graph
    source, outputs = given, None
    if isinstance(given, Graph) or batch is not None or taps or watched:
        source = graph = given.copy()
        outputs = len(graph.outputs)
        for tap in taps:
            graph.outputs[f"{TAP}{tap}"] = tapped_value(graph, tap)
        if batch is not None:
            _batch_sizes(graph, batch)  # which says what is wrong with it
    training = isinstance(model, Graph) and is_training(model)
    chosen = _BACKENDS[name]
    options = (
        None if watched else f"{name}, batch {batch}, {'training' if training else 'inference'}"
    )

    optimize = _Optimize(source, batch, training, chosen, own, tuple(instruments))
    request = Request(source, optimize, options, threads, tuple(sorted(settings.items())))
    executable = Executable(chosen.make(request), outputs=outputs)
    if isinstance(model, Model):
        executable.follow(model)
    return executable


class _Specialize(Record):
    """Compiles an open model for sizes and values that a call came with.

    Attributes:
        model: which one.
        backend: the name of the backend.
        options: the other arguments of :func:`compile`.
    """

    model: OpenModel
    backend: str
    options: dict[str, Any]

    def __call__(self, sizes: Mapping[str, int], values: Mapping[str, Array]) -> Executable:
        return compile(self.model.specialized(sizes, values), self.backend, **self.options)


def _check_settings(backend: str, settings: Mapping[str, object]) -> None:
    """Raise TypeMismatch for arguments that neither ``compile`` nor the backend takes."""
    for name in settings:
        if name in _BACKENDS[backend].settings:
            continue
        others = [other for other, known in _BACKENDS.items() if name in known.settings]
        if others:
            raise TypeMismatch(
                f"the {backend} backend takes no {name}",
                fix=f"leave it out, or compile with backend={others[0]!r}",
            )
        why = f"compile() got an unexpected keyword argument {name!r}"
        raise wrong_call(compile, (), {name: settings[name]}, why)


class _Optimize(Record):
    """Runs the passes that stand between a graph and a backend, on a copy of it.

    Attributes:
        graph: which one.
        batch: as for :func:`compile`.
        training: whether it is a graph of training.
        backend: for which.
        own: passes in the place of the pipeline.
        instruments: what watches all of them.
    """

    graph: Graph | UnreadGraph
    batch: int | None
    training: bool
    backend: Backend
    own: tuple[Pass, ...] | None
    instruments: tuple[Instrument, ...]

    def __call__(self) -> Graph:
        from .ir.pass_manager import run_passes
        from .passes.shape_inference import Specialize

        graph = self.graph.copy()
        if self.batch is not None:
            sizes = _batch_sizes(graph, self.batch)
            run_passes(graph, [Specialize(sizes)], self.instruments)
        passes = _passes(self.backend, self.training, self.own)
        run_passes(graph, passes, self.instruments)
        return graph


def pipeline(
    backend: str = "auto", *, training: bool = False, passes: tuple[Pass, ...] | None = None
) -> tuple[Pass, ...]:
    """The passes that :func:`compile` runs, in order.

    Args:
        backend: as for :func:`compile`, which may raise the same errors about it.
        training: whether for a graph of training.
        passes: those that were given in the place of the default ones.
    """
    return _passes(_BACKENDS[choose_backend(backend)], training, passes)


def _passes(backend: Backend, training: bool, own: tuple[Pass, ...] | None) -> tuple[Pass, ...]:
    """The pipeline, or what is in its place, and what the backend wants behind."""
    from .passes import pipelines

    last = pipelines.PRIMITIVES if backend.primitives else ()
    if backend.whole is not None and not training:
        last = pipelines.primitives(backend.whole())
    first = pipelines.TRAINING if training else pipelines.INFERENCE
    return (*(first if own is None else own), *last)


def checked_passes(passes: Iterable[Pass]) -> tuple[Pass, ...]:
    """The passes; TypeMismatch for anything else."""
    from .ir.pass_manager import Pass

    what, fix = "passes= takes a list of passes", "write passes=(*INFERENCE, YourPass())"
    need(passes, Iterable, what, fix)
    own = tuple(passes)
    for pass_ in own:
        need(pass_, Pass, what, fix)
    return own


def tapped_value(graph: Graph, tap: str) -> Value:
    """The value called ``tap``, or the last one of the layer with that path.

    Raises:
        GraphError: there is neither.
    """
    of_layer = [value for value in graph.values if value.path == tap]
    return of_layer[-1] if of_layer else graph.value(tap)


def is_training(graph: Graph) -> bool:
    """Whether a graph updates its inputs, or has ops of training."""
    from .passes.properties import inference_only

    return bool(graph.updates) or inference_only(graph) is not None


def _batch_sizes(graph: Graph, batch: int) -> dict[str, int]:
    batch = positive(batch, "batch")
    names = set()
    for value in graph.inputs_with(Role.DATA):
        if not value.type.shape:
            continue  # a scalar has no batch
        lead = value.type.shape[0]
        if isinstance(lead, DimExpr) and lead.is_symbol:
            names.add(str(lead))
        elif lead != batch:
            raise GraphError(
                f"input {value.name} is {value.type}: its batch is not free to become {batch}",
                fix='give init a symbol for the batch, for example ("N", 3, 32, 32)',
            )
    return dict.fromkeys(sorted(names), batch)
