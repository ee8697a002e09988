"""Whether the images of a batch do not meet: a large batch can then run in pieces that stay in
the cache, with the same results. Where the graph says how many images there are, a symbol takes the
place of the number.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....ir import Graph, Node, Op, Role, Value
from ....ir.dims import substitute, symbol, symbols
from ....ir.errors import CauceError
from ....ir.ops import adaptive_pool, conv, linear, pool, reduce, shape
from ....ir.ops.fused import Region
from ....ir.ops.reorder import Reorder
from ..abi import Batch
from .kernels import anchor

# Bytes of a matrix that is to be read once for all images.
_LARGE = 1024 * 1024

# How many times the bytes of the largest image the weights may have that each image reads anew:
# weights that are read in order come faster than images.
_WEIGHTS_PER_IMAGE = 12


def find_batch(graph: Graph, nodes: Sequence[Node]) -> Batch | None:
    """The batch of a graph, if no op lets its images meet; None otherwise.

    Args:
        graph: the main graph, lowered.
        nodes: whose launches they are, one after the other.
    """
    lead = {value.type.shape[0] for value in graph.inputs if value.type.shape}
    names = [str(dim) for dim in lead if not isinstance(dim, int) and dim.is_symbol]
    if len(names) != 1 or graph.updates:
        return None
    (name,) = names
    batched: set[Value] = {value for value in graph.inputs if _is_batched(value, name)}
    fixed = [value for value in graph.inputs if value not in batched]
    if not _apart(graph, name, batched) or any(name in _symbols(value) for value in fixed):
        return None
    large = (place for place, node in enumerate(nodes) if _reads_large_matrix(node))
    cut = next(large, len(nodes))
    before = dict.fromkeys(nodes[:cut])
    read = dict.fromkeys(value for node in before for value in node.operands)
    weights = sum(_bytes(value, name) for value in read if value not in batched)
    largest = max((_bytes(value, name) for value in read if value in batched), default=0)
    together = weights // (_WEIGHTS_PER_IMAGE * largest) if largest else 1
    return Batch(name, sum(_flops(node, name) for node in before), together, cut)


def _bytes(value: Value, name: str) -> int:
    """The bytes for one image; 0 where they depend on further symbols."""
    nbytes = substitute(value.type.nbytes, {name: 1})
    return nbytes if isinstance(nbytes, int) else 0


def _reads_large_matrix(node: Node) -> bool:
    inner = anchor(node)
    if not isinstance(inner.op, linear.MatMul):
        return False
    nbytes = node.operands[inner.places[1]].type.nbytes
    return isinstance(nbytes, int) and nbytes >= _LARGE


def _flops(node: Node, name: str) -> int:
    """The work for one image; 0 where it depends on further symbols."""
    cost = node.op.cost([v.type for v in node.operands], [v.type for v in node.results])
    flops = substitute(cost.flops, {name: 1})
    return flops if isinstance(flops, int) else 0


def free_batch(graph: Graph) -> tuple[Graph, dict[str, int]]:
    """``graph`` with a symbol for the number of images, and that number by its symbol.

    As it is, and nothing, where it has a symbol already, or images meet, or there is only one. So
    too without a convolution: sums alone are cut better where all sizes are known.
    """
    if not any(isinstance(node.op, conv.Conv2d) for node in graph.nodes):
        return graph, {}
    images = [value for value in graph.inputs if value.role is Role.DATA]
    lead = {value.type.shape[:1] for value in images}
    (count,) = lead.pop() if len(lead) == 1 and () not in lead else (1,)
    if not isinstance(count, int) or count <= 1 or graph.updates:
        return graph, {}
    name = "batch"
    while name in graph.symbols():
        name += "_"
    free = Graph(graph.name)
    known: dict[Value, Value] = {}
    for source in graph.inputs:
        shape_ = source.type.shape
        if source.role is Role.DATA:
            shape_ = (symbol(name), *shape_[1:])
        known[source] = free.add_input(source.name, source.type.with_shape(shape_), source.role)
    for node in graph.nodes:
        operands = [known[value] for value in node.operands]
        names = tuple(value.name for value in node.results)
        try:
            op = _freed(node.op, operands, count, name)
            twin = free.add_node(op, operands, names=names, loc=node.loc)
        except CauceError:  # the number is part of what the op means
            return graph, {}
        for value, freed in zip(node.results, twin.results):
            if freed.type.bind({name: count}) != value.type:
                return graph, {}
        known.update(zip(node.results, twin.results))
    free.outputs = {key: known[value] for key, value in graph.outputs.items()}
    batched: set[Value] = {value for value in free.inputs if _is_batched(value, name)}
    return (free, {name: count}) if _apart(free, name, batched) else (graph, {})


def _freed(op: Op, operands: Sequence[Value], count: int, name: str) -> Op:
    """The op for operands whose number of images has a name."""
    if isinstance(op, Region):
        types = {own.name: value.type for own, value in zip(op.body.inputs, operands)}
        return op.with_attributes(body=op.body.copy(types=types))
    if not isinstance(op, (shape.Reshape, shape.Expand)) or op.shape[:1] != (count,):
        return op
    if not _is_batched(operands[0], name):
        return op
    return op.with_attributes(shape=(symbol(name), *op.shape[1:]))


def _symbols(value: Value) -> frozenset[str]:
    return frozenset().union(*(symbols(dim) for dim in value.type.shape))


def _is_batched(value: Value, name: str) -> bool:
    """Whether axis 0, and no other, counts images."""
    dims = value.type.shape
    first = bool(dims) and dims[0] == symbol(name)
    return first and not any(name in symbols(dim) for dim in dims[1:])


def _apart(graph: Graph, name: str, batched: set[Value]) -> bool:
    """Whether every node works image by image; ``batched`` receives what is made of images."""
    for node in graph.nodes:
        of_images = [value in batched for value in node.operands]
        if not any(of_images) and name not in node.op.symbols():
            continue
        if not all(_is_batched(value, name) for value in node.results):
            return False
        if not _works_by_image(node, name, of_images):
            return False
        batched.update(node.results)
    return True


def _works_by_image(node: Node, name: str, of_images: list[bool]) -> bool:
    op, rank = node.op, node.results[0].type.rank
    if isinstance(op, Region):
        inside: set[Value] = {v for v, own in zip(op.body.inputs, of_images) if own}
        return _apart(op.body, name, inside) and op.output in inside
    if op.elementwise:
        lower = (value.type.rank < rank for value, own in zip(node.operands, of_images) if own)
        return not any(lower)
    if isinstance(op, (conv.Conv2d, conv.Conv2dBackwardData)):
        return of_images[0] and not any(of_images[1:])
    if isinstance(op, linear.MatMul):
        return of_images == [True, False] and node.operands[0].type.rank == rank
    if isinstance(op, (*_POOLS, Reorder, shape.Reshape, shape.Flatten, shape.OneHot)):
        return all(of_images)
    if isinstance(op, (reduce.Sum, reduce.Max)):
        return 0 not in reduce.normalize_axes(op.axes, node.operands[0].type.rank, op.name)
    if isinstance(op, reduce.ArgMax):
        return reduce.normalize_axis(op.axis, node.operands[0].type.rank, op.name) != 0
    if isinstance(op, shape.Transpose):
        return op.perm[0] == 0
    if isinstance(op, shape.Concat):
        return all(of_images) and op.axis % rank != 0
    if isinstance(op, shape.Slice):
        return all(axis != 0 for axis, *_ in op.bounds(rank))
    if isinstance(op, shape.Flip):
        return 0 not in reduce.normalize_axes(op.axes, rank, op.name)
    if isinstance(op, shape.Pad):
        return op.pads[0] == (0, 0)
    if isinstance(op, shape.Expand):
        return node.operands[0].type.rank == rank or not any(of_images)
    return False


_POOLS = (
    pool.MaxPool2d,
    pool.AvgPool2d,
    adaptive_pool.AdaptiveMaxPool2d,
    adaptive_pool.AdaptiveAvgPool2d,
)
