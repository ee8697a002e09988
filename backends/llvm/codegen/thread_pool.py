"""The code of a thread pool: how threads share the tasks of a launch.

The tasks are cut into some chunks for each thread. Each thread, the caller too, does its own first,
which are the same part of each launch: often they read what the same thread wrote, which is still
in its cache. Then it takes from those of the others: a thread that the system holds up delays one
chunk, not a part of all. No task depends on another, and how tasks are cut from a computation
depends on its shapes alone, so results depend neither on the number of threads nor on who does
what. Workers wait for the next launch by spinning for a tenth of a millisecond or so, then sleep in
the kernel (a futex), where they use no processor time.
"""

from __future__ import annotations

from enum import IntEnum

from ..abi import CHUNKS, SPINS, TICKET_BYTES, Word
from ..target import Target
from .builder import Module

# Publish a launch, take chunks until none is left, and wait until all are done.
_RUN = """
define internal void @run(ptr %pool, ptr %function, ptr %table, ptr %dims, i64 %tasks) {
entry:{WORDS}
  %none = icmp eq ptr %pool, null
  %few = icmp slt i64 %tasks, 2
  %alone = or i1 %none, %few
  br i1 %alone, label %single, label %share
single:
  call void %function(ptr %table, ptr %dims, i64 0, i64 %tasks, i64 0)
  ret void
share:
  %old = load atomic i64, ptr %pool monotonic, align 8
  %next.launch = add i64 %old, 4294967296
  store ptr %function, ptr %at.function
  store ptr %table, ptr %at.table
  store ptr %dims, ptr %at.dims
  store i64 %tasks, ptr %at.tasks
  %threads = load i64, ptr %at.threads
  %many = mul i64 %threads, {CHUNKS}
  %fewer = icmp ult i64 %tasks, %many
  %chunks = select i1 %fewer, i64 %tasks, i64 %many
  store i64 %chunks, ptr %at.chunks
  store atomic i64 0, ptr %at.done monotonic, align 8
  br label %write
write:
  %thread = phi i64 [ 0, %share ], [ %next.thread, %write ]
  %start = phi i64 [ 0, %share ], [ %stop, %write ]
  %next.thread = add i64 %thread, 1
  %all.to = mul i64 %chunks, %next.thread
  %stop = udiv i64 %all.to, %threads
  %stop.high = shl i64 %stop, 16
  %range = or i64 %stop.high, %start
  %ticket = or i64 %next.launch, %range
  %line = mul i64 %thread, {TICKET}
  %at.ticket = getelementptr i8, ptr %at.tickets, i64 %line
  store atomic i64 %ticket, ptr %at.ticket release, align 8
  %more = icmp ult i64 %next.thread, %threads
  br i1 %more, label %write, label %publish
publish:
  store atomic i64 %next.launch, ptr %pool seq_cst, align 8
  call void @wake(ptr %pool)
  call void @take(ptr %pool, i64 %next.launch, i64 0)
  br label %wait
wait:
  %round = phi i64 [ 0, %publish ], [ %next, %again ], [ %next, %yield ]
  %next = add i64 %round, 1
  %done = load atomic i64, ptr %at.done acquire, align 8
  %all = icmp eq i64 %done, %chunks
  br i1 %all, label %end, label %again
again:
  {PAUSE}
  %long = icmp ugt i64 %next, {SPINS}
  br i1 %long, label %yield, label %wait
yield:
  %ignored = call i32 @sched_yield()
  br label %wait
end:
  ret void
}

define internal void @wake(ptr %pool) {
entry:{WORDS}
  %at.futex = getelementptr i8, ptr %pool, i64 4
  %sleeping = load atomic i64, ptr %at.sleeping seq_cst, align 8
  %any = icmp ne i64 %sleeping, 0
  br i1 %any, label %call, label %end
call:
  {WAKE}
  br label %end
end:
  ret void
}

define internal void @take(ptr %pool, i64 %number, i64 %self) {
entry:{WORDS}
  %function = load ptr, ptr %at.function
  %table = load ptr, ptr %at.table
  %dims = load ptr, ptr %at.dims
  %tasks = load i64, ptr %at.tasks
  %threads = load i64, ptr %at.threads
  %chunks = load i64, ptr %at.chunks
  br label %turn
turn:
  %others = phi i64 [ 0, %entry ], [ %next.others, %none ]
  %before = phi i64 [ 0, %entry ], [ %did, %none ]
  %sum = add i64 %self, %others
  %owner = urem i64 %sum, %threads
  %line = mul i64 %owner, {TICKET}
  %at.ticket = getelementptr i8, ptr %at.tickets, i64 %line
  br label %look
look:
  %did = phi i64 [ %before, %turn ], [ %did, %try ], [ %did.more, %do ]
  %ticket = load atomic i64, ptr %at.ticket acquire, align 8
  %own = and i64 %ticket, -4294967296
  %same = icmp eq i64 %own, %number
  %chunk = and i64 %ticket, 65535
  %range = lshr i64 %ticket, 16
  %stop = and i64 %range, 65535
  %left = icmp ult i64 %chunk, %stop
  %go = and i1 %same, %left
  br i1 %go, label %try, label %none
try:
  %following = add i64 %ticket, 1
  %pair = cmpxchg ptr %at.ticket, i64 %ticket, i64 %following seq_cst monotonic, align 8
  %taken = extractvalue { i64, i1 } %pair, 1
  br i1 %taken, label %do, label %look
do:
  %after = add i64 %chunk, 1
  %low = mul i64 %tasks, %chunk
  %high = mul i64 %tasks, %after
  %from = udiv i64 %low, %chunks
  %to = udiv i64 %high, %chunks
  call void %function(ptr %table, ptr %dims, i64 %from, i64 %to, i64 %self)
  %did.more = add i64 %did, 1
  br label %look
none:
  %next.others = add i64 %others, 1
  %more = icmp ult i64 %next.others, %threads
  br i1 %more, label %turn, label %end
end:
  %any = icmp ne i64 %did, 0
  br i1 %any, label %count, label %return
count:
  %counted = atomicrmw add ptr %at.done, i64 %did seq_cst
  br label %return
return:
  ret void
}
"""

