"""Tracebacks end in the user's code; what a user handles, and real causes, stay."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
import cauce.training
from cauce import nn
from cauce.ir.errors import AttributeMistake, CauceError, DataError, ShapeError
from cauce.ir.location import is_library
from cauce.ir.tracebacks import SWITCH, user_facing
from cauce.training import Dataset, RandomCrop, batches

LIBRARY = str(Path(cauce.__file__).parent / "made_up.py")


def library(source: str) -> dict[str, Any]:
    """What a file of the library would define."""
    scope: dict[str, Any] = {
        "user_facing": user_facing,
        "ShapeError": ShapeError,
        "dataclass": dataclass,
        "__file__": LIBRARY,
        "__name__": __name__,
    }
    linecache.cache[LIBRARY] = (len(source), None, source.splitlines(keepends=True), LIBRARY)
    exec(compile(source, LIBRARY, "exec"), scope)
    return scope


def shown(function: Callable[..., object], *args: object) -> list[str]:
    """The text of the lines that the traceback of the error of ``function`` shows below here."""
    with pytest.raises(CauceError) as caught:
        function(*args)
    frames = traceback.extract_tb(caught.value.__traceback__)
    return [frame.line or "" for frame in frames][1:]


INNER = """\
def inner(*args):
    raise ShapeError("wrong")

@user_facing
def called(function=inner):
    function()

@user_facing
def twice(function=inner):
    called(function)
"""


@pytest.mark.parametrize("name", ["called", "twice"])
def test_an_error_found_in_the_library_ends_in_the_call(name: str) -> None:
    called = library(INNER)[name]

    def user() -> None:
        called()

    assert shown(user) == ["called()"]


@pytest.mark.parametrize("name", ["called", "twice"])
def test_an_error_below_a_callback_ends_in_the_callback(name: str) -> None:
    scope = library(INNER)

    def callback() -> None:
        scope["inner"]()

    def user() -> None:
        scope[name](callback)

    assert shown(user) == ["scope[name](callback)", 'scope["inner"]()']


def test_the_switch_keeps_all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    called = library(INNER)["called"]
    monkeypatch.setenv(SWITCH, "1")
    lines = shown(called)
    assert lines[-1] == 'raise ShapeError("wrong")'
    monkeypatch.setenv(SWITCH, "0")
    assert shown(called) == []


def test_the_place_of_the_call_is_said_where_no_other_is_known() -> None:
    called = library(INNER)["called"]
    with pytest.raises(ShapeError) as caught:
        called()
    assert f"  at {__file__}:" in str(caught.value)
    assert str(caught.value).splitlines()[1].endswith(": called()")


def test_methods_properties_and_generators() -> None:
    thing = library("""\
@user_facing
@dataclass
class Thing:
    size: int

    def __post_init__(self):
        if self.size < 0:
            self._wrong()

    def _wrong(self):
        raise ShapeError("wrong")

    def method(self):
        self._wrong()

    @staticmethod
    def static():
        Thing(-1)

    @property
    def area(self):
        self._wrong()

@user_facing
def numbers():
    yield 1
    Thing(-1)
""")
    make, numbers = thing["Thing"], thing["numbers"]

    def loop() -> None:
        for _ in numbers():
            pass

    def constructs() -> None:
        make(-1)

    def asks() -> None:
        make(1).area  # noqa: B018

    assert shown(loop) == ["for _ in numbers():"]
    assert shown(constructs) == ["make(-1)"]
    assert shown(asks) == ["make(1).area  # noqa: B018"]
    assert shown(make(1).method) == shown(make.static) == []
    assert repr(make(3)) == "Thing(size=3)" and make(3) == make(3)
    assert list(inspect.signature(make).parameters) == ["size"]


def test_arguments_that_do_not_fit_are_the_mistake_of_the_call() -> None:
    def user() -> None:
        nn.relu()  # type: ignore[call-arg]

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'") as caught:
        user()
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "user"


def test_a_fault_of_the_library_keeps_its_frames() -> None:
    broken = library("@user_facing\ndef broken():\n    return len(3)\n")["broken"]
    with pytest.raises(TypeError, match="has no len") as caught:
        broken()
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "return len(3)"


CHAINS = """\
@user_facing
def internal():
    try:
        {}["key"]
    except KeyError:
        raise ShapeError("wrong")

