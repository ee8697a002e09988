"""The run-time contract, proved in each backend by a two-layer training step.

The step is written by hand in the text form: two linear layers, a squared error, gradients and
plain SGD, with the parameters as state, the learning rate as an input and the batch as a symbol.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import cauce
from cauce.backends.contract import Program
from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.numpy import NumpyProgram
from cauce.ir import Array, Graph, evaluate
from cauce.ir.errors import GraphError, ShapeError, TypeMismatch

STEP = """
graph step(%x: f32[N,3], %target: f32[N,2]) -> (f32[], f32[4,3]) {
  @first.weight: f32[4,3] parameter
  @second.weight: f32[2,4] parameter
  @scale: f32[4] parameter
  @count: i64[] state
  @lr: f32[] hyperparameter
  %first = linear(%x, @first.weight) : f32[N,4]
  %scaled = mul(%first, @scale) : f32[N,4]
  %relu = relu(%scaled) : f32[N,4]
  %second = linear(%relu, @second.weight) : f32[N,2]
  %error = sub(%second, %target) : f32[N,2]
  %square = mul(%error, %error) : f32[N,2]
  %loss = mean(%square) : f32[]
  %half = constant() value=dense(f32[], [2.0]) : f32[]
  %size = dim() size=2*N : i64[]
  %terms = cast(%size) to=f32 : f32[]
  %slope = div(%half, %terms) : f32[]
  %derror = mul(%error, %slope) : f32[N,2]
  %drelu = matmul(%derror, @second.weight) : f32[N,4]
  %zero = constant() value=dense(f32[], [0.0]) : f32[]
  %on = greater(%scaled, %zero) : bool[N,4]
  %dscaled = where(%on, %drelu, %zero) : f32[N,4]
  %dfirst = mul(%dscaled, @scale) : f32[N,4]
  %dfirst.t = transpose(%dfirst) perm=[1, 0] : f32[4,N]
  %derror.t = transpose(%derror) perm=[1, 0] : f32[2,N]
  %dw1 = matmul(%dfirst.t, %x) : f32[4,3]
  %dw2 = matmul(%derror.t, %relu) : f32[2,4]
  %s1 = mul(%dw1, @lr) : f32[4,3]
  %s2 = mul(%dw2, @lr) : f32[2,4]
  %new1 = sub(@first.weight, %s1) : f32[4,3]
  %new2 = sub(@second.weight, %s2) : f32[2,4]
  %one = constant() value=dense(i64[], [1]) : i64[]
  %next = add(@count, %one) : i64[]
  return loss=%loss, gradient=%dw1
  update @first.weight = %new1
  update @second.weight = %new2
  update @count = %next
}
"""
# All that leaves this graph depends on the fixed parameters alone.
FIXED = """
graph fixed(%x: f32[N,2]) -> (f32[N,2], f32[2,3], f32[6], bool[3,2], f32[]) {
  @weight: f32[3,2] parameter
  @shift: f32[2] parameter
  @held: f32[2,3] state
  %moved = add(%x, @shift) : f32[N,2]
  %turned = transpose(@weight) perm=[1, 0] : f32[2,3]
  %flat = reshape(@weight) shape=[6] : f32[6]
  %zero = constant() value=dense(f32[], [0.0]) : f32[]
  %positive = greater(@weight, %zero) : bool[3,2]
  %total = sum(@weight) : f32[]
  %doubled = add(%turned, %turned) : f32[2,3]
  return moved=%moved, turned=%turned, flat=%flat, positive=%positive, total=%total
  update @held = %doubled
}
"""
PROGRAMS: dict[str, Callable[[Graph], Program]] = {"numpy": NumpyProgram, "llvm": compile_program}


@pytest.fixture(params=PROGRAMS)
def step(request: pytest.FixtureRequest) -> Executable:
    program = PROGRAMS[request.param](cauce.parse(STEP))
    return Executable(program, {"scale": np.array([1, 2, 0.5, 1], np.float32)})


def start(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "first.weight": rng.standard_normal((4, 3)).astype(np.float32),
        "second.weight": rng.standard_normal((2, 4)).astype(np.float32),
        "count": np.asarray(0, np.int64),
    }


def batch(size: int, seed: int = 1) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "x": rng.standard_normal((size, 3)).astype(np.float32),
        "target": rng.standard_normal((size, 2)).astype(np.float32),
    }


def test_steps_agree_with_the_reference_for_any_batch_and_rate(step: Executable) -> None:
    graph = cauce.parse(STEP)
    scale = np.array([1, 2, 0.5, 1], np.float32)
    held = start()
    state = step.new_state(held)
    for i, (size, rate) in enumerate([(8, 0.1), (8, 0.05), (3, 0.2), (1, 0.1), (16, 0.01)]):
        feeds = {**batch(size, seed=i), "lr": np.float32(rate)}
        expected = evaluate(graph, {**feeds, **held, "scale": scale})
        loss, gradient = step(state=state, **feeds)
        np.testing.assert_allclose(loss, expected.outputs["loss"], rtol=1e-5)
        np.testing.assert_allclose(gradient, expected.outputs["gradient"], rtol=1e-4, atol=1e-6)
        held = expected.updates
        after = state.read()
        assert after["count"] == i + 1
        np.testing.assert_allclose(
            after["first.weight"], held["first.weight"], rtol=1e-5, atol=1e-6
        )


def test_new_fixed_parameters_need_no_recompile(step: Executable) -> None:
    feeds = {**batch(5), "lr": np.float32(0.1)}
    before = step(**feeds, state=step.new_state(start()))[0]
    program = step.program
    step.load_state_dict({"scale": np.zeros(4, np.float32)})
    assert step.program is program
    after = step(**feeds, state=step.new_state(start()))[0]
    np.testing.assert_allclose(after, np.mean(feeds["target"] ** 2), rtol=1e-5)
    assert before != after


@pytest.mark.parametrize("backend", PROGRAMS)
def test_outputs_and_updates_may_depend_on_fixed_parameters_alone(backend: str) -> None:
    graph = cauce.parse(FIXED)
    fixed = {
        "weight": np.arange(-2.5, 3.5, dtype=np.float32).reshape(3, 2),
        "shift": np.array([1, 2], np.float32),
    }
    held, x = {"held": np.zeros((2, 3), np.float32)}, np.ones((4, 2), np.float32)
    expected = evaluate(graph, {**fixed, **held, "x": x})
    executable = Executable(PROGRAMS[backend](graph), fixed)
    state = executable.new_state(held)
    out = tuple(np.full_like(array, 1) for array in expected.outputs.values())
    for given in (None, out, None):
        found = executable(x, state=state, out=given)
        for array, wanted in zip(found, expected.outputs.values(), strict=True):
            assert array.dtype == wanted.dtype
            np.testing.assert_array_equal(array, wanted)
            array[...] = 0  # the caller's own
        np.testing.assert_array_equal(state.read()["held"], expected.updates["held"])


def test_inputs_stay_as_they_are_and_outputs_are_the_callers(step: Executable) -> None:
    feeds = batch(4)
    copies = {name: array.copy() for name, array in feeds.items()}
    state = step.new_state(values := start())
    first = step(**feeds, lr=0.1, state=state)[1]
    kept = first.copy()
    step(**feeds, lr=0.1, state=state)
    first_after = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(kept, first_after)
    assert all(np.array_equal(copies[name], feeds[name]) for name in feeds)
    np.testing.assert_array_equal(values["first.weight"], start()["first.weight"])


def test_arrays_may_lie_anywhere(step: Executable) -> None:
    """At addresses that are no multiple of an element's size, backwards, in steps."""

    def elsewhere(array: Array) -> Array:
        if not array.ndim:
            return array
        buffer = np.zeros(array.nbytes + 1, np.uint8)
        moved = buffer[1:].view(array.dtype).reshape(array.shape)
        moved[...] = array
        assert not moved.flags.aligned
        return moved

    def backwards(array: Array) -> Array:
        return np.repeat(array, 2, axis=0)[::-2][::-1] if array.ndim else array

    feeds = batch(5)
    expected = step(**feeds, lr=0.1, state=step.new_state(start()))
    for lie in (elsewhere, backwards):
        held = {name: lie(array) for name, array in start().items()}
        moved = {name: lie(array) for name, array in feeds.items()}
        step.load_state_dict({"scale": lie(np.array([1, 2, 0.5, 1], np.float32))})
        for array, wanted in zip(step(**moved, lr=0.1, state=step.new_state(held)), expected):
            np.testing.assert_array_equal(array, wanted)


