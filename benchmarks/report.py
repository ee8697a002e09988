"""Runs a benchmark from the command line: a table on the terminal, and all numbers as JSON."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from machine import together, whole
from protocol import Benchmark, Case, measure, serve, summary

HERE = Path(__file__).resolve().parent
Rows = Mapping[str, Mapping[str, Any]]  # the numbers of each peer
Versions = Mapping[str, str]  # of libraries, by name
Peer = TypeVar("Peer")


def command_line(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each peer (7)")
    parser.add_argument("--peers", nargs="+", help="only these beside the base")
    parser.add_argument("--output", type=Path, help="the JSON file (results/, named by date)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def steps_command_line(description: str, seconds: float) -> argparse.ArgumentParser:
    """The same for those that time steps; ``seconds`` is the default length of a turn."""
    parser = command_line(description)
    parser.add_argument(
        "--seconds", type=float, default=seconds, help=f"of a turn, about ({seconds:g})"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=600.0,
        help="seconds to wait until several threads have cores of their own (600)",
    )
    return parser


def work(benchmark: Benchmark, options: argparse.Namespace) -> None:
    """With ``--worker``: be a worker, and do not return."""
    if options.worker:
        request = json.loads(options.worker)
        serve(benchmark, request["peer"], request["case"])
        sys.exit()


def run(
    benchmark: Benchmark,
    options: argparse.Namespace,
    cases: Iterable[Case],
    limit: Callable[[Case], float] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Measure the steps of all cases; return the rows of :func:`write`.

    With ``--worker`` it is a worker instead, and does not return.

    Args:
        benchmark: whose peers.
        options: of :func:`steps_command_line`.
        cases: what to measure.
        limit: the seconds of a case at best, of which the peers reach a share.
        facts: what else belongs in the JSON.
    """
    work(benchmark, options)
    benchmark = replace(benchmark, peers=chosen(benchmark.peers, benchmark.base, options.peers))

    def measured(case: Case) -> tuple[Rows, Versions]:
        results = measure(benchmark, case, options.rounds, options.seconds)
        base = results[benchmark.base]
        rows = {peer: summary(result, base) for peer, result in results.items()}
        if limit is not None:
            at_best = 1000 * limit(case)
            for row in rows.values():
                if "failed" not in row:
                    row |= {"limit_ms": at_best, "of_limit": at_best / row["median_ms"]}
        return rows, merged(result.versions for result in results.values())

    settings = {"rounds": options.rounds, "seconds_of_a_turn": options.seconds, **(facts or {})}
    return write(
        benchmark.script,
        benchmark.base,
        settings,
        options.output,
        cases,
        measured,
        table,
        options.patience,
    )


def write(
    script: str,
    base: str,
    settings: Mapping[str, Any],
    output: Path | None,
    cases: Iterable[Case],
    measured: Callable[[Case], tuple[Rows, Versions]],
    table: Callable[[Case, str, Rows], str],
    patience: float | None = None,
) -> list[dict[str, Any]]:
    """Measure the cases, print and write each as it is done; return them as in the JSON.

    Args:
        script: the path of the benchmark.
        base: the peer that the others are compared with.
        settings: how it is measured, for the JSON.
        output: the JSON file; ``results/``, named by date, where None.
        cases: what to measure.
        measured: measures a case: the numbers of each peer, and versions of libraries.
        table: a case for people.
        patience: the seconds to wait, before a case of several threads, until they have cores of
            their own; what they have then and afterwards is noted. Not asked for where None.
    """
    name, now = Path(script).stem, datetime.datetime.now(datetime.UTC)
    path = output or HERE / "results" / f"{name}-{now:%Y-%m-%d-%H%M}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    versions: dict[str, str] = {"Python": platform.python_version()}
    rows: list[dict[str, Any]] = []
    report = {
        "benchmark": name,
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        "machine": machine(),
        "commit": commit(),
        "versions": versions,
        **settings,
        "base": base,
        "cases": rows,
    }
    for case in cases:
        threads = case.get("ranks", case.get("threads", 1))
        watched = patience is not None and threads > 1
        cores = [whole(threads, patience or 0.0)] if watched else []
        peers, libraries = measured(case)
        cores += [together(threads)] if watched else []
        versions.update(libraries)
        rows.append({**case, **({"cores": cores} if watched else {}), "peers": peers})
        print(table(case, base, peers), flush=True)
        if watched:
            print(
                "multiplying, all threads over one, before and after:", *map("{:.2f}".format, cores)
            )
        path.write_text(json.dumps(report, indent=1) + "\n")
    print("; ".join(f"{what}: {text}" for what, text in machine().items()))
    print(", ".join(f"{library} {version}" for library, version in versions.items()))
    print(f"written to {os.path.relpath(path)}")
    return rows


