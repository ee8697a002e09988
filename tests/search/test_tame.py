"""Which networks are wild: two right evaluations of them may differ."""

from __future__ import annotations

import numpy as np
import pytest

from cauce.ir import Graph, parse

from ..networks import otherwise_rounded, results_of, tame

# A floor that all of the first channel, of three images, lies at; in f32 it is no sum of halves.
SOURCE = """graph g(%x: f32[3,2,3,5], %floor: f32[2,1,1]) -> f32[3,2,3,5] {
  @scale: f32[2] parameter
  @shift: f32[2] parameter
  %above = maximum(%x, %floor) : f32[3,2,3,5]
  %y, %mean, %variance = batch_norm_train(%above, @scale, @shift) : f32[3,2,3,5], f32[2], f32[2]
  return %y
}"""


def judged(floor: float, graph: Graph) -> bool:
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.standard_normal((3, 2, 3, 5), np.float32),
        "floor": np.float32([floor, -9]).reshape(2, 1, 1),
        "scale": np.ones(2, np.float32),
        "shift": np.zeros(2, np.float32),
    }
    return tame(graph, feeds, relative=1e-6, amplification=3)


def test_a_batch_norm_of_a_constant_channel_is_wild() -> None:
    """The rounding of its mean, divided by the square root of epsilon, is all there is of it."""
    assert judged(-9.7, parse(SOURCE)) and judged(0.3, parse(SOURCE))
    assert not judged(9.7, parse(SOURCE))


@pytest.mark.parametrize("op", ["relu", "transpose", "neg", "abs"])
def test_what_nothing_rounds_is_never_otherwise(op: str) -> None:
    axes = " perm=[1, 0]" if op == "transpose" else ""
    graph = parse(
        f"graph g(%x: f32[4,4]) -> f32[4,4] {{\n  %y = {op}(%x){axes} : f32[4,4]\n  return %y\n}}"
    )
    x = np.random.default_rng(0).standard_normal((4, 4), np.float32)
    assert (
        otherwise_rounded(graph, {"x": x})["y"].tobytes()
        == results_of(graph, {"x": x})["y"].tobytes()
    )


def test_what_is_rounded_is_a_float_beside() -> None:
    graph = parse(
        "graph g(%x: f32[50], %y: f32[50]) -> f32[50] {\n"
        "  %z = mul(%x, %y) : f32[50]\n  return %z\n}"
    )
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal(50, np.float32) for name in "xy"}
    feeds["y"][:10] = 0.5
    plain, other = results_of(graph, feeds)["z"], otherwise_rounded(graph, feeds)["z"]
    np.testing.assert_array_equal(plain[:10], other[:10])
    assert (plain[10:] != other[10:]).sum() >= 38
    np.testing.assert_array_max_ulp(plain, other, 1)
