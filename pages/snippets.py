"""Tables and curves for notebooks: HTML without scripts, in the colours of what is around it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .page import Markup, element

_TABLE = "border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px"
_CELL = "padding:2px 10px;text-align:{align};border:0;background:none"
_BAR = "display:inline-block;height:9px;background:#3a6fd8;border-radius:2px;width:{width}px"
_WIDE = 90  # pixels of the longest bar
_MOST = 400  # rows of a table
_COLOURS = ("#3a6fd8", "#d5672b", "#2a9d78", "#8a5fd0")  # told apart with any colour vision


def note(text: str, more: str) -> str:
    """A line of plain text, with an explanation below it."""
    return str(element("div", element("code", text), element("pre", more) if more else ""))


def plan_html(text: str) -> str:
    """The parts of a plan, which empty lines divide, each to be opened by its first line."""
    parts = text.split("\n\n")
    return str(
        element(
            "div",
            *(
                element(
                    "details",
                    element("summary", element("code", part.partition("\n")[0])),
                    element("pre", part),
                    open=len(part) < 400 or None,
                )
                for part in parts
            ),
        )
    )


def ranking_html(rows: Sequence[tuple[str, float]]) -> str:
    """Classes with their probabilities, a bar for each."""
    cells = [
        (name, f"{share:.4f}", _bar(share if 0 <= share <= 1 else 0.0)) for name, share in rows
    ]
    return str(_table(("class", "probability", ""), cells, "lrl"))


def profile_html(rows: Sequence[tuple[str, str, float, int, int]]) -> str:
    """The rows of a profile (layer, op, seconds, operations, bytes), a bar for the time of each."""
    total = sum(row[2] for row in rows)
    longest = max((row[2] for row in rows), default=0.0) or 1.0
    head = ("node", "op", "ms", "", "GFLOP/s", "MB", "share")
    cells = [
        (
            path,
            op,
            f"{seconds * 1e3:.4f}",
            _bar(seconds / longest),
            f"{flops / seconds / 1e9:.1f}" if seconds else "",
            f"{moved / 1e6:.3f}",
            f"{seconds / total:.1%}" if total else "",
        )
        for path, op, seconds, flops, moved in rows
    ]
    return str(
        element("div", element("p", f"{total * 1e3:.3f} ms in all"), _table(head, cells, "llrlrrr"))
    )


def comparison_html(
    text: str, rows: Sequence[tuple[str, str, str, float]], tolerance: float
) -> str:
    """What a comparison found: its text, then the values by how much they differ."""
    ordered = sorted(rows, key=lambda row: -row[3])[:30]
    cells = [
        (
            f"%{value}",
            op,
            backend,
            element("b", f"{gap:.1e}") if gap > tolerance else f"{gap:.1e}",
        )
        for value, op, backend, gap in ordered
    ]
    table = _table(("value", "op", "backend", "difference"), cells, "lllr")
    return str(element("div", element("pre", text), table))


def history_html(columns: Mapping[str, Sequence[float]]) -> str:
    """The curves of a training run, and its numbers."""
    names = [name for name in columns if name.startswith("train_")]
    charts = []
    for name in names:
        what = name.removeprefix("train_")
        lines = {"train": columns[name], "validation": columns.get(f"validation_{what}", ())}
        charts.append(_chart(what, {label: line for label, line in lines.items() if len(line)}))
    count = len(next(iter(columns.values()), ()))
    cells = [tuple(_number(columns[name][place]) for name in columns) for place in range(count)]
    table = _table(tuple(columns), cells, "r" * len(columns))
    return str(
        element(
            "div",
            element("div", *charts, style="display:flex;flex-wrap:wrap;gap:18px"),
            element("details", element("summary", f"{count} epochs"), table),
        )
    )


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:g}" if value == int(value) else f"{value:.4g}"


def _bar(share: float) -> Markup:
    return element("span", style=_BAR.format(width=round(_WIDE * share, 1)))


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], align: str) -> Markup:
    """A table; ``align`` says for each column whether it stands at the left (l) or the right."""
    styles = [_CELL.format(align="left" if side == "l" else "right") for side in align]

    def line(tag: str, cells: Sequence[object]) -> Markup:
        return element("tr", *(element(tag, c, style=s) for c, s in zip(cells, styles)))

    left = len(rows) - _MOST
    return element(
        "table",
        element("thead", line("th", head)),
        element("tbody", *(line("td", row) for row in rows[:_MOST])),
        element("caption", f"and {left} more") if left > 0 else "",
        style=_TABLE,
    )


def _chart(title: str, lines: Mapping[str, Sequence[float]]) -> Markup:
    """A small chart of lines over epochs."""
    wide, high, left, bottom = 300, 150, 48, 20
    values = [value for line in lines.values() for value in line if math.isfinite(value)]
    low, top = (min(values), max(values)) if values else (0.0, 1.0)
    span = (top - low) or 1.0
    count = max(len(line) for line in lines.values())

    def x(place: int) -> float:
        return left + (wide - left - 8) * (place / max(1, count - 1))

    def y(value: float) -> float:
        return 10 + (high - bottom - 10) * (1 - (value - low) / span)

    parts: list[Markup] = []
    for mark in (low, (low + top) / 2, top):
        at = round(y(mark), 1)
        parts.append(
            element("line", x1=left, x2=wide - 8, y1=at, y2=at, stroke="currentColor", opacity=0.15)
        )
        parts.append(_label(left - 6, at + 4, f"{mark:.3g}", "end"))
    for (label, line), colour in zip(lines.items(), _COLOURS):
        known = [(x(place), y(value)) for place, value in enumerate(line) if math.isfinite(value)]
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in known)
        parts.append(
            element("polyline", points=points, fill="none", stroke=colour, stroke_width=1.8)
        )
        if known:
            px, py = known[-1]
            parts.append(
                element("circle", element("title", label), cx=px, cy=py, r=2.6, fill=colour)
            )
    names = [
        element("span", f" {label}", style=f"color:{colour}")
        for label, colour in zip(lines, _COLOURS)
    ]
    parts.append(_label((left + wide) / 2, high - 3, "epoch", "middle"))
    drawing = element(
        "svg", *parts, viewBox=f"0 0 {wide} {high}", width=wide, height=high, role="img"
    )
    return element("figure", element("figcaption", element("b", title), *names), drawing)


def _label(x: float, y: float, text: str, anchor: str) -> Markup:
    return element(
        "text", text, x=x, y=y, font_size=11, fill="currentColor", opacity=0.7, text_anchor=anchor
    )