def chosen(peers: Mapping[str, Peer], base: str, names: Sequence[str] | None) -> dict[str, Peer]:
    """The base and the peers with these names; all where None."""
    unknown = [name for name in names or () if name not in peers]
    if unknown:
        raise SystemExit(f"no peer {unknown[0]!r}; there are {', '.join(peers)}")
    return {name: peer for name, peer in peers.items() if names is None or name in (base, *names)}


def merged(versions: Iterable[Versions]) -> Versions:
    """All versions in one."""
    return {library: version for some in versions for library, version in some.items()}


def best_peer(base: str, peers: Rows) -> str | None:
    """The peer with the least median time, the base aside; None where none was measured."""
    measured = [peer for peer, row in peers.items() if peer != base and "failed" not in row]
    return min(measured, key=lambda peer: peers[peer]["median_ms"], default=None)


def table(case: Case, base: str, peers: Rows) -> str:
    """The results of one case, for people.

    The last row is that of the best peer again, so that none has to be looked for. Where there is
    a limit, a column has the share of it that each peer reaches.
    """
    limited = "limit_ms" in peers[base]
    head = f"{title(case)}; ratio: time over that of {base}, above 1 where {base} is faster"
    columns = f"{'ratio':>9}{'quartile':>10}{'CPUs':>7}{'differs':>10}{'memory':>10}"
    if limited:
        head += f"; limit {peers[base]['limit_ms']:.2f} ms"
        columns += f"{'of limit':>10}"
    lines = [f"\n{head}", f"{'':<24}{'fastest':>12}{'median':>12}{columns}"]
    lines += [line(peer, row) for peer, row in peers.items()]
    best = best_peer(base, peers)
    if best is not None and len(peers) > 2:
        lines.append(line(f"best peer: {best}", peers[best]))
    return "\n".join(lines)


def line(name: str, row: Mapping[str, Any]) -> str:
    """The line of a peer in the table."""
    if "failed" in row:
        return failure(name, row["failed"])
    share = f"{row['of_limit']:>10.0%}" if "of_limit" in row else ""
    memory = f"{row['memory_mb']:.0f} MB" if "memory_mb" in row else "-"
    return (
        f"{name:<24}{row['fastest_ms']:>9.2f} ms{row['median_ms']:>9.2f} ms"
        f"{row['ratio_median']:>9.3f}{row['ratio_lower_quartile']:>10.3f}"
        f"{row['processors']:>7.2f}{row['difference']:>10.0e}{memory:>10}{share}"
    )


def title(case: Case) -> str:
    """What was measured, for people."""
    return ", ".join(f"{what} {setting}" for what, setting in case.items())


def failure(peer: str, reason: str) -> str:
    """The line of a peer without numbers."""
    return f"{peer:<24}  failed: {reason.splitlines()[0][:70]}"


def machine() -> dict[str, Any]:
    """What the times depend on beside the software."""
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def processor() -> str:
    """The model of the processor, with family and model numbers where the system tells them."""
    known = Path("/proc/cpuinfo")
    if not known.is_file():
        return platform.processor() or platform.machine()
    lines = known.read_text().split("\n\n")[0].splitlines()
    facts = {
        name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)
    }
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')})"


def commit() -> str:
    """The commit that was measured, marked where files have changed since; "" outside of git."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()
