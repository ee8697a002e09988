"""What users can look at of a compiled graph: the plan, the code of a layer, the profile."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

import cauce
from cauce.backends.contract import NodeTime
from cauce.backends.executable import Executable
from cauce.backends.llvm.abi import BatchStage, Share
from cauce.backends.profile import Profile
from cauce.frontends.model import Model
from cauce.ir import Graph, evaluate
from cauce.ir.errors import AttributeMistake, GraphError, UnsupportedOp

from ..api.nets import batch, small

IMAGE = batch(4)["image"]


@pytest.fixture(scope="module")
def model() -> Model:
    return small.init(image=("N", 1, 6, 6), seed=1)


@pytest.fixture(scope="module", params=["cold", "warm"])
def native(request: pytest.FixtureRequest, model: Model) -> Executable:
    """As compiled, and as it comes from the cache, where no graph is kept."""
    executable = cauce.compile(model, "llvm")
    if request.param == "warm":
        executable = cauce.compile(model, "llvm")
        assert "graph" not in vars(executable.program)
    return executable


@pytest.fixture(scope="module")
def plain(model: Model) -> Executable:
    return cauce.compile(model, "numpy")


# ---- the plan ----------------------------------------------------------------------------------


def parts_of(plan: str) -> tuple[Graph, str, str]:
    """The lowered graph, and what stands of ``prepare`` and of ``main``."""
    head, schedules, prepare, main = re.split(
        r"^(?=schedules:|prepare:|main:)", plan, flags=re.MULTILINE
    )
    target, graph = head.split("\n", 1)
    assert target.startswith("target: ") and schedules.startswith("schedules:")
    return cauce.parse(graph), prepare, main


def test_the_plan_begins_with_the_lowered_graph(native: Executable, model: Model) -> None:
    graph, _, _ = parts_of(native.plan())
    assert graph.same_as(native.program.listing.build.lowered.graph)
    known = {**model.state_dict(), "image": IMAGE}
    found = evaluate(graph, {value.name: known[value.name] for value in graph.inputs})
    np.testing.assert_allclose(found.outputs["output"], native(IMAGE), rtol=1e-4, atol=1e-6)
    assert all(value.type.layout for value in graph.values if value.type.rank)
    assert "halo 1,1,1,1" in native.plan() and "{0,2,3,1" in native.plan()


def test_the_plan_names_every_launch_and_its_buffers(native: Executable) -> None:
    _, prepare, main = parts_of(native.plan())
    listed = re.findall(
        r"^ +(\d+) (\S+) \((\w+)\): @(\S+), (.+) tasks, buffers ([\d ]+)$", main, re.M
    )
    assert [int(number) for number, *_ in listed] == list(range(len(listed)))
    rows = [(row.path, row.op) for row in native.profile(IMAGE)]
    assert list(dict.fromkeys((path, op) for _, path, op, *_ in listed)) == rows
    # A kernel's own tasks, each of which also writes some of the zeros around its result.
    assert "6*N" in [tasks for *_, tasks, _ in listed]
    assert all(f"define internal void @{name}(" in native.code() for *_, name, _, _ in listed)
    inside = set(re.findall(r"^  buffer (\d+):", main, re.M))
    assert inside < {slot for *_, slots in listed for slot in slots.split()}
    assert "conv1 (mul)" in prepare  # the batch norm goes into the weight, once


BUFFER = re.compile(
    r"^  buffer (\d+): (?:.+ = )?(\d+) bytes at (\d+), launches (\d+) to (\d+)$", re.M
)


def arena_of(part: str) -> tuple[int, list[tuple[int, ...]]]:
    """The bytes of the arena, and (start, end, first launch, last launch) of each buffer."""
    found = re.search(r"^  arena of (\d+) bytes", part, re.M)
    assert found
    rows = [tuple(map(int, row)) for row in BUFFER.findall(part)]
    assert len(rows) == part.count("  buffer ")
    return int(found[1]), [(at, at + size, first, last) for _, size, at, first, last in rows]


@pytest.mark.parametrize("count", [1, 4, 33])
def test_what_lives_at_a_time_lies_apart(native: Executable, count: int) -> None:
    for part in parts_of(native.plan(N=count))[1:]:
        nbytes, buffers = arena_of(part)
        assert len(buffers) > 2
        assert all(0 <= start < end <= nbytes for start, end, _, _ in buffers)
        for (a, b, first, last), (c, d, begin, end) in combinations(buffers, 2):
            assert b <= c or d <= a or last < begin or end < first


def test_without_sizes_the_plan_is_one_for_all(native: Executable) -> None:
    _, prepare, main = parts_of(native.plan())
    assert "arena" in prepare and "arena" not in main  # weights have no symbols
    assert re.search(r"^  buffer \d+: 1024\*N bytes, launches \d to \d$", main, re.M)


def test_the_plan_says_how_many_images_run_at_a_time(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchStage, "share", lambda self, count, threads: Share(8, 1))
    whole, _ = arena_of(parts_of(cauce.compile(model, "llvm").plan(N=8))[2])
    monkeypatch.setattr(BatchStage, "share", lambda self, count, threads: Share(2, 1))
    pieces = parts_of(cauce.compile(model, "llvm").plan(N=8))[2]
    assert f"arena of {whole // 4} bytes, for 2 of N at a time" in pieces
    assert "1024*N = 2048 bytes" in pieces
    monkeypatch.setattr(BatchStage, "share", lambda self, count, threads: Share(2, 3))
    apart = parts_of(cauce.compile(model, "llvm", threads=3).plan(N=8))[2]
    assert ", for 3 x 2 of N at a time" in apart and "1024*N = 2048 bytes" in apart


def test_a_training_step_has_a_plan(model: Model) -> None:
    step = cauce.TrainStep(model, optimizer=cauce.SGD(0.1, momentum=0.9), backend="llvm")
    graph, _, main = parts_of(step.executable.plan(N=8))
    assert len(graph.updates) == len(step.graph.updates)
    nbytes, buffers = arena_of(main)
    assert max(end for _, end, _, _ in buffers) <= nbytes


def test_sizes_are_of_symbols_that_there_are(native: Executable, plain: Executable) -> None:
    for executable in (native, plain):
        with pytest.raises(GraphError, match="small has no symbol called 'batch'") as error:
            executable.plan(batch=4)
        assert "its symbols are N" in str(error.value)


@pytest.mark.parametrize("count", [1, 8])
def test_a_plan_without_symbols_says_where_buffers_lie(count: int) -> None:
    fixed = cauce.compile(small.init(image=(count, 1, 6, 6)), "llvm")
    with pytest.raises(GraphError, match="no symbol called 'N'") as error:
        fixed.plan(N=1)
    assert "all its sizes are fixed" in str(error.value)
    main = parts_of(fixed.plan())[2]
    assert "arena of" in main
    assert ("\n  batch = 8\n" in main) == ("batch tasks" in main) == (count == 8)


# ---- the code of a layer -----------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["conv1", "conv2", "bn1", "max_pool1", "linear1"])
def test_the_code_of_a_layer_is_that_of_its_functions(native: Executable, layer: str) -> None:
    _, prepare, main = parts_of(native.plan())
    launches = re.findall(rf"^ +\d+ {layer} \(\w+\): @([^,]+),", main + prepare, re.M)
    ir, assembly = native.code("llvm", layer), native.code("assembly", layer)
    defined = re.findall(r"^define internal void @(\S+)\(", ir, re.M)
    assert defined == re.findall(r"^([a-z][\w.]*):", assembly, re.M)
    assert launches and set(launches) <= set(defined)
    assert len(defined) == len(set(defined)) < native.code().count("define ")
    assert ir.count("\n}") == assembly.count(".Lfunc_end") == len(defined)
    for part in ir.split("\n\n"):
        assert part in native.code()
    for part in assembly.split("\n\n"):
        assert part.partition("\n")[0] in native.code("assembly") and "ret" in part


def test_a_layer_within_a_kernel_has_its_code(native: Executable) -> None:
    assert native.code("llvm", "add") in native.code("llvm", "relu2")
    assert native.code("llvm", "add") in native.code("llvm", "conv2")


def test_a_block_has_the_code_of_its_layers() -> None:
    native = cauce.compile(cauce.models.resnet20.init(image=("N", 3, 8, 8)), "llvm")
    layer, block, stage = (
        set(native.code("llvm", name).split("\n\n"))
        for name in ("stage1.block1.conv1", "stage1.block1", "stage1")
    )
    assert layer < block <= stage
    with pytest.raises(GraphError, match=r"called 'stage1\.block'"):
        native.code("llvm", "stage1.block")


@pytest.mark.parametrize("form", ["llvm", "assembly"])
def test_unknown_layers(native: Executable, form: str) -> None:
    with pytest.raises(GraphError, match="no code belongs to a layer called 'max_pool'") as error:
        native.code(form, "max_pool")
    assert "did you mean max_pool1" in str(error.value)
    with pytest.raises(GraphError, match="called 'quux'") as error:
        native.code(form, "quux")
    assert "profile(...) lists the layers" in str(error.value)


def test_unknown_forms(native: Executable) -> None:
    with pytest.raises(AttributeMistake, match="shows no code as 'assembler'") as error:
        native.code("assembler")
    assert "did you mean assembly" in str(error.value)


def test_numpy_has_a_plan_and_no_code(plain: Executable) -> None:
    assert cauce.parse(plain.plan(N=3)).same_as(plain.graph)
    for form in (None, "llvm"):
        for layer in (None, "conv1"):
            with pytest.raises(UnsupportedOp, match="the numpy backend generates no code") as error:
                plain.code(form, layer)
            assert "compile with backend='llvm'" in str(error.value)


# ---- the profile -------------------------------------------------------------------------------


def test_a_profile_has_the_work_of_each_layer(native: Executable, plain: Executable) -> None:
    images = batch(8)["image"]
    for executable in (native, plain):
        profile = executable.profile(images)
        rows = {(row.path, row.op): row for row in profile}
        assert len(rows) == len(profile)
        conv = rows["conv2", "conv2d"]
        taps = 2 * 4 * 9 - 1  # products and sums for each result
        elements = 8 * 4 * 6 * 6
        assert elements * taps <= conv.flops <= elements * (taps + 4)
        assert 4 * 2 * elements <= conv.bytes <= 4 * (3 * elements + 4 * 4 * 9 + 4)
        assert conv.gflops_per_second == pytest.approx(conv.flops / conv.seconds / 1e9)
        assert conv.share == pytest.approx(conv.seconds / profile.seconds)
        assert sum(row.share for row in profile) == pytest.approx(1)
        assert profile.seconds == pytest.approx(sum(row.seconds for row in profile))
        assert {"max_pool1", "global_avg_pool1", "linear1"} < {row.path for row in profile}


def test_a_profile_prints_as_a_table() -> None:
    profile = Profile(
        [
            NodeTime("stage1.conv1", "conv2d", 0.0015, 300_000_000, 4_500_000),
            NodeTime("relu1", "relu", 0.0005, 1_000_000, 8_000_000),
        ]
    )
    assert repr(profile).startswith("<Profile of ") and "\n" not in repr(profile)
    assert str(profile).splitlines() == [
        "node          op          ms   GFLOP  GFLOP/s      MB   share",
        "-------------------------------------------------------------",
        "stage1.conv1  conv2d  1.5000  0.3000    200.0   4.500   75.0%",
        "relu1         relu    0.5000  0.0010      2.0   8.000   25.0%",
        "-------------------------------------------------------------",
        "total                 2.0000  0.3010    150.5  12.500  100.0%",
    ]


def test_every_row_of_the_table_is_a_node(native: Executable, plain: Executable) -> None:
    for executable in (native, plain):
        profile = executable.profile(IMAGE)
        lines = str(profile).splitlines()
        assert [line.split()[:2] for line in lines[2:-2]] == [[row.path, row.op] for row in profile]
        assert len({len(line) for line in lines}) == 1


def test_a_profile_is_a_sequence() -> None:
    rows = [NodeTime("a", "relu", 1.0, 2, 3), NodeTime("b", "relu", 3.0, 0, 0)]
    profile = Profile(rows)
    assert [row.share for row in profile] == [0.25, 0.75]
    assert len(profile) == 2 and profile[-1].path == "b" and profile[:1] == [profile[0]]
    assert profile[0] in profile


def test_what_ran_in_pieces_is_one_row() -> None:
    a, b = NodeTime("a", "relu", 1.0, 2, 3), NodeTime("b", "relu", 2.0, 4, 5)
    (first, second) = Profile([a, b, a, b])
    assert first == NodeTime("a", "relu", 2.0, 4, 6, 2 / 6)
    assert second == NodeTime("b", "relu", 4.0, 8, 10, 4 / 6)


def test_the_times_of_several_runs_are_medians() -> None:
    def run(*seconds: float) -> list[NodeTime]:
        return [NodeTime(name, "relu", s, 2, 3) for name, s in zip("aba", seconds)]

    profile = Profile(run(9.0, 4.0, 9.0), run(1.0, 6.0, 1.0), run(2.0, 90.0, 1.5))
    assert list(profile) == [
        NodeTime("a", "relu", 3.5, 4, 6, 3.5 / 9.5),  # of 18, 2 and 3.5
        NodeTime("b", "relu", 6.0, 2, 3, 6.0 / 9.5),
    ]
    assert profile.seconds == 9.5


def test_a_profile_of_several_runs(
    native: Executable, plain: Executable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for executable in (native, plain):
        runs = []
        main = executable.program.main
        monkeypatch.setattr(
            executable.program,
            "main",
            lambda *args, main=main, runs=runs: runs.append(args) or main(*args),
        )
        several = executable.profile(IMAGE, repeat=5)
        assert len(runs) == 5
        once = executable.profile(IMAGE)
        assert [(row.path, row.op, row.flops, row.bytes) for row in several] == [
            (row.path, row.op, row.flops, row.bytes) for row in once
        ]
        with pytest.raises(AttributeMistake, match="repeat must be an int of at least 1, got 0"):
            executable.profile(IMAGE, repeat=0)


def test_profiles_of_no_time_and_of_nothing() -> None:
    (row,) = Profile([NodeTime("a", "relu", 0.0, 2, 3)])
    assert row.share == 0 and row.gflops_per_second == 0
    assert str(Profile([])).splitlines()[-1].split() == [
        "total",
        "0.0000",
        "0.0000",
        "0.0",
        "0.000",
        "0.0%",
    ]
