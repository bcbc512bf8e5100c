"""The whole store protocol, in any order hypothesis thinks of, against a model that a reader can check by eye.

Two users of one store take turns: nothing may depend on who calls.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from service.errors import ConflictError
from service.store.claims import MAX_EVENTS
from service.store.contract import Aggregate, Checkpointed, Claim, Entry, LostError, Outcome, Put, Store
from service.store.embedded import Embedded
from service.store.memory import MemoryStore
from service.store.redis import RedisStore
from service.store.rows import NO_METRIC
from tests.rig.rows import HOUR, TRIAL_SIZE, claim, exposure, fold, head

LIMIT = 200
NAMES = ("one", "two")
_prefixes = itertools.count(1)

Made = tuple[str, Any]  # what an entry of the log must say: config, trials, rewards with totals, late


@dataclass
class Experiment:
    """All that the model knows of one experiment."""

    name: str
    born: int  # store time; all of its decisions were made then, as the time is part of a decision's name
    version: int = 1
    record: bytes = b"first"
    log: list[Made] = field(default_factory=lambda: [("config", b"first")])
    sequences: dict[str, int] = field(default_factory=dict)
    exposed: set[int] = field(default_factory=set)
    totals: dict[tuple[int, int], int] = field(default_factory=dict)  # (decision, metric)
    events: dict[tuple[int, int], set[bytes]] = field(default_factory=dict)
    checkpoint: str | None = None

    def judge(self, one: Claim, now: int) -> tuple[Outcome, tuple[int, int, bool]]:
        """The outcome of a claim, and old total, new total, exposes."""
        key = (one.counter, one.metric)
        if one.deadline < now:
            return Outcome.LATE, (0, 0, False)
        exposes = one.deferred and one.counter not in self.exposed
        old, events = self.totals.get(key, 0), self.events.setdefault(key, set())
        if one.metric == NO_METRIC:
            outcome, new = (Outcome.APPLIED if exposes else Outcome.DUPLICATE), 0
        else:
            first = one.aggregate is Aggregate.FIRST
            made = {Aggregate.SUM: old + one.value, Aggregate.MAX: max(old, one.value)}.get(one.aggregate, one.value)
            new = one.value if key not in self.totals else made
            if key in self.totals and (first or one.event in events):
                return Outcome.DUPLICATE, (0, 0, False)
            if len(events) >= MAX_EVENTS:
                return Outcome.TOO_MANY_EVENTS, (0, 0, False)
            outcome = Outcome.APPLIED if abs(new) <= one.limit else Outcome.TOTAL_OUT_OF_RANGE
            if outcome is Outcome.APPLIED:
                self.totals[key] = new
                events.add(one.event)
        if outcome is Outcome.APPLIED and exposes:
            self.exposed.add(one.counter)
        return outcome, (old, new, exposes)


one_in = {n: st.integers(1, n).map(lambda drawn: drawn == 1) for n in (6, 10)}
# counter, value, aggregate, event, deferred, late, whether it is an exposure
claims = st.tuples(
    st.integers(1, 3), st.integers(-120, 120), st.sampled_from(Aggregate), st.integers(0, 80), st.booleans(),
    one_in[10], one_in[6],
)  # fmt: skip


class Machine(RuleBasedStateMachine):
    """Steps of the protocol; `users` gives two users of a store that has no experiments."""

    users: Callable[[], tuple[Store, Store]]

    def __init__(self) -> None:
        super().__init__()
        self.pair = type(self).users()
        self.turn = 0
        self.model: dict[str, Experiment] = {}
        self.deleted: set[str] = set()
        self.uids = itertools.count(1)

    @property
    def store(self) -> Store:
        """The user whose turn it is."""
        self.turn += 1
        return self.pair[self.turn % 2]

    def pick(self, index: int) -> tuple[str, Experiment]:
        return list(self.model.items())[index % len(self.model)]

    @rule(name=st.sampled_from(NAMES))
    def create(self, name: str) -> None:
        uid = f"{next(self.uids):016x}"
        if any(one.name == name for one in self.model.values()):
            with pytest.raises(ConflictError):
                self.store.put(Put(uid, name, 1, 0, b"first"))
            with pytest.raises(LostError):
                self.store.load(uid)
            return
        self.store.put(Put(uid, name, 1, 0, b"first"))
        self.model[uid] = Experiment(name, self.store.poll({}).now)

    @precondition(lambda self: self.model)
    @rule(at=st.integers(0, 5), behind=st.integers(-1, 1), again=st.booleans())
    def change(self, at: int, behind: int, again: bool) -> None:
        uid, one = self.pick(at)
        put = Put(uid, one.name, one.version + 1, one.version - behind, b"record %d" % (one.version + 1))
        if behind or put.expected == 0:
            with pytest.raises(ConflictError):
                self.store.put(Put(uid, one.name, one.version + 1, one.version + (behind or 1) * 7, b"never"))
            return
        for _ in range(1 + again):  # sent again, it is recognised
            self.store.put(put)
        one.version, one.record = put.version, put.record or b""
        one.log.append(("config", one.record))

    @precondition(lambda self: self.model)
    @rule(at=st.integers(0, 5))
    def delete(self, at: int) -> None:
        uid, one = self.pick(at)
        self.store.put(Put(uid, one.name, one.version + 1, one.version, None))
        self.store.put(Put(uid, one.name, one.version + 1, one.version, None))
        del self.model[uid]
        self.deleted.add(uid)
        with pytest.raises(LostError):
            self.store.append(uid, "w", 1, TRIAL_SIZE, b"", HOUR)

    @precondition(lambda self: self.model)
    @rule(
        at=st.integers(0, 5),
        writer=st.sampled_from("ab"),
        skip=st.integers(-2, 2),
        old=st.lists(st.booleans(), max_size=4),
    )
    def append(self, at: int, writer: str, skip: int, old: list[bool]) -> None:
        uid, one = self.pick(at)
        now = self.store.poll({}).now
        rows = [head(7, i, now - 3 * HOUR if each else now) for i, each in enumerate(old)]
        sequence = one.sequences.get(writer, 10) + skip  # never below 1
        dropped = self.store.append(uid, writer, sequence, TRIAL_SIZE, b"".join(rows), HOUR)
        if writer in one.sequences and skip <= 0:
            assert dropped == 0
            return
        one.sequences[writer] = sequence
        assert dropped == sum(old)
        if not all(old):
            one.log.append(("trials", b"".join(row for row, each in zip(rows, old, strict=True) if not each)))

    @precondition(lambda self: self.model)
    @rule(at=st.integers(0, 5), wanted=st.lists(claims, min_size=1, max_size=30))
    def claim(self, at: int, wanted: list[Any]) -> None:
        uid, one = self.pick(at)
        now = one.born
        made = []
        for counter, value, aggregate, event, deferred, late, shown in wanted:
            each = claim(
                now, counter, value, aggregate, b"%d" % event, int(aggregate), deferred, limit=LIMIT, late=late
            )
            made.append(exposure(now, counter, deferred) if shown and not late else each)
        judged = [one.judge(each, now) for each in made]
        assert self.store.claim(uid, made) == [outcome for outcome, _ in judged]
        for wanted_outcome, kind in ((Outcome.APPLIED, "rewards"), (Outcome.LATE, "late")):
            kept = [
                (each.row, totals) for each, (got, totals) in zip(made, judged, strict=True) if got is wanted_outcome
            ]
            if kept:
                rows = b"".join(row for row, _ in kept)
                one.log.append((kind, rows if kind == "late" else (rows, tuple(totals for _, totals in kept))))

    @precondition(lambda self: self.model)
    @rule(at=st.integers(0, 5), value=st.binary(max_size=5), stale=st.booleans())
    def save(self, at: int, value: bytes, stale: bool) -> None:
        uid, one = self.pick(at)
        last = self.store.poll({uid: "0-0"}, 100_000).entries[uid][-1].id
        point = fold(last, "1-1" if stale else one.checkpoint, {"f": value})
        if last == one.checkpoint:
            return
        answer = self.store.checkpoint(uid, point)
        assert answer is (Checkpointed.STALE if stale else Checkpointed.STORED)
        if not stale:
            one.checkpoint = last
            assert self.store.checkpoint(uid, point) is Checkpointed.SAME

    @invariant()
    def everybody_sees_the_same_log(self) -> None:
        known = dict.fromkeys([*self.model, *self.deleted], "0-0")
        poll = self.store.poll(known, 100_000)
        assert dict(poll.registry) == {one.name: uid for uid, one in self.model.items()}
        assert self.store.deleted(known) == self.deleted
        for uid, one in self.model.items():
            ids = [tuple(map(int, entry.id.split("-"))) for entry in poll.entries[uid]]
            assert ids == sorted(set(ids))
            assert [said(entry) for entry in poll.entries[uid]] == one.log
            loaded = self.store.load(uid)
            assert loaded.record == one.record
            assert (loaded.checkpoint.id if loaded.checkpoint else None) == one.checkpoint
        assert not set(poll.entries) & self.deleted


def said(entry: Entry) -> Made:
    """An entry as the model writes it."""
    if entry.config is not None:
        return "config", entry.config
    if entry.trials is not None:
        return "trials", entry.trials
    if entry.late:
        return "late", entry.rewards
    return "rewards", (entry.rewards, tuple(entry.totals))


def pairs_of(engine: Embedded, opened: list[RedisStore]) -> tuple[Store, Store]:
    prefix = f"model{next(_prefixes)}"
    opened += [RedisStore(engine.url, prefix, timeout=20.0) for _ in range(2)]
    return opened[-2], opened[-1]


@pytest.fixture(params=["memory", "valkey"])
def users(request: pytest.FixtureRequest) -> Iterator[Callable[[], tuple[Store, Store]]]:
    """Makes two users of an empty store."""
    opened: list[RedisStore] = []
    if request.param == "memory":

        def shared() -> tuple[Store, Store]:
            store = MemoryStore()
            return store, store

        yield shared
    else:
        engine = request.getfixturevalue("valkey")
        yield lambda: pairs_of(engine, opened)
    for store in opened:
        store.close()


def test_the_store_does_what_the_model_says(users: Callable[[], tuple[Store, Store]]) -> None:
    made = type("Bound", (Machine,), {"users": staticmethod(users)})
    run_state_machine_as_test(made, settings=settings(max_examples=30, stateful_step_count=20, deadline=None))
