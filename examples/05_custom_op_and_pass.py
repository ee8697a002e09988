"""An op of your own, and a pass that finds it in networks that do not use it; ten seconds.

The op is the square of relu, y = max(x, 0)**2 (So et al. 2021, "Primer"). What it means is written
once: type, reference, gradient, and the ops it is made of. With that it prints, parses, trains,
runs on every backend and exports. The pass has one rule: relu(x) * relu(x) = squared_relu(x).

Expect the graph of a network before and after the pass, which is checked by translation validation;
a test accuracy of at least 0.96 of a network trained with the op; and ONNX Runtime giving the same.

    python examples/05_custom_op_and_pass.py [--epochs 8] [--folder .] [--quick]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime

import cauce
from cauce import nn
from cauce.ir import Builder, Node, Value, register
from cauce.ir.op import Gradients
from cauce.ir.ops.activation import Relu
from cauce.ir.ops.constant import scalar
from cauce.ir.ops.elementwise import FloatUnary, Mul
from cauce.ir.pass_manager import Rewrite
from cauce.ir.rewrite import Match, OpPattern, Rule, Var
from cauce.passes.pipelines import INFERENCE

# ---- the op ----


@register
class SquaredRelu(FloatUnary):  # a FloatUnary infers the type of its one operand
    """y = max(x, 0)**2. So et al. 2021, "Primer: searching for efficient transformers"."""

    name = "squared_relu"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0) ** 2

    def gradient(self, b: Builder, node: Node, dy: Value) -> Gradients:
        (x,) = node.operands
        slope = b(Mul(), scalar(b, 2, x), b(Relu(), x))
        return (b(Mul(), dy, slope),)

    def decompose(self, b: Builder, x: Value) -> Value:
        y = b(Relu(), x)
        return b(Mul(), y, y)


# ---- the pass ----


class FindSquaredRelu(Rule):
    """relu(x) * relu(x) = squared_relu(x)"""

    pattern = OpPattern(Mul, OpPattern(Relu, Var("x")), OpPattern(Relu, Var("x")))

    def replace(self, b: Builder, match: Match) -> Value:
        return b(SquaredRelu(), match["x"])


class UseSquaredRelu(Rewrite):
    name = "use_squared_relu"
    rules = (FindSquaredRelu(),)


@cauce.network
def unaware(image):
    return nn.relu(nn.conv2d(image, 2, 3, name="conv")) ** 2


model = unaware.init(image=("N", 1, 8, 8), seed=0)
print("a network as it was written, and as it is run after the pass:\n")
print(model.graph.to_text(locations=False))
# In NumPy, which runs the op by its reference; native code would take it apart again.
passes = (*INFERENCE, UseSquaredRelu())
aware = cauce.compile(model, backend="numpy", passes=passes, validate=True)
print(aware.graph.to_text(locations=False))

# ---- a network with the op, trained and exported ----


@cauce.network
def digits(image, classes=10):
    x = nn.batch_norm(nn.conv2d(image, 16, 3, padding=1, bias=False))
    x = nn.max_pool2d(nn.apply(SquaredRelu(), x), 2)
    x = nn.batch_norm(nn.conv2d(x, 32, 3, padding=1, bias=False))
    return nn.linear(nn.flatten(nn.apply(SquaredRelu(), x)), classes)


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--folder", type=Path, default=Path("."), help="where the ONNX file goes")
parser.add_argument("--quick", action="store_true", help="1 epoch: to see that it runs")
options = parser.parse_args()

train, test = cauce.load_digits()
model = digits.init(image=("N", 1, 8, 8), seed=0)
print("\nevery node against the reference:", cauce.compare(model, test.images))
trainer = cauce.Trainer(model, optimizer=cauce.Adam(0.001))
trainer.fit(train, 1 if options.quick else options.epochs, validate=test)
print(f"test accuracy {trainer.evaluate(test)['accuracy']:.4f}")

path = options.folder / "squared_relu.onnx"
cauce.export_onnx(model, path)
ours = cauce.compile(model)(test.images)
(theirs,) = onnxruntime.InferenceSession(path).run(None, {"image": test.images})
gap = np.abs(ours - theirs).max() / np.abs(theirs).max()
print(f"{path}: the largest difference from ONNX Runtime is {gap:.1e}")
