"""An executable that is compiled for the sizes, or the values, that a call comes with."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np

from ..ir import Array, Input
from ..ir.errors import GraphError, ShapeError
from ..ir.evaluate import bind_symbols, check_feeds
from ..ir.tracebacks import user_facing
from ..ir.unknown import Needs, Unknown
from .contract import Dims, NodeTime, State
from .executable import Executable
from .recent import LIMIT, Recent

if TYPE_CHECKING:
    from .plan_text import PlanText

Sizes = Mapping[str, int]
Values = Mapping[str, Array]
# Inputs of more elements are no axes, shapes or scales: each call would bring others.
_MOST_ELEMENTS = 2**12


class Open(Protocol):
    """A network whose graph depends on what ``needs`` lists."""

    @property
    def name(self) -> str:
        """Its name."""

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    needs: Needs


@user_facing
class SpecializedExecutable(Executable):
    """An executable for a network whose graph depends on some sizes, or on values of some inputs.

    Where a size leaves the algebra of symbolic dimensions (``min(H, 64)``, ``H % 2``, a rounding),
    its symbol is *specialised*: the first call with another size makes the graph for it and
    compiles that; all other symbols stay free. So are inputs whose elements decide on shapes. The
    last 16 are kept, and those before are compiled again when they come back (native code is then
    in the cache on disk). A size of 0 is specialised always, since a symbol stands for at least 1,
    and so are all sizes where shapes do not fit for every size.

    Args:
        source: the network.
        compile: makes the executable for sizes of symbols and values of inputs, which are its
            inputs no more. Where it raises :class:`~cauce.ir.unknown.Unknown`, it is asked again
            with these too.
        backend: the name of the backend.
        taps: the names of the tapped values.
    """

    def __init__(
        self,
        source: Open,
        compile: Callable[[Sizes, Values], Executable],
        backend: str,
        taps: Sequence[str] = (),
    ) -> None:
        self.name = source.name
        self._source, self._compile, self._backend = source, compile, backend
        self._inputs = list(source.inputs)
        self._names = [value.name for value in self._inputs]
        self._updated = []
        self._tapped = list(taps)
        self._types = {}
        self._count = len(source.outputs)
        self._made: Recent[tuple[Any, ...], Executable] = Recent()
        self._last: Executable | None = None

    @property
    def backend(self) -> str:
        """The name of the backend that compiles it."""
        return self._backend

    @property
    def taps(self) -> list[str]:
        """What :meth:`tapped` returns beside the outputs."""
        return list(self._tapped)

    def __repr__(self) -> str:
        takes = ", ".join(f"{value.name}: {value.type}" for value in self._inputs)
        gives = ", ".join(self._source.outputs)
        shown = f"<Executable {self.name} on {self.backend}: ({takes}) -> ({gives})"
        return f"{shown}{self._state()}>"

    def _state(self) -> str:
        """What it is specialised on, and for what it is compiled."""
        if not str(self._source.needs):
            return ""
        kept = self._made.keys()
        made = "; ".join(map(_shown, kept)) or "none yet"
        return f", specialised on {self._source.needs} (the last {LIMIT} kept: {made})"

    def compile_ahead(self) -> bool:
        """Compile before the first call, unless it depends on what that brings; tells which."""
        try:
            self._find({}, {})
        except Unknown:
            return False
        return True

    def plan(self, **sizes: int) -> PlanText:
        """How the graph that was used last runs, below what it is specialised on.

        Args:
            sizes: of the symbols, as for any executable. Where they are those of all symbols that
                the graph depends on, it is the graph for these.
        """
        from .plan_text import PlanText

        needs = self._source.needs
        if self._last is None or needs.sizes:
            missing = [name for name in needs.sizes if name not in sizes]
            if not missing and not needs.inputs:
                self._find({name: sizes[name] for name in needs.sizes}, {})
        head = f"{self.name}{self._state()}"
        if self._last is None:
            return PlanText.of(self.name, head)
        rest = {name: size for name, size in sizes.items() if name not in needs.sizes}
        return PlanText.of(self.name, f"{head}\n{self._last.plan(**rest)}")

    def load_state_dict(self, parameters: Mapping[str, object]) -> NoReturn:
        """Raise GraphError: which parameters there are is known when sizes are."""
        raise GraphError(
            f"{self.name} is compiled when it is called, for each {self._source.needs}: it takes "
            "no other weights",
            fix="fix its sizes when loading, inputs={...}, and load weights into that model",
        )

    def follow(self, model: object) -> NoReturn:
        """Raise GraphError, as :meth:`load_state_dict`."""
        self.load_state_dict({})

    def __getstate__(self) -> dict[str, Any]:
        """What it is made of; a copy compiles anew."""
        return {
            "source": self._source,
            "compile": self._compile,
            "backend": self._backend,
            "taps": self._tapped,
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Be what :meth:`__getstate__` says."""
        SpecializedExecutable.__init__(self, **state)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name != "program":
                raise AttributeError(f"'SpecializedExecutable' object has no attribute {name!r}")
            if self._last is None:
                raise GraphError(
                    f"{self.name} is compiled when it is called, for each {self._source.needs}",
                    fix="call it once, or fix its sizes when loading, inputs={...}",
                )
            return self._last.program

    def _run(
        self,
        feeds: Mapping[str, object],
        state: State | None,
        out: Array | Sequence[Array] | None,
        profile: list[NodeTime] | None,
    ) -> list[Array]:
        arrays = check_feeds(self._inputs, feeds, self.name)
        dims = bind_symbols([value.type for value in self._inputs], arrays, names=self._inputs)
        values = dict(zip(self._names, arrays))
        executable, taken = self._find(dims, values)
        rest = {name: array for name, array in values.items() if name not in taken}
        return executable._run(rest, state, out, profile)

    def _find(self, dims: Dims, arrays: Values) -> tuple[Executable, Sequence[str]]:
        """The executable for a call, and the inputs that it does not take."""
        needs = self._source.needs
        while True:
            taken = needs.inputs
            sizes = {s: n for s, n in dims.items() if s in needs.sizes or n == 0}
            values = {name: arrays[name] for name in taken if name in arrays}
            _check_few(values)
            key = (
                *sorted(sizes.items()),
                *((name, a.shape, a.dtype.str, a.tobytes()) for name, a in values.items()),
            )
            try:
                found = self._made.get(key, lambda: self._compile(sizes, values))  # noqa: B023
            except Unknown as error:
                needs.learn(error)
            except ShapeError as error:
                # What does not fit for every size may fit for that of the call.
                if not dims.keys() - sizes.keys():
                    raise
                needs.learn(Unknown(error.what, sizes=dims))
            else:
                self._last, self._types = found, dict(found._types)
                return found, taken


def _check_few(values: Values) -> None:
    for name, array in values.items():
        if array.size > _MOST_ELEMENTS:
            raise GraphError(
                f"the graph depends on the value of {name}, and would be made anew for each: it "
                f"has {array.size} elements, and may have {_MOST_ELEMENTS}",
                fix="use a model whose shapes do not depend on it",
            )


def _shown(key: tuple[Any, ...]) -> str:
    """What an entry was made for."""
    parts = []
    for name, *rest in key:
        value = rest[0]
        if len(rest) > 1:
            shape, dtype, elements = rest
            value = reprlib.repr(np.frombuffer(elements, dtype).reshape(shape).tolist())
        parts.append(f"{name}={value}")
    return ", ".join(parts) or "any"
