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
