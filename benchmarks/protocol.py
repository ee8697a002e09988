"""How the benchmarks measure: each peer in a process of its own, in alternating rounds.

Libraries disturb one another within a process (their threads spin while they wait for work), so
every peer is a worker: the benchmark's own script, started again with ``--worker``. A worker
prepares its step, says so, and then answers requests, one line of JSON each:

    -> run 20     <- {"seconds": 0.52, "processor_seconds": 1.03}

In a round the peers take turns; every second round runs backwards. A worker answers only when its
threads sleep, so nothing of one peer runs while another is measured. What else the machine does
falls on all alike, which is why peers are compared within each round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

Case = Mapping[str, Any]  # what is measured: "threads", and what else the benchmark varies

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CAUCE_NUM_THREADS")
# OpenBLAS chooses its kernels and block sizes itself, whatever the shell says.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


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
    """

    script: str
    base: str
    peers: Mapping[str, Callable[[Case], Prepared]]
    tolerance: float


@dataclass
class Result:
    """What was measured of one peer on one case.

    Attributes:
        failed: why there are no times; None where there are.
        difference: ``max|a - b| / max|b|`` of the evidence.
        steps: how many a turn has.
        seconds: of one step, the mean of each turn.
        processor_seconds: the same for the processor time of all its threads.
        versions: of the libraries behind it.
    """

    failed: str | None = None
    difference: float = 0.0
    steps: int = 0
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
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
        for peer, worker in workers.items():
            result = results[peer]
            result.versions = worker.versions
            result.difference = difference(worker.evidence, workers[benchmark.base].evidence)
            if not result.difference <= benchmark.tolerance:  # NaN is no agreement
                raise SystemExit(
                    f"{peer} does not compute what {benchmark.base} does: they differ by "
                    f"{result.difference:.1e}, at most {benchmark.tolerance:.0e} was expected"
                )
            result.steps = max(1, round(seconds / worker.run(1)[0]))
        for turn in range(rounds):
            for peer in workers if turn % 2 == 0 else reversed(workers):
                elapsed, used = workers[peer].run(results[peer].steps)
                results[peer].seconds.append(elapsed)
                results[peer].processor_seconds.append(used)
    return results


def difference(numbers: Sequence[float], expected: Sequence[float]) -> float:
    """max|a - b| / max|b|; NaN where there are not equally many, or where one is NaN."""
    if len(numbers) != len(expected) or any(number != number for number in numbers):
        return float("nan")
    return max(abs(a - b) for a, b in zip(numbers, expected)) / max(map(abs, expected))


class Worker:
    """The process of a peer; a context that ends it."""

    def __init__(self, benchmark: Benchmark, peer: str, case: Case) -> None:
        request = json.dumps({"peer": peer, "case": case})
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, benchmark.script, "--worker", request],
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

    def run(self, steps: int) -> tuple[float, float]:
        """Elapsed time and processor time of a step, the mean of so many."""
        assert self._process.stdin is not None
        print(f"run {steps}", file=self._process.stdin, flush=True)
        answer = self._answer()
        return answer["seconds"] / steps, answer["processor_seconds"] / steps

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:]
            raise PeerFailed(f"it ended with code {self._process.wait()}: {''.join(last)}")
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
        answer({"seconds": elapsed, "processor_seconds": used})


def timed(step: Callable[[], object], steps: int) -> tuple[float, float]:
    """Elapsed time and processor time of so many steps."""
    step()  # not timed: it finds the caches as another peer left them
    start, processor_start = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    return time.perf_counter() - start, time.process_time() - processor_start


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
