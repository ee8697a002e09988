"""What was done, how fast and by whom; and a line that says so while it goes on."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

# Seconds between two lines: rewritten in a terminal, one below the other in a file.
_TERMINAL, _FILE = 0.2, 15.0


@dataclass
class Share:
    """What one worker has done.

    Attributes:
        images: how many.
        seconds: how long it has computed, reading included, waiting not.

    Examples:
        >>> cauce.distributed.Share(images=300, seconds=10.0).images_per_second
        30.0
    """

    images: int = 0
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """While it computed."""
        return self.images / self.seconds if self.seconds else 0.0


@dataclass(repr=False)
class Report:
    """What has been done so far.

    Attributes:
        images: results that were given, failed ones included.
        failed: how many of them are errors.
        seconds: since the first image was asked for, up to the last result.
        retried: how many times a batch was sent again since its worker was lost.
        workers: what each has done, by host and process.

    Examples:
        >>> report = cauce.distributed.Report(images=300, seconds=10.0)
        >>> report.count("node-1:2817", images=300, seconds=9.5)
        >>> report.images_per_second, report.workers["node-1:2817"].images
        (30.0, 300)
        >>> report.line(), report.line(total=1000)
        ('300 images in 10.0 s: 30.0 images/s', '300 of 1,000 images in 10.0 s: 30.0 images/s')
    """

    images: int = 0
    failed: int = 0
    seconds: float = 0.0
    retried: int = 0
    workers: dict[str, Share] = field(default_factory=dict)

    @property
    def images_per_second(self) -> float:
        """Over the whole time, that of whoever took the results included."""
        return self.images / self.seconds if self.seconds else 0.0

    def count(self, worker: str, images: int, seconds: float) -> None:
        """Note a batch that a worker has computed."""
        share = self.workers.setdefault(worker, Share())
        share.images += images
        share.seconds += seconds

    def line(self, total: int | None = None) -> str:
        """In one line."""
        of = f" of {total:,}" if total is not None and total != self.images else ""
        more = [f"{self.failed:,} failed"] if self.failed else []
        again = f"{self.retried:,} batch{'es' * (self.retried > 1)} sent again"
        more += [again] if self.retried else []
        return (
            ", ".join([f"{self.images:,}{of} images in {self.seconds:.1f} s", *more])
            + f": {self.images_per_second:.1f} images/s"
        )

    def __repr__(self) -> str:
        width = max([6, *map(len, self.workers)])
        lines = [self.line(), f"{'worker':{width}}    images    busy s  images/s"]
        for worker, share in sorted(self.workers.items()):
            numbers = f"{share.images:10,}{share.seconds:10.1f}{share.images_per_second:10.1f}"
            lines.append(f"{worker:{width}}{numbers}")
        return "\n".join(lines)


class Progress:
    """Says on standard error how far it is: in a terminal at one place, else now and then.

    Args:
        show: whether to.
        total: how many images there are, where that is known.
        stream: where to, instead.
    """

    def __init__(self, show: bool, total: int | None, stream: TextIO | None = None) -> None:
        self._stream = (stream or sys.stderr) if show else None
        self._total = total
        self._said = time.monotonic()

    def say(self, report: Report, last: bool = False) -> None:
        """Show a report, unless the one before was shown just now."""
        if self._stream is None:
            return
        terminal, now = self._stream.isatty(), time.monotonic()
        if not last and now - self._said < (_TERMINAL if terminal else _FILE):
            return
        self._said = now
        start = "\r\x1b[K" if terminal else ""
        end = "\n" if last or not terminal else ""
        print(f"{start}{report.line(self._total)}", end=end, file=self._stream, flush=True)
