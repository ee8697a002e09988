"""Losses, optimizers and steps"""

from cauce.ir.errors import AttributeMistake, DataError, GraphError, ShapeError, TypeMismatch

from .common import cauce, data, images, labels, model, net, nn, np
from .mistake import mistake


@mistake(
    AttributeMistake,
    ValueError,
    says="there is no loss 'crossentropy'",
    fix="did you mean cross_entropy",
    line='cauce.Trainer(model, loss="crossentropy")',
    mended='cauce.Trainer(model, loss="cross_entropy")',
)
def unknown_loss():
    """A loss that does not exist"""
    cauce.Trainer(model, loss="crossentropy")


@mistake(
    ShapeError,
    ValueError,
    says=("the loss must be a scalar", "f32[N,3]"),
    fix="mean() or sum()",
    line="def squared(output, target):",
    ends='cauce.Trainer(model, loss=squared, target="probabilities")',
    mended=("return ((output - target) ** 2).mean()", "return ((output - target) ** 2).sum()"),
    mends="return (output - target) ** 2",
)
def loss_that_is_no_scalar():
    """A loss for each element instead of one"""

    def squared(output, target):
        return (output - target) ** 2

    cauce.Trainer(model, loss=squared, target="probabilities")


@mistake(
    TypeMismatch,
    TypeError,
    says=("the loss must be floating-point", "i64[]"),
    fix="no gradient",
    line="def errors(output, target):",
    ends="cauce.Trainer(model, loss=errors)",
)
def loss_that_counts():
    """A loss that counts mistakes"""

    def errors(output, target):
        wrong = output.argmax(dim=1) - target
        return (wrong * wrong).sum()

    cauce.Trainer(model, loss=errors)


@mistake(
    TypeMismatch,
    TypeError,
    says="the loss must return a tensor, it returned None",
    fix="return it",
    line="def squared(output, target):",
    ends="cauce.Trainer(model, loss=squared)",
)
def loss_without_a_return():
    """A loss without a return"""

    def squared(output, target):
        ((output - 1) ** 2).mean()

    cauce.Trainer(model, loss=squared)


@mistake(
    ShapeError,
    ValueError,
    says=("mse_loss", "x is f32[N,3]", "target is f32[N,1]"),
    fix="nothing is broadcast",
    line="return nn.mse_loss(output, target)",
)
def target_of_another_shape():
    """A target of another shape than the output"""

    def squared(output, target):
        return nn.mse_loss(output, target)

    target = cauce.ir.TensorType.make("f32", ("N", 1))
    cauce.Trainer(model, loss=squared, target=target)


@mistake(
    AttributeMistake,
    ValueError,
    says="there is no metric 'acuracy'",
    fix="did you mean accuracy?",
    line='cauce.Trainer(model, metrics=["acuracy"])',
    mended='cauce.Trainer(model, metrics=["accuracy"])',
)
def unknown_metric():
    """A metric that does not exist"""
    cauce.Trainer(model, metrics=["acuracy"])


@mistake(
    AttributeMistake,
    ValueError,
    says=("SGD", "lr must be a finite number >= 0", "got -0.1"),
    fix="lr=0.1",
    line="cauce.SGD(-0.1)",
    mended="cauce.SGD(lr=0.1)",
)
def negative_rate():
    """A negative learning rate"""
    cauce.SGD(-0.1)


@mistake(
    AttributeMistake,
    ValueError,
    says=("the learning rate must be a finite number >= 0", "got nan"),
    fix="lr=0.1",
    line="step(step.init(), (images, labels), lr=rate)",
    mended="step(step.init(), (images, labels), lr=0.1)",
)
def rate_that_is_nan():
    """A learning rate that is NaN"""
    rate = float("inf") - float("inf")
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))
    step(step.init(), (images, labels), lr=rate)


@mistake(
    AttributeMistake,
    ValueError,
    says="SGD: nesterov needs a momentum",
    fix="momentum=0.9",
    line="cauce.SGD(0.1, nesterov=True)",
    mended="cauce.SGD(0.1, momentum=0.9, nesterov=True)",
)
def nesterov_alone():
    """Nesterov's method without a momentum"""
    cauce.SGD(0.1, nesterov=True)


