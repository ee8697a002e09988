"""``cauce.distributed.map_images`` in this process and in executors of the standard library."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce.clusters import worker
from cauce.distributed import map_images
from cauce.ir.errors import (
    AttributeMistake,
    DataError,
    GraphError,
    MissingFile,
    ShapeError,
    TypeMismatch,
    WorkerLost,
)

from .calls import PIXELS, model, rankings

pytest.importorskip("PIL")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    from PIL import Image

    paths = [tmp_path / f"{number:02}.png" for number in range(len(PIXELS))]
    for path, pixels in zip(paths, PIXELS):
        Image.fromarray(pixels).save(path)
    return paths


def found(results: Any) -> list[Any]:
    return [result.found for result in results]


def test_files_and_pixels_give_what_predict_gives(photos: list[Path]) -> None:
    net = model()
    wanted = rankings(net)
    for files in (photos, [str(path) for path in photos], PIXELS, iter(photos)):
        results = map_images(net, files, batch=8, progress=False)
        assert found(results) == wanted
    assert [r.file for r in map_images(net, photos, progress=False)] == photos
    (best,) = next(map_images(net, photos, top=1, progress=False)).found or []
    assert best == wanted[0][0]


def test_files_are_found_from_another_folder(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos[0].parent)
    names = [path.name for path in photos]
    with ThreadPoolExecutor(1) as executor:
        results = map_images(model(), names, executor, batch=4, progress=False)
        first = next(results)
        monkeypatch.chdir("/")
        rest = list(results)
    assert [result.file for result in (first, *rest)] == names
    assert [result.error for result in rest] == [None] * 19


@pytest.mark.parametrize("shape", [("N", 3, 4, 4), (3, 3, 4, 4)])
def test_batches_of_any_size(shape: Any) -> None:
    from .calls import net

    made = net.init(image=shape, seed=1)
    made.preprocessing = cauce.Preprocessing(4)
    wanted = rankings(made)
    for batch in (1, 7, 64):
        assert found(map_images(made, PIXELS, batch=batch, progress=False)) == wanted


def test_threads_share_one_model() -> None:
    net = model()
    with ThreadPoolExecutor(3) as executor:
        results = map_images(net, PIXELS, executor, batch=2, progress=False)
        assert found(results) == rankings(net)
    assert len(results.report.workers) == 1
    assert results.report.images == 20 == sum(s.images for s in results.report.workers.values())


def test_new_weights_are_another_model() -> None:
    with ThreadPoolExecutor(1) as executor:
        for seed in (1, 2):
            net = model(seed)
            assert found(map_images(net, PIXELS, executor, progress=False)) == rankings(net)
        net.load_state_dict(model(3).state_dict())
        assert found(map_images(net, PIXELS, executor, progress=False)) == rankings(model(3))


@pytest.mark.slow
@pytest.mark.parametrize("threads", [None, 2])
def test_new_processes(photos: list[Path], threads: int | None) -> None:
    net = model()
    results = map_images(net, photos, workers=2, threads=threads, batch=2, progress=False)
    assert found(results) == rankings(net)
    assert 1 <= len(results.report.workers) <= 2
    assert worker.name() not in results.report.workers


# ---- files that cannot be read -----------------------------------------------------------------


def broken(photos: list[Path]) -> list[Any]:
    photos[3].write_bytes(photos[3].read_bytes()[:60])
    photos[5].write_text("no image")
    return [*photos[:8], photos[0].parent / "no.png", PIXELS[0][0, 0], PIXELS[9]]


def test_a_file_that_cannot_be_read_fails_alone(photos: list[Path]) -> None:
    net = model()
    files = broken(photos)
    results = list(map_images(net, files, batch=4, errors="return", progress=False))
    kinds = {3: DataError, 5: DataError, 8: MissingFile, 9: ShapeError}
    assert {k: type(r.error) for k, r in enumerate(results) if r.error} == kinds
    wanted = rankings(net)
    for number, result in enumerate(results):
        assert result.found == (None if number in kinds else wanted[min(number, 9)]), number


def test_or_stops_what_comes_after(photos: list[Path]) -> None:
    results = map_images(model(), broken(photos), batch=2, progress=False)
    assert [next(results).error for _ in range(3)] == [None] * 3
    with pytest.raises(DataError, match=r"03\.png"):
        next(results)
    assert list(results) == []
    assert (results.report.images, results.report.failed) == (4, 1)


def test_a_batch_of_nothing_but_broken_files(tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    results = map_images(model(), files, batch=2, errors="return", progress=False)
    assert [type(result.error) for result in results] == [MissingFile] * 2


def test_no_files_no_results() -> None:
    with ThreadPoolExecutor(2) as executor:
        for files in ([], iter(())):
            results = map_images(model(), files, executor, progress=False)
            assert list(results) == []
            assert (results.report.images, results.report.images_per_second) == (0, 0.0)


def test_a_name_may_come_twice(photos: list[Path]) -> None:
    net = model()
    files = [photos[2], photos[0], photos[2], photos[2]]
    with ThreadPoolExecutor(2) as executor:
        results = list(map_images(net, files, executor, batch=3, progress=False))
    assert [result.file for result in results] == files
    assert found(results) == rankings(net, [PIXELS[k] for k in (2, 0, 2, 2)])


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0), (0, 0, 1)])
def test_an_image_without_a_pixel_fails_alone(shape: tuple[int, ...]) -> None:
    files = [PIXELS[0], np.zeros(shape, np.uint8), PIXELS[1]]
    results = list(map_images(model(), files, errors="return", progress=False))
    assert [type(result.error) for result in results] == [type(None), ShapeError, type(None)]


@pytest.mark.parametrize("batch", [1, 4])
def test_an_error_of_the_files_comes_after_the_results_before_it(batch: int) -> None:
    def files() -> Iterator[Any]:
        yield from PIXELS[:6]
        raise KeyError("a disk that is gone")

    net = model()
    with ThreadPoolExecutor(3) as executor:
        results = map_images(net, files(), executor, batch=batch, progress=False)
        assert [next(results).found for _ in range(6)] == rankings(net, PIXELS[:6])
        with pytest.raises(KeyError, match="gone"):
            next(results)


def test_an_executor_that_was_shut_down() -> None:
    with ThreadPoolExecutor(1) as executor:
        results = map_images(model(), PIXELS, executor, batch=2, progress=False)
        next(results)
    with pytest.raises(WorkerLost, match=r"takes no work(.|\n)*within its with block"):
        list(results)


def test_what_makes_no_executor() -> None:
    with pytest.raises(TypeMismatch, match="makes no executor, but 3"):
        list(map_images(model(), PIXELS, lambda: 3, progress=False))  # type: ignore[arg-type,return-value]


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"files": "a.png"}, TypeMismatch, r"several paths(.|\n)*\[file\]"),
        ({"files": 3}, TypeMismatch, "several paths"),
        ({"client": "tcp://host:8786"}, TypeMismatch, r"client=distributed\.Client"),
        ({"batch": 0}, AttributeMistake, "batch must be an int of at least 1"),
        ({"retries": -1}, AttributeMistake, "at least 0"),
        ({"workers": 1.5}, AttributeMistake, "workers"),
        ({"errors": "ignore"}, AttributeMistake, "errors='return'"),
        ({"model": None}, TypeMismatch, "takes a Model"),
    ],
)
def test_mistakes_are_found_before_work_begins(
    changed: dict[str, Any], error: type[Exception], says: str
) -> None:
    given = {"model": model(), "files": PIXELS, **changed}
    with pytest.raises(error, match=says):
        map_images(**given)


def test_what_is_no_file_is_found_when_it_is_its_turn() -> None:
    results = map_images(model(), [PIXELS[0], 7], batch=1, progress=False)
    assert next(results).error is None
    with pytest.raises(TypeMismatch, match=r"a file is the path of an image, .* got 7"):
        next(results)


def test_a_model_that_does_not_know_its_images() -> None:
    net = model()
    net.preprocessing = None
    with pytest.raises(GraphError, match="it is not known how an image becomes"):
        map_images(net, PIXELS)


def test_what_is_wrong_with_every_image_is_raised() -> None:
    from dataclasses import replace

    net = model()
    assert net.preprocessing is not None
    net.preprocessing = replace(net.preprocessing, scale=None)
    with pytest.raises(DataError, match="it is not known what becomes of a pixel"):
        list(map_images(net, PIXELS, errors="return", progress=False))


def test_floats_are_no_pixels() -> None:
    with pytest.raises(TypeMismatch, match="arrays of bytes"):
        list(map_images(model(), [np.zeros((4, 4, 3), np.float32)], progress=False))
