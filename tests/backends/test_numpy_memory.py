"""The NumPy backend's memory: used again from call to call, never under an array still in use."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import cauce
from cauce.backends.executable import Executable
from cauce.backends.numpy import NumpyProgram
from cauce.backends.numpy.memory import LEAST_BYTES, Memory
from cauce.ir import Array, evaluate

F32 = np.dtype(np.float32)
LARGE = (LEAST_BYTES // 4, 2)

# Every value is large enough for a block; `wide` is a view, `y` an output and a later operand.
NETWORK = """
graph network(%x: f32[N,4,64,64], %weight: f32[4,4,3,3]) -> (f32[N,4,64,64], f32[N,4,4096]) {
  @moment: f32[4,4096] state
  %conv = conv2d(%x, %weight) padding=1 : f32[N,4,64,64]
  %y = relu(%conv) : f32[N,4,64,64]
  %twice = add(%y, %y) : f32[N,4,64,64]
  %wide = reshape(%twice) shape=[N, 4, 4096] : f32[N,4,4096]
  %first = sum(%wide) axes=[0] : f32[4,4096]
  %moved = add(@moment, %first) : f32[4,4096]
  return y=%y, wide=%wide
  update @moment = %moved
}
"""


def feeds(batch: int, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "x": rng.standard_normal((batch, 4, 64, 64)).astype(np.float32),
        "weight": rng.standard_normal((4, 4, 3, 3)).astype(np.float32),
    }


def moment() -> dict[str, Array]:
    return {"moment": np.zeros((4, 4096), np.float32)}


@pytest.fixture
def executable() -> Executable:
    return Executable(NumpyProgram(cauce.parse(NETWORK)), {})


def test_a_block_is_used_again_when_its_array_is_gone() -> None:
    memory = Memory()
    first = memory.empty(LARGE, F32)
    place = first.ctypes.data
    second = memory.empty(LARGE, F32)
    assert second.ctypes.data != place
    del first
    assert memory.empty(LARGE, F32).ctypes.data == place


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[1:, :1],
        lambda x: x.T.reshape(2, -1, 4)[0].view(np.int32)[3:],
        lambda x: np.moveaxis(x[:, :, None], 0, 1),
        lambda x: np.broadcast_to(x[0], (5, 2)),
        lambda x: np.lib.stride_tricks.as_strided(x, (3, 3), (4, 4)),
        np.asarray,
        memoryview,
    ],
)
def test_a_block_is_kept_while_a_view_is_left(view: object) -> None:
    memory = Memory()
    array = memory.empty(LARGE, F32)
    place = array.ctypes.data
    assert callable(view)
    part = view(array)
    del array
    gc.collect()
    assert memory.empty(LARGE, F32).ctypes.data != place
    del part
    gc.collect()
    places = {memory.empty(LARGE, F32).ctypes.data for _ in range(2)}
    assert place in places


def test_arrays_are_like_others_in_memory_order() -> None:
    memory = Memory()
    x = np.zeros((3, 50, 60, 8), np.float32)
    for axes in ((0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 3, 2)):
        like = x.transpose(axes)
        assert memory.empty_like(like).strides == like.strides
        assert memory.empty_like(like).shape == like.shape
        half = memory.empty_like(like, dtype=np.dtype(np.float16))
        assert [2 * stride for stride in half.strides] == list(like.strides)
        wider = memory.empty_like(like, [2 * size for size in like.shape])
        assert np.argsort(wider.strides).tolist() == np.argsort(like.strides).tolist()


def test_results_of_elementwise_functions_have_the_broadcast_shape() -> None:
    memory = Memory()
    x, row = np.zeros(LARGE, np.float32), np.zeros((1, 2), np.float32)
    for operands in ((x, row), (row, x), (x, x)):
        result = memory.result(*operands)
        assert result is not None and result.shape == LARGE
    assert memory.result(row, row) is None
    # The result is larger than each operand.
    tall, long = np.zeros((2 * LEAST_BYTES, 1), np.float32), np.zeros((1, 3), np.float32)
    assert memory.result(tall, long) is None
    assert memory.result(np.broadcast_to(row, LARGE), row) is None


def test_results_stay_as_they_are_through_later_calls(executable: Executable) -> None:
    graph = cauce.parse(NETWORK)
    kept = []
    state, held = executable.new_state(moment()), moment()
    for seed, batch in enumerate([2, 2, 3, 2, 2]):
        given = feeds(batch, seed)
        wanted = evaluate(graph, {**given, **held})
        kept.append((executable(**given, state=state), wanted.outputs))
        held = wanted.updates
        np.testing.assert_allclose(state.read()["moment"], held["moment"], atol=1e-3)
    for (y, wide), outputs in kept:
        assert not np.shares_memory(y, wide)
        np.testing.assert_allclose(y, outputs["y"], atol=1e-4)
        np.testing.assert_allclose(wide, outputs["wide"], atol=1e-4)
        y[...] = 0  # the caller's own, to write to


def test_calls_of_one_size_share_one_arena(executable: Executable) -> None:
    program = executable.program
    assert isinstance(program, NumpyProgram)
    state = executable.new_state(moment())
    executable(**feeds(2, 0), state=state)
    (arena,) = program._idle
    held = {size: len(blocks) for size, blocks in arena.memory._free.items()}
    assert sum(held.values()) >= 3
    for seed in range(3):
        executable(**feeds(2, seed), state=state)
    assert program._idle == [arena]
    assert held == {size: len(blocks) for size, blocks in arena.memory._free.items()}
    executable(**feeds(5, 0), state=state)
    (other,) = program._idle
    assert other is not arena and other.dims == {"N": 5}


def test_calls_at_the_same_time_use_memory_of_their_own(executable: Executable) -> None:
    given = [feeds(2, seed) for seed in range(4)]
    wanted = [executable(**each, state=executable.new_state(moment()))[0] for each in given]
    failures: list[int] = []

    def work(i: int) -> None:
        for _ in range(8):
            y = executable(**given[i], state=executable.new_state(moment()))[0]
            if not np.array_equal(y, wanted[i]):
                failures.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_failed_call_leaves_the_executable_usable() -> None:
    graph = cauce.parse(
        "graph pick(%x: f32[N,40000], %i: i64[3]) -> f32[3,40000] {\n"
        "  %y = relu(%x) : f32[N,40000]\n"
        "  %rows = gather(%y, %i) axis=0 : f32[3,40000]\n"
        "  return %rows\n"
        "}"
    )
    pick = Executable(NumpyProgram(graph), {})
    x = np.arange(80000, dtype=np.float32).reshape(2, 40000)
    with pytest.raises(cauce.CauceError, match="out of range"):
        pick(x, np.array([0, 1, 2]))
    np.testing.assert_array_equal(pick(x, np.array([1, 0, 1])), x[[1, 0, 1]])
