"""Sharing the tasks of a launch among threads."""

from __future__ import annotations

from .emitter import Function, Module


class Pool:
    """The threads that run launches. One thread so far: the caller's own."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.address = 0

    @staticmethod
    def shared(threads: int | None = None) -> Pool:
        """The pool of this process."""
        return Pool(threads or 1)


def write_run(module: Module) -> None:
    """Write ``run(pool, function, table, dims, tasks)``: all tasks of one launch."""
    parameters = [("i64", "pool"), ("ptr", "function"), ("ptr", "table"), ("ptr", "dims")]
    f = Function("run", [*parameters, ("i64", "tasks")])
    _, function, table, dims, tasks = f.parameters
    f.line(f"call void {function.text}({table}, {dims}, i64 0, {tasks})")
    f.ret()
    module.add(f)
