"""Launches that differ in integers alone share one function."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.llvm.build import build
from cauce.backends.llvm.codegen import merge, plan
from cauce.backends.llvm.codegen.builder import Function, Module
from cauce.backends.llvm.codegen.code import PARAMETERS
from cauce.backends.llvm.target import Target


def written(stride: int, stop: int, start: int = 0, lanes: int = 4) -> Function:
    """A function that stores vectors of ones at a stride."""
    f = Function("kernel", PARAMETERS)
    table, *_ = f.parameters
    target = f.load(table, "ptr", 8)
    with f.loop(stop, start) as loop:
        one = f.value(
            "insertelement <4 x i32> <i32 1, i32 1, i32 1, i32 1>, i32 2, i64 3", "<4 x i32>"
        )
        f.store(one, f.at(target, f.mul(loop.index, stride), lanes), 4)
    f.ret()
    return f


def shared(functions: Sequence[Function]) -> tuple[Module, list[str]]:
    module = Module()
    merge.share_similar(module, functions)
    return module, [function.name for function in functions]


def test_alike_functions_become_one_with_a_table_each() -> None:
    functions = [written(3, 70), written(5, 90), written(3, 70)]
    module, names = shared(functions)
    assert len(set(names)) == 1
    first, second, third = (function.integers for function in functions)
    assert first == third != second and first is not None and second is not None
    tables = dict(re.findall(r"^(@\S+) = private constant (.*)", "\n".join(module.functions), re.M))
    # The stride and the end of the loop; the four bytes of an element are the same.
    assert re.findall(r"i64 (\d+)", tables[first.text]) == ["3", "70"]
    assert re.findall(r"i64 (\d+)", tables[second.text]) == ["5", "90"]
    body, *others = (text for text in module.functions if "mul nsw" in text)
    assert not others and "<i32 1, i32 1, i32 1, i32 1>, i32 2, i64 3" in body
    assert re.search(r"mul nsw i64 %\w+, %integer0", body)


def test_groups_that_become_the_same_function_have_tables_of_their_own() -> None:
    module = Module()
    functions = [written(3, 70), written(5, 90)], [written(7, 70), written(9, 91)]
    for group in functions:
        merge.share_similar(module, group)
    found = [function for group in functions for function in group]
    assert len({function.name for function in found}) == 1
    assert len({function.integers for function in found}) == 4
    assert len(module.functions) == 5


def test_what_reads_sizes_stays() -> None:
    functions = [written(3, 70), written(5, 90)]
    for function in functions:
        function.lines.insert(0, "  %size = load i64, ptr %dims, align 8")
    _, names = shared(functions)
    assert len(set(names)) == 2 and not any(function.integers for function in functions)


def test_different_instructions_stay_apart() -> None:
    functions = [written(3, 70), written(1, 70)]  # times one is no instruction
    module, names = shared(functions)
    assert len(set(names)) == 2 and not any("constant" in text for text in module.functions)
    assert not any(function.integers for function in functions)


def test_a_function_of_its_own_is_as_it_was() -> None:
    function, same = written(3, 70), written(3, 70)
    text = function.text()
    module, names = shared([function, same])
    assert len(set(names)) == 1 and len(module.functions) == 1
    assert module.functions[0].replace(names[0], "kernel") == text


@pytest.mark.parametrize(
    "line",
    [
        "  store <2 x i64> <i64 5, i64 6>, ptr %v1, align 8",
        "  %v2 = alloca [7 x i64]",
        "  %v2 = getelementptr i8, ptr @kernel.12, i64 %v1",
        "  call void @llvm.prefetch.p0(ptr %v1, i32 0, i32 3, i32 1) ; i64",
        "  %v2 = load i64, ptr %v1, align 8",
        "  %v2 = fptosi double 0x3FF0000000000000 to i64",
        "  %v3 = add i32 %v1, 3",
    ],
)
def test_what_is_no_integer_of_64_bits_stays(line: str) -> None:
    function = written(3, 70)
    function.lines.insert(0, line)
    form, _ = merge._parted(function)
    assert form.startswith(line)


@cauce.network
def layers(image):
    """Convolutions of several shapes: weights are packed and transformed, images have halos."""
    for filters in (8, 16, 24, 40, 64):
        image = nn.relu(nn.conv2d(image, filters, 3, padding=1))
        image = nn.relu(nn.conv2d(image, filters // 2, 1))
        image = nn.batch_norm(nn.conv2d(image, filters, 5, stride=2, padding=2))
    return nn.linear(nn.flatten(image), 10)


@pytest.mark.parametrize("name", ["native", "avx2", "sse2", "scalar"])
def test_results_have_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = layers.init(image=("N", 3, 64, 48), seed=1)
    image = np.random.default_rng(0).standard_normal((3, 3, 64, 48), np.float32)
    if name != "native":
        monkeypatch.setenv("CAUCE_TARGET", name)
    target = Target.host(None if name == "native" else name)
    monkeypatch.setenv("CAUCE_CACHE", "0")
    graph = cauce.compile(model, backend="llvm").graph

    def bodies() -> int:
        return build(graph, target).text.count("define internal void @merged")

    merged = cauce.compile(model, backend="llvm")(image)
    assert bodies() >= 3

    def share(module: Module, functions: Iterable[Function]) -> None:
        for function in functions:
            module.share(function)

    monkeypatch.setattr(plan, "share_similar", share)
    assert not bodies()
    assert cauce.compile(model, backend="llvm")(image).tobytes() == merged.tobytes()


def test_the_code_of_a_layer_has_the_function() -> None:
    model = layers.init(image=("N", 3, 64, 48), seed=1)
    program = cauce.compile(model, backend="llvm")
    paths = {node.path for node in program.graph.nodes if node.op.name == "conv2d"}
    texts = [program.code("llvm", path) for path in paths]
    assert sum(text.count("define internal void @merged") for text in texts)
    for text in texts:
        called = set(re.findall(r"call void (@merged[.0-9]*)", text))
        assert all(f"define internal void {name}(" in text for name in called)
