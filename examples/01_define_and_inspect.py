"""Define a small residual network and look into it from all sides; no training, one second.

Expect, in this order: a table of the layers; the graph as text, each node with the lines of this
file that wrote it; what runs once it is compiled (the batch norms have become part of the
convolutions); a square, and the edges that a filter finds in it; the word that every node gives
what the plain reference gives; and the message that a mistake in a network gets.
"""

import numpy as np

import cauce
from cauce import nn


@cauce.network
def tiny_resnet(image, channels=4, classes=10):
    x = nn.relu(nn.batch_norm(nn.conv2d(image, channels, 3, padding=1, bias=False)))
    y = nn.batch_norm(nn.conv2d(x, channels, 3, padding=1, bias=False))
    return nn.linear(nn.global_avg_pool(nn.relu(x + y)), classes)


def title(text):
    print(f"\n---- {text} ----\n")


def draw(picture):
    for row in picture:
        print("  " + " ".join("-" if pixel < 0 else "#" if pixel > 0 else "." for pixel in row))


model = tiny_resnet.init(image=("N", 1, 10, 10), seed=0)  # any batch: N is a symbol
title("the layers")
model.summary()

title("the graph as text")
print(model.graph)
cauce.verify(model.graph)
print("\nread back, it is the same graph:", cauce.parse(str(model.graph)).same_as(model.graph))

title("what runs")
predict = cauce.compile(model)
print(predict)
image = np.zeros((1, 1, 10, 10), np.float32)
image[:, :, 3:7, 2:8] = 1
for row in predict.profile(image):
    print(f"  {row.path:18} {row.op:18} {row.flops:7,} FLOPs {1e6 * row.seconds:6.0f} us")

title("inside: a square, and its edges by the first filter of conv1")
weights = model.state_dict()
weights["conv1.weight"][0, 0] = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]  # Sobel's
model.load_state_dict(weights)
logits, taps = cauce.compile(model, taps=["conv1"]).tapped(image)
draw(image[0, 0])
print()
draw(taps["conv1"][0, 0])

title("every node, held against the reference")
print(cauce.compare(model, image))

title("a mistake")


@cauce.network
def mistaken(image):
    x = nn.conv2d(image, 8, 3, padding=1)
    y = nn.conv2d(x, 8, 3)  # without padding, it is smaller than x
    return x + y


try:
    mistaken.init(image=("N", 1, 10, 10))
except cauce.CauceError as error:
    print(error)