@mistake(
    TypeMismatch,
    TypeError,
    says="optimizer= takes an optimizer, got 'sgd'",
    fix="SGD(0.1)",
    line='cauce.Trainer(model, optimizer="sgd")',
    mended="cauce.Trainer(model, optimizer=cauce.SGD(0.1))",
)
def optimizer_by_name():
    """An optimizer by its name"""
    cauce.Trainer(model, optimizer="sgd")


@mistake(
    GraphError,
    ValueError,
    says="none of the 4 parameters of net is left to train",
    fix="model.unfreeze",
    line="cauce.Trainer(frozen)",
    mended="""\
model = frozen
model.unfreeze('linear1.*')
cauce.Trainer(frozen)""",
)
def nothing_to_train():
    """Every parameter frozen"""
    frozen = net.init(image=("N", 3, 8, 8))
    frozen.freeze("*")
    cauce.Trainer(frozen)


@mistake(
    GraphError,
    ValueError,
    says="a Trainer feeds one input, siamese has 2",
    fix="cauce.train_step",
    line="cauce.Trainer(model)",
)
def two_inputs():
    """A Trainer for a network of two inputs"""

    @cauce.network
    def siamese(left, right):
        return nn.linear(nn.flatten(left - right), 2)

    model = siamese.init(left=("N", 1, 8, 8), right=("N", 1, 8, 8))
    cauce.Trainer(model)


@mistake(
    TypeMismatch,
    TypeError,
    says=("input target takes i64[N]", "float64", "(6,)"),
    fix="array.astype(np.int64)",
    line="step(step.init(), (images, labels / 1))",
    mended="""\
array = labels / 1
step(step.init(), (images, array.astype(np.int64)))""",
)
def float_labels():
    """Labels as floats"""
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))
    step(step.init(), (images, labels / 1))


@mistake(
    TypeMismatch,
    TypeError,
    says=("input target takes i64[N]", "float64", "(6, 3)"),
    fix="argmax(axis=1)",
    line="step(step.init(), (images, np.eye(3)[labels]))",
    mended="""\
array = np.eye(3)[labels]
step(step.init(), (images, array.argmax(axis=1)))""",
)
def one_hot_labels():
    """Labels as one-hot rows"""
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))
    step(step.init(), (images, np.eye(3)[labels]))


@mistake(
    ShapeError,
    ValueError,
    says="index 3 is out of range for size 3",
    fix="check them, or give the network more classes",
    line='step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))',
    ends="step(step.init(), (images, labels + 1))",
)
def label_out_of_range():
    """A label beyond the classes of the network"""
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))
    step(step.init(), (images, labels + 1))


@mistake(
    ShapeError,
    ValueError,
    says="index -1 is out of range for size 3",
    fix="indices run from 0 to 2; if they are class labels, check them",
    line="return nn.cross_entropy(output, target - 1)",
    ends="step(step.init(), (images, labels))",
)
def label_that_the_loss_shifts_out_of_range():
    """A loss that counts labels from 1 where they are counted from 0"""

    def loss(output, target):
        return nn.cross_entropy(output, target - 1)

    step = cauce.train_step(model, loss, cauce.SGD(0.1))
    step(step.init(), (images, labels))


@mistake(
    ShapeError,
    ValueError,
    says=("input target is i64[N]", "dimension 0 is 5, not N = 6"),
    fix="N is one number in a call",
    line="step(step.init(), (images, labels[:5]))",
)
def fewer_labels_than_images():
    """Fewer labels than images"""
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))
    step(step.init(), (images, labels[:5]))


@mistake(
    ShapeError,
    ValueError,
    says=("cross_entropy compares the outputs of several classes", "f32[N,1]"),
    fix="loss='binary_cross_entropy_with_logits'",
    line="cauce.Trainer(judge)",
    mended="cauce.Trainer(judge, loss='binary_cross_entropy_with_logits')",
)
def softmax_of_one_output():
    """A network with one output and the default loss"""
    judge = net.init(image=("N", 3, 8, 8), classes=1)
    cauce.Trainer(judge)


