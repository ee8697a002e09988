"""MobileNetV2: Sandler, Howard, Zhu, Zhmoginov and Chen 2018, "MobileNetV2: inverted residuals and
linear bottlenecks", section 4, table 2. Layer names and initial distributions are torchvision's.
"""

from __future__ import annotations

from .. import nn
from ..network import network
from ..tensor import Tensor

# Table 2: expansion factor t, channels c, blocks n, stride of the first block s.
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _conv_bn(
    x: Tensor,
    channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    *,
    names: tuple[str, str],
) -> Tensor:
    conv, bn = names
    y = nn.conv2d(
        x,
        channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        bias=False,
        weight_init=nn.init.kaiming_normal_fan_out,
        name=conv,
    )
    return nn.batch_norm(y, name=bn)


def _inverted_residual(x: Tensor, before: int, after: int, stride: int, expansion: int) -> Tensor:
    """A block of figure 4d: expand (unless by 1), filter each channel, project linearly."""
    hidden = before * expansion
    y, place = x, 0
    if expansion > 1:
        y = nn.relu6(_conv_bn(y, hidden, 1, names=("0.0", "0.1")), name="0.2")
        place = 1
    y = _conv_bn(y, hidden, 3, stride, groups=hidden, names=(f"{place}.0", f"{place}.1"))
    y = nn.relu6(y, name=f"{place}.2")
    y = _conv_bn(y, after, 1, names=(f"{place + 1}", f"{place + 2}"))
    return x + y if stride == 1 and before == after else y


@network
def mobilenet_v2(image: Tensor, classes: int = 1000, dropout: float = 0.2) -> Tensor:
    """MobileNetV2 (Sandler et al. 2018, table 2): 3,504,872 parameters for 1000 classes.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.
    ``dropout`` is the probability before the last layer.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.mobilenet_v2.graph(image=("N", 3, 64, 64)).outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 1000), layout=None)
    """
    with nn.scope("features"):
        width, place = 32, 1
        x = nn.relu6(_conv_bn(image, width, 3, 2, names=("0.0", "0.1")), name="0.2")
        for expansion, channels, depth, first_stride in _BLOCKS:
            for i in range(depth):
                with nn.scope(f"{place}.conv"):
                    stride = first_stride if i == 0 else 1
                    x = _inverted_residual(x, width, channels, stride, expansion)
                width, place = channels, place + 1
        x = nn.relu6(_conv_bn(x, 1280, 1, names=(f"{place}.0", f"{place}.1")), name=f"{place}.2")
    x = nn.global_avg_pool(x, name="avgpool")
    with nn.scope("classifier"):
        x = nn.dropout(x, dropout, name="0")
        return nn.linear(
            x, classes, weight_init=nn.init.normal(0.01), bias_init=nn.init.zeros, name="1"
        )
