"""The contract of the Store protocol, but for claims (test_claims.py): every implementation passes it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from service.errors import ConflictError, UnavailableError
from service.store.contract import Aggregate, Checkpointed, Entry, LostError, Outcome, Put, Seed, Store
from tests.rig.rows import HOUR, TRIAL_SIZE, claim, create, exposure, fold, head, loaded, log, now
from tests.rig.stores import Subject

STORED, SAME, DIVERGED, STALE = Checkpointed.STORED, Checkpointed.SAME, Checkpointed.DIVERGED, Checkpointed.STALE


# put, load


def test_a_configuration_is_stored_logged_and_registered(store: Store) -> None:
    record = bytes(range(256))
    create(store, "u", "hero", record)
    assert store.load("u").record == record
    assert store.load("u").checkpoint is None
    assert store.poll({}).registry == {"hero": "u"}
    (entry,) = log(store, "u")
    assert entry.config == record
    assert abs(entry.time - now(store)) < HOUR
    assert entry.trials is None
    assert entry.rewards is None


def test_an_update_replaces_exactly_the_expected_version(store: Store) -> None:
    create(store, "u")
    store.put(Put("u", "name of u", 2, 1, b"second"))
    for version, expected in ((3, 1), (2, 1), (9, 5), (1, 0)):
        with pytest.raises(ConflictError):
            store.put(Put("u", "name of u", version, expected, b"other"))
    assert store.load("u").record == b"second"
    assert store.load("u").history == {1: b"first", 2: b"second"}
    assert [entry.config for entry in log(store, "u")] == [b"first", b"second"]


def test_the_same_write_twice_is_one_write(store: Store) -> None:
    for _ in range(2):
        create(store, "u", "hero")
    for _ in range(2):
        store.put(Put("u", "hero", 2, 1, b"second"))
    assert [entry.config for entry in log(store, "u")] == [b"first", b"second"]


def test_the_history_keeps_the_newest_fifty(store: Store) -> None:
    create(store, "u")
    for version in range(2, 61):
        store.put(Put("u", "name of u", version, version - 1, b"%d" % version))
    assert list(store.load("u").history) == list(range(11, 61))


def test_a_name_belongs_to_one_experiment(store: Store) -> None:
    create(store, "u", "hero")
    with pytest.raises(ConflictError):
        create(store, "v", "hero")
    with pytest.raises(LostError):
        store.load("v")
    assert store.poll({"v": "0-0"}).entries == {}
    assert store.poll({}).registry == {"hero": "u"}


def test_of_many_creators_of_one_name_one_wins_and_the_others_leave_nothing(subject: Subject) -> None:
    gate = threading.Barrier(16)

    def race(i: int) -> bool:
        gate.wait()
        try:
            create(subject.store, f"u{i}", "hero")
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(race, range(16)))
    assert won.count(True) == 1
    assert subject.store.poll({}).registry == {"hero": f"u{won.index(True)}"}
    for i, winner in enumerate(won):
        assert bool(log(subject.store, f"u{i}")) == winner


def test_of_many_updates_of_one_version_one_wins(subject: Subject) -> None:
    create(subject.store, "u")
    gate = threading.Barrier(16)

    def race(i: int) -> bool:
        gate.wait()
        try:
            subject.store.put(Put("u", "name of u", 2, 1, b"by %d" % i))
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(race, range(16)))
    assert won.count(True) == 1
    assert subject.store.load("u").record == b"by %d" % won.index(True)
    assert len(log(subject.store, "u")) == 2


def test_a_deletion_is_marked_and_frees_the_name(store: Store) -> None:
    create(store, "u", "hero")
    store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, now(store)), HOUR)
    with pytest.raises(ConflictError):
        store.put(Put("u", "hero", 5, 4, None))
    for _ in range(2):  # sent again it is recognised
        store.put(Put("u", "hero", 1, 1, None))
    poll = store.poll({"u": "0-0"})
    assert poll.registry == {}
    assert store.deleted(["u"]) == frozenset({"u"})
    assert poll.entries == {}
    create(store, "v", "hero")
    store.put(Put("u", "hero", 1, 1, None))
    assert store.poll({}).registry == {"hero": "v"}


def test_what_was_deleted_stays_so(store: Store) -> None:
    create(store, "u", "hero")
    store.put(Put("u", "hero", 1, 1, None))
    for expected in (0, 1):
        with pytest.raises(ConflictError):
            store.put(Put("u", "hero", expected + 1, expected, b"again"))
    with pytest.raises(LostError):
        store.load("u")


# poll


def test_a_poll_brings_what_came_after_the_cursor_and_says_if_there_is_more(store: Store) -> None:
    for uid in ("u", "v"):
        create(store, uid)
    for i in range(5):
        store.append("u", "w", i, TRIAL_SIZE, head(1, i, now(store)), HOUR)
    everything = log(store, "u")
    assert len(everything) == 6
    got: list[Entry] = []
    cursor, more = "0-0", True
    while more:
        poll = store.poll({"u": cursor, "v": log(store, "v")[-1].id}, limit=4)
        assert set(poll.entries) <= {"u"}
        got += poll.entries.get("u", ())
        cursor, more = got[-1].id, poll.more
    assert got == everything
    assert store.poll({"u": cursor}).entries == {}
    assert store.poll({"unknown": "0-0"}).entries == {}


def test_polls_of_one_connection_are_of_one_session(store: Store) -> None:
    assert store.poll({}).session == store.poll({}).session


def test_store_time_is_that_of_the_entries(store: Store) -> None:
    before = now(store)
    create(store, "u")
    assert before <= log(store, "u")[0].time <= now(store)


# append


def test_trials_are_appended_once(store: Store) -> None:
    create(store, "u")
    t = now(store)
    first, second = head(1, 1, t) + head(1, 2, t), head(1, 3, t)
    for sequence, rows in ((1, first), (1, first), (2, second), (1, first), (2, second)):
        assert store.append("u", "w", sequence, TRIAL_SIZE, rows, HOUR) == 0
    assert store.append("u", "other", 1, TRIAL_SIZE, second, HOUR) == 0
    assert [(e.trials, e.stride) for e in log(store, "u")[1:]] == [(r, TRIAL_SIZE) for r in (first, second, second)]


def test_trials_too_old_for_a_reward_are_dropped_and_counted(store: Store) -> None:
    create(store, "u")
    t, features = now(store), bytes(range(8))
    stride = TRIAL_SIZE + 8
    times = [t, t - 2 * HOUR, t + HOUR, t - HOUR + 60_000, 0, -(2**40)]
    rows = [head(2**63 + 5, i, time) + features for i, time in enumerate(times)]
    assert store.append("u", "w", 1, stride, b"".join(rows), HOUR) == 3
    assert log(store, "u")[-1].trials == rows[0] + rows[2] + rows[3]
    assert store.append("u", "w", 2, stride, rows[1], HOUR) == 1
    assert len(log(store, "u")) == 2
    assert store.append("u", "w", 2, stride, rows[0], HOUR) == 0
    assert len(log(store, "u")) == 2


def test_trials_that_are_no_rows_are_refused(store: Store) -> None:
    create(store, "u")
    with pytest.raises(ValueError, match="rows"):
        store.append("u", "w", 1, TRIAL_SIZE, bytes(TRIAL_SIZE + 1), HOUR)


def test_many_rows_in_one_append(store: Store) -> None:
    create(store, "u")
    t = now(store)
    rows = b"".join(head(1, i, t if i % 2 else t - 2 * HOUR) for i in range(20_000))
    assert store.append("u", "w", 1, TRIAL_SIZE, rows, HOUR) == 10_000
    assert len(log(store, "u")[-1].trials or b"") == 10_000 * TRIAL_SIZE


def test_what_is_brought_back_stands_on_its_state_and_begins_an_epoch(subject: Subject) -> None:
    store = subject.store
    t = now(store)
    state = fold("7-7", None, {"config": b"third", "a": b"1"}, rows=9)
    entries = [Entry("5-0", config=b"first"), Entry("5-1", TRIAL_SIZE, trials=head(1, 1, 5))]
    put = Put("u", "hero", 3, 0, b"third", Seed(state, t + 60_000, entries))
    for _ in range(2):  # sent again it is recognised
        store.put(put)
    *before, last = log(store, "u")
    assert before == entries
    assert (last.config, last.seeded) == (b"third", True)
    found = store.load("u")
    assert (found.record, found.epoch) == (b"third", t + 60_000)
    assert loaded(store) == replace(state, id=last.id)
    assert store.poll({}).registry == {"hero": "u"}
    assert store.claim("u", [claim(t)]) == [Outcome.LATE]
    assert store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t) + head(1, 2, t + 60_000), HOUR) == 1
    assert store.claim("u", [claim(t + 60_000)]) == [Outcome.APPLIED]
    with pytest.raises(ConflictError):
        store.put(replace(put, version=4))
    with pytest.raises(ConflictError):
        store.put(replace(put, uid="v"))
    store.put(Put("u", "hero", 3, 3, None))
    store.put(put)  # also what was deleted
    assert store.deleted(["u"]) == frozenset()


def test_a_loss_that_is_accepted_is_a_deletion(subject: Subject) -> None:
    store = subject.store
    create(store, "u", "hero")
    with pytest.raises(ConflictError):
        store.put(Put("u", "hero", 0, 0, None))
    subject.lose()
    store.put(Put("u", "hero", 0, 0, None))
    assert store.deleted(["u"]) == frozenset({"u"})


def test_claims_are_told_as_they_are_kept(subject: Subject) -> None:
    store = subject.store
    create(store, "u")
    t = now(store)
    many = [claim(t, 300, i, Aggregate.SUM, b"%d" % i, metric=1) for i in range(20)]
    store.claim("u", [claim(t, 1, 7), claim(t, 2, deferred=True), exposure(t, 3), *many])
    held = {h.counter: h for h in subject.store.claims("u")}
    assert {c: (h.exposed, dict(h.totals)) for c, h in held.items()} == {
        1: (False, {0: (7, 1, 1)}),
        2: (True, {0: (1, 1, 1)}),
        3: (True, {}),
        300: (False, {1: (190, 20, 20)}),
    }
    assert {(h.prefix, h.day) for h in held.values()} == {(2**64 - 1, t // (24 * HOUR))}


# loss


def test_a_store_that_forgot_says_so(subject: Subject) -> None:
    store = subject.store
    create(store, "u")
    t, entry = now(store), log(store, "u")[0].id
    subject.lose()
    for call in (
        lambda: store.claim("u", [claim(t)]),
        lambda: store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t), HOUR),
        lambda: store.load("u"),
        lambda: store.checkpoint("u", fold(entry, None, {})),
        lambda: store.put(Put("u", "name of u", 2, 1, b"second")),
        lambda: store.put(Put("u", "name of u", 1, 1, None)),
    ):
        with pytest.raises(LostError) as caught:
            call()
        assert isinstance(caught.value, UnavailableError)
        assert caught.value.reason == "STORE_LOST_EXPERIMENT"
    poll = store.poll({"u": "0-0"})
    assert poll.registry == {}
    assert poll.entries == {}
    assert not store.deleted(["u"])


# backend


def test_the_first_secret_stays(subject: Subject) -> None:
    secret = bytes(range(32))
    assert subject.store.secret("token", secret) == secret
    assert subject.again().secret("token", b"another") == secret
    assert subject.store.secret("other", b"another") == b"another"


def test_the_engine_says_what_it_promises(subject: Subject) -> None:
    facts = subject.store.facts()
    assert set(facts) == {"engine", "version", "fsync", "eviction", "memory"}
    assert facts["eviction"] == "noeviction"
    if subject.engine is not None:
        assert facts["fsync"] == "always"


# remember


def test_the_first_word_stands_until_it_expires(store: Store) -> None:
    soon = now(store) + HOUR
    assert store.remember("order", b"\x00first", soon) == b"\x00first"
    assert store.remember("order", b"second", soon) == b"\x00first"
    assert store.remember("another", b"second", soon) == b"second"
    assert store.remember("old", b"gone", now(store) - 1000) == b"gone"
    assert store.remember("old", b"new", soon) == b"new"


def test_a_poll_that_spares_the_registry_has_it_as_it_was_read_last(subject: Subject) -> None:
    store = subject.store
    create(store, "u", "hero")
    assert store.poll({}).registry == {"hero": "u"}
    other = subject.again()
    create(other, "v", "other")
    poll = store.poll({"v": "0-0"}, listed=False)
    assert [entry.config for entry in poll.of("v")] == [b"first"]
    assert poll.registry.items() >= {("hero", "u")}
    assert store.poll({}).registry == {"hero": "u", "other": "v"}
    unread = subject.again()
    assert unread.poll({"u": "0-0"}, listed=False).registry == {"hero": "u", "other": "v"}, "nothing was read before"