# What a worker does until the pool is stopped: wait for the next launch, take chunks of it.
_WORK = """
define void @work(ptr %pool) {
entry:{WORDS}
  %earlier = atomicrmw add ptr %at.workers, i64 1 seq_cst
  %self = add i64 %earlier, 1
  br label %idle
idle:
  %seen = phi i64 [ 0, %entry ], [ %launch, %do ]
  br label %spin
spin:
  %round = phi i64 [ 0, %idle ], [ 0, %sleep ], [ %next, %more ]
  %launch = load atomic i64, ptr %pool seq_cst, align 8
  %new = icmp ne i64 %launch, %seen
  br i1 %new, label %check, label %more
more:
  {PAUSE}
  %next = add i64 %round, 1
  %tired = icmp ugt i64 %next, {SPINS}
  br i1 %tired, label %sleep, label %spin
sleep:
  %up = atomicrmw add ptr %at.sleeping, i64 1 seq_cst
  %at.futex = getelementptr i8, ptr %pool, i64 4
  %number = lshr i64 %seen, 32
  %value = trunc i64 %number to i32
  {SLEEP}
  %down = atomicrmw sub ptr %at.sleeping, i64 1 seq_cst
  br label %spin
check:
  %stop = load atomic i64, ptr %at.stop acquire, align 8
  %over = icmp ne i64 %stop, 0
  br i1 %over, label %end, label %do
do:
  call void @take(ptr %pool, i64 %launch, i64 %self)
  br label %idle
end:
  ret void
}

define void @stop(ptr %pool) {
entry:{WORDS}
  store atomic i64 1, ptr %at.stop release, align 8
  %launch = atomicrmw add ptr %pool, i64 4294967296 seq_cst
  call void @wake(ptr %pool)
  ret void
}
"""

_PAUSE = {"x86_64": ("llvm.x86.sse2.pause", ""), "aarch64": ("llvm.aarch64.hint", "i32 1")}
_FUTEX = {"x86_64": 202, "aarch64": 98}  # the numbers of the system call on Linux
_WAIT_PRIVATE, _WAKE_PRIVATE, _ALL = 128, 129, 2**31 - 1


def _filled(text: str, target: Target) -> str:
    processor, _, system = target.triple.partition("-")
    number = _FUTEX.get(processor) if "linux" in system else None
    if number is None:
        wake = "; sleepers look again by themselves"
        sleep = "%slept = call i32 @usleep(i32 200)"
    else:
        call = f"call i64 (i64, ...) @syscall(i64 {number}, ptr %at.futex"
        rest = "ptr null, ptr null, i32 0)"
        wake = f"%woken = {call}, i32 {_WAKE_PRIVATE}, i32 {_ALL}, {rest}"
        sleep = f"%slept = {call}, i32 {_WAIT_PRIVATE}, i32 %value, {rest}"
    pause, argument = _pause(target)
    words = {
        "WORDS": addresses(Word, "pool"),
        "SPINS": str(SPINS),
        "CHUNKS": str(CHUNKS),
        "TICKET": str(TICKET_BYTES),
        "WAKE": wake,
        "SLEEP": sleep,
        "PAUSE": f"call void @{pause}({argument})" * bool(pause),
    }
    for name, value in words.items():
        text = text.replace("{" + name + "}", value)
    return text


def addresses(words: type[IntEnum], pointer: str) -> str:
    """The instructions that make ``%at.launch`` and the like, the addresses of words behind a
    pointer."""
    return "".join(
        f"\n  %at.{word.name.lower()} = getelementptr i8, ptr %{pointer}, i64 {word.value}"
        for word in words
    )


def _pause(target: Target) -> tuple[str, str]:
    """The intrinsic that tells the processor that a thread spins, if any, and its argument."""
    return _PAUSE.get(target.triple.partition("-")[0], ("", ""))


def write_pool(module: Module, target: Target) -> None:
    """Write ``run(pool, function, table, dims, tasks)``, which does all tasks of one launch, and
    what the threads of a pool do: ``work(pool)`` and ``stop(pool)``."""
    module.functions += [_filled(text, target).strip() for text in (_RUN, _WORK)]
    name, argument = _pause(target)
    if name:
        module.declarations.add(f"declare void @{name}({argument.partition(' ')[0]})")
    module.declarations |= {
        "declare i32 @sched_yield()",
        "declare i32 @usleep(i32)",
        "declare i64 @syscall(i64, ...)",
    }
