"""Training in native code: gradients of all models, curves, and the same bits every time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import models
from cauce.backends.executable import Executable
from cauce.frontends.network import Network
from cauce.ir import Array, Builder, Graph, Node, Role, Value
from cauce.ir.ops.activation import Clip, Relu
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.elementwise import Greater, Less, LogicalAnd, Where
from cauce.ir.ops.pool import MaxPool2d, MaxPool2dSelect
from cauce.ir.ops.random import KEY
from cauce.ir.rewrite import substitute
from cauce.objective import write_loss
from cauce.passes.autodiff import gradients

from ..api.nets import batch, small
from ..facets.build import graph_in, wide
from ..guarded import guarded
from .test_llvm import bits, run

Feeds = dict[str, Array]

# Of the norm of each parameter's gradient.
TOLERANCE = 1e-4
# Of the norm of all gradients: what a gradient may be that is zero but for rounding, as that of a
# bias whose sum a batch norm subtracts again.
ZERO = 1e-5


@dataclass(frozen=True)
class Case:
    """A model, and the point at which its gradients are taken.

    Attributes:
        shape: of the images. A batch norm needs some values of each channel: the fewer they are,
            the more their variance is changed by rounding, and that of each layer grows in the
            next.
    """

    network: Network
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.network.name, *map(str, self.options.values())])

    def model(self) -> cauce.Model:
        """The model with scales and shifts as they are after some training.

        Where all shifts are 0, as at first, the gradients of many scales are 0.
        """
        model = self.network.init(image=("N", *self.shape[1:]), classes=5, **self.options)
        rng = np.random.default_rng(1)
        values = model.state_dict()
        for parameter in model.graph.inputs_with(Role.PARAMETER):
            array = values[parameter.name]
            if array.ndim == 1:
                reach = 1.0 if parameter.name.endswith("bias") else 0.3
                array += rng.uniform(-reach, reach, array.shape).astype(array.dtype)
        model.load_state_dict(values)
        return model

    def feeds(self) -> Feeds:
        """Images and labels."""
        rng = np.random.default_rng(2)
        pixels = self.shape[2:] if self.network is models.unet else ()
        images = rng.standard_normal(self.shape).astype(np.float32)
        return {"image": images, "target": rng.integers(0, 5, (self.shape[0], *pixels))}


def parameters_of(model: cauce.Model) -> Feeds:
    """All that the training graph reads beside images and labels, the random key among it."""
    return {**model.state_dict(), KEY: np.array([3, 7], np.uint32)}


def network_of(model: cauce.Model) -> Graph:
    """The forward graph of training."""
    graph = model.training_graph.copy()
    graph.updates.clear()
    return graph


def add_gradients(graph: Graph) -> None:
    """Write the loss, and the gradient by every parameter under its name."""
    write_loss(graph, "cross_entropy")
    parameters = graph.inputs_with(Role.PARAMETER)
    found = gradients(graph, graph.outputs["loss"], parameters)
    for parameter, gradient in zip(parameters, found):
        assert gradient is not None
        graph.outputs[parameter.name] = gradient


def gradient_graph(model: cauce.Model) -> Graph:
    """The training graph of a model with its gradients as outputs."""
    graph = network_of(model)
    add_gradients(graph)
    return graph


def native(graph: Graph, parameters: Feeds, threads: int | None = None) -> Executable:
    executable = cauce.compile(graph, backend="llvm", threads=threads)
    executable.load_state_dict(parameters)
    return executable


def in_f64(graph: Graph, parameters: Feeds, feeds: Feeds) -> Feeds:
    """What a graph in f64 gives on arrays in f32; dropout draws the same numbers in both."""

    def widened(arrays: Feeds) -> Feeds:
        return {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in arrays.items()}

    executable = cauce.compile(graph, backend="numpy")
    executable.load_state_dict(widened(parameters))
    return executable.run(widened(feeds))


# ---- kinks -------------------------------------------------------------------------------------
#
# Beyond the kink of a relu the gradient is another one. Among millions of values some are so near
# to it that rounding decides, so the reference takes the decisions of native code: it computes the
# gradient of the same smooth piece. What it is told is checked by its own value of the loss.


def kinks(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.op, (Relu, Clip, MaxPool2d))]


def deciding(graph: Graph) -> dict[str, Value]:
    """The values that tell what each kink decided: its result, or what a maximum is taken of."""
    nodes = kinks(graph)
    return {
        f"kink{i}": node.operands[0] if isinstance(node.op, MaxPool2d) else node.result
        for i, node in enumerate(nodes)
    }


def write_decisions(graph: Graph) -> None:
    """Make every kink decide as inputs ``kink0``, ``kink1``, ... tell."""
    told = [graph.add_input(name, value.type) for name, value in deciding(graph).items()]
    for node, given in zip(kinks(graph), told):
        b = Builder.like(node, before=node)
        (x,) = node.operands
        if isinstance(node.op, MaxPool2d):
            y = b(node.op.sibling(MaxPool2dSelect), given, x)
        else:
            assert isinstance(node.op, (Relu, Clip))
            low, high = (node.op.min, node.op.max) if isinstance(node.op, Clip) else (0, np.inf)
            above = b(Greater(), given, scalar(b, low, given))
            below = b(Less(), given, scalar(b, high, given))
            y = b(Where(), b(LogicalAnd(), above, below), x, given)
        substitute(node, (y,))


FAST = [
    Case(models.resnet20, (3, 3, 32, 32)),
    Case(models.lenet5, (3, 1, 28, 28)),
    Case(models.unet, (2, 1, 13, 18), {"width": 4, "depth": 2}),
]
SLOW = [
    Case(models.plain20, (3, 3, 16, 16)),  # resnet20 without its shortcuts
    Case(models.resnet18, (3, 3, 33, 33)),
    Case(models.resnet50, (16, 3, 33, 33)),
    Case(models.mobilenet_v2, (8, 3, 33, 33)),
    Case(models.squeezenet, (3, 3, 48, 33)),
    Case(models.squeezenet, (3, 3, 33, 48), {"version": "1.0"}),
    Case(models.densenet121, (3, 3, 64, 64)),
    Case(models.vgg11, (2, 3, 32, 32)),
    Case(models.vgg11_bn, (3, 3, 64, 64)),
]


def hold_gradients(found: Feeds, wanted: Feeds) -> None:
    """Every gradient is the wanted one within the tolerance of its norm."""
    norms = {name: float(np.linalg.norm(array)) for name, array in wanted.items()}
    everything = float(np.linalg.norm(list(norms.values())))
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        zero = norms[name] < 1e-10 * everything
        allowed = ZERO * everything if zero else TOLERANCE * norms[name]
        gap = float(np.linalg.norm(found[name].astype(np.float64) - array))
        assert gap <= allowed, (name, gap, norms[name], everything)


@pytest.mark.parametrize(
    "case", [*FAST, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)], ids=str
)
def test_gradients_are_those_of_the_reference(case: Case) -> None:
    model = case.model()
    parameters, feeds = parameters_of(model), case.feeds()
    graph = network_of(model)
    told = deciding(graph)
    add_gradients(graph)
    graph.outputs.update(told)
    found = native(graph, parameters).run(guarded(feeds))
    decisions = {name: found.pop(name) for name in told}
    reference = graph_in(wide, network_of(model))
    write_decisions(reference)
    add_gradients(reference)
    wanted = in_f64(reference, parameters, {**feeds, **decisions})
    assert abs(found.pop("loss") - (loss := wanted.pop("loss"))) < 1e-5 * loss
    hold_gradients(found, wanted)


# ---- curves ------------------------------------------------------------------------------------


def curve(step: cauce.TrainStep, batches: Callable[[int], Feeds], steps: int) -> list[float]:
    """The losses of a run."""
    state = step.init(seed=3)
    return [step(state, guarded(batches(i))).loss for i in range(steps)]


def hold_curves(model: cauce.Model, optimizer: cauce.SGD, batches: Callable[[int], Feeds]) -> None:
    """Both runs learn, and their losses agree over 200 steps.

    Differences of rounding grow from step to step, the more the greater the learning rate: with
    these the losses stay within 1e-6, and where a value crosses a kink in one run only, within
    1e-4 or so.
    """
    curves = [
        curve(cauce.TrainStep(model, "cross_entropy", optimizer, backend=backend), batches, 200)
        for backend in ("llvm", "numpy")
    ]
    np.testing.assert_allclose(*curves, rtol=1e-3)
    assert np.mean(curves[0][-20:]) < 0.5 * np.mean(curves[0][:20])


def test_losses_agree_over_200_steps() -> None:
    model = small.init(image=("N", 1, 6, 6), seed=1)
    hold_curves(model, cauce.SGD(0.02, momentum=0.9), lambda i: batch(12, seed=i))


@pytest.mark.slow
def test_losses_of_a_deep_network_agree_over_200_steps() -> None:
    model = models.resnet20.init(image=("N", 1, 6, 6), classes=3)
    hold_curves(model, cauce.SGD(0.002, momentum=0.9), lambda i: batch(12, seed=i))


# ---- the same bits -----------------------------------------------------------------------------

REPEATED = Case(small, (33, 1, 6, 6))


def trained(threads: int) -> dict[str, bytes]:
    """The state after three steps."""
    step = cauce.TrainStep(
        REPEATED.model(), "cross_entropy", cauce.Adam(0.01), backend="llvm", threads=threads
    )
    assert step.executable.program.threads == threads  # type: ignore[attr-defined]
    state = step.init(seed=3)
    for _ in range(3):
        step(state, REPEATED.feeds())
    return bits(state.read())


def test_bits_of_gradients_depend_neither_on_threads_nor_on_the_run() -> None:
    model = REPEATED.model()
    graph, parameters, feeds = gradient_graph(model), parameters_of(model), REPEATED.feeds()
    first = bits(native(graph, parameters, threads=1).run(feeds))
    for threads, runs in ((2, 5), (3, 100), (8, 3)):
        executable = native(graph, parameters, threads=threads)
        for _ in range(runs):
            assert bits(executable.run(feeds)) == first, threads
    assert trained(1) == trained(8)


@pytest.mark.slow
@pytest.mark.parametrize("case", [*FAST, *SLOW], ids=str)
def test_bits_of_all_gradients_do_not_depend_on_threads(case: Case) -> None:
    model = case.model()
    graph, parameters, feeds = gradient_graph(model), parameters_of(model), case.feeds()
    first = bits(native(graph, parameters, threads=1).run(feeds))
    for threads in (2, 3, 8):
        assert bits(native(graph, parameters, threads=threads).run(feeds)) == first, threads


@pytest.fixture(scope="module")
def step() -> cauce.TrainStep:
    model = small.init(image=("N", 1, 6, 6), seed=1)
    return cauce.TrainStep(model, "cross_entropy", cauce.SGD(0.05, momentum=0.9), backend="llvm")


def after(step: cauce.TrainStep, seed: int, steps: int = 20) -> dict[str, bytes]:
    """The state that a seed leads to."""
    state = step.init(seed)
    for i in range(steps):
        step(state, batch(7 + seed, seed=i))
    return bits(state.read())


def test_a_hundred_runs_end_with_the_same_bits(step: cauce.TrainStep) -> None:
    assert len({tuple(after(step, 3, steps=2).values()) for _ in range(100)}) == 1
    predict = cauce.compile(step.model, backend="llvm", threads=3)
    image = batch(33)["image"]
    assert len({predict(image).tobytes() for _ in range(100)}) == 1


def test_many_python_threads_train_at_once(step: cauce.TrainStep) -> None:
    wanted = [after(step, seed) for seed in range(6)]
    found: dict[int, dict[str, bytes]] = {}

    def work(seed: int) -> None:
        found[seed] = after(step, seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(6)] == wanted


# ---- forks and exits ---------------------------------------------------------------------------

TRAINING = """
step = cauce.TrainStep(model, 'cross_entropy', cauce.SGD(0.05), backend='llvm')
state = step.init(seed=3)
data = batch(33)
def losses(count):
    return [step(state, data).loss for _ in range(count)]
