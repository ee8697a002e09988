"""How ``cauce bench`` and the benchmarks measure: each peer in a process of its own, in
alternating rounds.

Libraries disturb one another within a process (their threads spin while they wait for work), so
every peer is a worker: the benchmark's own script, started again with ``--worker``. A worker
prepares its step, says so, and then answers requests, one line of JSON each:

    -> run 20     <- {"seconds": 0.52, "processor_seconds": 1.03, "memory": 180000000}

In a round the peers take turns; every second round runs backwards. A worker answers only when its
threads sleep, so nothing of one peer runs while another is measured. What else the machine does
falls on all alike, which is why peers are compared within each round.

Only the standard library is imported: a worker may measure another cauce than the one that it was
started by, and what a process has in memory counts.
"""

from __future__ import annotations

import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Case = Mapping[str, Any]  # what is measured: "threads", and what else the benchmark varies

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CAUCE_NUM_THREADS")
# OpenBLAS chooses its kernels and block sizes itself, and Python keeps the bytecode of what it
# imports, whatever the shell says.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Prepared:
    """A peer that is ready.

    Attributes:
        step: what is timed.
        evidence: numbers that all peers must agree on: outputs, first losses.
        versions: of the libraries behind it, by name.
    """

    step: Callable[[], object]
    evidence: Sequence[float]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Benchmark:
    """What a script measures.

    Attributes:
        script: its path.
        base: the peer that the others are compared with.
        peers: what prepares each, by name, the base among them.
        tolerance: of ``max|a - b| / max|b|``, where a is a peer's evidence and b the base's.
        lenient: whether a peer that computes something else is left out, with the reason in the
            table, in place of ending the benchmark.
        module: whether ``script`` is the name of a module, to be run as such.
    """

    script: str
    base: str
    peers: Mapping[str, Callable[[Case], Prepared]]
    tolerance: float
    lenient: bool = False
    module: bool = False


@dataclass
class Result:
    """What was measured of one peer on one case.

    Attributes:
        failed: why there are no times; None where there are.
        difference: ``max|a - b| / max|b|`` of the evidence.
        steps: how many a turn has.
        seconds: of one step, the mean of each turn.
        processor_seconds: the same for the processor time of all its threads.
        memory: the bytes that its process has in memory while it runs; None where the system does
            not tell.
        versions: of the libraries behind it.
    """

    failed: str | None = None
    difference: float = 0.0
    steps: int = 0
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    memory: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


class PeerFailed(Exception):
    """A peer could not be prepared, or its process ended."""


def measure(benchmark: Benchmark, case: Case, rounds: int, seconds: float) -> dict[str, Result]:
    """Measure all peers on one case.

    Args:
        benchmark: whose peers.
        case: what to measure.
        rounds: how many turns each peer has.
        seconds: how long a turn lasts, about; it has one step at least.

    Raises:
        SystemExit: the base failed, or a peer disagrees with it.
        PeerFailed: a peer failed after it was ready.
    """
    results = {peer: Result() for peer in benchmark.peers}
    workers: dict[str, Worker] = {}
    with ExitStack() as processes:
        for peer, result in results.items():
            try:
                workers[peer] = processes.enter_context(Worker(benchmark, peer, case))
            except PeerFailed as failure:
                result.failed = str(failure)
        base = results[benchmark.base]
        if base.failed:
            raise SystemExit(f"{benchmark.base} failed: {base.failed}")
        for peer, worker in list(workers.items()):
            result = results[peer]
            result.versions = worker.versions
            try:
                result.difference = agreement(
                    peer,
                    worker.evidence,
                    benchmark.base,
                    workers[benchmark.base].evidence,
                    benchmark.tolerance,
                )
            except SystemExit as refusal:
                if not benchmark.lenient:
                    raise
                result.failed = str(refusal)
                del workers[peer]
                continue
            result.steps = max(1, round(seconds / worker.run(1)[0]))
        for peer in turns(list(workers), rounds):
            elapsed, used = workers[peer].run(results[peer].steps)
            results[peer].memory = workers[peer].memory
            results[peer].seconds.append(elapsed)
            results[peer].processor_seconds.append(used)
    return results


def turns(peers: Sequence[str], rounds: int) -> Iterator[str]:
    """Whose turn it is: every second round runs backwards."""
    for number in range(rounds):
        yield from peers if number % 2 == 0 else reversed(peers)


def agreement(
    peer: str, numbers: Sequence[float], base: str, expected: Sequence[float], tolerance: float
) -> float:
    """The difference between the evidence of a peer and that of the base.

    Raises:
        SystemExit: it is more than ``tolerance``.
    """
    found = difference(numbers, expected)
    if not found <= tolerance:  # NaN is no agreement
        raise SystemExit(
            f"{peer} does not compute what {base} does: they differ by {found:.1e}, "
            f"at most {tolerance:.0e} was expected"
        )
    return found


