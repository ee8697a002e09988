"""Writes the table of results into docs/performance.md: ``python benchmarks/page.py [RESULTS]``.

The page itself names the files in ``results/`` that its table shows, in the comment before it;
with names of files as arguments it shows those instead.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from report import best_peer

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, ENDS, END = "<!-- results: ", " -->\n", "<!-- end of results -->"


def updated(text: str, names: Sequence[str] | None = None) -> str:
    """The page with its table made anew, of the files with ``names``; of its own where None."""
    before, _, rest = text.partition(BEGIN)
    named, _, rest = rest.partition(ENDS)
    _, _, after = rest.partition(END)
    chosen = named.split() if names is None else names
    reports = [json.loads((HERE / "results" / name).read_text()) for name in chosen]
    return f"{before}{BEGIN}{' '.join(chosen)}{ENDS}{tables(reports)}{END}{after}"


def tables(reports: Iterable[dict[str, Any]]) -> str:
    """The results in Markdown: a table for each report, with what they were measured on."""
    return "".join(f"\n{table(report)}\n" for report in reports)


def table(report: dict[str, Any]) -> str:
    """One report of ``inference.py`` in Markdown; why peers failed stands below the table."""
    base, cases = report["base"], report["cases"]
    peers = [peer for peer in cases[0]["peers"] if peer != base]
    heads = ["network", "batch", "threads", "limit", base, "of limit", *peers]
    heads += ["best peer", "ratio", "quartile"]
    lines = [row(heads), row(["---"] * 3 + ["---:"] * (len(heads) - 6) + ["---", "---:", "---:"])]
    lines += [row(cells(case, base, peers)) for case in cases]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    capacity = "; ".join(f"threads {count}: {c}" for count, c in report["capacity"].items())
    facts = (
        f"Median milliseconds, {report['rounds']} rounds; {report['date']}, "
        f"commit `{report['commit']}`, {report['machine']['processor']}. {capacity}. {versions}."
    )
    return "\n".join([*lines, "", facts, *failures(cases)]) + "\n"


def cells(case: dict[str, Any], base: str, peers: Sequence[str]) -> list[str]:
    """The cells of one case."""
    rows = case["peers"]
    own = rows[base]
    times = ["-" if "failed" in rows[peer] else f"{rows[peer]['median_ms']:.3g}" for peer in peers]
    best = best_peer(base, rows)
    last = ["-"] * 3
    if best is not None:
        ratios = (rows[best]["ratio_median"], rows[best]["ratio_lower_quartile"])
        last = [best, *(f"{ratio:.2f}" for ratio in ratios)]
    return [
        *(str(case[what]) for what in ("model", "batch", "threads")),
        f"{own['limit_ms']:.3g}",
        f"{own['median_ms']:.3g}",
        f"{own['of_limit']:.0%}",
        *times,
        *last,
    ]


def failures(cases: Iterable[dict[str, Any]]) -> list[str]:
    """Why peers have no times, each reason once, with the networks."""
    reasons: dict[str, list[str]] = {}
    for case in cases:
        for peer, row in case["peers"].items():
            if "failed" in row:
                reason = f"{peer}: {row['failed'].splitlines()[0]}"
                networks = reasons.setdefault(reason, [])
                if case["model"] not in networks:
                    networks.append(case["model"])
    return [f"\n{reason} ({', '.join(networks)})." for reason, networks in reasons.items()]


def row(texts: Iterable[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(texts)} |"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(), [Path(name).name for name in sys.argv[1:]] or None))
