"""The Trainer: the fit loop of ``training`` joined with the compiler."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from .backends.executable import Executable
from .compiler import choose_backend, compile
from .frontends.losses import BINARY_LOSSES, CLASS_LOSSES
from .frontends.model import Model
from .ir import Array, Role, TensorType
from .ir.communicator import Communicator
from .ir.errors import GraphError, need
from .ir.habits import TRAINER
from .ir.machine import processors
from .ir.pass_manager import Pass
from .ir.remedies import Foreign
from .ir.tracebacks import user_facing
from .objective import TARGET, Loss, write_loss
from .passes.gradient_clipping import GradientClipping
from .passes.optimizers import SGD, Optimizer
from .targets import TargetForm
from .training.fit_loop import FitLoop
from .training_step import TrainStep


@user_facing
class Trainer(FitLoop, Foreign):
    """Trains a model with one input on labelled images.

    Images have the dtype and the shape of the network's input, labels those of the target.

    Args:
        model: gets the trained parameters after every epoch.
        loss: a name or a function (output, target) -> scalar; see :class:`TrainStep`.
        optimizer: SGD with learning rate 0.01 where None.
        metrics: reported beside the loss; ``("accuracy",)`` by default for cross entropy and
            binary cross entropy, given by their names.
        target: ``"classes"``, ``"probabilities"`` (for mixup), or the type of the target.
        trainable: which parameters to train and which running statistics to move, as a predicate
            on names; all by default.
        clip: what the gradients pass through before the update: ``ClipNorm(1.0)``.
        seed: of the order of the batches, of augmentation and of dropout.
        backend: as for ``compile``.
        threads: as for ``compile``.
        passes: the passes that a step of training runs through, instead of the pipeline for
            training.
        distributed: the ranks that train together, each on its share of every batch:
            ``cauce.distributed.mpi()``. All of them make the same calls. Rank 0 shows progress and
            writes checkpoints.
        accumulate: in how many parts a rank computes its share, one after the other; the weights
            are updated once for each batch, as with a batch in one piece.
        sync_batch_norm: whether batch norms take mean and variance over all ranks' images.

    Raises:
        GraphError: a model with other than one input.
        AttributeMistake, ShapeError, TypeMismatch: as :class:`TrainStep`.

    Examples:
        >>> images = np.random.default_rng(0).standard_normal((32, 1, 4, 4)).astype(np.float32)
        >>> data = cauce.Dataset(images, images.mean((1, 2, 3)) > 0, ("dark", "bright"))
        >>> model = cauce.network(lambda x: nn.linear(nn.flatten(x), 2)).init(x=("N", 1, 4, 4))
        >>> trainer = cauce.Trainer(model, optimizer=cauce.SGD(0.5), backend="numpy")
        >>> history = trainer.fit(data, epochs=20, batch_size=8, progress=False)
        >>> trainer
        <Trainer on numpy, 20 epochs done>
        >>> sorted(trainer.evaluate(data)), trainer.evaluate(data)["accuracy"] > 0.9
        (['accuracy', 'loss'], True)
        >>> trainer.resume("no such folder")
        False
    """

    habits = TRAINER

    def __init__(
        self,
        model: Model,
        loss: str | Loss = "cross_entropy",
        optimizer: Optimizer | None = None,
        *,
        metrics: Sequence[str] | Mapping[str, Loss] | None = None,
        target: TensorType | str | None = None,
        trainable: Callable[[str], bool] | None = None,
        clip: GradientClipping | None = None,
        seed: int = 0,
        backend: str = "auto",
        threads: int | None = None,
        passes: Iterable[Pass] | None = None,
        distributed: Communicator | None = None,
        accumulate: int = 1,
        sync_batch_norm: bool = False,
    ) -> None:
        need(model, Model, "a Trainer takes a Model", "make one with network.init(...)")
        optimizer = optimizer if optimizer is not None else SGD(0.01)
        if metrics is None:
            labelled = isinstance(loss, str) and loss in (*CLASS_LOSSES, *BINARY_LOSSES)
            metrics = ("accuracy",) if labelled else ()
        data = model.graph.inputs_with(Role.DATA)
        if len(data) != 1:
            raise GraphError(
                f"a Trainer feeds one input, {model.name} has {len(data)}",
                fix="write the loop yourself with cauce.train_step",
            )
        self.backend = choose_backend(backend)
        threads = _shared_out(threads, distributed, self.backend)
        step = TrainStep(
            model,
            loss,
            optimizer,
            metrics=metrics,
            target=target,
            trainable=trainable,
            clip=clip,
            backend=self.backend,
            threads=threads,
            passes=passes,
            distributed=distributed,
            accumulate=accumulate,
            sync_batch_norm=sync_batch_norm,
        )
        graph = model.graph.copy()
        write_loss(graph, loss, metrics, target)
        executable = compile(graph, self.backend, threads=threads)
        executable.follow(model)
        evaluation = _Evaluation(executable, step.target_form)
        super().__init__(model, step, evaluation, data[0].name, optimizer.lr, seed, distributed)

    def __repr__(self) -> str:
        return f"<Trainer on {self.backend}, {len(self.history)} epochs done>"


def _shared_out(threads: int | None, ranks: Communicator | None, backend: str) -> int | None:
    """How many threads each rank has: those of its machine are shared out, where nobody said.

    ``mpiexec`` may have bound each rank to processors of its own, which are then all it sees.
    """
    told = threads is not None or os.environ.get("CAUCE_NUM_THREADS")
    if ranks is None or backend != "llvm" or told:
        return threads
    there, seen = os.cpu_count() or 1, processors()
    return seen if seen < there else max(1, there // ranks.neighbours)


class _Evaluation:
    """Loss and metrics in inference form, with targets in the form that the step takes."""

    def __init__(self, executable: Executable, form: TargetForm) -> None:
        self._executable = executable
        self._form = form

    def run(self, feeds: Mapping[str, object]) -> dict[str, Array]:
        return self._executable.run({**feeds, TARGET: self._form(feeds[TARGET])})
