"""Rules of ops that move data: what changes nothing goes, what follows one another is composed."""

from __future__ import annotations

from ..ir import Builder, Node, Value
from ..ir.graph import infer
from ..ir.ops.elementwise import Binary, Comparison, Logical, Where
from ..ir.ops.fused import Fused
from ..ir.ops.linear import MatMul, swap_last, swaps_last
from ..ir.ops.reduce import Max, Mean, Min, Prod, Reduction, Sum
from ..ir.ops.shape import (
    Concat,
    Expand,
    Flatten,
    Pad,
    Reshape,
    Slice,
    SliceBackward,
    Transpose,
)
from ..ir.record import Record
from ..ir.rewrite import (
    Match,
    OpPattern,
    Pattern,
    Rule,
    Var,
    erase_unread,
    only_reader,
)
from .matching import ToOperand, ToOperandOfType

X = Var("x")


class ReshapeSame(ToOperandOfType):
    """reshape(x, shape of x) = x"""

    pattern = OpPattern(Reshape, X)


class ExpandSame(ToOperandOfType):
    """expand(x, shape of x) = x"""

    pattern = OpPattern(Expand, X)


class ConcatOne(ToOperand):
    """concat(x) = x"""

    pattern = OpPattern(Concat, X)


class TransposeSame(ToOperand):
    """transpose(x, [0, 1, ...]) = x"""

    pattern = OpPattern(Transpose, X, name="transpose")

    def check(self, match: Match) -> str | None:
        perm = match.op("transpose", Transpose).perm
        return None if perm == tuple(range(len(perm))) else f"it moves dimensions: {list(perm)}"


class PadNothing(ToOperand):
    """pad(x, 0) = x"""

    pattern = OpPattern(Pad, X, name="pad")

    def check(self, match: Match) -> str | None:
        pads = match.op("pad", Pad).pads
        return f"it adds borders: {list(pads)}" if any(map(any, pads)) else None


class SliceAll(ToOperand):
    """x[0:size] = x along every axis, and so for the transpose of slice"""

    pattern = OpPattern((Slice, SliceBackward), X, name="slice")

    def check(self, match: Match) -> str | None:
        op = match.nodes["slice"].op
        wide = match["x"]
        if isinstance(op, SliceBackward):
            op, wide = op.slice(), match.root.result
        assert isinstance(op, Slice)
        for axis, start, stop, step in op.bounds(wide.type.rank):
            if (start, stop, step) != (0, wide.type.shape[axis], 1):
                return f"along axis {axis} it takes {start}:{stop}:{step}"
        return None


class ReduceOnes(Rule):
    """a reduction over axes of size 1, or over no axis = reshape(x)"""

    pattern = OpPattern((Sum, Mean, Max, Min, Prod), X, name="reduce")

    def check(self, match: Match) -> str | None:
        count = match.op("reduce", Reduction).count(match["x"].type)
        return None if count == 1 else f"it reduces {count} elements to one"

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Reshape(match.root.result.type.shape), match["x"])


class FlattenReshape(Rule):
    """flatten(x) = reshape(x)"""

    pattern = OpPattern(Flatten, X)

    def replace(self, b: Builder, match: Match) -> Value:
        return b(Reshape(match.root.result.type.shape), match["x"])


class ReshapeReshape(Rule):
    """reshape(reshape(x, a), b) = reshape(x, b)"""

    pattern = OpPattern(Reshape, OpPattern(Reshape, X))

    def replace(self, b: Builder, match: Match) -> Value:
        return b(match.root.op, match["x"])


class ExpandExpand(Rule):
    """expand(expand(x, a), b) = expand(x, b)"""

    pattern = OpPattern(Expand, OpPattern(Expand, X))

    def replace(self, b: Builder, match: Match) -> Value:
        return b(match.root.op, match["x"])


class TransposeTranspose(Rule):
    """transpose(transpose(x, p), q) = transpose(x, r) with r[i] = p[q[i]]"""

    pattern = OpPattern(Transpose, OpPattern(Transpose, X, name="inner"), name="outer")

    def replace(self, b: Builder, match: Match) -> Value:
        inner, outer = match.op("inner", Transpose).perm, match.op("outer", Transpose).perm
        return b(Transpose(tuple(inner[axis] for axis in outer)), match["x"])


