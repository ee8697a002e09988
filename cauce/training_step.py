"""One step of training as one executable: ``state = step(state, batch, lr=...)``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .backends.contract import State, check_sizes
from .backends.executable import Executable
from .compiler import checked_passes, compile
from .frontends.model import Model
from .ir import Array, Role, TensorType
from .ir.attributes import flag, integer, not_negative, positive
from .ir.communicator import Communicator
from .ir.dims import sizes
from .ir.errors import (
    AttributeMistake,
    GraphError,
    ShapeError,
    TypeMismatch,
    need,
    shown,
)
from .ir.ops.random import KEY
from .ir.pass_manager import Pass
from .ir.tracebacks import user_facing
from .objective import TARGET, Loss, warn_of_softmax, write_loss
from .passes.gradient_clipping import GradientClipping
from .passes.inference import hold_statistics
from .passes.optimizer_step import LEARNING_RATE, add_training_step
from .passes.optimizers import Optimizer
from .passes.partial_batches import ACCUMULATED, Parts
from .step_parts import Alone, BatchCheck, Cut
from .step_pickling import LeftBehind, not_pickled, travels
from .targets import TargetForm

if TYPE_CHECKING:
    from .backends.profile import Profile


@user_facing
class TrainState:
    """Parameters, statistics, optimiser slots and the random key, between steps.

    Arrays have the names, shapes and dtypes of what the step updates.

    Args:
        state: what the backend keeps.

    Attributes:
        loss: of the last step; NaN before the first.
        metrics: of the last step, by name.

    What the ``sums`` of parts of a batch hold, zero between steps, is not read.

    Examples:
        >>> model = cauce.network(lambda x: nn.linear(x, 2, name="fc")).init(x=("N", 4), seed=0)
        >>> step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.5), backend="numpy")
        >>> batch = np.eye(4, dtype=np.float32), np.int64([0, 1, 0, 1])
        >>> state = step.init(seed=0)
        >>> state = step(state, batch)
        >>> {name: array.shape for name, array in state.read().items()}
        {'fc.weight': (2, 4), 'fc.bias': (2,)}
        >>> state.write({"fc.bias": np.zeros(2, np.float32)})
    """

    def __init__(self, state: State, sums: frozenset[str] = frozenset()) -> None:
        self.backend_state = state
        self._sums = sums  # of parts of a batch: zero between steps
        self.loss = float("nan")
        self.metrics: dict[str, float] = {}

    def read(self) -> dict[str, Array]:
        """A copy of every array, by name; :meth:`Model.load_state_dict` takes it not strictly."""
        held = self.backend_state.read()
        return {name: array for name, array in held.items() if name not in self._sums}

    def write(self, values: Mapping[str, Array]) -> None:
        """Replace arrays by name."""
        self.backend_state.write(values)


@user_facing
class TrainStep:
    """Forward, loss, backward and update of a model, compiled as one graph.

    A batch has the shapes and dtypes of the network's inputs and of the target; symbols among them
    may differ from step to step.

    Args:
        model: what to train; it is not changed: its parameters are where a state starts. Those
            that are frozen when the step is made are no part of the state: each call takes the
            values that the model then holds. A batch norm whose running statistics are frozen
            normalises by them, as in inference.
        loss: a name (``"cross_entropy"``, ``"mse_loss"``, ...) or a function of the network's
            outputs and the target, written in the DSL, that returns a scalar.
        optimizer: what makes the update.
        metrics: names (``"accuracy"``), or functions like the loss by name. With a binary cross
            entropy, given by its name, accuracy is the share of outputs on the right side of 0, or
            of 0.5 for probabilities; else the greatest output counts.
        target: the type of the target, or ``"classes"`` (indices, i64) or ``"probabilities"`` (the
            type of the network's output). Classes are the default for cross entropy and for a
            function, probabilities for the other losses, which take integers too: labels 0 and 1
            for a binary cross entropy.
        trainable: which parameters to train and which running statistics to move, as a predicate
            on names; all by default that the model has not frozen.
        clip: what the gradients pass through before the update: ``ClipNorm(1.0)``.
        backend: as for ``compile``.
        threads: as for ``compile``.
        passes: the passes that the step runs through, instead of the pipeline for training.
        precision: of the llvm backend, as for ``compile``; its default where None.
        distributed: the ranks that compute each step together, each on its own images of the batch:
            ``cauce.distributed.mpi()``. The loss must be a mean over the images.
        accumulate: in how many parts a rank computes its images, one after the other, which needs
            less memory; what the loss is then is as for ``distributed``.
        sync_batch_norm: whether batch norms take mean and variance over all ranks' images; over
            those of their own rank otherwise.

    Raises:
        AttributeMistake: an unknown loss, metric, kind of target or precision.
        GraphError: a batch to be cut whose size is a number in the network.
        ShapeError: a loss that is not a scalar; a batch norm over one value for each channel.
        TypeMismatch: an argument of another kind.
        GraphError: nothing is left to train.

    Examples:
        >>> model = cauce.network(lambda x: nn.linear(x, 2, name="fc")).init(x=("N", 4), seed=0)
        >>> step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.5), backend="numpy")
        >>> batch = np.eye(4, dtype=np.float32), np.int64([0, 1, 0, 1])
        >>> step.model is model, step.optimizer.lr
        (True, 0.5)
        >>> state = step.init(seed=0)
        >>> for _ in range(20):
        ...     state = step(state, batch, lr=1.0)
        >>> state.loss < 0.2
        True
        >>> model.load_state_dict(state.read(), strict=False)
        >>> len(step.profile(state, batch, repeat=3)) > 3, step.passes
        (True, None)
        >>> step.current() is step, sorted(step.fingerprint)
        (True, ['network', 'plan'])
    """

    def __init__(
        self,
        model: Model,
        loss: str | Loss = "cross_entropy",
        optimizer: Optimizer | None = None,
        *,
        metrics: Sequence[str] | Mapping[str, Loss] = (),
        target: TensorType | str | None = None,
        trainable: Callable[[str], bool] | None = None,
        clip: GradientClipping | None = None,
        backend: str = "auto",
        threads: int | None = None,
        passes: Iterable[Pass] | None = None,
        precision: str | None = None,
        distributed: Communicator | None = None,
        accumulate: int = 1,
        sync_batch_norm: bool = False,
    ) -> None:
        if optimizer is None:
            raise AttributeMistake(
                "a training step needs an optimizer", fix="pass for example cauce.SGD(0.1)"
            )
        need(model, Model, "training takes a Model", "make one with network.init(...)")
        need(optimizer, Optimizer, "optimizer= takes an optimizer", "pass for example SGD(0.1)")
        if clip is not None:
            need(clip, GradientClipping, "clip= takes a rule", "pass for example ClipNorm(1.0)")
        if trainable is not None and not callable(trainable):
            raise TypeMismatch(
                f"trainable= takes a function of a name, got {shown(trainable)}",
                fix="write for example trainable=lambda name: name.startswith('head'), or use "
                "model.freeze(...)",
            )
        what, fix = "distributed= takes ranks", "pass cauce.distributed.mpi()"
        need(distributed, (Communicator, type(None)), what, fix)
        self.accumulate = positive(accumulate, "accumulate")
        self._ranks = distributed
        sync = flag(sync_batch_norm, "sync_batch_norm")
        parts = Parts(distributed is not None, self.accumulate > 1, sync)
        self.parts = parts if parts.ranks or parts.accumulate else None
        # A tuple: they may be needed once more.
        passes = None if passes is None else checked_passes(passes)
        self._again: Callable[[], TrainStep] = partial(
            type(self),
            model,
            loss,
            optimizer,
            metrics=metrics,
            target=target,
            trainable=trainable,
            clip=clip,
            backend=backend,
            threads=threads,
            passes=passes,
            precision=precision,
            distributed=distributed,
            accumulate=accumulate,
            sync_batch_norm=sync_batch_norm,
        )
        self._frozen = set(model.frozen)
        self.model = model
        self.optimizer = optimizer
        self.graph = model.training_graph.copy()
        held = {
            value.name
            for value in self.graph.inputs_with(Role.PARAMETER, Role.STATE)
            if value.name in model.frozen
            or (trainable is not None and value.name != KEY and not trainable(value.name))
        }
        hold_statistics(self.graph, held)
        check_sizes(self.graph, {})  # what could never run is said now, with its line
        self.check_batch = BatchCheck(Alone.of(self.graph), self.parts, self.accumulate)
        warn_of_softmax(self.graph, loss)
        write_loss(self.graph, loss, metrics, target)
        self.target_form = TargetForm.of(self.graph.value(TARGET).type, loss)
        parameters = self.graph.inputs_with(Role.PARAMETER)
        chosen = [parameter for parameter in parameters if parameter.name not in held]
        if parameters and not chosen:
            raise GraphError(
                f"none of the {len(parameters)} parameters of {model.name} is left to train: they "
                "are frozen, or not trainable",
                fix="let some of them be trained: model.unfreeze('linear1.*')",
            )
        self._whole = self.graph.copy() if self.parts is not None else None
        self._trained, self._clip = [value.name for value in chosen], clip
        added = add_training_step(self.graph, "loss", optimizer, chosen, clip, self.parts)
        self._added = [value.name for value in added]
        self._sums = frozenset(n for n in self._added if n.endswith(f".{ACCUMULATED}"))
        settings: dict[str, Any] = {} if precision is None else {"precision": precision}
        self.executable: Executable = compile(
            self.graph, backend, threads=threads, passes=passes, **settings
        )
        self.executable.follow(model)
        self.executable.communicator = distributed

    def __repr__(self) -> str:
        return (
            f"<TrainStep of {self.model.name} with {self.optimizer} on {self.executable.backend}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        """All of it; functions of the user's that have no name elsewhere stay behind.

        A step is its graph: it needs them no more, unless it is to be made again.

        Raises:
            TypeMismatch: an optimizer whose class is defined within a function.
        """
        if not travels(self.optimizer):
            raise TypeMismatch(
                f"a step with {self.optimizer} cannot be pickled: its class is defined within a "
                "function",
                fix="define the class of the optimizer at the level of a module",
            )
        state = dict(vars(self))
        state.pop("fingerprint", None)  # of the plan, which may be another one there
        lost = not_pickled(self._again)
        if lost:
            state["_again"] = LeftBehind(tuple(lost))
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        vars(twin).update(deepcopy(vars(self), memo))  # functions are the same in a process
        return twin

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """What a checkpoint must agree with: the step's graph, and the plan that computes it."""
        graph, plan = self.graph, self.executable.program.fingerprint
        if self._whole is not None:
            # A run goes on with its batch cut otherwise, but not bit for bit.
            graph = self._whole.copy()
            chosen = [v for v in graph.inputs_with(Role.PARAMETER) if v.name in self._trained]
            add_training_step(graph, "loss", self.optimizer, chosen, self._clip)
            ranks = self._ranks.size if self._ranks is not None else 1
            plan = f"{plan}, {ranks} ranks, {self.accumulate} parts each"
        text = graph.to_text(locations=False)
        network = hashlib.sha256(text.encode()).hexdigest()[:16]
        return {"network": network, "plan": plan}

    def current(self) -> TrainStep:
        """This step; where the model has others frozen by now, one that is compiled for them."""
        return self if self._frozen == self.model.frozen else self._again()

    def init(self, seed: int = 0, after: TrainState | None = None) -> TrainState:
        """A state that starts from the model's parameters.

        Args:
            seed: of dropout and other random draws; a run with the same seed draws the same.
            after: an earlier state, whose random draws go on; so do the optimizer's slots, where
                the same parameters were trained.
        """
        known = {**self.model.state_dict(), **self._zeros()}
        known[KEY] = np.array([integer(seed, "seed") % 2**32, 0], np.uint32)
        values = {value.name: known[value.name] for value in self.graph.updates}
        if after is not None:
            earlier = after.read()
            parameters = {value.name for value in self.graph.inputs_with(Role.PARAMETER)}
            goes_on = {KEY}
            if earlier.keys() & parameters == values.keys() & parameters:
                goes_on |= set(self._added) & earlier.keys()
            values |= {name: earlier[name] for name in goes_on & values.keys()}
        return TrainState(self.executable.new_state(values), self._sums)

    def _zeros(self) -> dict[str, Array]:
        """Where the optimizer's slots start."""
        types = {name: self.graph.value(name).type for name in self._added}
        return {n: np.zeros(sizes(type_.shape), type_.dtype.numpy) for n, type_ in types.items()}

    def __call__(
        self,
        state: TrainState,
        batch: Mapping[str, object] | Sequence[object],
        lr: float | None = None,
        *,
        counts: Sequence[int] | None = None,
    ) -> TrainState:
        """Run one step and return the state, which is updated in place.

        Args:
            state: from :meth:`init` or an earlier step.
            batch: the network's inputs and the target, in order or by name.
            lr: the learning rate; the optimizer's where None.
            counts: where several ranks share a batch, and each gives its own images: how many those
                of each rank are, in order. A rank that has none gives one all the same, which does
                not count. The ranks tell each other where None.

        Raises:
            AttributeMistake: a learning rate that is negative, or not finite in its dtype.
            ShapeError: a batch without samples: it has no mean, and would make every parameter NaN;
                or one that gives a batch norm one value for each channel. The state is as before.
        """
        values: dict[str, Array] = {}
        for feeds in self._calls(state, batch, lr, counts):
            values = self.executable.run(feeds, state.backend_state)
        state.loss = float(values.pop("loss"))
        state.metrics = {name: float(array) for name, array in values.items()}
        return state

    def profile(
        self,
        state: TrainState,
        batch: Mapping[str, object] | Sequence[object],
        lr: float | None = None,
        repeat: int = 1,
    ) -> Profile:
        """Run steps and return the time of every node, as :meth:`Executable.profile` does.

        Args:
            state: is updated by each run.
            batch: as for a call.
            lr: as for a call.
            repeat: how many steps to run; the time of a node is the median of its times.

        Raises:
            AttributeMistake: a ``repeat`` below 1; else what a call raises.
        """
        from .backends.profile import Profile

        profile = partial(self.executable.profile, state=state.backend_state)
        rounds = range(positive(repeat, "repeat"))
        return Profile(*(profile(**f) for _ in rounds for f in self._calls(state, batch, lr)))

    @property
    def passes(self) -> tuple[Pass, ...] | None:
        """The passes that it was told to run through; None for the pipeline for training."""
        known: dict[str, Any] = getattr(self._again, "keywords", {})
        return known.get("passes")

    def _calls(
        self,
        state: TrainState,
        batch: Mapping[str, object] | Sequence[object],
        lr: float | None,
        counts: Sequence[int] | None = None,
    ) -> Iterator[Mapping[str, Any]]:
        """What the executable is called with, once for each part; raises what :meth:`__call__`
        does."""
        names = [value.name for value in self.graph.inputs_with(Role.DATA)]
        if not isinstance(batch, Mapping):
            if len(batch) != len(names):
                raise GraphError(
                    f"a batch is ({', '.join(names)}), got {len(batch)} arrays",
                    fix="give the inputs of the network, then the target",
                )
            batch = dict(zip(names, batch))
        if TARGET in batch:
            batch = {**batch, TARGET: self.target_form(batch[TARGET])}
        for name, array in batch.items():
            if 0 in getattr(array, "shape", (1,)):
                raise ShapeError(
                    f"a training step needs at least one sample, {name} is {shown(array)}",
                    fix="leave out empty batches"
                    if self._ranks is None
                    else "give one image all the same, which counts= leaves out: counts=[5, 0]",
                )
        need(state, TrainState, "a step takes its state first", "make one with step.init(seed=0)")
        feeds = {**batch, LEARNING_RATE: self._rate(self.optimizer.lr if lr is None else lr)}
        if self.parts is None:
            return iter([feeds])
        cut = Cut(self.parts, self._ranks, self.accumulate, self.check_batch)
        return cut.calls(self.executable, feeds, names, counts)

    def _rate(self, given: object) -> Array:
        """The learning rate in the dtype of the parameters, in which it must be finite."""
        rate = not_negative(given, "the learning rate", "pass for example lr=0.1")
        dtype = self.graph.value(LEARNING_RATE).type.dtype
        factor = max([1.0, *self.optimizer.lr_factors.values()])
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = dtype.round(np.asarray(rate, dtype.numpy))
            fastest = dtype.round(rounded * np.asarray(factor, dtype.numpy))
        if not np.isfinite(fastest):
            times = "" if factor == 1 else f", {factor:g} times as much for some,"
            raise AttributeMistake(
                f"the learning rate {rate:g}{times} is infinite in {dtype}",
                fix="pass for example lr=0.1" + (times and ", and factors of that size"),
            )
        return rounded


