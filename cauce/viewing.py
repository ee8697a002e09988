"""Joins passes, backends and pages: ``view``, the page of a network and what becomes of it."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from .backends.executable import Executable
from .backends.profile import Profile
from .compiler import compile, is_training, pipeline
from .frontends.model import Model
from .frontends.open_model import OpenModel
from .ir import Array, Graph, Role
from .ir.attributes import positive
from .ir.dims import DimExpr
from .ir.errors import GraphError, TypeMismatch, need, shown
from .ir.evaluate import bind_symbols, check_feeds
from .ir.pass_manager import Instrument, Pass, run_passes
from .ir.rewrite import Event
from .ir.tracebacks import user_facing
from .pages.page import Page
from .pages.stages import Stage
from .pages.view_page import Buffer, MemoryPlan, ProfileData, ViewData, view_page
from .training_step import TrainStep

if TYPE_CHECKING:
    from .backends.llvm.details import MemoryMap
    from .backends.llvm.runtime.program import LlvmProgram

Inputs = Mapping[str, object] | Sequence[object] | Array
_REPEAT = 5  # runs of a profile, of which the median counts
_LOWERED = (
    "Each convolution, matrix product, pooling or reduction is one kernel with the elementwise ops "
    "around it. Types say how arrays lie in memory: images channels-last within a halo, weights "
    "packed as the kernel reads them, with reorders between."
)


class View:
    """The page of a network: a notebook shows it, :meth:`save` writes it as a file.

    Attributes:
        page: the page itself.
        stages: the names of the stages that its slider goes through.

    Examples:
        >>> model = cauce.network(lambda x: nn.relu(nn.linear(x, 2))).init(x=("N", 3))
        >>> found = cauce.view(model, backend="numpy")
        >>> found.stages[0]
        'network'
        >>> found.save("net.html")
    """

    def __init__(self, page: Page, stages: Sequence[str]) -> None:
        self.page = page
        self.stages = list(stages)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page as one HTML file, which needs nothing else; an earlier file is replaced by
        a whole one.

        Raises:
            MissingFile: there is no such folder, or ``path`` is one.
            OSError: the file cannot be written.
        """
        self.page.save(path)

    def _repr_html_(self) -> str:
        return self.page._repr_html_()

    def __repr__(self) -> str:
        stages = len(self.stages)
        return f"<View of {self.page.title}: {stages} stage{'s' * (stages != 1)}>"


@user_facing
def view(
    network: Model | Graph | TrainStep,
    path: str | os.PathLike[str] | None = None,
    *,
    inputs: Inputs | None = None,
    profile: Profile | None = None,
    peak: float | bool = False,
    batch: int = 1,
    backend: str = "auto",
    threads: int | None = None,
    code: bool = True,
    **settings: Any,
) -> View:
    """The page of a network: its graph through all passes to the kernels, with what there is to
    know of each node.

    It is one HTML file without requests: the graph in groups by layer path, with a slider through
    the passes and the rules that fired; of each node the line of source, formula, types, gradient,
    schedule and generated code; the memory plan as a picture. Of a training step the forward and
    the backward pass lie side by side.

    Args:
        network: a model (its inference graph), a graph, or a training step. A training step shows
            what its own backend makes of it: ``backend``, ``threads`` and ``settings`` are not for
            it.
        path: a file to write, ``net.html``; none where None.
        inputs: arrays of the shapes and dtypes that a call of what is compiled takes, in order or
            by name; of a training step its batch. With them it is run and profiled.
        profile: what ``Executable.profile`` or ``TrainStep.profile`` gave, instead.
        peak: what the machine can do, in floating-point operations a second, for the page to show
            shares of it; True measures it, half a second of all threads.
        batch: for which costs and memory are counted where no inputs are given.
        backend: as for :func:`compile`.
        threads: as for :func:`compile`.
        code: whether the generated code is in the page.
        settings: as for :func:`compile`.

    Returns:
        The page.

    Raises:
        MissingExtra: igraph is not installed.
        TypeMismatch: something else than a model, a graph or a training step.
        GraphError: a model whose graph depends on sizes that only a call tells.
        UnsupportedOp: the backend has no rule for an op.
        MissingFile: there is no folder to write ``path`` in.

    Examples:
        >>> model = cauce.network(lambda x: nn.relu(nn.linear(x, 2))).init(x=("N", 3))
        >>> page = cauce.view(model, "net.html", backend="numpy")
        >>> page.stages[0]
        'network'
    """
    need(
        network,
        (Model, Graph, TrainStep),
        "view takes a Model, a Graph or a TrainStep",
        "make a model with network.init(...)",
    )
    if isinstance(network, OpenModel):
        raise GraphError(
            f"{network.name} has one graph for each {network.needs}",
            fix="fix its sizes when loading: cauce.load_onnx(path, inputs={...})",
        )
    subject = _subject(network, backend, threads, settings)
    page = view_page(subject.data(inputs, profile, peak, positive(batch, "batch"), code))
    found = View(page, [stage.name for stage in subject.stages])
    if path is not None:
        found.save(path)
    return found


