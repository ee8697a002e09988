"""Small networks with all that memory is planned for, and their graphs as native code gets them."""

from __future__ import annotations

import cauce
from cauce import models, nn
from cauce.frontends.network import Network
from cauce.frontends.tensor import Tensor
from cauce.ir import Graph, Role
from cauce.ir.pass_manager import run_passes
from cauce.objective import write_loss
from cauce.passes.optimizer_step import add_training_step
from cauce.passes.pipelines import INFERENCE, PRIMITIVES, TRAINING

SHAPE = (3, 9, 9)
MOMENTUM = cauce.SGD(0.1, momentum=0.9)


def _block(x: Tensor, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> Tensor:
    """A convolution that leaves the size as it is but for the stride, and its batch norm."""
    padding = kernel // 2
    y = nn.conv2d(x, channels, kernel, stride=stride, padding=padding, groups=groups, bias=False)
    return nn.batch_norm(y)


@cauce.network
def residual(image, classes=5):
    x = nn.relu(_block(image, 8))
    x = nn.relu(_block(nn.relu(_block(x, 8)), 8) + x)
    shortcut = _block(x, 12, stride=2, kernel=1)
    x = nn.relu(_block(nn.relu(_block(x, 12, stride=2)), 12) + shortcut)
    return nn.linear(nn.dropout(nn.global_avg_pool(x), 0.2), classes)


@cauce.network
def dense(image, classes=5):
    """Each convolution reads all that came before; parts lie in two wholes, and twice in one."""
    parts = [nn.conv2d(image, 6, 3, padding=1)]
    for _ in range(3):
        x = nn.relu(_block(nn.concat(parts, 1), 8, kernel=1))
        parts.append(nn.conv2d(x, 4, 3, padding=1))
    x = nn.avg_pool2d(nn.relu(nn.batch_norm(nn.concat(parts, 1))), 2)
    y = nn.conv2d(x, 4, 5, padding=2)
    x = _block(nn.concat([x, y, x], 1), 8) * _block(nn.concat([y, x], 1), 8)
    return nn.linear(nn.flatten(nn.max_pool2d(x, 2)), classes)


@cauce.network
def joined(image, classes=5):
    """Parts one above the other and side by side, which are read with zeros around them too."""
    x, y = nn.conv2d(image, 8, 3, padding=1), nn.conv2d(image, 8, 1)
    above = nn.conv2d(nn.concat([x, y, image.mean(1, keepdim=True).expand(-1, 8, -1, -1)], 2), 4, 3)
    beside = nn.conv2d(nn.concat([y, x], 3), 4, 3, padding=1)
    x, y = nn.conv2d(x, 8, 3, padding=1), nn.conv2d(y, 8, 5, padding=2)
    ends = [nn.global_avg_pool(v) for v in (above, beside, x + y)]
    return nn.linear(nn.concat(ends, 1), classes)


@cauce.network
def strided(image, classes=5):
    """Kernels, strides, borders and dilations of many kinds, on one image."""
    x = nn.conv2d(image, 16, 5, stride=2, padding=2)
    y = nn.conv2d(x, 7, 3, padding=2, dilation=2)
    z = nn.conv2d(x, 7, (1, 3), padding=(0, 1))
    x = nn.relu(nn.conv2d(y * z, 20, 2, stride=3, padding=1))
    return nn.linear(nn.flatten(x), classes)


@cauce.network
def depthwise(image, classes=5):
    """Inverted bottlenecks, as in MobileNetV2."""
    x = nn.relu6(_block(image, 8, stride=2))
    for stride, channels in ((1, 8), (2, 12)):
        y = nn.relu6(_block(x, 24, kernel=1))
        y = _block(nn.relu6(_block(y, 24, groups=24, stride=stride)), channels, kernel=1)
        x = x + y if x.shape == y.shape else y
    return nn.linear(nn.global_avg_pool(x), classes)


NETWORKS: list[Network] = [residual, dense, joined, strided, depthwise]

# Well-known ones, with small images.
ZOO: list[tuple[Network, tuple[int, ...], dict[str, int]]] = [
    (models.lenet5, (1, 28, 28), {}),
    (models.resnet20, (3, 9, 9), {}),
    (models.unet, (2, 12, 12), {"width": 4, "depth": 2}),
    (models.squeezenet, (3, 33, 33), {}),
    (models.mobilenet_v2, (3, 17, 17), {}),
]


def inference(network: Network, *shape: int, batch: int | str = "N", **options: object) -> Graph:
    """The graph that runs a network on a batch of images of this shape."""
    graph = network.graph(image=(batch, *(shape or SHAPE)), **options)
    run_passes(graph, (*INFERENCE, *PRIMITIVES))
    return graph


def training(
    network: Network, *shape: int, optimizer: cauce.Optimizer = MOMENTUM, **options: object
) -> Graph:
    """The graph that makes a step of its training."""
    graph = network.graph(training=True, image=("N", *(shape or SHAPE)), **options)
    write_loss(graph, "cross_entropy")
    add_training_step(graph, "loss", optimizer, graph.inputs_with(Role.PARAMETER))
    run_passes(graph, (*TRAINING, *PRIMITIVES))
    return graph


def names(value: object) -> str:
    """What tests call a network among their parameters, and nothing else."""
    return value.name if isinstance(value, Network) else ""
