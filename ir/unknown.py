"""What a graph cannot be made without: sizes of symbols, or the values of inputs."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import UnsupportedOp


class Unknown(UnsupportedOp):
    """Something depends on sizes, or on values of inputs, that only a call tells.

    Whoever makes the graph raises it, and makes the graph again with these known: for the sizes
    that the caller gives beforehand, or for those of each call (``cauce.backends.specialized``).

    Args:
        what: the problem.
        sizes: the symbols whose sizes would do.
        inputs: the names of the inputs whose values are needed beside them.
    """

    def __init__(self, what: str, *, sizes: Iterable[str] = (), inputs: Iterable[str] = ()) -> None:
        self.sizes = frozenset(sizes)
        self.inputs = tuple(dict.fromkeys(inputs))
        super().__init__(what, fix=self._remedy())

    def __reduce__(self) -> tuple[object, ...]:
        """Be copied with what is needed, to another process too."""
        return _again, (type(self), self.what, self.sizes, self.inputs)

    def _remedy(self) -> str:
        known = [f"{name!r}: np.array(...)" for name in self.inputs]
        named = "the value of " + " and ".join(self.inputs)
        if not self.sizes:
            return f"give {named} when loading, inputs={{{', '.join(known)}}}"
        sizes = " and ".join(sorted(self.sizes))
        shapes = ", ".join(["'x': (1, 3, 224, 224)", *known])
        more = f" and {named}" if known else ""
        return f"fix the size {sizes}{more} when loading, for example inputs={{{shapes}}}"


def _again(
    kind: type[Unknown], what: str, sizes: frozenset[str], inputs: tuple[str, ...]
) -> Unknown:
    return kind(what, sizes=sizes, inputs=inputs)


class Needs:
    """What must be known before a graph can be made; it grows as that is found out.

    Attributes:
        sizes: symbols.
        inputs: the names of inputs whose elements count.
    """

    def __init__(self, first: Unknown | None = None) -> None:
        self.sizes: tuple[str, ...] = ()
        self.inputs: tuple[str, ...] = ()
        if first is not None:
            self.learn(first)

    def learn(self, error: Unknown) -> None:
        """Need what the error asks for too; raises it where that was known already."""
        sizes = sorted({*self.sizes, *error.sizes})
        inputs = tuple(dict.fromkeys((*self.inputs, *error.inputs)))
        if (tuple(sizes), inputs) == (self.sizes, self.inputs):
            raise error
        self.sizes, self.inputs = tuple(sizes), inputs

    def __str__(self) -> str:
        return ", ".join((*self.sizes, *(f"the value of {name}" for name in self.inputs)))
