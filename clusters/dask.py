"""The workers of a Dask cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..ir.errors import TypeMismatch
from .pools import Future, Pool
from .worker import drop, keep, work

if TYPE_CHECKING:
    from distributed import Client, Worker, WorkerPlugin

# Seconds for which a count of threads is taken to be true.
_FRESH = 1.0

# The digest of the call that the workers of a client keep.
_KEPT: WeakKeyDictionary[Client, str] = WeakKeyDictionary()


def is_client(client: object) -> bool:
    """Whether it is a client of Dask; does not import Dask."""
    return any(
        kind.__name__ == "Client" and kind.__module__.partition(".")[0] == "distributed"
        for kind in type(client).__mro__
    )


class DaskWorkers(Pool):
    """The threads of the workers of a cluster, those included that join later.

    The call is a plugin of the cluster: the scheduler sends it once to each worker, and to each
    that joins or starts again, before that computes anything. It stays until the client sends
    another one.

    Args:
        client: of the cluster.
        digest, content: the call, as :func:`~cauce.clusters.worker.packed` gives it.
        count: batches at a time, instead of one for each thread.

    Raises:
        TypeMismatch: a client for coroutines.
    """

    def __init__(
        self, client: Client, digest: str, content: bytes, count: int | None = None
    ) -> None:
        if client.asynchronous:
            raise TypeMismatch(
                "this client of Dask is for coroutines", fix="make another one: Client(address)"
            )
        from distributed import KilledWorker

        # All that wait for a worker count as what it died of.
        self.lost_with_others = (KilledWorker,)
        self._client = client
        self._digest = digest
        self._content = content
        self._count = count
        self._counted = -_FRESH
        self._threads = 1
        self._executor = client.get_executor(pure=False)
        known = _KEPT.get(client)
        if known != digest:
            if known is not None:
                client.unregister_worker_plugin(_name(known))
            client.register_plugin(_plugin(digest, content), name=_name(digest))
            _KEPT[client] = digest

    def slots(self) -> int:
        if self._count:
            return self._count
        if time.monotonic() - self._counted >= _FRESH:
            self._threads = max(1, sum(self._client.nthreads().values()))
            self._counted = time.monotonic()
        return self._threads

    def submit(self, items: Sequence[Any], send: bool) -> Future:
        content = self._content if send else None
        future: Future = self._executor.submit(work, self._digest, content, items)
        return future

    def cancel(self, future: Future) -> None:
        """All are cancelled by :meth:`close`."""

    def close(self) -> None:
        self._executor.shutdown(wait=False)


def _name(digest: str) -> str:
    return f"cauce-{digest}"


def _plugin(digest: str, content: bytes) -> WorkerPlugin:
    """Has workers keep a call. The class is made here, since its base is Dask's."""
    from distributed import WorkerPlugin

    class KeepCall(WorkerPlugin):
        def setup(self, worker: Worker) -> None:
            keep(digest, content)

        def teardown(self, worker: Worker) -> None:
            drop(digest)

    return KeepCall()
