"""Defining a network"""

from cauce.ir.errors import AttributeMistake, GraphError, ShapeError, TypeMismatch

from .common import cauce, images, model, net, nn, np
from .mistake import mistake


@mistake(
    GraphError,
    ValueError,
    says="layers can only be used inside a network",
    fix="@cauce.network",
    line="nn.relu(images)",
    mended="""\
@cauce.network
def rectified(image):
    return nn.relu(image)

rectified.init(image=("N", 3, 8, 8))""",
)
def layer_outside_a_network():
    """A layer used outside a network"""
    nn.relu(images)


@mistake(
    GraphError,
    ValueError,
    says="network net has no parameters yet",
    fix="net.init(image=(...))",
    line="net(images)",
    mended='net.init(image=("N", 3, 8, 8))',
)
def network_called_with_an_array():
    """A network called with an array"""
    net(images)


@mistake(
    TypeMismatch,
    TypeError,
    says=("<Model net: 127 parameters>", "cannot be called"),
    fix="predict = cauce.compile(model)",
    line="model(images)",
    mended="""\
array = images
predict = cauce.compile(model); predict(array)""",
)
def model_called():
    """A model called with an array"""
    model(images)


@mistake(
    AttributeMistake,
    ValueError,
    says="bias must be True or False, got array([0., 0., 0., 0.])",
    fix="write bias=True",
    line="return nn.conv2d(image, 4, 3, bias=np.zeros(4))",
    mended="return nn.conv2d(image, 4, 3, bias=True)",
)
def bias_as_an_array():
    """Values of a bias where a layer asks whether there is one"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 4, 3, bias=np.zeros(4))

    classifier.init(image=("N", 3, 8, 8))


@mistake(
    TypeMismatch,
    TypeError,
    says="a symbolic tensor has no truth value",
    fix="nn.where",
    line="if image.mean() > 0.5:",
    mended="""\
condition, a, b = image.mean() > 0.5, 1 - image, image
image = nn.where(condition, a, b)
if True:""",
)
def truth_of_a_tensor():
    """A decision by the value of a tensor"""

    @cauce.network
    def classifier(image):
        if image.mean() > 0.5:
            image = 1 - image
        return nn.conv2d(image, 4, 3)

    classifier.init(image=("N", 3, 8, 8))


@mistake(
    TypeMismatch,
    TypeError,
    says=("network classifier returned None", "want of a return"),
    fix="return a tensor",
    line="def classifier(image):",
    ends='classifier.init(image=("N", 3, 8, 8))',
)
def network_without_an_output():
    """A network without a return"""

    @cauce.network
    def classifier(image):
        nn.linear(nn.flatten(image), 10)

    classifier.init(image=("N", 3, 8, 8))


@mistake(
    GraphError,
    ValueError,
    says="two layers called 'head'",
    fix="a name of its own",
    line='b = nn.linear(x, 4, name="head")',
    mended="""\
with nn.scope("second"):
    b = nn.linear(x, 4, name="head")""",
)
def two_layers_of_one_name():
    """Two layers of one name"""

    @cauce.network
    def two_heads(image):
        x = nn.flatten(image)
        a = nn.linear(x, 10, name="head")
        b = nn.linear(x, 4, name="head")
        return a, b

    two_heads.init(image=("N", 3, 8, 8))


@mistake(
    GraphError,
    ValueError,
    says="a tensor of network first is used where that is not being traced",
    fix="pass it as an argument",
    line="return image + kept[0]",
)
def tensor_of_another_network():
    """A tensor of another network"""
    kept = []

    @cauce.network
    def first(image):
        kept.append(nn.relu(image))
        return nn.softmax(image)

    @cauce.network
    def second(image):
        return image + kept[0]

    first.init(image=("N", 3, 8, 8))
    second.init(image=("N", 3, 8, 8))


@mistake(
    GraphError,
    ValueError,
    says=("network net", "no argument called clases"),
    fix="did you mean classes?",
    line='net.init(image=("N", 3, 8, 8), clases=10)',
    mended='net.init(image=("N", 3, 8, 8), classes=10)',
)
def misspelt_option():
    """An option of a network, misspelt"""
    net.init(image=("N", 3, 8, 8), clases=10)


@mistake(
    GraphError,
    ValueError,
    says="no shape for the input image",
    fix="image, classes",
    line="net.init(classes=10)",
)
def input_without_a_shape():
    """An input without a shape"""
    net.init(classes=10)


@mistake(
    AttributeMistake,
    ValueError,
    says="the shape of input image must be a tuple, got 224",
    fix='image=("N", 3, 32, 32)',
    line="net.init(image=224)",
    mended='net.init(image=("N", 3, 32, 32))',
)
def shape_as_a_number():
    """A shape as one number"""
    net.init(image=224)


@mistake(
    ShapeError,
    ValueError,
    says="a dimension cannot be negative, got -1",
    fix='"N"',
    line="net.init(image=(-1, 3, 32, 32))",
)
def batch_of_minus_one():
    """-1 for a batch of any size"""
    net.init(image=(-1, 3, 32, 32))


@mistake(
    TypeMismatch,
    TypeError,
    says="'float' is not a dtype",
    fix="f32, f64",
    line='net.init(image=("N", 3, 8, 8), dtype="float")',
)
def unknown_dtype():
    """A dtype that does not exist"""
    net.init(image=("N", 3, 8, 8), dtype="float")


@mistake(
    AttributeMistake,
    ValueError,
    says=("network classifier", "'seed' is an argument of init"),
    fix="something else",
    line="def classifier(image, seed=0):",
    ends="@cauce.network",
)
def reserved_name():
    """A parameter with a name that init needs"""

    @cauce.network
    def classifier(image, seed=0):
        return nn.linear(nn.flatten(image), 10)

    classifier.init(image=("N", 3, 8, 8))


@mistake(
    GraphError,
    ValueError,
    says="no parameter or running statistic of net is called 'backbone.*'",
    fix="conv1.weight, conv1.bias",
    line='model.freeze("backbone.*")',
)
def frozen_name():
    """Parameters to freeze that do not exist"""
    model.freeze("backbone.*")
