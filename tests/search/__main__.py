"""The search as a command: ``python -m tests.search --help``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from .trial import PARTS, drawn

PURPOSE = "Look for random networks on which the backends and the reference disagree."
# A worker process does so many networks, and then another takes over.
BATCH = 500
WORKER = (sys.executable, "-m", "tests.search.worker")


class Record:
    """What the search has done of a part: a JSON file, replaced as a whole."""

    def __init__(self, folder: Path, part: str) -> None:
        self.path = folder / f"{part}.json"
        self.failures = folder / "failures.jsonl"
        self.part = part
        self.counts = {"next": 0, "agree": 0, "wild": 0, "failed": 0, "seconds": 0.0}
        if self.path.exists():
            self.counts = json.loads(self.path.read_text())

    def take(self, result: dict[str, Any]) -> None:
        """Note the result of the next seed."""
        self.counts["seconds"] += result.pop("seconds", 0.0)
        if result["found"] == "failed":
            with self.failures.open("a") as file:
                print(json.dumps({"part": self.part, **result}), file=file)
            print(f"{self.part} {result['seed']}: {result['message']}", flush=True)
        self.counts[result["found"]] += 1
        self.counts["next"] = result["seed"] + 1
        if result["found"] == "failed" or self.counts["next"] % 50 == 0:
            self.save()

    def save(self) -> None:
        """Replace the file."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.counts))
        os.replace(new, self.path)

    def __str__(self) -> str:
        done, seconds = self.counts["next"], self.counts["seconds"]
        speed = f", {done / seconds:.0f} a second of one core" if seconds else ""
        counts = ", ".join(f"{self.counts[name]} {name}" for name in ("agree", "wild", "failed"))
        return f"{self.part:16} {done:7} networks: {counts}{speed}"


def search(record: Record, until: int) -> None:
    """Go on with a part until so many networks are done."""
    while record.counts["next"] < until:
        first = int(record.counts["next"])
        count = min(BATCH, until - first)
        command = [*WORKER, record.part, str(first), str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            try:
                for line in worker.stdout:
                    record.take(json.loads(line))
            finally:
                worker.kill()
        if record.counts["next"] < first + count:
            ended = -worker.returncode
            name = signal.Signals(ended).name if ended > 0 else f"exit status {worker.returncode}"
            seed = int(record.counts["next"])
            text = str(drawn(PARTS[record.part], seed)[0])
            message = f"crash: the process ended with {name}"
            record.take({"seed": seed, "found": "failed", "message": message, "graph": text})
        record.save()


def show(part: str, seed: int, small: bool) -> int:
    """Run the network of one seed, and print it where it fails."""
    from .shrink import failing, shrunk

    graph, sizes = drawn(PARTS[part], seed)
    dtype = PARTS[part].dtype
    found = failing(graph, sizes, dtype, seed)
    if found is not None and small:
        graph, found = shrunk(graph, sizes, dtype, seed)
    print(f"{graph}\n{dict(sizes)}\n{found or 'all agree'}")
    return int(found is not None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.search", description=PURPOSE)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="all by default"
    )
    parser.add_argument(
        "--networks", type=int, default=1000, help="of each part, with those done before"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("build/search"), help="what was done, and what failed"
    )
    parser.add_argument("--seed", type=int, help="run this one, of the first part given, alone")
    parser.add_argument("--shrink", action="store_true", help="look for a smaller one that fails")
    options = parser.parse_args()
    if options.seed is not None:
        return show(options.parts[0], options.seed, options.shrink)
    options.folder.mkdir(parents=True, exist_ok=True)
    records = [Record(options.folder, part) for part in options.parts]
    for record in records:
        search(record, options.networks)
    print(*records, sep="\n")
    return int(any(record.counts["failed"] for record in records))


if __name__ == "__main__":
    sys.exit(main())
