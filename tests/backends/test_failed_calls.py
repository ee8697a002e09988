"""What a call leaves that a wrong index has ended: all as it was, on every backend."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.llvm import abi as artifact
from cauce.backends.llvm.runtime.program import LlvmProgram
from cauce.frontends.batch_metrics import top_k
from cauce.ir import Builder, Graph, Role, TensorType
from cauce.ir.errors import ShapeError
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.elementwise import Add, Cast, Sub
from cauce.ir.ops.reduce import Sum
from cauce.ir.ops.shape import Gather
from cauce.ir.types import DType
from cauce.passes.autodiff import gradients

from ..api.nets import batch, small
from .test_index_checks import BACKENDS, ROWS, failure, rng

ROOT = Path(__file__).resolve().parents[2]


def late_loss(logits: nn.Tensor, target: nn.Tensor) -> nn.Tensor:
    return nn.cross_entropy(logits, target - 1)


def guessed_loss(logits: nn.Tensor, target: nn.Tensor) -> nn.Tensor:
    """The indices depend on what the network gives: all of it runs before they are checked."""
    guess = logits.argmax(dim=1)
    return nn.cross_entropy(logits, target - 1) + nn.cross_entropy(logits, guess * 0 + target - 1)


@pytest.mark.parametrize("loss", [late_loss, guessed_loss], ids=["given", "guessed"])
@pytest.mark.parametrize("optimizer", [cauce.SGD(0.1, momentum=0.9), cauce.Adam(0.01)], ids=repr)
@pytest.mark.parametrize(("backend", "threads"), [("numpy", None), ("llvm", 1), ("llvm", 2)])
def test_a_step_that_fails_changes_no_bit(
    backend: str,
    threads: int | None,
    optimizer: cauce.Optimizer,
    loss: Callable[[nn.Tensor, nn.Tensor], nn.Tensor],
) -> None:
    """Parameters, running statistics, slots, the random key; and the next step is right."""
    step = cauce.TrainStep(
        small.init(image=("N", 1, 6, 6)),
        loss,
        optimizer,
        metrics={"top2": lambda o, t: top_k(2)(o, t - 1)},
        backend=backend,
        threads=threads,
    )
    feeds = batch(8)
    right = {**feeds, "target": feeds["target"] + 1}
    state, other = step.init(), step.init()
    for _ in range(2):
        step(state, right), step(other, right)
        before = state.read()
        assert len(before) > 10
        for label in (0, 4):
            wrong = np.array([1, 2, 3, 1, 2, label, 1, 9])
            text = failure(step, state, {**feeds, "target": wrong})
            assert f"index {label - 1} is out of range for size 3" in text
            after = state.read()
            assert after.keys() == before.keys()
            for name, array in after.items():
                np.testing.assert_array_equal(array, before[name], err_msg=name)
    step(state, right), step(other, right)
    assert state.loss == other.loss and np.isfinite(state.loss)
    final = other.read()
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, final[name], err_msg=name)


def test_the_failures_of_a_step_are_numpys() -> None:
    texts = set()
    for backend in BACKENDS:
        step = cauce.TrainStep(
            small.init(image=("N", 1, 6, 6)), late_loss, cauce.SGD(0.1), backend=backend
        )
        texts.add(failure(step, step.init(), batch(4)))
    assert len(texts) == 1
    assert "return nn.cross_entropy(logits, target - 1)" in texts.pop()


def embedding() -> Graph:
    """sum(rows[t - 1]), and rows less its gradient."""
    graph = Graph("embedding")
    rows = graph.add_input("rows", TensorType.make("f32", (4, 3)), Role.PARAMETER)
    t = graph.add_input("t", TensorType.make("i64", ("N",)))
    b = Builder(graph)
    places = b(Sub(), t, scalar(b, 1, t))
    graph.outputs["y"] = b(Sum(), b(Gather(), rows, places))
    (grad,) = gradients(graph, graph.outputs["y"], [rows])
    graph.updates[rows] = b(Sub(), rows, grad)
    return graph


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gradient_of_a_wrong_row_trains_no_other(backend: str) -> None:
    run = cauce.compile(embedding(), backend)
    state = run.new_state({"rows": ROWS})
    for label in (0, 5):
        assert f"index {label - 1} is out of range for size 4" in failure(
            run, np.array([1, label]), state=state
        )
        np.testing.assert_array_equal(state.read()["rows"], ROWS)
    run(np.array([2, 4, 2]), state=state)
    counts = np.array([0, 2, 0, 1], np.float32)[:, None]
    np.testing.assert_allclose(state.read()["rows"], ROWS - counts, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_that_is_an_index_itself(backend: str) -> None:
    """The new value cannot be written over the old one: only then is it known to be wrong."""
    graph = Graph("walk")
    place = graph.add_input("place", TensorType.make("i64", ("N",)), Role.STATE)
    x = graph.add_input("x", TensorType.make("f32", (4,)))
    by = graph.add_input("by", TensorType.make("i64", ("N",)))
    b = Builder(graph)
    moved = b(Add(), place, by)
    graph.outputs["y"] = b(Gather(), x, moved)
    graph.updates[place] = moved
    run = cauce.compile(graph, backend)
    state = run.new_state({"place": np.array([0, 3])})
    x_ = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(run(x_, np.array([1, -1]), state=state), [1, 2])
    assert "index 5 is out of range for size 4" in failure(run, x_, np.array([1, 3]), state=state)
    np.testing.assert_array_equal(state.read()["place"], [1, 2])
    np.testing.assert_array_equal(run(x_, np.array([2, -2]), state=state), [3, 0])


def test_computed_labels_leave_updates_in_place() -> None:
    """What waits for the checks is still written over the old values, in no memory of its own."""
    found = []
    for loss in (nn.cross_entropy, late_loss):
        step = cauce.TrainStep(
            small.init(image=("N", 1, 6, 6)), loss, cauce.SGD(0.1, momentum=0.9), backend="llvm"
        )
        program = step.executable.program
        assert isinstance(program, LlvmProgram)
        entry = program.listing.build.main.describe()
        assert len(entry.checks) == 1
        found.append(entry.in_place)
        launches = [launch for launch, _ in program.listing.build.main.launches]
        checked = max(place for place, launch in enumerate(launches) if launch.check)
        held = {place.slot for place in entry.inputs if place.name in entry.in_place}
        early = [launch for launch in launches[:checked] if held.intersection(launch.slots)]
        assert not early, "what is read or written before the check is not yet needed"
    assert found[0] == found[1] and len(found[0]) > 10


@pytest.mark.parametrize("backend", BACKENDS)
def test_out_is_as_it_was(backend: str) -> None:
    """Outputs that are ready before the check fails do not show."""

    @cauce.network
    def net(x, t):
        t = t - 1
        return t, nn.gather(x, t)

    run = cauce.compile(net.init(x=(3,), t=TensorType.make("i64", ("N",))), backend)
    x, out = np.arange(3, dtype=np.float32), (np.full(2, 77), np.full(2, 77, np.float32))
    failure(run, x, np.array([1, 4]), out=out)
    assert all((array == 77).all() for array in out)
    run(x, np.array([1, 3]), out=out)
    np.testing.assert_array_equal(out[0], [0, 2])
    np.testing.assert_array_equal(out[1], [0, 2])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("fixed", [False, True])
def test_a_later_piece_of_a_batch(
    fixed: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact.BatchStage, "share", lambda *_: artifact.Share(1, 2))

    @cauce.network
    def net(image, t):
        x = nn.conv2d(image, 3, 3, padding=1, bias=False)
        return x, nn.one_hot(t - 1, 3)

    model = net.init(image=("N", 1, 4, 4), t=TensorType.make("i64", ("N",)))
    run = cauce.compile(model, "llvm", threads=threads, batch=7 if fixed else None)
    program = run.program
    assert isinstance(program, LlvmProgram) and program.listing.build.main.batch is not None
    images = rng.standard_normal((7, 1, 4, 4)).astype(np.float32)
    right = np.array([1, 2, 3, 1, 2, 3, 1])
    wanted = cauce.compile(model, "numpy")(images, right)
    out = tuple(np.full(array.shape, 77, array.dtype) for array in wanted)
    wrong = np.array([1, 2, 3, 1, 2, 4, 0])
    says = "index 3 is out of range for size 3"
    assert failure(run, images, wrong, out=out).splitlines()[0] == says
    assert failure(run.profile, images, wrong).splitlines()[0] == says
    assert all((array == 77).all() for array in out)
    for array, other in zip(run(images, right, out=out), wanted):
        np.testing.assert_allclose(array, other, rtol=1e-5, atol=1e-6)


def test_a_check_behind_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch whose last layers run as a whole: the other function checks too."""
    monkeypatch.setattr(artifact.BatchStage, "share", lambda *_: artifact.Share(1, 2))

    @cauce.network
    def net(image):
        x = nn.flatten(nn.conv2d(image, 8, 3, padding=1, bias=False))
        x = nn.linear(x, 600, bias=False)
        return nn.one_hot((x.sum(dim=1) * 0).cast("i64") + image.sum(dim=(1, 2, 3)).cast("i64"), 3)

    model = net.init(image=("N", 1, 8, 8))
    run = cauce.compile(model, "llvm")
    program = run.program
    assert isinstance(program, LlvmProgram)
    plan = program.listing.build.main
    (checked,) = [place for place, (launch, _) in enumerate(plan.launches) if launch.check]
    assert plan.batch is not None and 0 < plan.batch.stages[-1].end <= checked
    images = np.zeros((5, 1, 8, 8), np.float32)
    images[:, 0, 0, 0] = [0, 2, 1, 0, 2]
    np.testing.assert_array_equal(run(images), np.eye(3, dtype=np.float32)[[0, 2, 1, 0, 2]])
    images[3, 0, 0, 0] = 5
    assert failure(run, images).startswith("index 5 is out of range for size 3")


