"""The interval packer: nothing that lives at the same time overlaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cauce.ir.interval_packer import Interval, pack

INTERVALS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 12), st.integers(0, 12)).map(
        lambda t: Interval(t[0], min(t[1:]), max(t[1:]))
    ),
    max_size=20,
)


@given(INTERVALS, st.sampled_from([1, 16, 64]))
def test_no_two_that_live_together_overlap(intervals: list[Interval], alignment: int) -> None:
    offsets, total = pack(intervals, alignment)
    assert all(offset % alignment == 0 for offset in offsets)
    for i, (one, begin) in enumerate(zip(intervals, offsets)):
        assert begin + one.nbytes <= total
        for other, start in zip(intervals[:i], offsets):
            if one.first <= other.last and other.first <= one.last:
                apart = begin + one.nbytes <= start or start + other.nbytes <= begin
                assert apart or 0 in (one.nbytes, other.nbytes)


@given(INTERVALS)
def test_the_total_is_no_more_than_all_and_no_less_than_the_peak(
    intervals: list[Interval],
) -> None:
    _, total = pack(intervals, 1)
    peak = max(
        (sum(i.nbytes for i in intervals if i.first <= t <= i.last) for t in range(13)), default=0
    )
    assert peak <= total <= sum(interval.nbytes for interval in intervals)


def test_what_follows_takes_the_place_of_what_is_done() -> None:
    chain = [Interval(100, t, t + 1) for t in range(10)]
    assert pack(chain, 1)[1] == 200
