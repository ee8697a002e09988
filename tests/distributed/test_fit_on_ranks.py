"""``Trainer.fit`` on several ranks: data, validation, checkpoints, and what goes wrong."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce.ir.communicator import Communicator
from cauce.ir.errors import AttributeMistake, GraphError, MissingExtra, TypeMismatch
from cauce.training import (
    Checkpoints,
    Dataset,
    EarlyStopping,
    Mixup,
    OneHot,
    RandomCrop,
    RandomHorizontalFlip,
    batches,
)
from tests.api.nets import shapes

from .ranks import ThreadRank, run_ranks
from .test_partial_batches import plain

AUGMENT = (OneHot(4), RandomCrop(6, padding=1), RandomHorizontalFlip(), Mixup(0.2))
DATA, TEST = shapes(38), shapes(13, seed=5)


def trainer(ranks: Communicator | None, seed: int = 7, weights: int = 1, **options: Any) -> Any:
    model = plain.init(image=("N", 1, 6, 6), seed=weights)
    made = {"target": "probabilities", "backend": "numpy", "distributed": ranks, **options}
    return cauce.Trainer(model, optimizer=cauce.Adam(0.01), seed=seed, **made)


def fit(made: Any, epochs: int = 2, data: Dataset = DATA, **options: Any) -> Any:
    made.fit(data, epochs, batch_size=9, augment=AUGMENT, progress=False, **options)
    return made.model.state_dict()


@pytest.mark.parametrize("augment", [AUGMENT, AUGMENT[:3], ()])
def test_the_parts_of_a_batch_are_the_batch(augment: Any) -> None:
    """Three ranks, and a last batch of two images."""
    call: Any = {"seed": 3, "epoch": 1, "augment": augment}
    whole = list(batches(DATA, 9, **call))
    parts = [list(batches(DATA, 9, **call, part=(rank, 3))) for rank in range(3)]
    for place, (images, labels) in enumerate(whole):
        own = [part[place] for part in parts]
        if len(images) == 2:
            own = own[1:]  # the first one's image is not its own
        np.testing.assert_array_equal(np.concatenate([part[0] for part in own]), images)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in own]), labels)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}])
def test_ranks_train_and_measure_as_one_does(options: dict[str, int]) -> None:
    one = trainer(None)
    weights = fit(one, validate=TEST)

    def work(rank: ThreadRank) -> tuple[Any, Any]:
        made = trainer(rank, **options)
        return fit(made, validate=TEST), made.history[-1]

    results = run_ranks(3, work)
    for own, epoch in results:
        for name, array in weights.items():
            np.testing.assert_allclose(own[name], array, atol=1e-5, err_msg=name)
            np.testing.assert_array_equal(own[name], results[0][0][name])
        for part in ("train", "validation"):
            measured, wanted = getattr(epoch, part), getattr(one.history[-1], part)
            assert measured == pytest.approx(wanted, rel=1e-5)
            assert measured == getattr(results[0][1], part)


def test_all_ranks_begin_with_the_weights_of_the_first() -> None:
    results = run_ranks(2, lambda rank: fit(trainer(rank, weights=rank.rank), 1))
    for name, array in results[0].items():
        np.testing.assert_array_equal(results[1][name], array)


def test_one_rank_writes_and_all_resume(tmp_path: Path) -> None:
    whole = run_ranks(2, lambda rank: fit(trainer(rank), 2))[0]

    def first(rank: ThreadRank) -> None:
        checkpoints = Checkpoints(tmp_path, every=2, best="accuracy")
        stopping = EarlyStopping(9)
        made = trainer(rank)
        options = {"checkpoints": checkpoints, "validate": TEST, "early_stopping": stopping}
        rate = made.step.optimizer.lr

        def stop(step: int) -> float:
            if step == 7:
                raise KeyboardInterrupt
            return rate

        with pytest.raises(KeyboardInterrupt):
            fit(made, lr=stop, **options)

    run_ranks(2, first)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "best.safetensors",
        "step-00000005.safetensors",
        "step-00000006.safetensors",
    ]

    def rest(rank: ThreadRank) -> Any:
        made = trainer(rank)
        assert made.resume(str(tmp_path))
        return fit(made)

    for arrays in run_ranks(2, rest):
        for name, array in whole.items():
            np.testing.assert_array_equal(arrays[name], array, err_msg=name)


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_run_goes_on_with_another_number_of_ranks(ranks: int, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    run_ranks(2, lambda rank: fit(trainer(rank), 1, checkpoints=checkpoints))
    whole = run_ranks(2, lambda rank: fit(trainer(rank), 2))[0]

    def rest(rank: ThreadRank) -> Any:
        made = trainer(None if ranks == 1 else rank)
        assert made.resume(tmp_path)
        made._resumed = None  # a second call, for the second epoch
        return fit(made, 1)

    with pytest.warns(UserWarning, match="not bit for bit"):
        results = run_ranks(ranks, rest)
    for name, array in whole.items():
        np.testing.assert_allclose(results[0][name], array, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(("ranks", "accumulate"), [(2, 1), (5, 2), (1, 3)])
def test_and_within_an_epoch(ranks: int, accumulate: int, tmp_path: Path) -> None:
    one = trainer(None)
    weights = fit(one, validate=TEST)

    def stop(step: int) -> float:
        if step == 7:  # the third batch of the second epoch
            raise KeyboardInterrupt
        return 0.01

    def first(rank: ThreadRank) -> None:
        with pytest.raises(KeyboardInterrupt):
            fit(trainer(rank), validate=TEST, lr=stop, checkpoints=Checkpoints(tmp_path, every=1))

    def rest(rank: ThreadRank) -> tuple[Any, Any]:
        made = trainer(rank, accumulate=accumulate)
        assert made.resume(tmp_path) and made._at.batch == 2
        return fit(made, validate=TEST), made.history[-1]

    run_ranks(3, first)
    with pytest.warns(UserWarning, match="not bit for bit"):
        own, epoch = run_ranks(ranks, rest)[0]
    for name, array in weights.items():
        np.testing.assert_allclose(own[name], array, atol=1e-5, err_msg=name)
    assert epoch.train == pytest.approx(one.history[-1].train, rel=1e-5)
    assert epoch.validation == pytest.approx(one.history[-1].validation, rel=1e-5)


def test_ranks_that_do_not_train_alike_are_told(tmp_path: Path) -> None:
    def work(rank: ThreadRank) -> str:
        data = DATA if rank.rank != 1 else DATA[:30]
        with pytest.raises(GraphError, match="do not train alike: not as rank 0 does rank 1") as e:
            fit(trainer(rank), data=data)
        return str(e.value)

    messages = run_ranks(3, work)
    assert "images was 38, is 30" in messages[1]


def test_a_loss_that_is_not_finite_on_one_rank_is_told_by_all() -> None:
    images = DATA.images.copy()
    images[5] = np.inf  # one image, which one rank has
    bad = Dataset(images, DATA.labels, DATA.classes)

    def work(rank: ThreadRank) -> str:
        with pytest.raises(GraphError, match="the loss is nan in epoch 1") as caught:
            fit(trainer(rank), data=bad)
        return str(caught.value).splitlines()[0]

    assert len(set(run_ranks(3, work))) == 1


def test_a_checkpoint_that_cannot_be_written_is_told_by_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    def work(rank: ThreadRank) -> None:
        with pytest.raises(OSError):
            fit(trainer(rank), checkpoints=Checkpoints(tmp_path / "file" / "run"))

    run_ranks(2, work)


def test_what_is_no_rank_is_refused() -> None:
    with pytest.raises(TypeMismatch, match=r"distributed= takes ranks.*got 4"):
        trainer(4)  # type: ignore[arg-type]
    with pytest.raises(AttributeMistake, match="sync_batch_norm"):
        trainer(None, sync_batch_norm="yes")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"epochs": 3}, "epochs was 2, is 3"),
        ({"lr": 0.5}, "lr was 0.01, is 0.5"),
        ({"validate": TEST}, "validate was 'none', is 'Dataset"),
        ({"early_stopping": EarlyStopping(2), "validate": TEST}, "early_stopping was 'None'"),
        ({"data": Dataset(DATA.images, DATA.labels[::-1], DATA.classes)}, "train was 'Dataset"),
        ({"data": Dataset(-DATA.images, DATA.labels, DATA.classes)}, "train was 'Dataset"),
    ],
)
def test_all_ranks_are_told_what_one_does_otherwise(changed: Any, says: str) -> None:
    def work(rank: ThreadRank) -> str:
        with pytest.raises(GraphError, match="rank 0 does rank 1, where") as caught:
            fit(trainer(rank), **(changed if rank.rank == 1 else {}))
        return str(caught.value)

    assert all(says in message for message in run_ranks(3, work))


def test_checkpoints_for_rank_0_alone_are_refused(tmp_path: Path) -> None:
    def work(rank: ThreadRank) -> None:
        checkpoints = Checkpoints(tmp_path) if rank.rank == 0 else None
        with pytest.raises(GraphError, match=r"rank 1, 2, where checkpoints was Checkpoints"):
            fit(trainer(rank), checkpoints=checkpoints)

    run_ranks(3, work)


def test_checkpoints_may_lie_in_a_folder_of_each_rank(tmp_path: Path) -> None:
    run_ranks(
        2, lambda rank: fit(trainer(rank), 1, checkpoints=Checkpoints(tmp_path / str(rank.rank)))
    )
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_other_data_to_measure_are_told() -> None:
    def work(rank: ThreadRank) -> None:
        made = trainer(rank, target="classes")
        with pytest.raises(
            GraphError, match=r"do not evaluate alike: .* rank 1, where dataset was"
        ):
            made.evaluate(TEST if rank.rank != 1 else TEST[:12])

    run_ranks(2, work)


def test_ranks_whose_weights_part_are_told() -> None:
    """By a rate that a rank draws for itself, say."""

    def work(rank: ThreadRank) -> None:
        rate = lambda step: 0.01 * (1 + rank.rank * (step > 2))  # noqa: E731
        with pytest.raises(GraphError, match=r"do not go on alike: .* rank 1, where"):
            fit(trainer(rank), lr=rate)

    run_ranks(2, work)


def test_another_call_of_rank_0_is_told(tmp_path: Path) -> None:
    def work(rank: ThreadRank) -> None:
        made = trainer(rank)
        if rank.rank == 0:
            made.resume(tmp_path)
        else:
            with pytest.raises(GraphError, match="rank 1 is to train, and rank 0 to resume"):
                fit(made)

    run_ranks(2, work)


class Odd(Exception):
    """Cannot be pickled, not even where other packages teach pickle exceptions."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.lock = threading.Lock()


def test_an_error_that_cannot_be_pickled_is_told_all_the_same() -> None:
    def fail() -> None:
        raise Odd("a disk that is full")

    def work(rank: ThreadRank) -> None:
        kind = Odd if rank.rank == 0 else RuntimeError
        with pytest.raises(kind, match="a disk that is full"):
            rank.on_first(fail)

    run_ranks(2, work)


def test_what_is_not_installed_is_named_at_the_line_of_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package, call in (
        ("mpi4py", cauce.distributed.mpi),
        ("ray", cauce.distributed.RayExecutor),
    ):
        monkeypatch.setattr(cauce.training.mpi, "_ranks", None)
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=f"pip install '?{package}") as caught:
            call()
        assert [entry.path for entry in caught.traceback][-1] == Path(__file__)
        assert caught.value.__suppress_context__
