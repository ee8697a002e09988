"""Arguments that cannot be"""

from cauce.ir.errors import AttributeMistake, TypeMismatch

from .common import cauce, nn, np
from .mistake import mistake


@mistake(
    AttributeMistake,
    ValueError,
    says=("stride", "at least 1", "got 0"),
    fix="stride=2",
    line="return nn.conv2d(image, 16, 3, stride=0)",
    mended=(
        "return nn.conv2d(image, 16, 3, stride=2)",
        "return nn.conv2d(image, 16, 3, stride=(2, 1))",
    ),
)
def stride_zero():
    """A stride of 0"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 16, 3, stride=0)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    AttributeMistake,
    ValueError,
    says=("kernel_size", "a pair of ints", "(3, 3, 3)"),
    fix="rows first",
    line="return nn.conv2d(image, 16, (3, 3, 3))",
    mended=(
        "return nn.conv2d(image, 16, kernel_size=2)",
        "return nn.conv2d(image, 16, kernel_size=(2, 1))",
    ),
)
def kernel_of_three():
    """A kernel of three sizes"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 16, (3, 3, 3))

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    AttributeMistake,
    ValueError,
    says=("out_channels", "int of at least 1", "got 32.0"),
    fix="x // y in place of x / y",
    line="return nn.conv2d(image, 64 * width, 3)",
    mended="""\
x = 64 * width
return nn.conv2d(image, int(x), 3)""",
)
def channels_that_are_no_int():
    """Channels computed as a float"""

    @cauce.network
    def classifier(image, width=0.5):
        return nn.conv2d(image, 64 * width, 3)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    AttributeMistake,
    ValueError,
    says="no padding 'full'",
    fix="'same', 'valid' or numbers",
    line='return nn.conv2d(image, 16, 3, padding="full")',
    mended="return nn.conv2d(image, 16, 3, padding=1)",
)
def unknown_padding():
    """A padding that does not exist"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 16, 3, padding="full")

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    AttributeMistake,
    ValueError,
    says=("window of 2 rows", "nothing but padding", "2 before", "2 after"),
    fix="less padding",
    line="return nn.max_pool2d(image, 2, padding=2)",
)
def padding_larger_than_the_window():
    """A pooling window that would see padding alone"""

    @cauce.network
    def classifier(image):
        return nn.max_pool2d(image, 2, padding=2)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    AttributeMistake,
    ValueError,
    says=("dropout", "probability of a zero", "got 50"),
    fix="0 <= p <= 1",
    line="return nn.dropout(image, 50)",
)
def dropout_in_percent():
    """Dropout in percent"""

    @cauce.network
    def classifier(image):
        return nn.dropout(image, 50)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    AttributeMistake,
    ValueError,
    says=("momentum is the weight of the batch", "got 1.5"),
    fix="0.1",
    line="return nn.batch_norm(image, momentum=1.5)",
)
def momentum_of_batch_norm():
    """A momentum of batch norm that is no weight"""

    @cauce.network
    def classifier(image):
        return nn.batch_norm(image, momentum=1.5)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    TypeMismatch,
    TypeError,
    says=("conv1.weight", "function", "got 0.01"),
    fix="nn.init.constant(0.1)",
    line="return nn.conv2d(image, 16, 3, weight_init=0.01)",
    mended="return nn.conv2d(image, 16, 3, weight_init=nn.init.constant(0.1))",
)
def number_as_initializer():
    """A number where a way to initialise is asked for"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 16, 3, weight_init=0.01)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    TypeMismatch,
    TypeError,
    says=("must be a tensor of the network", "an array of float32 with shape (1, 3, 8, 8)"),
    fix="arrays are fed to what compile gives",
    line="return nn.relu(np.zeros((1, 3, 8, 8), np.float32))",
)
def array_into_a_layer():
    """A NumPy array given to a layer"""

    @cauce.network
    def classifier(image):
        return nn.relu(np.zeros((1, 3, 8, 8), np.float32))

    classifier.init(image=("N", 3, 8, 8))


@mistake(
    TypeMismatch,
    TypeError,
    says="concat takes a list of tensors, got <Tensor image: f32[N,3,32,32]>",
    fix="concat([a, b])",
    line="return nn.concat(image, image)",
    mended="""\
a, b = image, image
return nn.concat([a, b])""",
)
def concat_without_a_list():
    """Tensors to put side by side, but not as a list"""

    @cauce.network
    def twice(image):
        return nn.concat(image, image)

    twice.init(image=("N", 3, 32, 32))
