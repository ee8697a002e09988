"""Which ops are decomposed, and how far."""

from __future__ import annotations

import pytest

from cauce.ir import parse, verify
from cauce.ir.errors import UnsupportedOp
from cauce.ir.ops.elementwise import Add
from cauce.ir.ops.loss import CrossEntropy
from cauce.ir.ops.normalize import BatchNormTrain
from cauce.ir.pass_manager import run_passes
from cauce.ir.validation import TranslationValidation
from cauce.passes.decompose import Decompose

TEXT = """
graph g(%x: f64[N,2], %t: i64[N]) -> f64[] {
  @w: f64[2] parameter
  %bn1, %bn1~mean, %bn1~variance = batch_norm_train(%x, @w, @w) : f64[N,2], f64[2], f64[2]
  %loss = cross_entropy(%bn1, %t) : f64[] loc(net.py:5)
  return %loss
}"""


def ops_after(selects: Decompose) -> set[str]:
    graph = parse(TEXT)
    assert run_passes(graph, [selects], [TranslationValidation()])
    verify(graph)
    return {node.op.name for node in graph.nodes}


def test_everything() -> None:
    names = ops_after(Decompose())
    assert not names & {"batch_norm_train", "batch_norm", "variance", "cross_entropy"}


def test_chosen_ops() -> None:
    assert "batch_norm_train" in ops_after(Decompose((CrossEntropy,)))
    names = ops_after(Decompose((BatchNormTrain,)))
    assert {"batch_norm", "cross_entropy"} <= names and "batch_norm_train" not in names


def test_a_predicate_sees_nodes() -> None:
    assert "cross_entropy" in ops_after(
        Decompose(lambda node: node.path == "bn1" and node.op.is_composite)
    )


def test_nothing_to_do() -> None:
    graph = parse(TEXT)
    before = str(graph)
    assert not Decompose((Add,)).run(graph)
    assert str(graph) == before


def test_a_primitive_is_refused() -> None:
    graph = parse(TEXT)
    Decompose((CrossEntropy,)).run(graph)
    with pytest.raises(UnsupportedOp, match="one_hot is a primitive") as caught:
        Decompose(lambda node: node.op.name == "one_hot").run(graph)
    assert caught.value.path == "loss" and str(caught.value.loc) == "net.py:5"