def graph_page(graph: Graph, kind: str = "graph") -> Page:
    """The page of a graph as it stands: no pass is run, and nothing compiled.

    Raises:
        MissingExtra: igraph is not installed.
    """
    return view_page(ViewData(graph.name, kind, [Stage("graph", graph)], _first_sizes(graph, 1)))


class Recorder(Instrument):
    """Keeps a copy of the graph after each pass that changed it, with what its rules did.

    Attributes:
        stages: in order.
    """

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self._events: list[Event] = []
        self._runs: Counter[str] = Counter()

    def before(self, pass_: Pass, graph: Graph) -> None:
        self._events = []

    def rewrote(self, event: Event) -> None:
        self._events.append(event)

    def after(self, pass_: Pass, graph: Graph, changed: bool) -> None:
        self._runs[pass_.name] += 1
        if not changed:
            return
        run = self._runs[pass_.name]
        name = pass_.name if run == 1 else f"{pass_.name}, run {run}"
        about = inspect.cleandoc(type(pass_).__doc__ or "").partition("\n\n")[0]
        self.stages.append(Stage(name, graph.copy(), about, self._events))


@dataclass
class _Subject:
    """What is viewed, and what was compiled of it.

    Attributes:
        kind: what it is, for the title.
        graph: what was compiled.
        executable: what it was compiled to.
        step: the training step that it is, if any.
        stages: that the graph goes through.
        facts: to be shown.
    """

    kind: str
    graph: Graph
    executable: Executable
    step: TrainStep | None
    stages: list[Stage]
    facts: dict[str, str] = field(default_factory=dict)

    def data(
        self,
        inputs: Inputs | None,
        profile: Profile | None,
        peak: float | bool,
        batch: int,
        code: bool,
    ) -> ViewData:
        """All that the page shows."""
        sizes = _first_sizes(self.graph, batch)
        if inputs is not None:
            feeds = self._feeds(inputs)
            sizes = self._sizes(feeds)
            profile = profile if profile is not None else self._profile(feeds)
        memory: list[MemoryPlan] = []
        texts: dict[str, dict[str, str]] = {}
        program: Any = self.executable.program
        if self.executable.backend == "llvm":
            memory, texts = self._native(program, sizes, code)
            sizes = program.callers[1].sizes(sizes)
        known = None
        if profile is not None:
            rows = [(row.path, row.op, row.seconds, row.flops, row.bytes) for row in profile]
            known = ProfileData(rows, profile.seconds, self._peak(peak))
            self.facts["time"] = f"{profile.seconds * 1e3:.3f} ms, the sum of the kernels"
        self.facts["sizes"] = ", ".join(f"{name} = {n}" for name, n in sizes.items()) or "all fixed"
        return ViewData(
            self.graph.name, self.kind, self.stages, sizes, self.facts, known, memory, texts
        )

    def _native(
        self, program: LlvmProgram, sizes: Mapping[str, int], code: bool
    ) -> tuple[list[MemoryPlan], dict[str, dict[str, str]]]:
        """The memory plans and the code; the lowered graph is a further stage."""
        from .backends.llvm.details import memory_map, node_details
        from .backends.llvm.show import BuildListing

        listing = program.listing
        assert isinstance(listing, BuildListing)
        build = listing.build
        kernels = {
            name: {
                "path": details.row[0],
                "row": details.row,
                "functions": details.functions,
                **({"schedule": details.schedule} if details.schedule else {}),
                **({"choices": details.choices} if details.choices else {}),
            }
            for name, details in node_details(build).items()
        }
        self.stages.append(Stage("kernels", build.lowered.graph, _LOWERED, (), kernels))
        maps = [
            memory_map(plan, caller, known)
            for plan, caller, known in zip(
                (build.main, build.prepare), program.callers[::-1], (sizes, {})
            )
        ]
        self.facts["processor"] = f"{program.target.cpu} ({program.target.name})"
        self.facts["threads"] = str(program.threads)
        forms = program.forms if code else ()
        texts = {form: listing.functions(form) for form in forms}
        return [_memory_plan(found) for found in maps if found and found.buffers], texts

    def _feeds(self, inputs: Inputs) -> dict[str, Any]:
        """The inputs by name."""
        if isinstance(inputs, Mapping):
            return dict(inputs)
        names = [value.name for value in self.graph.inputs_with(Role.DATA)]
        one = len(names) == 1 and not isinstance(inputs, (tuple, list))
        arrays: list[object] = [inputs] if one else list(inputs)
        if len(arrays) != len(names):
            raise GraphError(
                f"{self.graph.name} takes ({', '.join(names)}), got {len(arrays)} arrays",
                fix="give an array for each, in this order or by name",
            )
        return dict(zip(names, arrays))

    def _sizes(self, feeds: Mapping[str, object]) -> dict[str, int]:
        called = [value for value in self.graph.inputs_with(Role.DATA) if value.name in feeds]
        arrays = check_feeds(called, {v.name: feeds[v.name] for v in called}, self.graph.name)
        return dict(bind_symbols([value.type for value in called], arrays, names=called))

    def _peak(self, given: float | bool) -> float | None:
        """What the machine can do, which is measured where ``given`` is True."""
        if given is True:
            from .backends.llvm.peak import measured_peak

            threads = getattr(self.executable.program, "threads", None)
            given = measured_peak(threads or os.cpu_count() or 1)
            self.facts["peak"] = f"{given / 1e9:.0f} GFLOP/s"
        return float(given) or None

    def _profile(self, feeds: Mapping[str, Any]) -> Profile:
        if self.step is not None:
            return self.step.profile(self.step.init(seed=0), feeds, repeat=_REPEAT)
        return self.executable.profile(repeat=_REPEAT, **feeds)


