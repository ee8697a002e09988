"""What a call took, or the median of several, node by node, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median
from typing import overload

from ..ir.display import html_of
from ..ir.text import table
from .contract import NodeTime

COLUMNS = ("node", "op", "ms", "GFLOP", "GFLOP/s", "MB", "share")


class Profile(Sequence[NodeTime]):
    """The time of every node of a call, in the order in which they ran; prints as a table.

    What ran under one path as one op is one row: so are the pieces of a batch that ran after one
    another. The time of a row is the median over the runs.

    Args:
        runs: the times of each run, as the program noted them.

    Attributes:
        seconds: the sum of the rows.

    Examples:
        >>> model = models.lenet5.init(image=("N", 1, 28, 28))
        >>> rows = cauce.compile(model, "numpy").profile(np.zeros((1, 1, 28, 28), np.float32))
        >>> rows[0].path, rows[0].op, rows[0].flops, len(rows)
        ('c1', 'conv2d', 239904, 12)
        >>> rows.total.flops == sum(row.flops for row in rows)
        True
    """

    def __init__(self, *runs: Iterable[NodeTime]) -> None:
        tables = [_rows(times) for times in runs]
        rows = [_median([table[key] for table in tables]) for key in tables[0]]
        self.seconds = sum(row.seconds for row in rows)
        self._rows = [row.within(self.seconds) for row in rows]

    @overload
    def __getitem__(self, place: int) -> NodeTime: ...
    @overload
    def __getitem__(self, place: slice) -> list[NodeTime]: ...

    def __getitem__(self, place: int | slice) -> NodeTime | list[NodeTime]:
        return self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)

    def _repr_html_(self) -> str | None:
        """The table for a notebook, with bars."""
        return html_of("profile", self)

    def __repr__(self) -> str:
        work = f"{self.total.flops / 1e9:.3f} GFLOP"
        return f"<Profile of {len(self)} nodes: {self.seconds * 1e3:.3f} ms, {work}>"

    def __str__(self) -> str:
        """The table; its last line is the sum."""
        return table([COLUMNS, *(row.cells for row in (*self, self.total))], names=2)

    @property
    def total(self) -> NodeTime:
        """The sum of the rows."""
        flops, moved = sum(row.flops for row in self), sum(row.bytes for row in self)
        return NodeTime("total", "", self.seconds, flops, moved).within(self.seconds)


def _rows(times: Iterable[NodeTime]) -> dict[tuple[str, str], NodeTime]:
    """One row for each path and op."""
    rows: dict[tuple[str, str], NodeTime] = {}
    for time in times:
        key = (time.path, time.op)
        rows[key] = rows[key] + time if key in rows else time
    return rows


def _median(rows: Sequence[NodeTime]) -> NodeTime:
    """The row of a node from that of each run, which differ in their times alone."""
    return replace(rows[0], seconds=median(row.seconds for row in rows))
