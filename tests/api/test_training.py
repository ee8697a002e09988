"""train_step and Trainer on small data."""

from __future__ import annotations

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import Role, evaluate
from cauce.ir.errors import AttributeMistake, GraphError

from .nets import batch, shapes, small


def make(seed: int = 0, **options) -> cauce.Model:
    return small.init(image=("N", 1, 6, 6), seed=seed, **options)


def test_a_step_is_the_graph_run_by_the_reference() -> None:
    step = cauce.train_step(make(), "cross_entropy", cauce.SGD(0.1, momentum=0.9))
    state = step.init(seed=4)
    held = state.read()
    for number in range(3):
        feeds = batch(6, seed=number)
        result = evaluate(step.graph, {**feeds, **held, "lr": np.float32(0.1)})
        state = step(state, feeds)
        np.testing.assert_allclose(state.loss, result.outputs["loss"], rtol=1e-4)
        held = result.updates
        for name, array in state.read().items():
            np.testing.assert_allclose(array, held[name], rtol=1e-3, atol=1e-5, err_msg=name)
    assert list(state.read()["random.key"]) == [4, 3]


@pytest.mark.parametrize(
    "optimizer",
    [
        cauce.SGD(0.1),
        cauce.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        cauce.Adam(0.02),
        cauce.AdamW(0.02),
    ],
    ids=str,
)
def test_every_optimizer_learns(optimizer) -> None:
    step = cauce.TrainStep(make(), "cross_entropy", optimizer, metrics=["accuracy"])
    state = step.init()
    losses = [step(state, batch(24)).loss for _ in range(40)]
    assert losses[-1] < 0.6 * losses[0]
    assert 0 <= state.metrics["accuracy"] <= 1


def test_a_run_repeats_itself_and_depends_on_the_seed() -> None:
    def run(seed: int) -> np.ndarray:
        trainer = cauce.Trainer(make(), seed=seed)
        trainer.fit(shapes(), epochs=2, batch_size=16, progress=False)
        return trainer.model.state_dict()["conv1.weight"]

    np.testing.assert_array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


def test_fit_learns_validates_and_goes_on() -> None:
    model = make()
    trainer = cauce.Trainer(model, optimizer=cauce.SGD(0.2, momentum=0.9))
    history = trainer.fit(shapes(), 6, batch_size=16, validate=shapes(24, seed=9), progress=False)
    assert len(history) == 6 and history[-1].number == 6
    assert history[-1].validation["accuracy"] > 0.9
    assert history[-1].train["loss"] < history[0].train["loss"]
    trainer.fit(shapes(), 1, batch_size=16, progress=False)
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5, 6, 7]
    predict = cauce.compile(model)
    test = shapes(24, seed=9)
    accuracy = np.mean(predict(test.images).argmax(1) == test.labels)
    np.testing.assert_allclose(accuracy, trainer.evaluate(test)["accuracy"])


def test_the_learning_rate_is_an_input() -> None:
    rates: list[int] = []

    def rate(number: int) -> float:
        rates.append(number)
        return 0.0

    model = make()
    before = model.state_dict()["conv1.weight"]
    trainer = cauce.Trainer(model)
    trainer.fit(shapes(), 1, batch_size=16, lr=rate, progress=False)
    np.testing.assert_array_equal(before, model.state_dict()["conv1.weight"])
    assert set(rates) == {0, 1, 2}


def test_losses_and_metrics_of_ones_own() -> None:
    def loss(logits, target):
        return nn.cross_entropy(logits, target, label_smoothing=0.1) + 0.01 * (logits**2).mean()

    def confidence(logits, target):
        return nn.softmax(logits, 1).max(1).mean()

    step = cauce.TrainStep(make(), loss, cauce.SGD(0.1), metrics={"confidence": confidence})
    state = step(step.init(), batch())
    assert np.isfinite(state.loss) and 1 / 3 <= state.metrics["confidence"] <= 1


def test_a_loss_of_several_outputs_is_a_function() -> None:
    @cauce.network
    def two(image):
        y = nn.global_avg_pool(nn.conv2d(image, 4, 3))
        return {"classes": nn.linear(y, 3), "size": nn.linear(y, 1)}

    model = two.init(image=("N", 1, 6, 6))
    with pytest.raises(GraphError, match=r"takes one output, network two has 2: classes, size"):
        cauce.TrainStep(model, "cross_entropy", cauce.SGD(0.1))

    def loss(classes, size, target):
        return nn.cross_entropy(classes, target) + (size**2).mean()

    step = cauce.TrainStep(model, loss, cauce.SGD(0.1))
    assert np.isfinite(step(step.init(), batch()).loss)


def test_the_rate_may_be_numpys_double() -> None:
    step = cauce.TrainStep(make(), "cross_entropy", cauce.SGD(0.1))
    results = [
        step(step.init(), batch(), lr=rate).read()["conv1.weight"]
        for rate in (0.05, np.cos(np.arccos(np.float64(0.05))), np.float32(0.05), np.array(0.05))
    ]
    np.testing.assert_allclose(results[1:], [results[0]] * 3, rtol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (float("nan"), "must be a finite number >= 0, got nan"),
        (float("inf"), "must be a finite number >= 0, got inf"),
        (-1, "must be a finite number >= 0, got -1"),
        (np.float32("nan"), "must be a finite number >= 0, got np.float32(nan)"),
        (np.array(-0.1), "must be a finite number >= 0, got array(-0.1)"),
        (np.array([0.1]), "must be a finite number >= 0, got array([0.1])"),
        ("0.1", "must be a finite number >= 0, got '0.1'"),
        (1j, "must be a finite number >= 0, got 1j"),
        (10**400, "must be a finite number >= 0, got "),
        (1e39, "the learning rate 1e+39 is infinite in f32"),
    ],
    ids=str,
)
def test_a_rate_that_cannot_be_leaves_the_state(rate, message: str, backend: str) -> None:
    step = cauce.TrainStep(make(), "cross_entropy", cauce.SGD(0.1, momentum=0.9), backend=backend)
    state = step.init()
    step(state, batch())
    before = state.read()
    with pytest.raises(AttributeMistake) as caught:
        step(state, batch(), lr=rate)
    assert message in caught.value.what
    for name, array in state.read().items():
        np.testing.assert_array_equal(array, before[name])
    if message.endswith("f32"):
        with pytest.raises(AttributeMistake) as caught:
            cauce.TrainStep(make(), "cross_entropy", cauce.SGD(rate))(state, batch())
        assert message in caught.value.what
    step(state, batch(), lr=0)  # no step at all, but not a mistake


