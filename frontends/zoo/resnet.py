"""Residual networks for ImageNet: He, Zhang, Ren and Sun 2015, "Deep residual learning for image
recognition", section 3.3, table 1, with projections where shapes change (option B).

In bottleneck blocks the 3x3 convolution has the stride, not the first 1x1 as in the paper: this
is what torchvision calls ResNet v1.5. Names of layers and initial distributions are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import nn
from ..network import network
from ..tensor import Tensor

# A residual block: (x, width, stride) -> y.
_Block = Callable[[Tensor, int, int], Tensor]


def _conv_bn(
    x: Tensor, channels: int, kernel: int, stride: int = 1, *, names: tuple[str, str]
) -> Tensor:
    conv, bn = names
    y = nn.conv2d(
        x,
        channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        bias=False,
        weight_init=nn.init.kaiming_normal_fan_out,
        name=conv,
    )
    return nn.batch_norm(y, name=bn)


def _shortcut(x: Tensor, channels: int, stride: int) -> Tensor:
    if stride == 1 and x.channels == channels:
        return x
    return _conv_bn(x, channels, 1, stride, names=("downsample.0", "downsample.1"))


def _basic(x: Tensor, width: int, stride: int) -> Tensor:
    y = nn.relu(_conv_bn(x, width, 3, stride, names=("conv1", "bn1")))
    y = _conv_bn(y, width, 3, names=("conv2", "bn2"))
    return nn.relu(y + _shortcut(x, width, stride))


def _bottleneck(x: Tensor, width: int, stride: int) -> Tensor:
    y = nn.relu(_conv_bn(x, width, 1, names=("conv1", "bn1")))
    y = nn.relu(_conv_bn(y, width, 3, stride, names=("conv2", "bn2")))
    y = _conv_bn(y, 4 * width, 1, names=("conv3", "bn3"))
    return nn.relu(y + _shortcut(x, 4 * width, stride))


def _resnet(image: Tensor, block: _Block, depths: tuple[int, ...], classes: int) -> Tensor:
    y = nn.relu(_conv_bn(image, 64, 7, 2, names=("conv1", "bn1")))
    y = nn.max_pool2d(y, 3, stride=2, padding=1, name="maxpool")
    for stage, depth in enumerate(depths):
        for place in range(depth):
            with nn.scope(f"layer{stage + 1}.{place}"):
                y = block(y, 64 * 2**stage, 2 if stage > 0 and place == 0 else 1)
    return nn.linear(nn.global_avg_pool(y, name="avgpool"), classes, name="fc")


@network
def resnet18(image: Tensor, classes: int = 1000) -> Tensor:
    """ResNet-18 (He et al. 2015, table 1): 11,689,512 parameters for 1000 classes.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.resnet18.graph(image=("N", 3, 64, 64)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    return _resnet(image, _basic, (2, 2, 2, 2), classes)


@network
def resnet34(image: Tensor, classes: int = 1000) -> Tensor:
    """ResNet-34 (He et al. 2015, table 1): 21,797,672 parameters for 1000 classes.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.resnet34.graph(image=("N", 3, 64, 64)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    return _resnet(image, _basic, (3, 4, 6, 3), classes)


@network
def resnet50(image: Tensor, classes: int = 1000) -> Tensor:
    """ResNet-50 v1.5 (He et al. 2015, table 1): 25,557,032 parameters for 1000 classes.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.resnet50.graph(image=("N", 3, 64, 64)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    return _resnet(image, _bottleneck, (3, 4, 6, 3), classes)


@network
def resnet101(image: Tensor, classes: int = 1000) -> Tensor:
    """ResNet-101 v1.5 (He et al. 2015, table 1): 44,549,160 parameters for 1000 classes.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.resnet101.graph(image=("N", 3, 64, 64)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    return _resnet(image, _bottleneck, (3, 4, 23, 3), classes)
