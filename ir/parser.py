"""Reads the text form of a graph; :mod:`cauce.ir.text` writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .dims import as_dim, parse_dim
from .errors import CauceError, ParseError, did_you_mean, need
from .graph import Graph, Role, Value
from .layout import Layout
from .literal import Literal
from .location import Frame, Location
from .op import Op, lookup
from .text import NAME, WORD
from .tracebacks import user_facing
from .types import Array, DType, TensorType
from .verify import verify

_DTYPES = {dtype.value: dtype for dtype in DType}
_WORDS: dict[str, object] = {"true": True, "false": False, "none": None, **_DTYPES}
_ROLES = {role.value: role for role in Role if role is not Role.DATA}
_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'  # as in JSON
# Types and locations are one token each: a text repeats few of them many times.
_TYPE = re.compile(
    rf"({'|'.join(_DTYPES)})\s*\[([^\]]*)\]"
    # The layout: a format where it is packed, the axes in order, options.
    # (The pattern is part of a verbose one, where a bare space means nothing.)
    r"(?:\{((?:[a-z]+\ )?\d+(?:,\d+)*(?:\ [a-z]+\ \d+(?:,\d+)*)*)\})?"
)
_FRAME = re.compile(rf"([A-Za-z0-9_.-]+|{_STRING})\s*:\s*(\d{{1,9}})")
_TOKEN = re.compile(
    rf"""(?P<value>[%@](?:{NAME}|{_STRING}))
    |(?P<mark>->|//|[-()\[\]{{}}=:,<+*])
    |(?P<float>\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
    |(?P<int>\d+)
    |(?P<type>{_TYPE.pattern})
    |(?P<location>loc\s*\(\s*{_FRAME.pattern}(?:\s*<\s*{_FRAME.pattern})*\s*\))
    |(?P<word>{WORD})
    |(?P<string>{_STRING})
    |(?P<comment>\#[^\n]*)
    |(?P<end>\Z)
    |(?P<other>[^ \t\r\n])
    """,
    re.VERBOSE,
)
_SEE = "print a graph for an example; the grammar is in docs/text-format.md"
_DEEPEST = 50  # levels of lists, regions and parentheses


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


@user_facing
def parse(text: str, constants: Mapping[str, Array] | None = None) -> Graph:
    """The graph that ``text`` describes, verified.

    Types, with shapes and dtypes, are checked against those that the ops infer.

    Args:
        text: a graph in the text form, as ``str(graph)`` gives.
        constants: the arrays of large constants by digest, as ``graph.constants()`` gives.

    Raises:
        ParseError: text that is not a graph, with line and column; also shapes that do not fit.
        TypeMismatch: something else than text.

    Examples:
        >>> cauce.parse("graph g(%x: f32[N]) -> f32[N] { %y = relu(%x) : f32[N] return %y }")
        <graph g: 1 nodes>
    """
    need(text, str, "parse takes the text of a graph", "read a file with Path(path).read_text()")
    parser = _Parser(text, constants or {})
    graph = parser.graph()
    parser.expect("end")
    try:
        verify(graph)
    except CauceError as error:
        parser.fail(error.what, parser.places.get(error.path, 0), error.fix)
    return graph


def parse_type(text: str) -> TensorType:
    """The type that ``text`` describes, as ``str`` gives it.

    Raises:
        ParseError: text that is not a type.

    >>> parse_type("f32[N,2*M]").shape
    (<dim N>, <dim 2*M>)
    """
    parser = _Parser(text, {})
    found = parser.type()
    parser.expect("end")
    return found


class _Parser:
    def __init__(self, text: str, constants: Mapping[str, Array]) -> None:
        self.text = text
        self.constants = constants
        self.tokens = self._tokenize()
        self.at = 0
        self.depth = 0
        self.types: dict[str, TensorType] = {}  # by their text, as the locations
        self.locations: dict[str, Location] = {}
        self.places: dict[str | None, int] = {}  # where the op of each layer path stands

    # ---- tokens --------------------------------------------------------------------------------

    def _tokenize(self) -> list[_Token]:
        tokens = []
        for match in _TOKEN.finditer(self.text):  # which passes over white space
            kind = match.lastgroup or ""
            if kind == "other":
                self.fail(f"unexpected character {match.group()!r}", match.start())
            if kind != "comment":
                tokens.append(_Token(kind, match.group(), match.start(), match.end()))
        return tokens

    def fail(self, what: str, position: int | None = None, fix: str | None = None) -> NoReturn:
        position = self.token.start if position is None else position
        line = self.text.count("\n", 0, position) + 1
        start = self.text.rfind("\n", 0, position) + 1
        shown = self.text[start:].partition("\n")[0]
        raise ParseError(what, line, position - start + 1, shown, fix or _SEE)

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def accept(self, text: str) -> bool:
        if self.token.text == text and self.token.kind in ("mark", "word"):
            self.at += 1
            return True
        return False

    def expect(self, what: str) -> _Token:
        token = self.token
        if what not in (token.kind, token.text) or (token.kind == "string") != (what == "string"):
            found = "the end of the text" if token.kind == "end" else repr(token.text)
            self.fail(f"expected {what!r}, found {found}")
        self.at += 1
        return token

    def name(self) -> str:
        if self.token.kind == "string":
            return str(json.loads(self.expect("string").text))
        return self.expect("word").text

    def _items(self, opens: str, closes: str) -> Iterator[None]:
        """Once for each item of a list in brackets, which the caller reads."""
        self.expect(opens)
        while not self.accept(closes):
            yield
            if self.token.text != closes:
                self.expect(",")

    # ---- graphs --------------------------------------------------------------------------------

    def graph(self) -> Graph:
        self.expect("graph")
        graph = Graph(self.name())
        scope: dict[str, Value] = {}
        for _ in self._items("(", ")"):
            self._input(graph, scope, Role.DATA)
        self.expect("->")
        start = self.token.start
        several = self.token.text == "("
        declared = [self.type() for _ in self._items("(", ")")] if several else [self.type()]
        self.expect("{")
        while self.token.kind == "value":
            if self.tokens[self.at + 1].text == ":":
                self._input(graph, scope, None)
            else:
                self._node(graph, scope)
        self._return(graph, scope)
        actual = [value.type for value in graph.outputs.values()]
        if declared != actual:
            shown = ", ".join(map(str, actual))
            self.fail(f"graph {graph.name} returns ({shown}), not what its header says", start)
        while self.accept("update"):
            self._update(graph, scope)
        self.expect("}")
        return graph

    def _input(self, graph: Graph, scope: dict[str, Value], role: Role | None) -> None:
        token = self.expect("value")
        if (token.text[0] == "%") != (role is Role.DATA):
            self.fail("data inputs start with %, all others with @", token.start)
        self.expect(":")
        type_ = self.type()
        if role is None:
            word = self.token
            if word.text not in _ROLES:
                self.fail(f"expected one of {', '.join(_ROLES)}, found {word.text!r}")
            self.at += 1
            role = _ROLES[word.text]
        with self._located(token.start):
            scope[_key_of(token)] = graph.add_input(_name_of(token), type_, role)

    def _node(self, graph: Graph, scope: dict[str, Value]) -> None:
        start = self.token.start
        names = [self._new_value(scope)]
        while self.accept(","):
            names.append(self._new_value(scope))
        self.expect("=")
        op_token = self.token
        with self._located(op_token.start):
            cls = lookup(self.expect("word").text)
        operands = [self._value(scope) for _ in self._items("(", ")")]
        op = self._op(cls, op_token)
        self.expect(":")
        type_start = self.token.start
        types = [self.type()]
        while self.accept(","):
            types.append(self.type())
        if self.token.text == "loc":
            self.fail("a location is written loc(net.py:14), or loc(net.py:14 < main.py:3)")
        loc = self._location() if self.token.kind == "location" else None
        if len(names) != len(cls.results):
            self.fail(f"{cls.name} has {len(cls.results)} results, not {len(names)}", start)
        with self._located(op_token.start):
            node = graph.add_node(op, operands, names=tuple(names), loc=loc)
        self.places[node.path] = op_token.start
        for value, declared in zip(node.results, types):
            if value.type != declared:
                fix = f"write the type that follows from the operands, {value.type}"
                what = f"{cls.name} gives {value.type}, the text says {declared}"
                self.fail(what, type_start, fix)
            value.type = declared  # with its layout
        if len(types) != len(names):
            self.fail(f"{len(names)} results, but {len(types)} types", type_start)
        scope.update({f"%{value.name}": value for value in node.results})

    def _new_value(self, scope: dict[str, Value]) -> str:
        token = self.expect("value")
        if token.text[0] != "%":
            self.fail("results start with %", token.start)
        if _key_of(token) in scope:
            self.fail(f"{token.text} is defined already", token.start)
        return _name_of(token)

    def _value(self, scope: dict[str, Value]) -> Value:
        token = self.expect("value")
        value = scope.get(_key_of(token))
        if value is None:
            fix = did_you_mean(_key_of(token), scope, "define it above this line")
            self.fail(f"{token.text} is not defined before it is used", token.start, fix)
        return value

    def _op(self, cls: type[Op], token: _Token) -> Op:
        known = cls.kinds()
        attributes: dict[str, Any] = {}
        while self.token.kind == "word":
            word = self.expect("word")
            if word.text not in known:
                names = ", ".join(known) or "none"
                what = f"{cls.name} has no attribute {word.text!r}; it has {names}"
                self.fail(what, word.start, "use one of these, or leave it out for its default")
            if word.text in attributes:
                self.fail(f"attribute {word.text} is given twice", word.start)
            self.expect("=")
            attributes[word.text] = self.attribute()
        given = attributes.keys() | cls.defaults().keys()
        missing = [name for name in known if name not in given]
        if missing:
            self.fail(f"{cls.name} needs the attribute {', '.join(missing)}", token.start)
        with self._located(token.start):
            return cls(**attributes)

    def _return(self, graph: Graph, scope: dict[str, Value]) -> None:
        self.expect("return")
        while self.token.text not in ("update", "}"):
            start = self.token.start
            if self.token.kind == "value":
                value = self._value(scope)
                name = value.name
            else:
                name = self.name()
                self.expect("=")
                value = self._value(scope)
            if name in graph.outputs:
                self.fail(f"two outputs are called {name!r}", start)
            graph.outputs[name] = value
            if not self.accept(","):
                break

    def _update(self, graph: Graph, scope: dict[str, Value]) -> None:
        start = self.token.start
        target = self._value(scope)
        self.expect("=")
        value = self._value(scope)
        inputs = [candidate for candidate in graph.inputs if candidate is target]
        if not inputs:
            self.fail("only an input (@name) can be updated", start)
        if inputs[0] in graph.updates:
            self.fail(f"@{target.name} is updated twice", start)
        graph.updates[inputs[0]] = value

    # ---- parts ---------------------------------------------------------------------------------

    def type(self) -> TensorType:
        if self.token.kind == "word":
            if self.token.text not in _DTYPES:
                self.fail(f"{self.token.text!r} is not a dtype; use one of {', '.join(_DTYPES)}")
            self.at += 1
            if self.token.text == "[":
                self.fail("this [ is never closed")
        token = self.expect("type")
        if token.text not in self.types:
            self.types[token.text] = self._read_type(token)
        return self.types[token.text]

    def _read_type(self, token: _Token) -> TensorType:
        found = _TYPE.fullmatch(token.text)
        assert found is not None
        dtype, inside, lies = found.groups()
        with self._located(token.start + found.start(2)):
            dims = tuple(as_dim(part) for part in inside.split(",")) if inside.strip() else ()
        if lies is None:
            return TensorType(_DTYPES[dtype], dims)
        place = token.start + found.start(3)
        with self._located(place):
            layout = Layout.read(lies)
        if not layout.fits(len(dims)):
            self.fail(f"the layout does not fit {len(dims)} dimensions", place - 1)
        return TensorType(_DTYPES[dtype], dims, layout)

    def _location(self) -> Location:
        token = self.expect("location")
        if token.text not in self.locations:
            frames = [
                Frame(json.loads(file) if file.startswith('"') else file, int(line))
                for file, line in _FRAME.findall(token.text.removeprefix("loc"))
            ]
            self.locations[token.text] = Location(tuple(reversed(frames)))
        return self.locations[token.text]

    @contextmanager
    def _nested(self) -> Iterator[None]:
        """Within the block, text is one level deeper; Python's stack holds not any number."""
        if self.depth == _DEEPEST:
            self.fail(f"this is nested more than {_DEEPEST} deep")
        self.depth += 1
        yield
        self.depth -= 1

    def attribute(self) -> Any:
        with self._nested():
            return self._attribute()

    def _attribute(self) -> Any:
        token = self.token
        if token.kind == "string":
            return json.loads(self.expect("string").text)
        if token.text == "[":
            return self._list()
        if token.text == "graph":
            return self.graph()
        if token.text in ("dense", "digest") and self.tokens[self.at + 1].text == "(":
            return self._literal()
        if token.text in _WORDS:
            self.at += 1
            return _WORDS[token.text]
        return self._number_or_dim()

    def _list(self) -> tuple[Any, ...]:
        return tuple([self.attribute() for _ in self._items("[", "]")])

    def _number_or_dim(self) -> Any:
        start = self.at
        negative = self.accept("-")
        if self.token.kind == "float" or self.token.text in ("inf", "nan"):
            value = float(self.token.text)
            self.at += 1
            return -value if negative else value
        self.at = start
        self._skip_expression()
        begin, end = self.tokens[start].start, self.tokens[self.at - 1].end
        with self._located(begin):
            return parse_dim(self.text[begin:end])

    def _skip_expression(self) -> None:
        while True:
            self.accept("-")
            if self.accept("("):
                with self._nested():
                    self._skip_expression()
                self.expect(")")
            elif self.token.kind in ("int", "word"):
                self.at += 1
            else:
                self.fail(f"expected a value, found {self.token.text!r}")
            if self.token.text not in ("+", "-", "*", "//"):
                return
            self.at += 1

    def _literal(self) -> Literal:
        form = self.expect("word")
        self.expect("(")
        type_ = self.type()
        self.expect(",")
        if form.text == "digest":
            token = self.expect("string")
            digest = json.loads(token.text)
            if digest not in self.constants:
                fix = "pass the arrays of large constants: parse(text, graph.constants())"
                self.fail(f"the constant {digest} was not given", token.start, fix)
            literal = Literal(self.constants[digest], type_.dtype)
            if literal.digest != digest:
                self.fail(f"the constant given as {digest} is another one", token.start)
        else:
            start = self.token.start
            elements = self._list()
            try:
                with np.errstate(over="raise"):
                    array = np.array(elements, dtype=type_.dtype.numpy).reshape(type_.shape)  # type: ignore[arg-type]
            except (ValueError, TypeError, ArithmeticError) as error:
                self.fail(f"these elements do not make a {type_}: {error}", start)
            literal = Literal(array, type_.dtype)
        if literal.type != type_:
            self.fail(f"the constant is {literal.type}, the text says {type_}", form.start)
        self.expect(")")
        return literal

    def _located(self, position: int) -> _Located:
        return _Located(self, position)


class _Located:
    """Turns an error raised within the block into a ParseError at ``position``."""

    def __init__(self, parser: _Parser, position: int) -> None:
        self.parser = parser
        self.position = position

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, CauceError) and not isinstance(error, ParseError):
            self.parser.fail(error.what, self.position, error.fix)


def _name_of(token: _Token) -> str:
    name = token.text[1:]
    return str(json.loads(name)) if name.startswith('"') else name


def _key_of(token: _Token) -> str:
    return token.text[0] + _name_of(token)
