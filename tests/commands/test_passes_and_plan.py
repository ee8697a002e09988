"""``cauce passes`` and ``cauce plan``."""

from __future__ import annotations

from pathlib import Path

import pytest

import cauce
from cauce.compiler import pipeline
from cauce.ir.pass_manager import run_passes

from .calls import Call


@pytest.mark.parametrize("option", [(), ("--training",)])
@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_passes_are_those_of_compile(
    option: tuple[str, ...], backend: str, folder: Path, model: cauce.Model, call: Call
) -> None:
    graph = (model.training_graph if option else model.graph).copy()
    found = call("passes", "net.safetensors", "--backend", backend, *option, "--json").json
    assert found["before"] == graph.to_text(locations=False)
    run_passes(graph, pipeline(backend, training=bool(option)))
    texts = [step["graph"] for step in found["passes"] if step["changed"]]
    assert texts and texts[-1] == graph.to_text(locations=False)
    if not option:
        assert cauce.compile(model, backend).graph.same_as(graph)
    for step in found["passes"]:
        assert (step["graph"] is not None) == step["changed"]


def test_the_texts_of_passes(folder: Path, call: Call) -> None:
    found = call("passes", "net.safetensors", "--json").json
    out = call("passes", "net.safetensors").out
    assert out.startswith(f"# before {found['passes'][0]['pass']}\n{found['before']}\n")
    names = [line.removeprefix("# after ") for line in out.splitlines() if line[:7] == "# after"]
    assert names == [step["pass"] for step in found["passes"] if step["changed"]]
    assert "loc(" not in out and "loc(" in call("passes", "net.safetensors", "--locations").out


def test_what_passes_change(folder: Path, call: Call) -> None:
    out = call("passes", "net.safetensors", "--diff").out
    assert "+++ after fold_batch_norm" in out
    assert any(line[0] == "-" and "batch_norm(" in line for line in out.splitlines())
    applied = call("passes", "net.safetensors", "--json").json
    count = sum(step["changed"] for step in applied["passes"])
    assert out.count("\n+++ ") == count


def test_a_line_for_each_pass(folder: Path, call: Call) -> None:
    steps = call("passes", "net.safetensors", "--json").json["passes"]
    out = call("passes", "net.safetensors", "--summary").out.splitlines()
    assert len(out) == len(steps) + 2
    fired = {rule: times for step in steps for rule, times in step["rules"].items()}
    assert fired and all(times >= 1 for times in fired.values())
    assert all(rule in "\n".join(out) for rule in fired)


def test_plan(folder: Path, model: cauce.Model, call: Call) -> None:
    pytest.importorskip("llvmlite")
    executable = cauce.compile(model)
    assert call("plan", "net.safetensors").out == f"{executable.plan()}\n"
    sized = call("plan", "net.safetensors", "--size", "N=2", "--json").json
    assert sized == {"model": "small", "backend": "llvm", "plan": executable.plan(N=2)}
    code = call("plan", "net.safetensors", "--code", "llvm", "--layer", "conv1")
    assert code.out == f"{executable.code('llvm', 'conv1')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "M=2"], "no symbol called 'M'"),
        (["--layer", "conv1"], "add --code"),
        (["--code", "llvm", "--layer", "conv9"], "no code belongs to a layer called 'conv9'"),
        (["--backend", "numpy", "--code", "llvm"], "the numpy backend generates no code"),
        (["--backend", "nunpy"], "no backend 'nunpy'"),
    ],
)
def test_plans_that_are_refused(
    arguments: list[str], message: str, folder: Path, call: Call
) -> None:
    done = call("plan", "net.safetensors", *arguments)
    assert done.code == 1 and message in done.err
