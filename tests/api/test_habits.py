"""The habits of training together: what a user would write, with the numbers behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir.errors import TypeMismatch
from cauce.passes.gradient_clipping import ClipNorm, ClipValue
from cauce.training import (
    ConfusionMatrix,
    Constant,
    Cosine,
    Dataset,
    EarlyStopping,
    History,
    Mixup,
    OneHot,
    RandomCrop,
    RandomHorizontalFlip,
    WarmUp,
    epochs_to_steps,
)

from .nets import shapes, small


def pictures(count: int = 48, seed: int = 0) -> Dataset:
    """The shapes as bytes, as images are stored."""
    data = shapes(count, seed)
    images = np.clip(data.images * 80 + 100, 0, 255).astype(np.uint8)
    return Dataset(images, data.labels, data.classes)


@cauce.network
def scaled(image, classes=3):
    """Takes bytes, and normalises them itself."""
    x = nn.normalize(image, 0.4, 0.2)
    x = nn.relu(nn.batch_norm(nn.conv2d(x, 8, 3, padding=1, bias=False)))
    return nn.linear(nn.flatten(nn.max_pool2d(x, 2)), classes)


def byte_model() -> cauce.Model:
    return scaled.init(image=("N", 1, 6, 6), dtype="u8", seed=1)


def smoothed(logits, target):
    return nn.cross_entropy(logits, target, label_smoothing=0.1)


def test_everything_at_once_learns_from_bytes(tmp_path: Path) -> None:
    train, test, model = pictures(), pictures(24, seed=9), byte_model()
    trainer = cauce.Trainer(
        model,
        loss=smoothed,
        optimizer=cauce.SGD(0.1, momentum=0.9),
        metrics=["accuracy"],
        target="probabilities",
        clip=ClipNorm(1.0),
        seed=3,
    )
    steps = epochs_to_steps(8, train, batch_size=16)
    history = trainer.fit(
        train,
        8,
        batch_size=16,
        validate=test,
        lr=WarmUp(Cosine(0.1, steps - 3), 3),
        augment=[RandomCrop(6, padding=1), OneHot(3), Mixup(0.1)],
        early_stopping=EarlyStopping(8),
        progress=False,
    )
    assert history[-1].validation["accuracy"] > 0.9
    assert history[-1].lr == Cosine(0.1, steps - 3)(steps - 4)

    logits = cauce.compile(model)(test.images)
    matrix = ConfusionMatrix.of(logits, test.labels, test.classes)
    assert matrix.accuracy == pytest.approx(history[-1].validation["accuracy"])

    history.save(tmp_path / "run.json")
    assert History.load(tmp_path / "run.json") == history


def test_label_smoothing_is_cross_entropy_with_softer_targets() -> None:
    model, data = byte_model(), pictures(12)
    loss = cauce.Trainer(model, loss=smoothed).evaluate(data)["loss"]
    logits = cauce.compile(model)(data.images).astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    soft = 0.9 * np.eye(3)[data.labels] + 0.1 / 3
    assert loss == pytest.approx(-(soft * log_p).sum(axis=1).mean(), rel=1e-5)


def test_augmentation_reaches_the_steps() -> None:
    def weights(*augment) -> np.ndarray:
        model = byte_model()
        trainer = cauce.Trainer(model)
        trainer.fit(pictures(16), 1, batch_size=16, augment=augment, progress=False)
        return model.state_dict()["conv1.weight"]

    plain = weights()
    assert np.array_equal(weights(RandomHorizontalFlip(0.0)), plain)
    assert not np.array_equal(weights(RandomHorizontalFlip(1.0)), plain)


def test_validation_is_augmented_only_by_what_does_not_draw() -> None:
    trainer = cauce.Trainer(byte_model(), target="probabilities")
    data = pictures(12)
    plain = trainer.evaluate(data, augment=[OneHot(3)])
    flipped = trainer.evaluate(data, augment=[RandomHorizontalFlip(1.0), OneHot(3), Mixup()])
    assert plain == flipped
    with pytest.raises(TypeMismatch, match=r"target takes f32\[N,3\]"):
        trainer.evaluate(data)  # classes where probabilities are expected


@pytest.mark.parametrize(("clip", "most"), [(ClipNorm(0.01), 0.01), (ClipValue(0.001), 0.001)])
def test_clipping_bounds_what_a_step_changes(clip, most: float) -> None:
    model = byte_model()
    before = model.state_dict()
    trainer = cauce.Trainer(model, optimizer=cauce.SGD(1.0), clip=clip)
    trainer.fit(pictures(16), 1, batch_size=16, progress=False)
    after = model.state_dict()
    trained = [value.name for value in model.parameters]
    changes = np.concatenate([(after[name] - before[name]).ravel() for name in trained])
    size = np.linalg.norm(changes) if isinstance(clip, ClipNorm) else np.abs(changes).max()
    assert size == pytest.approx(most, rel=1e-2)


def test_training_stops_early() -> None:
    """At a rate of 0 nothing gets better after the first epoch."""
    trainer = cauce.Trainer(small.init(image=("N", 1, 6, 6), drop=0.0), optimizer=cauce.SGD(0.1))
    patient = EarlyStopping(3, "accuracy")
    options = {"validate": shapes(12), "lr": Constant(0.0), "early_stopping": patient}
    history = trainer.fit(shapes(12), 20, batch_size=12, progress=False, **options)
    assert len(history) < 20
    assert patient.should_stop(history.epochs)
    assert not patient.should_stop(history.epochs[:-1])


def test_top5_is_a_metric_by_name() -> None:
    model = small.init(image=("N", 1, 6, 6), classes=6)
    data = Dataset(shapes(12).images, np.arange(12) % 6, tuple("abcdef"))
    measured = cauce.Trainer(model, metrics=["accuracy", "top5"]).evaluate(data)
    logits = cauce.compile(model)(data.images)
    right = [label != worst for label, worst in zip(data.labels, logits.argmin(axis=1))]
    assert measured["top5"] == pytest.approx(np.mean(right))
