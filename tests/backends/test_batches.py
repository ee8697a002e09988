"""Batches that run in pieces: which can, and that no bit depends on it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.backends.llvm import abi as artifact
from cauce.backends.llvm.abi import BatchStage, Share
from cauce.backends.llvm.build import build
from cauce.backends.llvm.lowering.batches import find_batch, free_batch
from cauce.backends.llvm.lowering.kernels import anchor_of
from cauce.backends.llvm.runtime.layout import lay_out
from cauce.backends.llvm.runtime.memory import GUARD, SIDES
from cauce.backends.llvm.runtime.program import LlvmProgram
from cauce.backends.llvm.runtime.threads import shared_pool
from cauce.backends.llvm.schedule import batches
from cauce.backends.llvm.schedule.batches import LaunchCost, stages
from cauce.backends.llvm.target import Target
from cauce.frontends.tensor import Tensor
from cauce.ir import Array
from cauce.ir.errors import ShapeError

from .both import both


def images(count: int, *shape: int) -> Array:
    return np.random.default_rng(count).standard_normal((count, *shape)).astype(np.float32)


def shared_out(monkeypatch: pytest.MonkeyPatch, piece: int, streams: int = 1) -> None:
    """Have batches run in pieces of so many images, on so many streams."""
    monkeypatch.setattr(
        BatchStage, "share", lambda self, count, threads: Share(min(count, piece), streams)
    )


def program_of(executable: cauce.Executable) -> LlvmProgram:
    assert isinstance(executable.program, LlvmProgram)
    return executable.program


def with_head(x: Tensor) -> Tensor:
    """A network with a matrix of 1.2 MB behind its convolutions."""
    x = nn.relu(nn.conv2d(x, 12, 3, padding=1))
    x = nn.max_pool2d(nn.relu(nn.conv2d(x, 20, 3, padding=1) + 1), 2)
    x = nn.relu(nn.linear(nn.flatten(x), 600))
    return nn.softmax(nn.linear(x, 5))


def without_head(x: Tensor) -> Tensor:
    """A network all of which runs in pieces."""
    y = nn.relu(nn.conv2d(x, 8, 3, padding=1))
    y = nn.relu(nn.conv2d(y, 8, 3, padding=1) + y)
    return nn.linear(nn.global_avg_pool(y), 3)


@pytest.mark.parametrize("function", [with_head, without_head])
@pytest.mark.parametrize("streams", [1, 2, 3])
@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 16])
def test_the_bits_are_those_of_single_images(
    function: object, pieces: int, streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_out(monkeypatch, pieces, streams)
    model = cauce.network(function).init(x=("N", 3, 10, 10), seed=3)
    predict = cauce.compile(model, backend="llvm", threads=2)
    for count in (1, 4, 7, 11):
        x = images(count, 3, 10, 10)
        together = predict(x)
        np.testing.assert_array_equal(together, np.concatenate([predict(one[None]) for one in x]))
        np.testing.assert_allclose(
            together, cauce.compile(model, backend="numpy")(x), rtol=1e-4, atol=1e-5
        )
        out = np.empty_like(together)
        assert predict(x, out=out) is out
        np.testing.assert_array_equal(out, together)
        total = sum(row.flops for row in predict.profile(x) if row.op == "conv2d")
        single = sum(row.flops for row in predict.profile(x[:1]) if row.op == "conv2d")
        assert total == pytest.approx(count * single, rel=1e-4)


def test_small_networks_run_many_images_at_a_time() -> None:
    stage = BatchStage(10, 1_000_000, 0)
    assert stage.share(1000, 1) == (128, 1) and stage.share(50, 1) == (50, 1)
    assert BatchStage(10, 10**10, 0).share(16, 1) == (1, 1)
    assert BatchStage(10, 10**10, 6).share(16, 1) == (4, 1)


def test_each_thread_has_images_of_its_own() -> None:
    single, several = BatchStage(10, 10**10, 0), BatchStage(10, 10**10, 6)
    assert [single.share(16, n) for n in (2, 4, 8, 16)] == [(1, 2), (1, 4), (1, 8), (1, 16)]
    assert several.share(16, 2) == (4, 2) and several.share(16, 8) == (2, 8)
    assert several.share(2, 2) == (1, 2) and several.share(1000, 3) == (4, 3)
    # Four pieces and a single image: nobody waits for long.
    assert several.share(17, 2) == (4, 2)


def test_what_cannot_be_shared_out_evenly_is_shared_piece_by_piece() -> None:
    single, several = BatchStage(10, 10**10, 0), BatchStage(10, 10**10, 6)
    assert [single.share(n, 2) for n in (3, 5)] == [(2, 1), (2, 1)]
    assert single.share(16, 3) == (3, 1) and single.share(16, 32) == (16, 1)
    assert several.share(7, 4) == (7, 1)


def predicted(model: cauce.Model, x: Array, threads: int) -> Array:
    return np.asarray(cauce.compile(model, backend="llvm", threads=threads)(x))


@pytest.mark.parametrize("function", [with_head, without_head])
def test_streams_change_no_bit(function: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces on threads of their own, as the sizes have it: all that a call can meet."""
    monkeypatch.setattr(artifact, "_FLOPS_PER_MICRO_BATCH", 1)
    model = cauce.network(function).init(x=("N", 3, 10, 10), seed=3)
    for count in (2, 3, 8, 13, 32):
        x = images(count, 3, 10, 10)
        single = predicted(model, x, 1)
        for threads in (2, 3, 4):
            np.testing.assert_array_equal(predicted(model, x, threads), single)