losses(3)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_training_goes_on_in_a_forked_process() -> None:
    done = run(
        TRAINING
        + """
read, write = os.pipe()
pid = os.fork()
mine = repr(losses(20))
if pid == 0:
    os.write(write, mine.encode())
    os._exit(0)
status = os.waitpid(pid, 0)[1]
print(os.waitstatus_to_exitcode(status), mine == os.read(read, 10**5).decode())
"""
    )
    assert done.stdout.split() == ["0", "True"], done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_while_other_threads_compute() -> None:
    done = run(
        """
import threading
ended = threading.Event()
def compute():
    while not ended.is_set(): predict(image)
threads = [threading.Thread(target=compute) for _ in range(3)]
for thread in threads: thread.start()
codes = []
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if np.array_equal(predict(image), expected) else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
ended.set()
for thread in threads: thread.join()
print(codes == [0] * 10, np.array_equal(predict(image), expected))
"""
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_the_interpreter_may_exit_during_steps() -> None:
    done = run(
        TRAINING
        + """
import threading, time
def forever(seed):
    own = step.init(seed)
    while True: step(own, data)
for seed in range(3):
    threading.Thread(target=forever, args=(seed,), daemon=True).start()
time.sleep(0.2)
print('bye')
"""
    )
    assert done.returncode == 0 and done.stdout.split() == ["bye"], done.stderr