def test_a_rate_is_finite_in_the_dtype_of_the_parameters() -> None:
    """1e5 is beyond f16, whose greatest number is 65504."""
    model = small.init(image=("N", 1, 6, 6), dtype="f16")
    step = cauce.TrainStep(model, "cross_entropy", cauce.SGD(0.1), backend="numpy")
    feeds = {name: a.astype(np.float16) if name == "image" else a for name, a in batch().items()}
    with pytest.raises(AttributeMistake, match=r"the learning rate 100000 is infinite in f16"):
        step(step.init(), feeds, lr=1e5)


def test_a_state_serves_the_step_that_made_it() -> None:
    steps = [cauce.TrainStep(make(), "cross_entropy", cauce.SGD(rate)) for rate in (0.1, 0.2)]
    with pytest.raises(GraphError, match="another executable made it"):
        steps[0](steps[1].init(), batch())


def test_regression_takes_a_target_like_the_output() -> None:
    step = cauce.TrainStep(make(), "mse_loss", cauce.SGD(0.1))
    assert str(step.graph.value("target").type) == "f32[N,3]"
    images = batch()["image"]
    state = step.init()
    first = step(state, (images, np.ones((8, 3), np.float32))).loss
    for _ in range(30):
        step(state, (images, np.ones((8, 3), np.float32)))
    assert state.loss < 0.5 * first


def test_frozen_parameters_stay() -> None:
    model = make()
    model.freeze("conv*", "bn*")
    before = model.state_dict()
    cauce.Trainer(model).fit(shapes(), 1, batch_size=16, progress=False)
    after = model.state_dict()
    assert np.array_equal(before["conv1.weight"], after["conv1.weight"])
    assert not np.array_equal(before["linear1.weight"], after["linear1.weight"])
    model.unfreeze("conv1.*")
    cauce.Trainer(model).fit(shapes(), 1, batch_size=16, progress=False)
    assert not np.array_equal(before["conv1.weight"], model.state_dict()["conv1.weight"])
    with pytest.raises(
        GraphError, match="no parameter or running statistic of small is called 'dense'"
    ):
        model.freeze("dense")


def test_a_new_head_on_trained_features() -> None:
    model = make()
    head = model.replace_head(5, seed=3)
    assert str(head.graph.outputs["output"].type) == "f32[N,5]"
    assert head.state_dict()["linear1.weight"].shape == (5, 4)
    np.testing.assert_array_equal(
        head.state_dict()["conv1.weight"], model.state_dict()["conv1.weight"]
    )
    assert str(model.graph.outputs["output"].type) == "f32[N,3]"
    assert "+  @linear1.weight: f32[5,4] parameter" in model.graph.diff(head.graph)
    cauce.TrainStep(head, "cross_entropy", cauce.SGD(0.1))


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    trainer = cauce.Trainer(make(), optimizer=cauce.SGD(1e30))
    with pytest.raises(GraphError, match="lower the learning rate"):
        trainer.fit(shapes(), 5, batch_size=16, progress=False)


def test_what_training_does_not_take() -> None:
    with pytest.raises(AttributeMistake, match="no loss 'hinge'"):
        cauce.TrainStep(make(), "hinge", cauce.SGD(0.1))
    with pytest.raises(AttributeMistake, match="no metric 'precision'"):
        cauce.TrainStep(make(), "cross_entropy", cauce.SGD(0.1), metrics=["precision"])
    with pytest.raises(AttributeMistake, match=r"must be a finite number >= 0, got -0\.1"):
        cauce.SGD(-0.1)
    with pytest.raises(AttributeMistake, match="nesterov needs a momentum"):
        cauce.SGD(0.1, nesterov=True)
    with pytest.raises(GraphError, match="none of the 8 parameters of small"):
        cauce.TrainStep(make(), "cross_entropy", cauce.SGD(0.1), trainable=lambda name: False)
    step = cauce.TrainStep(make(), "cross_entropy", cauce.SGD(0.1))
    with pytest.raises(GraphError, match=r"a batch is \(image, target\), got 1 arrays"):
        step(step.init(), (batch()["image"],))


def test_optimiser_state_is_state_and_the_rate_a_hyperparameter() -> None:
    step = cauce.TrainStep(make(), "cross_entropy", cauce.Adam())
    roles = {value.name: value.role for value in step.graph.inputs}
    assert roles["lr"] is Role.HYPERPARAMETER
    assert roles["conv1.weight.first_moment"] is roles["optimizer.step"] is Role.STATE
    step.graph.verify()
    assert cauce.parse(str(step.graph), step.graph.constants()).same_as(step.graph)


def test_a_trainer_hands_on_how_many_threads_it_may_use() -> None:
    with pytest.raises(AttributeMistake, match="numpy backend takes its threads from"):
        cauce.Trainer(small.init(image=("N", 1, 6, 6)), backend="numpy", threads=2)
