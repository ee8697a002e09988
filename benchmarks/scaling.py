"""What a second rank brings: a training step of CIFAR ResNet-20 on ranks of MPI.

    python benchmarks/scaling.py [--batch 128] [--ranks 2] [--rounds 7] [--seconds 2]

The batch is that of all ranks together. Beside cauce with one rank and as many threads, and with
one rank and one thread, stands PyTorch: one process, and DistributedDataParallel over gloo. Each
turn is a group of processes of its own (``scaling_child.py``), each bound to its cores; the time is
that of a step on rank 0. Of cauce's ranks it is also measured what a sum over them takes, and how
long a message of one number is under way (``docs/distributed.md`` reckons with both).

A batch norm takes the statistics of its rank, so the losses of two ranks are compared with those of
PyTorch's two processes, and those of one with PyTorch's one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import report
from protocol import Case, PeerFailed, agreement, ended, environment, lower_quartile, turns

CHILD = Path(__file__).with_name("scaling_child.py")
TOLERANCE = 1e-3
BASE = "cauce, one thread"


@dataclass(frozen=True)
class Peer:
    """A library, on how many ranks with how many threads each."""

    library: str
    ranks: int = 1
    threads: int = 1


def peers_of(ranks: int) -> dict[str, Peer]:
    """The peers for a number of ranks."""
    return {
        BASE: Peer("cauce"),
        f"cauce, {ranks} threads": Peer("cauce", threads=ranks),
        f"cauce, {ranks} ranks": Peer("cauce", ranks),
        "PyTorch, one thread": Peer("torch"),
        f"PyTorch, {ranks} ranks": Peer("torch", ranks),
    }


@dataclass(frozen=True)
class Turn:
    """What rank 0 told.

    Attributes:
        ms: of a step.
        evidence: the losses of the first steps, over the whole batch.
        sums: of each size of a sum over ranks in a step, in bytes, how long it took in ms, and how
            long it takes when no rank waits for another.
        latency: of a sum of one number over all ranks, in ms.
        versions: of the libraries behind it.
    """

    ms: float
    evidence: list[float]
    sums: Mapping[str, tuple[float, float]]
    latency: float | None
    versions: Mapping[str, str]


def command(peer: Peer, case: Case, seconds: float, meeting: str) -> list[str]:
    """What starts the processes of a turn."""
    arguments = [sys.executable, str(CHILD), peer.library, str(case["batch"]), str(seconds)]
    arguments += [str(peer.threads), meeting]
    if peer.ranks == 1:
        return arguments
    told = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True, check=True)
    open_mpi = ["--allow-run-as-root", "--bind-to", "core"] if "Open" in told.stdout else []
    return ["mpiexec", *open_mpi, "-n", str(peer.ranks), *arguments]


def take_turn(peer: Peer, case: Case, seconds: float) -> Turn:
    """Start the processes and take what rank 0 tells.

    Raises:
        PeerFailed: they ended without.
    """
    with tempfile.TemporaryDirectory() as folder:
        line = command(peer, case, seconds, str(Path(folder) / "meeting"))
        process = subprocess.run(
            line, env=environment(peer.threads), capture_output=True, text=True, check=False
        )
    if process.returncode != 0:
        raise ended(process.returncode, process.stderr)
    told = [each for each in process.stdout.splitlines() if each.startswith("{")]
    return Turn(**json.loads(told[-1]))


def measure(rounds: int, seconds: float, case: Case) -> tuple[report.Rows, report.Versions]:
    """Measure all peers on one case: the row of each, and versions of libraries.

    Raises:
        SystemExit: the base failed, or a peer disagrees with another on as many ranks.
        PeerFailed: a peer failed in a later turn than its first.
    """
    peers = peers_of(case["ranks"])
    rows: dict[str, dict[str, Any]] = {peer: {} for peer in peers}
    first: dict[str, Turn] = {}
    for peer, how in peers.items():
        try:
            first[peer] = take_turn(how, case, 0.1)
        except PeerFailed as failure:
            rows[peer]["failed"] = str(failure)
    if BASE not in first:
        raise SystemExit(f"{BASE} failed: {rows[BASE]['failed']}")
    for peer, turn in first.items():
        alike = next(name for name in first if peers[name].ranks == peers[peer].ranks)
        rows[peer]["difference"] = agreement(
            peer, turn.evidence, alike, first[alike].evidence, TOLERANCE
        )
    taken: dict[str, list[Turn]] = {peer: [] for peer in first}
    for peer in turns(list(first), rounds):
        taken[peer].append(take_turn(peers[peer], case, seconds))
    for peer in first:
        rows[peer] |= summary(taken[peer], taken[BASE])
    return rows, report.merged(turn.versions for turn in first.values())


def summary(taken: list[Turn], base: list[Turn]) -> dict[str, Any]:
    """The numbers of one peer. A speedup is the base's time over its own in the same round."""
    speedups = [own.ms / turn.ms for turn, own in zip(taken, base)]
    row: dict[str, Any] = {
        "median_ms": statistics.median(turn.ms for turn in taken),
        "speedup_median": statistics.median(speedups),
        "speedup_lower_quartile": lower_quartile(speedups),
        "rounds_ms": [turn.ms for turn in taken],
        "speedups": speedups,
    }
    if taken[0].sums:
        row["sums"] = {
            size: {
                "in_a_step_ms": statistics.median(turn.sums[size][0] for turn in taken),
                "alone_ms": statistics.median(turn.sums[size][1] for turn in taken),
            }
            for size in taken[0].sums
        }
        row["latency_ms"] = statistics.median(turn.latency or 0.0 for turn in taken)
    return row


def table(case: Case, base: str, rows: report.Rows) -> str:
    """The results of one case, for people."""
    lines = [f"\nresnet20, batch {case['batch']} of all ranks; speedup: over {base}"]
    lines.append(f"{'':<24}{'median':>12}{'speedup':>10}{'quartile':>10}{'sums':>16}")
    for peer, row in rows.items():
        if "failed" in row:
            lines.append(report.failure(peer, row["failed"]))
            continue
        sums = sum(each["in_a_step_ms"] for each in row.get("sums", {}).values())
        lines.append(
            f"  {peer:<22}{row['median_ms']:>9.1f} ms{row['speedup_median']:>10.2f}"
            f"{row['speedup_lower_quartile']:>10.2f}" + (f"{sums:>13.2f} ms" if sums else "")
        )
    return "\n".join(lines)


def main() -> None:
    parser = report.steps_command_line(__doc__.splitlines()[0], seconds=2.0)
    parser.add_argument("--batch", type=int, default=128, help="of all ranks together")
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    case = {"model": "resnet20", "batch": options.batch, "ranks": options.ranks}
    settings = {"rounds": options.rounds, "seconds_of_a_turn": options.seconds}
    measured = partial(measure, options.rounds, options.seconds)
    report.write(
        __file__, BASE, settings, options.output, [case], measured, table, options.patience
    )


if __name__ == "__main__":
    main()
