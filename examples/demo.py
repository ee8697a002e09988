"""Train a residual network on real handwritten digits, export it, and compare with ONNX Runtime.

Run it with ``make demo``, or ``python examples/demo.py``. For each of three seeds it trains on
1,438 digits of 8x8 pixels and tests on 359 others, in native code where llvmlite is installed.
Expect a test accuracy of at least 0.98 in a few seconds of training a seed (well under a minute
with NumPy), and ONNX Runtime agreeing on every test image. Then it says how many times as fast as
NumPy, the reference, native code was, and that both compute the same.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

import cauce
from cauce import nn
from cauce.ir.errors import install
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


def in_turns(*calls: Callable[[], object]) -> list[float]:
    """The median milliseconds of each call; in turns, so that all share what disturbs them."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(15):
        for call, own in zip(calls, times):
            start = time.perf_counter()
            call()
            own.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(own) for own in times]


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The norm of the difference, relative to that of ``theirs``."""
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-6))


def compare_backends(count: int = 64) -> bool:
    """Hold native code against NumPy on one batch; returns whether both compute the same."""
    model = small_resnet.init(image=("N", 1, 8, 8))
    native, reference = cauce.compile(model), cauce.compile(model, backend="numpy")
    if native.backend == reference.backend:
        print(f"there is no native code to compare with NumPy: {install('llvmlite')}")
        return True
    train, _ = cauce.load_digits()
    images, labels = train.images[:count], train.labels[:count]
    steps = [
        cauce.train_step(model, "cross_entropy", cauce.SGD(0.1, momentum=0.9), backend=name)
        for name in (native.backend, reference.backend)
    ]
    states = [step(step.init(), (images, labels)) for step in steps]
    ours, theirs = (state.read() for state in states)
    apart = max(
        distance(native(images), reference(images)),
        *(distance(ours[name], theirs[name]) for name in theirs),
    )
    fast, slow = in_turns(
        lambda: steps[0](states[0], (images, labels)),
        lambda: steps[1](states[1], (images, labels)),
    )
    quick, long = in_turns(lambda: native(images), lambda: reference(images))
    print(
        f"native code against NumPy, the reference, on {count} images: a training step takes "
        f"{fast:.1f} ms, {slow / fast:.1f} times as fast; inference takes {quick:.2f} ms, "
        f"{long / quick:.1f} times as fast; their results are {apart:.1e} apart, relatively"
    )
    return apart < 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [run(seed, options.epochs, Path(folder)) for seed in options.seeds]
    results.append(compare_backends())
    if not all(results):
        raise SystemExit("the demo did not reach what it promises, see above")


if __name__ == "__main__":
    main()
