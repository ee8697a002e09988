"""The code that runs a batch in micro-batches: streams take them as threads take chunks."""

from __future__ import annotations

from ..abi import Job
from .builder import Module
from .thread_pool import addresses

# Streams are the tasks of a launch, so whichever threads there are do them. What each stream takes
# is a matter of chance; a micro-batch is the same whoever computes it.
_MICRO_BATCHES = """
define i64 @micro_batches(ptr %pool, ptr %job) {
entry:{WORDS}
  %streams = load i64, ptr %at.streams
  call void @run(ptr %pool, ptr @stream, ptr %job, ptr null, i64 %streams)
  %failed = load i64, ptr %at.failed
  ret i64 %failed
}

define internal void @stream(ptr %job, ptr %none, i64 %low, i64 %high, i64 %thread) {
entry:{WORDS}
  %function = load ptr, ptr %at.function
  %pool = load ptr, ptr %at.pool
  %micro_batches = load i64, ptr %at.micro_batches
  %entries = load i64, ptr %at.entries
  %starts = load ptr, ptr %at.starts
  %steps = load ptr, ptr %at.steps
  %tables = load ptr, ptr %at.tables
  %sizes = load ptr, ptr %at.sizes
  %last = load ptr, ptr %at.last
  %times = load ptr, ptr %at.times
  %clock = load i64, ptr %at.clock
  br label %begin
begin:
  %stream = phi i64 [ %low, %entry ], [ %next.stream, %end ]
  %first = mul i64 %stream, %entries
  %start = getelementptr i64, ptr %starts, i64 %first
  %table = getelementptr i64, ptr %tables, i64 %first
  br label %take
take:
  %micro_batch = atomicrmw add ptr %at.next, i64 1 monotonic
  %left = icmp ult i64 %micro_batch, %micro_batches
  br i1 %left, label %move, label %end
move:
  %place = phi i64 [ 0, %take ], [ %next.place, %move ]
  %at.start = getelementptr i64, ptr %start, i64 %place
  %at.step = getelementptr i64, ptr %steps, i64 %place
  %at.own = getelementptr i64, ptr %table, i64 %place
  %from = load i64, ptr %at.start
  %step = load i64, ptr %at.step
  %far = mul i64 %step, %micro_batch
  %address = add i64 %from, %far
  store i64 %address, ptr %at.own
  %next.place = add i64 %place, 1
  %more = icmp ult i64 %next.place, %entries
  br i1 %more, label %move, label %do
do:
  %after = add i64 %micro_batch, 1
  %final = icmp eq i64 %after, %micro_batches
  %own.sizes = select i1 %final, ptr %last, ptr %sizes
  %late = mul i64 %clock, %micro_batch
  %own.times = getelementptr i8, ptr %times, i64 %late
  %wrong = call i64 %function(ptr %table, ptr %own.sizes, ptr %pool, ptr %own.times)
  %fine = icmp eq i64 %wrong, 0
  br i1 %fine, label %take, label %fail
fail:
  store i64 %wrong, ptr %at.failed
  store i64 %micro_batch, ptr %at.where
  br label %end
end:
  %next.stream = add i64 %stream, 1
  %others = icmp ult i64 %next.stream, %high
  br i1 %others, label %begin, label %return
return:
  ret void
}
"""


def write_micro_batches(module: Module) -> None:
    """Write ``micro_batches(pool, job)``, which does all of a batch: 0, or the number of a check
    that failed. What the words of a job mean says :class:`Job`.

    Checks belong to one stream alone: all streams would write what they found to one place.
    """
    module.functions.append(_MICRO_BATCHES.replace("{WORDS}", addresses(Job, "job")).strip())
