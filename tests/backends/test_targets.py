"""Targets: code for every kind of vectors, run where this machine can, and read as assembly."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.llvm.build import build
from cauce.backends.llvm.codegen.assemble import assembly
from cauce.backends.llvm.lowering.kernels import anchor_of
from cauce.backends.llvm.target import ASSUMED, Caches, Target
from cauce.ir import Array, Graph
from cauce.ir.errors import AttributeMistake

from .machine_code import computing_loops, functions, innermost_loops, instructions, spills
from .small_networks import inference

LIMITS = ("avx512", "avx2", "sse2", "neon", "scalar")
X86 = "x86_64-unknown-linux-gnu"
TARGETS = {
    **{name: Target.named(name, X86) for name in ("avx512", "avx2", "sse2", "scalar")},
    "neon": Target.named("neon", "aarch64-unknown-linux-gnu"),
}

# ---- what a target is --------------------------------------------------------------------------


def test_a_target_counts_lanes() -> None:
    assert [TARGETS[name].lanes(4) for name in LIMITS] == [16, 8, 4, 4, 1]
    assert [TARGETS[name].lanes(8) for name in LIMITS] == [8, 4, 2, 2, 1]


@pytest.mark.parametrize(
    "triple, features, expected",
    [
        (X86, {"sse2": True, "avx2": True, "fma": False}, "sse2"),
        (X86, {"sse2": True, "avx2": True, "fma": True, "f16c": True, "avx512f": True}, "avx2"),
        ("aarch64-unknown-linux-gnu", {}, "neon"),
        ("arm64-apple-darwin23", {}, "neon"),
        ("riscv64-unknown-linux-gnu", {"v": True}, "scalar"),
    ],
)
def test_the_widest_vectors_that_a_machine_has(
    triple: str, features: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAUCE_TARGET", raising=False)
    monkeypatch.setattr(llvm, "get_default_triple", lambda: triple)
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: llvm.targets.FeatureMap(features))
    assert Target.host().name == expected
    assert Target.host("scalar").name == "scalar"
    with pytest.raises(AttributeMistake, match="this machine has no avx512"):
        Target.host("avx512")
    monkeypatch.setenv("CAUCE_TARGET", "scalar")
    assert Target.host().name == "scalar"


def test_targets_that_there_are_not() -> None:
    with pytest.raises(AttributeMistake, match="no target called 'avx'") as error:
        Target.named("avx", X86)
    assert "avx512, avx2, sse2, neon, scalar" in str(error.value)


# ---- results -----------------------------------------------------------------------------------


@pytest.fixture(params=LIMITS)
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each kind of vectors that this machine has, as the one that code is generated for."""
    name: str = request.param
    try:
        Target.host(name)
    except AttributeMistake:
        pytest.skip(f"this machine has no {name}")
    monkeypatch.setenv("CAUCE_TARGET", name)
    yield name


@cauce.network
def residual(image):
    """Channels that are whole vectors, with some left over, for every width."""
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 40, 3, padding=1, bias=False)))
    y = nn.batch_norm(nn.conv2d(x, 40, 3, padding=1, bias=False))
    x = nn.relu(x + y)
    x = nn.relu(nn.batch_norm(nn.conv2d(x, 37, 3, stride=2, padding=1, bias=False)))
    return nn.linear(nn.dropout(nn.global_avg_pool(x), 0.1), 11)


@cauce.network
def depthwise(image):
    x = nn.relu6(nn.conv2d(image, 40, 1))
    x = nn.relu6(nn.conv2d(x, 40, 3, stride=2, padding=1, groups=40))
    return nn.conv2d(x, 21, 1)


@cauce.network
def pools(image):
    x = nn.max_pool2d(image, 3, stride=2, padding=1)
    y = nn.adaptive_avg_pool2d(nn.avg_pool2d(nn.sigmoid(x), 2, stride=1), (2, 3))
    return nn.softmax(nn.flatten(y), 1), nn.tanh(x)


SHAPES = {residual: ("N", 3, 9, 7), depthwise: ("N", 5, 9, 7), pools: ("N", 37, 13, 11)}


def images(shape: tuple[str | int, ...], count: int) -> Array:
    rng = np.random.default_rng(count)
    return rng.standard_normal((count, *shape[1:])).astype(np.float32)


