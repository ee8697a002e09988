"""Layouts that no code could work with are found in the lowered graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from cauce.backends.llvm.codegen import kernels
from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.lowering.verify import verify_layouts
from cauce.backends.llvm.schedule.winograd import Winograd
from cauce.backends.llvm.target import Target
from cauce.ir import Graph, Value, parse
from cauce.ir.errors import VerifyError
from cauce.ir.layout import CHANNELS_LAST, Blocked, Layout, Strided
from cauce.ir.ops.fused import Kernel

assert kernels  # which registers what lowering must know

SOURCE = """graph g(%x: f32[2,20,5,5]) -> f32[2,20,5,5] {
  @w: f32[20,20,3,3] parameter
  %a = conv2d(%x, @w) padding=1 : f32[2,20,5,5]
  %b = conv2d(%a, @w) padding=1 : f32[2,20,5,5]
  %c = add(%b, %a) : f32[2,20,5,5]
  return %c
}"""


def lie(value: Value, layout: Layout) -> None:
    value.type = replace(value.type, layout=layout)


def other_order(graph: Graph) -> None:
    lie(graph.value("a"), Strided((0, 3, 2, 1), ((1, 1), (1, 1))))


def few_zeros(graph: Graph) -> None:
    lie(graph.value("a"), Strided(CHANNELS_LAST, ((1, 1), (0, 1))))


def blocked_result(graph: Graph) -> None:
    lie(graph.value("c"), Blocked(CHANNELS_LAST, 4))


def image_in_blocks(graph: Graph) -> None:
    lie(graph.value("a~image"), Blocked(CHANNELS_LAST, 4))


def weight_at_the_end(graph: Graph) -> None:
    kernel = graph.value("c").node
    assert kernel is not None and isinstance(kernel.op, Kernel)
    body = kernel.op.body
    conv, add = body.nodes
    add.operands = (conv.result, body.inputs[kernel.operands.index(graph.value("a~weight"))])


def given_in_another_order(graph: Graph) -> None:
    lie(graph.inputs[0], Strided(CHANNELS_LAST))


def leaving_in_another_order(graph: Graph) -> None:
    graph.outputs["c"] = graph.value("c")


@pytest.mark.parametrize(
    "damage, wrong",
    [
        (other_order, "has a halo in an order that can have none"),
        (few_zeros, "has a smaller halo than c reads"),
        (blocked_result, "is packed, and not made by a reorder"),
        (image_in_blocks, "is packed, and a reads it not only as a weight"),
        (weight_at_the_end, "is packed, and c reads it not only as a weight"),
        (given_in_another_order, "is an input, and not row-major"),
        (leaving_in_another_order, "leaves the graph, and is not row-major"),
    ],
)
def test_wrong_layouts_are_found(damage: Callable[[Graph], None], wrong: str) -> None:
    avx2 = Target.named("avx2", "x86_64-linux")
    graph, schedules, _ = lower(parse(SOURCE), avx2, precision="strict")
    verify_layouts(graph, schedules)
    damage(graph)
    with pytest.raises(VerifyError, match=wrong):
        verify_layouts(graph, schedules)


def test_tiles_that_read_further_than_their_convolution_need_a_wider_halo() -> None:
    own = dict.fromkeys(("a", "c"), Winograd((("t", 2),), 2, (4, 4), 4, "tiles"))
    graph, schedules, _ = lower(parse(SOURCE), Target.named("avx2", "x86_64-linux"), own)
    assert schedules == own
    a = graph.value("a")
    # Two tiles of 4 rows end 3 rows behind the image, and its padding.
    assert a.type.layout == Strided(CHANNELS_LAST, ((1, 4), (1, 4)))
    verify_layouts(graph, schedules)
    for narrow in (((1, 4), (1, 3)), ((1, 1), (1, 4)), ((0, 4), (1, 4))):
        lie(a, Strided(CHANNELS_LAST, narrow))
        with pytest.raises(VerifyError, match="has a smaller halo than c reads"):
            verify_layouts(graph, schedules)
