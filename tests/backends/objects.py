"""Object files for the tests of the loader."""

from __future__ import annotations

from cauce.backends.llvm.codegen.assemble import compile_text
from cauce.backends.llvm.runtime.elf import image_of
from cauce.backends.llvm.runtime.loader import LoadedImage
from cauce.backends.llvm.target import Target

# Constants in a pool, zeros, data with addresses in it, a jump table, calls within and without.
RICH = """
target triple = "{TRIPLE}"

@count = internal global i64 5
@zeros = internal global [100 x i64] zeroinitializer
@table = internal global [2 x ptr] [ptr @twice, ptr @count]
@numbers = internal constant [4 x float] [float 1.5, float 2.5, float -3.0, float 0.25]

declare ptr @memmove(ptr, ptr, i64)
declare i32 @sched_yield()

define internal void @twice(ptr %x) noinline {
  %old = load <8 x float>, ptr %x, align 4
  %twice = fmul <8 x float> %old, <float 2.0, float 3.0, float 5.0, float 7.0,
                                   float 11.0, float 13.0, float 17.0, float 19.0>
  store <8 x float> %twice, ptr %x, align 4
  ret void
}

define void @scale(ptr %x) {
  %function = load volatile ptr, ptr @table
  call void %function(ptr %x)
  call void @twice(ptr %x)
  ret void
}

define void @move(ptr %to, ptr %from, i64 %bytes) {
  %ignored = call ptr @memmove(ptr %to, ptr %from, i64 %bytes)
  ret void
}

define void @tick(ptr %out, i64 %by) {
  %old = load i64, ptr @count
  %new = add i64 %old, %by
  store i64 %new, ptr @count
  %place = getelementptr i64, ptr @zeros, i64 %by
  %before = load i64, ptr %place
  %sum = add i64 %before, %new
  store i64 %sum, ptr %place
  store i64 %sum, ptr %out
  ret void
}

define void @choose(ptr %out, i64 %case) {
  switch i64 %case, label %other [ i64 0, label %a  i64 1, label %b  i64 2, label %c
                                   i64 3, label %d  i64 4, label %e  i64 5, label %f ]
a:
  store i64 17, ptr %out
  ret void
b:
  call void @twice(ptr %out)
  ret void
c:
  call void @scale(ptr %out)
  ret void
d:
  store i64 -4, ptr %out
  call void @scale(ptr %out)
  ret void
e:
  call void @tick(ptr %out, i64 3)
  ret void
f:
  %ignored = call i32 @sched_yield()
  ret void
other:
  %place = getelementptr float, ptr @numbers, i64 %case
  %behind = getelementptr i8, ptr %place, i64 -24
  %number = load float, ptr %behind
  store float %number, ptr %out
  ret void
}

define void @addresses(ptr %out) {
  store ptr @tick, ptr %out
  %next = getelementptr i8, ptr %out, i64 8
  store ptr @memmove, ptr %next
  ret void
}
"""


def foreign(text: str, triple: str, cpu: str = "") -> bytes:
    """The object of a module for another machine."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, opt=2, reloc="pic", codemodel="small"
    )
    return bytes(machine.emit_object(llvm.parse_assembly(text.replace("{TRIPLE}", triple))))


def here(text: str, limit: str | None = None) -> bytes:
    """The object of a module for this machine."""
    target = Target.host(limit)
    return compile_text(text.replace("{TRIPLE}", target.triple), target)


def load_object(code: bytes) -> LoadedImage:
    """An object in this process."""
    return LoadedImage(image_of(code))
