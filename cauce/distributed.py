"""Images on many workers: ``map_images``. Training on several ranks: ``mpi``.

Which engine the workers belong to is up to the user: processes of this machine, an executor of
``concurrent.futures`` (so joblib's loky, mpi4py's, Ray by :class:`RayExecutor`), or Dask.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from .clusters.dask import DaskWorkers, is_client
from .clusters.mapped import Mapped, Result
from .clusters.ordered import Item
from .clusters.pools import Here, Pool, Workers, processes
from .clusters.ray import RayExecutor
from .clusters.report import Progress, Report, Share
from .clusters.worker import packed
from .frontends.model import Model
from .ir.attributes import integer, optional, positive
from .ir.errors import AttributeMistake, TypeMismatch, need, shown
from .ir.tracebacks import user_facing
from .predicting import Classifier, Ranking, classification, is_image, known_preprocessing
from .training.mpi import mpi

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Mapped", "RayExecutor", "Report", "Result", "Share", "map_images", "mpi"]


@user_facing
def map_images(
    model: Model,
    files: Iterable[Any],
    client: Client | Executor | Callable[[], Executor] | None = None,
    batch: int = 32,
    *,
    top: int = 5,
    threads: int | None = None,
    workers: int | None = None,
    ahead: int = 2,
    retries: int = 2,
    errors: str = "raise",
    progress: bool = True,
) -> Mapped[Ranking]:
    """What is on each of many images, in order, computed by many workers.

    ::

        with cauce.distributed.map_images(model, files, client) as results:
            for file, classes, error in results:
                print(file, classes[0])
        print(results.report)

    Files are taken, read and computed as results are asked for: neither all files nor all results
    are in memory, and ``files`` may be a generator without an end. Workers read the files
    themselves, so they must find them under the same (absolute) names; arrays are sent. The model
    is sent to a worker once and compiled there once, by the cache of compiled code where that has
    it.

    Args:
        model: as for ``model.predict``, with ``model.preprocessing``.
        files: paths, or pixels as u8 of the shape [H, W] or [H, W, C].
        client: who computes:

            - None: this process, or ``workers`` new ones of this machine (which need, as all
              processes that are spawned, ``if __name__ == "__main__":`` in a script);
            - a ``distributed.Client`` of Dask;
            - an executor of ``concurrent.futures``, or what is like it: of processes, of threads,
              joblib's ``loky``, ``MPIPoolExecutor`` of mpi4py, :class:`RayExecutor`;
            - a function that makes an executor, which is called again when workers have died, and
              whose executor is shut down at the end.
        batch: how many images go to a worker at a time.
        top: how many classes of each image.
        threads: of native code, for each batch. By default all in this process, and these shared
            out among new ones; one for each worker of a client.
        workers: new processes; for a client the batches that it computes at a time, which are
            otherwise the threads of Dask's workers, or the workers of an executor.
        ahead: how many batches, for each that is computed at a time, may be taken from ``files``
            and not yet given back.
        retries: how many times a batch is sent again when its worker died. (Dask itself tries
            ``distributed.scheduler.allowed-failures`` times before, which counts as one.)
        errors: ``"raise"``, or ``"return"``: then a file that cannot be read, and all files of a
            batch whose workers died again and again, have a result with an ``error``.
        progress: whether to say on standard error how far it is.

    Returns:
        An iterator over :class:`~cauce.clusters.mapped.Result`: ``(file, found, error)``, with what
        ``model.predict(file, top)`` gives, and with a ``report``.

    Raises:
        GraphError: the model does not classify images, or not those of files.
        AttributeMistake, TypeMismatch: an argument that cannot be.
        MissingFile, DataError: by iterating, with ``errors="raise"``: no such file, or no image.
        WorkerLost: by iterating: a batch whose workers died, with ``errors="raise"``; or an
            executor that is broken and cannot be made again.

    Examples:
        >>> @cauce.network
        ... def net(image, classes=2):
        ...     return nn.linear(nn.flatten(image), classes)
        >>> model = net.init(image=("N", 3, 8, 8), seed=0)
        >>> model.preprocessing = cauce.Preprocessing(8, classes=("cat", "dog"))
        >>> photos = [np.zeros((9, 9, 3), np.uint8)] * 3
        >>> with cauce.distributed.map_images(model, photos, progress=False) as results:
        ...     print([sorted(name for name, _ in result.found) for result in results])
        [['cat', 'dog'], ['cat', 'dog'], ['cat', 'dog']]
    """
    need(model, Model, "map_images takes a Model", "make one with network.init(...) or load one")
    known_preprocessing(model, classification(model)[0])
    if isinstance(files, (str, os.PathLike)) or not isinstance(files, Iterable):
        raise TypeMismatch(
            f"files are several paths or arrays, got {shown(files)}",
            fix="write sorted(pathlib.Path('folder').glob('*.jpg')) for the files of a folder, "
            "[file] for a single one",
        )
    if errors not in ("raise", "return"):
        raise AttributeMistake(
            f"errors are raised or returned, got {shown(errors)}",
            fix="write errors='raise' or errors='return'",
        )
    batch, top, ahead = positive(batch, "batch"), positive(top, "top"), positive(ahead, "ahead")
    if integer(retries, "retries") < 0:
        raise AttributeMistake(
            f"retries must be at least 0, got {retries}", fix="write retries=0 to try once only"
        )
    threads = optional(positive)(threads, "threads")
    workers = optional(positive)(workers, "workers")
    pool = _pool(model, client, top, threads, workers)
    return Mapped(
        pool,
        _items(files, os.getcwd()),
        batch=batch,
        ahead=ahead if client is not None or workers is not None else 1,
        retries=retries,
        raises=errors == "raise",
        progress=Progress(progress, len(files) if isinstance(files, Sized) else None),
    )


def _pool(
    model: Model, client: Any, top: int, threads: int | None, workers: int | None
) -> Callable[[], Pool]:
    """What makes the pool, once the first result is asked for.

    Raises:
        TypeMismatch: no client.
    """
    if client is None and workers is None:
        return lambda: Here(Classifier(model, top, threads))
    if client is None and workers is not None:
        from .backends.llvm.runtime.threads import thread_count

        share = threads or max(1, thread_count(None) // workers)

        def spawned() -> Pool:
            Classifier(model, top, share)  # the processes find its code in the cache
            return Workers(processes(workers), *packed(Classifier, model, top, share), workers)

        return spawned
    if not (is_client(client) or isinstance(client, Executor) or callable(client)):
        raise TypeMismatch(
            f"a client is a distributed.Client, an executor of concurrent.futures, or a function "
            f"that makes one, got {shown(client)}",
            fix="write client=distributed.Client(cluster) for a cluster or an address of Dask",
        )
    kind = DaskWorkers if is_client(client) else Workers
    return lambda: kind(client, *packed(Classifier, model, top, threads or 1), workers)


def _items(files: Iterable[Any], folder: str) -> Iterator[Item]:
    """Files, as workers find them, who may be in another folder.

    Raises:
        TypeMismatch: something that is no file.
    """
    for file in files:
        if not is_image(file):
            raise TypeMismatch(
                f"a file is the path of an image, or its pixels as u8 [H, W, C], got {shown(file)}",
                fix="give paths, or arrays of bytes",
            )
        path = isinstance(file, (str, os.PathLike))
        yield Item(file, os.path.abspath(os.path.join(folder, file)) if path else file)
