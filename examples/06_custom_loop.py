"""A training loop of your own: ``state = step(state, batch, lr=...)``, and all else is yours.

Here the loss smooths labels, the rate warms up and falls along a cosine, gradients are clipped, and
beside the weights a running average of them is kept, in which the noise of training cancels. Expect
a line for every 50 of 450 steps, and in the end a test accuracy of at least 0.98 for the weights
and for their average; some five seconds.

    python examples/06_custom_loop.py [--steps 450] [--quick]
"""

import argparse

import cauce
from cauce import nn
from cauce.training import Cosine, WarmUp, batches

BATCH = 64


@cauce.network
def digits(image, classes=10):
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 16, 3, padding=1, bias=False)))
    x = nn.max_pool2d(x, 2)
    x = nn.relu(nn.batch_norm(nn.conv2d(x, 32, 3, padding=1, bias=False)))
    return nn.linear(nn.flatten(x), classes)


def smooth_cross_entropy(logits, target):
    return nn.cross_entropy(logits, target, label_smoothing=0.1)


def endless(dataset):
    """Batches without end: epoch after epoch, each in an order of its own."""
    epoch = 0
    while True:
        yield from batches(dataset, BATCH, seed=0, epoch=epoch)
        epoch += 1


def accuracy(predict, weights, dataset):
    predict.load_state_dict(weights)  # new weights need no new compilation
    return (predict(dataset.images).argmax(axis=1) == dataset.labels).mean()


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--steps", type=int, default=450)
parser.add_argument("--quick", action="store_true", help="50 steps: to see that it runs")
options = parser.parse_args()
steps = 50 if options.quick else options.steps

train, test = cauce.load_digits()
model = digits.init(image=("N", 1, 8, 8), seed=0)
step = cauce.train_step(
    model,
    loss=smooth_cross_entropy,
    optimizer=cauce.SGD(0.1, momentum=0.9, weight_decay=5e-4),
    metrics=["accuracy"],
    clip=cauce.ClipNorm(1.0),
)
schedule = WarmUp(Cosine(0.1, total_steps=steps - 20), steps=20)
predict = cauce.compile(model)

state = step.init(seed=0)
average = model.state_dict()
for number, batch in zip(range(steps), endless(train)):
    state = step(state, batch, lr=schedule(number))
    weights = state.read()
    for name in average.keys() & weights.keys():
        average[name] += 0.05 * (weights[name] - average[name])
    if (number + 1) % 50 == 0:
        print(
            f"step {number + 1:4}  rate {schedule(number):.4f}  loss {state.loss:.4f}  "
            f"accuracy on this batch {state.metrics['accuracy']:.3f}"
        )

model.load_state_dict(weights, strict=False)  # not strict: the optimiser's slots are no weights
print(f"test accuracy of the weights {accuracy(predict, model.state_dict(), test):.4f}")
print(f"test accuracy of their average {accuracy(predict, average, test):.4f}")
