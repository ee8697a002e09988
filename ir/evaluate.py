"""The plain evaluator: runs a graph by the reference of every op, and so defines its meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from .dims import Dim, solve, substitute, symbol, symbols
from .errors import CauceError, GraphError, ShapeError, TypeMismatch, shown
from .graph import Graph, Input, Node, Value
from .op import Op
from .record import Record
from .remedies import as_array
from .tracebacks import user_facing
from .types import Array, DType, TensorType, cast, is_bfloat16

if TYPE_CHECKING:
    from collections.abc import Sequence


class Evaluation(Record):
    """What a graph computed: arrays of the shapes and dtypes of its values.

    Attributes:
        outputs: by name, in the graph's order.
        updates: the new values of parameters and states, by the names of these.

    Examples:
        >>> text = "graph g(%x: f32[N]) -> f32[N] { %y = relu(%x) : f32[N] return %y }"
        >>> found = cauce.ir.evaluate(cauce.parse(text), {"x": [-1.0, 2.0]})
        >>> found.outputs, found.updates
        ({'y': array([0., 2.], dtype=float32)}, {})
    """

    outputs: dict[str, Array]
    updates: dict[str, Array]


@user_facing
def evaluate(
    graph: Graph,
    feeds: Mapping[str, object],
    *,
    bindings: Mapping[str, int] | None = None,
    watch: Callable[[Value, Array], None] | None = None,
) -> Evaluation:
    """Run ``graph`` with the plain reference of every op.

    Args:
        graph: what to run.
        feeds: an array for every input, of its shape and dtype, by name.
        bindings: sizes of symbols that the feeds do not tell (those of an outer graph).
        watch: called with every value and its array, in order.

    Raises:
        GraphError: a missing or unknown feed.
        ShapeError, TypeMismatch: a feed that does not fit its input.

    Examples:
        >>> graph = models.lenet5.graph(image=("N", 1, 28, 28))
        >>> feeds = {v.name: np.zeros(v.type.bind({"N": 2}).shape, "f4") for v in graph.inputs}
        >>> seen = []
        >>> watch = lambda value, array: seen.append(value.name)
        >>> found = cauce.ir.evaluate(graph, feeds, watch=watch)
        >>> found.outputs["output"].shape, "c1" in seen
        ((2, 10), True)
    """
    arrays = check_feeds(graph.inputs, feeds, graph.name)
    known = bind_symbols([value.type for value in graph.inputs], arrays, names=graph.inputs)
    known = {**(bindings or {}), **known}
    environment: dict[Value, Array] = dict(zip(graph.inputs, arrays))
    for value, array in environment.items():
        if watch is not None:
            watch(value, array)
    for node in graph.nodes:
        results = evaluate_node(node, [environment[value] for value in node.operands], known)
        environment.update(zip(node.results, results))
        if watch is not None:
            for value in node.results:
                watch(value, environment[value])
    return Evaluation(
        {name: environment[value] for name, value in graph.outputs.items()},
        {target.name: environment[value] for target, value in graph.updates.items()},
    )


def evaluate_node(
    node: Node, operands: Sequence[Array], bindings: Mapping[str, int]
) -> tuple[Array, ...]:
    """The results of one node."""
    try:
        dtypes = [value.type.dtype for value in node.results]
        results = evaluate_op(node.op, operands, bindings, dtypes)
        for value, array in zip(node.results, results):
            if not _may_be(value.type.bind(bindings), array):
                raise ShapeError(
                    f"{node.op.name} gave an array of shape {array.shape} where {value.type} "
                    f"is expected, with {dict(bindings)}",
                    fix="feed larger arrays",
                )
        return results
    except CauceError as error:
        error.at(node.path, node.loc)
        raise


def _may_be(type_: TensorType, array: Array) -> bool:
    """Whether the sizes agree; a symbol that is left may be any size.

    (One is left in a region of which every operand has (H + 1)//2 rows, say.)
    """
    return len(type_.shape) == array.ndim and all(
        dim == size for dim, size in zip(type_.shape, array.shape) if isinstance(dim, int)
    )


def evaluate_op(
    op: Op, operands: Sequence[Array], bindings: Mapping[str, int], dtypes: Sequence[DType]
) -> tuple[Array, ...]:
    """The results of an op by its reference, in the carriers of ``dtypes``; f16 is computed in f32.

    NumPy's floating-point warnings are silenced: inf and NaN are values like any other here.
    """
    wide = [DType.F16.widen(x) if x.dtype == DType.F16.numpy else x for x in operands]
    with np.errstate(all="ignore"):
        results = op.bind(bindings).reference(*wide)
        results = results if isinstance(results, tuple) else (results,)
        return tuple(dtype.round(array) for dtype, array in zip(dtypes, results))


def check_feeds(
    inputs: Sequence[Input], feeds: Mapping[str, object], graph_name: str
) -> list[Array]:
    """The feeds as arrays in the order of ``inputs``, names, dtypes and ranks checked.

    Raises:
        GraphError: a missing or unknown name.
        ShapeError: another number of dimensions.
        TypeMismatch: another dtype (Python numbers and lists are converted).
    """
    missing = [value.name for value in inputs if value.name not in feeds]
    if missing or len(feeds) > len(inputs):
        names = {value.name for value in inputs}
        unknown = [name for name in feeds if name not in names]
        problem = f"no value was given for {', '.join(missing)}" if missing else ""
        surplus = f"{graph_name} has no input called {', '.join(unknown)}" if unknown else ""
        raise GraphError(
            "; ".join(filter(None, (problem, surplus))),
            fix=f"{graph_name} takes {', '.join(f'{v.name}: {v.type}' for v in inputs)}",
        )
    return [check_feed(value, feeds[value.name]) for value in inputs]


def check_feed(value: Input, feed: object) -> Array:
    """One feed as an array with the dtype and the rank of its input."""
    array = feed if isinstance(feed, (np.ndarray, np.generic)) else _from_python(value, feed)
    array = np.asarray(array)
    if value.type.dtype is DType.BF16 and is_bfloat16(array.dtype):
        array = array.astype(np.float32)
    if array.dtype != value.type.dtype.numpy:
        raise TypeMismatch(
            f"input {value.name} takes {value.type}, got an array of {array.dtype} "
            f"with shape {array.shape}",
            fix=_conversion(value.type, array),
        )
    if array.ndim != value.type.rank:
        raise ShapeError(
            f"input {value.name} takes {value.type} ({value.type.rank} dimensions), "
            f"got an array of shape {array.shape} ({array.ndim} dimensions)",
            fix=_rank_advice(value.type, array.shape),
        )
    return array


def _conversion(type_: TensorType, array: Array) -> str:
    """How an array of another dtype, perhaps of another rank, becomes one of this type."""
    name = type_.dtype.numpy.name
    if type_.dtype.is_integer and type_.rank >= 1 and array.ndim == type_.rank + 1:
        if array.shape[1] == 1:
            return f"take the column: array[:, 0].astype(np.{name})"
        return "array.argmax(axis=1) makes class indices of one-hot rows or probabilities"
    if type_.dtype.is_float and type_.rank == 2 and array.ndim == 1 and array.dtype.kind in "iu":
        if type_.shape[1] == 1:
            return f"make a column of them: array[:, None].astype(np.{name})"
        classes = type_.shape[1] if isinstance(type_.shape[1], int) else "classes"
        return f"np.eye({classes}, dtype=np.{name})[array] makes one-hot rows of class indices"
    if type_.dtype.is_float and array.dtype == np.uint8:
        return (
            f"scale bytes to 0..1 with array.astype(np.{name}) / 255, or make a network of bytes: "
            "init(..., dtype='u8') and nn.normalize as its first layer"
        )
    return f"convert it: array.astype(np.{name})"


def _rank_advice(type_: TensorType, shape: tuple[int, ...]) -> str:
    """How an array with another number of dimensions becomes one of this type."""
    rank, ndim = type_.rank, len(shape)
    if type_.dtype.is_integer and rank and ndim == rank + 1 and shape[1] != 1:
        return "array.argmax(axis=1) makes class indices of one-hot rows"
    channels = type_.shape[1] if rank > 1 else None
    if rank == 4 and ndim == 3 and channels in (shape[2], 1):
        if shape[0] == channels:
            return "array[None] adds the batch of a single image"
        if shape[2] == channels:
            return "this is one image of H x W x C: array.transpose(2, 0, 1)[None] makes a batch"
        return "array[:, None] adds the channel of grey images"
    if rank == 4 and ndim == 2:
        repeated = "array[None]" if channels == 1 else f"np.stack([array] * {channels})"
        return f"{repeated}[None] makes a batch of a single grey image"
    if rank == 2 and ndim == 1 and channels == 1:
        return "array[:, None] makes a column"
    if rank == 2 and ndim > 2:
        return "array.reshape(len(array), -1) makes a row of each"
    if ndim == rank - 1:
        return "array[None] adds the batch of a single one"
    if ndim == rank + 1 and 1 in shape:
        return f"array.squeeze({shape.index(1, 1 if 1 in shape[1:] else 0)}) drops the size of 1"
    return f"bring it to {rank} dimensions with array.reshape"


def _from_python(value: Input, feed: object) -> Array:
    """Python numbers and lists of them in the dtype of their input, where that holds them."""
    wanted = value.type.dtype
    try:
        array = as_array(feed, f"input {value.name}")
    except ValueError:
        array = np.asarray(None)  # rows that differ in length
    fits = array.dtype.kind in ("biuf" if wanted.is_float else "biu")
    converted, lost = cast(array, wanted) if fits else (array, np.True_)
    if lost.any():
        raise TypeMismatch(
            f"input {value.name} takes {value.type}, got {shown(feed)}",
            fix="give an array, a number or nested lists of numbers that the dtype can hold",
        )
    return converted


def bind_symbols(
    types: Sequence[TensorType], arrays: Sequence[Array], names: Sequence[Value] = ()
) -> dict[str, int]:
    """The sizes of the symbols in ``types``, learnt from arrays of these types.

    Raises:
        ShapeError: an array whose shape contradicts its type, or another array.
    """
    bindings: dict[str, int] = {}
    pending = [
        (dim, size, position, axis)
        for position, (type_, array) in enumerate(zip(types, arrays))
        for axis, (dim, size) in enumerate(zip(type_.shape, array.shape))
    ]
    while pending:
        undecided = []
        for entry in pending:
            dim, size, position, axis = entry
            verdict = solve(dim, size, bindings)
            if verdict is None:
                undecided.append(entry)
            elif not verdict:
                name = names[position].name if names else f"{position}"
                known = substitute(dim, bindings)
                wanted = f"{dim}" if known == dim else f"{dim} = {known}"
                raise ShapeError(
                    f"input {name} is {types[position]}, got an array of shape "
                    f"{arrays[position].shape}: dimension {axis} is {size}, not {wanted}",
                    fix=_advice(types[position], arrays[position].shape, axis, dim),
                )
        if len(undecided) == len(pending):
            break  # a product of two unknowns: the nodes' own checks decide
        pending = undecided
    return bindings


def multiple_of(dim: Dim) -> int:
    """The k of k*H; 1 for all else."""
    names = list(symbols(dim))
    if isinstance(dim, int) or len(names) != 1:
        return 1
    step = substitute(dim, {names[0]: 1})
    return step if isinstance(step, int) and dim == step * symbol(names[0]) else 1


def _advice(type_: TensorType, shape: tuple[int, ...], axis: int, dim: Dim) -> str:
    """What to do about an array whose size along ``axis`` contradicts its type."""
    if axis > 0 and len(shape) == 4 and shape[3] == type_.shape[1]:
        return "channels come second, [N, C, H, W]: array.transpose(0, 3, 1, 2) brings them there"
    if axis == 0 and isinstance(type_.shape[0], int):
        return "the batch is fixed; a symbol in init, and no batch= in compile, would leave it free"
    step = multiple_of(dim)
    if step > 1:
        low = shape[axis] // step * step
        near = f"{low} or {low + step}" if low else f"{step}"
        return f"bring the array to a multiple of {step}, {near}: resize or pad it"
    if not isinstance(dim, int):
        return f"{dim} is one number in a call: feed inputs that agree in it"
    if axis == 1 and len(shape) == 4:
        return f"convert the images to {dim} channels, or make the network for {shape[1]} in init"
    return "bring the array to this size, or give init a symbol for a size that is free, 'H' say"
