"""Steps whose batch is computed in parts give what a batch in one piece gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.frontends.tensor import Tensor
from cauce.ir import Role
from cauce.ir.communicator import Communicator, evenly, starts
from cauce.ir.errors import AttributeMistake, GraphError, ShapeError, UnsupportedOp

from .ranks import run_ranks

IMAGES = np.random.default_rng(0).standard_normal((3, 11, 1, 6, 6)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 4, (3, 11))


@cauce.network
def plain(image: Tensor) -> Tensor:
    """Images do not meet; what is dropped depends on the place of an image in the batch."""
    x = nn.dropout(nn.relu(nn.conv2d(image, 4, 3, padding=1)), 0.2)
    return nn.linear(nn.dropout(nn.flatten(nn.max_pool2d(x, 2)), 0.3), 4)


@cauce.network
def normed(image: Tensor) -> Tensor:
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 4, 3, bias=False)))
    return nn.linear(nn.batch_norm(nn.flatten(x)), 4)


class Trained(NamedTuple):
    """What some steps leave."""

    arrays: Mapping[str, np.ndarray]
    losses: list[float]
    accuracies: list[float]
    network: str


def trained(
    network: Any, ranks: Communicator | None = None, backend: str = "numpy", **options: Any
) -> Trained:
    """A few steps, each rank with its share of each batch."""
    model = network.init(image=("N", 1, 6, 6), seed=0)
    step = cauce.train_step(
        model,
        "cross_entropy",
        cauce.SGD(0.1, momentum=0.9, weight_decay=1e-3),
        backend,
        metrics=("accuracy",),
        clip=cauce.ClipNorm(0.5),
        threads=1 if backend == "llvm" else None,
        distributed=ranks,
        **options,
    )
    state = step.init(seed=3)
    losses, accuracies = [], []
    for images, labels in zip(IMAGES, LABELS):
        if ranks is not None:
            counts = evenly(len(images), ranks.size)
            start = starts(counts)[ranks.rank]
            own = slice(start, start + counts[ranks.rank])
            images, labels = images[own], labels[own]
        state = step(state, (images, labels))
        losses.append(state.loss)
        accuracies.append(state.metrics["accuracy"])
    return Trained(state.read(), losses, accuracies, step.fingerprint["network"])


def assert_agree(one: Trained, other: Trained, tolerance: float = 1e-5) -> None:
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_allclose(other.arrays[name], array, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(other.losses, one.losses, rtol=1e-5)
    np.testing.assert_allclose(other.accuracies, one.accuracies, rtol=1e-5)
    assert one.network == other.network


def assert_same_bits(results: Sequence[Trained]) -> None:
    first = results[0]
    for other in results[1:]:
        assert first.losses == other.losses
        for name, array in first.arrays.items():
            np.testing.assert_array_equal(other.arrays[name], array, err_msg=name)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_ranks_agree_with_one_rank_on_the_whole_batch(backend: str) -> None:
    whole = trained(plain, backend=backend)
    for ranks in (2, 3):
        parts = run_ranks(ranks, lambda rank: trained(plain, rank, backend))
        assert_same_bits(parts)
        assert_agree(whole, parts[0])


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_parts_one_after_another_agree_with_the_whole_batch(backend: str) -> None:
    whole = trained(plain, backend=backend)
    assert_agree(whole, trained(plain, backend=backend, accumulate=4))
    # 11 images in 20 parts: some have none.
    assert_agree(whole, trained(plain, backend=backend, accumulate=20))


def test_ranks_may_have_several_parts_each() -> None:
    parts = run_ranks(3, lambda rank: trained(plain, rank, accumulate=4))
    assert_same_bits(parts)
    assert_agree(trained(plain), parts[0])


def test_only_what_was_accumulated_is_summed_over_ranks() -> None:
    def messages(rank: Any) -> list[int]:
        trained(plain, rank, accumulate=4)
        return rank.messages

    (sent, *_) = run_ranks(2, messages)
    model = plain.init(image=("N", 1, 6, 6))
    parameters = sum(model.values[v.name].size for v in model.graph.inputs_with(Role.PARAMETER))
    # How many images each rank has; then gradients, loss and accuracy.
    assert sent == [2, parameters + 2] * len(IMAGES)


def test_a_run_on_ranks_repeats_bit_for_bit() -> None:
    runs = [run_ranks(3, lambda rank: trained(normed, rank))[0] for _ in range(2)]
    assert_same_bits(runs)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("llvm", marks=pytest.mark.slow)])
def test_synchronised_batch_norms_take_the_statistics_of_all_ranks(backend: str) -> None:
    whole = trained(normed, backend=backend)
    parts = run_ranks(3, lambda rank: trained(normed, rank, backend, sync_batch_norm=True))
    assert_same_bits(parts)
    assert_agree(whole, parts[0])


def test_local_batch_norms_differ_and_their_running_statistics_are_the_mean() -> None:
    whole = trained(normed)
    parts = run_ranks(3, lambda rank: trained(normed, rank))
    assert_same_bits(parts)  # so any rank can write the checkpoint
    weight = "conv1.weight"
    assert np.abs(parts[0].arrays[weight] - whole.arrays[weight]).max() > 1e-4
    # The parts of a rank are as those of ranks.
    assert_agree(parts[0], trained(normed, accumulate=3))


def test_a_rank_without_an_image_takes_part_all_the_same() -> None:
    """A last batch of two images for three ranks."""
    images, labels = IMAGES[0, :2], LABELS[0, :2]

    def work(rank: Communicator | None) -> Mapping[str, np.ndarray]:
        model = plain.init(image=("N", 1, 6, 6), seed=0)
        optimizer = cauce.Adam(0.01)
        step = cauce.train_step(model, "cross_entropy", optimizer, "numpy", distributed=rank)
        state = step.init(seed=3)
        if rank is None:
            return step(state, (images, labels)).read()
        own = slice(*((0, 1), (0, 1), (1, 2))[rank.rank])
        return step(state, (images[own], labels[own]), counts=[0, 1, 1]).read()

    whole = work(None)
    for arrays in run_ranks(3, work):
        for name, array in whole.items():
            np.testing.assert_allclose(arrays[name], array, atol=1e-5, err_msg=name)


def test_the_sums_of_parts_are_no_part_of_a_state() -> None:
    model = plain.init(image=("N", 1, 6, 6), seed=0)
    optimizer = cauce.SGD(0.1)
    cut = cauce.train_step(model, "cross_entropy", optimizer, "numpy", accumulate=2)
    whole = cauce.train_step(model, "cross_entropy", optimizer, "numpy")
    assert cut.init().read().keys() == whole.init().read().keys()
    assert cut.fingerprint["plan"] != whole.fingerprint["plan"]


def test_what_cannot_be_cut_is_refused() -> None:
    fixed = plain.init(image=(8, 1, 6, 6), seed=0)
    with pytest.raises(GraphError, match="not free to be cut into parts"):
        cauce.train_step(fixed, "cross_entropy", cauce.SGD(0.1), "numpy", accumulate=2)

    @cauce.network
    def alone(image: Tensor) -> Tensor:
        rows = nn.linear(nn.flatten(image), 1)
        return nn.reshape(nn.dropout(nn.reshape(rows, (rows.shape[0],))), (rows.shape[0], 1))

    model = alone.init(image=("N", 1, 6, 6), seed=0)
    with pytest.raises(UnsupportedOp, match="do not say which of them belong to an image"):
        cauce.train_step(model, "mse_loss", cauce.SGD(0.1), "numpy", accumulate=2)
    free = plain.init(image=("N", 1, 6, 6), seed=0)
    with pytest.raises(AttributeMistake, match="accumulate must be an int of at least 1, got 0"):
        cauce.train_step(free, "cross_entropy", cauce.SGD(0.1), "numpy", accumulate=0)
    step = cauce.train_step(free, "cross_entropy", cauce.SGD(0.1), "numpy", accumulate=2)
    with pytest.raises(ShapeError, match="rank 0 has 11 images, and counts says 5"):
        step(step.init(), (IMAGES[0], LABELS[0]), counts=[5])
