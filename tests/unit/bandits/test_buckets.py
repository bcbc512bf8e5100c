"""Time buckets: nesting, independence of how often the rules are applied, few of them, nothing dropped."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.buckets import Bucket, containing, fine_width, next_settle, settle

HORIZON = 4096
TIMES = st.integers(0, 4_000_000)


def fold(times: list[int], nows: list[int], horizon: int = HORIZON) -> list[Bucket]:
    """Open the buckets of the times, settling at every `now` on the way."""
    buckets: list[Bucket] = []
    for time, now in zip(times, nows, strict=True):
        buckets = settle(buckets, now, horizon)
        if not any(b.start <= time < b.end for b in buckets):
            buckets = settle([*buckets, containing(time, fine_width(horizon))], -(2**62), horizon)
    return settle(buckets, nows[-1], horizon)


def test_fine_width_is_a_sixteenth_rounded_down_to_a_power_of_two() -> None:
    assert fine_width(16) == 1
    assert fine_width(1) == 1
    assert fine_width(16 * 100) == 64
    assert fine_width(16 * 128) == 128


@given(st.lists(TIMES, min_size=1, max_size=60), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_settling_often_or_once_gives_the_same_buckets(times: list[int], random: object) -> None:
    order = sorted(times)
    often = fold(order, order)
    once = fold(order, [order[0]] * (len(order) - 1) + [order[-1]])
    assert often == once


@given(st.lists(TIMES, min_size=1, max_size=60), st.integers(0, 10**9))
@settings(max_examples=200, deadline=None)
def test_buckets_are_aligned_disjoint_and_keep_every_time(times: list[int], later: int) -> None:
    buckets = fold(times, [max(times)] * (len(times) - 1) + [max(times) + later])
    for a, b in pairwise(buckets):
        assert a.end <= b.start
    for bucket in buckets:
        assert bucket.width & (bucket.width - 1) == 0
        assert bucket.start % bucket.width == 0
    for time in times:
        assert sum(b.start <= time < b.end for b in buckets) == 1


def test_ten_years_of_hourly_traffic_stay_below_a_hundred_buckets() -> None:
    hour, day = 3_600_000, 86_400_000
    buckets: list[Bucket] = []
    for t in range(0, 10 * 365 * day, 6 * hour):
        buckets = settle([*buckets, containing(t, fine_width(day))], t, day)
        assert len(buckets) < 100


@given(st.lists(TIMES, min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_next_settle_is_when_something_changes(times: list[int]) -> None:
    now = max(times)
    buckets = fold(sorted(times), [now] * len(times))
    due = next_settle(buckets, HORIZON)
    assert settle(buckets, due - 1, HORIZON) == buckets
    assert settle(buckets, due, HORIZON) != buckets


def test_wider_new_buckets_take_in_narrower_old_ones() -> None:
    assert settle([Bucket(0, 1), Bucket(2, 1), Bucket(0, 4)], -1, HORIZON) == [Bucket(0, 4)]
    assert settle([Bucket(4, 4), Bucket(6, 1)], -1, HORIZON) == [Bucket(4, 4)]
