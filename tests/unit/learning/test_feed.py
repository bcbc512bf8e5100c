"""The feed over a store in memory: whose fault is whose, what is said and forgotten, what a refresh waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

import pytest
import structlog

from bandits.recall import Recall, Shift
from service.errors import NotFoundError, UnavailableError
from service.experiment.compiled import read
from service.learning.changes import ChangeLog
from service.learning.replica import Replica
from service.learning.reviews import Finding
from service.server.assemble import Service, Tuning, build
from service.serving.rewarder import RewardEvent
from service.store.contract import Entry, Poll
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.stage import CONFIG, KEYS, choose, reward


class Refusing(MemoryStore):
    """A store that takes no trials of one experiment, and counts its polls."""

    refuses = ""
    polls = 0
    slow = threading.Event()
    slow.set()

    def poll(self, cursors: Mapping[str, str], limit: int = 1000, *, listed: bool = True) -> Poll:
        self.polls += 1
        assert self.slow.wait(60)
        return super().poll(cursors, limit, listed=listed)

    def append(self, uid: str, writer: str, sequence: int, stride: int, trials: bytes, horizon: int) -> int:
        if uid == self.refuses:
            raise UnavailableError("no room for these")
        return super().append(uid, writer, sequence, stride, trials, horizon)


@pytest.fixture
def store() -> Refusing:
    return Refusing()


@pytest.fixture
def server(store: Refusing) -> Iterator[Service]:
    made = build(store, KEYS, Metrics(), Tuning(10, 10))
    made.start()
    made.feed.refresh(60.0)
    for name in ("hero", "other"):
        made.experiments.put(CONFIG.format(name=name), 0)
    yield made
    made.stop(0.1)


def uid_of(server: Service, name: str) -> str:
    return server.experiments.get(name).uid


@pytest.mark.parametrize("fault", [ZeroDivisionError("of ours"), OverflowError("64 bits"), KeyError(7)])
def test_whatever_goes_wrong_with_one_experiment_stays_with_it(
    server: Service, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    bad, fold = uid_of(server, "hero"), Replica.fold

    def folded(replica: Replica, entries: Sequence[Entry]) -> None:
        if replica.uid == bad and any(entry.trials for entry in entries):
            raise fault
        fold(replica, entries)

    monkeypatch.setattr(Replica, "fold", folded)
    for name in ("hero", "other"):
        choose(server, name, "ann")
    server.feed.flushed(60.0)
    server.feed.refresh(60.0)
    assert set(server.feed.replicas) == {uid_of(server, "other")}
    assert server.feed.replicas[uid_of(server, "other")].rows == 1
    assert dict(server.metrics.unreadable.samples())["hero",] == [1]
    assert choose(server, "hero", "ann").arm in "ab", "its last snapshot is served"


def test_a_snapshot_that_cannot_be_derived_hinders_no_other(server: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, derive = uid_of(server, "hero"), Replica.snapshot

    def snapshot(replica: Replica, now_ms: int) -> object:
        if replica.uid == bad:
            raise FloatingPointError
        return derive(replica, now_ms)

    monkeypatch.setattr(Replica, "snapshot", snapshot)
    for name in ("hero", "other"):
        choose(server, name, "ann")
    server.feed.flushed(60.0)
    server.feed.refresh(60.0)
    cursors = {uid: replica.cursor for uid, replica in server.feed.replicas.items()}
    other = uid_of(server, "other")
    assert bad not in cursors
    assert server.directory.by_uid[other].log_id == cursors[other]


def test_trials_that_the_store_refuses_keep_no_others_waiting(server: Service, store: Refusing) -> None:
    store.refuses = uid_of(server, "hero")
    for name in ("hero", "other"):
        choose(server, name, "ann")
    with pytest.raises(UnavailableError):
        server.feed.flushed(1.0)
    server.feed.refresh(60.0)
    assert server.feed.replicas[uid_of(server, "other")].rows == 1
    store.refuses = ""
    server.feed.flushed(60.0)
    server.feed.refresh(60.0)
    assert server.feed.replicas[uid_of(server, "hero")].rows == 1


def test_a_refresh_returns_after_a_poll_that_began_after_it_was_asked(
    server: Service, store: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(server, "hero", "ann")
    server.feed.flushed(60.0)
    polled, poll = [0], store.poll

    def counted(cursors: dict[str, str], limit: int = 1000, *, listed: bool = True) -> Poll:
        polled[0] += 1
        return poll(cursors, limit, listed=listed)

    monkeypatch.setattr(store, "poll", counted)
    for _ in range(20):
        before = polled[0]
        server.feed.refresh(60.0)
        assert polled[0] > before


def test_a_refresh_waits_on_where_the_store_is_not_away_but_this_process_is_late(
    server: Service, store: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = threading.Event()
    monkeypatch.setattr(store, "slow", late)
    try:
        with pytest.raises(UnavailableError, match="this server is too busy"):
            server.feed.refresh(0.01, 0.05)
        with pytest.raises(UnavailableError, match="the store does not answer"):
            server.feed.refresh(0.01, 0.01)
        asked = threading.Thread(target=server.feed.refresh, args=(0.01, 60.0))
        asked.start()
        asked.join(0.1)
        assert asked.is_alive()
    finally:
        late.set()
    asked.join(60)
    assert not asked.is_alive()


@pytest.fixture
def other(store: Refusing, server: Service) -> Iterator[Service]:
    """Another server of that store, which polls of itself once an hour."""
    made = build(store, KEYS, Metrics(), Tuning(3_600_000, 10))
    made.start()
    made.feed.refresh(60.0)
    yield made
    made.stop(0.1)


def test_a_reward_of_an_experiment_that_another_server_just_made_counts(server: Service, other: Service) -> None:
    server.experiments.put(CONFIG.format(name="newest"), 0)
    assert "newest" not in other.directory.by_name
    assert reward(other, choose(server, "newest", "ann")).name == "APPLIED"


def test_rewards_of_what_was_deleted_are_refused_and_ask_the_store_once(
    server: Service, store: Refusing, other: Service
) -> None:
    server.experiments.put(CONFIG.format(name="newest"), 0)
    decisions = [choose(server, "newest", f"s{i}") for i in range(5)]
    server.feed.flushed(60.0)
    server.experiments.delete("newest", None)
    server.feed.stop()
    before = store.polls
    for decision in decisions:
        with pytest.raises(NotFoundError):
            reward(other, decision)
    assert store.polls == before + 1


def test_a_server_that_has_not_read_the_store_does_not_say_what_is_not_in_it(store: Refusing, server: Service) -> None:
    fresh = build(store, KEYS, Metrics(), Tuning(10, 10))
    with pytest.raises(UnavailableError, match="'hero' is not known yet"):
        choose(fresh, "hero", "ann")
    fresh.feed.turn()
    assert choose(fresh, "hero", "ann").arm in "ab"
    with pytest.raises(NotFoundError):
        choose(fresh, "nothing", "ann")


def test_a_deleted_experiment_leaves_nothing_behind(server: Service) -> None:
    uid = uid_of(server, "hero")
    decision = choose(server, "hero", "ann")
    server.feed.flushed(60.0)
    assert reward(server, decision).name == "APPLIED"
    server.experiments.delete("hero", None)
    assert uid not in server.feed.replicas
    assert uid not in server.directory.by_uid
    assert uid not in server.directory.buffers
    assert not server.feed.lost()
    (answer,) = server.use_cases.reward([RewardEvent(b"no token")])
    assert isinstance(answer, Exception)


def test_changes_and_outages_are_said_once_and_forgotten_with_the_experiment(server: Service) -> None:
    server.experiments.put(CONFIG.format(name="third").replace("beta", "auto"), 0)
    log, hours = ChangeLog(), (1_767_225_600_000, 1_767_312_000_000)
    shift = Shift(1, hours[0], 512)
    with server.feed.paused() as replicas, structlog.testing.capture_logs() as lines:
        replica = replicas[uid_of(server, "third")]

        def derive(shifts: list[Shift], outage: tuple[int, int] | None, first: bool = False) -> int:
            past = Recall([0], [1], {}, 0, {}, outage, shifts)
            replica.reviews.findings[0] = Finding(1.0, None, 9, past)
            log.derived(replica, first=first)
            return len(lines)

        assert derive([shift], None, first=True) == 0
        assert derive([shift], None) == 0
        assert derive([shift, Shift(0, *hours)], None) == 1
        assert (lines[0]["experiment"], lines[0]["segment"], lines[0]["arm"]) == ("third", "default", "a")
        assert derive([], hours) == 2
        assert derive([], (hours[0], hours[1] + 1)) == 2
        assert lines[1]["since"] == "2026-01-01 00:00 UTC"
        assert derive([], None) == 3
        assert (lines[2]["since"], lines[2]["until"]) == ("2026-01-01 00:00 UTC", "2026-01-02 00:00 UTC")
        log.forget(replica.uid)
        assert derive([shift], hours, first=True) == 3
        replica.reviews.findings.clear()


def test_a_configuration_is_compiled_once_on_its_way(server: Service) -> None:
    before = read.cache_info().misses
    experiment, changed = server.experiments.put(CONFIG.format(name="third"), 0)
    assert changed
    assert read.cache_info().misses == before + 1
    assert server.feed.replicas[experiment.uid].experiment is experiment
    assert server.experiments.get("third") is experiment


def test_what_nobody_asks_for_is_read_and_brought_up_to_date_once_it_matters(
    server: Service, store: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server's trials alone are no reason, but a new configuration, a look at it and a choice are."""
    monkeypatch.setattr("service.learning.publisher.ASKED_S", 0.0)
    idle, uid = build(store, KEYS, Metrics(), Tuning(rest_s=3600.0)), uid_of(server, "hero")
    idle.feed.turn()
    rows: list[int] = []

    def more() -> bool:
        """One more trial elsewhere; whether the idle one, which has read it, serves it."""
        choose(server, "hero", "ann")
        server.feed.flushed(60.0)
        idle.feed.turn()
        replica = idle.feed.replicas[uid]
        rows.append(replica.rows)
        return idle.directory.by_uid[uid].log_id == replica.cursor

    assert not more()
    assert idle.feed.inspect("hero", lambda snapshot, replica, _: snapshot.log_id == replica.cursor)
    assert idle.directory.by_uid[uid].log_id == idle.feed.replicas[uid].cursor
    idle.directory.asked.clear()
    assert not more()
    server.experiments.put(CONFIG.format(name="hero") + "holdout: {share: 0.1}\n", 1)
    assert more()
    assert not more()
    monkeypatch.setattr("service.learning.publisher.ASKED_S", 3600.0)
    idle.directory.named("hero")
    assert more()
    assert more()
    assert rows == list(range(1, len(rows) + 1))