@user_facing
def real():
    try:
        open("/nowhere/at/all")
    except OSError as error:
        raise ShapeError("wrong") from error
"""


def printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_what_the_library_caught_is_not_shown_but_a_real_cause_is() -> None:
    scope = library(CHAINS)
    with pytest.raises(ShapeError) as caught:
        scope["internal"]()
    assert "KeyError" not in printed(caught.value)
    with pytest.raises(ShapeError) as caught:
        scope["real"]()
    text = printed(caught.value)
    assert text.startswith("FileNotFoundError: [Errno 2]")
    assert LIBRARY not in text


def test_a_file_that_is_missing_is_the_users_matter() -> None:
    """OSError as the system raises it: no place and no remedy, but no frame of the library."""
    opens = library("@user_facing\ndef opens():\n    open('/nowhere/at/all')\n")["opens"]

    def user() -> None:
        opens()

    with pytest.raises(FileNotFoundError) as caught:
        user()
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "opens()"


def test_a_guard_within_the_package_leaves_the_place_to_the_caller() -> None:
    source = """\
@user_facing
def inner():
    raise ShapeError("wrong")

@user_facing
def outer():
    try:
        inner()
    except ShapeError as error:
        assert error.loc is None
        raise
"""
    scope = library(source)
    scope["__name__"] = "cauce.made_up"
    with pytest.raises(ShapeError) as caught:
        scope["outer"]()
    assert caught.value.loc is not None
    assert str(caught.value).splitlines()[1].endswith(': scope["outer"]()')


def test_what_the_user_was_handling_is_shown() -> None:
    called = library(INNER)["called"]
    with pytest.raises(ShapeError) as caught:
        try:
            {}["mine"]
        except KeyError:
            called()
    assert "KeyError: 'mine'" in printed(caught.value)


def test_a_network_shows_the_users_functions_only() -> None:
    def block(x: Any) -> Any:
        return nn.conv2d(x, 4, 9)

    @cauce.network
    def net(image: Any) -> Any:
        with nn.scope("first"):
            return nn.block(block)(image)

    def user() -> None:
        net.init(image=("N", 3, 4, 4))

    assert shown(user) == [
        'net.init(image=("N", 3, 4, 4))',
        "return nn.block(block)(image)",
        "return nn.conv2d(x, 4, 9)",
    ]


def test_batches_show_the_loop() -> None:
    data = Dataset(np.zeros((4, 1, 3, 3), np.float32), np.array([0, 1, 0, 1]), ("a", "b"))

    def user() -> None:
        for _ in batches(data, 2, seed=0, epoch=0, augment=[RandomCrop(8)]):
            pass

    assert shown(user) == ["for _ in batches(data, 2, seed=0, epoch=0, augment=[RandomCrop(8)]):"]


def entries() -> Iterator[tuple[str, object]]:
    """Everything with a public name that users call."""
    for module in (cauce, nn, cauce.training):
        for name in module.__all__:
            yield f"{module.__name__}.{name}", getattr(module, name)


# The error itself, a record and a base class; a graph guards its methods one by one (its nodes are
# walked too often), and nn.block what it makes.
FREE = {
    "cauce.CauceError",
    "cauce.Graph",
    "cauce.nn.block",
    "cauce.training.Epoch",
    "cauce.training.Transform",
}


def test_every_public_entry_is_guarded() -> None:
    bare = []
    for name, entry in entries():
        function = vars(entry).get("__init__") if isinstance(entry, type) else entry
        if callable(function) and inspect.isfunction(inspect.unwrap(function)):
            file = inspect.unwrap(function).__code__.co_filename
            if not hasattr(function, "__wrapped__") and (is_library(file) or file == "<string>"):
                bare.append(name)
    assert set(bare) <= FREE


def test_signatures_and_docstrings_stay() -> None:
    assert list(inspect.signature(nn.conv2d).parameters)[:3] == ["x", "out_channels", "kernel_size"]
    assert (nn.conv2d.__doc__ or "").startswith("Convolution over x")
    assert list(inspect.signature(cauce.SGD).parameters)[:2] == ["lr", "momentum"]
    with pytest.raises(AttributeMistake):
        cauce.SGD(-1.0)
    with pytest.raises(DataError):
        Dataset(np.zeros((0, 1, 3, 3)), np.zeros(0, int), ("a",))
