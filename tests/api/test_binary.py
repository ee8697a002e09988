"""Networks with one output, and of several labels for each image: losses, metrics, targets."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.frontends.batch_metrics import accuracy, binary_accuracy, top_k
from cauce.ir import Array, TensorType
from cauce.ir.errors import CauceError, DataError, ShapeError, TypeMismatch
from cauce.training import ConfusionMatrix, Dataset, EarlyStopping

BACKENDS = ("numpy", "llvm")
WITH_LOGITS = "binary_cross_entropy_with_logits"


@cauce.network
def judge(image, outputs=1, flat=False, squashed=False):
    x = nn.linear(nn.flatten(image), outputs)
    x = nn.sigmoid(x) if squashed else x
    return x.reshape(-1) if flat else x


def make(outputs: int = 1, flat: bool = False, squashed: bool = False) -> cauce.Model:
    return judge.init(image=("N", 1, 2, 3), outputs=outputs, flat=flat, squashed=squashed, seed=1)


def images(count: int = 7, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 1, 2, 3)).astype(np.float32)


LABELS = np.array([0, 1, 1, 0, 1, 0, 1])


def logits_of(model: cauce.Model, pixels: Array) -> Array:
    """The logits in float64, [N, outputs], by the definition of a linear layer."""
    held = {name: array.astype(np.float64) for name, array in model.state_dict().items()}
    rows = pixels.reshape(len(pixels), -1).astype(np.float64)
    return rows @ held["linear1.weight"].T + held["linear1.bias"]


def cross_entropy_of(logits: Array, target: Array) -> float:
    """The definition: -(t * log p + (1 - t) * log(1 - p)), meaned."""
    p = 1 / (1 + np.exp(-logits))
    return float(np.mean(-(target * np.log(p) + (1 - target) * np.log(1 - p))))


FORMS = {
    "i64[N]": LABELS,
    "i64[N,1]": LABELS[:, None],
    "u8[N]": LABELS.astype(np.uint8),
    "u8[N,1]": LABELS[:, None].astype(np.uint8),
    "i32[N]": LABELS.astype(np.int32),
    "u64[N]": LABELS.astype(np.uint64),
    "bool[N]": LABELS.astype(bool),
    "bool[N,1]": LABELS[:, None].astype(bool),
    "f32[N]": LABELS.astype(np.float32),
    "f32[N,1]": LABELS[:, None].astype(np.float32),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flat", [False, True], ids=["[N,1]", "[N]"])
@pytest.mark.parametrize("squashed", [False, True], ids=["logits", "probabilities"])
def test_labels_in_any_form_train_one_output(
    form: str, flat: bool, squashed: bool, backend: str
) -> None:
    loss = "binary_cross_entropy" if squashed else WITH_LOGITS
    model = make(flat=flat, squashed=squashed)
    step = cauce.TrainStep(
        model, loss, cauce.SGD(0.5), metrics=["accuracy"], backend=backend, threads=None
    )
    logits = logits_of(model, images())[:, 0]
    state = step(step.init(), (images(), FORMS[form]))
    assert state.loss == pytest.approx(cross_entropy_of(logits, LABELS), rel=1e-5)
    assert state.metrics["accuracy"] == pytest.approx(np.mean((logits > 0) == LABELS))
    # The gradient by the bias is the mean of sigmoid(x) - t.
    slope = np.mean(1 / (1 + np.exp(-logits)) - LABELS)
    before, after = model.state_dict()["linear1.bias"], state.read()["linear1.bias"]
    np.testing.assert_allclose(after, before - 0.5 * slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [WITH_LOGITS, "binary_cross_entropy"])
def test_accuracy_is_the_share_of_right_labels_and_stops_early(loss: str) -> None:
    """It used to be the share of label 0: 3 of 7 here, whatever the network said."""
    model = make(squashed=loss == "binary_cross_entropy")
    data = Dataset(images(), LABELS, ("no", "yes"))
    trainer = cauce.Trainer(model, loss=loss, optimizer=cauce.SGD(0.0))
    right = np.mean((logits_of(model, images())[:, 0] > 0) == LABELS)
    assert right != np.mean(LABELS == 0)
    history = trainer.fit(
        data,
        6,
        batch_size=3,
        validate=data,
        early_stopping=EarlyStopping(2, "accuracy"),
        progress=False,
    )
    assert len(history) == 3
    assert history[-1].train["accuracy"] == pytest.approx(right)
    assert history[-1].validation["accuracy"] == pytest.approx(right)
    assert trainer.evaluate(data)["accuracy"] == pytest.approx(right)


def test_a_trainer_learns_to_tell_two_classes() -> None:
    pixels = images(64, seed=3)
    labels = (pixels.reshape(64, -1).sum(axis=1) > 0).astype(np.int64)
    data = Dataset(pixels, labels, ("dark", "light"))
    model = make()
    trainer = cauce.Trainer(model, loss=WITH_LOGITS, optimizer=cauce.SGD(0.5, momentum=0.9))
    history = trainer.fit(data, 20, batch_size=16, validate=data, progress=False)
    assert history[-1].validation["accuracy"] > 0.95
    matrix = ConfusionMatrix.of(cauce.compile(model)(pixels) > 0, labels, data.classes)
    assert matrix.accuracy == pytest.approx(history[-1].validation["accuracy"])


@pytest.mark.parametrize("kind", [np.int64, np.uint8, bool, np.float32])
def test_several_labels_for_each_image(kind: type) -> None:
    """Each output is a question of its own; accuracy is over all of them."""
    target = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    model = make(3)
    logits = logits_of(model, images(4))
    step = cauce.TrainStep(model, WITH_LOGITS, cauce.SGD(0.1), metrics=["accuracy"])
    state = step(step.init(), (images(4), target.astype(kind)))
    assert state.loss == pytest.approx(cross_entropy_of(logits, target), rel=1e-5)
    assert state.metrics["accuracy"] == pytest.approx(np.mean((logits > 0) == target))


@pytest.mark.parametrize("backend", BACKENDS)
def test_masks_of_one_channel(backend: str) -> None:
    """Labels [N, H, W] or [N, 1, H, W] for a map of logits [N, 1, H, W]."""

    @cauce.network
    def segment(image):
        return nn.conv2d(image, 1, 1)

    model = segment.init(image=("N", 1, 2, 3), seed=2)
    held = model.state_dict()
    logits = images() * held["conv1.weight"].item() + held["conv1.bias"].item()
    masks = np.random.default_rng(5).integers(0, 2, (7, 2, 3))
    step = cauce.TrainStep(
        model, WITH_LOGITS, cauce.SGD(0.1), metrics=["accuracy"], backend=backend
    )
    for target in (masks, masks[:, None].astype(np.uint8)):
        state = step(step.init(), (images(), target))
        assert state.loss == pytest.approx(cross_entropy_of(logits[:, 0], masks), rel=1e-5)
        right = np.mean((logits[:, 0] > 0) == masks)
        assert state.metrics["accuracy"] == pytest.approx(right)


@pytest.mark.parametrize("flat", [False, True], ids=["[N,1]", "[N]"])
@pytest.mark.parametrize("kind", [np.int64, bool, np.float32])
def test_regression_of_one_number_takes_numbers_n(flat: bool, kind: type) -> None:
    """[N] against [N, 1] must not become [N, N]."""
    model = make(flat=flat)
    wanted = np.array([1, 0, 1, 1, 0, 0, 1]).astype(kind)
    step = cauce.TrainStep(model, "mse_loss", cauce.SGD(0.1))
    state = step(step.init(), (images(), wanted))
    errors = logits_of(model, images())[:, 0] - wanted
    assert state.loss == pytest.approx(np.mean(errors**2), rel=1e-5)
    state = step(step.init(), (images(), wanted[:, None]))
    assert state.loss == pytest.approx(np.mean(errors**2), rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("target", ["i64", "u8", "bool"])
@pytest.mark.parametrize("column", [False, True])
def test_a_loss_of_ones_own_takes_labels_too(target: str, column: bool, backend: str) -> None:
    def loss(output, target):
        return nn.binary_cross_entropy_with_logits(output, target)

    model = make()
    type_ = TensorType.make(target, ("N", 1) if column else ("N",))
    metrics = {"accuracy": binary_accuracy()}
    step = cauce.TrainStep(
        model, loss, cauce.SGD(0.1), metrics=metrics, target=type_, backend=backend
    )
    labels = LABELS.astype(type_.dtype.numpy)
    logits = logits_of(model, images())[:, 0]
    for given in (labels, labels[:, None]):
        state = step(step.init(), (images(), given))
        assert state.loss == pytest.approx(cross_entropy_of(logits, LABELS), rel=1e-5)
        assert state.metrics["accuracy"] == pytest.approx(np.mean((logits > 0) == LABELS))
    if target != "bool":
        with pytest.raises(ShapeError, match="index 2 is out of range for size 2"):
            step(step.init(), (images(), labels + 1))


@pytest.mark.parametrize("loss", [WITH_LOGITS, "binary_cross_entropy"])
@pytest.mark.parametrize("labels", [LABELS + 1, 2 * LABELS - 1, (LABELS + 255).astype(np.uint64)])
def test_labels_other_than_0_and_1_are_refused(loss: str, labels: Array) -> None:
    step = cauce.TrainStep(make(squashed=True), loss, cauce.SGD(0.1))
    state = step.init()
    before = state.read()
    with pytest.raises(DataError, match=r"labels run from .* says 0 or 1"):
        step(state, (images(), labels))
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, before[name])
    trainer = cauce.Trainer(make(squashed=True), loss=loss)
    if labels.min() >= 0 and labels.max() < 3:
        with pytest.raises(DataError, match="labels run from 1 to 2"):
            trainer.evaluate(Dataset(images(), labels, ("a", "b", "c")))


@pytest.mark.parametrize("flat", [False, True], ids=["[N,1]", "[N]"])
@pytest.mark.parametrize("loss", ["cross_entropy", "kl_divergence"])
def test_the_softmax_of_one_output_is_refused_and_the_remedy_works(loss: str, flat: bool) -> None:
    """It is 1 whatever the network says: such a network would learn nothing."""
    with pytest.raises(ShapeError, match=f"{loss} compares .* the network has one") as caught:
        cauce.Trainer(make(flat=flat), loss=loss)
    remedy = str(caught.value.fix).partition("loss='")[2].partition("'")[0]
    trainer = cauce.Trainer(make(flat=flat), loss=remedy)
    history = trainer.fit(Dataset(images(), LABELS, ("no", "yes")), 1, progress=False)
    assert np.isfinite(history[-1].train["loss"])
    trainer = cauce.Trainer(make(2), loss="cross_entropy")  # the other remedy
    trainer.fit(Dataset(images(), LABELS, ("no", "yes")), 1, progress=False)


@pytest.mark.parametrize("metric", [accuracy, top_k(1)])
@pytest.mark.parametrize("flat", [False, True], ids=["[N,1]", "[N]"])
def test_metrics_of_classes_refuse_one_output(metric, flat: bool) -> None:
    def loss(output, target):
        return nn.binary_cross_entropy_with_logits(output, target)

    with pytest.raises(ShapeError, match=r"compares .* the network has one") as caught:
        cauce.Trainer(make(flat=flat), loss=loss, metrics={"share": metric})
    assert "metrics={'accuracy': binary_accuracy(0.0)}" in str(caught.value.fix)
    cauce.Trainer(make(flat=flat), loss=loss, metrics={"accuracy": binary_accuracy(0.0)})


def test_accuracy_by_name_is_refused_where_nobody_can_say_what_it_is() -> None:
    with pytest.raises(ShapeError, match="accuracy compares the outputs of several classes"):
        cauce.Trainer(make(), loss="mse_loss", metrics=["accuracy"])


def test_labels_with_an_axis_too_many_serve_several_classes() -> None:
    step = cauce.TrainStep(make(3), "cross_entropy", cauce.SGD(0.1))
    labels = np.array([0, 1, 2, 0, 1, 2, 2])
    state = step(step.init(), (images(), labels))
    for form in (labels[:, None], labels.astype(np.uint8), labels.astype(np.int16)[:, None]):
        assert step(step.init(), (images(), form)).loss == state.loss


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (np.ones((7, 2), np.float32), CauceError),
        (np.ones((7, 2), np.int64), CauceError),
        (np.ones((1, 7), np.int64), CauceError),
        (np.ones(7, np.float64), TypeMismatch),
        (np.ones(6, np.int64), ShapeError),
        (np.array(["no"] * 7), TypeMismatch),
    ],
)
def test_what_cannot_be_meant_is_refused(target: Array, kind: type[CauceError]) -> None:
    step = cauce.TrainStep(make(), WITH_LOGITS, cauce.SGD(0.1))
    with pytest.raises(kind):
        step(step.init(), (images(), target))


def test_one_label_for_several_outputs_says_how_to_make_rows() -> None:
    step = cauce.TrainStep(make(3), WITH_LOGITS, cauce.SGD(0.1))
    with pytest.raises(TypeMismatch, match=r"input target takes f32\[N,3\]") as caught:
        step(step.init(), (images(), LABELS))
    assert "np.eye(3, dtype=np.float32)[array]" in str(caught.value.fix)
    step(step.init(), (images(), np.eye(3, dtype=np.float32)[LABELS]))


def test_nothing_is_broadcast_in_a_metric() -> None:
    type_ = TensorType.make("f32", ("N",))

    def loss(output, target):
        return nn.mse_loss(output.reshape(-1), target)

    with pytest.raises(ShapeError, match=r"the output is f32\[N,1\], the target is f32\[N\]"):
        cauce.Trainer(make(), loss=loss, target=type_, metrics={"right": binary_accuracy()})
