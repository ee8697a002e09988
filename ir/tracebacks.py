"""Tracebacks that end in the user's own code.

An error of a network is about a line that the user wrote, so this line should be the last one that
a traceback shows, right above the message. :func:`user_facing` marks what users call; it takes the
frames of the library out of the tracebacks of :class:`CauceError`, and of ``OSError``, which is
about the user's files. All other exceptions are faults of the library: its frames are wanted then.

``CAUCE_FULL_TRACEBACK=1`` in the environment keeps all frames, for work on the library itself.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from inspect import isgeneratorfunction
from types import FunctionType, TracebackType
from typing import Any, TypeVar

from .errors import CauceError, CauceWarning
from .location import here, is_user_frame

SWITCH = "CAUCE_FULL_TRACEBACK"

_PACKAGE = __name__.partition(".")[0] + "."

F = TypeVar("F", bound=Callable[..., Any])

# Of the methods with double underscores, those in which a user can make a mistake.
_ARITHMETIC = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
    *("and", "or", "xor"),
)
_SPECIAL = frozenset(
    f"__{name}__"
    for name in (
        *("init", "call", "getitem", "iter", "bool", "neg", "abs", "lt", "le", "gt", "ge"),
        *("getattr", "len", "float", "int", "array", "array_ufunc", "setitem", "invert"),
        *_ARITHMETIC,
        *(f"r{name}" for name in _ARITHMETIC),
    )
)


def user_facing(entry: F) -> F:
    """Decorator: what users call, a function or all public methods and properties of a class.

    It stands above ``@dataclass``, whose ``__init__`` it covers too.
    """
    if not isinstance(entry, type):
        return _guarded(entry)
    for name, member in list(vars(entry).items()):
        if name.startswith("_") and name not in _SPECIAL:
            continue
        if isinstance(member, FunctionType):
            setattr(entry, name, _guarded(member))
        elif isinstance(member, staticmethod):
            setattr(entry, name, staticmethod(_guarded(member.__func__)))
        elif isinstance(member, property) and member.fget is not None:
            guarded = member.getter(_guarded(member.fget))
            setter = member.fset
            setattr(entry, name, guarded.setter(_guarded(setter)) if setter else guarded)
    return entry


def _guarded(function: F) -> F:
    # A bare raise adds no frame: below the frame of the caller, a traceback shows what was left of
    # it here, and neither of these functions.
    @wraps(function)
    def entry(*args: Any, **kwargs: Any) -> Any:
        try:
            try:
                return function(*args, **kwargs)
            except TypeError as error:
                _check_call(function, args, kwargs, error)
                raise
        except (CauceError, OSError) as error:
            end_in_user_code(error)
            raise

    @wraps(function)
    def entries(*args: Any, **kwargs: Any) -> Iterator[Any]:
        try:
            try:
                yield from function(*args, **kwargs)
            except TypeError as error:
                _check_call(function, args, kwargs, error)
                raise
        except (CauceError, OSError) as error:
            end_in_user_code(error)
            raise

    return entries if isgeneratorfunction(function) else entry  # type: ignore[return-value]


def warn(what: str, fix: str) -> None:
    """Warn of what is done as asked, at the user's own line."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and not is_user_frame(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(f"{what}\n  fix: {fix}", CauceWarning, stacklevel=level)


def _check_call(
    function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], error: TypeError
) -> None:
    """Raise TypeMismatch where the arguments do not fit the signature: no frame of the function's
    is in the traceback then, and the mistake is in the call."""
    traceback = error.__traceback__
    if isinstance(error, CauceError) or traceback is None or traceback.tb_next is not None:
        return
    from .remedies import wrong_call

    raise wrong_call(function, args, kwargs, str(error)) from None


def end_in_user_code(error: CauceError | OSError) -> None:
    """Say where the user is, unless that is known, and take the library out of the traceback.

    To be called in an ``except`` clause that ends with a bare ``raise``.
    """
    caller = sys._getframe(2).f_globals.get("__name__", "")
    # Within the package another guard, or what knows the node, has still to say where.
    if isinstance(error, CauceError) and not caller.startswith(_PACKAGE):
        error.at(None, here())
    if os.environ.get(SWITCH, "0") in ("", "0"):
        _cut(error)


def _cut(error: BaseException) -> None:
    error.__traceback__ = _users(error.__traceback__)
    cause, context = error.__cause__, error.__context__
    if cause is not None:
        _cut(cause)
    elif context is not None and _users(context.__traceback__) is None:
        # Raised and caught within the library. One that the user was handling is kept.
        error.__suppress_context__ = True


def _users(traceback: TracebackType | None) -> TracebackType | None:
    """The user's frames of a traceback alone; None where there are none."""
    if traceback is None:
        return None
    following = _users(traceback.tb_next)
    if not is_user_frame(traceback.tb_frame):
        return following
    return TracebackType(following, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)