@pytest.mark.parametrize("network", SHAPES, ids=lambda network: network.name)
def test_inference(limit: str, network: cauce.Network) -> None:
    model = network.init(image=SHAPES[network], seed=1)
    native, plain = cauce.compile(model, "llvm"), cauce.compile(model, "numpy")
    assert native.program.target.name == limit
    for count in (1, 6):
        image = images(SHAPES[network], count)
        for found, expected in zip(native(image), plain(image), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_training_step(limit: str) -> None:
    model = residual.init(image=SHAPES[residual], seed=1)
    batch = {"image": images(SHAPES[residual], 6), "target": np.arange(6)}
    losses, states = [], []
    for backend in ("llvm", "numpy"):
        optimizer = cauce.SGD(0.1, momentum=0.9)
        step = cauce.TrainStep(model, "cross_entropy", optimizer, backend=backend)
        state = step(step.init(seed=3), batch)
        losses.append(state.loss)
        states.append(state.read())
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for name, expected in states[1].items():
        np.testing.assert_allclose(states[0][name], expected, rtol=1e-3, atol=1e-5, err_msg=name)


def test_doubles(limit: str) -> None:
    text = """graph doubles(%x: f64[N,3,7,7], %w: f64[21,3,3,3]) -> f64[N,21,7,7] {
      %y = conv2d(%x, %w) padding=1 : f64[N,21,7,7]
      %z = sigmoid(%y) : f64[N,21,7,7]
      return %z
    }"""
    graph = cauce.parse(text)
    rng = np.random.default_rng(0)
    feeds = [rng.standard_normal(shape) for shape in ((2, 3, 7, 7), (21, 3, 3, 3))]
    native, plain = cauce.compile(graph, "llvm"), cauce.compile(graph, "numpy")
    np.testing.assert_allclose(native(*feeds), plain(*feeds), rtol=1e-12)


# ---- instructions ------------------------------------------------------------------------------


class Text(NamedTuple):
    """What a graph became for a target."""

    ir: str
    assembly: str
    layers: dict[str, list[str]]  # the functions of each layer, but those that only reorder


def compiled(graph: Graph, target: Target, **settings: Any) -> Text:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    made = build(graph, target, **settings)
    text = assembly(made.text, target)
    bodies = functions(text)
    layers: dict[str, list[str]] = {}
    for launch, node in made.main.launches:
        if anchor_of(node).op.name != "reorder":
            parts = (own.function for own in (launch, *launch.parts))
            found = [bodies[own.name] for part in parts for own in part.family()]
            layers.setdefault(anchor_of(node).path, []).extend(found)
    return Text(made.text, text, layers)


@cache
def all_of(name: str) -> Text:
    """All networks above in one text, a training step among them."""
    target, parts = TARGETS[name], []
    for network, shape in SHAPES.items():
        model = network.init(image=shape, seed=1)
        parts.append(compiled(cauce.compile(model, "numpy").graph, target))
    step = cauce.TrainStep(residual.init(image=SHAPES[residual]), optimizer=cauce.Adam(0.1))
    parts.append(compiled(step.executable.graph, target))
    return Text(*("\n".join(part[place] for part in parts) for place in (0, 1)), {})


# What x86-64 has beyond SSE2: AVX, then what SSE3 to SSE4.2 and the bit manipulations added.
AVX = r"v\w+"
SSE3 = r"haddp[sd]|mov(ddup|s[hl]dup)|pshufb|pabs[bwd]|palignr|pmulld|blendv?p[sd]|pblend\w+"
SSE3 += r"|p(min|max)(s[bd]|u[wd])|round[ps][sd]|insertps|extractps|p(ins|ext)r[bdq]|ptest"
SSE3 += r"|pmov[sz]x\w+|pcmpeqq|pcmpgtq|dpp[sd]|packusdw"
BITS = r"mulx[lq]|andn[lq]|bextr[lq]|bls\w+|(sar|shl|shr|ror)x[lq]|pext[lq]|pdep[lq]|[lt]zcnt\w?"
BITS += r"|popcnt\w?|movbe\w?|ad[co]x[lq]"
FMA = r"vfn?m(add|sub)\w+"
PACKED = r"v?(add|sub|mul|div|max|min|sqrt)p[sd]"

WIDE, MASKS = r".*%zmm\d", r".*%(k\d|[xy]mm(1[6-9]|2\d|3[01])\b)"

# For each target what must be there, and what must not, at the beginning of an instruction.
EXPECTED = {
    "avx512": ([rf"{FMA}\s.*%zmm\d", MASKS], [BITS + r"\s"]),
    "avx2": ([rf"{FMA}\s.*%ymm\d"], [WIDE, MASKS, BITS + r"\s"]),
    "sse2": ([r"mulps\s.*%xmm", r"addps\s"], [rf"({AVX}|{SSE3}|{BITS})\s"]),
    "scalar": ([r"mulss\s", r"addss\s"], [rf"({AVX}|{SSE3}|{BITS}|{PACKED})\s"]),
    "neon": ([r"fmla\s+v\d+\.4s"], [r".*\b[zp]\d+[./]"]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_instructions_are_those_of_the_target(name: str) -> None:
    needed, excluded = EXPECTED[name]
    lines = instructions(all_of(name).assembly)
    for pattern in needed:
        assert any(re.match(pattern, line) for line in lines), pattern
    for pattern in excluded:
        assert not [line for line in lines if re.match(pattern, line)]


def test_what_is_excluded_for_one_target_is_found_for_another() -> None:
    lines = instructions(all_of("avx2").assembly)
    assert any(re.match(AVX + r"\s", line) for line in lines)
    assert any(re.match(PACKED + r"\s", line) for line in lines)


@pytest.mark.parametrize("name", LIMITS)
def test_vectors_of_the_ir_fill_a_register_at_most(name: str) -> None:
    widths = {"float": 4, "double": 8, "i32": 4}
    found = re.findall(r"<(\d+) x (float|double|i32)>", all_of(name).ir)
    sizes = {int(lanes) * widths[element] for lanes, element in found}
    assert max(sizes, default=4) == TARGETS[name].vector_bytes


@pytest.mark.parametrize("triple, clock", [("x86_64-linux", 1), ("arm64-apple-darwin23", 6)])
def test_profiles_ask_for_the_monotonic_clock_of_the_system(triple: str, clock: int) -> None:
    graph = inference(residual, 3, 8, 8)
    text = build(graph, Target.named("scalar", triple)).text
    assert set(re.findall(r"@clock_gettime\(i32 (\d)", text)) == {str(clock)}


# ---- spills ------------------------------------------------------------------------------------


@cauce.network
def layers(image, photo, few, rows):
    return (
        nn.conv2d(image, 64, 3, padding=1, name="square"),
        nn.conv2d(image, 64, 3, stride=2, padding=1, name="strided"),
        nn.conv2d(image, 96, 1, name="pointwise"),
        nn.conv2d(image, 64, 3, padding=1, groups=64, name="depthwise"),
        nn.conv2d(image, 64, 3, stride=2, padding=1, groups=64, name="depthwise_strided"),
        nn.conv2d(image, 64, 3, padding=1, groups=4, name="grouped"),
        nn.conv2d(photo, 64, 7, stride=2, padding=3, name="stem"),
        nn.conv2d(few, 37, 3, padding=1, name="odd"),
        nn.linear(rows, 100, name="linear"),
        nn.max_pool2d(image, 3, stride=2, padding=1, name="max_pool"),
        nn.avg_pool2d(image, 2, name="avg_pool"),
    )


LAYERS = ("square", "strided", "pointwise", "depthwise", "depthwise_strided", "grouped", "stem")
LAYERS += ("odd", "linear", "max_pool", "avg_pool")


@cache
def layers_for(name: str) -> dict[str, list[str]]:
    shapes = {"image": ("N", 64, 14, 14), "photo": ("N", 3, 56, 56), "few": ("N", 13, 9, 9)}
    model = layers.init(**shapes, rows=("N", 256))
    graph = cauce.compile(model, "numpy").graph
    return compiled(graph, TARGETS[name], precision="strict").layers


@pytest.mark.parametrize("name, layer", list(product(TARGETS, LAYERS)))
def test_innermost_loops_spill_nothing(name: str, layer: str) -> None:
    loops = [loop for body in layers_for(name)[layer] for loop in computing_loops(body)]
    assert loops
    assert not [line for loop in loops for line in spills(loop)]


def test_loops_are_found_wherever_their_blocks_stand() -> None:
    body = """
\tjmp\t.LBB0_2
.LBB0_1:                                # the end of the outer loop, before its beginning
\taddq\t$1, %rax
\tmovq\t8(%rsp), %rcx
.LBB0_2:
\tcmpq\t%rcx, %rax
\tjge\t.LBB0_4
.LBB0_3:                                # the inner loop
\tvaddps\t32(%rsp), %ymm0, %ymm0     # 32-byte Folded Reload
\tdecq\t%rdx
\tjne\t.LBB0_3
\tjmp\t.LBB0_1
.LBB0_4:
\tretq
"""
    (loop,) = innermost_loops(body)
    assert [line.split()[0] for line in loop] == ["vaddps", "decq", "jne"]
    assert spills(loop) == ["vaddps\t32(%rsp), %ymm0, %ymm0"]
    assert computing_loops(body) == [loop]
    arm = ".LBB0_1:\n\tldr\tq1, [sp, #16]\n\tfmla\tv0.4s, v1.4s, v2.4s\n\tb.lt\t.LBB0_1\n\tret\n"
    (loop,) = computing_loops(arm)
    assert spills(loop) == ["ldr\tq1, [sp, #16]"]


def test_a_target_that_was_named_has_the_caches_that_are_assumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CAUCE_TARGET", raising=False)
    own = Target.host()
    reported = Caches.reported()
    assert own.caches == (reported.usable if reported else ASSUMED)
    for name in ("scalar", own.name):
        monkeypatch.setenv("CAUCE_TARGET", name)
        assert Target.host().caches == ASSUMED


def test_an_empty_limit_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAUCE_TARGET", raising=False)
    whole = Target.host()
    monkeypatch.setenv("CAUCE_TARGET", "")
    assert Target.host() == whole
