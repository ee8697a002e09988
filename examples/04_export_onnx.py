"""Export a network to ONNX, and hold it against ONNX Runtime; a few seconds.

Expect three files to be written, checked and run: a ResNet-20 whose batch and image size are free;
the same network fed with bytes as images are stored, its normalisation inside; and one step of its
training, as a graph that takes parameters and a batch and gives the loss and new parameters. For
each, ONNX Runtime differs from cauce by less than 1e-4 of the largest value.

    python examples/04_export_onnx.py [--folder .]
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import cauce
from cauce import models, nn

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--folder", type=Path, default=Path("."), help="where the files go")
folder = parser.parse_args().folder
rng = np.random.default_rng(0)


def agree(what, ours, theirs):
    gap = max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, theirs, strict=True))
    print(f"  {what}: the largest difference from ONNX Runtime is {gap:.1e}")
    if gap >= 1e-4:
        raise SystemExit("that is too much")


# ---- a model, whose batch and size are free ----

model = models.resnet20.init(image=("N", 3, "H", "W"), seed=0)
path = folder / "resnet20.onnx"
cauce.export_onnx(model, path)
proto = onnx.load(path)
print(f"{path}: {len(proto.graph.node)} nodes, the first one is")
first = proto.graph.node[0]
print(f"  {first.op_type} {first.name}, from {[p.value for p in first.metadata_props]}")

predict = cauce.compile(model)
session = onnxruntime.InferenceSession(path)
for shape in ((1, 3, 32, 32), (5, 3, 20, 28)):
    image = rng.standard_normal(shape, np.float32)
    agree(f"images {list(shape)}", [predict(image)], session.run(None, {"image": image}))

# ---- pixels as they are stored ----


@cauce.network
def from_bytes(image):
    return models.resnet20(nn.normalize(image, mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26)))


model = from_bytes.init(image=("N", 3, 32, 32), dtype="u8", seed=0)
path = folder / "resnet20_bytes.onnx"
cauce.export_onnx(model, path)
print(f"{path}:")
image = rng.integers(0, 256, (4, 3, 32, 32), np.uint8)
theirs = onnxruntime.InferenceSession(path).run(None, {"image": image})
agree("bytes", [cauce.compile(model)(image)], theirs)

# ---- a step of training ----

model = models.resnet20.init(image=("N", 3, 32, 32), seed=0)
step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1, momentum=0.9))
path = folder / "resnet20_step.onnx"
cauce.export_onnx(step.graph, path)
state = step.init()
batch = {"image": rng.standard_normal((8, 3, 32, 32), np.float32), "target": np.arange(8)}
feeds = {**batch, **state.read(), "lr": np.array(0.1, np.float32)}
session = onnxruntime.InferenceSession(path)
print(f"{path}: {len(session.get_inputs())} inputs, {len(session.get_outputs())} outputs")
names = ["loss", "conv1.weight.new", "fc.weight.new"]
theirs = session.run(names, feeds)
state = step(state, batch)
new = state.read()
agree("a step", [state.loss, new["conv1.weight"], new["fc.weight"]], theirs)
