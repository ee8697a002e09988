"""How far outputs are from float64: of networks for each precision, of layers by each algorithm.

    python benchmarks/precision.py                              # everything
    python benchmarks/precision.py --models resnet18 vgg11

Float64 is the same network with the same numbers, all of them in float64, on the NumPy backend,
which has no kernel in common with native code. For a network the error is
``max |y - y64| / max |y64|`` over all outputs of all images. For a convolution it is
``max |y - y64| / max (|w| * |x|)``, where the convolution in the denominator is one of
absolute values.

Each is fed with numbers from N(0, 1), with the same where one channel is 100 times as large, and
with denormal ones.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from classifiers import MODELS, start
from protocol import Case
from report import Rows, Versions, title, write

import cauce
from cauce import nn
from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.target import Target
from cauce.ir import Array

PRECISIONS = ("strict", "default", "fast")
BASE = "NumPy in float64"
# Channels, rows and columns, and stride of the convolutions of residual networks; filters are as
# many as channels.
LAYERS = (
    (16, 32, 1),
    (64, 56, 1),
    (128, 28, 1),
    (256, 14, 1),
    (512, 7, 1),
    (128, 56, 2),
    (512, 14, 2),
)


@cauce.network
def layer(image: nn.Tensor, stride: int = 1) -> nn.Tensor:
    return nn.conv2d(image, image.channels, 3, stride=stride, padding=1, bias=False)


def inputs(images: Array) -> dict[str, Array]:
    """What networks are fed with, by name, made of images from N(0, 1)."""
    outlier = images.copy()
    outlier[:, 1] *= 100
    return {"N(0, 1)": images, "a channel x 100": outlier, "denormal": images * np.float32(1e-40)}


def measured(case: Case) -> tuple[Rows, Versions]:
    """The errors of each precision, or of each algorithm for a layer, by input."""
    found = of_layer(case) if "channels" in case else of_network(case)
    versions = {"cauce": cauce.__version__, "NumPy": np.__version__}
    return found, {**versions, "llvmlite": version("llvmlite")}


def of_network(case: Case) -> Rows:
    """The errors of a network for each precision, and its layers by Winograd's algorithm."""
    model, images = start(case)
    wanted = in_float64(model, getattr(cauce.models, case["model"]).init, images)
    largest = {name: np.abs(y).max() for name, y in wanted.items()}
    rows: dict[str, dict[str, Any]] = {}
    for precision in PRECISIONS:
        predict = cauce.compile(model, backend="llvm", precision=precision)
        tiles = Counter(re.findall(r"^  \S+: winograd (\d x \d)", predict.plan(), re.MULTILINE))
        rows[precision] = {"errors": errors(predict, images, wanted, largest), "tiles": dict(tiles)}
    return rows


def of_layer(case: Case) -> Rows:
    """The errors of one convolution by each algorithm."""
    shape = (case["batch"], case["channels"], case["size"], case["size"])
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    make = partial(layer.init, stride=case["stride"])
    model = make(image=shape, seed=0)
    wanted = in_float64(model, make, images)
    sizes = make(image=shape, seed=0)
    sizes.load_state_dict({name: np.abs(array) for name, array in model.state_dict().items()})
    sums = in_float64(sizes, make, np.abs(images))
    largest = {name: y.max() for name, y in sums.items()}
    graph = cauce.compile(model, backend="llvm").graph
    ((kernel, choices),) = lower(graph, Target.host(), precision="fast").choices.items()
    return {
        choice.schedule.label: {
            "errors": errors(
                cauce.compile(model, backend="llvm", schedules={kernel: choice.schedule}),
                images,
                wanted,
                largest,
            )
        }
        for choice in sorted(choices, key=lambda choice: choice.schedule.label)
    }


def in_float64(
    model: cauce.Model, make: Callable[..., cauce.Model], images: Array
) -> dict[str, Array]:
    """The outputs of a model whose graph ``make`` makes, for each input."""
    exact = make(image=images.shape, dtype="f64")
    exact.load_state_dict(model.state_dict())
    run = cauce.compile(exact, backend="numpy")
    return {name: run(given.astype(np.float64)) for name, given in inputs(images).items()}


def errors(
    predict: Callable[[Array], Array],
    images: Array,
    wanted: Mapping[str, Array],
    largest: Mapping[str, float],
) -> dict[str, float]:
    """The greatest difference for each input, relative to a number for it."""
    return {
        name: float(np.abs(predict(given) - wanted[name]).max() / largest[name])
        for name, given in inputs(images).items()
    }


def table(case: Case, base: str, rows: Rows) -> str:
    """The errors of one case, for people."""
    width = 2 + max(map(len, rows))
    lines = [f"\n{title(case)}; against {base}"]
    for name, row in rows.items():
        if len(lines) == 1:
            lines.append(" " * width + "".join(f"{given:>18}" for given in row["errors"]))
        shown = "".join(f"{error:>18.1e}" for error in row["errors"].values())
        tiles = ", ".join(f"{count} of {tile}" for tile, count in row.get("tiles", {}).items())
        lines.append(f"{name:<{width}}{shown}  {tiles}".rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--batch", type=int, default=4, help="images of a call (4)")
    parser.add_argument("--output", type=Path, help="the JSON file (results/, named by date)")
    options = parser.parse_args()
    cases: list[Case] = [{"model": model, "batch": options.batch} for model in options.models]
    for channels, size, stride in LAYERS:
        given = {"channels": channels, "size": size, "stride": stride, "batch": options.batch}
        cases.append(given)
    write(__file__, BASE, {}, options.output, cases, measured, table)


if __name__ == "__main__":
    main()
