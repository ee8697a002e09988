"""LeNet-5."""

from __future__ import annotations

from .. import nn
from ..network import network
from ..tensor import Tensor


@network
def lenet5(image: Tensor, classes: int = 10) -> Tensor:
    """LeNet-5 for 1x28x28 or 1x32x32 images: 61,706 parameters for ten classes.

    LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document
    recognition", section II.B and figure 2: the layers C1, S2, C3, S4, C5, F6 and their sizes. The
    paper pads its digits to 32x32; here ``c1`` pads images of 28x28, and no others.

    The variant: relu in place of the scaled tanh, max pooling in place of the mean with a trained
    scale and shift, every map of ``c3`` sees all of ``s2`` (in the paper those of table I), and a
    linear output in place of radial basis functions.

    The image is [N, C, H, W], floating-point; the result, logits [N, classes], has its dtype.

    Raises:
        GraphError: an unknown option, or no shape.
        ShapeError: images too small for the network, or of other dimensions.

    Examples:
        >>> models.lenet5.init(image=("N", 1, 28, 28))
        <Model lenet5: 61,706 parameters>
    """
    border = 2 if image.shape[2:] == (28, 28) else 0
    y = nn.relu(nn.conv2d(image, 6, 5, padding=border, name="c1"))
    y = nn.max_pool2d(y, 2, name="s2")
    y = nn.relu(nn.conv2d(y, 16, 5, name="c3"))
    y = nn.max_pool2d(y, 2, name="s4")
    y = nn.relu(nn.conv2d(y, 120, 5, name="c5"))
    y = nn.relu(nn.linear(nn.flatten(y), 84, name="f6"))
    return nn.linear(y, classes, name="output")
