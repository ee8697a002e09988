"""SqueezeNet: Iandola, Han, Moskewicz, Ashraf, Dally and Keutzer 2016, "SqueezeNet: AlexNet-level
accuracy with 50x fewer parameters and <0.5MB model size", section 3, table 1; version 1.1 is of the
authors' repository. Layer names and initial distributions are torchvision's.
"""

from __future__ import annotations

from ...ir.errors import AttributeMistake
from ...ir.location import here
from .. import nn
from ..network import network
from ..tensor import Tensor

# A fire module: channels of the 1x1 convolution that squeezes, and of each of the two that expand.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
# By version: channels and kernel of the first convolution, and how many fire modules lie between
# the pooling layers.
_VERSIONS = {"1.0": (96, 7, (3, 4, 1)), "1.1": (64, 3, (2, 2, 4))}


def _conv(x: Tensor, channels: int, kernel: int, *, padding: int = 0, name: str) -> Tensor:
    y = nn.conv2d(
        x,
        channels,
        kernel,
        padding=padding,
        weight_init=nn.init.kaiming_uniform,
        bias_init=nn.init.zeros,
        name=name,
    )
    return nn.relu(y, name=f"{name}_activation")


def _fire(x: Tensor, squeezed: int, expanded: int) -> Tensor:
    x = _conv(x, squeezed, 1, name="squeeze")
    narrow = _conv(x, expanded, 1, name="expand1x1")
    wide = _conv(x, expanded, 3, padding=1, name="expand3x3")
    return nn.concat([narrow, wide])


@network
def squeezenet(
    image: Tensor, classes: int = 1000, dropout: float = 0.5, version: str = "1.1"
) -> Tensor:
    """SqueezeNet 1.1 (Iandola et al. 2016): 1,235,496 parameters for 1000 classes.

    With ``version="1.0"`` that of the paper (table 1): 1,248,424 parameters.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``dropout`` is the probability before the last layer.

    Raises:
        AttributeMistake: another version.
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.squeezenet.graph(image=("N", 3, 64, 64)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    if version not in _VERSIONS:
        raise AttributeMistake(
            f"squeezenet has no version {version!r}",
            fix=f"use one of {', '.join(_VERSIONS)}",
            loc=here(),
        )
    channels, kernel, groups = _VERSIONS[version]
    fires = iter(_FIRES)
    with nn.scope("features"):
        x = nn.conv2d(
            image,
            channels,
            kernel,
            stride=2,
            weight_init=nn.init.kaiming_uniform,
            bias_init=nn.init.zeros,
            name="0",
        )
        x = nn.relu(x, name="1")
        place = 2
        for depth in groups:
            x = nn.max_pool2d(x, 3, stride=2, ceil_mode=True, name=f"{place}")
            for _ in range(depth):
                place += 1
                with nn.scope(f"{place}"):
                    x = _fire(x, *next(fires))
            place += 1
    with nn.scope("classifier"):
        x = nn.dropout(x, dropout, name="0")
        x = nn.conv2d(
            x,
            classes,
            1,
            weight_init=nn.init.normal(0.01),
            bias_init=nn.init.zeros,
            name="1",
        )
        return nn.global_avg_pool(nn.relu(x, name="2"), name="3")
