"""What users hold goes to other processes, and computes the same numbers there."""

from __future__ import annotations

import copy
import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.executable import Executable
from cauce.frontends import model as model_module
from cauce.ir import Array, Graph
from cauce.ir.errors import CompileError, GraphError, TypeMismatch
from cauce.ir.pass_manager import Pass, Timing
from cauce.passes.pipelines import INFERENCE
from cauce.training_step import TrainState

from .nets import batch, shapes, small

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "llvm"])
METHODS = [name for name in ("fork", "spawn") if name in multiprocessing.get_all_start_methods()]
X = shapes(6, seed=4).images


def make(seed: int = 0) -> cauce.Model:
    return small.init(image=("N", 1, 6, 6), seed=seed)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


COPIES = pytest.mark.parametrize("copied", [pickled, copy.deepcopy])


@pytest.fixture(scope="module", params=METHODS)
def pool(request: pytest.FixtureRequest) -> Iterator[ProcessPoolExecutor]:
    """A child process; one that is forked off has all that was compiled before, running threads
    excepted."""
    predict = cauce.compile(make(), "llvm", threads=2)
    predict(X)
    context = multiprocessing.get_context(request.param)
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        yield executor


# ---- what the children do ----------------------------------------------------------------------


def call(predict: Executable, x: Array) -> tuple[Array, int, str]:
    return predict(x), getattr(predict.program, "threads", 0), predict.program.fingerprint


def train(step: cauce.TrainStep, state: TrainState, count: int) -> TrainState:
    for seed in range(count):
        step(state, batch(8, seed))
    return state


def fit(trainer: cauce.Trainer) -> tuple[dict[str, float], cauce.Trainer]:
    trainer.fit(shapes(), 1, batch_size=16, progress=False)
    return trainer.evaluate(shapes()), trainer


def init(network: cauce.Network, seed: int) -> dict[str, Array]:
    return network.init(image=("N", 1, 6, 6), seed=seed).state_dict()


def parse(text: str) -> Graph:
    return cauce.parse(text)


# ---- executables -------------------------------------------------------------------------------


@BACKENDS
def test_an_executable_computes_the_same_in_a_child(
    pool: ProcessPoolExecutor, backend: str
) -> None:
    threads = {"threads": 3} if backend == "llvm" else {}
    model = make()
    predict = cauce.compile(model, backend, **threads)  # type: ignore[arg-type]
    model.load_state_dict(make(seed=1).state_dict())  # which it has not met yet
    found, count, fingerprint = pool.submit(call, predict, X).result()
    np.testing.assert_array_equal(found, cauce.compile(make(seed=1), backend)(X))
    assert count == threads.get("threads", 0)
    assert fingerprint == predict.program.fingerprint


class Nothing(Pass):
    """A pass that cauce does not know."""

    name = "nothing"

    def run(self, graph: Graph) -> bool:
        return False


@BACKENDS
@pytest.mark.parametrize("how", ["own passes", "no cache", "batch and taps", "watched"])
def test_however_it_was_compiled(
    pool: ProcessPoolExecutor, backend: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "own passes": {"passes": (*INFERENCE, Nothing())},
        "batch and taps": {"batch": 6, "taps": ["conv1"]},
        "watched": {"instruments": [Timing()]},
    }.get(how, {})
    if how == "no cache":
        monkeypatch.setenv("CAUCE_CACHE", "0")
    predict = cauce.compile(make(), backend, **options)
    found, _, fingerprint = pool.submit(call, predict, X).result()
    np.testing.assert_array_equal(found, predict(X))
    assert fingerprint == predict.program.fingerprint
    assert pickled(predict).taps == predict.taps


@BACKENDS
@COPIES
def test_weights_without_a_model_go_along(copied: Callable[[Any], Any], backend: str) -> None:
    own = cauce.compile(make().graph, backend)
    with pytest.raises(GraphError, match="no parameter values yet"):
        copied(own)(X)
    own.load_state_dict(make(seed=2).state_dict())
    orphan = cauce.compile(make(seed=2), backend)  # whose model is gone
    for predict in (own, orphan):
        twin = copied(predict)
        np.testing.assert_array_equal(twin(X), predict(X))
        twin.load_state_dict(make(seed=3).state_dict())
        np.testing.assert_array_equal(predict(X), orphan(X))  # weights of its own
        assert np.abs(twin(X) - predict(X)).max() > 1e-3