def test_state_reads_are_copies_and_writes_are_checked(step: Executable) -> None:
    state = step.new_state(start())
    read = state.read()
    read["first.weight"][...] = 7
    assert not np.any(state.read()["first.weight"] == 7)
    state.write({"first.weight": np.ones((4, 3), np.float32)})
    assert np.all(state.read()["first.weight"] == 1)
    with pytest.raises(GraphError, match="no array called 'third'"):
        state.write({"third": np.ones(3, np.float32)})
    with pytest.raises(ShapeError, match=r"first.weight is f32\[4,3\]"):
        state.write({"first.weight": np.ones((3, 4), np.float32)})


def test_out_is_written_and_checked(step: Executable) -> None:
    loss, gradient = np.zeros((), np.float32), np.zeros((4, 3), np.float32)
    given = step(**batch(4), lr=0.1, state=step.new_state(start()), out=[loss, gradient])
    assert given[0] is loss and given[1] is gradient and loss > 0 and gradient.any()
    with pytest.raises(ShapeError, match="gradient must be"):
        wrong = [loss, np.zeros((3, 4), np.float32)]
        step(**batch(4), lr=0.1, state=step.new_state(start()), out=wrong)


def test_out_is_memory_of_its_own(step: Executable) -> None:
    """Two outputs in halves of one array are well; an input's memory, or shared memory, is not."""
    loss, both = np.zeros((), np.float32), np.zeros((4, 6), np.float32)
    step(**batch(4), lr=0.1, state=step.new_state(start()), out=[loss, both[:, ::2]])
    assert both[:, ::2].any() and not both[:, 1::2].any()
    feeds = {**batch(4), "lr": np.asarray(0.1, np.float32)}
    still = np.zeros((4, 3), np.float32)
    still.flags.writeable = False
    for out in ([loss, feeds["x"]], [both[0, 0, ...], both[:, :3]], [loss, still]):
        with pytest.raises(GraphError, match="memory of its own"):
            step(**feeds, state=step.new_state(start()), out=out)


