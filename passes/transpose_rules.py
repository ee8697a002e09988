"""Rules that move transposes towards the outputs, where they meet others and cancel.

A converter from channels-last graphs writes a transpose before and after each convolution; in
between stand elementwise ops, borders, reductions. Where the transposes have moved past these, what
is left is the graph in one order of dimensions.
"""

from __future__ import annotations

from ..ir import Builder, Node, Op, Value
from ..ir.ops.activation import LogSoftmax, Softmax
from ..ir.ops.elementwise import Binary, Comparison, Logical, Where
from ..ir.ops.fused import Fused
from ..ir.ops.reduce import Reduction, normalize_axes, normalize_axis
from ..ir.ops.shape import Concat, Pad, Reshape, Slice, Transpose
from ..ir.pass_manager import Rewrite
from ..ir.rewrite import Match, OpPattern, Rule, Var
from .properties import depends_on_data

X = Var("x")
Perm = tuple[int, ...]


def inverse(perm: Perm) -> Perm:
    """The order that undoes ``perm``."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def perm_of(value: Value) -> Perm | None:
    """By which order a transpose made ``value``, if one did."""
    op = value.node.op if value.node else None
    return op.perm if isinstance(op, Transpose) else None


def source(value: Value) -> Value:
    """What a transpose made ``value`` of."""
    assert value.node is not None
    return value.node.operands[0]


class _Past(Rule):
    """Base of rules that move one transpose, matched as ``transpose``, past the root."""

    alone = ("transpose",)

    def moved(self, op: Op, perm: Perm) -> Op:
        """The op on the operand as it was before the transpose."""
        raise NotImplementedError

    def replace(self, b: Builder, match: Match) -> Value:
        perm = match.op("transpose", Transpose).perm
        return b(Transpose(perm), b(self.moved(match.root.op, perm), match["x"]))


class PadTranspose(_Past):
    """pad(transpose(x, p), q) = transpose(pad(x, r), p) with r[p[i]] = q[i]"""

    pattern = OpPattern(Pad, OpPattern(Transpose, X, name="transpose"))

    def moved(self, op: Op, perm: Perm) -> Op:
        assert isinstance(op, Pad)
        return op.with_attributes(pads=tuple(op.pads[place] for place in inverse(perm)))


class SliceTranspose(_Past):
    """transpose(x, p)[start:stop along a] = transpose(x[start:stop along p[a]], p)"""

    pattern = OpPattern(Slice, OpPattern(Transpose, X, name="transpose"))

    def moved(self, op: Op, perm: Perm) -> Op:
        assert isinstance(op, Slice)
        return op.with_attributes(axes=tuple(perm[axis] for axis in op.axes))


class SoftmaxTranspose(_Past):
    """softmax(transpose(x, p), axis a) = transpose(softmax(x, axis p[a]), p), its logarithm too"""

    pattern = OpPattern((Softmax, LogSoftmax), OpPattern(Transpose, X, name="transpose"))

    def moved(self, op: Op, perm: Perm) -> Op:
        assert isinstance(op, (Softmax, LogSoftmax))
        return op.with_attributes(axis=perm[op.axis])


class ReduceTranspose(Rule):
    """sum(transpose(x, p), axes) = transpose(sum(x, p[axes])), and so for the other reductions

    The dimensions that are left keep the order that the transpose gave them.
    """

    pattern = OpPattern(Reduction, OpPattern(Transpose, X, name="transpose"))
    alone = ("transpose",)

    def replace(self, b: Builder, match: Match) -> Value:
        op, perm = match.root.op, match.op("transpose", Transpose).perm
        assert isinstance(op, Reduction)
        axes = normalize_axes(op.axes, len(perm), op.name)
        reduced = b(op.with_attributes(axes=tuple(sorted(perm[axis] for axis in axes))), match["x"])
        if not op.keepdims:
            left = [axis for place, axis in enumerate(perm) if place not in axes]
            perm = tuple(sorted(left).index(axis) for axis in left)
        return b(Transpose(perm), reduced)


class ConcatTranspose(Rule):
    """concat(transpose(x, p), transpose(y, p), axis a) = transpose(concat(x, y, axis p[a]), p)"""

    pattern = OpPattern(Concat, OpPattern(Transpose, X, name="transpose"), rest="y")

    def check(self, match: Match) -> str | None:
        perm = match.op("transpose", Transpose).perm
        for value in match.root.operands:
            if perm_of(value) != perm:
                return f"%{value.name} is not transposed by {list(perm)}"
        return _read_elsewhere(match.root)

    def replace(self, b: Builder, match: Match) -> Value:
        perm = match.op("transpose", Transpose).perm
        op = match.root.op
        assert isinstance(op, Concat)
        axis = perm[normalize_axis(op.axis, len(perm), op.name)]
        return b(Transpose(perm), b(Concat(axis), *map(source, match.root.operands)))


class _ReadsTranspose(OpPattern):
    """Matches an elementwise node with a transposed operand that has the shape of the result."""

    def match_node(self, node: Node, match: Match) -> bool:
        return super().match_node(node, match) and _elementwise_perm(node) is not None


class ElementwiseTranspose(Rule):
    """f(transpose(x, p), y) = transpose(f(x, transpose(y, q)), p) where q undoes p

    f is elementwise, of any number of operands. Each of them is transposed by p already, or made
    of parameters alone, so that to transpose it costs nothing when the network runs.
    """

    pattern = _ReadsTranspose(Op, rest="x")

    def check(self, match: Match) -> str | None:
        node, perm = match.root, _elementwise_perm(match.root)
        if not depends_on_data(node.result):
            return "it is made of parameters alone"
        for value in node.operands:
            if perm_of(value) != perm and (perm_of(value) or depends_on_data(value)):
                return f"%{value.name} is not transposed by {list(perm or ())}"
        return _read_elsewhere(node)

    def replace(self, b: Builder, match: Match) -> Value:
        node, perm = match.root, _elementwise_perm(match.root)
        assert perm is not None
        operands = (
            source(value) if perm_of(value) == perm else _turned_back(b, value, perm)
            for value in node.operands
        )
        return b(Transpose(perm), b(node.op, *operands))


def _elementwise_perm(node: Node) -> Perm | None:
    """By what the operands of an elementwise node are transposed, the first that is."""
    op = node.op
    alone = len(node.operands) == 1 and op.elementwise and not isinstance(op, Fused)
    if not alone and not isinstance(op, (Binary, Comparison, Logical, Where)):
        return None
    perms = (perm_of(v) for v in node.operands if v.type.shape == node.result.type.shape)
    return next((perm for perm in perms if perm is not None), None)


def _turned_back(b: Builder, value: Value, perm: Perm) -> Value:
    """A value that broadcasts against what ``perm`` has made, as what it was made of needs it."""
    if value.type.rank == 0:
        return value
    wide = (*(1,) * (len(perm) - value.type.rank), *value.type.shape)
    value = value if value.type.shape == wide else b(Reshape(wide), value)
    return b(Transpose(inverse(perm)), value)


def _read_elsewhere(node: Node) -> str | None:
    """Why the transposes that ``node`` reads would stay: others read them too."""
    for value in dict.fromkeys(node.operands):
        if perm_of(value) is not None and value.node is not None and not _read_by(value, node):
            return f"%{value.name} has other readers"
    return None


def _read_by(value: Value, node: Node) -> bool:
    """Whether ``node`` alone reads a value."""
    assert value.node is not None
    return {*value.users} == {node} and not value.node.graph.leaves(value)


class TransposeOnes(Rule):
    """transpose(x, p) = reshape(x) where p keeps the order of all dimensions but those of size 1"""

    pattern = OpPattern(Transpose, X, name="transpose")

    def check(self, match: Match) -> str | None:
        shape, perm = match["x"].type.shape, match.op("transpose", Transpose).perm
        moved = [axis for axis in perm if shape[axis] != 1]
        return None if moved == sorted(moved) else f"it changes the order of {moved}"

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Reshape(match.root.result.type.shape), match["x"])


class SinkTransposes(Rewrite):
    """Moves transposes towards the outputs."""

    name = "sink_transposes"
    rules = (
        TransposeOnes(),
        PadTranspose(),
        SliceTranspose(),
        SoftmaxTranspose(),
        ReduceTranspose(),
        ConcatTranspose(),
        ElementwiseTranspose(),
    )
