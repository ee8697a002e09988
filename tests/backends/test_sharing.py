"""What shares memory for the sake of speed: residual sums, concatenations, parameters and updates.

That nothing lies over what is still needed is shown in ``test_buffers.py``.
"""

from __future__ import annotations

import pytest

from cauce import models
from cauce.backends.llvm.build import build
from cauce.backends.llvm.lowering.kernels import anchor_of
from cauce.backends.llvm.target import Target
from cauce.frontends.network import Network
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add
from cauce.ir.ops.fused import Kernel
from cauce.ir.ops.shape import Concat

from .small_networks import MOMENTUM, inference, residual, training

AVX2 = Target.named("avx2", "x86_64-linux")


def test_concatenations_of_a_dense_network_copy_nothing() -> None:
    main = build(inference(models.densenet121, 3, 64, 64), AVX2).main
    assert any(isinstance(anchor_of(node).op, Concat) for node in main.graph.nodes)
    assert not [node.path for _, node in main.launches if isinstance(anchor_of(node).op, Concat)]


@pytest.mark.parametrize(
    "network, blocks, alike", [(models.resnet18, 8, 4), (models.resnet50, 16, 16)]
)
def test_residual_sums_are_written_over_the_shortcut(
    network: Network, blocks: int, alike: int
) -> None:
    """All that lie alike: in the other four of resnet18 one of the two has zeros around it."""
    main = build(inference(network, 3, 64, 64), AVX2).main
    roots = main.assignment.roots
    sums = [
        node
        for node in main.graph.nodes
        if isinstance(node.op, Kernel)
        and isinstance(anchor_of(node).op, Conv2d)
        and any(isinstance(inner.op, Add) for inner in node.op.body.nodes)
    ]
    over = [node for node in sums if roots[node.result] in map(roots.get, node.operands)]
    assert (len(sums), len(over)) == (blocks, alike)


def test_an_optimizer_updates_in_place() -> None:
    """But for the random key, which several nodes read."""
    main = build(training(residual, optimizer=MOMENTUM), AVX2).main
    updated = {value.name for value in main.graph.updates if "running" not in value.name}
    copied = updated - {value.name for value in main.assignment.in_place}
    assert copied <= {"random.key"}
    assert len(updated) > 20
