"""Records: what frozen dataclasses are, without code that is generated for each class.

``dataclass(frozen=True)`` writes six methods for each class as text and compiles them, a third of
a millisecond in all. There are more than a hundred ops and passes, which every program imports
before it does anything. So their methods stand here, once. ``fields``, ``replace`` and the like
are those of dataclasses, for a record becomes one when it is first asked for its fields.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from inspect import get_annotations
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

if TYPE_CHECKING:
    from inspect import Signature


class _Signature:
    """The signature of a class of records, made when asked for: by ``help``, or for an error."""

    def __get__(self, record: Record | None, cls: type[Record]) -> Signature | None:
        from inspect import Parameter, Signature

        if record is not None:
            return None  # what is asked for is how the record is called, not its class
        return Signature(
            [
                Parameter(
                    name,
                    Parameter.POSITIONAL_OR_KEYWORD,
                    default=cls._defaults.get(name, Parameter.empty),
                    annotation=cls._kinds[name],
                )
                for name in cls._names
            ]
        )


class _Fields:
    """The fields of a class of records as dataclasses want them, made when asked for."""

    def __get__(self, record: Record | None, cls: type[Record]) -> Any:
        if cls is Record:
            raise AttributeError("Record itself is no dataclass")
        dataclass(init=False, repr=False, eq=False)(cls)  # puts them in the place of this
        return cls.__dataclass_fields__


@dataclass_transform(frozen_default=True)
class Record:
    """Base of records: a subclass is a frozen dataclass of the fields that it annotates.

    Defaults are plain values. ``__post_init__`` is called when all fields are set. Two records are
    equal where they are of one class and their fields are equal.
    """

    __signature__: ClassVar[Any] = _Signature()
    __dataclass_fields__: ClassVar[Any] = _Fields()
    _kinds: ClassVar[dict[str, Any]] = {}  # the annotations of the fields, in order
    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        cls.__dataclass_fields__ = _Fields()
        kinds: dict[str, Any] = {}
        for base in reversed(cls.__mro__[1:]):
            kinds.update(vars(base).get("_kinds", {}))
        own = get_annotations(cls).items()
        kinds.update((name, kind) for name, kind in own if "ClassVar" not in str(kind))
        cls._kinds, cls._names = kinds, tuple(kinds)
        type.__setattr__(cls, "__match_args__", cls._names)
        cls._defaults = {name: getattr(cls, name) for name in kinds if hasattr(cls, name)}

    def __init__(self, *values: Any, **named: Any) -> None:
        given = dict(zip(self._names, values), **named)
        state = given if len(given) == len(self._names) else {**self._defaults, **given}
        if len(given) < len(values) + len(named) or state.keys() != self._kinds.keys():
            try:
                type(self).__signature__.bind(*values, **named)
            except TypeError as error:
                raise TypeError(f"{type(self).__name__}: {error}") from None
        vars(self).update(state)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields, or bring them into one form, with ``vars(self)[name] = ...``."""

    def _values(self) -> tuple[Any, ...]:
        return tuple(map(vars(self).__getitem__, self._names))

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what was computed from them, a hash say, holds in one process."""
        return dict(zip(self._names, self._values()))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self._names]
        return f"{type(self).__qualname__}({', '.join(shown)})"

    if not TYPE_CHECKING:  # the type checker knows that records are frozen

        def __setattr__(self, name, value):
            raise FrozenInstanceError(f"cannot assign to field {name!r}")

        def __delattr__(self, name):
            raise FrozenInstanceError(f"cannot delete field {name!r}")
