"""A step of training whose batch is computed in parts: by several ranks, one by one, or both.

Each part gives its share of the loss, of the metrics, of the gradients and of the running
statistics, weighted by how many of the batch's images it holds. Parts that come one after another
are added up in states, those of several ranks by one ``all_reduce`` of all that the backward pass
leaves, laid end to end. What follows, clipping and the update, is the same as for the batch in one
piece, and so is the result where images do not meet. A batch norm takes the statistics of a part;
of those of all ranks where they are synchronised (Zhang et al. 2018, "Context encoding for semantic
segmentation", section 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir import Builder, DimExpr, DType, Graph, Input, Node, Role, TensorType, Value
from ..ir.dims import Dim, divide_exactly, sizes, symbols
from ..ir.errors import GraphError, UnsupportedOp
from ..ir.ops.collective import AllReduce
from ..ir.ops.constant import scalar, size_as
from ..ir.ops.elementwise import Add, Cast, Div, Mul, Sub, Where
from ..ir.ops.normalize import BatchNorm, BatchNormTrain, elements_per_channel, other_axes
from ..ir.ops.random import RandomUniform
from ..ir.ops.reduce import Mean, Variance
from ..ir.ops.shape import Concat, Reshape, Slice
from ..ir.record import Record
from ..ir.rewrite import rewrite_node

# The inputs that say which part of the batch a call computes.
SHARE = "part.share"  # how much of the whole batch its images are
WEIGHT = "part.weight"  # how much of the images that all ranks have at the time
IMAGES = "part.images"  # how many these are
FIRST = "part.first"  # the place of its first image in the whole batch, u32[1]
LAST = "part.last"  # whether it is the last, and the parameters are updated
ACCUMULATED = "accumulated"


class Parts(Record):
    """How the batch of a step is cut.

    Attributes:
        ranks: whether among ranks.
        accumulate: whether into parts that a rank computes one after another.
        sync_batch_norm: whether batch norms take the statistics of all ranks' parts.
    """

    ranks: bool = False
    accumulate: bool = False
    sync_batch_norm: bool = False


class PartialStep:
    """Writes into a graph what a step needs beyond one that computes its batch in one piece.

    Args:
        graph: a network in training form, with the loss and metrics as outputs; the random draws
            of its images, and its batch norms, become those of a part.
        loss: the name of the loss, a mean over the images.
        parts: how the batch is cut.

    Attributes:
        loss: the share that a part has of the loss of the batch: what is to be differentiated.
        added: the state inputs, all of which start at zero.

    Raises:
        GraphError: the number of images is not a symbol.
        UnsupportedOp: random draws of which some image's cannot be told apart.
    """

    def __init__(self, graph: Graph, loss: str, parts: Parts) -> None:
        self.graph, self.parts = graph, parts
        self.added: list[Input] = []
        self._lead = _lead(graph)
        dtype = graph.outputs[loss].type.dtype
        self._share = self._input(SHARE, TensorType(dtype, ()))
        self._first = self._input(FIRST, TensorType(DType.U32, (1,)))
        self._weight: Input | None = None
        self._last = self._input(LAST, TensorType(DType.BOOL, ())) if parts.accumulate else None
        self._images: Value | None = None
        for node in list(graph.nodes):
            if isinstance(node.op, RandomUniform):
                self._shift(node, node.op)
            elif isinstance(node.op, BatchNormTrain) and parts.ranks and parts.sync_batch_norm:
                self._synchronise(node, node.op)
        b = self._builder()
        outputs = {name: _cast(b, value, dtype) for name, value in graph.outputs.items()}
        graph.outputs.update({n: b(Mul(), value, self._share) for n, value in outputs.items()})
        self.loss = graph.outputs[loss]

    def of_batch(self, gradients: Mapping[str, Value]) -> list[Value]:
        """Write the gradients over the whole batch; outputs and running statistics become those of
        the whole batch too.

        Args:
            gradients: of a part, by the name of the parameter.
        """
        graph, b = self.graph, self._builder()
        outputs, moved = list(graph.outputs), self._moved_by_images()
        shares = [self._times(b, graph.updates[state], self._share) for state in moved]
        names = [*gradients, *outputs, *(state.name for state in moved)]
        values = [*gradients.values(), *graph.outputs.values(), *shares]
        if self.parts.accumulate:
            values = [self._added_up(name, value) for name, value in zip(names, values)]
        if self.parts.ranks:
            values = self._over_ranks(values)
        graph.outputs.update(zip(outputs, values[len(gradients) :]))
        graph.updates.update(zip(moved, values[len(gradients) + len(outputs) :]))
        return values[: len(gradients)]

    def hold(self) -> None:
        """Let all that is updated, but sums of parts, change with the last part alone."""
        if self._last is None:
            return
        b = self._builder()
        for target, new in self.graph.updates.items():
            if target not in self.added:
                self.graph.updates[target] = b(Where(), self._last, new, target)

    # ---- what a part is ------------------------------------------------------------------------

    def _builder(self) -> Builder:
        return Builder(self.graph, suffix="part", path="part")

    def _input(self, name: str, type_: TensorType) -> Input:
        return self.graph.add_input(name, type_, Role.HYPERPARAMETER)

    def _shift(self, node: Node, op: RandomUniform) -> None:
        """Let the draws of a part be those of its images in the whole batch."""
        lead = str(self._lead)
        if not any(lead in symbols(dim) for dim in op.shape):
            return  # no draws of images: every part has the same
        times = divide_exactly(op.shape[0], self._lead)
        others = any(lead in symbols(dim) for dim in op.shape[1:])
        if len(op.shape) < 2 or others or not isinstance(times, int):
            raise UnsupportedOp(
                f"the draws of {node.result.type} do not say which of them belong to an image, so "
                "a part of a batch cannot draw its own",
                fix="apply dropout to arrays [N, ...] of at least two dimensions",
                path=node.path,
                loc=node.loc,
            )
        b = Builder.like(node, before=node, suffix="part")
        first: Value = self._first
        if times != 1:
            first = b(Mul(), first, scalar(b, times, DType.U32))
        node.replace_operand(0, b(Concat(0), node.operands[0], first))

    def _times(self, b: Builder, value: Value, factor: Value) -> Value:
        return b(Mul(), value, _cast(b, factor, value.type.dtype))

    # ---- batch norms ---------------------------------------------------------------------------

    def _synchronise(self, node: Node, op: BatchNormTrain) -> None:
        """Normalise by the mean and the variance over the images of all ranks.

        The variance is the mean of (own variance + (own mean - mean)**2): E[x**2] - E[x]**2 would
        lose all digits where the mean is large.
        """
        x, gamma, beta = node.operands
        self._correct_by_all(node, x)
        axes = other_axes(x.type.rank)
        weight = self._weight = self._weight or self._input(WEIGHT, self._share.type)

        def write(b: Builder) -> tuple[Value, ...]:
            own = b(Mean(axes), x)
            mean = b(AllReduce(), self._times(b, own, weight))
            apart = b(Sub(), own, mean)
            spread = b(Add(), b(Variance(axes), x), b(Mul(), apart, apart))
            variance = b(AllReduce(), self._times(b, spread, weight))
            return b(BatchNorm(op.epsilon), x, gamma, beta, mean, variance), mean, variance

        rewrite_node(node, write)

    def _correct_by_all(self, node: Node, x: Value) -> None:
        """Let the running variance be unbiased for the images of all ranks: M / (M - 1)."""
        variance = node.results[2]
        each = divide_exactly(elements_per_channel(x.type), self._lead)
        for reader in dict.fromkeys(variance.users):
            factors = [value for value in reader.operands if value is not variance]
            if not isinstance(reader.op, Mul) or len(factors) != 1 or each is None:
                continue
            if factors[0].node is None or not isinstance(factors[0].node.op, Div):
                continue
            if self._images is None:
                self._images = self._input(IMAGES, self._share.type)
            b, dtype = Builder.like(reader, before=reader, suffix="part"), x.type.dtype
            count = b(Mul(), _cast(b, self._images, dtype), size_as(b, each, dtype))
            bessel = b(Div(), count, b(Sub(), count, scalar(b, 1, dtype)))
            reader.replace_operand(1 - reader.operands.index(variance), bessel)

    def _moved_by_images(self) -> list[Input]:
        """The states whose new values depend on the images of a part: running statistics.

        What all ranks have summed is the same for all of them, but not for parts in turn.
        """
        lead = str(self._lead)
        known: set[Value] = {*self.graph.inputs_with(Role.DATA)}
        for node in self.graph.nodes:
            summed = isinstance(node.op, AllReduce) and not self.parts.accumulate
            of_images = lead in node.op.symbols() or any(v in known for v in node.operands)
            if of_images and not summed:
                known.update(node.results)
        moved = [target for target, value in self.graph.updates.items() if value in known]
        for target in moved:
            if not target.type.dtype.is_float:
                raise UnsupportedOp(
                    f"{target.name} is made of the images of a part, and there is no mean of "
                    f"{target.type} over parts",
                    fix="keep it in f32",
                )
        return moved

    # ---- sums ----------------------------------------------------------------------------------

    def _added_up(self, name: str, value: Value) -> Value:
        """The sum over the parts so far; it begins anew behind the last."""
        assert self._last is not None
        so_far = self.graph.add_input(f"{name}.{ACCUMULATED}", value.type, Role.STATE)
        self.added.append(so_far)
        b = Builder(self.graph, suffix="part", path=value.path, loc=value.loc)
        total = b(Add(), so_far, value)
        self.graph.updates[so_far] = b(Where(), self._last, scalar(b, 0, value), total)
        return total

    def _over_ranks(self, values: Sequence[Value]) -> list[Value]:
        """The sums over all ranks, those of one dtype in one message."""
        totals: dict[int, Value] = {}
        for dtype in dict.fromkeys(value.type.dtype for value in values):
            own = {place: v for place, v in enumerate(values) if v.type.dtype is dtype}
            b = self._builder()
            rows = [b(Reshape((v.type.size,)), v) for v in own.values()]
            message = b(AllReduce(), b(Concat(0), *rows))
            start = 0
            for place, value in own.items():
                b.path, b.loc = value.path, value.loc
                (count,) = sizes((value.type.size,))
                piece = b(Slice((0,), (start,), (start + count,)), message)
                totals[place] = b(Reshape(value.type.shape), piece)
                start += count
        return [totals[place] for place in range(len(values))]


def _lead(graph: Graph) -> DimExpr:
    """The symbol that counts the images of a batch.

    Raises:
        GraphError: there is none.
    """
    leads: set[Dim] = {v.type.shape[0] for v in graph.inputs_with(Role.DATA) if v.type.shape}
    lead = leads.pop() if len(leads) == 1 else 0
    if not isinstance(lead, DimExpr) or not lead.is_symbol:
        raise GraphError(
            f"the batch of {graph.name} is not free to be cut into parts",
            fix='give init a symbol for the batch, for example ("N", 3, 32, 32)',
        )
    return lead


def _cast(b: Builder, value: Value, dtype: DType) -> Value:
    return value if value.type.dtype is dtype else b(Cast(dtype), value)