@BACKENDS
@COPIES
def test_a_copy_follows_the_copy_of_its_model(copied: Callable[[Any], Any], backend: str) -> None:
    model = make()
    predict = cauce.compile(model, backend)
    twin, follower = copied((model, predict))
    twin.load_state_dict(make(seed=1).state_dict())
    np.testing.assert_array_equal(follower(X), cauce.compile(make(seed=1), backend)(X))
    np.testing.assert_array_equal(predict(X), cauce.compile(make(), backend)(X))


def test_weights_loaded_in_the_other_process_are_met(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    predict = cauce.compile(model, "numpy")
    number = model.snapshot()[0]
    sent = pickle.dumps((model, predict))
    # As in a new process, which has given as many numbers to weights as this one before the model.
    monkeypatch.setattr(model_module, "_NUMBERS", itertools.count(number - 1))
    twin, follower = pickle.loads(sent)
    follower(X)
    for seed in (1, 2, 3):
        twin.load_state_dict(make(seed).state_dict())
        np.testing.assert_array_equal(follower(X), cauce.compile(make(seed), "numpy")(X))


def test_packed_weights_are_not_taken_for_another_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make()
    predict, orphan = cauce.compile(model, "numpy"), cauce.compile(make(), "numpy")
    sent = [pickle.dumps(predict), pickle.dumps(orphan)]
    monkeypatch.setattr(type(predict.program), "fingerprint", "another processor")
    with pytest.raises(CompileError, match=r"packed for cauce .*another processor") as caught:
        pickle.loads(sent[1])
    assert "send the model" in str(caught.value)
    np.testing.assert_array_equal(pickle.loads(sent[0])(X), predict(X))  # which is packed anew


def test_native_arrays_lie_at_cache_lines_in_a_copy() -> None:
    predict = cauce.compile(make(), "llvm")
    step = cauce.TrainStep(make(), "cross_entropy", cauce.SGD(0.1), backend="llvm")
    for copied in (pickled, copy.deepcopy):
        packed = copied(predict)._weights.packed().arrays.values()
        held = copied(step.init()).backend_state.arrays.values()
        assert packed and held
        assert all(array.ctypes.data % 64 == 0 for array in (*packed, *held))


# ---- training ----------------------------------------------------------------------------------


@BACKENDS
def test_a_step_and_its_state_go_on_in_a_child(pool: ProcessPoolExecutor, backend: str) -> None:
    step = cauce.TrainStep(make(), "cross_entropy", cauce.Adam(0.01), backend=backend)
    state = train(step, step.init(seed=3), 3)
    there = pool.submit(train, step, state, 5).result()
    before = state.read()
    train(step, state, 5)
    assert there.loss == state.loss
    for name, array in state.read().items():
        np.testing.assert_array_equal(there.read()[name], array)
        assert not np.array_equal(before[name], array) or not array.any(), name
    # What came back is a state of the step that is here.
    assert train(step, there, 2).loss == train(step, state, 2).loss


def test_a_state_is_of_its_own_step_alone() -> None:
    step = cauce.TrainStep(make(), "cross_entropy", cauce.SGD(0.1), backend="numpy")
    other = cauce.TrainStep(make(), "cross_entropy", cauce.SGD(0.1), backend="numpy")
    with pytest.raises(GraphError, match="another executable made it"):
        other(pickled(step.init()), batch())
    assert b"Conv2d" in pickle.dumps(step) and b"Conv2d" not in pickle.dumps(step.init())


@BACKENDS
def test_a_trainer_goes_on_in_a_child(pool: ProcessPoolExecutor, backend: str) -> None:
    trainer = cauce.Trainer(make(), optimizer=cauce.SGD(0.1), backend=backend)
    trainer.fit(shapes(), 1, batch_size=16, progress=False)
    before = trainer.evaluate(shapes())
    measured, there = pool.submit(fit, trainer).result()
    assert trainer.evaluate(shapes()) == before != measured
    assert fit(trainer)[0] == measured
    assert [epoch.train for epoch in there.history] == [epoch.train for epoch in trainer.history]
    assert fit(there)[0] == fit(trainer)[0]
    np.testing.assert_array_equal(
        cauce.compile(there.model, backend)(X), cauce.compile(trainer.model, backend)(X)
    )


@BACKENDS
@COPIES
def test_a_copy_of_a_trainer_is_independent(copied: Callable[[Any], Any], backend: str) -> None:
    trainer = cauce.Trainer(make(), optimizer=cauce.SGD(0.1), backend=backend)
    twin = copied(trainer)
    before = trainer.evaluate(shapes())
    assert twin.evaluate(shapes()) == before
    measured = fit(twin)[0]
    assert trainer.evaluate(shapes()) == before != measured
    assert not trainer.history.epochs and fit(trainer)[0] == measured
    assert twin.model is twin.step.model is not trainer.model


def test_functions_without_a_name_stay_behind() -> None:
    model = make()
    step = cauce.TrainStep(
        model,
        lambda output, target: nn.cross_entropy(output, target) * 2.0,
        cauce.SGD(0.1),
        trainable=lambda name: name.startswith("linear"),
    )
    twin = pickled(step)
    assert train(twin, twin.init(), 3).loss == train(step, step.init(), 3).loss
    assert pickled(twin).current()
    twin.model.freeze("linear1.bias")
    with pytest.raises(GraphError, match="loss, trainable stayed in another process"):
        twin.current()
    named = pickled(cauce.TrainStep(model, "cross_entropy", cauce.SGD(0.1)))
    named.model.freeze("linear1.bias")
    again = named.current()
    assert "linear1.bias" not in again.init().read()
    step.model.freeze("linear1.bias")  # a deep copy is in the process of its functions
    assert "linear1.bias" not in copy.deepcopy(step).current().init().read()


def test_an_optimizer_of_a_function_says_where_to_define_it() -> None:
    class Own(cauce.SGD):
        pass

    step = cauce.TrainStep(make(), "cross_entropy", Own(0.1), backend="numpy")
    with pytest.raises(TypeMismatch, match=r"cannot be pickled(.|\n)*level of a module"):
        pickle.dumps(step)


# ---- networks, models, errors ------------------------------------------------------------------


def test_a_network_goes_by_its_name(pool: ProcessPoolExecutor) -> None:
    there, here = pool.submit(init, small, 5).result(), init(small, 5)
    assert there.keys() == here.keys()
    assert all(np.array_equal(there[name], here[name]) for name in here)
    assert pickled(small) is small is copy.deepcopy(small)


def test_a_network_of_a_function_goes_as_a_model(pool: ProcessPoolExecutor) -> None:
    @cauce.network
    def inner(image):
        return nn.linear(nn.flatten(image), 2)

    with pytest.raises(TypeMismatch, match=r"inner cannot be pickled") as caught:
        pickle.dumps(inner)
    assert "send a model, which has its graphs: inner.init(...)" in str(caught.value)
    model = inner.init(image=("N", 1, 6, 6))
    weights = pool.submit(cauce.Model.state_dict, model).result()
    assert all(np.array_equal(weights[name], array) for name, array in model.values.items())
    twin = pickled(model)
    assert twin.training_graph.same_as(model.training_graph)
    with pytest.raises(ValueError, match="read-only"):
        twin.values["linear1.bias"][0] = 1


SCRIPT = """
import multiprocessing, sys
import numpy as np, cauce
from cauce import nn

@cauce.network
def net(image):
    return nn.linear(nn.flatten(image), 2)

def work(given):
    network, model, predict = given
    return network.init(image=("N", 4), seed=1).state_dict(), predict(np.ones((3, 4), np.float32))

if __name__ == "__main__":
    model = net.init(image=("N", 4), seed=1)
    predict = cauce.compile(model)
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        weights, found = pool.apply(work, ((net, model, predict),))
    same = all(np.array_equal(weights[name], array) for name, array in model.values.items())
    print(same, np.array_equal(found, predict(np.ones((3, 4), np.float32))))
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_network_of_a_script(tmp_path: Path, method: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), method],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_network_whose_name_is_another_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.api.nets.small", make)
    with pytest.raises(TypeMismatch, match=r"small cannot be pickled: tests.api.nets has no small"):
        pickle.dumps(small)


def test_a_tensor_says_that_it_cannot_go() -> None:
    @cauce.network
    def net(image):
        assert copy.copy(image) is copy.deepcopy(image) is image
        pickle.dumps(image)
        return image

    with pytest.raises(TypeMismatch, match="a symbolic tensor cannot be pickled: image"):
        net.init(image=("N", 4))


@pytest.mark.parametrize(
    ("work", "given", "says"),
    [
        (parse, ("graph g {",), "line 1"),
        (call, (None, np.zeros((2, 1, 7, 7), np.float32)), "image"),
    ],
)
def test_an_error_of_a_child_arrives(
    pool: ProcessPoolExecutor, work: Callable[..., Any], given: tuple[Any, ...], says: str
) -> None:
    given = tuple(cauce.compile(make(), "llvm") if part is None else part for part in given)
    with pytest.raises(cauce.CauceError, match=says) as caught:
        pool.submit(work, *given).result()
    with pytest.raises(cauce.CauceError) as wanted:
        work(*given)
    assert type(caught.value) is type(wanted.value)
    assert caught.value.fix == wanted.value.fix  # type: ignore[attr-defined]
