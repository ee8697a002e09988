"""Results come in order, few are under way, and workers that die are made up for."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cauce.clusters import worker
from cauce.clusters.mapped import Mapped
from cauce.clusters.ordered import Item
from cauce.clusters.pools import Here, Workers
from cauce.clusters.report import Progress, Report
from cauce.clusters.worker import packed
from cauce.ir.errors import DataError, WorkerLost

from .calls import backwards, failing, killed_at, noted, squares

FORK = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="processes are forked"
)
SILENT = Progress(False, None)


def forked() -> Executor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are workers of this process: they shall know no call of the test before."""
    monkeypatch.setattr(worker, "_CALLS", type(worker._CALLS)())


def mapped(
    executor: Executor | Callable[[], Executor],
    call: Any,
    numbers: Iterable[int],
    *,
    batch: int = 3,
    ahead: int = 2,
    retries: int = 2,
    raises: bool = True,
    progress: Progress = SILENT,
) -> Mapped[int]:
    return Mapped(
        lambda: Workers(executor, *packed(*call)),
        (Item(f"number {number}", number) for number in numbers),
        batch=batch,
        ahead=ahead,
        retries=retries,
        raises=raises,
        progress=progress,
    )


# ---- order and memory --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_results_have_the_order_of_the_files(count: int) -> None:
    with ThreadPoolExecutor(3) as executor:
        results = list(mapped(executor, (squares,), range(count)))
    assert results == [(f"number {k}", k**2, None) for k in range(count)]


def test_a_batch_that_is_done_late_is_waited_for() -> None:
    with ThreadPoolExecutor(4) as executor:
        results = mapped(executor, (backwards, 0, 11), range(30))
        assert [result.found for result in results] == [k**2 for k in range(30)]


@pytest.mark.parametrize("ahead", [1, 3])
def test_few_files_are_taken_before_their_results_are(ahead: int) -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    most = 0
    with ThreadPoolExecutor(2) as executor:
        results = mapped(executor, (squares,), numbers(), ahead=ahead)
        assert taken == 0
        for given, _ in enumerate(results):
            most = max(most, taken - given)
            if given == 100:
                break
        results.close()
        assert list(results) == []
    assert most == ahead * 2 * 3


def test_here_a_batch_is_computed_when_it_is_asked_for() -> None:
    taken: list[int] = []

    def call(numbers: Any) -> list[int]:
        taken.extend(numbers)
        return [number**2 for number in numbers]

    items = (Item(None, number) for number in range(7))
    results: Mapped[int] = Mapped(
        lambda: Here(call), items, batch=2, ahead=1, retries=0, raises=True, progress=SILENT
    )
    assert next(results).found == 0 and taken == [0, 1]
    assert [result.found for result in results] == [1, 4, 9, 16, 25, 36]
    assert len(results.report.workers) == 1


# ---- the call is sent once ---------------------------------------------------------------------