# ---- weights, threads, the cache ---------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_indices_made_of_weights_are_checked_when_they_are_loaded(backend: str) -> None:
    graph = Graph("chosen")
    rows = graph.add_input("rows", TensorType.make("f32", (4, 3)), Role.PARAMETER)
    which = graph.add_input("which", TensorType.make("f32", (2,)), Role.PARAMETER)
    x = graph.add_input("x", TensorType.make("f32", (2, 3)))
    b = Builder(graph)
    graph.outputs["y"] = b(Add(), x, b(Gather(), rows, b(Cast(DType.I64), which)))
    run = cauce.compile(graph, backend)
    right = {"rows": ROWS, "which": np.array([3, 1], np.float32)}
    run.load_state_dict(right)
    zeros = np.zeros((2, 3), np.float32)
    np.testing.assert_array_equal(run(zeros), ROWS[[3, 1]])
    wrong = {"rows": ROWS + 1, "which": np.array([3, 4], np.float32)}
    text = failure(run.load_state_dict, wrong)
    assert text.startswith("index 4 is out of range for size 4") and "in layer: gather" in text
    np.testing.assert_array_equal(run(zeros), ROWS[[3, 1]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_indices_made_of_weights_that_choose_among_data(backend: str) -> None:
    graph = Graph("chosen")
    which = graph.add_input("which", TensorType.make("i32", (2,)), Role.PARAMETER)
    x = graph.add_input("x", TensorType.make("f32", ("N", 3)))
    b = Builder(graph)
    graph.outputs["y"] = b(Gather(), x, b(Sub(), which, scalar(b, 1, which)))
    run = cauce.compile(graph, backend)
    run.load_state_dict({"which": np.array([4, 2], np.int32)})
    np.testing.assert_array_equal(run(ROWS), ROWS[[3, 1]])
    assert failure(run, ROWS[:3]).startswith("index 3 is out of range for size 3")


def test_calls_at_the_same_time_each_have_their_own_failure() -> None:
    @cauce.network
    def net(x, t):
        return nn.gather(x, t - 1)

    run = cauce.compile(net.init(x=(5,), t=TensorType.make("i64", ("N",))), "llvm", threads=2)
    x, mistakes = np.arange(5, dtype=np.float32), []
    barrier = threading.Barrier(4)

    def call(number: int) -> None:
        labels = np.full(40_000, 1 + number)
        barrier.wait()
        for _ in range(100):
            try:
                fine = (run(x, labels) == number).all()
            except ShapeError as error:
                fine = error.what == f"index {number} is out of range for size 5"
            if not fine:
                mistakes.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in (0, 4, 5, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not mistakes


_SCRIPT = """
import sys
import numpy as np
import cauce
from cauce import nn
{lines}
@cauce.network
def net(x, t):
    o = nn.linear(x, 3)
    return nn.cross_entropy(o, t - 1)
model = net.init(x=("N", 4), t=cauce.ir.TensorType.make("i64", ("N",)))
run = cauce.compile(model, "llvm")
try:
    run(np.ones((2, 4), np.float32), np.array([3, 4]))
except cauce.ir.errors.ShapeError as error:
    print(error)
print(any(name.startswith(("llvmlite", "cauce.passes")) for name in sys.modules))
"""


def test_code_from_the_cache_names_the_line_of_this_process(tmp_path: Path) -> None:
    environment = {**os.environ, "CAUCE_CACHE_DIR": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = str(ROOT)
    environment.pop("CAUCE_CACHE", None)
    texts = []
    for lines in (0, 5):
        script = tmp_path / f"after{lines}.py"
        script.write_text(_SCRIPT.format(lines="\n" * lines))
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        text, _, compiled = done.stdout.strip().rpartition("\n")
        assert compiled == str(lines == 0)  # warm, it imports no compiler to say what is wrong
        assert text.startswith("index 3 is out of range for size 3\n  in layer: cross_entropy")
        line = script.read_text().splitlines().index("    return nn.cross_entropy(o, t - 1)") + 1
        assert f"{script.name}:{line}: return nn.cross_entropy(o, t - 1)" in text
        texts.append(text)
    assert texts[0] != texts[1]
