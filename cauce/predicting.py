"""From images to named classes: what ``model.predict`` and ``cauce.distributed`` do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from .backends.executable import Executable
from .compiler import choose_backend, compile
from .frontends.model import Model
from .frontends.open_model import OpenModel
from .frontends.preprocessing import Pictures, class_count, pictures
from .ir import Array, DType, Graph, Role, Value
from .ir.attributes import positive
from .ir.errors import CauceError, GraphError, MissingExtra, TypeMismatch, shown
from .ir.ops.activation import LogSoftmax, Sigmoid, Softmax
from .ir.ops.elementwise import Cast
from .ir.ops.shape import Flatten, Reshape
from .ir.preprocessing import Preprocessing

# How many images are in memory at a time.
_AT_ONCE = 16

Image: TypeAlias = "str | os.PathLike[str] | Array"


class Ranking(list[tuple[str, float]]):
    """Classes with their probabilities, the likeliest first; printed as a table.

    ``model.predict`` and ``map_images`` give them: a list of pairs, text and float.

    Examples:
        >>> from cauce.predicting import Ranking
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

    def _repr_html_(self) -> str:
        from .pages.snippets import ranking_html

        return ranking_html(self)


@dataclass(frozen=True)
class _Predictor:
    """A model that was compiled, and what its graph says of images and of classes.

    Attributes:
        run: the executable, which follows the model.
        taken: the input.
        probabilities: of an output [N, K].
    """

    run: Executable
    taken: Pictures
    probabilities: Callable[[Array], Array]

    def rankings(self, batch: Array, told: Preprocessing | None, top: int) -> list[Ranking]:
        """For each image of a batch as the network takes it the likeliest classes."""
        output = np.asarray(self.run(batch), np.float64).reshape(len(batch), -1)
        return [_ranking(row, told, top) for row in self.probabilities(output)]


# Kept as long as the model is, with the text of its graph, which tells whether that is still the
# same; neither knows of the other, and copies of a model have their own.
_KEPT: WeakKeyDictionary[Model, tuple[str, _Predictor]] = WeakKeyDictionary()


def predict(model: Model, images: object, top: int) -> Ranking | list[Ranking]:
    """See :meth:`cauce.frontends.model.Model.predict`."""
    top = positive(top, "top")
    predictor = _predictor(model)
    several, batch = _sorted_out(images)
    if batch is not None:
        return predictor.rankings(batch, model.preprocessing, top)
    told = known_preprocessing(model, predictor.taken)
    arrays = (_prepared(image, told) for image in several)
    found: list[Ranking] = []
    for array in _batches(arrays, predictor.taken, told, _AT_ONCE):
        found += predictor.rankings(array, told, top)
    return found[: len(several)] if isinstance(images, (list, tuple)) else found[0]


class Classifier:
    """A model, compiled to say of many images what is on them; one that fails fails alone.

    Args:
        model: it must know how it takes images.
        top: how many classes.
        threads: as for ``compile``; left to NumPy where there is no native backend.

    Raises:
        GraphError, DataError: the model does not classify images, or not those of files.
        MissingExtra: Pillow is not installed.
    """

    def __init__(self, model: Model, top: int = 5, threads: int | None = None) -> None:
        self.top = top
        taken, probabilities = classification(model)
        self._told = known_preprocessing(model, taken)
        # What is wrong with all images is no fault of the first one.
        _prepared(np.zeros((8, 8, 3), np.uint8), self._told)
        backend = choose_backend()
        run = compile(model, backend, threads=threads if backend == "llvm" else None)
        self._predictor = _Predictor(run, taken, probabilities)

    def __call__(self, images: Sequence[Image]) -> list[Ranking | Exception]:
        """For each image its classes, or the error that it is to blame for.

        Args:
            images: paths, or pixels as u8 [H, W] or [H, W, C].
        """
        arrays: list[Array] = []
        found: list[Ranking | Exception | None] = []
        for image in images:
            try:
                arrays.append(_prepared(image, self._told))
                found.append(None)
            except MissingExtra:
                raise
            except (CauceError, OSError) as error:
                found.append(error.with_traceback(None))  # whose frames hold all images
        rankings: list[Ranking] = []
        for batch in _batches(arrays, self._predictor.taken, self._told, len(images)):
            rankings += self._predictor.rankings(batch, self._told, self.top)
        following = iter(rankings)
        return [next(following) if result is None else result for result in found]


