"""Training runs"""

from cauce.ir.errors import AttributeMistake, DataError, GraphError, ShapeError, TypeMismatch
from cauce.training import Checkpoints, EarlyStopping, Mixup, RandomCrop

from .common import Dataset, Path, cauce, data, images, labels, model, net, np
from .mistake import mistake


@mistake(
    GraphError,
    ValueError,
    says=("the loss is nan in epoch 1, batch 1", "learning rate 0.01"),
    fix="finite and scaled",
    line="trainer.fit(broken, epochs=5, progress=False)",
)
def loss_that_is_not_finite():
    """Images with a hole: the loss is NaN"""
    holes = images.copy()
    holes[0, 0, 0, 0] = np.nan
    broken = Dataset(holes, labels, data.classes)
    trainer = cauce.Trainer(net.init(image=("N", 3, 8, 8)))
    trainer.fit(broken, epochs=5, progress=False)


@mistake(
    ShapeError,
    ValueError,
    says="index 3 is out of range for size 3",
    fix="more classes",
    line="trainer = cauce.Trainer(model)",
    ends="trainer.fit(more, epochs=1, progress=False)",
)
def more_classes_than_outputs():
    """A data set with more classes than the network"""
    more = Dataset(images, np.array([0, 1, 2, 3, 0, 1]), ("cat", "dog", "owl", "fox"))
    trainer = cauce.Trainer(model)
    trainer.fit(more, epochs=1, progress=False)


@mistake(
    ShapeError,
    ValueError,
    says=("f32[N,3,8,8]", "(6, 3, 4, 4)", "dimension 2 is 4, not 8"),
    fix="bring the array to this size",
    line="trainer.fit(small, epochs=1, progress=False)",
)
def images_of_another_size():
    """Images of another size"""
    small = Dataset(images[:, :, :4, :4], labels, data.classes)
    trainer = cauce.Trainer(model)
    trainer.fit(small, epochs=1, progress=False)


@mistake(
    TypeMismatch,
    TypeError,
    says="fit takes a Dataset",
    fix="Dataset(images, labels, classes)",
    line="cauce.Trainer(model).fit((images, labels), epochs=1)",
    mended="""\
classes = data.classes
cauce.Trainer(model).fit(Dataset(images, labels, classes), epochs=1)""",
)
def arrays_for_a_data_set():
    """Arrays where fit takes a data set"""
    cauce.Trainer(model).fit((images, labels), epochs=1)


@mistake(
    AttributeMistake,
    ValueError,
    says="epochs must be an int of at least 1, got 0",
    fix="epochs=5",
    line="cauce.Trainer(model).fit(data, epochs=0)",
    mended="cauce.Trainer(model).fit(data, epochs=5)",
)
def no_epochs():
    """No epoch to train"""
    cauce.Trainer(model).fit(data, epochs=0)


@mistake(
    AttributeMistake,
    ValueError,
    says="a batch of 0 images",
    fix="batch size >= 1",
    line="cauce.Trainer(model).fit(data, epochs=1, batch_size=0)",
)
def batch_size_zero():
    """A batch size of 0"""
    cauce.Trainer(model).fit(data, epochs=1, batch_size=0)


@mistake(
    AttributeMistake,
    ValueError,
    says=("learning rate of step 0", ">= 0", "got -0.1"),
    fix="lr=0.1",
    line="trainer.fit(data, epochs=1, lr=lambda step: step - 0.1, progress=False)",
    mended="trainer.fit(data, epochs=1, lr=0.1, progress=False)",
)
def schedule_below_zero():
    """A schedule that falls below zero"""
    trainer = cauce.Trainer(model)
    trainer.fit(data, epochs=1, lr=lambda step: step - 0.1, progress=False)


@mistake(
    AttributeMistake,
    ValueError,
    says=("early stopping", "without a validation set"),
    fix="validate=test",
    line="cauce.Trainer(model).fit(data, 9, early_stopping=EarlyStopping(patience=2))",
    mended="""\
test = data
cauce.Trainer(model).fit(data, 9, early_stopping=EarlyStopping(patience=2), validate=test)""",
)
def early_stopping_without_validation():
    """Early stopping without a validation set"""
    cauce.Trainer(model).fit(data, 9, early_stopping=EarlyStopping(patience=2))


@mistake(
    DataError,
    ValueError,
    says=("no crop of 32 x 32", "images of 8 x 8", "padding of 4"),
    fix="smaller size or a larger padding",
    line="trainer.fit(data, 1, augment=[RandomCrop(32, padding=4)], progress=False)",
)
def crop_larger_than_the_image():
    """A crop larger than the images"""
    trainer = cauce.Trainer(model)
    trainer.fit(data, 1, augment=[RandomCrop(32, padding=4)], progress=False)