@user_facing
def train_step(
    model: Model,
    loss: str | Loss,
    optimizer: Optimizer,
    backend: str = "auto",
    *,
    metrics: Sequence[str] | Mapping[str, Loss] = (),
    target: TensorType | str | None = None,
    trainable: Callable[[str], bool] | None = None,
    clip: GradientClipping | None = None,
    threads: int | None = None,
    passes: Iterable[Pass] | None = None,
    precision: str | None = None,
    distributed: Communicator | None = None,
    accumulate: int = 1,
    sync_batch_norm: bool = False,
) -> TrainStep:
    """The training step of ``model``; the arguments, and the errors, are :class:`TrainStep`'s.

    Shapes and dtypes are as there. They are ``model``, ``loss``, ``optimizer``, ``backend``,
    ``metrics``, ``target``, ``trainable``, ``clip``, ``threads``, ``passes``, ``precision``,
    ``distributed``, ``accumulate`` and ``sync_batch_norm``.

    Raises:
        AttributeMistake, GraphError, ShapeError, TypeMismatch: as :class:`TrainStep`.

    Examples:
        >>> model = cauce.network(lambda x: nn.linear(x, 2, name="fc")).init(x=("N", 4), seed=0)
        >>> step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.5), backend="numpy")
        >>> batch = np.eye(4, dtype=np.float32), np.int64([0, 1, 0, 1])
        >>> state = step(step.init(seed=0), batch)
        >>> round(state.loss, 2)
        0.78
    """
    return TrainStep(
        model,
        loss,
        optimizer,
        metrics=metrics,
        target=target,
        trainable=trainable,
        clip=clip,
        backend=backend,
        threads=threads,
        passes=passes,
        precision=precision,
        distributed=distributed,
        accumulate=accumulate,
        sync_batch_norm=sync_batch_norm,
    )
