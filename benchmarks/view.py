"""How quickly the page of a graph opens and answers in a browser, as the graph grows.

    python benchmarks/view.py [--rounds 7]

A training step of some 1,500 nodes is held against a graph of some 300. Of each page is measured:
the time from the request for the file until the graph stands there, and that from an action (a
key, a word to search for, the slider) until the browser has drawn what it changed. Each round opens
both pages anew, in turns; every second round runs backwards. It needs Chromium and playwright.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import report
from protocol import Case, turns

BASE = "graph of some 300 nodes"
LARGE = "training step of some 1,500 nodes"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# An action is a script; its time ends when the frame that it asked for has been drawn.
_TIMED = """async () => {{
  const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await drawn();
  const start = performance.now();
  {}
  await drawn();
  return performance.now() - start;
}}"""
_KEY = "document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{}', bubbles: true}}));"
_SEARCH = (
    "const box = document.querySelector('input[type=search]'); box.value = '{}';"
    "box.dispatchEvent(new Event('input'));"
)
ACTIONS = {
    "choose a node": _KEY.format("ArrowDown"),
    "zoom": _KEY.format("+"),
    "next stage": _KEY.format("]"),
    "search": _SEARCH.format("conv2d"),
    "end the search": _SEARCH.format(""),
    "last stage": "const s = document.querySelector('footer input'); s.value = s.max;"
    "s.dispatchEvent(new Event('input'));",
    "open all groups": _KEY.format("e"),
    "move, all open": _KEY.format("-"),
    "choose, all open": _KEY.format("ArrowDown"),
    "close all groups": _KEY.format("c"),
}


def network(image: Any, blocks: int = 1) -> Any:
    """A residual network for small images, with so many blocks."""
    from cauce import nn

    x = nn.relu(nn.batch_norm(nn.conv2d(image, 16, 3, padding=1, bias=False)))
    for block in range(blocks):
        with nn.scope(f"stage{block // 4 + 1}.block{block % 4 + 1}"):
            y = nn.relu(nn.batch_norm(nn.conv2d(x, 16, 3, padding=1, bias=False)))
            y = nn.batch_norm(nn.conv2d(y, 16, 3, padding=1, bias=False))
            x = nn.relu(x + y)
    return nn.linear(nn.global_avg_pool(x), 10)


def write_pages(folder: Path) -> dict[str, tuple[Path, int]]:
    """The two pages, with the number of nodes of each graph."""
    import cauce

    made = cauce.network(network)
    small = made.init(image=("N", 3, 32, 32), blocks=41)
    large = made.init(image=("N", 3, 32, 32), blocks=24)
    step = cauce.train_step(large, "cross_entropy", cauce.SGD(0.1, momentum=0.9), "llvm")
    pages = {}
    for name, subject in ((BASE, small), (LARGE, step)):
        file = folder / f"{len(pages)}.html"
        cauce.view(subject, file)
        pages[name] = (file, sum(1 for _ in subject.graph.nodes))
    return pages


def measure(
    rounds: int, pages: Mapping[str, tuple[Path, int]], _: Case
) -> tuple[report.Rows, report.Versions]:
    """The milliseconds of every action on both pages."""
    from importlib.metadata import version

    from playwright.sync_api import sync_playwright

    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        raise SystemExit("there is no Chromium: apt-get install --no-install-recommends chromium")
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        versions = {"Chromium": browser.version, "playwright": version("playwright")}
        for name in turns(list(pages), rounds):
            taken[name].append(_turn(browser.new_page, pages[name][0]))
        browser.close()
    return {name: _row(runs, taken[BASE], pages[name]) for name, runs in taken.items()}, versions


def _turn(new_page: Callable[..., Any], file: Path) -> dict[str, float]:
    """Open a page and do everything once."""
    page = new_page(viewport={"width": 1280, "height": 800})
    start = time.perf_counter()
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    found = {"open": 1000 * (time.perf_counter() - start)}
    for name, action in ACTIONS.items():
        found[name] = page.evaluate(_TIMED.format(action))
    page.close()
    return found


def _row(
    runs: list[dict[str, float]], base: list[dict[str, float]], page: tuple[Path, int]
) -> dict[str, Any]:
    file, nodes = page
    row: dict[str, Any] = {"nodes": nodes, "file_MB": file.stat().st_size / 1e6}
    for action in runs[0]:
        numbers = [run[action] for run in runs]
        ratios = [run[action] / other[action] for run, other in zip(runs, base)]
        row[action] = {
            "median_ms": statistics.median(numbers),
            "ratio_median": statistics.median(ratios),
            "rounds": numbers,
        }
    return row


def table(case: Case, base: str, rows: report.Rows) -> str:
    """The results for people."""
    lines = [f"\n{report.title(case)}; ratio: time over that of the {base}"]
    heads = [f"{name} ({row['nodes']}, {row['file_MB']:.1f} MB)" for name, row in rows.items()]
    lines += heads
    first, second = rows.values()
    lines.append(f"{'':<20}{'300':>12}{'1,500':>12}{'ratio':>9}")
    for action in ("open", *ACTIONS):
        small, large = first[action], second[action]
        lines.append(
            f"{action:<20}{small['median_ms']:>9.1f} ms{large['median_ms']:>9.1f} ms"
            f"{large['ratio_median']:>9.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = report.command_line(__doc__.splitlines()[0])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pages = write_pages(Path(folder))
        settings = {"rounds": options.rounds}
        cases: list[Case] = [{"window": "1280 x 800"}]
        measured = partial(measure, options.rounds, pages)
        report.write(__file__, BASE, settings, options.output, cases, measured, table)


if __name__ == "__main__":
    main()
