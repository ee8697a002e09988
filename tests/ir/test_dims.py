"""Dimensions: the canonical form, its arithmetic, its text, and what can be learnt from sizes."""

from __future__ import annotations

import math
import random
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir.dims import (
    Dim,
    DimExpr,
    as_dim,
    ceil_div,
    divide_exactly,
    parse_dim,
    product,
    sizes,
    solve,
    substitute,
    symbol,
    symbols,
)
from cauce.ir.errors import ShapeError

N, C, H, W = map(symbol, "NCHW")

# An expression as plain data: an int, the name of a symbol, or (operator, left, right).
Expr: TypeAlias = "int | str | tuple[str, Expr, Expr]"


def positive() -> st.SearchStrategy[Expr]:
    """Expressions that are at least 1 for all sizes: what may stand below a floor division."""
    leaf: st.SearchStrategy[Expr] = st.one_of(st.integers(1, 6), st.sampled_from("NCHW"))
    return st.recursive(leaf, lambda e: st.tuples(st.sampled_from("+*"), e, e), max_leaves=3)


def expressions() -> st.SearchStrategy[Expr]:
    leaf: st.SearchStrategy[Expr] = st.one_of(st.integers(-9, 9), st.sampled_from("NCHW"))

    def deeper(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
        bottom = st.one_of(positive(), st.integers(-5, -1))
        return st.one_of(
            st.tuples(st.sampled_from("+-*"), inner, inner), st.tuples(st.just("//"), inner, bottom)
        )

    return st.recursive(leaf, deeper, max_leaves=8)


def bindings() -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries({name: st.integers(1, 40) for name in "NCHW"})


def as_symbolic(expr: Expr) -> Dim:
    return _compute(expr, {name: symbol(name) for name in "NCHW"})


def _compute(expr: Expr, values: dict[str, Dim]) -> Dim:
    if isinstance(expr, int):
        return expr
    if isinstance(expr, str):
        return values[expr]
    operator, left, right = expr
    a, b = _compute(left, values), _compute(right, values)
    match operator:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case _:
            return a // b


@given(expressions(), bindings())
def test_an_expression_is_worth_what_integers_give(expr: Expr, values: dict[str, int]) -> None:
    assert substitute(as_symbolic(expr), values) == _compute(expr, dict(values))


@given(expressions())
def test_text_reads_back(expr: Expr) -> None:
    dim = as_symbolic(expr)
    again = parse_dim(str(dim))
    assert again == dim and hash(again) == hash(dim) and str(again) == str(dim)


@given(expressions(), bindings())
def test_text_is_python(expr: Expr, values: dict[str, int]) -> None:
    assert eval(str(as_symbolic(expr)), dict(values)) == _compute(expr, dict(values))


@given(expressions(), expressions(), expressions())
def test_laws_of_arithmetic_hold_as_equality(x: Expr, y: Expr, z: Expr) -> None:
    a, b, c = as_symbolic(x), as_symbolic(y), as_symbolic(z)
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) + c == a + (b + c)
    assert (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0
    assert a - b == -(b - a)
    assert a * 0 == 0 and a * 1 == a


@given(expressions(), st.integers(1, 9), st.integers(1, 9), st.integers(-9, 9))
def test_laws_of_floor_division_hold_as_equality(x: Expr, b: int, c: int, k: int) -> None:
    a = as_symbolic(x)
    assert (a * b) // b == a
    assert (a + k * b) // b == a // b + k
    assert (a * c) // (b * c) == a // b
    assert a // -b == (-a) // b


@given(expressions(), expressions(), bindings())
def test_substitution_of_expressions(x: Expr, y: Expr, values: dict[str, int]) -> None:
    inner, outer = as_symbolic(x), as_symbolic(y)
    whole = substitute(inner, values)
    try:
        replaced = substitute(outer, {"H": inner})
        expected = substitute(outer, {**values, "H": whole})
    except ZeroDivisionError:
        return  # the value of x need not be positive, so a denominator may vanish
    assert symbols(replaced) <= (symbols(outer) - {"H"}) | symbols(inner)
    assert substitute(replaced, values) == expected


@given(st.dictionaries(st.tuples(*[st.integers(0, 2)] * 3), st.integers(-5, 5), max_size=6))
def test_equal_polynomials_are_equal_in_whatever_order_they_are_built(
    terms: dict[tuple[int, int, int], int],
) -> None:
    def build(order: list[tuple[tuple[int, int, int], int]], *, halves: bool) -> Dim:
        total: Dim = 0
        for powers, coefficient in order:
            factors: list[Dim] = [s for s, power in zip((N, H, W), powers) for _ in range(power)]
            if halves:
                factors.reverse()
            total = total + coefficient * product(tuple(factors))
        return total

    order = list(terms.items())
    shuffled = order[:]
    random.Random(0).shuffle(shuffled)
    first, second = build(order, halves=False), build(shuffled, halves=True)
    assert first == second and hash(first) == hash(second) and str(first) == str(second)
    assert first + N * W != second


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (N, "N"),
        ((H - 1) // 2 + 1, "(H + 1)//2"),
        ((H + 2 - 3) // 2 + 1, "(H + 1)//2"),
        ((H + 2 * 3 - 7) // 2 + 1, "(H + 1)//2"),
        (H // 2 // 3, "H//6"),
        (((H + 1) // 2 + 1) // 2, "(H + 3)//4"),
        ((2 * H + 1) // 2, "H"),
        ((4 * H + 2) // 6, "(2*H + 1)//3"),
        ((3 * H + N) // 3, "H + N//3"),
        ((H + W) // 2 * 2, "2*((H + W)//2)"),
        (N * (H // 2) * (W // 2), "(H//2)*N*(W//2)"),
        (N * H // N, "H"),
        (H // N, "H//N"),
        (12 // N, "(12)//N"),
        (H // (N + 1), "H//(N + 1)"),
        (5 - H, "-H + 5"),
        (-(H // 2), "-(H//2)"),
        (5 - H // 2, "-(H//2) + 5"),
        (N * H - H // 2, "H*N - H//2"),
        (H * H - 2 * H * W, "H*H - 2*H*W"),
        (0 * H + 3, "3"),
        (ceil_div(H, 2), "(H + 1)//2"),
    ],
)
def test_canonical_text(dim: Dim, text: str) -> None:
    assert str(dim) == text
    assert parse_dim(text) == dim


def test_a_known_size_is_an_int() -> None:
    for dim in (H - H + 3, (2 * H + 1) // 2 - H, N * 0, (H * 4 + 8) // 4 - H):
        assert type(dim) is int
    assert H + 0 == H and isinstance(H + 0, DimExpr)


def test_repr_and_equality_with_other_things() -> None:
    assert repr(H + 1) == "<dim H + 1>"
    assert H != "H" and H != 1 and symbol("H") == H
    assert {H: 1}[symbol("H")] == 1


@given(expressions(), positive())
def test_exact_division_of_a_product(x: Expr, y: Expr) -> None:
    a, b = as_symbolic(x), as_symbolic(y)
    assert divide_exactly(a * b, b) == a


@given(expressions(), positive(), bindings())
def test_exact_division_is_right_where_it_answers(x: Expr, y: Expr, values: dict[str, int]) -> None:
    a, b = as_symbolic(x), as_symbolic(y)
    quotient = divide_exactly(a, b)
    if quotient is not None:
        assert quotient * b == a


def test_exact_division_refuses() -> None:
    assert divide_exactly(N * 6, 4) is None
    assert divide_exactly(N + 1, N) is None
    assert divide_exactly(N, 0) is None
    assert divide_exactly(N * C * 7 * 7, N) == C * 49
    assert divide_exactly(12, 4) == 3


@given(st.integers(1, 50), st.integers(1, 9))
def test_ceil_div(size: int, divisor: int) -> None:
    assert ceil_div(size, divisor) == math.ceil(size / divisor)
    assert substitute(ceil_div(H, divisor), {"H": size}) == math.ceil(size / divisor)


# ---- learning sizes ----------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(-5, 5), st.integers(1, 30))
def test_solve_finds_a_linear_symbol(factor: int, offset: int, size: int) -> None:
    known: dict[str, int] = {}
    assert solve(factor * H + offset, factor * size + offset, known) is True
    assert known == {"H": size}


def test_solve_decides_or_says_that_it_cannot() -> None:
    known = {"N": 4}
    assert solve(3, 3, known) is True and solve(3, 4, known) is False
    assert solve(N, 4, known) is True and solve(N, 5, known) is False
    assert solve(N * H, 12, known) is True and known["H"] == 3
    assert solve(2 * W, 7, known) is False
    assert solve(W + 5, 2, known) is False
    assert solve(C * W, 12, known) is None
    assert solve(C // 2, 3, known) is None
    assert known == {"N": 4, "H": 3}


# ---- what a user may write ---------------------------------------------------------------------


def test_as_dim() -> None:
    assert as_dim("N") == N
    assert as_dim(" (H - 1)//2 + 1 ") == (H + 1) // 2
    assert as_dim(H) is H
    assert as_dim(7) == 7 and type(as_dim(np.int32(7))) is int
    assert as_dim(0) == 0


@pytest.mark.parametrize("wrong", [-1, "-1", "2 - 3", 1.0, None, True, [3], "H +", "", "H/2"])
def test_as_dim_refuses(wrong: object) -> None:
    with pytest.raises(ShapeError) as caught:
        as_dim(wrong)
    assert caught.value.fix


@pytest.mark.parametrize(
    "wrong",
    ["H ** 2", "f(H)", "H//0", "1.5", "'H'", "True", "H; W", "H % 2", "~H", "None", "x.y"],
)
def test_parse_dim_refuses(wrong: str) -> None:
    with pytest.raises(ShapeError, match="is not a dimension"):
        parse_dim(wrong)


@pytest.mark.parametrize("wrong", ["none", "true", "f32", "bf16", "u8", "inf", "graph", "é", "a-b"])
def test_names_that_the_text_form_could_not_read_back(wrong: str) -> None:
    with pytest.raises(ShapeError, match=f"'{wrong}' cannot name a dimension"):
        symbol(wrong)


def test_sizes_are_known_or_an_error() -> None:
    assert sizes((2, 3)) == (2, 3)
    with pytest.raises(ShapeError, match=r"dimension \(H \+ 1\)//2 is not known"):
        sizes((2, (H + 1) // 2))


def test_product() -> None:
    assert product(()) == 1
    assert product((N, 3, H, 2)) == 6 * N * H


def test_symbols() -> None:
    assert symbols(3) == frozenset()
    assert symbols((H + N) // 2 * W + H // (C + 1)) == frozenset("HNWC")
