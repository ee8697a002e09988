"""Random networks over the whole registry: exported, and on every backend that runs."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings

from cauce.backends.executable import Executable
from cauce.backends.onnx import export
from cauce.ir import Array, Graph
from cauce.ir.pass_manager import run_passes
from cauce.ir.validation import Feeds
from cauce.passes.pipelines import FUSE, TRAINING
from tests.guarded import guarded
from tests.networks import apart, feeds_for, networks, results_of, tame

from ..facets.test_backends import FEWER, PROGRAMS
from .onnx_models import run

# Relative to the greatest element of a result.
EXPORTED = 1e-4
TOLERANCE = {"f32": 1e-5, "f64": 1e-12}
EXAMPLES = settings.default.max_examples


def wanted(graph: Graph, tolerance: float) -> tuple[Feeds, dict[str, Array]]:
    """Feeds and what the reference gives, for networks that all right evaluations agree on."""
    feeds = feeds_for(graph)
    assume(tame(graph, feeds, relative=tolerance / 10, amplification=3))
    return feeds, results_of(graph, feeds)


def hold(found: dict[str, Array], expected: dict[str, Array], tolerance: float) -> None:
    """Same names, shapes and dtypes, and values within the tolerance."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        assert apart(found[name], array) <= tolerance, name


@pytest.mark.parametrize("training", [False, True])
def test_export_is_onnx_runtime(training: bool) -> None:
    @settings(max_examples=2 * EXAMPLES)
    @given(networks(dtype="f32", training=training, most=5 if training else 8))
    def check(graph: Graph) -> None:
        feeds, expected = wanted(graph, EXPORTED)
        found = run(export(graph), feeds)
        names = [*graph.outputs, *(f"{target.name}.new" for target in graph.updates)]
        hold(dict(zip(expected, (found[name] for name in names))), expected, EXPORTED)

    check()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("backend", PROGRAMS)
def test_backend_is_the_reference(backend: str, dtype: str, training: bool) -> None:
    @settings(max_examples=max(4, EXAMPLES // FEWER.get(backend, 1)))
    @given(networks(dtype=dtype, training=training, most=5 if training else 8))
    def check(graph: Graph) -> None:
        feeds, expected = wanted(graph, TOLERANCE[dtype])
        compiled = graph.copy()
        run_passes(compiled, (*TRAINING, *FUSE))
        executable = Executable(PROGRAMS[backend](compiled))
        interface = executable.program.interface
        executable.load_state_dict(guarded({v.name: feeds[v.name] for v in interface.fixed}))
        held = {value.name: feeds[value.name] for value in interface.updated}
        state = executable.new_state(held) if held else None
        called = guarded({value.name: feeds[value.name] for value in executable.inputs})
        found = executable.run(called, state)
        after = state.read() if state else {}
        updates = {f"update {value.name}": after[value.name] for value in graph.updates}
        hold({**found, **updates}, expected, TOLERANCE[dtype])

    check()
