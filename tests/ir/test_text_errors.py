"""The errors of the text form, each with the line and the column that it points at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir import parse, verify
from cauce.ir.errors import ParseError

from .test_text import GOLDEN

HEADER = "graph g(%x: f32[N,4], %i: i64[N]) -> f32[N,4] {\n"


def body(*lines: str) -> str:
    return HEADER + "\n".join(f"  {line}" for line in lines) + "\n}"


GOOD = "%y = relu(%x) : f32[N,4]"

MISTAKES = [
    # text, line, column, part of the message
    ("", 1, 1, "expected 'graph', found the end of the text"),
    ("grap g() -> () { return }", 1, 1, "expected 'graph', found 'grap'"),
    ("graph g() -> () { return } graph", 1, 28, "expected 'end', found 'graph'"),
    ("graph g(%x f32[]) -> f32[] { return %x }", 1, 12, "expected ':', found 'f32[]'"),
    ("graph g(%x: f33[]) -> f32[] { return %x }", 1, 13, "'f33' is not a dtype; use one of bool"),
    ("graph g(%x: f32[N) -> f32[N { return %x }", 1, 16, "this [ is never closed"),
    ("graph g(%x: f32) -> f32[] { return %x }", 1, 16, "expected 'type', found ')'"),
    (
        "graph g(%x: f32[N]{1}) -> f32[] { return %x }",
        1,
        19,
        "the layout does not fit 1 dimensions",
    ),
    *(
        (f"graph g(%x: f32[8,8,3,3]{{winograd {text}}}) -> () {{ return }}", 1, 26, "is no layout")
        for text in (
            "2,3,1,0 tile 4 by 8",
            "2,3,1,0 tile 6,6 by 8",
            "2,3,1,0 tile 4,4 by 0",
            "2,3,1,0 tile 4,4 by 8 flip 2",
            "2,3,1,0 tile 4,4 by 8 halo 1,1",
            "0,1,2,3 tile 4,4 by 8",
            "2,3,1,0 by 8",
        )
    ),
    ("graph g(%x: f32[N/2]) -> f32[] { return %x }", 1, 17, "'N/2' is not a dimension"),
    ("graph g(%x: f32[N N]) -> f32[] { return %x }", 1, 17, "is not a dimension"),
    ("graph g(%x: f32[-1]) -> f32[] { return %x }", 1, 17, "cannot be negative, got -1"),
    ("graph g(@x: f32[]) -> f32[] { return @x }", 1, 9, "data inputs start with %"),
    (r'graph "\q"() -> () { return }', 1, 7, "unexpected character '\"'"),
    ('graph g(%"a\tb": f32[]) -> f32[] { return %x }', 1, 9, "unexpected character '%'"),
    ("graph g(%x: f32[], %x: f32[]) -> f32[] { return %x }", 1, 20, "'x' already"),
    (body("@w: f32[4] weight", "return %x"), 2, 14, "expected one of parameter, state"),
    (body("%y = rleu(%x) : f32[N,4]", "return %y"), 2, 8, "there is no op called 'rleu'"),
    (body("%y = relu(%z) : f32[N,4]", "return %y"), 2, 13, "%z is not defined before it is used"),
    (body("%y = relu(%y) : f32[N,4]", "return %y"), 2, 13, "%y is not defined before it is used"),
    (body(GOOD, GOOD, "return %y"), 3, 3, "%y is defined already"),
    (body("@y = relu(%x) : f32[N,4]", "return %y"), 2, 3, "results start with %"),
    (
        body("%y = relu(%x) : f32[N,5]", "return %y"),
        2,
        19,
        "relu gives f32[N,4], the text says f32",
    ),
    (body("%y = relu(%x)", "return %y"), 3, 3, "attribute 'return'"),
    (body("%y = relu(%x %x) : f32[N,4]", "return %y"), 2, 16, "expected ',', found '%x'"),
    (body("%y = relu(%x, %x) : f32[N,4]", "return %y"), 2, 8, "relu takes 1 operand (x), got 2"),
    (
        body("%y = add(%x, %i) : f32[N,4]", "return %y"),
        2,
        8,
        "add: the operands are f32[N,4] and i",
    ),
    (body("%y, %z = relu(%x) : f32[N,4]", "return %y"), 2, 3, "relu has 1 results, not 2"),
    (
        body("%y = relu(%x) : f32[N,4], f32[N,4]", "return %y"),
        2,
        19,
        "1 results, but 2 types",
    ),
    (
        body("%y = sum(%x) axis=[0] : f32[4]", "return %y"),
        2,
        16,
        "sum has no attribute 'axis'; it has axes, keepdims",
    ),
    (
        body("%y = sum(%x) axes=[0] axes=[1] : f32[4]", "return %y"),
        2,
        25,
        "attribute axes is given twice",
    ),
    (body("%y = sum(%x) axes=[0.5] : f32[4]", "return %y"), 2, 8, "axes must be an int, got 0.5"),
    (
        body("%y = sum(%x) axes=[2] : f32[4]", "return %y"),
        2,
        8,
        "sum: axis 2 is out of range for 2",
    ),
    (body("%y = sum(%x) axes= : f32[4]", "return %y"), 2, 22, "expected a value, found ':'"),
    (body("%y = reshape(%x) : f32[N,4]", "return %y"), 2, 8, "reshape needs the attribute shape"),
    (
        body("%y = reshape(%x) shape=[N, 4) : f32[N,4]", "return %y"),
        2,
        31,
        "expected ',', found ')'",
    ),
    (body("%y = reshape(%x) shape=[N, H] : f32[N,4]", "return %y"), 2, 8, "has 4*N elements"),
    (
        body("%y = relu(%x) : f32[N,4] loc(3)", "return %y"),
        2,
        28,
        "a location is written loc(net.py:14)",
    ),
    (
        body("%y = constant() value=dense(f32[2], [1.0]) : f32[2]", "return %y"),
        2,
        39,
        "these elements do not make a f32[2]",
    ),
    (
        body("%y = constant() value=dense(u8[1], [256]) : u8[1]", "return %y"),
        2,
        38,
        "these elements do not make a u8[1]",
    ),
    (
        body("%y = constant() value=dense(f16[1], [1e5]) : f16[1]", "return %y"),
        2,
        39,
        "these elements do not make a f16[1]",
    ),
    (body("%y = sum(%i) : i64[]", "return %y"), 1, 38, "returns (i64[]), not what its header says"),
    (body(GOOD, "return y=%y, y=%y"), 3, 16, "two outputs are called 'y'"),
    (body(GOOD, "return %y", "update %x = %x"), 1, 1, "update of x, which is data"),
    (
        body("@s: f32[] state", GOOD, "return %y", "update @s = @s", "update @s = @s"),
        6,
        10,
        "@s is updated twice",
    ),
    (body("%n = dim() size=H : i64[]", GOOD, "return %y"), 2, 8, "dim uses the dimension H"),
    (body(GOOD, "return %y", "update %y = %x"), 4, 10, "only an input (@name) can be updated"),
    (body(GOOD), 3, 1, "expected 'return', found '}'"),
    (HEADER + "  return %x", 2, 12, "expected '}', found the end of the text"),
    (body('%y = relu(%"x) : f32[N,4]'), 2, 13, "unexpected character '%'"),
    (
        body("%y = clip(%x) min=2.0 max=1.0 : f32[N,4]", "return %y"),
        2,
        8,
        "min 2.0 is above max 1.0",
    ),
    (body("%y = clip(%x) min=nan : f32[N,4]", "return %y"), 2, 8, "nan is no bound"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), MISTAKES)
def test_mistakes_are_found_where_they_are(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    error = caught.value
    assert message in error.what
    assert (error.line, error.column) == (line, column)
    assert error.text == (text.splitlines() or [""])[line - 1]
    assert isinstance(error, ValueError)


def test_a_mistake_is_shown_with_its_line_and_a_mark() -> None:
    with pytest.raises(ParseError) as caught:
        parse(body("%y = rleu(%x) : f32[N,4]", "return %y"))
    lines = str(caught.value).splitlines()
    assert lines[:3] == [
        "line 2, column 8: there is no op called 'rleu'",
        "    %y = rleu(%x) : f32[N,4]",
        "         ^",
    ]
    assert lines[3].startswith(f"  at {__file__}:") and ": parse(body(" in lines[3]
    assert lines[-1].startswith("  fix: did you mean relu")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (body("%y = sum(%x) axes=" + "[" * 100_000), "nested more than 50 deep"),
        (body("%y = sum(%x) axes=" + "(" * 100_000 + "1"), "nested more than 50 deep"),
        (body("%y = expand(%x) shape=[" + "+".join(["N"] * 50_000) + "]"), "too long for a dim"),
        ("graph g(%x: f32[" + "-" * 100_000 + "N]) -> () { return }", "too long for a dimension"),
        ("graph g(%x: f32[" + "(" * 100_000 + "]) -> () { return }", "is not a dimension"),
        ("graph g() -> () { %y = fused() body=" * 5_000, "nested more than 50 deep"),
    ],
    ids=["list", "parentheses", "sum", "signs", "type", "region"],
)
def test_text_without_end_is_a_mistake_as_any_other(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message) as caught:
        parse(text)
    assert len(caught.value.what) < 200


def mutations() -> list[Callable[[str, int], str]]:
    return [
        lambda text, i: text[:i] + text[i + 1 :],
        lambda text, i: text[:i] + text[i] + text[i:],
        lambda text, i: text[: i + 1],
        lambda text, i: text[:i] + "?" + text[i + 1 :],
        lambda text, i: text[:i] + "0" + text[i + 1 :],
        lambda text, i: text[:i] + '"' + text[i + 1 :],
    ]


@given(st.sampled_from(mutations()), st.integers(0, len(GOLDEN) - 1))
def test_damaged_text_is_read_or_refused_and_nothing_else(
    change: Callable[[str, int], str], place: int
) -> None:
    try:
        graph = parse(change(GOLDEN, place))
    except ParseError as error:
        assert error.line >= 1 and 1 <= error.column <= len(error.text) + 1
    else:
        verify(graph)
        assert parse(str(graph), graph.constants()).same_as(graph)