class TransposeMatMul(Rule):
    """transpose(matmul(transpose(x), y)) = matmul(transpose(y), x), and so where y is transposed

    Each transpose exchanges the last two dimensions. So a gradient of a matrix that was transposed
    to be multiplied comes in the order of the matrix.
    """

    pattern = OpPattern(Transpose, OpPattern(MatMul, X, Var("y"), name="product"), name="transpose")
    alone = ("product",)

    def check(self, match: Match) -> str | None:
        transpose = match.op("transpose", Transpose)
        if not swaps_last(transpose):
            perm = list(transpose.perm)
            return f"it does more than to exchange the last two dimensions: {perm}"
        inner = [match[name].node for name in "xy"]
        if any(n and isinstance(n.op, Transpose) and swaps_last(n.op) for n in inner):
            return None
        return "neither operand of the product is transposed"

    def replace(self, b: Builder, match: Match) -> Value:
        return b(MatMul(), swap_last(b, match["y"]), swap_last(b, match["x"]))


class Chain(Record):
    """Matches a chain of elementwise ops of one operand, each read by the next alone, that ends
    in ``below``. The match has its nodes as ``chain0`` (the last of them), ``chain1``, ..."""

    below: Pattern

    def match(self, value: Value, match: Match) -> bool:
        length = 0
        while (node := value.node) is not None and is_unary(node) and only_reader(node):
            match.nodes[f"chain{length}"] = node
            length += 1
            value = node.operands[0]
        return length > 0 and self.below.match(value, match)


def is_unary(node: Node) -> bool:
    """Whether each element of the result depends on the one element of the operand at its place."""
    return node.op.elementwise and len(node.operands) == 1 and not isinstance(node.op, Fused)


class _Across(Rule):
    """Base of rules that take away two moves of data, before and after a chain of unary ops."""

    def replace(self, b: Builder, match: Match) -> Value:
        chain = [node for name, node in match.nodes.items() if name.startswith("chain")]
        moved = match["x"]
        below = chain[-1].operands[0].node
        assert below is not None
        chain[-1].operands = (moved,)
        for node in reversed(chain):
            (node.result.type,) = infer(node.op, moved.type)
            moved = node.result
        erase_unread(below)
        return moved


class TransposeAcross(_Across):
    """transpose(f(transpose(x, p)), q) = f(x) where f is elementwise and q undoes p"""

    pattern = OpPattern(Transpose, Chain(OpPattern(Transpose, X, name="inner")), name="outer")

    def check(self, match: Match) -> str | None:
        inner, outer = match.op("inner", Transpose).perm, match.op("outer", Transpose).perm
        if [inner[axis] for axis in outer] != list(range(len(outer))):
            return f"{list(outer)} does not undo {list(inner)}"
        return None


class ReshapeAcross(_Across):
    """reshape(f(reshape(x)), shape of x) = f(x) where f is elementwise"""

    pattern = OpPattern(Reshape, Chain(OpPattern(Reshape, X)))

    def check(self, match: Match) -> str | None:
        x, result = match["x"].type, match.root.result.type
        return None if x.shape == result.shape else f"the shape was {x}, it becomes {result}"


class _ReadsExpand(OpPattern):
    """Matches a broadcasting op one of whose operands is an expand."""

    def match_node(self, node: Node, match: Match) -> bool:
        return super().match_node(node, match) and any(map(_is_expand, node.operands))


def _is_expand(value: Value) -> bool:
    return value.node is not None and isinstance(value.node.op, Expand)


class BroadcastExpand(Rule):
    """f(x, expand(y)) = f(x, y) where f broadcasts y anyway"""

    pattern = _ReadsExpand((Binary, Comparison, Logical, Where), X, rest="y")

    def check(self, match: Match) -> str | None:
        if self._operands(match.root) == match.root.operands:
            return f"without the expand the result would be smaller than {match.root.result.type}"
        return None

    def replace(self, b: Builder, match: Match) -> Value:
        return b(match.root.op, *self._operands(match.root))

    def _operands(self, node: Node) -> tuple[Value, ...]:
        """The operands of ``node`` without those expands that it does not need."""
        operands = node.operands
        for place, value in enumerate(operands):
            if value.node is not None and _is_expand(value):
                shorter = (*operands[:place], value.node.operands[0], *operands[place + 1 :])
                if infer(node.op, *(operand.type for operand in shorter)) == (node.result.type,):
                    operands = shorter
        return operands


SHAPES: tuple[Rule, ...] = (
    ReshapeSame(),
    ExpandSame(),
    ConcatOne(),
    TransposeSame(),
    PadNothing(),
    SliceAll(),
    ReduceOnes(),
    FlattenReshape(),
    ReshapeReshape(),
    ExpandExpand(),
    TransposeTranspose(),
    TransposeMatMul(),
    TransposeAcross(),
    ReshapeAcross(),
    BroadcastExpand(),
)
