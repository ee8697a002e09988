"""How long ``cauce show`` of a ResNet-50 takes, against importing ONNX Runtime.

    python benchmarks/command_line.py [--rounds 15]

A step is a process, from its start to its end, with its output in a pipe. "Python" is one that does
nothing.
"""

from __future__ import annotations

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
    """An interpreter with some arguments, ``FILE`` among them being that of the model."""
    file = case["file"]
    command = [sys.executable, *(str(part).replace("FILE", file) for part in arguments)]

    def step() -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)

    step()
    versions = {library: version(library)} if library else {}
    return Prepared(step, [1.0], versions)


PEERS: dict[str, Callable[[Case], Prepared]] = {
    "cauce show": partial(process, ["-m", "cauce", "show", "FILE"], "cauce"),
    "import onnxruntime": partial(process, ["-c", "import onnxruntime"], "onnxruntime"),
    "Python": partial(process, ["-c", "pass"], ""),
}
BENCHMARK = Benchmark(script=__file__, base="cauce show", peers=PEERS, tolerance=0.0)


def main() -> None:
    parser = report.steps_command_line(__doc__.splitlines()[0], seconds=0.0)
    parser.set_defaults(rounds=15, threads=[1])
    options = parser.parse_args()
    report.work(BENCHMARK, options)
    import cauce

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "resnet50.safetensors"
        cauce.models.resnet50.init(image=("N", 3, 224, 224), seed=0).save(file)
        cases = [{"what": "show resnet50", "file": str(file), "threads": options.threads[0]}]
        report.run(BENCHMARK, options, cases)


if __name__ == "__main__":
    main()
