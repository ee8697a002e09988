"""Writes tables of results into the pages that show some: ``python benchmarks/page.py [RESULTS]``.

A page itself names the files in ``results/`` that a table shows, in the comment before it; with
names of files as arguments it shows those instead, each where results of its kind stand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from report import best_peer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "benchmarks.md",
    ROOT / "docs" / "performance.md",
)
ENDS = " -->\n"


def updated(text: str, names: Sequence[str] | None = None) -> str:
    """The page with its tables made anew, of the files with ``names``; of its own where None.

    A kind of results of which there is none among ``names`` stays as it is.
    """
    given: dict[str, list[str]] = {}
    for name in names or ():
        benchmark = _read(name)["benchmark"]
        given.setdefault(benchmark if benchmark in BENCHMARKS else "inference", []).append(name)
    for kind, (benchmark, shown_as) in TABLES.items():
        begin, end = f"<!-- {kind}: ", f"<!-- end of {kind} -->"
        if begin not in text:
            continue
        before, _, rest = text.partition(begin)
        named, _, rest = rest.partition(ENDS)
        _, _, after = rest.partition(end)
        chosen = given.get(benchmark, named.split())
        shown = "".join(f"\n{shown_as(_read(name))}\n" for name in chosen)
        text = f"{before}{begin}{' '.join(chosen)}{ENDS}{shown}{end}{after}"
    return text


def _read(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((HERE / "results" / name).read_text())
    return report


def table(report: dict[str, Any]) -> str:
    """One report of ``inference.py``, or of ``models.py``, which knows no limit, in Markdown; why
    peers failed stands below the table."""
    base, cases = report["base"], report["cases"]
    peers = [peer for peer in cases[0]["peers"] if peer != base]
    what = [key for key in cases[0] if key not in ("peers", "cores")]
    own = ["limit", base, "of limit"] if "capacity" in report else [base]
    heads = ["network", *what[1:], *own, *peers, "best peer", "ratio", "quartile"]
    numbers = ["---:"] * (len(own) + len(peers))
    lines = [row(heads), row(["---"] * len(what) + numbers + ["---", "---:", "---:"])]
    lines += [row(cells(case, base, peers)) for case in cases]
    capacity = [f" threads {count}: {c}." for count, c in report.get("capacity", {}).items()]
    facts = (
        f"Median milliseconds, {report['rounds']} rounds; {where(report)}.{''.join(capacity)} "
        f"{versions(report)}."
    )
    return "\n".join([*lines, "", facts, *failures(cases), *memory(cases, [base, *peers])]) + "\n"


def memory(cases: Sequence[dict[str, Any]], peers: Sequence[str]) -> list[str]:
    """A table of what the process of each peer has in memory while it runs, with one thread."""
    single = [case for case in cases if case["threads"] == 1]
    if not any("memory_mb" in row for case in single for row in case["peers"].values()):
        return []

    what = [key for key in single[0] if key not in ("peers", "cores", "threads")]

    def shown(row: dict[str, Any]) -> str:
        return f"{row['memory_mb']:.0f}" if "memory_mb" in row else "-"

    return [
        "",
        "Megabytes in memory while a network runs, those of Python and all libraries included:",
        "",
        row(["network", *what[1:], *peers]),
        row(["---"] * len(what) + ["---:"] * len(peers)),
        *(
            row([*(str(case[key]) for key in what), *(shown(case["peers"][p]) for p in peers)])
            for case in single
        ),
    ]


def where(report: dict[str, Any]) -> str:
    """When, and on what, a report was made."""
    return f"{report['date']}, commit `{report['commit']}`, {report['machine']['processor']}"


def versions(report: dict[str, Any]) -> str:
    """The libraries of a report."""
    return ", ".join(f"{name} {version}" for name, version in report["versions"].items())


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
    measured = [f"{own['median_ms']:.3g}"]
    if "limit_ms" in own:
        measured = [f"{own['limit_ms']:.3g}", *measured, f"{own['of_limit']:.0%}"]
    return [
        *(str(number) for key, number in case.items() if key not in ("peers", "cores")),
        *measured,
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


def precision(report: dict[str, Any]) -> str:
    """A report of ``precision.py`` in Markdown: networks for each precision, and layers for each
    algorithm."""
    networks = [case for case in report["cases"] if "model" in case]
    layers = [case for case in report["cases"] if "model" not in case]
    parts = [errors(networks, "network", "precision", lambda case: str(case["model"]))]
    parts.append(errors(layers, "channels, image", "algorithm", layer))
    images = report["cases"][0]["batch"]
    parts.append(
        f"Of {images} images, against {report['base']}; {where(report)}. {versions(report)}.\n"
    )
    return "\n".join(part for part in parts if part)


def layer(case: dict[str, Any]) -> str:
    """A convolution of ``precision.py``."""
    size = f"{case['channels']}, {case['size']} x {case['size']}"
    return size if case.get("stride", 1) == 1 else f"{size}, stride {case['stride']}"


def errors(
    cases: Sequence[dict[str, Any]], what: str, how: str, name: Callable[[dict[str, Any]], str]
) -> str:
    """A table of errors: a row for each case and each way to compute it; nothing without cases."""
    if not cases:
        return ""
    rows = [(name(case), way, found) for case in cases for way, found in case["peers"].items()]
    given = list(rows[0][2]["errors"])
    counted = any("tiles" in found for _, _, found in rows)
    heads = [what, how, *given, *["convolutions by Winograd"] * counted]
    lines = [row(heads), row(["---"] * 2 + ["---:"] * len(given) + ["---"] * counted)]
    for case, way, found in rows:
        tiles = ", ".join(f"{count} of {tile}" for tile, count in found.get("tiles", {}).items())
        shown = (f"{found['errors'][one]:.1e}" for one in given)
        lines.append(row([case, way, *shown, *[tiles or "-"] * counted]))
    return "\n".join(lines) + "\n"


def ratios(report: dict[str, Any]) -> str:
    """A report of ``inference.py`` in short: each peer's time over the base's, a row for each
    network and batch, and in a cell one number for each count of threads."""
    base, cases = report["base"], report["cases"]
    peers = [peer for peer in cases[0]["peers"] if peer != base]
    threads = list(dict.fromkeys(case["threads"] for case in cases))
    grouped: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for case in cases:
        grouped.setdefault((case["model"], case["batch"]), {})[case["threads"]] = case["peers"]
    lines = [
        row(["network", "batch", f"{base}, ms", *peers]),
        row(["---", "---", *["---:"] * (len(peers) + 1)]),
    ]
    for (model, batch), measured in grouped.items():
        rows = [measured.get(count, {}) for count in threads]
        own = each(f"{one[base]['median_ms']:.3g}" if one else "-" for one in rows)
        others = (each(_ratio(one.get(peer, {})) for one in rows) for peer in peers)
        lines.append(row([model, str(batch), own, *others]))
    counts = each(map(str, threads))
    facts = (
        f"Two numbers: with {counts} threads. Medians of {report['rounds']} rounds; "
        f"{where(report)}. {versions(report)}."
    )
    return "\n".join([*lines, "", facts, *failures(cases)]) + "\n"


def each(texts: Iterable[str]) -> str:
    """Numbers side by side in a cell."""
    return " / ".join(texts)


def _ratio(measured: dict[str, Any]) -> str:
    return f"{measured['ratio_median']:.2f}" if "ratio_median" in measured else "-"


def steps(report: dict[str, Any]) -> str:
    """A report of ``training.py`` in Markdown: the time of a step, and over the base's."""
    lines = [row(["network", "batch", "threads", "", "ms", "ratio", "quartile"])]
    lines.append(row(["---"] * 4 + ["---:"] * 3))
    for case in report["cases"]:
        what = [str(case[name]) for name in ("model", "batch", "threads")]
        for peer, found in case["peers"].items():
            if "failed" in found:
                continue
            numbers = (found["ratio_median"], found["ratio_lower_quartile"])
            shown = [f"{found['median_ms']:.4g}", *(f"{number:.2f}" for number in numbers)]
            lines.append(row([*what, peer, *shown]))
    facts = f"{report['rounds']} rounds; {where(report)}. {versions(report)}."
    return "\n".join([*lines, "", facts, *failures(report["cases"])]) + "\n"


