"""An executable computes with the weights that its model holds when a call begins."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

import cauce
from cauce.ir import Array, evaluate
from cauce.ir.errors import GraphError

from .nets import batch, shapes, small

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "llvm"])
X = shapes(6, seed=4).images


def make(seed: int = 0) -> cauce.Model:
    return small.init(image=("N", 1, 6, 6), seed=seed)


def logits(model: cauce.Model) -> Array:
    """What the reference gives for the weights that the model holds."""
    feeds = {value.name: model.values[value.name] for value in model.graph.inputs[1:]}
    return evaluate(model.graph, {"image": X, **feeds}).outputs["output"]


@BACKENDS
def test_an_executable_compiled_before_fit_gives_what_was_trained(backend: str) -> None:
    model = make()
    predict = cauce.compile(model, backend)
    tapped = cauce.compile(model, backend, batch=6, taps=["conv1"])
    before = predict(X)
    trainer = cauce.Trainer(model, optimizer=cauce.SGD(0.1), backend=backend)
    trainer.fit(shapes(), 1, batch_size=16, progress=False)
    after = predict(X)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, logits(model), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tapped.tapped(X)[0], after, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        trainer.evaluate(shapes(6, seed=4))["loss"],
        _cross_entropy(after.astype(np.float64), shapes(6, seed=4).labels),
        rtol=1e-4,
    )


def _cross_entropy(logits: Array, labels: Array) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean())


def test_weights_of_its_own_end_the_following() -> None:
    model = make(0)
    predict = cauce.compile(model, "numpy")
    model.load_state_dict(make(1).state_dict())
    np.testing.assert_array_equal(predict(X), cauce.compile(make(1), "numpy")(X))
    predict.load_state_dict(make(2).state_dict())
    model.load_state_dict(make(3).state_dict())
    np.testing.assert_array_equal(predict(X), cauce.compile(make(2), "numpy")(X))
    predict.follow(model)
    np.testing.assert_array_equal(predict(X), cauce.compile(make(3), "numpy")(X))


def test_weights_are_packed_once_for_all_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    predict = cauce.compile(model, "numpy")
    packed: list[object] = []
    prepare = predict.program.prepare
    monkeypatch.setattr(
        predict.program, "prepare", lambda values: packed.append(values) or prepare(values)
    )
    for _ in range(3):
        predict(X)
    assert not packed
    model.load_state_dict(make(1).state_dict())
    model.load_state_dict(make(2).state_dict())
    assert not packed  # nothing is done for weights that no call meets
    for _ in range(3):
        predict(X)
    assert len(packed) == 1


def test_weights_that_do_not_fit_change_nothing() -> None:
    model = make()
    predict = cauce.compile(model, "numpy")
    before = predict(X)
    other = small.init(image=("N", 1, 6, 6), classes=5)
    with pytest.raises(ValueError, match="has shape"):
        model.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(predict(X), before)


def test_the_last_weights_of_a_model_that_is_gone_stay() -> None:
    """It is not kept in memory for its executable."""
    model = make()
    predict = cauce.compile(model, "numpy")
    model.load_state_dict(make(1).state_dict())
    predict(X)
    del model
    gc.collect()
    assert predict._weights.model() is None
    np.testing.assert_array_equal(predict(X), cauce.compile(make(1), "numpy")(X))


def test_a_graph_has_no_model_to_follow() -> None:
    predict = cauce.compile(make().graph, "numpy")
    with pytest.raises(GraphError, match="no parameter values yet"):
        predict(X)
    model = make(1)
    predict.follow(model)
    np.testing.assert_array_equal(predict(X), cauce.compile(model, "numpy")(X))


def test_a_step_computes_with_the_frozen_weights_that_its_model_holds() -> None:
    model = make()
    model.freeze("conv*")
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1), backend="numpy")
    model.load_state_dict(make(1).state_dict())
    state = step.init()
    feeds = {**{name: model.values[name] for name in model.frozen}, **state.read(), **batch()}
    wanted = evaluate(step.graph, {**feeds, "lr": np.float32(0.1)}).outputs["loss"]
    np.testing.assert_allclose(step(state, batch()).loss, wanted, rtol=1e-5)


# ---- threads -----------------------------------------------------------------------------------


def call_while(work: Callable[[], object], predict: Callable[[Array], Array]) -> set[bytes]:
    """What two threads see that call ``predict`` again and again until ``work`` is done."""
    seen: set[bytes] = set()
    failures: list[BaseException] = []
    begun, ended = threading.Barrier(3), threading.Event()

    def calls() -> None:
        try:
            begun.wait()
            while not ended.is_set():
                seen.add(predict(X).tobytes())
            seen.add(predict(X).tobytes())
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that calls fall everywhere within the work
    threads = [threading.Thread(target=calls) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait()
    try:
        work()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not failures
    return seen


@BACKENDS
def test_a_call_sees_old_weights_or_new_ones(backend: str) -> None:
    """Never some of both: each result is that of one of two sets of weights."""
    model, sets = make(), [make(seed).state_dict() for seed in (1, 2)]
    predict = cauce.compile(model, backend)
    wanted = set()
    for values in sets:
        model.load_state_dict(values)
        wanted.add(predict(X).tobytes())
    assert len(wanted) == 2

    def work() -> None:
        for number in range(300):
            model.load_state_dict(sets[number % 2])

    assert call_while(work, predict) <= wanted


@BACKENDS
def test_a_call_while_fit_trains_sees_the_weights_of_an_epoch(backend: str) -> None:
    model = make()
    predict = cauce.compile(model, backend)
    held = [predict(X).tobytes()]
    load = model.load_state_dict

    def loaded(values: dict[str, Array], strict: bool = True) -> None:
        load(values, strict)
        held.append(cauce.compile(model, backend)(X).tobytes())

    model.load_state_dict = loaded  # type: ignore[method-assign]
    trainer = cauce.Trainer(model, optimizer=cauce.SGD(0.1), backend=backend)
    seen = call_while(
        lambda: trainer.fit(shapes(), 4, batch_size=16, validate=shapes(9), progress=False), predict
    )
    assert len(held) == 5
    assert seen <= set(held) and held[-1] in seen


@BACKENDS
def test_an_executable_goes_when_nothing_refers_to_it(backend: str) -> None:
    """Not only when Python next looks for circles: it holds weights, and native code."""
    model = make()
    predict = cauce.compile(model, backend)
    predict(X)
    gone = weakref.ref(predict.program)
    gc.disable()
    try:
        del predict
        assert gone() is None
    finally:
        gc.enable()
