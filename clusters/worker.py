"""What runs in a worker: a call that was sent once, and is kept, computes one batch after another.

A call travels as bytes that unpickle to a function and its arguments, which make it. They are named
by a digest of them, so that a worker that was at it before is sent nothing a second time.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..ir.digest import digest_of

Call = Callable[[Sequence[Any]], Sequence[Any]]

# How many calls a worker keeps: each holds a model.
_MOST = 2

_CALLS: OrderedDict[str, Call] = OrderedDict()
_SENT: dict[str, bytes] = {}
_LOCK = threading.Lock()


def _forked() -> None:
    """In a child, nobody would give the lock back that another thread of the parent has held."""
    global _LOCK
    _LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Done(NamedTuple):
    """A batch that was computed.

    Attributes:
        worker: who has computed it: host and process.
        seconds: how long that took, without making the call.
        results: one for each item.
    """

    worker: str
    seconds: float
    results: Sequence[Any]


class Absent(NamedTuple):
    """A batch that was not computed, since the worker has not been sent the call."""

    worker: str


def packed(make: Callable[..., Call], *arguments: object) -> tuple[str, bytes]:
    """The digest and the bytes of a call, which ``make(*arguments)`` gives in a worker."""
    content = pickle.dumps((make, arguments), protocol=pickle.HIGHEST_PROTOCOL)
    return digest_of(content), content


def keep(digest: str, content: bytes) -> None:
    """Have the bytes of a call at hand, for when a batch needs it."""
    _SENT[digest] = content


def drop(digest: str) -> None:
    """Need the bytes no more; a call that was made of them stays."""
    _SENT.pop(digest, None)


def work(digest: str, content: bytes | None, items: Sequence[Any]) -> Done | Absent:
    """Compute a batch.

    Args:
        digest: of the call.
        content: its bytes, where they are sent along.
        items: what the call takes.
    """
    call = _call(digest, content)
    if call is None:
        return Absent(name())
    return timed(call, items)


def timed(call: Call, items: Sequence[Any]) -> Done:
    """Compute a batch by a call that is here."""
    start = time.perf_counter()
    results = call(items)
    return Done(name(), time.perf_counter() - start, results)


def _call(digest: str, content: bytes | None) -> Call | None:
    """The call of a digest, made when it is first needed; None where its bytes are not here."""
    with _LOCK:  # several threads of a worker wait for the one that makes it
        call = _CALLS.get(digest)
        if call is None:
            content = _SENT.get(digest) if content is None else content
            if content is None:
                return None
            make, arguments = pickle.loads(content)
            call = _CALLS[digest] = make(*arguments)
        _CALLS.move_to_end(digest)
        while len(_CALLS) > _MOST:
            _CALLS.popitem(last=False)
        return call


def name() -> str:
    """Who this is: the host and the process."""
    return f"{socket.gethostname()}:{os.getpid()}"
