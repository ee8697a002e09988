"""Residual networks for CIFAR and their plain twins: He, Zhang, Ren and Sun 2015, "Deep residual
learning for image recognition", section 4.2 and table 6.

Depth 6n + 2: a 3x3 convolution, then three stages of n blocks of two 3x3 convolutions with 16, 32
and 64 channels on maps of 32x32, 16x16 and 8x8, the global mean and a linear layer. Shortcuts are
the paper's option A, which has no parameters: where a stage begins, every second row and column,
with channels of zeros appended. So a plain twin, which is the same less the shortcuts, has exactly
as many parameters.
"""

from __future__ import annotations

from .. import nn
from ..network import network
from ..tensor import Tensor


def _conv_bn(x: Tensor, channels: int, stride: int = 1) -> Tensor:
    y = nn.conv2d(
        x, channels, 3, stride=stride, padding=1, bias=False, weight_init=nn.init.kaiming_normal
    )
    return nn.batch_norm(y)


def _shortcut(x: Tensor, before: int, after: int, stride: int) -> Tensor:
    if stride > 1:
        x = x[:, :, ::stride, ::stride]
    return nn.pad(x, [(0, 0), (0, after - before), (0, 0), (0, 0)]) if after > before else x


def _network(image: Tensor, n: int, residual: bool, classes: int) -> Tensor:
    width = 16
    x = nn.relu(_conv_bn(image, width))
    for stage, channels in enumerate((16, 32, 64)):
        for place in range(n):
            with nn.scope(f"stage{stage + 1}.block{place + 1}"):
                stride = 2 if stage > 0 and place == 0 else 1
                y = _conv_bn(nn.relu(_conv_bn(x, channels, stride)), channels)
                x = nn.relu(y + _shortcut(x, width, channels, stride) if residual else y)
                width = channels
    return nn.linear(nn.global_avg_pool(x, name="pool"), classes, name="fc")


@network
def resnet20(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-20 for CIFAR (He et al. 2015, table 6): 0.27M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.resnet20.init(image=("N", 3, 32, 32))
        <Model resnet20: 269,722 parameters>
    """
    return _network(image, 3, True, classes)


@network
def resnet32(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-32 for CIFAR (He et al. 2015, table 6): 0.46M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.resnet32.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 10), layout=None)
    """
    return _network(image, 5, True, classes)


@network
def resnet44(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-44 for CIFAR (He et al. 2015, table 6): 0.66M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.resnet44.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 10), layout=None)
    """
    return _network(image, 7, True, classes)


@network
def resnet56(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-56 for CIFAR (He et al. 2015, table 6): 0.85M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.resnet56.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 10), layout=None)
    """
    return _network(image, 9, True, classes)


@network
def resnet110(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-110 for CIFAR (He et al. 2015, table 6): 1.7M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.resnet110.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 10), layout=None)
    """
    return _network(image, 18, True, classes)


@network
def plain20(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-20 without its shortcuts (He et al. 2015, section 4.2): 0.27M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.plain20.init(image=("N", 3, 32, 32))
        <Model plain20: 269,722 parameters>
    """
    return _network(image, 3, False, classes)


@network
def plain32(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-32 without its shortcuts (He et al. 2015, section 4.2): 0.46M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.plain32.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 10), layout=None)
    """
    return _network(image, 5, False, classes)


@network
def plain44(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-44 without its shortcuts (He et al. 2015, section 4.2): 0.66M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.plain44.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 10), layout=None)
    """
    return _network(image, 7, False, classes)


@network
def plain56(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-56 without its shortcuts (He et al. 2015, section 4.2): 0.85M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.plain56.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 10), layout=None)
    """
    return _network(image, 9, False, classes)


@network
def plain110(image: Tensor, classes: int = 10) -> Tensor:
    """ResNet-110 without its shortcuts (He et al. 2015, section 4.2): 1.7M parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``classes`` is the number of outputs.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.plain110.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 10), layout=None)
    """
    return _network(image, 18, False, classes)
