"""Schedules: what is decided for which shapes, without code; and others than our own, in code."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.lowering.lower import lower
from cauce.backends.llvm.schedule import matmul as products
from cauce.backends.llvm.schedule.convolution import (
    BackwardWeight,
    Direct,
    DirectPhases,
    conv2d,
    conv2d_backward_data,
    conv2d_backward_weight,
)
from cauce.backends.llvm.schedule.matmul import Strips, Tiles, Transposed
from cauce.backends.llvm.schedule.reduction import reduction
from cauce.backends.llvm.schedule.schedule import Schedule, Setting
from cauce.backends.llvm.schedule.tasks import transposes_in_registers
from cauce.backends.llvm.target import ASSUMED, Caches, Target
from cauce.ir import Dim, TensorType, parse
from cauce.ir.errors import CompileError, TypeMismatch
from cauce.ir.ops.conv import Conv2d, Conv2dBackwardData, Conv2dBackwardWeight

X86 = "x86_64-linux"
AVX512, AVX2 = Target.named("avx512", X86), Target.named("avx2", X86)


def f32(*shape: object) -> TensorType:
    return TensorType.make("f32", shape)


# ---- convolutions ------------------------------------------------------------------------------

SAME = Conv2d(padding=((1, 1), (1, 1)))


@pytest.mark.parametrize(
    "size, channels, target, text",
    [
        (56, 64, AVX512, "direct, tile 14 x 2, all filters for each row"),
        (14, 256, AVX512, "direct, tile 14 x 2, all rows for each group of filters"),
        (7, 512, AVX512, "direct, tile 2 x 7 x 2, all images for each group of filters"),
        (56, 64, AVX2, "direct, tile 6 x 2, all filters for each row"),
        (56, 48, AVX512, "direct, tile 8 x 3, all filters for each row"),
        ("W", 64, AVX512, "direct, tile 8 x 2, all filters for each row"),
    ],
)
def test_a_convolution(size: int | str, channels: int, target: Target, text: str) -> None:
    image = f32("N", channels, size, size)
    assert str(strict(image, channels, target)) == text


def strict(image: TensorType, channels: int, target: Target) -> Schedule:
    """The schedule of a convolution whose sums must be direct."""
    operands = [image, f32(channels, channels, 3, 3)]
    (choice,) = conv2d(SAME, operands, image, Setting(target, precision="strict"))
    return choice.schedule


def test_depthwise_vectors_run_over_the_groups() -> None:
    op, image = replace(SAME, groups=32), f32("N", 32, 28, 28)
    (choice,) = conv2d(op, [image, f32(32, 1, 3, 3)], image, Setting(AVX512))
    schedule = choice.schedule
    assert isinstance(schedule, Direct)
    assert schedule.tiling({"g": 32, "o": 1}).vector == "g"


def test_a_strided_gradient_has_a_schedule_for_each_phase() -> None:
    op = Conv2dBackwardData((2, 2), ((1, 1), (1, 1)), size=(8, 8))
    operands = [f32("N", 16, 4, 4), f32(16, 16, 3, 3)]
    (choice,) = conv2d_backward_data(op, operands, f32("N", 16, 8, 8), Setting(AVX2))
    schedule = choice.schedule
    assert isinstance(schedule, DirectPhases) and len(schedule.phases) == 4
    assert schedule.block(8) == 16


def test_a_gradient_of_weights_in_parts_and_blocks() -> None:
    op = Conv2dBackwardWeight(padding=((1, 1), (1, 1)), kernel=(3, 3))

    def of(channels: int, size: int) -> BackwardWeight:
        image = f32("N", channels, size, size)
        weight = f32(channels, channels, 3, 3)
        strictly = Setting(AVX512, precision="strict")
        (choice,) = conv2d_backward_weight(op, [image, image], weight, strictly)
        assert isinstance(choice.schedule, BackwardWeight)
        return choice.schedule

    small, large = of(16, 32), of(512, 7)
    assert (small.parts, small.row_tasks) == (8, False)
    assert (large.parts, large.row_tasks) == (1, True)
    assert small.blocks == (("n", 1), ("i", 5)) and large.blocks == (("n", 1),)


# ---- matrix products ---------------------------------------------------------------------------


def scheduled(m: int, n: int, k: int, packed: bool = False, **lies: bool) -> object:
    options = {"by_rows": False, "by_columns": False, **lies}
    setting = Setting(AVX512, packed)
    return products.matmul({"m": m, "n": n, "k": k}, 0, item=4, setting=setting, **options)


def test_products() -> None:
    assert scheduled(64, 96, 32, by_rows=True) == Tiles((("m", 13),), 2)
    assert isinstance(scheduled(64, 4096, 4096, by_rows=True), Strips)
    assert isinstance(scheduled(64, 4096, 4096, by_columns=True), Transposed)
    packed = scheduled(64, 4096, 25088, packed=True)
    assert isinstance(packed, Tiles) and packed.parts > 1
    assert isinstance(once := scheduled(4, 4096, 25088, packed=True), Tiles) and once.parts == 1


# ---- reductions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "summed, step, cut",
    [((100,), 16, None), ((1000, 100), 16, (0, 20)), ((5000,), 16, (0, 1680))],
)
def test_long_reductions_are_cut(
    summed: tuple[int, ...], step: int, cut: tuple[int, int] | None
) -> None:
    assert reduction().cut(summed, step) == cut


# ---- copies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "elements, sides, lanes, item, wanted",
    [
        (1 << 20, (1024, 1024), 16, 4, True),
        ("N", ("N", 16), 16, 4, True),  # of unknown size
        (1 << 18, (512, 512), 16, 4, False),  # stays in a cache
        (1 << 20, (1 << 17, 8), 16, 4, False),  # no whole square
        (1 << 20, (1024, 1024), 1, 4, False),  # no vectors
        (1 << 20, (1024, 1024), 32, 2, False),  # halves
    ],
)
def test_large_copies_transpose_in_registers(
    elements: Dim, sides: tuple[Dim, Dim], lanes: int, item: int, wanted: bool
) -> None:
    assert transposes_in_registers(elements, sides, lanes, item) == wanted


# ---- caches ------------------------------------------------------------------------------------


def test_caches_decide_and_are_part_of_the_target() -> None:
    image = f32("N", 64, 56, 56)
    little = replace(AVX512, caches=replace(ASSUMED, second=16 * 1024))
    orders = []
    for target in (AVX512, little):
        schedule = strict(image, 64, target)
        assert isinstance(schedule, Direct)
        orders.append(schedule.order)
    assert orders[0] == "rows" != orders[1]
    assert little != AVX512
    assert str(ASSUMED) == "32 KiB, 768 KiB, 8 MiB"


def test_what_linux_reports() -> None:
    reported = Caches.reported()
    assert reported is None or 1024 <= reported.first <= reported.second <= reported.third


# ---- schedules of one's own --------------------------------------------------------------------


@cauce.network
def net(image):  # type: ignore[no-untyped-def]
    x = nn.relu(nn.conv2d(image, 32, 3, padding=1))
    return nn.linear(nn.global_avg_pool(x), 24)


@pytest.fixture(scope="module")
def model() -> cauce.Model:
    return net.init(image=("N", 4, 9, 11), seed=3)


IMAGES = np.random.default_rng(0).standard_normal((5, 4, 9, 11), np.float32)


@pytest.mark.parametrize("columns", [1, 2, 5, 11, 40])
@pytest.mark.parametrize("order", ["rows", "filters", "images"])
def test_every_legal_schedule_gives_the_same_bits(
    columns: int, order: str, model: cauce.Model
) -> None:
    own = cauce.compile(model, "llvm", threads=2)
    vectors = 1 if columns > 5 else 2
    columns = min(columns, Target.host().registers // vectors - 2)
    schedules = {"relu1": Direct((("j", columns),), vectors, order)}
    other = cauce.compile(model, "llvm", threads=2, schedules=schedules)
    assert str(schedules["relu1"]) in other.plan()
    np.testing.assert_array_equal(own(IMAGES), other(IMAGES))


def test_they_are_part_of_the_key(
    model: cauce.Model, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUCE_CACHE_DIR", str(tmp_path))
    plans = [
        cauce.compile(
            model, "llvm", schedules={"relu1": Direct((("j", columns),), 1, "rows")}
        ).program.fingerprint
        for columns in (3, 4, 3)
    ]
    assert plans[0] == plans[2] != plans[1]


@pytest.mark.parametrize(
    "name, schedule, wrong",
    [
        ("relu1", Direct((("j", 90),), 2, "rows"), "needs more than the"),
        ("relu1", Direct((("j", 4),), 2, "sideways"), "there is no order 'sideways'"),
        ("relu1", Direct((("o", 4),), 2, "rows"), "columns along"),
        ("relu1", Tiles((("m", 4),), 2), "runs as Direct"),
        ("linear1", Tiles((("m", 4),), 2, 0), "1 part at least"),
        ("relu7", Tiles((("m", 4),), 2), "there is no kernel called 'relu7'"),
    ],
)
def test_what_a_kernel_cannot_have(
    name: str, schedule: object, wrong: str, model: cauce.Model
) -> None:
    with pytest.raises(CompileError, match=wrong) as error:
        cauce.compile(model, "llvm", schedules={name: schedule})
    assert error.value.fix


HOSTILE = (None, "2", "rows", 1.5, True, -1, 0, 2**40, (), (None,), (2, 2), (9, 9), (("z", 2),))

CONVOLUTION = """graph g(%x: f32[3,64,14,14], %w: f32[64,64,3,3]) -> f32[3,64,Y,Y] {
  %y = conv2d(%x, %w) stride=S padding=1 : f32[3,64,Y,Y]
  return %y
}"""
PRODUCT = """graph g(%x: f32[19,1100], %w: f32[1100,1056]) -> f32[19,1056] {
  %y = matmul(%x, %w) : f32[19,1056]
  return %y
}"""
KINDS = {
    "convolution": CONVOLUTION.replace("S", "1").replace("Y", "14"),
    "stride 2": CONVOLUTION.replace("S", "2").replace("Y", "7"),
    "gradient of the image": """graph g(%x: f32[3,64,14,14], %w: f32[64,64,3,3])
        -> f32[3,64,14,14] {
      %y = conv2d_backward_data(%x, %w) padding=1 size=[14, 14] : f32[3,64,14,14]
      return %y
    }""",
    "gradient of the image, stride 2": """graph g(%x: f32[3,24,7,7], %w: f32[24,40,3,3])
        -> f32[3,40,14,14] {
      %y = conv2d_backward_data(%x, %w) stride=2 padding=1 size=[14, 14] : f32[3,40,14,14]
      return %y
    }""",
    "gradient of the weight": """graph g(%x: f32[3,64,14,14], %w: f32[3,64,14,14])
        -> f32[64,64,3,3] {
      %y = conv2d_backward_weight(%x, %w) kernel=3 padding=1 : f32[64,64,3,3]
      return %y
    }""",
    "product": PRODUCT.replace("1056", "70"),
    "product in strips": PRODUCT,
    "transposed product": """graph g(%x: f32[19,1100], %w: f32[1030,1100]) -> f32[19,1030] {
      %t = transpose(%w) perm=[1, 0] : f32[1100,1030]
      %y = matmul(%x, %t) : f32[19,1030]
      return %y
    }""",
    "sum": """graph g(%x: f32[19,1100], %w: f32[1]) -> f32[19] {
      %y = sum(%x) axes=[1] : f32[19]
      return %y
    }""",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_field_is_refused_or_changes_nothing_but_rounding(kind: str) -> None:
    """Each field of each schedule that a kernel can have, with values that nobody means."""
    graph = parse(KINDS[kind])
    rng = np.random.default_rng(0)
    feeds = {value.name: rng.standard_normal(value.type.shape) for value in graph.inputs}
    feeds = {name: array.astype(np.float32) for name, array in feeds.items()}
    own = Executable(compile_program(graph))(**feeds)
    refused = 0
    lowered = lower(graph, Target.host())
    possible = {type(choice.schedule): choice.schedule for choice in lowered.choices["y"]}
    for schedule in possible.values():
        for name, value in product(schedule._names, HOSTILE):
            changed = replace(schedule, **{name: value})
            try:
                program = compile_program(graph, schedules={"y": changed})
            except CompileError:
                refused += 1
                continue
            assert type(value) is type(getattr(schedule, name)), changed
            found = Executable(program)(**feeds)
            np.testing.assert_allclose(found, own, rtol=0, atol=1e-4 * np.abs(own).max())
    assert refused >= len(HOSTILE)


def test_only_the_native_backend_takes_schedules(model: cauce.Model) -> None:
    with pytest.raises(TypeMismatch, match="the numpy backend takes no schedules") as error:
        cauce.compile(model, "numpy", schedules={})
    assert "backend='llvm'" in str(error.value)
    with pytest.raises(TypeMismatch, match="schedule") as error:
        cauce.compile(model, "llvm", schedule={})
