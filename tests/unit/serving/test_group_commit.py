"""What comes one by one is counted together, and each caller hears of its own alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidError
from service.serving.group_commit import MOST, Answers, Count, GroupCommit, Late, Waiting
from service.serving.rewarder import Event, RewardAnswer, RewardEvent
from service.store.contract import Outcome

FOREVER = float("inf")


class Store:
    """Answers by the decision's first byte: B breaks, F is forged, D a duplicate. `hold` keeps the first call back."""

    def __init__(self, *, hold: bool = False) -> None:
        self.calls: list[list[bytes]] = []
        self.entered, self.release = threading.Event(), threading.Event()
        if not hold:
            self.release.set()

    def count(self, events: Sequence[Event]) -> list[RewardAnswer]:
        self.calls.append([event.decision for event in events])
        self.entered.set()
        assert self.release.wait(20)
        if any(event.decision.startswith(b"B") for event in events):
            raise ZeroDivisionError
        return [answer_to(event.decision) for event in events]


def answer_to(decision: bytes) -> RewardAnswer:
    if decision.startswith(b"F"):
        return InvalidError.field("decision", "is forged")
    return Outcome.DUPLICATE if decision.startswith(b"D") else Outcome.APPLIED


class Caller:
    """Keeps what it is told."""

    def __init__(self, *decisions: bytes, deadline: float = FOREVER) -> None:
        self.told: list[Answers] = []
        self.waiting = Waiting([RewardEvent(d) for d in decisions], deadline, self.told.append)
        self.decisions = decisions

    def check(self) -> None:
        (told,) = self.told
        if any(d.startswith(b"B") for d in self.decisions):
            assert isinstance(told, ZeroDivisionError)
        else:
            assert isinstance(told, Sequence)
            assert [str(answer) for answer in told] == [str(answer_to(d)) for d in self.decisions]


@contextmanager
def committing(count: Count, faults: list[Exception] | None = None) -> Iterator[GroupCommit]:
    group = GroupCommit(count, 4, (faults if faults is not None else []).append)
    group.start()
    yield group
    group.stop()


def test_what_comes_meanwhile_goes_in_the_next_call() -> None:
    store = Store(hold=True)
    callers = [Caller(b"%d" % i) for i in range(20)]
    with committing(store.count) as group:
        group.put(callers[0].waiting)
        assert store.entered.wait(20)
        assert not group.full
        for caller in callers[1:]:
            group.put(caller.waiting)
        assert group.full
        assert not any(caller.told for caller in callers)  # nothing is acknowledged before it was counted
        store.release.set()
    assert [len(call) for call in store.calls] == [1, 19]
    for caller in callers:
        caller.check()


def test_a_group_is_bounded() -> None:
    store = Store(hold=True)
    callers = [Caller(b"%d" % i) for i in range(2 * MOST + 1)]
    with committing(store.count) as group:
        for caller in callers:
            group.put(caller.waiting)
        store.release.set()
    assert max(map(len, store.calls)) <= MOST
    assert sum(map(len, store.calls)) == len(callers)
    for caller in callers:
        caller.check()


DECISIONS = st.lists(st.sampled_from([b"A", b"B", b"D", b"F"]), min_size=1, max_size=3)


@settings(max_examples=50, deadline=None)
@given(st.lists(DECISIONS, min_size=1, max_size=12))
def test_each_hears_of_its_own_whatever_is_beside_it(given: list[list[bytes]]) -> None:
    store = Store(hold=True)
    callers = [Caller(*decisions) for decisions in given]
    with committing(store.count) as group:
        for caller in callers:
            group.put(caller.waiting)
        store.release.set()
    for caller in callers:
        caller.check()


def test_who_no_longer_waits_is_not_counted() -> None:
    store = Store()
    late, good = Caller(b"A", deadline=time.time() - 1), Caller(b"A", deadline=time.time() + 60)
    with committing(store.count) as group:
        group.put(late.waiting)
        group.put(good.waiting)
    assert [type(told) for told in late.told] == [Late]
    good.check()
    assert store.calls == [[b"A"]]


def test_who_sends_hears_of_a_group_once_all_of_it_were_told() -> None:
    store, callers, faults = Store(hold=True), [Caller(b"%d" % i) for i in range(20)], list[Exception]()
    heard: list[int] = []

    def sends() -> None:
        heard.append(sum(bool(caller.told) for caller in callers))
        raise RuntimeError("a fault of ours")

    group = GroupCommit(store.count, 4, faults.append, sends)
    group.start()
    for caller in callers:
        group.put(caller.waiting)
        assert store.entered.wait(20)  # the first alone
    store.release.set()
    group.stop()
    assert heard == [1, 20]
    assert [str(fault) for fault in faults] == ["a fault of ours"] * 2


def test_a_caller_that_cannot_be_told_keeps_it_from_nobody() -> None:
    def broken(_: Answers) -> None:
        raise RuntimeError("a fault of ours")

    faults: list[Exception] = []
    good = Caller(b"A")
    with committing(Store().count, faults) as group:
        group.put(Waiting([RewardEvent(b"A")], FOREVER, broken))
        group.put(good.waiting)
    good.check()
    assert [str(fault) for fault in faults] == ["a fault of ours"]
