"""Layout assignment: puts a layout on every type, and a reorder where a reader needs another.

Images lie channels-last, so that the channels of a pixel fill vectors, with the zeros around them
that a padded convolution reads; weights lie as the schedule of their reader wants. Everything that
a caller sees is row-major.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ....ir import Builder, Graph, Node, Value
from ....ir.errors import CompileError, did_you_mean
from ....ir.layout import CHANNELS_LAST, NO_HALO, Halo, Layout, Strided
from ....ir.ops.reorder import Reorder
from ...split import prepacked_values
from ..registry import Weight
from ..schedule.layouts import pixel_pad
from ..schedule.schedule import Choice, Schedule, Setting, mistake_of
from ..target import Target
from .concatenation import concat_roots
from .kernels import Anchor, anchor_of

# An image channel by channel.
_PLANAR = (0, 1, 2, 3)

Schedules = dict[str, Schedule]
Choices = dict[str, Sequence[Choice]]


def layout_of(value: Value) -> Layout:
    """The layout of a value that has one."""
    assert value.type.layout is not None
    return value.type.layout


def strided(value: Value) -> Strided:
    """The layout of a value that is not packed."""
    layout = layout_of(value)
    assert isinstance(layout, Strided), f"%{value.name} is packed"
    return layout


def assign_layouts(
    graph: Graph, setting: Setting, given: Mapping[str, Schedule]
) -> tuple[Schedules, Choices]:
    """Lay out all values of a graph in which kernels are formed.

    Args:
        graph: what to lay out.
        setting: the processor, and what is asked for.
        given: schedules to use in place of our own, by the name of the kernel.

    Returns:
        The schedule of each kernel, by its name, and those that it could have.

    Raises:
        CompileError: a given schedule that its kernel cannot have.
    """
    _assign_orders(graph)
    prepacked = prepacked_values(graph)
    target = setting.target
    schedules, choices = _schedule(graph, setting, given, prepacked)
    _reorder_weights(graph, schedules, target, prepacked)
    _reorder_images(graph, schedules, target)
    _add_halos(graph, schedules)
    _pad_pixels(graph, target)
    for name, value in graph.outputs.items():
        graph.outputs[name] = _row_major(graph, value)
    for source, value in graph.updates.items():
        graph.updates[source] = _row_major(graph, value)
    return schedules, choices


def _lay(value: Value, layout: Layout) -> None:
    value.type = replace(value.type, layout=layout)


def _assign_orders(graph: Graph) -> None:
    """Let every value lie as its node makes it best."""
    for source in graph.inputs:
        _lay(source, Strided.row_major(source.type.rank))
    for node in graph.nodes:
        anchor = anchor_of(node)
        for value in node.results:
            _lay(value, Strided(anchor.facts.order(anchor.op, anchor.types, value.type)))


# ---- weights -----------------------------------------------------------------------------------


def _schedule(
    graph: Graph, setting: Setting, given: Mapping[str, Schedule], prepacked: set[Value]
) -> tuple[Schedules, Choices]:
    """Decide how each kernel runs."""
    schedules: Schedules = {}
    choices: Choices = {}
    target, weights = setting.target, _bytes_of_weights(graph)
    for node in graph.nodes:
        anchor = anchor_of(node)
        if not anchor.facts.anchor:
            continue
        name = node.result.name
        weight = _laid_out_weight(node, anchor, prepacked)
        packed = weight is not None and _can_pack(weight, anchor, target)
        fixed = weight is not None and node.operands[anchor.places[weight.place]] in prepacked
        around = replace(setting, packed=packed, fixed=fixed, weights=weights)
        choices[name] = anchor.facts.schedules(anchor.op, anchor.types, anchor.result, around)
        possible = [choice.schedule for choice in choices[name]]
        chosen = schedules[name] = given.get(name, possible[0])
        own = next((like for like in possible if type(like) is type(chosen)), possible[0])
        mistake = mistake_of(chosen, own, target) if name in given else None
        if mistake is not None:
            raise CompileError(
                f"{name} cannot run as {chosen!r}: {mistake}",
                fix=f"change it a little: {own!r} is cauce's own choice",
                path=node.path,
                loc=node.loc,
            )
    for name in given:
        if name not in schedules:
            raise CompileError(
                f"there is no kernel called {name!r} to schedule",
                fix=did_you_mean(name, schedules, "plan() lists the kernels"),
            )
    return schedules, choices


def _bytes_of_weights(graph: Graph) -> int:
    """Of the operands that anchors read as weights, as far as their sizes are known."""
    found: dict[Value, int] = {}
    for node in graph.nodes:
        anchor = anchor_of(node)
        weight = anchor.facts.weight(anchor.op, anchor.types)
        if weight is not None:
            nbytes = anchor.types[weight.place].nbytes
            value = node.operands[anchor.places[weight.place]]
            found[value] = nbytes if isinstance(nbytes, int) else 0
    return sum(found.values())


def _laid_out_weight(node: Node, anchor: Anchor, prepacked: set[Value]) -> Weight | None:
    """The weight of an anchor, where it is brought into an order of its own."""
    weight = anchor.facts.weight(anchor.op, anchor.types)
    if weight is None:
        return None
    fixed = node.operands[anchor.places[weight.place]] in prepacked
    return weight if fixed or not weight.fixed else None


def _can_pack(weight: Weight, anchor: Anchor, target: Target) -> bool:
    """Whether a weight fills a vector at least, of a format that its reader accepts."""
    type_ = anchor.types[weight.place]
    count = type_.shape[weight.order[-1]]
    whole = isinstance(count, int) and count >= target.lanes(type_.dtype.itemsize)
    return weight.packs and whole


def _reorder_weights(
    graph: Graph, schedules: Schedules, target: Target, prepacked: set[Value]
) -> None:
    """Write a reorder before each anchor for its weight; equal ones are shared."""
    known: dict[tuple[Value, Layout], Value] = {}
    for node in graph.nodes:
        anchor = anchor_of(node)
        weight = _laid_out_weight(node, anchor, prepacked) if anchor.facts.anchor else None
        if weight is None:
            continue
        place = anchor.places[weight.place]
        value = node.operands[place]
        layout: Layout = Strided(weight.order)
        if _can_pack(weight, anchor, target):
            lanes = target.lanes(value.type.dtype.itemsize)
            layout = schedules[node.result.name].pack(weight.order, lanes, weight.flip)
        if (value, layout) not in known:
            known[value, layout] = _reordered(node, value, layout, "weight")
        node.replace_operand(place, known[value, layout])


def _reordered(node: Node, value: Value, layout: Layout, suffix: str) -> Value:
    """A reorder of ``value``, before ``node``."""
    return Builder.like(node, before=node, suffix=suffix)(Reorder(layout), value)


# ---- images ------------------------------------------------------------------------------------


def _reorder_images(graph: Graph, schedules: Schedules, target: Target) -> None:
    """Let images be read channels-last, unless a few channels are better read one by one.

    Another order passes for channels-last where rows and columns are one. With zeros around them
    they are more, and it no longer does.
    """
    known: dict[Value, Value] = {}
    wanted = Strided(CHANNELS_LAST)
    for node in graph.nodes:
        anchor = anchor_of(node)
        has_halo = halo_of(node, schedules) != NO_HALO
        for image in _images(anchor):
            place = anchor.places[image]
            value = node.operands[place]
            own = strided(value)
            planar = anchor.facts.reads_planar(anchor.op, anchor.types, target)
            alike = own == wanted if has_halo else own.same_places(wanted, value.type.shape)
            if alike or (planar and own.order == _PLANAR):
                continue
            if value not in known:
                known[value] = _reordered(node, value, wanted, "image")
            node.replace_operand(place, known[value])


def _row_major(graph: Graph, value: Value) -> Value:
    """A value that leaves the graph, row-major."""
    rows = Strided.row_major(value.type.rank)
    if strided(value).same_places(rows, value.type.shape):
        return value
    op = Reorder(rows)
    return graph.add_node(op, (value,), path=value.path, suffix="rows", loc=value.loc).result


# ---- halos -------------------------------------------------------------------------------------


def halo_of(node: Node, schedules: Schedules) -> Halo:
    """The zeros around its first image that a node reads."""
    anchor = anchor_of(node)
    halo = anchor.facts.halo(anchor.op, anchor.types)
    schedule, images = schedules.get(node.results[0].name), _images(anchor)
    return schedule.reads(halo, anchor.types[images[0]]) if schedule and images else halo


def _images(anchor: Anchor) -> Sequence[int]:
    return anchor.facts.images(anchor.op, anchor.types)


def _add_halos(graph: Graph, schedules: Schedules) -> None:
    """Give images the zeros around them that their readers read.

    Parts of a concatenation lie within it, and so in its halo.
    """
    roots = concat_roots(graph)
    needs: dict[Value, Halo] = {}
    readers: dict[Value, list[tuple[Node, int, Halo]]] = {}
    for node in graph.nodes:
        anchor, halo = anchor_of(node), halo_of(node, schedules)
        if halo == NO_HALO:
            continue
        place = anchor.places[_images(anchor)[0]]
        value = node.operands[place]
        root = roots.get(value, value)
        needs[root] = larger(needs.get(root, halo), halo)
        readers.setdefault(value, []).append((node, place, halo))
    for value, reading in readers.items():
        root = roots.get(value, value)
        if _can_have_halo(graph, root):
            for member in (root, *(part for part, whole in roots.items() if whole is root)):
                _lay(member, replace(strided(member), halo=needs[root]))
            continue
        # Where the whole cannot have a halo its part is copied, with what is read of it.
        halo = needs[root]
        if root is not value:
            halo = reading[0][2]
            for _, _, other in reading[1:]:
                halo = larger(halo, other)
        order = strided(value).order
        copy = _reordered(reading[0][0], value, Strided(order, halo), "halo")
        for node, place, _ in reading:
            node.replace_operand(place, copy)


def larger(a: Halo, b: Halo) -> Halo:
    """The halo that holds both."""
    return tuple((max(p[0], q[0]), max(p[1], q[1])) for p, q in zip(a, b, strict=True))


def _can_have_halo(graph: Graph, value: Value) -> bool:
    """Whether the node that makes a value can write it within zeros."""
    if value.node is None or graph.leaves(value):
        return False
    return anchor_of(value.node).facts.writes_halo and strided(value).can_have_halo()


def _pad_pixels(graph: Graph, target: Target) -> None:
    """Leave room between pixels that would want the same places of a cache."""
    roots = concat_roots(graph)
    for node in graph.nodes:
        for value in node.results:
            layout, root = layout_of(value), roots.get(value, value)
            if not isinstance(layout, Strided) or layout.order != CHANNELS_LAST:
                continue
            pad = pixel_pad(root.type, target)
            if pad and _can_have_halo(graph, root):
                _lay(value, replace(layout, pad=pad))
