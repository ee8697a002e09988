"""VGG: Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image
recognition", section 2.1, table 1, columns A and D; with batch normalisation as in torchvision.

Names of layers and initial distributions are torchvision's: in ``features`` and ``classifier``
every layer is called by its place, those without parameters too.
"""

from __future__ import annotations

from itertools import count

from .. import nn
from ..network import network
from ..tensor import Tensor

_CHANNELS = (64, 128, 256, 512, 512)


def _vgg(
    image: Tensor, depths: tuple[int, ...], batch_norm: bool, classes: int, dropout: float
) -> Tensor:
    with nn.scope("features"):
        x = _features(image, depths, batch_norm)
    x = nn.flatten(nn.adaptive_avg_pool2d(x, 7, name="avgpool"))
    with nn.scope("classifier"):
        for place in (0, 3):
            x = nn.relu(_linear(x, 4096, place), name=f"{place + 1}")
            x = nn.dropout(x, dropout, name=f"{place + 2}")
        return _linear(x, classes, 6)


def _features(x: Tensor, depths: tuple[int, ...], batch_norm: bool) -> Tensor:
    names = map(str, count())
    for channels, depth in zip(_CHANNELS, depths):
        for _ in range(depth):
            x = nn.conv2d(
                x,
                channels,
                3,
                padding=1,
                weight_init=nn.init.kaiming_normal_fan_out,
                bias_init=nn.init.zeros,
                name=next(names),
            )
            if batch_norm:
                x = nn.batch_norm(x, name=next(names))
            x = nn.relu(x, name=next(names))
        x = nn.max_pool2d(x, 2, name=next(names))
    return x


def _linear(x: Tensor, features: int, place: int) -> Tensor:
    return nn.linear(
        x,
        features,
        weight_init=nn.init.normal(0.01),
        bias_init=nn.init.zeros,
        name=f"{place}",
    )


@network
def vgg11(image: Tensor, classes: int = 1000, dropout: float = 0.5) -> Tensor:
    """VGG-11 (Simonyan and Zisserman 2014, A): 132,863,336 parameters for 1000 classes.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``dropout`` is the probability behind each of the two hidden layers.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.vgg11.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    return _vgg(image, (1, 1, 2, 2, 2), False, classes, dropout)


@network
def vgg11_bn(image: Tensor, classes: int = 1000, dropout: float = 0.5) -> Tensor:
    """VGG-11 (Simonyan and Zisserman 2014, A) with batch norm: 132,868,840 parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``dropout`` is the probability behind each of the two hidden layers.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.vgg11_bn.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    return _vgg(image, (1, 1, 2, 2, 2), True, classes, dropout)


@network
def vgg16(image: Tensor, classes: int = 1000, dropout: float = 0.5) -> Tensor:
    """VGG-16 (Simonyan and Zisserman 2014, D): 138,357,544 parameters for 1000 classes.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``dropout`` is the probability behind each of the two hidden layers.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.vgg16.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    return _vgg(image, (2, 2, 3, 3, 3), False, classes, dropout)


@network
def vgg16_bn(image: Tensor, classes: int = 1000, dropout: float = 0.5) -> Tensor:
    """VGG-16 (Simonyan and Zisserman 2014, D) with batch norm: 138,365,992 parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``dropout`` is the probability behind each of the two hidden layers.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.vgg16_bn.graph(image=("N", 3, 32, 32)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    return _vgg(image, (2, 2, 3, 3, 3), True, classes, dropout)
