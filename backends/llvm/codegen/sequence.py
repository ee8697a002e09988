"""The functions that run launches one after the other: each walks a table of them.

The table is data, so what LLVM has to compile does not grow with the number of launches. Functions
and tables of integers stand in it as distances from their row: the code may lie anywhere, and
nothing has to be filled in when it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....ir import Dim
from ..target import Target
from .builder import Module, V, i64
from .code import Launch, Stage

# Of a launch: the function, the place of its buffers in the table of all, how many tasks it has,
# whether one thread does them alone, the number of its check, and its table of integers, 0 where it
# has none. Tasks below zero count the places of an array that is computed from the sizes of a call:
# -1 is its first.
_ROW = "{ i32, i32, i64, i32, i32, i32 }"
_ROW_BYTES = 32

# A check that fails has left another number than -1 where its first buffer lies.
_LAUNCHES = """
define internal i64 @launches(ptr %first, i64 %count, ptr %computed, ptr %table, ptr %dims,
                              ptr %pool, ptr %times, i64 %before) {
entry:
  %timed = icmp ne ptr %times, null
  br label %next
next:
  %number = phi i64 [ 0, %entry ], [ %following, %run ], [ %following, %look ]
  br i1 %timed, label %note, label %test
note:
  %all = add i64 %before, %number
  %behind = mul i64 %all, 16
  %at.time = getelementptr i8, ptr %times, i64 %behind
  %noted = call i32 @clock_gettime(i32 {CLOCK}, ptr %at.time)
  br label %test
test:
  %more = icmp slt i64 %number, %count
  br i1 %more, label %read, label %end
read:
  %following = add i64 %number, 1
  %row = getelementptr {ROW}, ptr %first, i64 %number
  %at.place = getelementptr {ROW}, ptr %row, i64 0, i32 1
  %at.tasks = getelementptr {ROW}, ptr %row, i64 0, i32 2
  %at.alone = getelementptr {ROW}, ptr %row, i64 0, i32 3
  %at.check = getelementptr {ROW}, ptr %row, i64 0, i32 4
  %at.integers = getelementptr {ROW}, ptr %row, i64 0, i32 5
  %distance = load i32, ptr %row
  %far = sext i32 %distance to i64
  %function = getelementptr i8, ptr %row, i64 %far
  %place = load i32, ptr %at.place
  %wide = zext i32 %place to i64
  %own = getelementptr ptr, ptr %table, i64 %wide
  %alone = load i32, ptr %at.alone
  %together = icmp eq i32 %alone, 0
  %threads = select i1 %together, ptr %pool, ptr null
  %check = load i32, ptr %at.check
  %beyond = load i32, ptr %at.integers
  %past = sext i32 %beyond to i64
  %integers = getelementptr i8, ptr %row, i64 %past
  %sized = icmp eq i32 %beyond, 0
  %sizes = select i1 %sized, ptr %dims, ptr %integers
  %given = load i64, ptr %at.tasks
  %known = icmp sge i64 %given, 0
  br i1 %known, label %run, label %compute
compute:
  %turned = xor i64 %given, -1
  %at.computed = getelementptr i64, ptr %computed, i64 %turned
  %found = load i64, ptr %at.computed
  br label %run
run:
  %tasks = phi i64 [ %given, %read ], [ %found, %compute ]
  call void @run(ptr %threads, ptr %function, ptr %own, ptr %sizes, i64 %tasks)
  %plain = icmp eq i32 %check, 0
  br i1 %plain, label %next, label %look
look:
  %status = load ptr, ptr %own
  %wrong = load i64, ptr %status
  %fine = icmp eq i64 %wrong, -1
  br i1 %fine, label %next, label %fail
fail:
  %failed = zext i32 %check to i64
  ret i64 %failed
end:
  ret i64 0
}
"""


def write_launches(module: Module, target: Target) -> None:
    """Write ``launches``, which walks a table of launches: 0, or the number of a check that
    failed."""
    clock = 6 if "apple" in target.triple else 1  # CLOCK_MONOTONIC of macOS, and of Linux
    text = _LAUNCHES.replace("{CLOCK}", str(clock)).replace("{ROW}", _ROW)
    module.functions.append(text.strip())
    module.declarations.add("declare i32 @clock_gettime(i32, ptr)")


def write_sequence(
    module: Module,
    target: Target,
    symbols: Sequence[str],
    name: str,
    launches: Sequence[Launch],
    before: Sequence[Launch],
    status: int | None,
) -> None:
    """Write the function that runs some launches one after the other.

    Args:
        module: takes it in, with its table.
        target: the processor.
        symbols: the names of the dimensions that it takes, in order.
        name: of the function.
        launches: in order.
        before: those of other functions that come before them.
        status: the buffer in which checks note what is wrong.
    """
    parameters = [("ptr", "table"), ("ptr", "dims"), ("ptr", "pool"), ("ptr", "times")]
    stage = Stage(target, symbols, name, parameters, "i64")
    f = stage.f
    table_name = f"@{name}.launches"
    computed: dict[Dim, int] = {}
    rows: list[str] = []
    place = sum(len(launch.slots) for launch in before)
    for launch in launches:
        row = f"ptr getelementptr (i8, ptr {table_name}, i64 {len(rows) * _ROW_BYTES})"
        integers = launch.function.integers
        far = _distance(row, f"ptr @{launch.function.name}")
        further = _distance(row, str(integers)) if integers else "i32 0"
        tasks = launch.tasks
        if not isinstance(tasks, int):
            tasks = -1 - computed.setdefault(tasks, len(computed))
        check = launch.check if launch.check and launch.slots[0] == status else 0
        fields = f"i32 {place}, i64 {tasks}, i32 {int(launch.alone)}, i32 {check}"
        rows.append(f"{_ROW} {{ {far}, {fields}, {further} }}")
        place += len(launch.slots)
    content = ",\n  ".join(rows)
    module.functions.append(
        f"{table_name} = private constant [{len(rows)} x {_ROW}] [\n  {content}\n]"
    )
    array = V("null", "ptr")
    if computed:
        array = f.value(f"alloca [{len(computed)} x i64]", "ptr")
    for tasks, number in computed.items():
        f.store(stage.dim(tasks), f.at(array, number, 8), 8)
    first, count, earlier = V(table_name, "ptr"), i64(len(rows)), i64(len(before))
    given = (first, count, array, *f.parameters, earlier)
    f.ret(f.value(f"call i64 @launches({', '.join(map(str, given))})", "i64"))
    module.add(f, "")


def _distance(start: str, end: str) -> str:
    """The way from one pointer to another, as a constant of 32 bits."""
    far = f"sub (i64 ptrtoint ({end} to i64), i64 ptrtoint ({start} to i64))"
    return f"i32 trunc (i64 {far} to i32)"
