"""Train a residual network on real handwritten digits, export it, and compare with ONNX Runtime.

Run it with ``make demo``, or ``python examples/demo.py``. For each of three seeds it trains on
1,438 digits of 8x8 pixels and tests on 359 others. Expect a test accuracy of at least 0.98 in well
under a minute of training a seed, and ONNX Runtime agreeing on every test image.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

import cauce
from cauce import nn
from cauce.training import OneCycle, epochs_to_steps


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
def small_resnet(image, classes=10):
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 16, 3, padding=1, bias=False)))
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        x = block(x, channels, stride)
    return nn.linear(nn.dropout(nn.global_avg_pool(x), 0.1), classes)


def run(seed: int, epochs: int, folder: Path) -> bool:
    """Train, export and compare for one seed; returns whether all went as promised."""
    train, test = cauce.load_digits()
    model = small_resnet.init(image=("N", 1, 8, 8), seed=seed)
    if seed == 0:
        model.summary()
    trainer = cauce.Trainer(
        model,
        loss="cross_entropy",
        optimizer=cauce.SGD(0.1, momentum=0.9, weight_decay=5e-4),
        seed=seed,
    )
    steps = epochs_to_steps(epochs, train, 64)
    start = time.perf_counter()
    trainer.fit(train, epochs=epochs, batch_size=64, lr=OneCycle(0.2, steps, pct_start=0.2))
    seconds = time.perf_counter() - start
    accuracy = trainer.evaluate(test)["accuracy"]

    predict = cauce.compile(model)
    ours = predict(test.images)
    path = folder / f"small_resnet_{seed}.onnx"
    cauce.export_onnx(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"image": test.images})
    same = int((ours.argmax(1) == theirs.argmax(1)).sum())
    gap = float(np.abs(ours - theirs).max())
    print(
        f"seed {seed}: {seconds:.1f} s of training on the {trainer.backend} backend, "
        f"test accuracy {accuracy:.4f}; ONNX Runtime gives the same class for "
        f"{same} of {len(test)} test images, the largest difference of a logit is {gap:.1e}"
    )
    return accuracy >= 0.98 and same == len(test) and seconds < 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [run(seed, options.epochs, Path(folder)) for seed in options.seeds]
    if not all(results):
        raise SystemExit("the demo did not reach what it promises, see above")


if __name__ == "__main__":
    main()
