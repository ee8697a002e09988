"""Memory for packed weights comes in time, and only where it is asked for."""

from __future__ import annotations

import sys
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.llvm.runtime import memory
from cauce.backends.llvm.runtime.memory import GUARD, aligned_together, arriving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no other system is asked")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little memory is large here."""
    monkeypatch.setattr(memory, "_LARGE", 2**16)
    monkeypatch.setattr(memory, "_PAGES", 2**14)
    monkeypatch.setattr(memory, "processors", lambda: 2)
    monkeypatch.delenv(GUARD, raising=False)


@pytest.mark.parametrize("answer", [True, False])
def test_pages_within_the_memory_are_brought_from_its_end_on(
    answer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought: list[tuple[int, int]] = []

    def bring(start: int, nbytes: int) -> bool:
        brought.append((start, start + nbytes))
        return answer

    monkeypatch.setattr(memory, "_brought", bring)
    rooms = aligned_together([5, 2**16, 2**16 + 7])
    first, last = rooms[0].ctypes.data, rooms[-1].ctypes.data + rooms[-1].nbytes
    count = last // 2**14 + -first // 2**14 if answer else 1
    with arriving(rooms):
        deadline = time.monotonic() + 20
        while len(brought) < count and time.monotonic() < deadline:
            time.sleep(0.001)
    assert len(brought) == count
    assert all(end - start == 2**14 and start % 2**14 == 0 for start, end in brought)
    assert all(later[1] == earlier[0] for earlier, later in pairwise(brought))
    assert first <= brought[-1][0] and brought[0][1] <= last


@pytest.mark.parametrize("why", ["small", "guarded", "one processor", "no room at all"])
def test_no_thread_where_it_does_not_pay(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        memory, "_brought", lambda start, nbytes: pytest.fail("memory is asked for")
    )
    rooms = aligned_together(
        [] if why == "no room at all" else [2**10 if why == "small" else 2**18]
    )
    if why == "guarded":
        monkeypatch.setenv(GUARD, "end")
    if why == "one processor":
        monkeypatch.setattr(memory, "processors", lambda: 1)
    before = threading.active_count()
    with arriving(rooms):
        assert threading.active_count() == before


@pytest.mark.parametrize("threads_left", [True, False])
def test_packed_weights_are_the_same(threads_left: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def starting(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    model = cauce.network(
        lambda image: nn.conv2d(nn.conv2d(image, 64, 3, padding=1), 64, 3, padding=1)
    ).init(image=(1, 3, 8, 8))
    image = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    if not threads_left:
        monkeypatch.setattr(threading.Thread, "start", starting)
    result = cauce.compile(model, backend="llvm", threads=1)(image)
    monkeypatch.setattr(memory, "_LARGE", 2**60)
    expected = cauce.compile(model, backend="llvm", threads=1)(image)
    np.testing.assert_array_equal(result, expected, strict=True)


def test_what_memory_holds_stays_when_it_is_brought() -> None:
    (room,) = aligned_together([2**18])
    room[:] = 7
    start = -(-room.ctypes.data // 2**14) * 2**14
    memory._brought(start, 2**14)
    assert (room == 7).all()
