"""Results in order, one at a time: what ``map_images`` gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Self, TypeVar

from ..ir.tracebacks import user_facing
from .ordered import Item, Ordered
from .pools import Pool
from .report import Progress, Report
from .worker import Done

T = TypeVar("T")


class Result(NamedTuple, Generic[T]):
    """What became of one file.

    Attributes:
        file: as it was given: a path, or an array.
        found: what the model says of it; None where that failed.
        error: why it failed; None where it did not.

    Examples:
        >>> file, found, error = cauce.distributed.Result("a.jpg", [("cat", 0.9)], None)
        >>> file, found[0], error
        ('a.jpg', ('cat', 0.9), None)
    """

    file: Any
    found: T | None
    error: Exception | None


@user_facing
class Mapped(Iterator[Result[T]]):
    """An iterator over the results of many files, in the order of the files.

    It computes while it is iterated over. It need not be closed when it has come to its end; to
    leave before, close it, or use it in a ``with`` statement.

    Attributes:
        report: how much was done, by whom and how fast: so far, and at the end in all.

    Args:
        pool: computes; it is made when the first result is asked for.
        items: the files.
        batch: how many go to a worker at a time.
        ahead: batches under way for each that is computed at a time.
        retries: how many times a batch is sent again whose worker was lost.
        raises: whether the error of a file is raised, instead of given in its result.
        progress: says how far it is.

    Raises:
        MissingFile, DataError: by iterating: no such file, or no image of a shape and dtype that
            the model takes; unless errors are given in results.
        WorkerLost: by iterating: the workers of a batch died.

    Examples:
        >>> @cauce.network
        ... def net(image, classes=2):
        ...     return nn.linear(nn.flatten(image), classes)
        >>> model = net.init(image=("N", 1, 4, 4), seed=0)
        >>> model.preprocessing = cauce.Preprocessing(4, channels="L")
        >>> photos = (np.full((4, 4), grey, np.uint8) for grey in range(100))
        >>> results = cauce.distributed.map_images(model, photos, batch=8, progress=False)
        >>> next(results).error is None, results.report.images
        (True, 1)
        >>> results.close()
    """

    def __init__(
        self,
        pool: Callable[[], Pool],
        items: Iterable[Item],
        *,
        batch: int,
        ahead: int,
        retries: int,
        raises: bool,
        progress: Progress,
    ) -> None:
        self.report = Report()
        self._raises = raises
        self._progress = progress
        self._results = self._run(pool, iter(items), batch, ahead, retries)

    @user_facing
    def __next__(self) -> Result[T]:
        return next(self._results)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.report.line()}>"

    def close(self) -> None:
        """Give no more results; workers finish the batches that they are at, and begin no other."""
        self._results.close()

    def _run(
        self,
        pool: Callable[[], Pool],
        items: Iterator[Item],
        batch: int,
        ahead: int,
        retries: int,
    ) -> Generator[Result[T], None, None]:
        report, start = self.report, time.perf_counter()
        workers = pool()
        ordered = Ordered(workers, _batches(items, batch), ahead, retries, report)
        try:
            for group, done in ordered:
                results: Sequence[Any]
                if isinstance(done, Done):
                    report.count(done.worker, len(group), done.seconds)
                    results = done.results
                else:
                    results = [done] * len(group)
                for item, found in zip(group, results):
                    failed = isinstance(found, Exception)
                    report.images += 1
                    report.failed += failed
                    report.seconds = time.perf_counter() - start
                    self._progress.say(report)
                    if failed and self._raises:
                        raise found
                    yield Result(item.given, None if failed else found, found if failed else None)
        finally:
            ordered.cancel()
            workers.close()
            self._progress.say(report, last=True)


def _batches(items: Iterator[Item], size: int) -> Iterator[Sequence[Item]]:
    """Items in batches; those that were taken before an error of theirs come before it."""
    group: list[Item] = []
    try:
        for item in items:
            group.append(item)
            if len(group) == size:
                full, group = group, []
                yield full
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group