def summary(result: Result, base: Result) -> dict[str, Any]:
    """The numbers of one peer. A ratio is its time over the base's in the same round."""
    if result.failed:
        return {"failed": result.failed}
    ratios = [other / own for other, own in zip(result.seconds, base.seconds)]
    return {
        "fastest_ms": 1000 * min(result.seconds),
        "median_ms": 1000 * statistics.median(result.seconds),
        "ratio_median": statistics.median(ratios),
        "ratio_lower_quartile": lower_quartile(ratios),
        "processors": sum(result.processor_seconds) / sum(result.seconds),
        "difference": result.difference,
        "steps_of_a_turn": result.steps,
        **({} if result.memory is None else {"memory_mb": result.memory / 1e6}),
        "ms": [1000 * seconds for seconds in result.seconds],
        "ratios": ratios,
    }


def lower_quartile(numbers: Iterable[float]) -> float:
    """The number a quarter of the way up, in proportion where it falls between two."""
    ranked = sorted(numbers)
    below, part = divmod(len(ranked) - 1, 4)
    return ranked[below] + part / 4 * (ranked[min(below + 1, len(ranked) - 1)] - ranked[below])


def difference(numbers: Sequence[float], expected: Sequence[float]) -> float:
    """max|a - b| / max|b|; NaN where there are not equally many, or where one is NaN."""
    if len(numbers) != len(expected) or any(number != number for number in numbers):
        return float("nan")
    return max(abs(a - b) for a, b in zip(numbers, expected)) / max(map(abs, expected))


class Worker:
    """The process of a peer; a context that ends it."""

    def __init__(self, benchmark: Benchmark, peer: str, case: Case) -> None:
        request = json.dumps({"peer": peer, "case": case})
        started = ["-m", benchmark.script] if benchmark.module else [benchmark.script]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, *started, "--worker", request],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(case["threads"]),
        )
        try:
            ready = self._answer()
        except BaseException:
            self.close()
            raise
        self.evidence: list[float] = ready["evidence"]
        self.versions: dict[str, str] = ready["versions"]
        self.memory: int | None = None

    def run(self, steps: int) -> tuple[float, float]:
        """Elapsed time and processor time of a step, the mean of so many."""
        assert self._process.stdin is not None
        print(f"run {steps}", file=self._process.stdin, flush=True)
        answer = self._answer()
        self.memory = answer["memory"]
        return answer["seconds"] / steps, answer["processor_seconds"] / steps

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise ended(self._process.wait(), self._errors.read())
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise PeerFailed(answer["failed"])
        return answer

    def close(self) -> None:
        """End the process: it leaves when there are no more requests."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def ended(code: int, errors: str) -> PeerFailed:
    """What to raise when the process of a peer has ended with ``code``."""
    last = errors.strip().splitlines()[-1:]
    return PeerFailed(f"it ended with code {code}: {''.join(last)}")


def environment(threads: int) -> dict[str, str]:
    """The variables of a worker: those of this process, with the number of threads."""
    kept = {name: text for name, text in os.environ.items() if name not in UNSET}
    return kept | dict.fromkeys(THREADS, str(threads))


# ---- inside a worker ---------------------------------------------------------------------------


def serve(benchmark: Benchmark, peer: str, case: Case) -> None:
    """Prepare ``peer`` and answer requests until there are no more."""
    # What libraries print goes to stderr: stdout carries the answers alone.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content: Mapping[str, object]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        ready = benchmark.peers[peer](case)
        ready.step()
        wait_until_idle()
    except Exception as error:  # of whichever library; the reason stands in the table
        return answer({"failed": f"{type(error).__name__}: {error}"})
    evidence = [float(number) for number in ready.evidence]
    answer({"evidence": evidence, "versions": dict(ready.versions)})
    for line in sys.stdin:
        elapsed, used = timed(ready.step, int(line.removeprefix("run ")))
        wait_until_idle()
        answer({"seconds": elapsed, "processor_seconds": used, "memory": resident()})


def timed(step: Callable[[], object], steps: int) -> tuple[float, float]:
    """Elapsed time and processor time of so many steps."""
    step()  # not timed: it finds the caches as another peer left them
    start, processor_start = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    return time.perf_counter() - start, time.process_time() - processor_start


def resident() -> int | None:
    """The bytes that this process has in memory; None where the system is not Linux."""
    known = Path("/proc/self/statm")
    if not known.is_file():
        return None
    return int(known.read_text().split()[1]) * mmap.PAGESIZE


def wait_until_idle(limit: float = 10.0) -> None:
    """Sleep until the threads of this process use no processor time.

    Raises:
        PeerFailed: they still do after ``limit`` seconds.
    """
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(0.05)
        if time.process_time() - before < 0.001:
            return
    raise PeerFailed(f"its threads still run {limit:g} s after its last step")
