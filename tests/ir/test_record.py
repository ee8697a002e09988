"""Records behave as frozen dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any, ClassVar

import pytest

from cauce.ir.record import Record


class Span(Record):
    """From start to stop."""

    kind: ClassVar[str] = "span"

    start: int
    stop: int = 9
    key: Callable[[int], int] = abs

    name = "no annotation, no field"


class Named(Span):
    label: str = ""


class Swapped(Record):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            vars(self).update(low=self.high, high=self.low)


def test_fields_are_given_by_place_or_by_name_or_have_defaults() -> None:
    assert (Span(1).start, Span(1).stop, Span(1).key) == (1, 9, abs)
    assert (Span(stop=2, start=1).stop, Named(1, 2, abs, "a").label) == (2, "a")
    assert (Swapped(2, 1).low, Swapped(2, 1).high) == (1, 2)


def test_a_function_as_a_default_is_no_method() -> None:
    class Call(Record):
        function: Callable[[int], int] = lambda x: x + 1

    assert Call().function(1) == 2


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((), {}, "missing a required argument: 'start'"),
        ((), {"stop": 1}, "missing a required argument: 'start'"),
        ((1, 2, abs, 4), {}, "too many positional arguments"),
        ((1,), {"start": 1}, "multiple values for argument 'start'"),
        ((1,), {"step": 1}, "got an unexpected keyword argument 'step'"),
        ((1,), {"kind": "x"}, "got an unexpected keyword argument 'kind'"),
        ((), {"name": "x"}, "missing a required argument: 'start'"),
    ],
)
def test_arguments_that_do_not_fit(
    arguments: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError) as caught:
        Span(*arguments, **named)
    assert str(caught.value) == f"Span: {message}"


def test_records_are_equal_by_class_and_fields() -> None:
    assert Span(1) == Span(1, 9) != Span(2)
    assert len({Span(1), Span(1, 9), Span(2)}) == 2
    assert Span(1) != Named(1)
    assert Span(1) != (1, 9, abs)
    assert repr(Swapped(1, 2)) == "Swapped(low=1, high=2)"


def test_records_are_frozen() -> None:
    span = Span(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'stop'"):
        span.stop = 3  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'stop'"):
        del span.stop
    assert span == Span(1)


@pytest.mark.parametrize("record", [Span(1), Named(1, label="a"), Swapped(1, 2)])
def test_records_are_copied(record: Record) -> None:
    assert (
        copy.copy(record) == copy.deepcopy(record) == pickle.loads(pickle.dumps(record)) == record
    )


def test_records_are_dataclasses() -> None:
    assert [field.name for field in dataclasses.fields(Named)] == ["start", "stop", "key", "label"]
    assert dataclasses.replace(Named(1, label="a"), stop=5) == Named(1, 5, abs, "a")
    match Span(4, 5):
        case Span(start, stop):
            assert (start, stop) == (4, 5)
        case _:
            raise AssertionError


def test_the_signature_is_that_of_the_fields() -> None:
    assert str(inspect.signature(Swapped)) == "(low: 'int', high: 'int')"
    assert list(inspect.signature(Named).parameters) == ["start", "stop", "key", "label"]
    assert inspect.signature(Named).parameters["stop"].default == 9
