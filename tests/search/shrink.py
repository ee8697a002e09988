"""A smaller network with the same fault."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator

from cauce.ir import Graph, Role, Value

from .trial import Failure, Sizes, trial


def failing(graph: Graph, sizes: Sizes, dtype: str, seed: int) -> Failure | None:
    """How a network fails; it runs in a process of its own, which a wrong address may end."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        found: tuple[str, str] | None = None
        try:
            trial(graph, sizes, dtype, seed)
        except Failure as failure:
            found = failure.kind, str(failure)
        except Exception as error:
            found = f"raised {type(error).__name__}", str(error)
        with os.fdopen(writer, "wb") as stream:
            pickle.dump(found, stream)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    if not text:
        name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "an exit"
        return Failure("crash", name)
    found = pickle.loads(text)
    if found is None:
        return None
    kind, message = found
    return Failure(kind, message.removeprefix(f"{kind}: "))


def shrunk(graph: Graph, sizes: Sizes, dtype: str, seed: int) -> tuple[Graph, Failure]:
    """The smallest network found that fails as ``graph`` does.

    Raises:
        ValueError: the network does not fail.
    """
    last = failing(graph, sizes, dtype, seed)
    if last is None:
        raise ValueError("this network does not fail")
    while True:
        for smaller in reductions(graph):
            found = failing(smaller, sizes, dtype, seed)
            if found is not None and found.kind == last.kind:
                graph, last = smaller, found
                break
        else:
            return graph, last


def reductions(graph: Graph) -> Iterator[Graph]:
    """Networks with an output, an update or a node less."""
    for name in graph.outputs if len(graph.outputs) + len(graph.updates) > 1 else ():
        yield without(graph, lambda twin, name=name: twin.outputs.pop(name))
    for target in graph.updates if graph.outputs else ():
        yield without(graph, lambda twin, name=target.name: twin.updates.pop(twin.value(name)))
    for node in graph.nodes_reversed:
        for value in node.results:
            for operand in node.operands:
                if operand.type == value.type:
                    yield without(graph, replacing(value.name, operand.name))
            yield without(graph, replacing(value.name, None))


def replacing(old: str, new: str | None) -> Callable[[Graph], None]:
    """Let what reads one value read another; a new input where that is None."""

    def change(twin: Graph) -> None:
        value = twin.value(old)
        other: Value
        if new is None:
            number = sum(1 for given in twin.inputs if given.name.startswith("cut"))
            other = twin.add_input(f"cut{number + 1}", value.type, Role.DATA)
        else:
            other = twin.value(new)
        twin.replace(value, other)

    return change


def without(graph: Graph, change: Callable[[Graph], object]) -> Graph:
    """A copy that was changed, and from which what nothing reads is gone."""
    twin = graph.copy()
    change(twin)
    for node in twin.nodes_reversed:
        if not any(value.users or twin.leaves(value) for value in node.results):
            twin.erase(node)
    for value in list(twin.inputs):
        if not (value.users or value in twin.updates or twin.leaves(value)):
            twin.remove_input(value)
    return twin
