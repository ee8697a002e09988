"""A residual network on Fashion-MNIST: 70,000 grey pictures of clothes, 28x28, in ten classes.

The data (Xiao, Rasul and Vollgraf 2017) are in the Debian package ``dataset-fashion-mnist``; on
other systems, put the four files of their repository, zalandoresearch/fashion-mnist, into a folder
and give it as ``--data``. They stay as they are, in the IDX format, compressed by gzip.

Expect a line for each of 15 epochs of training in native code, a test accuracy of at least 0.92,
and the classes that are mistaken for one another most often: shirts and T-shirts. A run that is
interrupted goes on where it was when it is started again.

    python examples/03_fashion_mnist.py [--data FOLDER] [--folder .] [--seed 0] [--quick]
"""

import argparse
from pathlib import Path

import cauce
from cauce import nn
from cauce.training import (
    Checkpoints,
    ConfusionMatrix,
    OneCycle,
    RandomHorizontalFlip,
    epochs_to_steps,
    plot_confusion,
)

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
BATCH = 128
CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


@nn.block
def block(x, channels, stride=1):
    shortcut = x
    if stride != 1 or x.channels != channels:
        shortcut = nn.batch_norm(nn.conv2d(x, channels, 1, stride=stride, bias=False))
    y = nn.conv2d(x, channels, 3, stride=stride, padding=1, bias=False)
    y = nn.relu(nn.batch_norm(y))
    y = nn.batch_norm(nn.conv2d(y, channels, 3, padding=1, bias=False))
    return nn.relu(y + shortcut)


@cauce.network
def fashion_resnet(image, classes=10):
    x = nn.normalize(image, mean=0.286, std=0.353)  # of the training pixels
    x = nn.relu(nn.batch_norm(nn.conv2d(x, 16, 3, padding=1, bias=False)))
    x = nn.max_pool2d(x, 2)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        x = block(x, channels, stride)
    return nn.linear(nn.dropout(nn.global_avg_pool(x), 0.1), classes)


def load(folder, part):
    paths = [folder / f"{part}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
    for path in paths:
        if not path.is_file():
            raise SystemExit(
                f"There is no {path}. Get the data by one of\n"
                "  apt-get install dataset-fashion-mnist      on Debian and its kin\n"
                "  --data FOLDER      with the four files of zalandoresearch/fashion-mnist, as is"
            )
    return cauce.load_idx(*paths, classes=CLASSES)


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--data", type=Path, default=DEBIAN, help="the folder of the four files")
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--seed", type=int, default=0, help="of weights, order, flips and dropout")
parser.add_argument("--backend", default="auto", help="llvm or numpy")
parser.add_argument("--folder", type=Path, default=Path("."), help="where checkpoints and files go")
parser.add_argument("--quick", action="store_true", help="1 epoch of 512 pictures")
options = parser.parse_args()
train, test = load(options.data, "train"), load(options.data, "t10k")
if options.quick:
    train, test, options.epochs = train[:512], test[:512], 1
print(train, test, sep="\n")

model = fashion_resnet.init(image=("N", 1, 28, 28), seed=options.seed)
model.summary()
trainer = cauce.Trainer(
    model,
    optimizer=cauce.SGD(0.2, momentum=0.9, weight_decay=5e-4),
    seed=options.seed,
    backend=options.backend,
)
run = options.folder / ("fashion_quick" if options.quick else "fashion_run")
checkpoints = Checkpoints(run, every=100, best="accuracy")
if trainer.resume(checkpoints):
    print("an earlier run goes on")
history = trainer.fit(
    train,
    options.epochs,
    batch_size=BATCH,
    validate=test,
    lr=OneCycle(0.2, total_steps=epochs_to_steps(options.epochs, train, BATCH)),
    augment=[RandomHorizontalFlip()],
    checkpoints=checkpoints,
)
predict = cauce.compile(model, backend=options.backend)
matrix = ConfusionMatrix.of(predict(test.images), test.labels, test.classes)
print(matrix)
plot_confusion(matrix, options.folder / "fashion_confusion.png")
print(
    f"test accuracy {matrix.accuracy:.4f} after {len(history)} epochs, which took "
    f"{sum(epoch.seconds for epoch in history):.0f} s on the {trainer.backend} backend"
)