@mistake(
    DataError,
    ValueError,
    says=("Mixup mixes probabilities", "labels of shape (6,)"),
    fix="OneHot(classes) before Mixup",
    line="trainer.fit(data, 1, augment=[Mixup()], progress=False)",
    mended="""\
from cauce.training import OneHot

classes = len(data.classes)
trainer = cauce.Trainer(model, target="probabilities")
trainer.fit(data, 1, augment=[OneHot(classes), Mixup()], progress=False)""",
)
def mixup_of_indices():
    """Mixup of class indices"""
    trainer = cauce.Trainer(model)
    trainer.fit(data, 1, augment=[Mixup()], progress=False)


@mistake(
    GraphError,
    ValueError,
    says=("of another run", "linear1.bias was [3], is [10]"),
    fix="the same network",
    line='cauce.Trainer(other).resume("runs")',
)
def checkpoint_of_another_network():
    """A checkpoint of another network"""
    trainer = cauce.Trainer(net.init(image=("N", 3, 8, 8)))
    trainer.fit(data, epochs=1, checkpoints=Checkpoints("runs"), progress=False)
    other = net.init(image=("N", 3, 8, 8), classes=10)
    cauce.Trainer(other).resume("runs")


@mistake(
    GraphError,
    ValueError,
    says=("of another run", "there was no optimizer.step", "and 6 more"),
    fix="optimizer",
    line='cauce.Trainer(model, optimizer=cauce.Adam()).resume("runs")',
)
def checkpoint_of_another_optimizer():
    """A checkpoint of another optimizer"""
    trainer = cauce.Trainer(net.init(image=("N", 3, 8, 8)))
    trainer.fit(data, epochs=1, checkpoints=Checkpoints("runs"), progress=False)
    cauce.Trainer(model, optimizer=cauce.Adam()).resume("runs")


@mistake(
    DataError,
    ValueError,
    says="step-00000001.safetensors is not a safetensors file, or is damaged",
    fix="an earlier checkpoint",
    line='cauce.Trainer(model).resume("runs")',
)
def damaged_checkpoint():
    """A damaged checkpoint"""
    Path("runs").mkdir()
    Path("runs/step-00000001.safetensors").write_bytes(b"half of a fi")
    cauce.Trainer(model).resume("runs")


@mistake(
    GraphError,
    ValueError,
    says=("fitted otherwise", "batch_size was 2, is 3"),
    fix="batch size",
    line="again.fit(data, epochs=2, batch_size=3, progress=False)",
)
def resumed_otherwise():
    """A run resumed with another batch size"""
    trainer = cauce.Trainer(net.init(image=("N", 3, 8, 8)))
    trainer.fit(data, epochs=1, batch_size=2, checkpoints=Checkpoints("runs"), progress=False)
    again = cauce.Trainer(net.init(image=("N", 3, 8, 8)))
    again.resume("runs")
    again.fit(data, epochs=2, batch_size=3, progress=False)


@mistake(
    GraphError,
    ValueError,
    says=("runs holds checkpoints of another run up to step-00000002", "at step 0"),
    fix="resume(checkpoints)",
    line='again.fit(data, epochs=1, checkpoints=Checkpoints("runs"), progress=False)',
    mended="""\
checkpoints = Checkpoints("runs")
again.resume(checkpoints)
again.fit(data, epochs=1, checkpoints=checkpoints, progress=False)""",
)
def run_not_resumed():
    """A second run in the folder of the first"""
    trainer = cauce.Trainer(net.init(image=("N", 3, 8, 8)))
    trainer.fit(data, epochs=2, checkpoints=Checkpoints("runs"), progress=False)
    again = cauce.Trainer(net.init(image=("N", 3, 8, 8)))
    again.fit(data, epochs=1, checkpoints=Checkpoints("runs"), progress=False)


@mistake(
    AttributeMistake,
    ValueError,
    says="mode must be 'min' or 'max', got None for 'f1'",
    fix="mode='min'",
    line='Checkpoints("runs", best="f1")',
    mended=(
        'Checkpoints("runs", best="f1", mode=\'min\')',
        'Checkpoints("runs", best="f1", mode=\'max\')',
    ),
)
def best_by_an_unknown_measure():
    """The best by a measure of unknown direction"""
    Checkpoints("runs", best="f1")
