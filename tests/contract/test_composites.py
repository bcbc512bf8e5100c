"""The contract of metrics that are sums of others: whatever moves a part moves the sum, in the same step, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.store.contract import Act, Aggregate, Claim, Outcome, Store
from service.store.entries import rows_of
from service.store.rows import Composite
from tests.rig.rows import HOUR, claim, create, exposure, log, now
from tests.rig.stores import Subject

CLICK, ORDER, SIGNUP, VALUE, OTHER = range(5)
SUMS = (Composite(VALUE, ((ORDER, 10), (SIGNUP, -2))), Composite(OTHER, ((CLICK, 1), (ORDER, 3))))
APPLIED = Outcome.APPLIED


@pytest.fixture
def store(subject: Subject) -> Store:
    create(subject.store, "u")
    return subject.store


def of(time: int, metric: int, value: int, event: bytes, counter: int = 1, **more: Any) -> Claim:
    rule = Aggregate.SUM if metric == ORDER else Aggregate.MAX
    made = claim(time, counter, value, rule, event, metric, deferred=True)
    moves = tuple(one for one in SUMS if metric in dict(one.parts))
    return replace(made, moves=moves, floored=metric == ORDER, **more)


def story(store: Store) -> list[tuple[int, int, int, int]]:
    """Metric, old total, new total and exposure of every row."""
    entries = [entry for entry in log(store, "u") if entry.rewards and not entry.late]
    return [
        (int(row["metric"]), *totals)
        for entry in entries
        for row, totals in zip(rows_of(entry), entry.totals, strict=True)
    ]


def test_a_part_moves_its_sums_and_exposes_once(store: Store) -> None:
    t = now(store)
    sent = [of(t, ORDER, 5, b"a"), of(t, SIGNUP, 1, b"s"), of(t, ORDER, 5, b"a"), of(t, ORDER, -5, b"r")]
    assert store.claim("u", [*sent, exposure(t)]) == [APPLIED, APPLIED, Outcome.DUPLICATE, APPLIED, Outcome.DUPLICATE]
    assert story(store) == [
        (ORDER, 0, 5, 1), (VALUE, 0, 50, 0), (OTHER, 0, 15, 0), (SIGNUP, 0, 1, 0), (VALUE, 50, 48, 0),
        (ORDER, 5, 0, 0), (VALUE, 48, -2, 0), (OTHER, 15, 0, 0),
    ]  # fmt: skip
    (entry,) = (entry for entry in log(store, "u") if entry.rewards)
    assert len({row["counter"] for row in rows_of(entry)}) == 1


def test_what_changes_nothing_and_what_is_late_move_no_sum(store: Store) -> None:
    t = now(store)
    late = of(t, ORDER, 5, b"b", deadline=t - 1)
    assert store.claim("u", [of(t, SIGNUP, 0, b"s"), late]) == [APPLIED, Outcome.LATE]
    assert story(store) == [(SIGNUP, 0, 0, 1)]


def test_history_that_is_forgotten_takes_its_sum_along(store: Store) -> None:
    row = of(now(store), ORDER, 7, b"")
    for _ in range(2):
        assert store.claim("u", [row, replace(row, act=Act.FORGET)]) == [APPLIED, APPLIED]
    once = [
        (ORDER, 0, 7, 1),
        (VALUE, 0, 70, 0),
        (OTHER, 0, 21, 0),
        (ORDER, 7, 0, -1),
        (VALUE, 70, 0, 0),
        (OTHER, 21, 0, 0),
    ]
    assert story(store) == 2 * once


EVENTS = st.tuples(
    st.integers(1, 3), st.sampled_from((CLICK, ORDER, SIGNUP)), st.integers(-4, 4), st.sampled_from((b"a", b"b", b"c")),
    st.booleans(), st.booleans(),
)  # fmt: skip


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(events=st.lists(st.lists(EVENTS, min_size=1, max_size=6), min_size=1, max_size=8))
def test_a_sum_is_that_of_its_parts_after_every_call(subject: Subject, events: list[list[tuple[Any, ...]]]) -> None:
    """Random orders, retries, retractions, late ones: at each entry's end every sum is its parts', and follows itself."""
    test_a_sum_is_that_of_its_parts_after_every_call.runs += 1  # type: ignore[attr-defined]
    uid, store = f"u{test_a_sum_is_that_of_its_parts_after_every_call.runs}", subject.store  # type: ignore[attr-defined]
    create(store, uid)
    t = now(store)
    for call in events:
        made = [
            of(
                t,
                metric,
                0 if back else value,
                event,
                counter,
                act=Act(int(back)),
                deadline=t - 1 if late else t + HOUR,
            )
            for counter, metric, value, event, back, late in call
        ]
        store.claim(uid, made)
        store.claim(uid, made)
    totals: dict[tuple[int, int], int] = {}
    for entry in log(store, uid):
        if not entry.rewards or entry.late:
            continue
        for row, (old, new, _) in zip(rows_of(entry), entry.totals, strict=True):
            name = int(row["counter"]), int(row["metric"])
            assert totals.get(name, 0) == old
            totals[name] = new
        for counter in {name[0] for name in totals}:
            for number, parts in SUMS:
                expected = sum(weight * totals.get((counter, part), 0) for part, weight in parts)
                assert totals.get((counter, number), 0) == expected


test_a_sum_is_that_of_its_parts_after_every_call.runs = 0  # type: ignore[attr-defined]
