"""Nodes that compute the same on arrays that lie alike share their code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.llvm.build import build
from cauce.backends.llvm.codegen.plan import Plan
from cauce.backends.llvm.target import Target
from cauce.ir.ops.activation import Clip

Tensor = nn.Tensor
Block = Callable[[Tensor], Tensor]


def plan_of(blocks: list[Block], shape: tuple[int | str, ...] = ("N", 8, 12, 12)) -> Plan:
    """The plan of blocks one after the other, compiled for inference."""

    @cauce.network
    def chain(image):
        for block in blocks:
            image = block(image)
        return image

    model = chain.init(image=shape, seed=0)
    graph = cauce.compile(model, backend="numpy").graph
    return build(graph, Target.named("avx512", "x86_64-linux")).main  # no code runs here


def functions(plan: Plan) -> list[str]:
    """The last function of each kernel: what stands before sets zeros around its operands."""
    last = {node: launch for launch, node in plan.launches if node.op.name == "kernel"}
    return [launch.function.name for launch in last.values()]


def conv(filters: int = 8, **options: int) -> Block:
    return lambda x: nn.relu(nn.conv2d(x, filters, 3, padding=1, **options))


def clip(low: float) -> Block:
    return lambda x: nn.apply(Clip(low, 1.0), nn.conv2d(x, 8, 3, padding=1))


def test_equal_blocks_share_one_function() -> None:
    # What comes from outside has another border, and what leaves has none.
    first, *others, last = functions(plan_of([conv()] * 6))
    assert len({first, *others, last}) == 3 and len(set(others)) == 1


@pytest.mark.parametrize(
    "blocks",
    [
        [conv(), conv(), conv(filters=16), conv(), conv()],
        [conv(), conv(), conv(groups=2), conv(), conv()],
        [conv(), clip(0.0), clip(-0.0), conv(), conv()],
        [conv(), lambda x: nn.conv2d(x, 8, 3, padding=1), conv(), conv(), conv()],
    ],
    ids=["filters", "groups", "sign of zero", "epilogue"],
)
def test_unequal_blocks_do_not(blocks: list[Block]) -> None:
    plan = plan_of(blocks)
    names = functions(plan)
    assert names[1] != names[2]


def test_scratch_and_results_are_each_nodes_own() -> None:
    @cauce.network
    def branches(image):
        total = nn.relu(nn.conv2d(image, 8, 3, padding=1))
        for _ in range(3):
            total = total + nn.relu(nn.conv2d(nn.conv2d(total, 8, 3, padding=1), 8, 3, padding=1))
        return total

    model = branches.init(image=("N", 8, 12, 12), seed=0)
    x = np.random.default_rng(0).standard_normal((3, 8, 12, 12), np.float32)
    wanted = cauce.compile(model, backend="numpy")(x)
    for threads in (1, 2):
        np.testing.assert_allclose(cauce.compile(model, threads=threads)(x), wanted, atol=1e-4)