@mistake(
    ShapeError,
    ValueError,
    says=("accuracy compares the outputs of several classes", "f32[N,1]"),
    fix="metrics={'accuracy': binary_accuracy(0.0)}",
    line='cauce.Trainer(judge, loss=loss, metrics=["accuracy"])',
    mended="""\
from cauce.frontends.batch_metrics import binary_accuracy

cauce.Trainer(judge, loss=loss, metrics={'accuracy': binary_accuracy(0.0)})""",
)
def accuracy_of_one_output():
    """The accuracy of one output under a loss of one's own"""

    def loss(output, target):
        return nn.binary_cross_entropy_with_logits(output, target)

    judge = net.init(image=("N", 3, 8, 8), classes=1)
    cauce.Trainer(judge, loss=loss, metrics=["accuracy"])


@mistake(
    DataError,
    ValueError,
    says=("labels run from 0 to 2", "a binary loss says 0 or 1"),
    fix="loss='cross_entropy'",
    line="step(step.init(), (images, labels))",
    mended="""\
judge = net.init(image=("N", 3, 8, 8), classes=3)
step = cauce.train_step(judge, loss='cross_entropy', optimizer=cauce.SGD(0.1))
step(step.init(), (images, labels))""",
)
def three_labels_for_one_output():
    """Labels of three classes for one output"""
    judge = net.init(image=("N", 3, 8, 8), classes=1)
    step = cauce.train_step(judge, "binary_cross_entropy_with_logits", cauce.SGD(0.1))
    step(step.init(), (images, labels))


@mistake(
    ShapeError,
    ValueError,
    says=("one value for each channel", "f32[1,4]"),
    fix="drop_last=True",
    line="x = nn.batch_norm(nn.linear(nn.flatten(image), 4))",
    ends="trainer.fit(data, 1, batch_size=5, progress=False)",
    mended="trainer.fit(data, 1, batch_size=5, drop_last=True, progress=False)",
    mends="trainer.fit(data, 1, batch_size=5, progress=False)",
)
def batch_norm_of_one_image():
    """A last batch of one image for a batch norm"""

    @cauce.network
    def dense(image):
        x = nn.batch_norm(nn.linear(nn.flatten(image), 4))
        return nn.linear(x, 3)

    trainer = cauce.Trainer(dense.init(image=("N", 3, 8, 8)))
    trainer.fit(data, 1, batch_size=5, progress=False)


@mistake(
    GraphError,
    ValueError,
    says="a batch is (image, target), got 1 arrays",
    fix="then the target",
    line="step(step.init(), (images,))",
)
def batch_without_labels():
    """A batch without labels"""
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))
    step(step.init(), (images,))


@mistake(
    TypeMismatch,
    TypeError,
    says="a step takes its state first",
    fix="step.init(seed=0)",
    line="step(model, (images, labels))",
    mended="step(step.init(seed=0), (images, labels))",
)
def model_for_a_state():
    """A model where a step takes its state"""
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))
    step(model, (images, labels))


@mistake(
    GraphError,
    ValueError,
    says=("net updates 4 arrays", "conv1.weight", "no state"),
    fix="new_state(values)",
    line="step.executable(images, labels, np.float32(0.1))",
    mended="""\
values = model.state_dict()
state = step.executable.new_state(values)
step.executable(images, labels, np.float32(0.1), state=state)""",
)
def state_missing():
    """The compiled step called without its state"""
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))
    step.executable(images, labels, np.float32(0.1))


@mistake(
    TypeMismatch,
    TypeError,
    says=("the loss must be floating-point", "i64[]"),
    fix="no gradient",
    line="loss = image.argmax(dim=1).sum()",
    ends="(slope,) = cauce.gradients(loss, [image])",
)
def gradient_of_an_index():
    """The gradient of an index"""

    @cauce.network
    def saliency(image):
        loss = image.argmax(dim=1).sum()
        (slope,) = cauce.gradients(loss, [image])
        return slope

    saliency.init(image=("N", 3, 8, 8))


@mistake(
    GraphError,
    ValueError,
    says="the loss does not depend on %exp",
    fix="leave it out of wrt",
    line="(slope,) = cauce.gradients(image.sum(), [image.exp()])",
)
def gradient_by_a_bystander():
    """The gradient by a value that the loss does not use"""

    @cauce.network
    def saliency(image):
        (slope,) = cauce.gradients(image.sum(), [image.exp()])
        return slope

    saliency.init(image=("N", 3, 8, 8))
