"""Why deep networks need shortcuts: a picture of gradients that vanish, and of what that means.

Two networks of 31 convolutions start from the very same weights. The one difference: the second
adds what goes into every two layers to what comes out of them (He et al. 2015). On its way back
through the plain one the gradient shrinks with every layer, to less than a millionth of a millionth
at the first, and training does not move. Along shortcuts it arrives undiminished.

Expect after half a minute ``vanishing_gradients.png``: on the left the size of the gradient by
layer, before the first step; on the right the loss of both networks in training. In print also two
networks with batch norms, from ``cauce.models``: there the gradient of the plain one does not
vanish, but grows more than a hundredfold towards the image, and shortcuts cure that too.

    python examples/07_vanishing_gradients.py [--epochs 10] [--folder .] [--quick]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import cauce
from cauce import models, nn
from cauce.ir import Role, TensorType
from cauce.training import batches


@cauce.network
def tower(image, shortcuts=False, blocks=15, classes=10):
    x = nn.relu(nn.conv2d(image, 16, 3, padding=1))
    for _ in range(blocks):
        y = nn.relu(nn.conv2d(x, 16, 3, padding=1))
        y = nn.conv2d(y, 16, 3, padding=1)
        x = nn.relu(x + y if shortcuts else y)
    return nn.linear(nn.global_avg_pool(x), classes)


def gradient_norms(network, images, labels, **options):
    """The norm of the loss's gradient by the weight of each convolution, the first layer first."""

    @cauce.network
    def loss(image, target):
        return nn.cross_entropy(network(image, **options), target)

    target = TensorType.make("i64", ("N",))
    model = loss.init(image=("N", *images.shape[1:]), target=target, seed=0)
    graph = model.training_graph.copy()
    weights = [value for value in graph.inputs_with(Role.PARAMETER) if value.type.rank == 4]
    gradients = cauce.gradients(graph.outputs["output"], weights)
    graph.outputs = {weight.name: gradient for weight, gradient in zip(weights, gradients)}
    graph.updates.clear()  # of running statistics, which do not matter here
    run = cauce.compile(graph)
    run.load_state_dict(model.state_dict())
    return [float(np.linalg.norm(gradient)) for gradient in run(images, labels)]


def losses(train, epochs, **options):
    """The loss of every step of training."""
    model = tower.init(image=("N", 1, 8, 8), seed=0, **options)
    step = cauce.train_step(model, "cross_entropy", cauce.Adam(0.001))
    state, found = step.init(), []
    for epoch in range(epochs):
        for batch in batches(train, 64, seed=0, epoch=epoch):
            state = step(state, batch)
            found.append(state.loss)
    return found


def draw(norms, curves, path):
    """The picture: what reaches each layer, and what comes of it."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    figure.suptitle("Without shortcuts, the gradient dies on its way back", size=17, weight="bold")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    layers = np.arange(1, len(norms["plain"]) + 1)
    colours = {"plain": "#D55E00", "with shortcuts": "#0072B2"}
    for name, colour in colours.items():
        left.plot(layers, norms[name], "o-", color=colour, linewidth=3)
        right.plot(curves[name], color=colour, linewidth=2)

    left.set_title("how much gradient reaches each layer")
    left.set_yscale("log")
    left.set_ylim(top=30)
    left.set_ylabel("norm of the gradient")
    left.set_xlabel("layer")
    ends = [1, 10, 20, len(layers)]
    left.set_xticks(ends, ["1\nnext to the image", "10", "20", f"{len(layers)}\nnext to the loss"])
    large = {"size": 13, "weight": "bold"}
    left.text(2, 0.25, "with shortcuts, it arrives", color=colours["with shortcuts"], **large)
    left.text(2, 2e-11, "plain: next to\nnothing arrives", color=colours["plain"], **large)
    grey = {"color": "0.4", "ha": "center", "va": "center"}
    arrow = {"arrowstyle": "->", "color": "0.4", "linewidth": 1.5}
    left.annotate("", (9, 6), (24, 6), arrowprops=arrow)
    left.text(16.5, 6, " the gradient travels this way ", backgroundcolor="white", **grey)

    learns = curves["with shortcuts"][-1] < curves["plain"][-1] / 2
    right.set_title("so only one of them learns" if learns else "too few steps to tell them apart")
    right.set_ylabel("loss in training")
    right.set_xlabel("step")
    right.set_ylim(0, 2.8)
    place = len(curves["plain"]) / 2
    plain = "plain: still guessing" if learns else "plain"
    right.text(place, 2.45, plain, color=colours["plain"], ha="center", **large)
    below = 0.4 if learns else 1.8
    right.text(0, below, "with\nshortcuts", color=colours["with shortcuts"], **large)
    for panel in (left, right):
        panel.grid(color="0.92")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--folder", type=Path, default=Path("."), help="where the picture goes")
parser.add_argument("--quick", action="store_true", help="1 epoch: to see that it runs")
options = parser.parse_args()
epochs = 1 if options.quick else options.epochs

train, _ = cauce.load_digits()
few = train.images[:64], train.labels[:64]


def report(name, norms):
    print(f"{name}: gradient {norms[-1]:.1e} at the last layer, {norms[0]:.1e} at the first")
    return norms


norms = {
    "plain": report("plain", gradient_norms(tower, *few)),
    "with shortcuts": report("with shortcuts", gradient_norms(tower, *few, shortcuts=True)),
}
report("plain56, with batch norms", gradient_norms(models.plain56, *few))
report("resnet56, with batch norms", gradient_norms(models.resnet56, *few))
curves = {"plain": losses(train, epochs), "with shortcuts": losses(train, epochs, shortcuts=True)}
for name, curve in curves.items():
    print(f"{name}: loss {curve[0]:.2f} in the first step of training, {curve[-1]:.2f} in the last")
path = options.folder / "vanishing_gradients.png"
draw(norms, curves, path)
print(f"drawn in {path}")