def test_calls_are_checked(step: Executable) -> None:
    state = step.new_state(start())
    with pytest.raises(GraphError, match="pass it as state="):
        step(**batch(4), lr=0.1)
    with pytest.raises(GraphError, match="no value was given for target"):
        step(batch(4)["x"], lr=0.1, state=state)
    with pytest.raises(ShapeError, match="dimension 0 is 3, not N = 4"):
        step(batch(4)["x"], batch(3)["target"], 0.1, state=state)
    with pytest.raises(TypeMismatch, match="astype"):
        step(batch(4)["x"].astype(np.float64), batch(4)["target"], 0.1, state=state)
    with pytest.raises(GraphError, match="given by position and by name"):
        step(batch(4)["x"], batch(4)["target"], x=batch(4)["x"], lr=0.1, state=state)
    with pytest.raises(GraphError, match="no value for the parameters scale"):
        step.load_state_dict({})


def test_profile_has_a_row_for_each_node(step: Executable) -> None:
    rows = step.profile(**batch(8), lr=0.1, state=step.new_state(start()))
    linear = {row.path: row for row in rows}["second"]
    own, fused = 2 * 8 * 4 * 2, 8 * 2  # a backend may subtract the target in the same kernel
    assert linear.flops in (own, own + fused)
    assert all(row.seconds >= 0 for row in rows)


def test_several_threads_may_call_with_states_of_their_own(step: Executable) -> None:
    expected = step(**batch(6), lr=0.1, state=step.new_state(start()))[0]
    losses: list[Array] = []

    def work() -> None:
        for _ in range(20):
            losses.append(step(**batch(6), lr=0.1, state=step.new_state(start()))[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(losses) == 80 and all(loss == expected for loss in losses)


@pytest.mark.parametrize("backend", PROGRAMS)
def test_one_value_twice_is_two_arrays(backend: str) -> None:
    graph = cauce.parse(
        "graph g(%x: f32[3]) -> (f32[3], f32[3]) {\n  %y = exp(%x) : f32[3]\n  return a=%y, b=%y\n}"
    )
    run, x = Executable(PROGRAMS[backend](graph)), np.arange(3, dtype=np.float32)
    for out in (None, (np.empty_like(x), np.empty_like(x))):
        a, b = run(x, out=out)
        a[...] = 0
        np.testing.assert_allclose(b, np.exp(x), rtol=1e-6)


@pytest.mark.parametrize("backend", PROGRAMS)
def test_states_that_change_places(backend: str) -> None:
    graph = cauce.parse(
        "graph g(%x: f32[3]) -> f32[3] {\n  @s: f32[3] state\n  @t: f32[3] state\n"
        "  %y = exp(%x) : f32[3]\n  return %y\n  update @s = @t\n  update @t = @s\n}"
    )
    run, x = Executable(PROGRAMS[backend](graph)), np.arange(3, dtype=np.float32)
    state = run.new_state({"s": x, "t": x + 5})
    run(x, state=state)
    after = state.read()
    np.testing.assert_array_equal(after["s"], x + 5)
    np.testing.assert_array_equal(after["t"], x)


@pytest.mark.parametrize("backend", PROGRAMS)
def test_weights_may_be_altered_after_loading(backend: str) -> None:
    graph = cauce.parse(
        "graph g(%x: f32[3]) -> f32[3] {\n  @w: f32[3] parameter\n"
        "  %y = mul(%x, @w) : f32[3]\n  return %y\n}"
    )
    weight = np.ones(3, np.float32)
    run = Executable(PROGRAMS[backend](graph), {"w": weight})
    weight[...] = 7
    np.testing.assert_array_equal(run(np.ones(3, np.float32)), 1)
