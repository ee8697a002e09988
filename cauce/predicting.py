"""From images to named classes: what ``model.predict`` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from .backends.executable import Executable
from .compiler import compile
from .frontends.model import Model
from .frontends.open_model import OpenModel
from .frontends.preprocessing import Pictures, class_count, pictures
from .ir import Array, DType, Graph, Role, Value
from .ir.attributes import positive
from .ir.errors import GraphError, TypeMismatch, shown
from .ir.ops.activation import LogSoftmax, Sigmoid, Softmax
from .ir.ops.elementwise import Cast
from .ir.ops.shape import Flatten, Reshape
from .ir.preprocessing import Preprocessing

# How many images are in memory at a time.
_AT_ONCE = 16

Image: TypeAlias = "str | os.PathLike[str] | Array"


class Ranking(list[tuple[str, float]]):
    """Classes with their probabilities, the likeliest first; printed as a table.

    >>> Ranking([("cat", 0.875), ("dog", 0.125)])
    class  probability
    cat         0.8750
    dog         0.1250
    """

    def __repr__(self) -> str:
        width = max([5, *(len(name) for name, _ in self)])
        lines = [f"{'class':{width}}  probability"]
        lines += [f"{name:{width}}  {probability:11.4f}" for name, probability in self]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Predictor:
    """A model that was compiled, and what its graph says of images and of classes.

    Attributes:
        text: of the graph, which tells whether it is still the same.
        run: the executable, which follows the model.
        taken: the input.
        probabilities: of an output [N, K].
    """

    text: str
    run: Executable
    taken: Pictures
    probabilities: Callable[[Array], Array]


# Kept as long as the model is; neither knows of the other, and copies of a model have their own.
_KEPT: WeakKeyDictionary[Model, _Predictor] = WeakKeyDictionary()


def predict(model: Model, images: object, top: int) -> Ranking | list[Ranking]:
    """See :meth:`cauce.frontends.model.Model.predict`."""
    top = positive(top, "top")
    predictor = _predictor(model)
    several, batch = _sorted_out(images)
    told = model.preprocessing
    batches = [batch] if batch is not None else _batches(several, predictor.taken, told)
    found: list[Ranking] = []
    for array in batches:
        output = np.asarray(predictor.run(array), np.float64).reshape(len(array), -1)
        found += [_ranking(row, told, top) for row in predictor.probabilities(output)]
    if batch is None and not isinstance(images, (list, tuple)):
        return found[0]
    return found[: len(several)] if batch is None else found


def _predictor(model: Model) -> _Predictor:
    """The model, compiled when it is first asked for, and when its graph is another one."""
    if isinstance(model, OpenModel):
        raise GraphError(
            f"{model.name} has a graph for each size, and classes are ranked by one graph",
            fix="fix its sizes when it is loaded: cauce.load_onnx(path, inputs={'x': (1, 3, 224, "
            "224)}), with the name and the sizes of its input",
        )
    text = model.graph.to_text(locations=False)
    kept = _KEPT.get(model)
    if kept is None or kept.text != text:
        taken = pictures(model.graph.inputs_with(Role.DATA), model.name)
        probabilities = _ending(model.graph)
        kept = _KEPT[model] = _Predictor(text, compile(model), taken, probabilities)
    return kept


# ---- what comes out ----------------------------------------------------------------------------


def _ending(graph: Graph) -> Callable[[Array], Array]:
    """What makes probabilities [N, K] of the output of a graph.

    Raises:
        GraphError: the graph does not tell classes apart.
    """
    if class_count(graph) is None:
        gives = ", ".join(f"{name}: {value.type}" for name, value in graph.outputs.items())
        raise GraphError(
            f"predict ranks the classes of one output [N, K], {graph.name} gives ({gives})",
            fix="call what cauce.compile(model) gives",
        )
    (value,) = graph.outputs.values()
    last = _last(value)
    one = value.type.shape[1] == 1
    if isinstance(last, Softmax) and not one:
        return _as_they_are
    if isinstance(last, LogSoftmax) and not one:
        return np.exp
    if isinstance(last, Sigmoid):
        return _of_two if one else _as_they_are
    return _of_one_logit if one else _softmax


def _last(value: Value) -> object:
    """The op that computes an output, but for what only gives it another shape or dtype."""
    node = value.node
    while node is not None and isinstance(node.op, (Cast, Flatten, Reshape)):
        node = node.operands[0].node
    return None if node is None else node.op


def _as_they_are(output: Array) -> Array:
    return output


def _of_two(output: Array) -> Array:
    return np.concatenate([1 - output, output], axis=1)


def _of_one_logit(output: Array) -> Array:
    return _softmax(np.concatenate([np.zeros_like(output), output], axis=1))


def _softmax(output: Array) -> Array:
    with np.errstate(invalid="ignore"):  # of inf and NaN: NaN
        powers = np.exp(output - output.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _ranking(row: Array, told: Preprocessing | None, top: int) -> Ranking:
    names = None if told is None else told.classes
    order = np.argsort(-row, kind="stable")[:top].tolist()
    return Ranking((str(k) if names is None else names[k], float(row[k])) for k in order)


# ---- what goes in ------------------------------------------------------------------------------


def _sorted_out(images: object) -> tuple[list[Image], Array | None]:
    """Images to prepare one by one, or an array to feed as it is.

    Raises:
        TypeMismatch: neither.
    """
    if isinstance(images, np.ndarray) and images.ndim == 4:
        return [], images
    several: Sequence[Any] = images if isinstance(images, (list, tuple)) else [images]
    for image in several:
        pixels = isinstance(image, np.ndarray) and image.dtype == np.uint8
        if not pixels and not isinstance(image, (str, os.PathLike)):
            raise TypeMismatch(
                f"predict takes the path of an image, or its pixels as u8 [H, W, C], got "
                f"{shown(image)}",
                fix="give a path, a list of paths, or an array [N, C, H, W] as the network takes "
                "it",
            )
    return list(several), None


def _batches(
    images: Sequence[Image], taken: Pictures, told: Preprocessing | None
) -> Iterator[Array]:
    """Images, prepared, in batches of a size that the network takes; the last may be filled up."""
    if told is None:
        size = taken.fixed_size
        raise GraphError(
            f"it is not known how an image becomes {taken.value.name}: {taken.value.type}",
            fix=f"say it: model.preprocessing = cauce.Preprocessing(size={size or 224}, mean=0.5, "
            "std=0.25, classes=[...]), with the numbers of the data that it was trained on",
        )
    from .image_input import prepared_image

    batch = taken.value.type.shape[0]
    fixed_batch = batch if isinstance(batch, int) else None
    # Images that are not brought to one size cannot be stacked.
    count = fixed_batch or (1 if told.size is None else _AT_ONCE)
    for start in range(0, len(images), count):
        arrays = [prepared_image(image, told) for image in images[start : start + count]]
        arrays += arrays[-1:] * ((fixed_batch or 0) - len(arrays))
        yield _as_taken(np.stack(arrays), taken)


def _as_taken(batch: Array, taken: Pictures) -> Array:
    """f32 [N, C, H, W] in the order of dimensions and in the dtype of the input."""
    if taken.axis == 3:
        batch = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
    dtype = taken.value.type.dtype
    if dtype is DType.U8:
        return np.rint(batch).clip(0, 255).astype(np.uint8)
    return dtype.round(batch)
