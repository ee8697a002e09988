"""DenseNet-BC for ImageNet: Huang, Liu, van der Maaten and Weinberger 2017, "Densely connected
convolutional networks", section 3, table 1. Layer names and initial distributions are those of
torchvision.
"""

from __future__ import annotations

from .. import nn
from ..network import network
from ..tensor import Tensor

_GROWTH = 32  # k: the channels that each layer adds
_BOTTLENECK = 4  # a 1x1 convolution makes 4k channels before the 3x3 one


def _conv(x: Tensor, channels: int, kernel: int, stride: int = 1, *, name: str) -> Tensor:
    return nn.conv2d(
        x,
        channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        bias=False,
        weight_init=nn.init.kaiming_normal,
        name=name,
    )


def _dense_layer(x: Tensor) -> Tensor:
    """x with k new channels that were computed from all of it."""
    y = nn.relu(nn.batch_norm(x, name="norm1"), name="relu1")
    y = _conv(y, _BOTTLENECK * _GROWTH, 1, name="conv1")
    y = nn.relu(nn.batch_norm(y, name="norm2"), name="relu2")
    return nn.concat([x, _conv(y, _GROWTH, 3, name="conv2")])


def _transition(x: Tensor, channels: int) -> Tensor:
    y = nn.relu(nn.batch_norm(x, name="norm"), name="relu")
    return nn.avg_pool2d(_conv(y, channels, 1, name="conv"), 2, name="pool")


@network
def densenet121(image: Tensor, classes: int = 1000) -> Tensor:
    """DenseNet-121 (Huang et al. 2017, table 1): 7,978,856 parameters for 1000 classes.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.densenet121.graph(image=("N", 3, 64, 64)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    width = 64
    with nn.scope("features"):
        x = _conv(image, width, 7, 2, name="conv0")
        x = nn.relu(nn.batch_norm(x, name="norm0"), name="relu0")
        x = nn.max_pool2d(x, 3, stride=2, padding=1, name="pool0")
        for block, depth in enumerate((6, 12, 24, 16), start=1):
            if block > 1:
                width //= 2
                with nn.scope(f"transition{block - 1}"):
                    x = _transition(x, width)
            for layer in range(1, depth + 1):
                with nn.scope(f"denseblock{block}.denselayer{layer}"):
                    x = _dense_layer(x)
            width += depth * _GROWTH
        x = nn.batch_norm(x, name="norm5")
    x = nn.global_avg_pool(nn.relu(x, name="relu"), name="avgpool")
    return nn.linear(x, classes, bias_init=nn.init.zeros, name="classifier")
