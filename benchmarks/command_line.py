"""How long ``cauce show`` of a ResNet-50 takes, against importing ONNX Runtime.

    python benchmarks/command_line.py [--rounds 15]

A step is a process, from its start to its end, with its output in a pipe. "Python" does nothing.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import report
from protocol import Benchmark, Case, Prepared

ROOT = Path(__file__).resolve().parents[1]


def process(arguments: Sequence[str], library: str, case: Case) -> Prepared:
    """An interpreter with some arguments."""
    command = [sys.executable, *arguments]

    def step() -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)

    step()
    versions = {library: version(library)} if library else {}
    return Prepared(step, [1.0], versions)


def show(case: Case) -> Prepared:
    """``cauce show`` of a file that is written before."""
    import cauce

    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)  # the steps of this worker need it to the end
    file = Path(folder.name) / "model.safetensors"
    getattr(cauce.models, case["show"]).init(image=("N", 3, 224, 224), seed=0).save(file)
    return process(["-m", "cauce", "show", str(file)], "cauce", case)


PEERS: dict[str, Callable[[Case], Prepared]] = {
    "cauce show": show,
    "import onnxruntime": partial(process, ["-c", "import onnxruntime"], "onnxruntime"),
    "Python": partial(process, ["-c", "pass"], ""),
}
BENCHMARK = Benchmark(script=__file__, base="cauce show", peers=PEERS, tolerance=0.0)


def main() -> None:
    parser = report.steps_command_line(__doc__.splitlines()[0], seconds=0.0)
    parser.set_defaults(rounds=15, threads=[1])
    options = parser.parse_args()
    cases = [{"show": "resnet50", "threads": threads} for threads in options.threads]
    report.run(BENCHMARK, options, cases)


if __name__ == "__main__":
    main()
