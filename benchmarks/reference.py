"""A training step of CIFAR ResNet-20 on the NumPy backend, against PyTorch eager.

    python benchmarks/reference.py [--threads 1 2] [--rounds 7] [--batch 64]

The NumPy backend is the reference, made to be read; it should still be within 2.5 times PyTorch.
"""

from __future__ import annotations

import report
from protocol import Benchmark
from training_steps import TOLERANCE, eager_step, numpy_step

BENCHMARK = Benchmark(
    script=__file__,
    base="cauce numpy",
    peers={"cauce numpy": numpy_step, "PyTorch eager": eager_step},
    tolerance=TOLERANCE,
)


def main() -> None:
    parser = report.steps_command_line(__doc__.splitlines()[0], seconds=1.0)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    cases = [
        {"model": "resnet20", "batch": options.batch, "threads": threads}
        for threads in options.threads
    ]
    for row in report.run(BENCHMARK, options, cases):
        peer = row["peers"]["PyTorch eager"]
        if "failed" not in peer:
            print(
                f"threads {row['threads']}: cauce on NumPy takes "
                f"{1 / peer['ratio_median']:.2f} times as long as PyTorch eager, "
                f"{1 / peer['ratio_lower_quartile']:.2f} times in the slower quarter of the rounds"
            )


if __name__ == "__main__":
    main()
