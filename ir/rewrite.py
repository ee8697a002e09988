"""The rewriting engine: rules of pattern, check and replacement, applied until none fires.

A rule's docstring is its equation. Patterns look like the expression they match:

>>> from cauce.ir.ops.elementwise import Neg
>>> pattern = OpPattern(Neg, OpPattern(Neg, Var("x")))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

from .builder import Builder
from .errors import CompileError, UnsupportedOp
from .graph import Graph, Node, Value
from .op import Op, Values
from .record import Record

OpT = TypeVar("OpT", bound=Op)


@dataclass
class Match:
    """What a pattern matched: values by variable name, nodes by pattern name, and the root."""

    root: Node
    values: dict[str, Value] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def op(self, name: str, cls: type[OpT]) -> OpT:
        """The op that the pattern called ``name`` matched."""
        op = self.nodes[name].op
        assert isinstance(op, cls)
        return op


class Pattern(Protocol):
    """What a rule looks for: :class:`Var`, :class:`OpPattern`, or anything else that can match."""

    def match(self, value: Value, match: Match) -> bool:
        """Whether ``value`` matches; fills ``match`` where it does."""


class Var(Record):
    """Matches any value; the same name twice means the same value."""

    name: str

    def match(self, value: Value, match: Match) -> bool:
        return match.values.setdefault(self.name, value) is value


class OpPattern:
    """Matches the result of a node with a given op.

    Args:
        cls: the class of the op, several classes, or a base class: ``Op`` matches every op.
        operands: a pattern for each operand; ``rest`` takes those that are left.
        name: under which the node is found in the match.
        rest: the variable prefix for operands beyond the patterns (``bias0``, ``bias1``, ...).
        commutative: whether two operands may come in either order.
    """

    def __init__(
        self,
        cls: type[Op] | tuple[type[Op], ...],
        *operands: Pattern,
        name: str | None = None,
        rest: str | None = None,
        commutative: bool = False,
    ) -> None:
        self.cls = cls
        self.operands = operands
        self.name = name
        self.rest = rest
        self.commutative = commutative
        # Most nodes are told from what matches by the classes of what makes their operands.
        self._makers = [
            (place, pattern.cls)
            for place, pattern in enumerate(operands)
            if type(pattern) is OpPattern
        ]

    def match(self, value: Value, match: Match) -> bool:
        return value.node is not None and self.match_node(value.node, match)

    def match_node(self, node: Node, match: Match) -> bool:
        """Whether ``node`` matches; fills ``match``."""
        operands = node.operands
        if not isinstance(node.op, self.cls) or len(operands) < len(self.operands):
            return False
        if len(operands) > len(self.operands) and self.rest is None:
            return False
        orders = [operands]
        if self.commutative:
            orders.append(operands[::-1])
        for order in orders:
            if not self._could_match(order):
                continue
            trial = Match(match.root, dict(match.values), dict(match.nodes))
            if all(pattern.match(value, trial) for pattern, value in zip(self.operands, order)):
                match.values, match.nodes = trial.values, trial.nodes
                if self.name:
                    match.nodes[self.name] = node
                for i, value in enumerate(order[len(self.operands) :]):
                    match.values[f"{self.rest}{i}"] = value
                return True
        return False

    def _could_match(self, operands: Sequence[Value]) -> bool:
        """Whether the classes of the ops that make the operands are those of the patterns."""
        for place, cls in self._makers:
            maker = operands[place].node
            if maker is None or not isinstance(maker.op, cls):
                return False
        return True


class Rule:
    """Base of rewrite rules; the docstring is the equation.

    Class variables:
        pattern: what to look for.
        alone: names of matched nodes that must have no other reader than the match.
    """

    pattern: ClassVar[OpPattern]
    alone: ClassVar[tuple[str, ...]] = ()

    def check(self, match: Match) -> str | None:
        """Why the rule must not be applied here; None where it may."""
        return None

    def replace(self, b: Builder, match: Match) -> Values:
        """Write what takes the place of the root; one value for each of its results."""
        raise NotImplementedError


class Event(Record):
    """A rule that matched: it fired, or refused with a reason.

    Attributes:
        rule: its name.
        path: the layer of the node that it matched.
        refused: the reason; None where it fired.
        equation: what it says, the documentation of its class.
    """

    rule: str
    path: str
    refused: str | None
    equation: str = ""


_watchers: ContextVar[tuple[Callable[[Event], object], ...]] = ContextVar("watchers", default=())


@contextmanager
def watching(watcher: Callable[[Event], object]) -> Iterator[None]:
    """Within the block, ``watcher`` is called for every rule that matches."""
    token = _watchers.set((*_watchers.get(), watcher))
    try:
        yield
    finally:
        _watchers.reset(token)


def apply_rules(graph: Graph, rules: Sequence[Rule], limit: int = 100_000) -> bool:
    """Apply ``rules`` anywhere in ``graph`` until none fires; returns whether one did.

    Raises:
        CompileError: rules that undo one another (more than ``limit`` applications).
    """
    by_op: dict[type[Op], list[Rule]] = {}
    work = dict.fromkeys(graph.nodes_reversed)
    fired: Counter[str] = Counter()
    while work:
        node, _ = work.popitem()
        if node.graph is not graph or not node.results:
            continue
        cls = type(node.op)
        if cls not in by_op:
            by_op[cls] = [rule for rule in rules if issubclass(cls, rule.pattern.cls)]
        for rule in by_op[cls]:
            touched = _apply(rule, node)
            if touched is None:
                continue
            work.update(dict.fromkeys(touched))
            fired[type(rule).__name__] += 1
            if sum(fired.values()) > limit:
                raise CompileError(f"the rules do not come to an end; they fired {dict(fired)}")
            break
    return bool(fired)


def _apply(rule: Rule, node: Node) -> list[Node] | None:
    """Apply one rule at one node; returns the nodes to look at again, or None."""
    match = Match(node)
    if not rule.pattern.match_node(node, match):
        return None
    refused = rule.check(match)
    for name in rule.alone:
        inner = match.nodes[name]
        if refused is None and inner is not node and not only_reader(inner):
            refused = f"%{inner.results[0].name} has other readers"
    kind = type(rule)
    event = Event(kind.__name__, node.path, refused, kind.__doc__ or "")
    for watcher in _watchers.get():
        watcher(event)
    if refused is not None:
        return None
    readers = [user for value in node.results for user in value.users]
    suppliers = [value.node for value in node.operands if value.node is not None]
    fresh = rewrite_node(node, lambda b: rule.replace(b, match))
    return [touched for touched in (*readers, *suppliers, *fresh) if touched.results]


def only_reader(node: Node) -> bool:
    """Whether the results of ``node`` are read once in all, by a node of its graph."""
    readers = sum(len(value.users) for value in node.results)
    return readers == 1 and not any(node.graph.leaves(value) for value in node.results)


def rewrite_node(node: Node, write: Callable[[Builder], Values]) -> list[Node]:
    """Replace ``node`` by what ``write`` writes before it; returns the new nodes, last first."""
    first = node._prev
    values = write(Builder.like(node, before=node))
    fresh: list[Node] = []
    cursor = node._prev
    while cursor is not None and cursor is not first:
        fresh.append(cursor)
        cursor = cursor._prev
    substitute(node, values if isinstance(values, tuple) else (values,), fresh)
    return [new for new in fresh if new.results]


def substitute(node: Node, values: Sequence[Value], fresh: Collection[Node] | None = None) -> None:
    """Put ``values`` in the place of the results of ``node``, and erase what is then unread.

    Results of fresh nodes of the same layer give way to the values they replace, which keep their
    names and their identity; other values keep their own.

    Args:
        node: what is replaced.
        values: one for each result.
        fresh: the nodes that were written for this; those that nothing reads where None.

    Raises:
        CompileError: a value of another type than the result it replaces.
    """
    graph = node.graph
    taken: dict[Value, Value] = {}
    for old, new in zip(node.results, values, strict=True):
        if old.type != new.type:
            raise CompileError(
                f"%{old.name} is {old.type}, it cannot be replaced by %{new.name}: {new.type}",
                path=node.path,
                loc=node.loc,
            )
        unread = fresh is None and not new.users and not graph.leaves(new)
        own = new.node is not None and (unread or new.node in (fresh or ()))
        if own and new not in taken and new.path == old.path:
            graph.take_over(old, new)
            taken[new] = old
        else:
            graph.replace(old, taken.get(new, new))
    suppliers = [value.node for value in node.operands if value.node is not None]
    graph.erase(node)
    node.results = ()
    for supplier in suppliers:
        erase_unread(supplier)


def erase_unread(node: Node) -> None:
    """Erase ``node`` where nothing reads it, and then what it alone read."""
    pending = [node]
    while pending:
        node = pending.pop()
        graph = node.graph
        if not node.results or any(v.users or graph.leaves(v) for v in node.results):
            continue
        suppliers = [value.node for value in node.operands if value.node is not None]
        graph.erase(node)
        node.results = ()
        pending += suppliers


def decompose(node: Node) -> None:
    """Replace a composite node by the ops it is made of.

    Its results keep their identity: they become the results of the new nodes.
    """
    operands = node.operands
    rewrite_node(node, lambda b: node.op.decompose(b, *operands))


def decompose_unless(
    graph: Graph, known: Callable[[Node], bool], lacks: str, remedy: Callable[[Op], str]
) -> None:
    """Decompose composites until every node is known: how backends lower a graph.

    Args:
        graph: is changed.
        known: whether a node can stay as it is.
        lacks: begins the message for a primitive that is not known: ``"X has no kernel"``.
        remedy: says what to write for its class: ``"add one in backends/x: @kernel(Relu)"``.

    Raises:
        UnsupportedOp: a primitive that is not known.
    """
    while pending := [node for node in graph.nodes if not known(node)]:
        for node in pending:
            if not node.op.is_composite:
                raise UnsupportedOp(
                    f"{lacks} for {node.op.name}",
                    fix=f"give it a decompose into other ops, or {remedy(node.op)}",
                    path=node.path,
                    loc=node.loc,
                )
            decompose(node)