def _subject(
    network: Model | Graph | TrainStep,
    backend: str,
    threads: int | None,
    settings: Mapping[str, Any],
) -> _Subject:
    recorder = Recorder()
    if isinstance(network, TrainStep):
        if settings or threads is not None or backend != "auto":
            raise TypeMismatch(
                "a training step is compiled already: view takes no backend, threads or "
                f"{shown(list(settings))} for it",
                fix="give them to train_step",
            )
        graph, executable = network.graph, network.executable
        before = [
            Stage("network", network.model.training_graph, "The network in its training form."),
            Stage(
                "training step",
                graph,
                "With the loss, the gradients of automatic differentiation, and the optimiser's "
                "update. Backward and update lie beside the layers that they belong to.",
            ),
        ]
        passes = pipeline(executable.backend, training=True, passes=network.passes)
        kind = f"training step with {type(network.optimizer).__name__}"
    else:
        graph = network.graph if isinstance(network, Model) else network
        executable = compile(network, backend, threads=threads, **settings)
        before = [Stage("network", graph, "The graph as it was written, before any pass.")]
        training = isinstance(network, Graph) and is_training(network)
        passes = pipeline(executable.backend, training=training)
        kind = "inference" if isinstance(network, Model) else "graph"
    run_passes(graph.copy(), passes, [recorder])
    facts = {"nodes": f"{sum(1 for _ in graph.nodes):,}", "backend": executable.backend}
    model = network.model if isinstance(network, TrainStep) else network
    if isinstance(network, TrainStep):
        facts["optimizer"] = str(network.optimizer)
    if isinstance(model, Model):
        facts["parameters"] = f"{model.parameter_count():,}"
    step = network if isinstance(network, TrainStep) else None
    return _Subject(kind, graph, executable, step, [*before, *recorder.stages], facts)


def _first_sizes(graph: Graph, batch: int) -> dict[str, int]:
    """The size of the batch: the symbol in dimension 0 of the data inputs."""
    shapes = (value.type.shape for value in graph.inputs_with(Role.DATA))
    first = chain.from_iterable(shape[:1] for shape in shapes)
    return {str(dim): batch for dim in first if isinstance(dim, DimExpr) and dim.is_symbol}


def _memory_plan(found: MemoryMap) -> MemoryPlan:
    from .backends.llvm.lowering.kernels import anchor_of

    buffers = []
    for buffer in found.buffers:
        maker = next((value.node for value in buffer.values if value.node), buffer.node)
        names = tuple(value.name for value in buffer.values) or (buffer.node.path,)
        family = type(anchor_of(maker).op).__module__.rpartition(".")[2]
        where = (buffer.offset, buffer.nbytes, buffer.first, buffer.last)
        buffers.append(Buffer(names, family, *where, not buffer.values))
    return MemoryPlan(found.entry, found.nbytes, found.micro_batches, found.launches, buffers)
