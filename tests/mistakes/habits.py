"""Habits of PyTorch and Keras

One table, `ir/habits.py`, knows what other libraries call things; the messages name ours."""

from cauce.ir.errors import TypeMismatch, UnknownAttribute

from .common import cauce, data, model, nn
from .mistake import mistake


@mistake(
    TypeMismatch,
    TypeError,
    says=("conv2d() takes 3 positional arguments", "4 were given"),
    fix="nn.conv2d(x, out_channels, kernel_size): the channels of x are known",
    line="return nn.conv2d(image, 3, 16, 3)",
    mended=(
        "x, out_channels, kernel_size = image, 16, 3\n"
        "return nn.conv2d(x, out_channels, kernel_size)",
        "return nn.conv2d(image, 16, 3, stride=2)",
    ),
)
def channels_in_and_out():
    """A convolution given its input channels too"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 3, 16, 3)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    TypeMismatch,
    TypeError,
    says=("linear() takes 2 positional arguments", "3 were given"),
    fix="nn.linear(x, out_features): the features of x are known",
    line="return nn.linear(features, 8, 10)",
    mended=(
        "x, out_features = features, 10\nreturn nn.linear(x, out_features)",
        "return nn.linear(features, 10, bias=False)",
    ),
)
def features_in_and_out():
    """A linear layer given its input features too"""

    @cauce.network
    def classifier(features):
        return nn.linear(features, 8, 10)

    classifier.init(features=("N", 8))


@mistake(
    TypeMismatch,
    TypeError,
    says=("batch_norm() takes 1 positional argument", "2 were given"),
    fix="nn.batch_norm(x): the channels are known",
    line="return nn.batch_norm(image, 3)",
    mended="x = image\nreturn nn.batch_norm(x)",
)
def channels_of_batch_norm():
    """A batch norm given its channels"""

    @cauce.network
    def classifier(image):
        return nn.batch_norm(image, 3)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    TypeMismatch,
    TypeError,
    says=("conv2d()", "'strides'"),
    fix="stride=",
    line="return nn.conv2d(image, 16, 3, strides=2)",
)
def argument_of_another_library():
    """An argument under the name that Keras gives it"""

    @cauce.network
    def classifier(image):
        return nn.conv2d(image, 16, 3, strides=2)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    TypeMismatch,
    TypeError,
    says=("linear()", "'activation'"),
    fix="nn.relu(",
    line='return nn.linear(features, 8, activation="relu")',
    mended="x = features\nreturn nn.relu(nn.linear(x, 64))",
)
def activation_as_an_argument():
    """An activation as an argument"""

    @cauce.network
    def classifier(features):
        return nn.linear(features, 8, activation="relu")

    classifier.init(features=("N", 8))


@mistake(
    UnknownAttribute,
    AttributeError,
    says="nn has no 'Conv2d'",
    fix="nn.conv2d(x, out_channels, 3)",
    line="return nn.Conv2d(3, 16, 3)(image)",
    mended="x, out_channels = image, 16\nreturn nn.conv2d(x, out_channels, 3)",
)
def layer_as_a_module():
    """A layer as a module"""

    @cauce.network
    def classifier(image):
        return nn.Conv2d(3, 16, 3)(image)

    classifier.init(image=("N", 3, 32, 32))


@mistake(
    UnknownAttribute,
    AttributeError,
    says="nn has no 'cat'",
    fix="nn.concat([x, y], dim=1)",
    line="return nn.cat([image, image], 1)",
    mended="x, y = image, image\nreturn nn.concat([x, y], dim=1)",
)
def function_of_torch():
    """A function under the name that PyTorch gives it"""

    @cauce.network
    def twice(image):
        return nn.cat([image, image], 1)

    twice.init(image=("N", 3, 32, 32))


@mistake(
    TypeMismatch,
    TypeError,
    says=("sum()", "'axis'"),
    fix="dim=",
    line="return image.sum(axis=1)",
)
def axis_for_dim():
    """An axis, as NumPy calls a dimension"""

    @cauce.network
    def summed(image):
        return image.sum(axis=1)

    summed.init(image=("N", 3, 32, 32))


@mistake(
    TypeMismatch,
    TypeError,
    says="&, | and ^ combine conditions, which are bool, got f32[N,3,32,32]",
    fix="(x > 0) & (x < 1)",
    line="return nn.where(image > 0 & image < 1, image, 0.0)",
)
def conditions_without_brackets():
    """Conditions combined without brackets"""

    @cauce.network
    def cut(image):
        return nn.where(image > 0 & image < 1, image, 0.0)

    cut.init(image=("N", 3, 32, 32))


@mistake(
    TypeMismatch,
    TypeError,
    says="a symbolic tensor cannot be written to",
    fix="nn.where(condition, value, x)",
    line="image[:, 0] = 0.0",
    mended="""\
x, value = image, 0.0
condition = x * 0.0 + np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1) > 0.5
image = nn.where(condition, value, x)""",
)
def writing_into_a_tensor():
    """Writing into a tensor"""

    @cauce.network
    def without_red(image):
        image[:, 0] = 0.0
        return image

    without_red.init(image=("N", 3, 32, 32))


@mistake(
    UnknownAttribute,
    AttributeError,
    says="a Model has no 'eval'",
    fix="leave it out",
    line="model.eval()",
)
def switching_to_evaluation():
    """A model switched to evaluation"""
    model.eval()


@mistake(
    UnknownAttribute,
    AttributeError,
    says="a Model has no 'fit'",
    fix="cauce.Trainer(model",
    line="model.fit(data, epochs=5)",
    mended="""\
train = data
cauce.Trainer(model, loss='cross_entropy', optimizer=cauce.SGD(0.1)).fit(train, epochs=5)""",
)
def fitting_a_model():
    """A model that is to fit itself"""
    model.fit(data, epochs=5)


@mistake(
    TypeMismatch,
    TypeError,
    says="model.parameters is a list",
    fix="leave it out for an optimizer",
    line="cauce.SGD(model.parameters(), lr=0.1)",
    mended=(
        "cauce.Trainer(model, optimizer=cauce.SGD(0.1))",
        "model.state_dict()",
    ),
)
def parameters_for_the_optimizer():
    """The parameters of the model given to an optimizer"""
    cauce.SGD(model.parameters(), lr=0.1)


@mistake(
    TypeMismatch,
    TypeError,
    says=("Adam()", "'learning_rate'"),
    fix="lr=",
    line="cauce.Adam(learning_rate=1e-3)",
)
def learning_rate_in_full():
    """A learning rate written in full"""
    cauce.Adam(learning_rate=1e-3)


@mistake(
    TypeMismatch,
    TypeError,
    says=("fit()", "'validation_data'"),
    fix="validate=",
    line="trainer.fit(data, 5, validation_data=data)",
)
def validation_data():
    """Validation data as Keras calls them"""
    trainer = cauce.Trainer(model)
    trainer.fit(data, 5, validation_data=data)


@mistake(
    TypeMismatch,
    TypeError,
    says=("fit()", "'callbacks'"),
    fix="early_stopping=EarlyStopping(5) and checkpoints=Checkpoints('runs')",
    line="trainer.fit(data, 5, callbacks=[])",
    mended="""\
from cauce.training import Checkpoints, EarlyStopping

trainer.fit(
    data, 5, validate=data, early_stopping=EarlyStopping(5), checkpoints=Checkpoints('runs')
)""",
)
def callbacks():
    """Callbacks"""
    trainer = cauce.Trainer(model)
    trainer.fit(data, 5, callbacks=[])
