"""The search finds what is wrong, keeps it, makes it small, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from cauce.backends.llvm.codegen.code import NodeCode
from cauce.backends.llvm.registry import _REGISTRY, ElementwiseFacts, Registration
from cauce.backends.llvm.runtime.memory import GUARD
from cauce.backends.numpy import KERNELS
from cauce.ir import Graph, Value
from cauce.ir.ops.activation import Relu, Tanh

from ..stand_ins import forget_relu
from . import __main__ as command
from . import shrink
from .__main__ import Record, search
from .shrink import failing, shrunk
from .trial import PARTS, WAYS, Failure, drawn, going, hold, trial

INFERENCE = PARTS["inference-f32"]


def network(*ops: str) -> Graph:
    """A chain of ops on an image."""
    from cauce.ir import Builder, DType, TensorType, registry

    graph = Graph("net")
    value: Value = graph.add_input("x", TensorType(DType.F32, (3, 2, 4, 5)))
    for op in ops:
        value = Builder(graph)(registry()[op](), value)
    graph.outputs = {"y": value}
    return graph


def test_a_seed_gives_the_same_network_each_time() -> None:
    for part in PARTS.values():
        assert str(drawn(part, 7)[0]) == str(drawn(part, 7)[0])
    texts = {str(drawn(part, seed)[0]) for part in PARTS.values() for seed in range(5)}
    assert len(texts) == 5 * len(PARTS)


def test_parts_give_what_their_names_say() -> None:
    for seed in range(10):
        assert not any(name.startswith("grad") for name in drawn(INFERENCE, seed)[0].outputs)
        step = drawn(PARTS["step-f64"], seed)[0]
        loss = step.outputs.get("loss")
        assert loss is not None and loss.type.dtype.name == "F64"
    grads = [drawn(PARTS["gradients-f32"], seed)[0].outputs for seed in range(10)]
    assert any(name.startswith("grad") for outputs in grads for name in outputs)
    assert any(drawn(PARTS["step-f32"], seed)[0].updates for seed in range(10))


def test_what_is_right_agrees() -> None:
    assert trial(network("tanh", "relu"), {}, "f32", 0)


# ---- what is wrong is found --------------------------------------------------------------------


def test_a_wrong_kernel_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KERNELS, Tanh, lambda op, pool, x: np.tanh(x) * np.float32(1.001))
    with pytest.raises(Failure, match="numpy differs: numpy: y by "):
        trial(network("tanh"), {}, "f32", 0)


def test_what_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_REGISTRY, Relu, Registration(ElementwiseFacts(), lambda code: None))
    with pytest.raises(Failure, match="native differs"):
        trial(network("relu"), {}, "f32", 0)


def test_an_emitter_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(code: NodeCode) -> None:
        raise ValueError("no such code")

    monkeypatch.setitem(_REGISTRY, Relu, Registration(ElementwiseFacts(), refuse))
    with pytest.raises(Failure, match="compile raised ValueError: no such code"):
        trial(network("relu"), {}, "f32", 0)


def test_bits_that_depend_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    compute = np.float32(1) + np.float32(2**-22)

    def results(program, graph, feeds):  # type: ignore[no-untyped-def]
        y = np.tanh(feeds["x"])
        return {"y": y * compute if os.environ.get(GUARD) == "begin" else y}

    monkeypatch.setattr("tests.search.trial.results", results)
    with pytest.raises(Failure, match=r"bits: y has other bits with .*begin"):
        trial(network("tanh"), {}, "f32", 0)


def test_results_of_other_names_shapes_and_dtypes() -> None:
    zeros = np.zeros((2, 3), np.float32)
    hold("numpy", {"y": zeros}, {"y": zeros}, 1e-5)
    for other in (
        {"z": zeros},
        {"y": zeros[:1]},
        {"y": zeros.astype(np.float64)},
        {"y": zeros + 1},
    ):
        with pytest.raises(Failure):
            hold("numpy", other, {"y": zeros}, 1e-5)


def test_every_way_has_its_guard() -> None:
    for way in WAYS:
        with going(way):
            assert os.environ.get(GUARD, "") == way.guard
    assert {way.guard for way in WAYS} == {"", "begin", "end"} and {w.threads for w in WAYS} == {
        1,
        2,
    }


# ---- made smaller ------------------------------------------------------------------------------


def test_what_fails_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a chain of kernels without their relu one anchor op and its relu remain."""
    forget_relu(monkeypatch)
    graph = network("exp", "tanh", "abs", "neg", "sum", "relu")
    graph.outputs["more"] = graph.value("tanh")
    small, failure = shrunk(graph, {}, "f32", 0)
    assert failure.kind == "native differs"
    assert [node.op.name for node in small.nodes][-2:] == ["sum", "relu"]
    assert len(list(small.nodes)) <= 3 and list(small.outputs) == ["y"]


def test_a_crash_ends_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(graph: Graph, *rest: object) -> bool:
        if any(isinstance(node.op, Tanh) for node in graph.nodes):
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    monkeypatch.setattr(shrink, "trial", crash)
    assert failing(network("relu"), {}, "f32", 0) is None
    small, failure = shrunk(network("relu", "tanh", "relu", "exp"), {}, "f32", 0)
    assert str(failure) == "crash: SIGKILL"
    assert [node.op.name for node in small.nodes] == ["tanh"]
    with pytest.raises(ValueError, match="does not fail"):
        shrunk(network("relu"), {}, "f32", 0)


# ---- kept --------------------------------------------------------------------------------------


def worker(text: str) -> tuple[str, ...]:
    """A stand-in for the worker: ``part``, ``first`` and ``count`` are there for the code."""
    head = "import json, os, sys; part, first, count = sys.argv[1], *map(int, sys.argv[2:])\n"
    return (sys.executable, "-c", head + text)


def test_the_search_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "for s in range(first, first + count): print(json.dumps({'seed': s, 'found': 'agree'}))"
    monkeypatch.setattr(command, "WORKER", worker(text))
    monkeypatch.setattr(command, "BATCH", 4)
    for until in (6, 6, 13):
        search(Record(tmp_path, "step-f32"), until)
        again = Record(tmp_path, "step-f32")
        assert (again.counts["next"], again.counts["agree"]) == (until, until)
    assert Record(tmp_path, "step-f64").counts["next"] == 0
    assert "13 networks: 13 agree, 0 wild, 0 failed" in str(again)


def test_failures_and_crashes_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One network differs, and another ends its process: the search goes on behind it."""
    text = """
for seed in range(first, first + count):
    if seed == 3:
        os.kill(os.getpid(), 11)
    wrong = {"found": "failed", "message": "it differs", "graph": "g"}
    print(json.dumps({"seed": seed, **(wrong if seed == 1 else {"found": "wild"})}), flush=True)
"""
    monkeypatch.setattr(command, "WORKER", worker(text))
    record = Record(tmp_path, "inference-f32")
    search(record, 6)
    assert record.counts == {"next": 6, "agree": 0, "wild": 4, "failed": 2, "seconds": 0.0}
    lines = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert [(line["part"], line["seed"]) for line in lines] == [
        ("inference-f32", n) for n in (1, 3)
    ]
    assert lines[0]["message"] == "it differs" and "SIGSEGV" in lines[1]["message"]
    assert lines[1]["graph"] == str(drawn(INFERENCE, 3)[0])


def test_the_command_runs_real_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--parts", "inference-f64", "--networks", "3", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["search", *options])
    assert command.main() == 0
    assert "3 networks: 3 agree" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["search", "--parts", "inference-f64", "--seed", "0"])
    assert command.main() == 0
    assert "all agree" in capsys.readouterr().out
