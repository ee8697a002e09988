"""U-Net: Ronneberger, Fischer and Brox 2015, "U-Net: convolutional networks for biomedical image
segmentation", section 2 and figure 1."""

from __future__ import annotations

from .. import nn
from ..network import network
from ..tensor import Tensor


def _conv_bn_relu(x: Tensor, channels: int) -> Tensor:
    y = nn.conv2d(x, channels, 3, padding=1, bias=False, weight_init=nn.init.kaiming_normal)
    return nn.relu(nn.batch_norm(y))


def _twice(x: Tensor, channels: int) -> Tensor:
    return _conv_bn_relu(_conv_bn_relu(x, channels), channels)


@network
def unet(image: Tensor, classes: int = 2, width: int = 64, depth: int = 4) -> Tensor:
    """U-Net (Ronneberger et al. 2015, figure 1): logits [N, classes, H, W] for images of any size.

    31,036,546 parameters for one channel and two classes. The variant: 3x3 convolutions are padded,
    so that the result has the size of the image and the skipped maps need no cropping, and each is
    followed by batch normalisation instead of having a bias. A map whose size is odd loses a row or
    column in pooling, and the transposed convolution gives it back.

    The image is floating-point; the result has its dtype.

    Args:
        image: [N, C, H, W], with H and W at least 2**depth.
        classes: channels of the result.
        width: channels of the first level, 64 in the paper; each level below has twice as many.
        depth: how many times the map is halved, 4 in the paper.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.unet.init(image=("N", 1, 32, 32), width=8, depth=2)
        <Model unet: 29,490 parameters>
    """
    x = image
    skipped: list[Tensor] = []
    for level in range(depth):
        with nn.scope(f"down{level + 1}"):
            x = _twice(x, width * 2**level)
            skipped.append(x)
            x = nn.max_pool2d(x, 2)
    with nn.scope("bottom"):
        x = _twice(x, width * 2**depth)
    for level in reversed(range(depth)):
        skip = skipped[level]
        with nn.scope(f"up{level + 1}"):
            x = nn.conv_transpose2d(
                x,
                width * 2**level,
                2,
                stride=2,
                output_size=skip.shape[2:],
                weight_init=nn.init.kaiming_normal,
                name="upsample",
            )
            x = _twice(nn.concat([skip, x]), width * 2**level)
    return nn.conv2d(x, classes, 1, name="head")
