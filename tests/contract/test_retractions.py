"""The contract of retractions and refunds: exactly once, whatever comes first, in every store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.store.claims import UNNAMED
from service.store.contract import Act, Aggregate, Claim, Outcome, Store
from service.store.memory import MemoryStore
from service.store.scripts import Script
from tests.oracles.claims import Story
from tests.rig.rows import HOUR, claim, create, exposure, log, now
from tests.rig.stores import Subject

APPLIED, DUPLICATE, RETRACTED = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.RETRACTED
RULES = {"first": Aggregate.FIRST, "sum": Aggregate.SUM, "last": Aggregate.LAST, "max": Aggregate.MAX}


@pytest.fixture
def store(subject: Subject) -> Store:
    create(subject.store, "u")
    return subject.store


def back(of: Claim) -> Claim:
    return replace(of, act=Act.RETRACT, value=0)


def one(store: Store, *claims: Claim) -> list[Outcome]:
    return [store.claim("u", [each])[0] for each in claims]


def totals(store: Store) -> list[tuple[int, int, int]]:
    return [triple for entry in log(store, "u") if not entry.late for triple in entry.totals]


@pytest.mark.parametrize("event", [b"", b"scanner"])
def test_a_click_is_taken_back_once_and_its_decision_stays_a_trial(store: Store, event: bytes) -> None:
    click = claim(now(store), event=event, deferred=True)
    assert one(store, click, back(click), back(click), click) == [APPLIED, APPLIED, DUPLICATE, RETRACTED]
    assert totals(store) == [(0, 1, 1), (1, 0, 0)]


def test_taken_back_before_it_came_it_never_counts_and_exposes_nothing(store: Store) -> None:
    click = claim(now(store), event=b"a", deferred=True)
    assert one(store, back(click), click, back(click), click) == [APPLIED, RETRACTED, DUPLICATE, RETRACTED]
    assert one(store, exposure(click.time)) == [APPLIED]
    assert totals(store) == [(0, 0, 0), (0, 0, 1)]


def test_after_the_scanner_the_reader_counts(store: Store) -> None:
    t = now(store)
    scanner, reader = claim(t, event=b"scanner"), claim(t, event=b"reader")
    assert one(store, scanner, reader, back(scanner), scanner, reader, reader) == [
        APPLIED, DUPLICATE, APPLIED, RETRACTED, APPLIED, DUPLICATE,
    ]  # fmt: skip
    assert totals(store) == [(0, 1, 0), (1, 0, 0), (0, 1, 0)]


def test_first_without_a_name_means_whatever_counted(store: Store) -> None:
    t = now(store)
    assert one(store, claim(t, event=b"a"), back(claim(t)), claim(t, event=b"a"), claim(t)) == [
        APPLIED, APPLIED, RETRACTED, RETRACTED,
    ]  # fmt: skip
    assert one(store, claim(t, 2), back(claim(t, 2, event=b"a")), claim(t, 2)) == [APPLIED, APPLIED, APPLIED]


def test_the_total_is_that_of_what_is_left(store: Store) -> None:
    t = now(store)
    for counter, (rule, expected) in enumerate({"sum": 8, "last": 5, "max": 5}.items(), 1):
        a, b, c = (claim(t, counter, v, RULES[rule], event=e) for v, e in ((3, b"a"), (9, b"b"), (5, b"c")))
        assert one(store, a, b, c, back(b)) == [APPLIED] * 4
        assert totals(store)[-1][1] == expected
        assert one(store, back(a), back(c)) == [APPLIED] * 2
        assert totals(store)[-1][1] == 0


def test_refunds_lower_a_total_to_nothing_and_no_further(store: Store) -> None:
    t = now(store)

    def event(value: int, name: bytes) -> Claim:
        return replace(claim(t, value=value, aggregate=Aggregate.SUM, event=name), floored=True)

    order, refund = event(50, b"order"), event(-20, b"refund")
    none = Outcome.NOTHING_TO_LOWER
    assert one(store, refund, order, refund, refund, event(-100, b"all"), event(-1, b"more")) == [
        none, APPLIED, APPLIED, DUPLICATE, APPLIED, none,
    ]  # fmt: skip
    assert totals(store) == [(0, 50, 0), (50, 30, 0), (30, 0, 0)]
    assert one(store, back(event(0, b"all")), back(order), back(refund)) == [APPLIED] * 3
    assert totals(store)[3:] == [(0, 30, 0), (30, 0, 0), (0, 0, 0)]


def test_late_is_late(store: Store) -> None:
    t = now(store)
    click = claim(t, event=b"a")
    assert one(store, click, back(claim(t, event=b"a", late=True))) == [APPLIED, Outcome.LATE]
    assert [entry.late for entry in log(store, "u")[1:]] == [False, True]


def test_events_are_counted_with_those_taken_back(store: Store) -> None:
    t = now(store)
    events = [claim(t, aggregate=Aggregate.SUM, event=b"%d" % i) for i in range(66)]
    full = Outcome.TOO_MANY_EVENTS
    assert store.claim("u", events[:32]) == [APPLIED] * 32
    assert store.claim("u", [back(e) for e in events[16:64]]) == [APPLIED] * 48
    assert one(store, events[64], back(events[64]), back(events[0]), back(events[16]), events[16]) == [
        full, full, APPLIED, DUPLICATE, RETRACTED,
    ]  # fmt: skip
    assert totals(store)[-1] == (16, 15, 0)


def test_history_is_forgotten_with_its_trial_and_can_be_taught_again(store: Store) -> None:
    t = now(store)
    row, blank = claim(t, value=7, deferred=True), exposure(t, 2)
    forget = [replace(one, act=Act.FORGET, value=0) for one in (row, blank)]
    for _ in range(2):
        assert store.claim("u", [row, blank]) == [APPLIED, APPLIED]
        assert one(store, *forget, *forget) == [APPLIED, APPLIED, DUPLICATE, DUPLICATE]
    assert totals(store) == [(0, 7, 1), (0, 0, 1), (7, 0, -1), (0, 0, -1)] * 2
    assert list(store.claims("u")) == []  # type: ignore[attr-defined]  # of the engine's side


events = st.tuples(
    st.booleans(), st.sampled_from([b"", *(b"%d" % i for i in range(6))]), st.integers(-60, 60), st.integers(1, 2)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(events, max_size=25), rule=st.sampled_from(list(RULES)), floored=st.booleans(), data=st.data())
def test_any_order_comes_to_what_the_words_say(
    store: Store, told: list[tuple[bool, bytes, int, int]], rule: str, floored: bool, data: Any
) -> None:
    """Retractions and rewards in any order, in calls of any length, against the oracle; the log tells the same story."""
    prefix, t = data.draw(st.integers(0, 2**62), label="prefix"), now(store)
    create(store, f"v{prefix}", f"n{prefix}") if f"v{prefix}" not in store.poll({}).registry.values() else None
    uid, stories = f"v{prefix}", {n: Story(rule, floored and rule == "sum") for n in (1, 2)}
    sent: list[Claim] = []
    expected: list[str] = []
    moved: list[tuple[int, int]] = []
    begun = len(log(store, uid))
    fresh = data.draw(st.integers(0, 2**30), label="decision") * 2
    for retract, event, value, which in told:
        made = claim(
            t, fresh + which, 0 if retract else value, RULES[rule], event, prefix=len(log(store, uid)) + prefix
        )
        made = replace(made, act=Act.RETRACT if retract else Act.COUNT, floored=floored and rule == "sum")
        before = stories[which].total()
        expected.append(stories[which].retract(event) if retract else stories[which].reward(event, value))
        moved += [(before, stories[which].total())] if expected[-1] == "APPLIED" else []
        sent.append(made)
    outcomes: list[str] = []
    while len(outcomes) < len(sent):
        step = data.draw(st.integers(1, 9))
        outcomes += [o.name for o in store.claim(uid, sent[len(outcomes) : len(outcomes) + step])]
    assert outcomes == expected
    assert [(old, new) for e in log(store, uid)[begun:] for old, new, _ in e.totals] == moved


OLD = {  # claims as they were written before events could be taken back
    b"0;0:1:": (RULES["first"], b"anything", APPLIED, 1),
    b"0;0:50:" + b"AAAAAAAA": (RULES["sum"], b"other", APPLIED, 50),
    b"0;0:50:" + b"AAAAAAAA" + b"BBBBBBBB": (RULES["sum"], b"other", APPLIED, 50),
}


@pytest.mark.parametrize("kept", OLD)
def test_claims_of_before_are_read(subject: Subject, kept: bytes) -> None:
    if subject.engine is None:
        pytest.skip("looks into a single engine")
    store, (aggregate, event, outcome, old) = subject.store, OLD[kept]
    create(store, "u")
    made = claim(now(store), aggregate=aggregate, event=event)
    with subject.raw as raw:
        raw.hset(f"{subject.prefix}:{{u}}:c:{made.time // (24 * HOUR)}:{made.prefix:x}:0", "1", kept)
    assert one(store, back(made)) == [outcome]
    new = 0 if aggregate is Aggregate.FIRST else old  # an event that had not come
    assert totals(store) == [(old, new, 0)]
    assert one(store, made) == [RETRACTED]


def test_what_an_event_of_before_was_worth_is_not_guessed(subject: Subject) -> None:
    if subject.engine is None:
        pytest.skip("looks into a single engine")
    store = subject.store
    create(store, "u")
    a, b, c = (
        claim(now(store), value=v, aggregate=Aggregate.SUM, event=e) for v, e in ((3, b"a"), (4, b"b"), (5, b"c"))
    )
    one(store, a, b)
    with subject.raw as raw:
        key = f"{subject.prefix}:{{u}}:c:{a.time // (24 * HOUR)}:{a.prefix:x}:0"
        kept = raw.hget(key, "1")
        assert isinstance(kept, bytes)
        raw.hset(key, "1", b";".join(kept.split(b";")[:2]))
    assert one(store, back(a), c, back(c), back(b)) == [
        Outcome.VALUE_UNKNOWN,
        APPLIED,
        Outcome.VALUE_UNKNOWN,
        Outcome.VALUE_UNKNOWN,
    ]
    assert totals(store)[-1] == (7, 12, 0)


def test_the_script_knows_the_event_without_a_name() -> None:
    assert f"'{UNNAMED.decode()}'" in Script.load("claim").text.decode()
    assert isinstance(MemoryStore(), MemoryStore)
