"""The top level of a graph: boxes in layers."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cauce
from cauce.ir.errors import MissingExtra
from cauce.pages.graph_data import GraphData, Texts
from cauce.pages.layout import sugiyama, top_levels


def test_a_chain_goes_down_in_one_column() -> None:
    found = sugiyama(["a", "b", "c"], [("a", "b"), ("b", "c")])
    assert [layer for layer, _ in found] == [0, 1, 2]
    assert len({x for _, x in found}) == 1


def test_a_diamond_has_two_boxes_side_by_side() -> None:
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
    layers, across = zip(*sugiyama(list("abcd"), edges))
    assert layers == (0, 1, 1, 2)
    assert abs(across[1] - across[2]) >= 1


def test_sources_come_down_to_their_first_reader() -> None:
    edges = [("a", "b"), ("b", "c"), ("late", "c")]
    assert [layer for layer, _ in sugiyama(["late", "a", "b", "c"], edges)] == [1, 0, 1, 2]


def test_nothing_and_edges_that_go_back() -> None:
    assert sugiyama([], []) == []
    assert [layer for layer, _ in sugiyama(["a", "b"], [("b", "a"), ("a", "b")])] == [0, 1]


def test_a_value_that_is_read_everywhere_is_no_trouble() -> None:
    order = [str(number) for number in range(1500)]
    edges = [*pairwise(order), *(("0", other) for other in order[1:])]
    found = sugiyama(order, edges)
    assert [layer for layer, _ in found] == list(range(1500))


@given(st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11))))
def test_edges_lead_down_and_boxes_do_not_meet(pairs: set[tuple[int, int]]) -> None:
    order = [str(number) for number in range(12)]
    found = sugiyama(order, [(str(a), str(b)) for a, b in pairs if a != b])
    for a, b in pairs:
        if a < b:
            assert found[a][0] < found[b][0]
    for layer in {layer for layer, _ in found}:
        places = sorted(x for other, x in found if other == layer)
        assert all(after - before >= 0.99 for before, after in pairwise(places))


def test_parameters_and_what_is_made_of_them_have_no_box() -> None:
    model = cauce.models.resnet20.init(image=("N", 3, 32, 32))
    records = GraphData(Texts(), {"N": 1}).records(model.graph)
    tops = top_levels(records)
    assert {"0:image", "0:conv1", "0:stage1"} <= tops.keys()
    assert len(tops) < 12
    layers = {key: layer for key, (layer, _) in tops.items()}
    assert layers["0:image"] < layers["0:conv1"] < layers["0:stage1"] < layers["0:stage2"]


def test_without_igraph_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(MissingExtra, match=r"pip install .*igraph"):
        sugiyama(["a"], [])
