"""Shapes that do not fit

Found while the network is traced, in the line of the layer, before anything runs."""

from cauce.ir.errors import AttributeMistake, ShapeError, TypeMismatch

from .common import cauce, nn
from .mistake import mistake


@mistake(
    ShapeError,
    ValueError,
    says=("kernel of 5", "extent 9 with dilation 2", "4 + 1 + 1 = 6"),
    fix="smaller kernel",
    line="return nn.conv2d(x, 16, 5, padding=1, dilation=2)",
)
def kernel_larger_than_the_input():
    """A kernel larger than the padded input"""

    @cauce.network
    def classifier(image):
        x = nn.max_pool2d(image, 8)
        return nn.conv2d(x, 16, 5, padding=1, dilation=2)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    ShapeError,
    ValueError,
    says=("[N,16,32,32] and [N,32,32,32]", "dimension 1 is 16 and 32"),
    fix="1x1 convolution",
    line="return nn.relu(x + y)",
)
def residual_channels():
    """A residual block that changes the channels"""

    @nn.block
    def residual(x, channels):
        y = nn.relu(nn.conv2d(x, channels, 3, padding=1))
        return nn.relu(x + y)

    @cauce.network
    def resnet(image):
        x = nn.conv2d(image, 16, 3, padding=1)
        return residual(x, 32)

    resnet.init(image=("N", 3, 32, 32))


@mistake(
    ShapeError,
    ValueError,
    says=("[N,16,32,32] and [N,16,16,16]", "dimension 2 is 32 and 16"),
    fix="1x1 convolution with the stride",
    line="return x + nn.conv2d(x, 16, 3, stride=2, padding=1)",
)
def residual_stride():
    """A residual block that halves the image"""

    @cauce.network
    def resnet(image):
        x = nn.conv2d(image, 16, 3, padding=1)
        return x + nn.conv2d(x, 16, 3, stride=2, padding=1)

    resnet.init(image=("N", 3, 32, 32))


@mistake(
    ShapeError,
    ValueError,
    says=("3 input and 16 output channels", "2 groups"),
    fix="divide both: 1 would",
    line="return nn.conv2d(image, 16, 3, groups=2)",
)
def groups_that_do_not_divide():
    """Groups that do not divide the channels"""

    @cauce.network
    def grouped(image):
        return nn.conv2d(image, 16, 3, groups=2)

    grouped.init(image=("N", 3, 32, 32))


@mistake(
    ShapeError,
    ValueError,
    says=("conv2d takes [N, C, H, W]", "f32[N,784]"),
    fix="reshape",
    line="return nn.conv2d(image, 16, 3)",
)
def flat_images():
    """Images as flat rows"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 16, 3)

    classifier.init(image=("N", 784))


@mistake(
    ShapeError,
    ValueError,
    says=("along axis 1", "f32[N,8,32,32] and f32[N,8,16,16]", "32 and 16"),
    fix="pool, pad or slice",
    line="return nn.concat([left, right])",
)
def concat_of_two_sizes():
    """Branches of different sizes put side by side"""

    @cauce.network
    def branches(image):
        left = nn.conv2d(image, 8, 3, padding=1)
        right = nn.conv2d(image, 8, 3, padding=1, stride=2)
        return nn.concat([left, right])

    branches.init(image=("N", 3, 32, 32))


@mistake(
    ShapeError,
    ValueError,
    says=("f32[N,8,8,8]", "512*N elements", "[-1,1000]"),
    fix="nn.flatten(x)",
    line="x = x.reshape(-1, 1000)",
    mended="x = nn.flatten(x)",
)
def reshape_that_does_not_fit():
    """A reshape that does not fit"""

    @cauce.network
    def classifier(image):
        x = nn.conv2d(image, 8, 3, padding=1)
        x = x.reshape(-1, 1000)
        return nn.linear(x, 10)

    classifier.init(image=("N", 3, 8, 8))


@mistake(
    ShapeError,
    ValueError,
    says=("linear1.weight", "f32[10,3*H*W]", "must be known"),
    fix="nn.global_avg_pool",
    line="return nn.linear(nn.flatten(image), 10)",
    mended='classifier.init(image=("N", 3, 8, 8))',
    mends='classifier.init(image=("N", 3, "H", "W"))',
)
def linear_of_any_size():
    """A linear layer over an image of any size"""

    @cauce.network
    def classifier(image):
        return nn.linear(nn.flatten(image), 10)

    classifier.init(image=("N", 3, "H", "W"))


@mistake(
    AttributeMistake,
    ValueError,
    says=("padding='same'", "stride 2", "which is H here"),
    fix="padding in numbers",
    line='return nn.conv2d(image, 8, 3, stride=2, padding="same")',
    mended='classifier.init(image=("N", 3, 32, 32))',
    mends='classifier.init(image=("N", 3, "H", "W"))',
)
def same_padding_of_any_size():
    """padding="same" with a stride, over an image of any size"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 8, 3, stride=2, padding="same")

    classifier.init(image=("N", 3, "H", "W"))


@mistake(
    AttributeMistake,
    ValueError,
    says=("softmax", "axis 2", "2 dimensions"),
    fix="from -2 to 1",
    line="return nn.softmax(logits, dim=2)",
)
def dimension_out_of_range():
    """A dimension that does not exist"""

    @cauce.network
    def classifier(image):
        logits = nn.linear(nn.flatten(image), 10)
        return nn.softmax(logits, dim=2)

    classifier.init(image=("N", 1, 28, 28))


@mistake(
    ShapeError,
    ValueError,
    says=("slice [3:4] along axis 1", "f32[N,3,8,8]", "size 3"),
    fix="count from 0",
    line="return image[:, 3]",
)
def channel_out_of_range():
    """A channel that does not exist"""

    @cauce.network
    def fourth(image):
        return image[:, 3]

    fourth.init(image=("N", 3, 8, 8))


@mistake(
    ShapeError,
    ValueError,
    says=("output_padding=[2, 2]", "stride of [2, 2]", "64 to 65", "32 rows"),
    fix="less than the stride",
    line="return nn.conv_transpose2d(x, 8, 2, stride=2, output_padding=2)",
)
def output_padding_too_large():
    """An output padding as large as the stride"""

    @cauce.network
    def decoder(x):
        return nn.conv_transpose2d(x, 8, 2, stride=2, output_padding=2)

    decoder.init(x=("N", 16, 32, 32))


@mistake(
    ShapeError,
    ValueError,
    says=("f32[N,3,4] has 4 columns", "f32[N,3,4] has 3 rows"),
    fix="columns of the first",
    line="return a @ b",
)
def matrices_that_do_not_fit():
    """A product of matrices that do not fit"""

    @cauce.network
    def product(a, b):
        return a @ b

    product.init(a=("N", 3, 4), b=("N", 3, 4))


@mistake(
    TypeMismatch,
    TypeError,
    says=("conv2d takes floating-point values", "u8[N,3,32,32]"),
    fix="cast it to f32",
    line="return nn.conv2d(image, 16, 3)",
)
def bytes_into_a_convolution():
    """Bytes into a convolution"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 16, 3)

    classifier.init(image=("N", 3, 32, 32), dtype="u8")


@mistake(
    TypeMismatch,
    TypeError,
    says=("f32[N,10] and i64[N,10]",),
    fix="cast('f32')",
    line='return logits * chosen.cast("i64")',
    mended="return logits * chosen.cast('f32')",
)
def two_dtypes():
    """Arithmetic of two dtypes"""

    @cauce.network
    def masked(logits):
        chosen = logits > 0
        return logits * chosen.cast("i64")

    masked.init(logits=("N", 10))
