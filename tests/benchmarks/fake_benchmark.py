"""A benchmark whose peers do next to nothing, and write down each step they make."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import report
from protocol import Benchmark, Case, Prepared


def peer(name: str, evidence: tuple[float, ...] = (1.0, -2.0)) -> Callable[[Case], Prepared]:
    """A peer that writes its name for each step."""

    def prepare(case: Case) -> Prepared:
        print("what a library prints is no answer")

        def step() -> None:
            with open(case["log"], "a") as log:
                log.write(name)
            time.sleep(0.001)

        return Prepared(step, evidence, {f"lib{name}": f"{name}.0"})

    return prepare


def refuses(case: Case) -> Prepared:
    raise ModuleNotFoundError("No module named 'peerless'")


def dies(case: Case) -> Prepared:
    print("segmentation fault, say", file=sys.stderr)
    sys.stderr.flush()
    os._exit(3)


PEERS = {
    "a": peer("a"),
    "b": peer("b", (1.0, -2.0 + 1e-6)),
    "other": peer("other", (1.0, -2.1)),
    "fewer": peer("fewer", (1.0,)),
    "NaN": peer("NaN", (1.0, float("nan"))),
    "refuses": refuses,
    "dies": dies,
}
BENCHMARK = Benchmark(__file__, "a", PEERS, 1e-5)


if __name__ == "__main__":
    parser = report.steps_command_line("A benchmark of nothing.", 0.01)
    parser.add_argument("--log")
    options = parser.parse_args()
    cases = [{"log": options.log, "threads": threads} for threads in options.threads]
    report.run(BENCHMARK, options, cases)
