"""The contract of Store.claim: each event counts once, and the log says what it changed."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from service.store.claims import MAX_CLAIMS
from service.store.contract import Act, Aggregate, Claim, Entry, LostError, Outcome, Store
from service.store.memory import MemoryStore
from service.store.rows import NO_METRIC
from tests.rig.rows import HOUR, REWARD_SIZE, claim, create, exposure, log, now, widened
from tests.rig.stores import Subject

APPLIED, DUPLICATE, LATE = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.LATE
COUNT = Act.COUNT
FIRST, SUM, LAST, MAX = Aggregate.FIRST, Aggregate.SUM, Aggregate.LAST, Aggregate.MAX


def rewards(store: Store, uid: str = "u", *, late: bool = False) -> list[Entry]:
    return [entry for entry in log(store, uid) if entry.rewards and entry.late == late]


def totals(store: Store, uid: str = "u") -> list[tuple[int, int, int]]:
    return [triple for entry in rewards(store, uid) for triple in entry.totals]


def one(store: Store, *claims: Claim) -> list[Outcome]:
    """The outcomes of the claims, sent one by one."""
    return [store.claim("u", [each])[0] for each in claims]


@pytest.fixture
def store(subject: Subject) -> Store:
    create(subject.store, "u")
    return subject.store


def test_first_counts_one_reward_whatever_its_event(store: Store) -> None:
    t = now(store)
    assert one(store, claim(t, value=5), claim(t, value=5), claim(t, value=9, event=b"other")) == [
        APPLIED, DUPLICATE, DUPLICATE,
    ]  # fmt: skip
    assert totals(store) == [(0, 5, False)]


def test_sum_adds_each_event_once(store: Store) -> None:
    t = now(store)
    sent = [(b"a", 5), (b"b", -7), (b"a", 5), (b"c", 2), (b"b", 100)]
    outcomes = one(store, *(claim(t, value=v, aggregate=SUM, event=e) for e, v in sent))
    assert outcomes == [APPLIED, APPLIED, DUPLICATE, APPLIED, DUPLICATE]
    assert totals(store) == [(0, 5, False), (5, -2, False), (-2, 0, False)]


def test_last_replaces_in_order_of_arrival(store: Store) -> None:
    t = now(store)
    sent = [(b"a", 5), (b"b", -7), (b"a", 8), (b"c", 0)]
    outcomes = one(store, *(claim(t, value=v, aggregate=LAST, event=e) for e, v in sent))
    assert outcomes == [APPLIED, APPLIED, DUPLICATE, APPLIED]
    assert totals(store) == [(0, 5, False), (5, -7, False), (-7, 0, False)]


def test_max_of_negative_rewards_is_negative_and_an_unchanged_total_is_logged(store: Store) -> None:
    t = now(store)
    sent = [(b"a", -9), (b"b", -4), (b"c", -6), (b"d", 3)]
    assert set(one(store, *(claim(t, value=v, aggregate=MAX, event=e) for e, v in sent))) == {APPLIED}
    assert totals(store) == [(0, -9, False), (-9, -4, False), (-4, -4, False), (-4, 3, False)]


def test_metrics_and_decisions_are_apart(store: Store) -> None:
    t = now(store)
    apart = [claim(t), claim(t, metric=1), claim(t, metric=11), claim(t, counter=2), claim(t, prefix=7)]
    assert one(store, *apart) == [APPLIED] * 5
    assert one(store, *apart) == [DUPLICATE] * 5
    # 256 counters share a shard; the same low byte in another shard is another decision.
    assert one(store, claim(t, counter=1 + 256), claim(t, counter=2**32 - 1)) == [APPLIED] * 2


def test_claims_of_one_call_see_each_other(store: Store) -> None:
    t = now(store)
    call = [
        claim(t, value=3, aggregate=SUM, event=b"a"),
        claim(t, value=4, aggregate=SUM, event=b"b"),
        claim(t, value=3, aggregate=SUM, event=b"a"),
        claim(t, counter=2, value=1),
        claim(t, counter=2, value=1),
    ]
    assert store.claim("u", call) == [APPLIED, APPLIED, DUPLICATE, APPLIED, DUPLICATE]
    (entry,) = rewards(store)
    assert entry.stride == REWARD_SIZE
    assert entry.rewards == call[0].row + call[1].row + call[3].row
    assert list(entry.totals) == [(0, 3, False), (3, 7, False), (0, 1, False)]


def test_a_call_of_duplicates_appends_nothing(store: Store) -> None:
    t = now(store)
    store.claim("u", [claim(t)])
    before = log(store, "u")
    assert store.claim("u", [claim(t), claim(t)]) == [DUPLICATE, DUPLICATE]
    assert store.claim("u", []) == []
    assert log(store, "u") == before


def test_sixty_four_events_and_not_one_more(store: Store) -> None:
    t = now(store)
    events = [claim(t, aggregate=SUM, event=b"%d" % i) for i in range(65)]
    assert store.claim("u", events) == [APPLIED] * 64 + [Outcome.TOO_MANY_EVENTS]
    assert one(store, events[64], events[63], events[0]) == [Outcome.TOO_MANY_EVENTS, DUPLICATE, DUPLICATE]
    assert store.claim("u", [replace(e, metric=1) for e in events[:3]]) == [APPLIED] * 3
    assert totals(store)[63] == (63, 64, False)
    assert len(totals(store)) == 67


def test_a_total_out_of_range_refuses_only_its_own_claim(store: Store) -> None:
    t = now(store)
    call = [
        claim(t, value=90, aggregate=SUM, event=b"a", limit=100),
        claim(t, value=11, aggregate=SUM, event=b"b", limit=100),
        claim(t, value=10, aggregate=SUM, event=b"c", limit=100),
        claim(t, counter=2, value=-101, aggregate=LAST, event=b"a", limit=100),
        claim(t, counter=3, value=-101, limit=100),
    ]
    refused = Outcome.TOTAL_OUT_OF_RANGE
    assert store.claim("u", call) == [APPLIED, refused, APPLIED, refused, refused]
    assert totals(store) == [(0, 90, False), (90, 100, False)]
    # The refused event left nothing behind: smaller, it would have counted.
    assert one(store, claim(t, value=-1, aggregate=SUM, event=b"b", limit=100)) == [APPLIED]


@pytest.mark.parametrize("aggregate", [FIRST, SUM, LAST, MAX])
def test_totals_are_exact_up_to_what_a_cell_holds(store: Store, aggregate: Aggregate) -> None:
    t, most = now(store), 2**53 - 1
    for sign in (1, -1):
        edge = claim(t, 10 + sign, value=sign * most, aggregate=aggregate, event=b"a")
        beyond = claim(t, 20 + sign, value=sign * 2**53, aggregate=aggregate, event=b"a")
        far = claim(t, 30 + sign, value=sign * 2**80, aggregate=aggregate, event=b"a")
        assert one(store, edge, beyond, far) == [APPLIED] + [Outcome.TOTAL_OUT_OF_RANGE] * 2
    assert totals(store) == [(0, most, False), (0, -most, False)]


def test_a_sum_that_a_huge_value_would_bring_back_into_range_is_refused(store: Store) -> None:
    t = now(store)
    sent = [claim(t, value=v, aggregate=SUM, event=b"%d" % v) for v in (-(2**53) + 1, 2**53 + 1)]
    assert one(store, *sent) == [APPLIED, Outcome.TOTAL_OUT_OF_RANGE]


def test_the_first_reward_of_a_deferred_decision_exposes_it(store: Store) -> None:
    t = now(store)
    call = [claim(t, deferred=True), claim(t, metric=1, deferred=True), exposure(t)]
    assert store.claim("u", call) == [APPLIED, APPLIED, DUPLICATE]
    assert totals(store) == [(0, 1, True), (0, 1, False)]
    assert one(store, exposure(t)) == [DUPLICATE]


def test_an_exposure_counts_once_and_rewards_after_it_do_not_expose(store: Store) -> None:
    t = now(store)
    assert one(store, exposure(t), exposure(t), claim(t, deferred=True)) == [APPLIED, DUPLICATE, APPLIED]
    assert totals(store) == [(0, 0, True), (0, 1, False)]
    (shown, rewarded) = rewards(store)
    assert shown.rewards == exposure(t).row
    assert rewarded.rewards == claim(t).row


def test_a_decision_that_was_not_deferred_is_exposed_already(store: Store) -> None:
    t = now(store)
    assert one(store, exposure(t, deferred=False), claim(t)) == [DUPLICATE, APPLIED]
    assert totals(store) == [(0, 1, False)]


def test_a_refused_reward_exposes_nothing(store: Store) -> None:
    t = now(store)
    assert one(store, claim(t, value=5, limit=4, deferred=True)) == [Outcome.TOTAL_OUT_OF_RANGE]
    assert one(store, exposure(t)) == [APPLIED]


def test_a_late_claim_is_logged_as_such_and_not_counted(store: Store) -> None:
    t = now(store)
    call = [claim(t, 1, late=True), claim(t, 2), replace(exposure(t, 3), deadline=t - 1), claim(t, 1)]
    assert store.claim("u", call) == [LATE, APPLIED, LATE, APPLIED]
    (late,) = rewards(store, late=True)
    assert late.rewards == call[0].row + call[2].row
    assert late.stride == REWARD_SIZE
    assert not late.totals
    assert totals(store) == [(0, 1, False), (0, 1, False)]


def test_rows_are_any_bytes(store: Store) -> None:
    t = now(store)
    features = bytes(range(256))
    store.claim("u", [widened(claim(t, i), features) for i in range(3)])
    (entry,) = rewards(store)
    assert entry.stride == REWARD_SIZE + 256
    assert entry.rewards == b"".join(widened(claim(t, i), features).row for i in range(3))


def test_events_are_any_bytes(store: Store) -> None:
    t = now(store)
    events = [b"", b"\0", b"\xff" * 200, b";", b":1:", b"\r\n"]
    call = [claim(t, aggregate=SUM, event=event) for event in events]
    assert store.claim("u", call * 2) == [APPLIED] * 6 + [DUPLICATE] * 6


def test_calls_that_make_no_sense_are_refused_before_anything_is_written(store: Store) -> None:
    t = now(store)
    before = log(store, "u")
    with pytest.raises(ValueError, match="one size"):
        store.claim("u", [claim(t), widened(claim(t, 2), b"\0\0")])
    with pytest.raises(ValueError, match="at most"):
        store.claim("u", [claim(t, i) for i in range(MAX_CLAIMS + 1)])
    assert log(store, "u") == before


def test_the_largest_call_is_one_entry(store: Store) -> None:
    t = now(store)
    call = [claim(t, i * 131, value=i, aggregate=SUM, event=b"e", deferred=True) for i in range(MAX_CLAIMS)]
    assert store.claim("u", call) == [APPLIED] * MAX_CLAIMS
    (entry,) = rewards(store)
    assert entry.rewards == b"".join(each.row for each in call)
    assert list(entry.totals) == [(0, i, True) for i in range(MAX_CLAIMS)]
    assert store.claim("u", call) == [DUPLICATE] * MAX_CLAIMS


def test_one_of_a_hundred_threads_wins(subject: Subject) -> None:
    create(subject.store, "u")
    t, gate = now(subject.store), threading.Barrier(100)

    def race(_: int) -> list[Outcome]:
        gate.wait()
        return list(
            subject.store.claim("u", [claim(t, deferred=True), claim(t, 2, value=1, aggregate=SUM, event=b"e")])
        )

    with ThreadPoolExecutor(100) as pool:
        outcomes = list(pool.map(race, range(100)))
    for each in zip(*outcomes, strict=True):
        assert sorted(each) == [APPLIED] + [DUPLICATE] * 99
    assert totals(subject.store) == [(0, 1, True), (0, 1, False)]


def test_threads_that_add_different_events_lose_none(subject: Subject) -> None:
    create(subject.store, "u")
    t = now(subject.store)

    def add(i: int) -> Sequence[Outcome]:
        return subject.again().claim("u", [claim(t, value=i, aggregate=SUM, event=b"%d" % i)])

    with ThreadPoolExecutor(16) as pool:
        assert {outcome for outcomes in pool.map(add, range(64)) for outcome in outcomes} == {APPLIED}
    seen = totals(subject.store)
    assert seen[-1][1] == sum(range(64))
    assert all(after[0] == before[1] for before, after in itertools.pairwise(seen))


def _anything(rng: random.Random, t: int) -> Claim:
    metric = rng.choice([0, 1, 2, 3, 4, NO_METRIC])
    act = rng.choices([Act.COUNT, Act.RETRACT, Act.FORGET], [90, 10, 0.2])[0]
    made = claim(
        t,
        counter=rng.choice([1, 2, 257]),
        value=rng.randint(-60, 60),
        aggregate=SUM if metric == 4 else Aggregate(metric) if metric != NO_METRIC else FIRST,
        event=b"%d" % rng.randint(0, 150) if rng.random() < 0.9 else b"",
        metric=metric,
        deferred=rng.random() < 0.5,
        limit=200,
        late=rng.random() < 0.05,
    )
    return replace(made, act=COUNT if metric == NO_METRIC and act is Act.RETRACT else act, floored=metric == 4)


def test_every_store_judges_as_the_obvious_one_does(store: Store) -> None:
    """3,000 random claims in random calls, against MemoryStore: outcomes, totals and rows."""
    rng = random.Random(20_241)
    t, obvious = now(store), MemoryStore()
    create(obvious, "u")
    seen = set()
    for _ in range(300):
        # `deferred` belongs to the decision, but a store must not depend on that.
        call = [_anything(rng, t) for _ in range(rng.randint(1, 19))]
        outcomes = store.claim("u", call)
        assert outcomes == obvious.claim("u", call)
        seen |= set(outcomes)
    refused = {Outcome.TOO_MANY_EVENTS, Outcome.TOTAL_OUT_OF_RANGE, Outcome.NOTHING_TO_LOWER}
    assert seen == {APPLIED, DUPLICATE, LATE, Outcome.RETRACTED} | refused

    def contents(of: Store) -> list[tuple[bytes | None, tuple[tuple[int, int, int], ...], bool]]:
        return [(entry.rewards, tuple(entry.totals), entry.late) for entry in log(of, "u")]

    assert contents(store) == contents(obvious)


def test_a_memory_store_forgets_claims_that_have_expired() -> None:
    clock = [1_000_000]
    store = MemoryStore(lambda: clock[0])
    create(store, "u")
    store.claim("u", [claim(clock[0])])
    clock[0] += 3 * HOUR
    again = replace(claim(clock[0]), time=1_000_000)
    assert store.claim("u", [again]) == [APPLIED]
    assert store.claim("u", [again]) == [DUPLICATE]


def test_calls_of_several_experiments_are_each_for_itself(store: Store) -> None:
    create(store, "v")
    t = now(store)
    calls = [
        ("u", [claim(t, 1), claim(t, 2)]),
        ("gone", [claim(t, 3)]),
        ("v", [claim(t, 1)]),
        ("u", []),
        ("u", [claim(t, 2)]),
    ]
    first, lost, other, none, again = store.claim_each(calls)
    assert (first, other, none, again) == ([APPLIED, APPLIED], [APPLIED], [], [DUPLICATE])
    assert isinstance(lost, LostError)
    assert len(totals(store)) == 2
    assert len(totals(store, "v")) == 1
    assert store.claim_each([]) == []
