"""The worked examples of docs/semantics.md as a page: ``python -m tests.pages.worked_examples``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import cauce
from cauce.explaining import Explained
from cauce.ir import Array, Graph, TensorType
from cauce.ir.ops.adaptive_pool import AdaptiveAvgPool2d
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.pool import AvgPool2d, MaxPool2d
from cauce.ir.ops.random import Dropout

PAGE = Path(__file__).resolve().parents[2] / "docs" / "worked-examples.html"
INPUT = [[1, 2, 1, 0], [2, 3, 1, 1], [3, 0, 0, 2], [1, 1, 2, 3]]
FILTER = [[1, 0], [2, 1]]
DRAWS = [[0.6, 0.8, 0.2, 0.1]]

# By the name under which the page shows them: the op, and what it takes.
EXAMPLES = {
    "convolution": (Conv2d(), ("input", "filter")),
    "convolution-padded": (Conv2d(stride=2, padding=1), ("input", "filter")),
    "max-pooling": (MaxPool2d(2), ("input",)),
    "average-pooling": (AvgPool2d(2), ("input",)),
    "adaptive-average-pooling": (AdaptiveAvgPool2d(3), ("input",)),
    "dropout": (Dropout(0.5), ("row", "draws")),
}


def image(matrix: list[list[float]]) -> Array:
    """A matrix as an image of one channel."""
    return np.array(matrix, np.float32)[None, None]


def explained() -> Explained:
    """All of them, as nodes of one graph."""
    arrays = {"input": INPUT, "filter": FILTER, "row": INPUT[:1], "draws": DRAWS}
    feeds = {name: image(matrix) for name, matrix in arrays.items()}
    graph = Graph("worked examples")
    inputs = {name: graph.add_input(name, TensorType.of(array)) for name, array in feeds.items()}
    for name, (op, operands) in EXAMPLES.items():
        node = graph.add_node(op, [inputs[operand] for operand in operands], path=name)
        graph.outputs[name] = node.result
    return cauce.explain(graph, feeds)


if __name__ == "__main__":
    explained().save(PAGE)