def rankings(model: Model, output: Array, top: int) -> list[Ranking]:
    """The likeliest classes of each row of an output [N, K], or [N, K, 1, 1].

    Raises:
        GraphError: the model does not tell classes apart.
    """
    if not len(output):
        return []
    rows = np.asarray(output, np.float64).reshape(len(output), -1)
    return [_ranking(row, model.preprocessing, top) for row in _ending(model.graph)(rows)]


def image_batches(model: Model, images: Sequence[Image]) -> Iterator[Array]:
    """Images, prepared for a model, in batches of a size that it takes; the last may be filled up.

    Args:
        model: says how, in ``preprocessing``.
        images: paths, or pixels u8 [H, W] or [H, W, C].

    Raises:
        GraphError: the model takes no images, or does not say how.
        FileNotFoundError, DataError: no such file, or no image.
    """
    if isinstance(model, OpenModel):
        inputs = list(model.inputs)
    else:
        inputs = model.graph.inputs_with(Role.DATA)
    taken = pictures(inputs, model.name)
    told = known_preprocessing(model, taken)
    return _batches((_prepared(image, told) for image in images), taken, told, _AT_ONCE)


def _predictor(model: Model) -> _Predictor:
    """The model, compiled when it is first asked for, and when its graph is another one."""
    need_one_graph(model)
    text = model.graph.to_text(locations=False)
    kept = _KEPT.get(model)
    if kept is None or kept[0] != text:
        taken, probabilities = classification(model)
        kept = _KEPT[model] = text, _Predictor(compile(model), taken, probabilities)
    return kept[1]


def need_one_graph(model: Model) -> None:
    """Raise GraphError for a model whose graph depends on the sizes of its inputs."""
    if isinstance(model, OpenModel):
        raise GraphError(
            f"{model.name} has a graph for each size, and classes are ranked by one graph",
            fix="fix its sizes when it is loaded: cauce.load_onnx(path, inputs={'x': (1, 3, 224, "
            "224)}), with the name and the sizes of its input",
        )


def classification(model: Model) -> tuple[Pictures, Callable[[Array], Array]]:
    """The input that takes images, and what makes probabilities [N, K] of the output.

    Raises:
        GraphError: the model does not classify images.
    """
    need_one_graph(model)
    taken = pictures(model.graph.inputs_with(Role.DATA), model.name)
    return taken, _ending(model.graph)


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
        if not is_image(image):
            raise TypeMismatch(
                f"predict takes the path of an image, or its pixels as u8 [H, W, C], got "
                f"{shown(image)}",
                fix="give a path, a list of paths, or an array [N, C, H, W] as the network takes "
                "it",
            )
    return list(several), None


def is_image(image: object) -> bool:
    """Whether something may be the path of an image, or its pixels."""
    pixels = isinstance(image, np.ndarray) and image.dtype == np.uint8
    return pixels or isinstance(image, (str, os.PathLike))


def known_preprocessing(model: Model, taken: Pictures) -> Preprocessing:
    """How an image becomes the input.

    Raises:
        GraphError: it is not known.
    """
    if model.preprocessing is None:
        size = taken.fixed_size
        raise GraphError(
            f"it is not known how an image becomes {taken.value.name}: {taken.value.type}",
            fix=f"say it: model.preprocessing = cauce.Preprocessing(size={size or 224}, mean=0.5, "
            "std=0.25, classes=[...]), with the numbers of the data that it was trained on",
        )
    return model.preprocessing


def _prepared(image: Image, told: Preprocessing) -> Array:
    from .image_input import prepared_image

    return prepared_image(image, told)


def _batches(
    arrays: Iterable[Array], taken: Pictures, told: Preprocessing, at_once: int
) -> Iterator[Array]:
    """Images, prepared, in batches of a size that the network takes; the last may be filled up."""
    batch = taken.value.type.shape[0]
    fixed = isinstance(batch, int)
    # Images that are not brought to one size cannot be stacked.
    count = batch if isinstance(batch, int) else 1 if told.size is None else at_once
    arrays = iter(arrays)
    while group := list(islice(arrays, count)):
        group += group[-1:] * (count - len(group) if fixed else 0)
        yield _as_taken(np.stack(group), taken)


def _as_taken(batch: Array, taken: Pictures) -> Array:
    """f32 [N, C, H, W] in the order of dimensions and in the dtype of the input."""
    if taken.axis == 3:
        batch = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
    dtype = taken.value.type.dtype
    if dtype is DType.U8:
        return np.rint(batch).clip(0, 255).astype(np.uint8)
    return dtype.round(batch)
