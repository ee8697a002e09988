"""From the start of a process to its first result: cauce's native code against ONNX Runtime.

    python benchmarks/startup.py [--models resnet20 resnet50] [--threads 1 2] [--rounds 7]

Each turn is a process of its own (``startup_child.py``) that imports the library, loads a model
from a file, compiles it and runs it on one image. Of each turn three things are measured:

- first result: the time from before the process is started until the output is there;
- compile: the part of it that ``cauce.compile`` takes; of ONNX Runtime, making the session, which
  reads the file too;
- memory: the peak of the process.

A warm cauce finds in its cache (``CAUCE_CACHE_DIR``) what an earlier turn compiled; a cold one has
an empty cache. The first turn of each peer is not measured: it brings the files into memory, and
fills the warm cache.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import report
from protocol import Case, PeerFailed, agreement, ended, environment, lower_quartile, turns

CHILD = Path(__file__).with_name("startup_child.py")
STAGES = ("Python", "import", "load", "compile", "run")
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Peer:
    """A library, the file that it loads, and whether its cache is empty."""

    library: str
    file: str
    cold: bool = False


BASE = "cauce warm"
PEERS = {
    BASE: Peer("cauce", "model.safetensors"),
    "cauce cold": Peer("cauce", "model.safetensors", cold=True),
    "ONNX Runtime": Peer("onnxruntime", "model.onnx"),
}


@dataclass(frozen=True)
class Turn:
    """What one process told.

    Attributes:
        stages: ms from one stage to the next, in the order of STAGES.
        memory: the peak, in MB.
        evidence: the output.
        versions: of the libraries behind it.
    """

    stages: Mapping[str, float]
    memory: float
    evidence: list[float]
    versions: Mapping[str, str]

    @property
    def measured(self) -> dict[str, float]:
        """What peers are compared by."""
        return {
            "first_result_ms": sum(self.stages.values()),
            "compile_ms": self.stages["compile"],
            "memory_MB": self.memory,
        }


def measure(
    peers: Mapping[str, Peer], rounds: int, case: Case
) -> tuple[report.Rows, report.Versions]:
    """Measure all peers on one case: the row of each, and versions of libraries.

    Raises:
        SystemExit: the base failed, or a peer disagrees with it.
        PeerFailed: a peer failed in a later turn than its first.
    """
    rows: dict[str, dict[str, Any]] = {}
    first: dict[str, Turn] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(case, folder)
        for peer, how in peers.items():
            rows[peer] = {}
            try:
                first[peer] = take_turn(how, case, folder)
            except PeerFailed as failure:
                rows[peer]["failed"] = str(failure)
        if BASE not in first:
            raise SystemExit(f"{BASE} failed: {rows[BASE]['failed']}")
        for peer, turn in first.items():
            rows[peer]["difference"] = agreement(
                peer, turn.evidence, BASE, first[BASE].evidence, TOLERANCE
            )
        taken: dict[str, list[Turn]] = {peer: [] for peer in first}
        for peer in turns(list(first), rounds):
            taken[peer].append(take_turn(peers[peer], case, folder))
    for peer in first:
        rows[peer] |= summary(taken[peer], taken[BASE])
    return rows, report.merged(turn.versions for turn in first.values())


def take_turn(peer: Peer, case: Case, folder: Path) -> Turn:
    """Start a process and take what it tells.

    Raises:
        PeerFailed: it ended without.
    """
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        cache = empty if peer.cold else str(folder / "cache")
        variables = environment(case["threads"]) | {"CAUCE_CACHE_DIR": cache}
        files = [str(folder / peer.file), str(folder / "image.npy")]
        command = [sys.executable, str(CHILD), peer.library, *files, str(case["threads"])]
        start = time.monotonic_ns()
        process = subprocess.run(
            command, env=variables, capture_output=True, text=True, check=False
        )
    if process.returncode != 0:
        raise ended(process.returncode, process.stderr)
    told = json.loads(process.stdout.splitlines()[-1])  # libraries may print above
    stages = {}
    for stage in STAGES:
        stages[stage] = (told["done"][stage] - start) / 1e6
        start = told["done"][stage]
    return Turn(stages, told["memory"] / 1e6, told["evidence"], told["versions"])


def summary(taken: list[Turn], base: list[Turn]) -> dict[str, Any]:
    """The numbers of one peer. A ratio is its number over the base's in the same round."""
    row: dict[str, Any] = {
        "stages_ms": {
            stage: statistics.median(turn.stages[stage] for turn in taken) for stage in STAGES
        }
    }
    for what in taken[0].measured:
        numbers = [turn.measured[what] for turn in taken]
        ratios = [turn.measured[what] / own.measured[what] for turn, own in zip(taken, base)]
        row[what] = {
            "least": min(numbers),
            "median": statistics.median(numbers),
            "ratio_median": statistics.median(ratios),
            "ratio_lower_quartile": lower_quartile(ratios),
            "rounds": numbers,
            "ratios": ratios,
        }
    return row


def table(case: Case, base: str, rows: report.Rows) -> str:
    """The results of one case, for people."""
    lines = [f"\n{report.title(case)}; ratio: over that of {base}, above 1 where {base} is better"]
    for what in ("first_result_ms", "compile_ms", "memory_MB"):
        name, _, unit = what.rpartition("_")
        heads = f"{'least':>12}{'median':>12}{'ratio':>9}{'quartile':>10}"
        lines.append(f"{name.replace('_', ' '):<24}{heads}")
        for peer, row in rows.items():
            if "failed" in row:
                lines.append(report.failure(peer, row["failed"]))
                continue
            numbers = row[what]
            lines.append(
                f"  {peer:<22}{numbers['least']:>9.0f} {unit}{numbers['median']:>9.0f} {unit}"
                f"{numbers['ratio_median']:>9.3f}{numbers['ratio_lower_quartile']:>10.3f}"
            )
    lines.append(f"{'ms of each stage':<24}" + "".join(f"{stage:>9}" for stage in STAGES))
    for peer, row in rows.items():
        if "failed" not in row:
            stages = "".join(f"{row['stages_ms'][stage]:>9.1f}" for stage in STAGES)
            lines.append(f"  {peer:<22}{stages}")
    return "\n".join(lines)


def write_files(case: Case, folder: Path) -> None:
    """Write the model as both files and an image, in a process of its own.

    The peak of a process counts from the memory of the one that started it, so this one, which
    starts the turns, imports nothing that is large.
    """
    request = json.dumps({"case": case, "folder": str(folder)})
    command = [sys.executable, __file__, "--worker", request]
    subprocess.run(command, env=environment(case["threads"]), check=True)


def written(case: Case, folder: Path) -> None:
    """What that process does."""
    import classifiers
    import numpy as np

    import cauce

    model, image = classifiers.start({**case, "batch": 1})
    model.save(folder / "model.safetensors")
    cauce.export_onnx(model, folder / "model.onnx")
    np.save(folder / "image.npy", image)


def main() -> None:
    parser = report.command_line(__doc__.splitlines()[0])
    parser.add_argument(
        "--models", nargs="+", default=["resnet20", "resnet50"], help="as in inference.py"
    )
    options = parser.parse_args()
    if options.worker:
        request = json.loads(options.worker)
        return written(request["case"], Path(request["folder"]))
    peers = report.chosen(PEERS, BASE, options.peers)
    cases = [
        {"model": model, "threads": threads}
        for model in options.models
        for threads in options.threads
    ]
    measured = partial(measure, peers, options.rounds)
    settings = {"rounds": options.rounds}
    report.write(__file__, BASE, settings, options.output, cases, measured, table)


if __name__ == "__main__":
    main()
