"""Histories: what is written comes back, an earlier file outlives a failure; early stopping."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir.errors import AttributeMistake, DataError
from cauce.training.early_stopping import EarlyStopping
from cauce.training.history import Epoch, History

HISTORY = History(
    [
        Epoch(1, 1.25, 0.1, {"loss": 2.5, "accuracy": 0.1}, {}),
        Epoch(2, 1.5, 0.1 / 3, {"loss": 1 / 3, "accuracy": 0.5}, {"loss": 0.7, "accuracy": 0.25}),
    ]
)
SUFFIXES = pytest.mark.parametrize("suffix", [".csv", ".json", ".JSON"])


@SUFFIXES
def test_a_history_comes_back(tmp_path: Path, suffix: str) -> None:
    HISTORY.save(tmp_path / f"run{suffix}")
    assert History.load(tmp_path / f"run{suffix}") == HISTORY
    assert [path.name for path in tmp_path.iterdir()] == [f"run{suffix}"]


@SUFFIXES
def test_a_history_without_epochs_comes_back(tmp_path: Path, suffix: str) -> None:
    History().save(tmp_path / f"run{suffix}")
    assert History.load(tmp_path / f"run{suffix}") == History()


@given(
    values=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        st.floats(allow_nan=False),
        max_size=3,
    )
)
@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_any_name_and_number_comes_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, values: dict[str, float]
) -> None:
    path = tmp_path_factory.mktemp("history") / f"run{suffix}"
    history = History([Epoch(1, 0.5, 0.1, values, {}), Epoch(2, 0.5, 1e-300, {}, values)])
    history.save(path)
    assert History.load(path) == history


@SUFFIXES
def test_nan_comes_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    History([Epoch(1, 0.5, 0.1, {"loss": 1.0}, {"loss": math.nan, "x": -math.inf})]).save(path)
    (epoch,) = History.load(path)
    assert math.isnan(epoch.validation["loss"])
    assert epoch.validation["x"] == -math.inf


def test_csv_is_a_table_that_other_programs_read(tmp_path: Path) -> None:
    HISTORY.save(tmp_path / "run.csv")
    with (tmp_path / "run.csv").open(newline="") as file:
        header, first, second = csv.reader(file)
    assert header == [
        *("epoch", "seconds", "lr", "train_loss", "train_accuracy"),
        *("validation_loss", "validation_accuracy"),
    ]
    assert first == ["1", "1.25", "0.1", "2.5", "0.1", "", ""]
    assert second[3:] == ["0.3333333333333333", "0.5", "0.7", "0.25"]


def test_json_is_json(tmp_path: Path) -> None:
    """NaN is none."""
    path = tmp_path / "run.json"
    History([Epoch(1, 0.5, 0.1, {"loss": math.nan}, {})]).save(path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    document = json.loads(path.read_text(), parse_constant=refuse)
    row = {"epoch": 1, "seconds": 0.5, "lr": 0.1, "train_loss": "nan"}
    assert document == {"format": "cauce-history-1", "epochs": [row]}


def test_columns_are_values_by_epoch() -> None:
    assert HISTORY.column("train_loss") == [2.5, 1 / 3]
    missing, measured = HISTORY.column("validation_accuracy")
    assert math.isnan(missing)
    assert measured == 0.25
    with pytest.raises(AttributeMistake, match="no column 'loss'") as caught:
        HISTORY.column("loss")
    assert "train_loss, train_accuracy, validation_loss" in str(caught.value)


def test_a_failure_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    HISTORY.save(path)
    before = path.read_bytes()

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        History().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("work", [HISTORY.save, History.load])
def test_other_endings_are_refused(work: Callable[[str], object]) -> None:
    with pytest.raises(AttributeMistake, match=r"not in 'run\.txt'"):
        work("run.txt")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "it is empty"),
        ("a.csv", "epoch,seconds\n1,2\n", "an epoch without lr"),
        ("a.csv", "epoch,seconds,lr,loss\n1,2,3,4\n", "a column called 'loss'"),
        ("a.csv", "epoch,seconds,lr\n1,2,3,4\n", "a column called 'beyond the header'"),
        ("a.csv", "epoch,seconds,lr\n1,2,high\n", "could not convert.*'high'"),
        ("a.csv", "\xff\xfe", "can't decode"),
        ("a.json", "", "Expecting value"),
        ("a.json", "[]", "does not say that its format is 'cauce-history-1'"),
        ("a.json", '{"format": "cauce-history-2"}', "is newer than 'cauce-history-1'"),
        ("a.json", '{"format": "cauce-history-1"}', "epochs"),
        ("a.json", '{"format": "cauce-history-1", "epochs": [3]}', "no history"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=message) as caught:
        History.load(path)
    assert str(path) in str(caught.value)
    assert caught.value.fix


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        History.load(tmp_path / "run.csv")


# ---- early stopping ----------------------------------------------------------------------------


def stops_after(rule: EarlyStopping, values: list[float]) -> int | None:
    """The number of epochs after which a run stops, if any."""
    epochs: list[Epoch] = []
    for number, value in enumerate(values, 1):
        epochs.append(Epoch(number, 1.0, 0.1, {}, {rule.monitor: value}))
        if rule.should_stop(epochs):
            return number
    return None


@pytest.mark.parametrize(
    ("rule", "values", "wanted"),
    [
        (EarlyStopping(2), [3, 2, 1, 1, 1], 5),
        (EarlyStopping(2), [3, 2, 1, 1.5, 0.9, 1, 1], 7),
        (EarlyStopping(1), [3, 2, 1], None),
        (EarlyStopping(1), [1, 2], 2),
        (EarlyStopping(2, "accuracy"), [0.1, 0.5, 0.4, 0.6, 0.6, 0.6], 6),
        (EarlyStopping(2, "error", "min"), [0.1, 0.5, 0.4], 3),
        (EarlyStopping(2, min_delta=0.5), [3, 2.6, 2.55, 1], 3),
        (EarlyStopping(2, min_delta=0.5), [3, 2.6, 2.4, 2.3, 2.2], 5),
        (EarlyStopping(2), [3, math.nan, 2, math.nan, math.nan], 5),
        (EarlyStopping(2), [math.nan, math.nan], 2),
        (EarlyStopping(2), [], None),
    ],
)
def test_a_run_stops_when_it_no_longer_gets_better(
    rule: EarlyStopping, values: list[float], wanted: int | None
) -> None:
    assert stops_after(rule, values) == wanted


def test_the_direction_is_known_or_must_be_given() -> None:
    assert EarlyStopping(1).mode == "min"
    assert EarlyStopping(1, "top5").mode == "max"
    with pytest.raises(AttributeMistake, match="got None") as caught:
        EarlyStopping(1, "f1")
    assert "less f1 is better, mode='min', or more" in str(caught.value)
    with pytest.raises(AttributeMistake, match="got 'up'"):
        EarlyStopping(1, mode="up")


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": 3, "min_delta": -0.1}])
def test_numbers_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(AttributeMistake) as caught:
        EarlyStopping(**options)
    assert caught.value.fix


def test_a_value_that_is_not_measured_is_named() -> None:
    with pytest.raises(AttributeMistake, match="epoch 1 has no validation value 'top5'") as caught:
        EarlyStopping(1, "top5").should_stop([Epoch(1, 1.0, 0.1, {}, {"loss": 1.0})])
    assert "use one of loss" in str(caught.value)
    with pytest.raises(AttributeMistake) as caught:
        EarlyStopping(1).should_stop([Epoch(1, 1.0, 0.1, {"loss": 1.0}, {})])
    assert "validate=" in str(caught.value)
