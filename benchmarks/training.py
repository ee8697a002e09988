"""A training step of CIFAR ResNet-20: cauce on both backends, and PyTorch in three forms.

python benchmarks/training.py [--threads 1 2] [--rounds 7] [--batch 128] [--peers NAME ...]
"""

from __future__ import annotations

import report
from protocol import Benchmark
from training_steps import (
    TOLERANCE,
    channels_last_step,
    compiled_step,
    eager_step,
    llvm_step,
    numpy_step,
)

BENCHMARK = Benchmark(
    script=__file__,
    base="cauce llvm",
    peers={
        "cauce llvm": llvm_step,
        "cauce numpy": numpy_step,
        "PyTorch eager": eager_step,
        "PyTorch channels_last": channels_last_step,
        "torch.compile": compiled_step,
    },
    tolerance=TOLERANCE,
)


def main() -> None:
    parser = report.steps_command_line(__doc__.splitlines()[0], seconds=1.0)
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    cases = (
        {"model": "resnet20", "batch": options.batch, "threads": threads}
        for threads in options.threads
    )
    report.run(BENCHMARK, options, cases)


if __name__ == "__main__":
    main()
