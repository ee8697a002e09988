"""Random networks: no pass changes what they compute, and all ops and rules take part."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from cauce.ir import Graph, registry
from tests.net import growers
from tests.networks import networks, several

from .golden import RULES
from .motifs import motifs
from .survey import PIPELINES, Survey, survey, table

many = settings(max_examples=min(several(), 300))


@many
@given(networks())
def test_passes_keep_what_networks_compute(graph: Graph) -> None:
    Survey().check(graph, PIPELINES)


@many
@given(networks(training=True, most=5))
def test_passes_keep_gradients_and_updates(graph: Graph) -> None:
    Survey().check(graph, PIPELINES)


def test_every_op_has_a_grower() -> None:
    ops = {op for op in registry().values() if op.__module__.startswith("cauce.")}
    missing = sorted(op.name for op in ops - growers().keys())
    assert not missing, f"write a grower in tests/growers_*.py for {', '.join(missing)}"


def test_every_rule_has_a_motif() -> None:
    assert motifs().keys() == RULES.keys()


def test_every_op_and_rule_takes_part(pytestconfig: pytest.Config) -> None:
    """The counts are written to ``.pytest_cache/d/networks/coverage.txt``, and printed by
    ``python -m tests.coverage_report``."""
    counts = survey(examples=2 if settings().max_examples < 100 else 12)
    text = table(counts)
    print(text)
    cache = getattr(pytestconfig, "cache", None)  # there is none under -p no:cacheprovider
    if cache is not None:
        (cache.mkdir("networks") / "coverage.txt").write_text(text + "\n")
    assert set(growers()) == {registry()[name] for name in counts.ops}
    assert counts.fired.keys() == RULES.keys()
    assert counts.wild <= counts.networks / 20