class Watched(ThreadPoolExecutor):
    """Notes which batches are sent with the call."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.sent: list[bool] = []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.sent.append(args[1] is not None)
        return super().submit(function, *args, **kwargs)


def test_the_call_goes_along_once_for_each_worker() -> None:
    with Watched(2) as executor:
        list(mapped(executor, (squares,), range(30)))
        assert executor.sent == [True] * 2 + [False] * 8
        list(mapped(executor, (squares,), range(30)))
        assert not any(executor.sent[10:])


def test_a_worker_that_does_not_know_the_call_is_sent_it() -> None:
    with Watched(1) as executor:
        list(mapped(executor, (squares,), range(3)))
        worker._CALLS.clear()  # as in a process that was started anew
        results = mapped(executor, (squares,), range(6))
        assert [result.found for result in results] == [0, 1, 4, 9, 16, 25]
    assert executor.sent[1] is False and executor.sent.count(True) >= 2


@FORK
def test_a_worker_makes_the_call_once(tmp_path: Path) -> None:
    with forked() as executor:
        for _ in range(2):
            results = mapped(executor, (noted, str(tmp_path)), range(60))
            assert [result.found for result in results] == [k**2 for k in range(60)]
    makers = [path.name.split("-")[0] for path in tmp_path.iterdir()]
    assert len(makers) == len(set(makers)) <= 2
    assert {name.split(":")[1] for name in results.report.workers} <= set(makers)


def test_few_calls_are_kept() -> None:
    for power in range(4):
        digest, content = packed(partial(pow, 2), power)
        worker._call(digest, content)
    assert len(worker._CALLS) == 2 and digest in worker._CALLS


# ---- what goes wrong ---------------------------------------------------------------------------


@FORK
@pytest.mark.parametrize("retries", [1, 2])
def test_batches_of_a_worker_that_died_are_sent_again(tmp_path: Path, retries: int) -> None:
    results = mapped(forked, (killed_at, 7, str(tmp_path), 1), range(30), retries=retries)
    assert [result.found for result in results] == [k**2 for k in range(30)]
    assert results.report.retried >= 1
    assert results.report.failed == 0


@FORK
@pytest.mark.parametrize("retries", [0, 1])
def test_a_batch_that_kills_its_workers_is_given_up_alone(tmp_path: Path, retries: int) -> None:
    results = mapped(
        forked, (killed_at, 7, str(tmp_path), 99), range(30), retries=retries, raises=False
    )
    found = list(results)
    assert [result.found for result in found] == [
        None if k in (6, 7, 8) else k**2 for k in range(30)
    ]
    assert all(isinstance(result.error, WorkerLost) for result in found[6:9])
    assert f"a batch of 3 was given up, its worker was lost {retries + 1} time" in str(
        found[7].error
    )
    assert results.report.failed == 3 and results.report.images == 30
    assert len(list(tmp_path.iterdir())) == retries + 2  # among others first, then alone


@FORK
def test_or_its_error_is_raised_after_the_results_before(tmp_path: Path) -> None:
    results = mapped(forked, (killed_at, 7, str(tmp_path), 99), range(30), retries=0)
    assert [next(results).found for _ in range(6)] == [k**2 for k in range(6)]
    with pytest.raises(WorkerLost, match=r"was lost 1 time: (.|\n)*smaller batches"):
        next(results)


@FORK
def test_an_executor_that_broke_cannot_be_made_again(tmp_path: Path) -> None:
    with forked() as executor:
        results = mapped(executor, (killed_at, 7, str(tmp_path), 1), range(30))
        with pytest.raises(WorkerLost, match=r"the workers are lost(.|\n)*client=lambda"):
            list(results)


@pytest.mark.parametrize(("error", "tries"), [(ConnectionError, 3), (MemoryError, 3)])
def test_what_may_pass_is_tried_again(error: type[Exception], tries: int) -> None:
    with Watched(1) as executor:
        results = mapped(executor, (failing, error), range(3), raises=False)
        assert {type(result.error) for result in results} == {WorkerLost}
        assert len(executor.sent) == tries


@pytest.mark.parametrize("error", [ZeroDivisionError, partial(DataError, "no")])
def test_what_does_not_pass_is_raised_at_once(error: Any) -> None:
    with Watched(1) as executor:
        with pytest.raises((ZeroDivisionError, DataError)):
            list(mapped(executor, (failing, error), range(3), raises=False))
        assert len(executor.sent) == 1


class Unwilling(ThreadPoolExecutor):
    """Breaks before it begins, as a pool does whose workers cannot start."""

    made = 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        from concurrent.futures import BrokenExecutor

        raise BrokenExecutor("no worker starts")


def test_workers_that_cannot_start_are_not_made_for_ever() -> None:
    made: list[Executor] = []

    def make() -> Executor:
        made.append(Unwilling(1))
        return made[-1]

    with pytest.raises(WorkerLost, match="no worker starts"):
        list(mapped(make, (squares,), range(30), retries=2))
    assert 3 <= len(made) <= 6


# ---- what is said ------------------------------------------------------------------------------


def test_a_report_in_words() -> None:
    report = Report(images=1200, failed=2, seconds=4.0, retried=1)
    report.count("host-a:17", 900, 3.0)
    report.count("host-b:4", 298, 2.0)
    assert repr(report).splitlines() == [
        "1,200 images in 4.0 s, 2 failed, 1 batch sent again: 300.0 images/s",
        "worker       images    busy s  images/s",
        "host-a:17       900       3.0     300.0",
        "host-b:4        298       2.0     149.0",
    ]
    assert Report().images_per_second == 0.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_progress_ends_with_a_line(stream: io.StringIO) -> None:
    progress = Progress(True, 6, stream)
    with ThreadPoolExecutor(1) as executor:
        results = mapped(executor, (squares,), range(6), progress=progress)
        list(results)
    lines = stream.getvalue().splitlines()
    assert lines[-1].endswith(results.report.line())
    assert repr(results) == f"<{results.report.line()}>"
    progress.say(Report(images=2, seconds=1.0), last=True)
    assert "2 of 6 images in 1.0 s: 2.0 images/s\n" in stream.getvalue()
