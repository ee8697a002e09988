"""``map_images`` on Dask: in threads of this process, and in processes that die."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cauce.clusters import worker
from cauce.clusters.dask import DaskWorkers
from cauce.clusters.mapped import Mapped
from cauce.clusters.ordered import Item
from cauce.clusters.report import Progress
from cauce.clusters.worker import packed
from cauce.distributed import map_images
from cauce.ir.errors import DataError, TypeMismatch, WorkerLost

from .calls import OPENED, PIXELS, failing, gated, killed_at, model, rankings, squares

if TYPE_CHECKING:
    from distributed import Client, LocalCluster
else:
    distributed = pytest.importorskip("distributed")
    Client, LocalCluster = distributed.Client, distributed.LocalCluster

pytest.importorskip("PIL")


@pytest.fixture
def client() -> Iterator[Client]:
    """Two workers of one thread each, in this process."""
    with (
        LocalCluster(
            n_workers=2, processes=False, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as made,
    ):
        yield made


def mapped(client: Client, call: Any, count: int, **options: Any) -> Mapped[int]:
    items = (Item(number, number) for number in range(count))
    options = {"batch": 3, "ahead": 2, "retries": 1, "raises": True, **options}
    pool = lambda: DaskWorkers(client, *packed(*call))  # noqa: E731
    return Mapped(pool, items, progress=Progress(False, None), **options)


def until(true: Callable[[], bool]) -> bool:
    """Whether something becomes true, which other threads see to."""
    for _ in range(500):
        if true():
            return True
        time.sleep(0.02)
    return False


def plugins(client: Client) -> list[str]:
    def of(dask_scheduler: Any) -> list[str]:
        return [name for name in dask_scheduler.worker_plugins if name.startswith("cauce-")]

    return client.run_on_scheduler(of)


def test_a_cluster_gives_what_predict_gives(client: Client) -> None:
    net = model()
    results = map_images(net, PIXELS, client, batch=3, progress=False)
    assert [result.found for result in results] == rankings(net)
    assert results.report.images == 20


def test_workers_are_sent_a_model_once_and_keep_the_last(client: Client) -> None:
    for seed in (1, 1, 2):
        net = model(seed)
        results = map_images(net, PIXELS, client, progress=False)
        assert [result.found for result in results] == rankings(net)
        assert len(plugins(client)) == 1
    worker._SENT.clear()
    worker._CALLS.clear()
    results = map_images(net, PIXELS, client, progress=False)  # sent with the batches, then
    assert [result.found for result in results] == rankings(net)


def test_a_worker_that_joins_is_sent_it_too(client: Client) -> None:
    results = mapped(client, (squares,), 60)
    first = next(results)
    worker._SENT.clear()
    worker._CALLS.clear()
    client.cluster.scale(3)
    client.wait_for_workers(3)
    assert until(lambda: len(worker._SENT) == 1)
    assert [first.found, *(result.found for result in results)] == [k**2 for k in range(60)]


def test_leaving_early_leaves_nothing_behind(client: Client) -> None:
    def tasks(dask_scheduler: Any) -> int:
        return len(dask_scheduler.tasks)

    try:
        with mapped(client, (gated,), 10**9) as results:
            assert next(results).found == 0
            assert until(lambda: client.run_on_scheduler(tasks) > 2)  # more than workers are at
        assert until(lambda: client.run_on_scheduler(tasks) == 0)
    finally:
        OPENED.set()


def test_an_error_of_a_worker_arrives(client: Client) -> None:
    with pytest.raises(DataError, match="no such thing"):
        list(mapped(client, (failing, missing), 6))
    with pytest.raises(WorkerLost, match="lost 2 times: ConnectionError"):
        list(mapped(client, (failing, ConnectionError), 6))


def missing() -> Exception:
    return DataError("no such thing")


def test_a_client_for_coroutines_is_refused() -> None:
    async def ask() -> None:
        cluster = await LocalCluster(
            n_workers=1, processes=False, dashboard_address=":0", asynchronous=True
        )
        async with cluster, Client(cluster, asynchronous=True) as client:
            with pytest.raises(TypeMismatch, match="for coroutines"):
                list(map_images(model(), PIXELS, client, progress=False))

    asyncio.run(ask())


@pytest.mark.slow
def test_workers_that_die_are_made_up_for(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        net = model()
        results = map_images(net, PIXELS, client, batch=3, progress=False)
        assert [result.found for result in results] == rankings(net)
        assert worker.name() not in results.report.workers
        # Dask starts the worker again, which is sent the call again, and the batch.
        again = mapped(client, (killed_at, 7, folder, 1), 30)
        assert [result.found for result in again] == [k**2 for k in range(30)]
        lost = list(mapped(client, (killed_at, 7, folder, 99), 30, retries=0, raises=False))
        assert [k for k, result in enumerate(lost) if result.error] == [6, 7, 8]
        assert "KilledWorker" in str(lost[7].error)
