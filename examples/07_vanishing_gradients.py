"""Why gradients vanish: a picture of what the first weights do to them, and what shortcuts do.

Three networks without batch norms, of 31 convolutions and of 55:

- plain, with weights as ``conv2d`` draws them by default, which is PyTorch's way too. Each layer
  passes on less than it gets, and on its way back the gradient shrinks likewise: at 31 layers less
  than a millionth of a millionth of it arrives at the first one, at 55 not even a number that f32
  holds. Training does not move.
- plain, with the larger first weights of He et al. 2015 ("Delving deep into rectifiers", equation
  10), which keep the size of what a layer with a ReLU passes on. The gradient arrives, and 31
  layers learn: what made it vanish was the initialisation. At 55 layers it still arrives, a hundred
  times as small as at the last one, but training is slow, and with two seeds of four it is stuck.
- with shortcuts that add what goes into every two layers to what comes out of them (He et al. 2015,
  "Deep residual learning"), and weights as by default. The gradient arrives undiminished, and both
  depths learn, with each of four seeds.

Expect after a minute or two ``vanishing_gradients.png``: for both depths on the left the size of
the gradient by layer, before the first step, on the right the loss in training. In print also two
networks with batch norms, from ``cauce.models``: there the gradient of the plain one does not
vanish, but grows more than a hundredfold towards the image, and shortcuts cure that too.

    python examples/07_vanishing_gradients.py [--epochs 10] [--folder .]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import cauce
from cauce import models, nn
from cauce.ir import Role, TensorType
from cauce.training import batches

DEPTHS = (31, 55)
TOWERS = {
    "plain": {},
    "plain, He's first weights": {"first_weights": nn.init.kaiming_normal},
    "with shortcuts": {"shortcuts": True},
}
COLOURS = {"plain": "#D55E00", "plain, He's first weights": "#009E73", "with shortcuts": "#0072B2"}


@cauce.network
def tower(image, depth=31, shortcuts=False, first_weights=nn.init.default_weight, classes=10):
    def conv(x):
        return nn.conv2d(x, 16, 3, padding=1, weight_init=first_weights)

    x = nn.relu(conv(image))
    for _ in range(depth // 2):
        y = conv(nn.relu(conv(x)))
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
    """The loss in training, over every ten steps."""
    model = tower.init(image=("N", 1, 8, 8), seed=0, **options)
    step = cauce.train_step(model, "cross_entropy", cauce.Adam(0.001))
    state, found = step.init(), []
    for epoch in range(epochs):
        for batch in batches(train, 64, seed=0, epoch=epoch):
            state = step(state, batch)
            found.append(state.loss)
    return np.convolve(found, np.full(10, 0.1), "valid")


def draw(norms, curves, path):
    """The picture: for each depth what reaches each layer, and what comes of it."""
    figure = Figure(figsize=(11, 8.6), layout="constrained")
    figure.suptitle("What vanishes on the way back, and what cures it", size=17, weight="bold")
    panels = figure.subplots(len(DEPTHS), 2, width_ratios=(3, 2))
    for (left, right), depth in zip(panels, DEPTHS):
        for name, colour in COLOURS.items():
            layers = np.arange(1, depth + 1)
            left.plot(layers, norms[depth, name], "o-", color=colour, linewidth=2.5, markersize=4)
            right.plot(curves[depth, name], color=colour, linewidth=2)
        left.set_title(f"{depth} layers: how much gradient reaches each")
        left.set_yscale("log")
        left.set_ylim(1e-18, 300)
        left.set_ylabel("norm of the gradient")
        left.set_xlabel("layer, from the image to the loss")
        grey = {"color": "0.4", "ha": "center", "va": "center"}
        arrow = {"arrowstyle": "->", "color": "0.4", "linewidth": 1.5}
        left.annotate("", (0.3 * depth, 20), (0.8 * depth, 20), arrowprops=arrow)
        text = " the gradient travels this way "
        left.text(0.55 * depth, 20, text, backgroundcolor="white", **grey)
        right.set_title(f"{depth} layers: loss in training")
        right.set_ylabel("loss, mean of ten steps")
        right.set_xlabel("step")
        right.set_ylim(0, 2.6)
        for panel in (left, right):
            panel.grid(color="0.92")
            panel.set_axisbelow(True)
            panel.spines[["top", "right"]].set_visible(False)
    lines = dict(zip(COLOURS, panels[0, 0].get_lines()))
    panels[0, 0].legend(lines.values(), lines, loc="lower right", frameon=False, fontsize=12)
    figure.savefig(path, dpi=130)


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--folder", type=Path, default=Path("."), help="where the picture goes")
options = parser.parse_args()

train, _ = cauce.load_digits()
few = train.images[:64], train.labels[:64]


def report(name, norms):
    print(f"{name}: gradient {norms[-1]:.1e} at the last layer, {norms[0]:.1e} at the first")
    return norms


norms, curves = {}, {}
for depth in DEPTHS:
    for name, kind in TOWERS.items():
        title = f"{depth} layers, {name}"
        norms[depth, name] = report(title, gradient_norms(tower, *few, depth=depth, **kind))
        curve = curves[depth, name] = losses(train, options.epochs, depth=depth, **kind)
        print(f"{title}: loss {curve[0]:.2f} in the first steps, {curve[-1]:.2f} in the last")
report("plain56, with batch norms", gradient_norms(models.plain56, *few))
report("resnet56, with batch norms", gradient_norms(models.resnet56, *few))
path = options.folder / "vanishing_gradients.png"
draw(norms, curves, path)
print(f"drawn in {path}")
