"""Models and executables through engines that others have written, and images by ``map_images``.

``multiprocessing`` and ``concurrent.futures``, forked and spawned, are in
``tests/api/test_processes.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce.backends.executable import Executable
from cauce.distributed import RayExecutor, map_images
from cauce.ir import Array
from cauce.ir.errors import MissingExtra, WorkerLost

from .calls import PIXELS, failing, killed_at, model, rankings
from .test_ordered import mapped

X = np.random.default_rng(3).random((5, 3, 4, 4), np.float32)


def outputs(predict: Executable, made: cauce.Model) -> tuple[Array, Array, list[Any], int]:
    """What both give in the process of an engine, and that process."""
    return predict(X), cauce.compile(made)(X), made.predict(X), os.getpid()


def check(given: tuple[Array, Array, list[Any], int], apart: bool = True) -> None:
    wanted = outputs(cauce.compile(model()), model())
    np.testing.assert_array_equal(given[0], wanted[0])
    np.testing.assert_array_equal(given[1], wanted[1])
    assert given[2] == wanted[2]
    assert (given[3] != wanted[3]) == apart


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(backend: str) -> None:
    joblib = pytest.importorskip("joblib")
    made = model()
    predict = cauce.compile(made)
    parallel = joblib.Parallel(n_jobs=2, backend=backend)
    for given in parallel(joblib.delayed(outputs)(predict, made) for _ in range(4)):
        check(given, apart=backend != "threading")


@pytest.mark.slow
def test_images_on_loky() -> None:
    pytest.importorskip("PIL")
    loky = pytest.importorskip("joblib.externals.loky")
    net = model()
    results = map_images(
        net, PIXELS, lambda: loky.get_reusable_executor(2), batch=3, progress=False
    )
    assert [result.found for result in results] == rankings(net)


@pytest.mark.slow
def test_dask() -> None:
    distributed = pytest.importorskip("distributed")
    made = model()
    predict = cauce.compile(made)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        check(client.submit(outputs, predict, made).result())
        sent = client.scatter(predict, broadcast=True)
        check(client.submit(outputs, sent, made).result())


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    found = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("PYTHONPATH", os.getcwd())
        found.init(num_cpus=2, include_dashboard=False, configure_logging=False)
        yield found
        found.shutdown()


@pytest.mark.slow
def test_ray(ray: Any) -> None:
    made = model()
    predict = cauce.compile(made)
    check(ray.get(ray.remote(outputs).remote(predict, made)))
    check(ray.get(ray.remote(outputs).remote(ray.put(predict), ray.put(made))))
    pool = ray.util.ActorPool([ray.remote(Holder).remote(predict, made) for _ in range(2)])
    for given in pool.map(lambda holder, _: holder.outputs.remote(), range(4)):
        check(given)


class Holder:
    """An actor that has a model."""

    def __init__(self, predict: Executable, made: cauce.Model) -> None:
        self.given = predict, made

    def outputs(self) -> Any:
        return outputs(*self.given)


@pytest.mark.slow
def test_images_on_ray(ray: Any) -> None:
    pytest.importorskip("PIL")
    net = model()
    with RayExecutor() as executor:
        results = map_images(net, PIXELS, executor, batch=3, progress=False)
        assert [result.found for result in results] == rankings(net)
        with pytest.raises(ZeroDivisionError):
            executor.submit(failing(ZeroDivisionError), [1]).result()


def check_deaths(executor: Any, folder: Path) -> None:
    """A worker that dies once is made up for; a batch that kills each is given up, and it alone."""
    for times in (1, 99):
        own = folder / str(times)
        own.mkdir()
        call = (killed_at, 7, str(own), times)
        found = list(mapped(executor, call, range(30), retries=1, raises=False))
        lost = [number for number, result in enumerate(found) if result.error]
        assert lost == ([] if times == 1 else [6, 7, 8])
        assert all(r.found == k**2 for k, r in enumerate(found) if k not in lost)
        assert all(isinstance(found[number].error, WorkerLost) for number in lost)


@pytest.mark.slow
def test_workers_of_ray_that_die(ray: Any, tmp_path: Path) -> None:
    with RayExecutor() as executor:
        check_deaths(executor, tmp_path)


@pytest.mark.slow
def test_workers_of_loky_that_die(tmp_path: Path) -> None:
    loky = pytest.importorskip("joblib.externals.loky")
    check_deaths(lambda: loky.get_reusable_executor(2), tmp_path)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install '?ray"):
        RayExecutor()


MPI = """
import sys
from mpi4py.futures import MPIPoolExecutor
from cauce.distributed import map_images
from tests.clusters.calls import PIXELS, model, rankings

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        results = map_images(model(), PIXELS, executor, batch=3, progress=False)
        same = [result.found for result in results] == rankings(model())
        print(same, executor.num_workers, results.report.images)
"""


@pytest.mark.slow
def test_images_on_mpi(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    pytest.importorskip("mpi4py")
    if shutil.which("mpiexec") is None:
        pytest.skip("no mpiexec: apt-get install openmpi-bin")
    (tmp_path / "script.py").write_text(MPI)
    known = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(
        [
            *("mpiexec", "--oversubscribe", "-n", "3"),
            *(sys.executable, "-m", "mpi4py.futures", str(tmp_path / "script.py")),
        ],
        env={**os.environ, **known, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["True", "2", "20"], done.stderr
