"""Train a small convolutional network on handwritten digits of 8x8 pixels.

Expect a table of layers, a line for each of 12 epochs, the confusion matrix, and the digits that
were taken for others. After some five seconds of training the accuracy on digits that the network
has never seen is at least 0.98. The curves of the run are drawn in ``digits.png``; the model is
kept in ``digits.safetensors`` and read back.

    python examples/02_train_digits.py [--epochs 12] [--folder .] [--quick]
"""

import argparse
from pathlib import Path

import cauce
from cauce import nn
from cauce.training import ConfusionMatrix, OneCycle, epochs_to_steps, plot_history


@cauce.network
def digits(image, classes=10):
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 16, 3, padding=1, bias=False)))
    x = nn.max_pool2d(x, 2)
    x = nn.relu(nn.batch_norm(nn.conv2d(x, 32, 3, padding=1, bias=False)))
    x = nn.dropout(nn.flatten(x), 0.2)
    return nn.linear(x, classes)


def draw(image):
    for row in image[0]:
        print("    " + "".join(" .:+#"[int(4 * pixel)] * 2 for pixel in row))


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--folder", type=Path, default=Path("."), help="where the files go")
parser.add_argument("--quick", action="store_true", help="2 epochs: to see that it runs")
options = parser.parse_args()
epochs = 2 if options.quick else options.epochs

train, test = cauce.load_digits()
print(train, test, sep="\n")
model = digits.init(image=("N", 1, 8, 8), seed=0)
model.summary()

trainer = cauce.Trainer(model, loss="cross_entropy", optimizer=cauce.SGD(0.05, momentum=0.9))
history = trainer.fit(
    train,
    epochs,
    batch_size=64,
    validate=test,
    lr=OneCycle(0.05, total_steps=epochs_to_steps(epochs, train, batch_size=64)),
)

logits = cauce.compile(model)(test.images)
print(ConfusionMatrix.of(logits, test.labels, test.classes))
guesses = logits.argmax(axis=1)
for place in (guesses != test.labels).nonzero()[0][:3]:
    print(f"\n  a {test.labels[place]}, taken for a {guesses[place]}:")
    draw(test.images[place])

plot_history(history, options.folder / "digits.png")
model.save(options.folder / "digits.safetensors")
again = cauce.load(options.folder / "digits.safetensors")
print(f"\ntest accuracy {(cauce.compile(again)(test.images).argmax(1) == test.labels).mean():.4f}")
