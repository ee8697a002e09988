"""Errors that name ours where a user of another library asked for theirs.

:func:`unknown_attribute` is for attributes and methods, :func:`wrong_call` for arguments,
:func:`as_array` and :func:`need_own_loss` for objects. The names stand in the table of
:mod:`cauce.ir.habits`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from .errors import ShapeError, TypeMismatch, UnknownAttribute, did_you_mean
from .habits import ARGUMENTS, CALLS, LAYERS, LOSSES, OWN_LOSS
from .tracebacks import user_facing
from .types import Array

_LIBRARIES = ("torch", "torchvision", "keras", "tensorflow", "jax", "flax")


def unknown_attribute(
    what: str, name: str, instead: Mapping[str, str], known: Iterable[str], prefix: str = ""
) -> UnknownAttribute:
    """The error for an attribute that is not there.

    Args:
        what: whose attribute: ``"a tensor"``.
        name: that was asked for.
        instead: the part of the table.
        known: the names that there are.
        prefix: what stands before a name: ``"x."``.
    """
    fix = instead.get(name)
    if fix is None:
        public = [f"{prefix}{other}" for other in known if not other.startswith("_")]
        fix = did_you_mean(f"{prefix}{name}", public, f"there are {', '.join(public)}")
    return UnknownAttribute(f"{what} has no {name!r}", fix=fix)


@user_facing
class Foreign:
    """Base of what users of other libraries ask for methods that it does not have.

    Class variables:
        habits: the part of the table.
    """

    habits: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # a type checker should go on to know which attributes there are

        def __getattr__(self, name: str) -> NoReturn:
            kind = type(self).__name__
            if name.startswith("_"):  # what Python and its tools look for
                raise AttributeError(f"{kind!r} object has no attribute {name!r}")
            raise unknown_attribute(f"a {kind}", name, self.habits, dir(type(self)))


def as_array(value: object, what: str) -> Array:
    """``value`` as NumPy makes an array of it; ``what`` says what it is for.

    Other objects that make arrays of themselves keep their own errors.

    Raises:
        TypeMismatch: a tensor of another library, or a list of such, that does not give its
            numbers: of PyTorch in bfloat16, or with a gradient.
        ShapeError: nested lists of different lengths.
    """
    try:
        return np.asarray(value)
    except (RuntimeError, TypeError, ValueError) as error:
        first = value
        while isinstance(first, (list, tuple)) and first:
            first = first[0]
        problem = f"{what} cannot be made an array: {error}"
        if foreign(first):
            raise TypeMismatch(
                problem,
                fix="take it out of its library first: tensor.detach().cpu().numpy(), or "
                "tensor.detach().float().cpu().numpy() where it is in bfloat16",
            ) from None
        if isinstance(value, (list, tuple)) and isinstance(error, ValueError):
            raise ShapeError(
                problem, fix="give numbers in nested lists of equal lengths, or an array"
            ) from None
        raise


def foreign(value: object) -> str | None:
    """The library that ``value``, or its class, is of, where that is another one for networks."""
    module = getattr(value, "__module__", None) or type(value).__module__
    library = str(module).partition(".")[0]
    return library if library in _LIBRARIES else None


def need_own_loss(what: str, function: object) -> None:
    """Raise TypeMismatch for a loss or a metric of another library."""
    library = foreign(function)
    if library is not None:
        name = getattr(function, "__name__", type(function).__name__)
        raise TypeMismatch(
            f"the {what} is {name} of {library}, which computes with tensors of its own",
            fix=LOSSES.get(name) or LAYERS.get(name) or OWN_LOSS,
        )


def wrong_call(
    function: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object], why: str
) -> TypeMismatch:
    """The error for arguments that a function does not take; ``why`` is what Python says."""
    owner, _, name = function.__qualname__.rpartition(".")
    called = name
    if name == "__init__":
        called = type(args[0]).__name__ if args else owner
    everything = inspect.signature(function).parameters.items()
    rest = inspect.Parameter.VAR_KEYWORD
    parameters = {own: parameter for own, parameter in everything if parameter.kind is not rest}
    unknown = [given for given in kwargs if given not in parameters]
    if unknown:
        fix = _argument(called, unknown[0], list(parameters))
    else:
        fix = CALLS.get(called) or f"call it as {called}({_listed(parameters.values())})"
    return TypeMismatch(re.sub(r"^(\w+\.)*(__init__)\(", f"{called}(", why), fix=fix)


def _argument(function: str, name: str, known: Sequence[str]) -> str:
    """What to write for an argument that the function does not have."""
    ours = ARGUMENTS.get(f"{function}.{name}", ARGUMENTS.get(name))
    if ours is not None and not ours.endswith("="):
        return ours
    if ours is not None and ours[:-1] in known:
        return f"write {ours}..., which means the same here"
    named = [other for other in known if other != "self"]
    return did_you_mean(name, named, f"{function} takes {', '.join(named)}")


def _listed(parameters: Iterable[inspect.Parameter]) -> str:
    """Parameters as they are written in a call: without annotations, defaults where they are
    short."""
    parts, keywords = [], False
    for parameter in parameters:
        if parameter.name == "self":
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not keywords:
            parts.append("*")
            keywords = True
        keywords = keywords or parameter.kind is inspect.Parameter.VAR_POSITIONAL
        default = parameter.default
        if default is inspect.Parameter.empty:
            parts.append(str(parameter.replace(annotation=inspect.Parameter.empty)))
        else:
            plain = default is None or isinstance(default, (bool, int, float, str, tuple))
            parts.append(f"{parameter.name}={repr(default) if plain else '...'}")
    return ", ".join(parts)
