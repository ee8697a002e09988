"""Programs of the LLVM backend: one module of native code for a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np

from ....ir import Array, Graph, Input
from ....ir.communicator import Communicator
from ....ir.errors import ShapeError
from ....ir.unread import UnreadGraph
from ....ir.version import VERSION
from ...contract import (
    ArrayState,
    Dims,
    Interface,
    NodeTime,
    Program,
    Request,
    State,
    check_sizes,
)
from ..abi import Artifact
from .cache import default_store
from .invocation import Caller, Fixed, Workspace
from .key import sizes_key
from .layout import size_of
from .library import load
from .memory import aligned_copy, aligned_together, arriving, empty
from .threads import shared_pool, thread_count


class Listing(Protocol):
    """What a program shows of itself."""

    def plan(self, sizes: Mapping[str, int]) -> str:
        """How the graph runs."""

    def code(self, form: str, layer: str | None = None) -> str:
        """The code of a layer, or of everything, in one of the forms."""


class Maker(Protocol):
    """What made a program, and knows what the runtime does not."""

    def listing(self, program: LlvmProgram, request: Request) -> Listing:
        """What a program shows of itself."""

    def recipe(
        self, program: LlvmProgram, request: Request
    ) -> tuple[Callable[..., LlvmProgram], tuple[Any, ...]]:
        """A function and its arguments that make the program once more, in any process."""


class LlvmProgram(Program):
    """A graph as native code.

    Args:
        artifact: the code.
        request: what it was compiled for; ``threads`` says how many share the work
            (``CAUCE_NUM_THREADS``, or all processors, where None). The results are the same for
            any number.
        maker: what the program asks where it must be lowered or compiled once more.
    """

    backend = "llvm"
    forms = ("llvm", "assembly")

    def __init__(self, artifact: Artifact, request: Request, maker: Maker) -> None:
        self.target = artifact.target
        self._request = request
        self._maker = maker
        self._interface = artifact.interface
        self._digest = artifact.digest
        self._code = load(artifact.code, self.target)
        self.threads = thread_count(request.threads)
        pool = shared_pool(self.threads)
        self._prepare = Caller(artifact.prepare, self._code, pool, request)
        self._main = Caller(artifact.main, self._code, pool, request)
        self._idle: list[Workspace] = []
        self._looked_up = False
        # How the buffers of a call get their arrays.
        main, updates = artifact.main, artifact.interface.updates
        self._leaving = (*main.outputs, *main.updates)
        packed = {place.name for place in artifact.prepare.outputs}
        fixed = {place.slot for place in main.inputs if place.name in packed} | set(main.constants)
        self._passed = [place.slot for place in self._leaving if place.slot in fixed]
        self._held = [(place.name, place.slot) for place in main.inputs if place.name in updates]
        given = [place for place in main.inputs if place.name not in updates]
        self._called = [place.slot for place in given if place.name not in packed]
        slots = {place.slot for place in main.inputs}
        fresh = [place for place in main.updates if place.name not in main.in_place]
        self._fresh = [(place.name, place.slot, place.slot in slots) for place in fresh]

    @property
    def callers(self) -> tuple[Caller, Caller]:
        """What calls ``prepare`` and ``main``."""
        return self._prepare, self._main

    def __reduce__(self) -> tuple[Any, ...]:
        """What asks for this program again: its code is in the cache there, or compiled anew."""
        function, arguments = self._maker.recipe(self, self._request)
        return function, arguments, {"_identity": self.identity}

    @property
    def interface(self) -> Interface:
        return self._interface

    @cached_property
    def graph(self) -> Graph:  # type: ignore[override]
        """The graph as the passes leave it, made when it is asked for."""
        return self._request.optimize()

    def check(self, dims: Dims) -> None:
        known = self._main.sizes(dims)
        for name in self._main.entry.symbols:
            if name not in known:
                raise ShapeError(
                    f"{self._interface.name}: no input tells the size of dimension {name}",
                    fix=f"make {name} a dimension by itself of one of the inputs, or a number",
                )
        given = self._request.given
        if not isinstance(given, UnreadGraph) or self._looked_up:
            check_sizes(self._request.source, dims)
            return
        # What was checked before is kept, so that the first call need not parse the graph. The
        # first call alone: where each brings other sizes, keeping them would last longer.
        self._looked_up = True
        store, key = default_store(), sizes_key(given, dims)
        if store.get(key) is None:
            check_sizes(given.graph, dims)
            store.put(key, b"")

    @cached_property
    def listing(self) -> Listing:
        """What it shows of itself, made when it is asked for."""
        return self._maker.listing(self, self._request)

    def plan(self, **sizes: int) -> str:
        return self.listing.plan(sizes)

    def code(self, form: str, layer: str | None = None) -> str:
        return self.listing.code(form, layer)

    @property
    def fingerprint(self) -> str:
        digest = self._digest
        return f"cauce {VERSION}, llvm for {self.target.cpu} ({self.target.name}), code {digest}"

    def prepare(self, parameters: Mapping[str, Array]) -> Fixed:
        entry = self._prepare.entry
        held = {place.name: _contiguous(parameters[place.name]) for place in entry.inputs}
        arrays = {place.slot: held[place.name] for place in entry.inputs}
        arrays.update(self._prepare.constants(entry.outputs))
        places = {place.slot: place for place in entry.outputs}
        sizes = [
            arrays[slot].nbytes if slot in arrays else size_of(place.nbytes, {})
            for slot, place in places.items()
        ]
        rooms = dict(zip(places, aligned_together(sizes)))
        for slot, room in rooms.items():
            if slot in arrays:
                # A copy, for the caller may alter its own array later.
                own = arrays[slot]
                rooms[slot] = room.view(own.dtype).reshape(own.shape)
                rooms[slot][...] = own
            else:
                arrays[slot] = room
        packed = {place.name: rooms[place.slot] for place in entry.outputs}
        with arriving(list(rooms.values())):
            self._prepare.run(arrays, self._prepare.new_workspace(self._prepare.layout({})))
        slots = {place.name: place.slot for place in self._main.entry.inputs}
        fixed = {slots[name]: array for name, array in packed.items()}
        for place in self._leaving:
            if place.slot in fixed:
                # What leaves the graph is dense, so the bytes that were prepared are its elements.
                own = fixed[place.slot].view(place.type.dtype.numpy)
                fixed[place.slot] = own.reshape(place.type.bind({}).shape)
        return Fixed({**fixed, **self._main.constants(self._leaving)})

    def new_state(self, values: Mapping[str, Array]) -> ArrayState:
        return AlignedState(self._interface.updated, values)

    def new_arena(self, dims: Dims) -> Workspace:
        """What an earlier call with these sizes left, if one did: its memory is warm."""
        layout = self._main.layout(dims)
        try:
            workspace = self._idle.pop()
        except IndexError:
            return self._main.new_workspace(layout)
        return workspace if workspace.layout is layout else self._main.new_workspace(layout)

    def main(
        self,
        dims: Dims,
        packed: Fixed,
        state: State | None,
        arena: Workspace,
        inputs: Sequence[Array],
        outputs: Sequence[Array | None],
        profile: list[NodeTime] | None = None,
        communicator: Communicator | None = None,
    ) -> list[Array]:
        assert state is None or isinstance(state, ArrayState)
        entry, side = self._main.entry, arena.arena.side
        held = state.arrays if state is not None else {}
        arrays = {slot: packed.arrays[slot] for slot in self._passed}
        arrays.update(zip(self._called, map(_contiguous, inputs)))
        for name, slot in self._held:
            arrays[slot] = held[name]
        borrowed = set(arrays)
        for place, shape, out in zip_longest(self._leaving, arena.layout.shapes, outputs):
            if place.slot not in arrays:
                # Where a check may fail, what was computed before it must not show.
                if out is None or entry.checks or not _writable_in_place(out, inputs):
                    out = empty(shape, place.type.dtype, side)
                arrays[place.slot] = out
        self._main.run(arrays, arena, packed, profile, communicator)
        if side is None:  # in the test mode every call gets poisoned scratch
            self._idle.append(arena)
        results = []
        for place, out in zip(entry.outputs, outputs):
            array = arrays[place.slot]
            if out is not None:
                if array is not out:
                    out[...] = array
                results.append(out)
            else:
                results.append(array.copy() if place.slot in borrowed else array)
            borrowed.add(place.slot)
        # All reads are done: the new values take their places. Those that are other inputs are
        # copied first, before these change.
        new = [
            (held[name], arrays[slot].copy() if given else arrays[slot])
            for name, slot, given in self._fresh
        ]
        for old, array in new:
            old[...] = array
        return results


class AlignedState(ArrayState):
    """State whose arrays begin at a cache line, in the process that it is copied to as well."""

    def __init__(self, inputs: Sequence[Input], arrays: Mapping[str, Array]) -> None:
        super().__init__(inputs, _aligned(arrays))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state, arrays=_aligned(state["arrays"]))


def _aligned(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: aligned_copy(array) for name, array in arrays.items()}


def _contiguous(array: Array) -> Array:
    flags = array.flags
    fit = flags.c_contiguous and flags.aligned
    return array if fit else aligned_copy(array)


def _writable_in_place(out: Array, inputs: Sequence[Array]) -> bool:
    """Whether native code may write to ``out`` while it reads the inputs."""
    fit = out.flags.c_contiguous and out.flags.aligned and out.flags.writeable
    return fit and not any(np.may_share_memory(out, array) for array in inputs)