def test_streams_of_a_busy_pool_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_out(monkeypatch, 1, 2)
    model = cauce.network(without_head).init(x=("N", 3, 10, 10), seed=3)
    predict, x = cauce.compile(model, backend="llvm", threads=2), images(8, 3, 10, 10)
    expected = predict(x)
    pool = shared_pool(2)
    with pool._lock:
        np.testing.assert_array_equal(predict(x), expected)


def test_calls_at_a_time_have_streams_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_out(monkeypatch, 1, 2)
    model = cauce.network(without_head).init(x=("N", 3, 10, 10), seed=3)
    predict = cauce.compile(model, backend="llvm", threads=2)
    many = [images(count, 3, 10, 10) for count in (4, 6, 8, 9)]
    expected = [predict(x) for x in many]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            for found, wanted in zip(threads.map(predict, many), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("side", SIDES)
def test_streams_stay_within_their_memory(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every buffer of every stream ends, or begins, at a page that nothing may touch."""
    shared_out(monkeypatch, 2, 2)
    model = cauce.network(with_head).init(x=("N", 3, 10, 10), seed=3)
    predict, x = cauce.compile(model, backend="llvm", threads=2), images(7, 3, 10, 10)
    expected = predict(x)
    monkeypatch.setenv(GUARD, side)
    guarded = cauce.compile(model, backend="llvm", threads=2)
    np.testing.assert_array_equal(guarded(x), expected)


def test_each_stream_has_buffers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_out(monkeypatch, 2, 3)
    model = cauce.network(without_head).init(x=("N", 3, 10, 10), seed=3)
    entry = program_of(cauce.compile(model, backend="llvm", threads=3)).callers[1].entry
    layout = lay_out(entry, {"N": 12}, 3)
    streams = [[own for own in layout.slices if own.stream == stream] for stream in range(3)]
    assert streams[1] and len(streams[1]) == len(streams[2])
    ends = [max(own.offset + own.nbytes for own in stream) for stream in streams[1:]]
    assert ends[0] <= min(own.offset for own in streams[2]) and ends[1] <= layout.nbytes


def test_a_profile_of_streams_counts_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_out(monkeypatch, 2, 2)
    model = cauce.network(without_head).init(x=("N", 3, 10, 10), seed=3)
    predict, x = cauce.compile(model, backend="llvm", threads=2), images(7, 3, 10, 10)
    alone, all_ = (predict.profile(batch) for batch in (x[:1], x))
    assert [row.path for row in alone] == [row.path for row in all_]
    assert all_.total.flops == 7 * alone.total.flops
    assert all(row.seconds > 0 for row in all_)


MIB = 2**20
EARLY = [LaunchCost(MIB // 8, 4 * MIB, 1000, True)] * 5
LATE = [LaunchCost(30 * MIB, MIB // 4, 1000, True)] * 4


def test_late_layers_with_most_weights_have_a_stage_of_their_own() -> None:
    assert stages([*EARLY, *LATE]) == (BatchStage(5, 5000, 1), BatchStage(9, 4000, 4))
    assert stages(EARLY) == (BatchStage(5, 5000, 1),)
    assert stages(LATE) == (BatchStage(4, 4000, 4),)


def test_images_that_grow_again_are_not_held_in_between() -> None:
    assert len(stages([*EARLY, *LATE, *EARLY])) == 1


def test_a_stage_begins_with_a_node() -> None:
    inside = LATE[0]._replace(divisible=False)
    first, second = stages([*EARLY[:4], EARLY[4], inside, *LATE])
    assert (first.end, second.end) == (6, 10)


@pytest.mark.parametrize("streams", [(1, 1), (2, 2), (2, 1), (1, 2)])
@pytest.mark.parametrize("pieces", [(1, 4), (3, 2), (2, 11)])
def test_stages_change_no_bit(
    pieces: tuple[int, int],
    streams: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    model = cauce.network(with_head).init(x=("N", 3, 10, 10), seed=3)
    x = images(11, 3, 10, 10)
    whole = cauce.compile(model, backend="llvm", threads=2)(x)
    monkeypatch.setenv("CAUCE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(batches, "_WORTH", 1 << 40)
    predict = cauce.compile(model, backend="llvm", threads=2)
    main = predict.program.listing.build.main  # type: ignore[attr-defined]
    first, second = main.batch.stages
    some = {first.end: Share(pieces[0], streams[0]), second.end: Share(pieces[1], streams[1])}
    monkeypatch.setattr(BatchStage, "share", lambda self, count, threads: some[self.end])
    np.testing.assert_array_equal(predict(x), whole)
    first_, then = (f"{n} x {piece}" if n > 1 else piece for piece, n in zip(pieces, streams))
    assert f", for {first_}, then {then} of N at a time" in predict.plan(N=11)


def normalized(x: Tensor) -> Tensor:
    """Each image less the mean of all."""
    return nn.conv2d(x - x.mean(0, keepdim=True), 2, 3)


def turned(x: Tensor) -> Tensor:
    """Images become channels."""
    return nn.relu(nn.conv2d(x, 2, 3).permute(1, 0, 2, 3))


def counted(x: Tensor) -> Tensor:
    """The sum over all images."""
    return nn.conv2d(x, 2, 3).sum()


def doubled(x: Tensor) -> Tensor:
    """Two batches, one behind the other."""
    return nn.conv2d(nn.concat([x, x], 0), 2, 3)


@pytest.mark.parametrize("function", [normalized, turned, counted, doubled])
def test_images_that_meet_are_not_parted(function: object) -> None:
    model = cauce.network(function).init(x=("N", 3, 8, 8), seed=0)
    graph = cauce.compile(model, backend="llvm").graph
    main = build(graph, Target.host()).main
    assert find_batch(main.graph, [node for _, node in main.launches]) is None


def test_images_that_do_not_meet_are_found_and_cut_before_a_large_matrix() -> None:
    model = cauce.network(with_head).init(x=("N", 3, 10, 10), seed=3)
    program = cauce.compile(model, backend="llvm").program
    main = program.listing.build.main  # type: ignore[attr-defined]
    assert main.batch is not None and main.batch.symbol == "N"
    *_, (cut, _) = main.spans
    before = [anchor_of(node).op.name for _, node in main.launches[:cut]]
    behind = [anchor_of(node).op.name for _, node in main.launches[cut:]]
    assert "conv2d" in before and "matmul" not in before
    assert "conv2d" not in behind and "matmul" in behind


@pytest.mark.parametrize("function", [with_head, without_head])
def test_a_batch_of_fixed_size_runs_in_pieces_too(
    function: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = cauce.network(function), images(7, 3, 10, 10)

    def compiled(batch: int | str) -> cauce.Executable:
        # Strictly: else the algorithm of a convolution may be another where the batch is known.
        model = network.init(x=(batch, 3, 10, 10), seed=3)
        return cauce.compile(model, backend="llvm", precision="strict")

    expected = compiled("N")(x)
    shared_out(monkeypatch, 3)
    fixed = compiled(7)
    main = fixed.program.listing.build.main  # type: ignore[attr-defined]
    assert main.given == {"batch": 7} and main.batch is not None
    np.testing.assert_array_equal(fixed(x), expected)
    assert "for 3 of batch at a time" in fixed.plan()
    with pytest.raises(ShapeError):
        fixed(x[:6])


@pytest.mark.parametrize("function", [normalized, turned, counted, doubled])
def test_where_images_meet_their_number_stays_what_it_is(function: object) -> None:
    model = cauce.network(function).init(x=(4, 3, 8, 8), seed=0)
    predict, x = cauce.compile(model, backend="llvm"), images(4, 3, 8, 8)
    assert free_batch(predict.graph) == (predict.graph, {})
    np.testing.assert_allclose(predict(x), cauce.compile(model, backend="numpy")(x), 1e-4, 1e-5)


def test_what_has_no_images_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """An input and an output of unknown size that all images share."""
    shared_out(monkeypatch, 1, 2)

    @cauce.network
    def shifted(x, grid):
        return nn.relu(nn.conv2d(x + grid, 8, 3)), grid * 2

    model = shifted.init(x=("N", 3, "H", "W"), grid=(1, 3, "H", "W"), seed=0)
    feeds = images(4, 3, 9, 7), images(1, 3, 9, 7)
    native, plain = (cauce.compile(model, backend=name)(*feeds) for name in ("llvm", "numpy"))
    for found, wanted in zip(native, plain, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


# What depends on where an image stands, or on how many there are.
KNOW = {
    "their number": """
      %n = dim() size=N : i64[]
      %k = cast(%n) to=f32 : f32[]
      %z = mul(%y, %k) : f32[N,2,4,4]""",
    "their draws": """
      %k = random_uniform(%key) shape=[N, 2, 4, 4] stream=3 : f32[N,2,4,4]
      %z = mul(%y, %k) : f32[N,2,4,4]""",
}


def hold_in_pieces(text: str, monkeypatch: pytest.MonkeyPatch, **more: Array) -> None:
    """Four images one by one are what they are together."""
    shared_out(monkeypatch, 1, 2)
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.standard_normal((4, 3, 6, 6)).astype(np.float32),
        "w": rng.standard_normal((2, 3, 3, 3)).astype(np.float32),
        **more,
    }
    for found, wanted in both(cauce.parse(text), feeds).values():
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("body", KNOW.values(), ids=KNOW)
def test_what_knows_the_place_in_the_batch(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"""
    graph g(%x: f32[N,3,6,6], %w: f32[2,3,3,3], %key: u32[2]) -> f32[N,2,4,4] {{
      %y = conv2d(%x, %w) : f32[N,2,4,4]{body}
      return %z
    }}"""
    hold_in_pieces(text, monkeypatch, key=np.array([1, 2], np.uint32))


def test_a_batch_in_another_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    graph g(%x: f32[N,3,6,6], %w: f32[2,3,3,3], %k: f32[3,N]) -> (f32[N,2,4,4], f32[3]) {
      %y = conv2d(%x, %w) : f32[N,2,4,4]
      %z = sum(%k) axes=[1] : f32[3]
      return %y, %z
    }"""
    k = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    hold_in_pieces(text, monkeypatch, k=k)
