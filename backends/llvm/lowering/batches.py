"""Whether the images of a batch do not meet: a large batch can then run in micro-batches that stay
in the cache, with the same results. Where the graph says how many images there are, a symbol takes
the place of the number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from ....ir import Dim, Graph, Node, Op, Role, Value
from ....ir.dims import substitute, symbol, symbols
from ....ir.errors import CauceError
from ....ir.ops import shape
from ....ir.ops.fused import Region
from ..abi import Batch
from ..registry import known_facts
from ..schedule.batches import LaunchCost, is_large_matrix, stages
from .access import nbytes
from .kernels import anchor_of


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
    return Batch(name, stages(list(_costs(nodes[:cut], name, batched)))) if cut else None


def _costs(nodes: Sequence[Node], name: str, batched: Set[Value]) -> Iterator[LaunchCost]:
    """What each launch adds; what stands in a node is added by its first."""
    known: set[Value] = set()
    seen: set[Node] = set()
    for node in nodes:
        begins = node not in seen
        fresh = [v for v in node.operands if v not in known]
        images = (v for v in node.operands if v in batched)
        yield LaunchCost(
            sum(_of_one(nbytes(v.type), name) for v in fresh if v not in batched),
            max((_of_one(nbytes(v.type), name) for v in images), default=0),
            _of_one(node.cost.flops, name) if begins else 0,
            begins,
        )
        known.update(fresh)
        seen.add(node)


def _of_one(dim: Dim, name: str) -> int:
    """The number for one image; 0 where it depends on further symbols."""
    number = substitute(dim, {name: 1})
    return number if isinstance(number, int) else 0


def _reads_large_matrix(node: Node) -> bool:
    anchor = anchor_of(node)
    weight = anchor.facts.weight(anchor.op, anchor.types)
    if weight is None or not anchor.facts.reads_weight_once:
        return False
    return is_large_matrix(anchor.types[weight.place].nbytes)


def free_batch(graph: Graph) -> tuple[Graph, dict[str, int]]:
    """``graph`` with a symbol for the number of images, and that number by its symbol.

    As it is, and nothing, where it has a symbol already, or images meet, or there is only one. So
    too without a convolution: sums alone are cut better where all sizes are known.
    """
    if not any(map(_convolves, graph.nodes)):
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


def _convolves(node: Node) -> bool:
    """Whether a node is an anchor that reads images."""
    facts = known_facts(node.op)
    types = [value.type for value in node.operands]
    return facts is not None and facts.anchor and bool(facts.images(node.op, types))


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
    op = node.op
    if isinstance(op, Region):
        inside: set[Value] = {v for v, own in zip(op.body.inputs, of_images) if own}
        return _apart(op.body, name, inside) and op.output in inside
    facts, operands = known_facts(op), [value.type for value in node.operands]
    return facts is not None and facts.by_image(op, operands, node.results[0].type, of_images)
