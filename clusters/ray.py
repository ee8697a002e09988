"""Ray as an executor of ``concurrent.futures``."""

from __future__ import annotations

import concurrent.futures as futures
from collections.abc import Callable
from typing import Any, TypeVar

from ..ir.errors import MissingExtra, install
from ..ir.tracebacks import user_facing

T = TypeVar("T")


@user_facing
class RayExecutor(futures.Executor):
    """An executor whose calls are tasks of Ray; what ``map_images`` and others take as a client.

    ::

        ray.init(address="auto")
        executor = cauce.distributed.RayExecutor()
        for result in cauce.distributed.map_images(model, files, executor):
            ...
        executor.submit(work, files).result()
        executor.shutdown()

    Args:
        workers: how many calls are to run at a time; as many as the cluster has processors, where
            None.
        options: of ``ray.remote``: ``num_cpus``, ``memory``, ``resources``, ...

    Attributes:
        lost: what is raised for a call whose worker was lost.

    Raises:
        MissingExtra: Ray is not installed.
    """

    def __init__(self, workers: int | None = None, **options: Any) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtra("Ray is not installed", fix=install("ray")) from None
        if not ray.is_initialized():
            ray.init()
        self._max_workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        # What is lost is sent again by who has sent it, who counts how often.
        self._remote: Any = ray.remote(**{"max_retries": 0, **options})(_call)
        kinds = ray.exceptions
        self.lost = (kinds.WorkerCrashedError, kinds.NodeDiedError, kinds.OutOfMemoryError)
        self._futures: set[futures.Future[Any]] = set()

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        """Begin ``function(*args, **kwargs)`` as a task."""
        future: futures.Future[T] = self._remote.remote(function, args, kwargs).future()
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was submitted. Ray goes on; ``ray.shutdown()`` ends it."""
        if cancel_futures:
            for future in list(self._futures):
                future.cancel()
        if wait:
            futures.wait(list(self._futures))


def _call(function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    return function(*args, **kwargs)