def starts(report: dict[str, Any]) -> str:
    """A report of ``startup.py`` in Markdown: what passes before the first result."""
    lines = [
        row(["network", "threads", "", "first result, ms", "ratio", "compile, ms", "peak, MB"])
    ]
    lines.append(row(["---"] * 3 + ["---:"] * 4))
    for case in report["cases"]:
        for peer, found in case["peers"].items():
            first, made = found["first_result_ms"], found["compile_ms"]
            shown = (
                f"{first['median']:.0f}",
                f"{first['ratio_median']:.2f}",
                f"{made['median']:.0f}",
                f"{found['memory_MB']['median']:.0f}",
            )
            lines.append(row([case["model"], str(case["threads"]), peer, *shown]))
    facts = f"Medians of {report['rounds']} rounds; {where(report)}. {versions(report)}."
    return "\n".join([*lines, "", facts]) + "\n"


def row(texts: Iterable[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(texts)} |"


# By what stands in the comments around a table: the benchmark of its report, and what makes it.
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "results": ("inference", table),
    "models": ("models", table),
    "ratios": ("inference", ratios),
    "precision": ("precision", precision),
    "training": ("training", steps),
    "startup": ("startup", starts),
}
BENCHMARKS = frozenset(benchmark for benchmark, _ in TABLES.values())


if __name__ == "__main__":
    names = [Path(name).name for name in sys.argv[1:]] or None
    for path in PAGES:
        path.write_text(updated(path.read_text(), names))
