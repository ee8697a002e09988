"""Schedules: PyTorch's rates step by step, their ends, and what cannot be one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir.errors import AttributeMistake
from cauce.training.data import Dataset
from cauce.training.schedules import (
    Constant,
    Cosine,
    MultiStep,
    OneCycle,
    Schedule,
    Step,
    WarmUp,
    epochs_to_steps,
)

# What torch.optim.lr_scheduler (2.13) gives for the same arguments, step by step.
PYTORCH: list[tuple[Schedule, list[float]]] = [
    (Step(0.1, 3, 0.5), [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025]),
    (MultiStep(0.1, (2, 5)), [0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001]),
    (Cosine(0.1, 6, 0.01), [0.1, 0.0939711432, 0.0775, 0.055, 0.0325, 0.0160288568, 0.01]),
    (
        OneCycle(0.2, 10),
        [
            0.008,
            0.104,
            0.2,
            0.190096926,
            0.162349131,
            0.122252404,
            0.0777483956,
            0.0376516692,
            0.0099038736,
            8e-07,
        ],
    ),
    (
        OneCycle(0.2, 7, pct_start=0.5, div_factor=10, final_div_factor=100),
        [0.02, 0.0821884705, 0.182811529, 0.19010679, 0.122329841, 0.0378133688, 0.0002],
    ),
    (OneCycle(0.2, 5, 0.0), [0.180901776, 0.130901976, 0.0690988242, 0.0190990242, 8e-07]),
    (OneCycle(0.2, 5, 0.1), [0.193969286, 0.1500002, 0.0826356517, 0.0233962621, 8e-07]),
    (OneCycle(0.2, 5, 1.0), [0.008, 0.036117749, 0.104, 0.171882251, 0.2]),
    (
        WarmUp(Cosine(0.1, 4), 4, 0.25),
        [0.025, 0.04375, 0.0625, 0.08125, 0.1, 0.0853553391, 0.05, 0.0146446609, 0],
    ),
]


@pytest.mark.parametrize(("schedule", "rates"), PYTORCH, ids=lambda case: str(case)[:40])
def test_the_rates_are_those_of_pytorch(schedule: Schedule, rates: list[float]) -> None:
    found = [schedule(step) for step in range(len(rates))]
    np.testing.assert_allclose(found, rates, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "total", "last"),
    [
        (Cosine(0.1, 6, 0.01), 6, 0.01),
        (OneCycle(0.2, 10), 9, 8e-07),
        (OneCycle(0.2, 5, 1.0), 4, 0.2),
        (OneCycle(0.2, 1), 0, 8e-07),
    ],
)
def test_after_its_last_step_a_schedule_keeps_the_rate(
    schedule: Schedule, total: int, last: float
) -> None:
    assert [schedule(total + more) for more in (0, 1, 1000)] == pytest.approx([last] * 3)


def test_warming_up_to_a_number_keeps_it() -> None:
    schedule = WarmUp(0.4, 4, start_factor=0.5)
    assert [schedule(step) for step in range(6)] == pytest.approx([0.2, 0.25, 0.3, 0.35, 0.4, 0.4])


def test_warm_ups_compose_with_any_function() -> None:
    own: Callable[[int], float] = lambda step: 1 / (1 + step)  # noqa: E731
    schedule = WarmUp(own, 2, start_factor=0.0)
    assert [schedule(step) for step in range(4)] == [0.0, 0.5, 1.0, 0.5]


@given(step=st.integers(0, 400), total=st.integers(1, 300))
def test_rates_stay_between_their_ends(step: int, total: int) -> None:
    assert Constant(0.3)(step) == 0.3
    assert 0.1 <= Cosine(0.5, total, 0.1)(step) <= 0.5
    assert 0 <= OneCycle(0.5, total)(step) <= 0.5
    assert 0 <= WarmUp(Cosine(0.5, total), total)(step) <= 0.5


def test_epochs_become_steps() -> None:
    data = Dataset(np.zeros((10, 1, 2, 2)), np.zeros(10, int), ("a",))
    assert epochs_to_steps(3, data, batch_size=4) == 9
    assert epochs_to_steps(3, data, batch_size=4, drop_last=True) == 6
    assert epochs_to_steps(0.5, data, batch_size=1) == 5
    assert epochs_to_steps(7, data) == 7  # the batch size that fit has by default


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-0.1), "Constant: lr must be a finite number >= 0, got -0.1"),
        (lambda: Constant(math.nan), "got nan"),
        (lambda: Step(0.1, 0), "Step: step_size must be at least 1, got 0"),
        (lambda: Step(0.1, 3, -1), "gamma"),
        (lambda: MultiStep(0.1, (3,), math.inf), "gamma"),
        (lambda: Cosine(0.1, 0), "Cosine: total_steps"),
        (lambda: Cosine(0.1, 5, -1), "eta_min"),
        (lambda: OneCycle(0.1, 0), "total_steps"),
        (lambda: OneCycle(0.1, 9, pct_start=1.5), "pct_start is a share of the steps, got 1.5"),
        (lambda: OneCycle(0.1, 9, div_factor=0), "got 0 and 10000"),
        (lambda: WarmUp(0.1, 0), "WarmUp: steps"),
        (lambda: WarmUp(-0.1, 5), "Constant: lr"),
        (lambda: WarmUp(0.1, 5, -1), "start_factor"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused(make: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(AttributeMistake, match=message) as caught:
        make()
    assert caught.value.fix
