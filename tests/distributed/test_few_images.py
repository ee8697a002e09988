"""Fewer images than ranks want: batch norms of one value, ranks without images, odd counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.frontends.tensor import Tensor
from cauce.ir.communicator import Communicator
from cauce.ir.errors import AttributeMistake, ShapeError
from tests.api.nets import shapes

from .ranks import ThreadRank, run_ranks
from .test_partial_batches import normed, plain

DATA = shapes(10)
ONE = "one value for each channel"


@cauce.network
def rows(image: Tensor) -> Tensor:
    """What the batch norm sees of an image is a single pixel."""
    return nn.linear(nn.batch_norm(nn.linear(nn.flatten(image), 4)), 3)


def trainer(network: Any, ranks: Communicator | None, **options: Any) -> cauce.Trainer:
    model = network.init(image=("N", 1, 6, 6), seed=1)
    return cauce.Trainer(model, backend="numpy", distributed=ranks, **options)


def steps(made: cauce.Trainer) -> int:
    return made._at.step


@pytest.mark.parametrize(
    ("size", "options", "says"),
    [
        # 10 images: a last batch of 2 has one for each of two ranks.
        (4, {}, rf"{ONE} in f32\[1,4\], all that rank 0 has of a batch of 2"),
        (4, {"accumulate": 2}, rf"{ONE} in f32\[1,4\], all that rank 0 has of a batch of 4"),
        (3, {"sync_batch_norm": True}, rf"{ONE} in f32\[1,4\]: there is no variance"),
        (3, {}, f"{ONE}.* all that rank 0 has of a batch of 3"),
        (3, {"accumulate": 2, "sync_batch_norm": True}, f"{ONE}.* a part of a batch of 3"),
    ],
)
def test_a_batch_norm_of_one_value_is_refused_before_the_first_step(
    size: int, options: Any, says: str
) -> None:
    def work(rank: ThreadRank) -> str:
        made = trainer(rows, rank, **options)
        with pytest.raises(ShapeError, match=says) as caught:
            made.fit(DATA, 1, batch_size=size, progress=False)
        assert steps(made) == 0 and caught.value.path == "bn1"
        assert "drop_last=True" in str(caught.value)
        return str(caught.value)

    messages = run_ranks(2, work)
    assert len(set(messages)) == 1 or "lambda" in messages[0]


def test_without_ranks_too() -> None:
    made = trainer(rows, None)
    with pytest.raises(ShapeError, match=ONE):
        made.fit(DATA, 1, batch_size=3, progress=False)
    assert steps(made) == 0
    made = trainer(rows, None, accumulate=2)
    with pytest.raises(ShapeError, match="which is a part of a batch of 2"):
        made.fit(DATA, 1, batch_size=4, progress=False)
    assert steps(made) == 0


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (4, {"drop_last": True}),
        (4, {"sync_batch_norm": True}),
        (5, {}),
        (2, {"sync_batch_norm": True}),
    ],
)
def test_what_the_message_says_helps(size: int, options: dict[str, bool]) -> None:
    sync = {"sync_batch_norm": options.pop("sync_batch_norm", False)}

    def work(rank: ThreadRank) -> list[float]:
        made = trainer(rows, rank, **sync)
        made.fit(DATA, 1, batch_size=size, progress=False, **options)
        return [float(np.abs(array).max()) for array in made.model.state_dict().values()]

    assert all(np.isfinite(run_ranks(2, work)[0]))


def test_images_of_several_values_may_come_alone() -> None:
    """``normed`` begins with 4 x 4 pixels; its second batch norm has one value for an image."""
    with pytest.raises(ShapeError, match=ONE) as caught:
        trainer(normed, None).fit(DATA, 1, batch_size=3, progress=False)
    assert caught.value.path == "bn2"


@pytest.mark.parametrize("backend", ["numpy", pytest.param("llvm", marks=pytest.mark.slow)])
@pytest.mark.parametrize("sync", [False, True])
def test_a_rank_without_images_does_not_count(backend: str, sync: bool) -> None:
    images, labels = DATA.images[:5], DATA.labels[:5]

    def work(rank: Communicator | None) -> tuple[dict[str, Any], float]:
        model = rows.init(image=("N", 1, 6, 6), seed=0)
        step = cauce.train_step(
            model,
            "cross_entropy",
            cauce.SGD(0.1),
            backend,
            threads=1 if backend == "llvm" else None,
            distributed=rank,
            sync_batch_norm=sync,
        )
        empty = rank is not None and rank.rank == 0
        own = slice(0, 1) if empty else slice(0, 5)
        counts = None if rank is None else [0, 5]
        state = step(step.init(), (images[own], labels[own]), counts=counts)
        return state.read(), state.loss

    wanted, loss = work(None)
    for arrays, found in run_ranks(2, work):
        assert found == pytest.approx(loss, rel=1e-6)
        for name, array in wanted.items():
            np.testing.assert_allclose(arrays[name], array, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("ranks", [4, 7])
def test_more_ranks_than_images(ranks: int) -> None:
    """Batches of 4 and 2, and 3 images to measure."""

    def work(rank: Communicator | None) -> Any:
        made = trainer(plain, rank)
        made.fit(DATA, 2, batch_size=4, validate=DATA[:3], progress=False)
        return made.model.state_dict(), made.history[-1]

    arrays, epoch = work(None)
    for own, measured in run_ranks(ranks, work):
        assert measured.validation == pytest.approx(epoch.validation, rel=1e-5)
        assert measured.train == pytest.approx(epoch.train, rel=1e-5)
        for name, array in arrays.items():
            np.testing.assert_allclose(own[name], array, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ([5], r"counts of 2 ranks cannot be \[5\]"),
        ([5, 5, 1], "counts of 2 ranks"),
        ([5, -1], "counts of 2 ranks"),
        ([0, 0], "counts of 2 ranks"),
        (5, "takes a list of ints, got 5"),
        ([5.0, 5.0], "takes a list of ints"),
    ],
)
def test_counts_that_cannot_be(counts: Sequence[int], says: str) -> None:
    def work(rank: ThreadRank) -> None:
        model = plain.init(image=("N", 1, 6, 6), seed=0)
        step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1), "numpy", distributed=rank)
        with pytest.raises(AttributeMistake, match=says) as caught:
            step(step.init(), (DATA.images[:5], DATA.labels[:5]), counts=counts)
        assert "counts=[5, 5]" in str(caught.value.fix)

    run_ranks(2, work)


def test_a_rank_that_gives_no_image_is_told_what_to_give() -> None:
    def work(rank: ThreadRank) -> None:
        model = plain.init(image=("N", 1, 6, 6), seed=0)
        step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1), "numpy", distributed=rank)
        with pytest.raises(ShapeError, match=r"at least one sample(.|\n)*counts=\[5, 0\]"):
            step(step.init(), (DATA.images[:0], DATA.labels[:0]))

    run_ranks(2, work)
