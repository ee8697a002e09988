"""What is kept on disk from one process to the next, as a list."""

from __future__ import annotations

from .backends.llvm.runtime.cache import Store, StoredFile
from .backends.llvm.stored import from_bytes
from .ir.errors import CompileError
from .ir.record import Record
from .kept_imports import name_of
from .loading import name_of as name_of_graph


class Kept(Record):
    """One file of the cache.

    Attributes:
        what: ``code``, ``import`` (what an ONNX file became), ``graph`` (that a text in a file of
            ``Model.save`` is one), ``sizes`` (that a network takes some), or ``unknown``: of
            another version, or damaged.
        name: of the network; "" where it is not said.
        target: the vectors that code is for; "" for all else.
        file: where it lies, its size, and when it was used.
    """

    what: str
    name: str
    target: str
    file: StoredFile


def kept(store: Store) -> list[Kept]:
    """What is in a store, that which was used last first. To look is no use of it."""
    return [_looked_at(store, file) for file in sorted(store.files(), reverse=True)]


def _looked_at(store: Store, file: StoredFile) -> Kept:
    blob = None if file.key is None else store.get(file.key, used=False)
    if blob is None:
        return Kept("unknown", "", "", file)
    if not blob:
        return Kept("sizes", "", "", file)
    try:
        artifact = from_bytes(blob)
        return Kept("code", artifact.interface.name, artifact.target.name, file)
    except CompileError:
        pass
    for what, name_in in (("import", name_of), ("graph", name_of_graph)):
        name = name_in(blob)
        if name is not None:
            return Kept(what, name, "", file)
    return Kept("unknown", "", "", file)
