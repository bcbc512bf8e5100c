"""Which experiments a poll asks about: none is forgotten, those in use at once; and what a server makes of parts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.experiment.compiled import build as compiled
from service.experiment.parse import parse
from service.learning import feed, rounds
from service.learning.rounds import LEAST, POLLS, Rounds, polls
from service.server.assemble import Service, Tuning, build
from service.store.contract import Checkpoint, Checkpointed, Put
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.stage import CONFIG, KEYS, choose, reward

A_POLL, MANY = 3, 8  # so few stand for hundreds


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1500), st.lists(st.integers(0, 1500), max_size=5))
def test_every_experiment_is_asked_about_once_a_round_and_those_in_use_at_every_poll(
    count: int, used: list[int]
) -> None:
    made, uids = Rounds(), {f"{n}": None for n in range(count)}
    for number in used:
        made.use(f"{number}")
    busy = {f"{number}" for number in used} & uids.keys()
    took = polls(count)
    assert 1 <= took <= POLLS
    parts = [made.next(uids, whole=False) for _ in range(took)]
    assert [part.listed for part in parts] == [True] + [False] * (took - 1)
    asked = Counter(uid for part in parts for uid in part.uids)
    assert asked == {uid: took if uid in busy else 1 for uid in uids}
    assert max(len(part.uids) for part in parts) <= max(LEAST, -(-count // POLLS)) + len(busy)
    assert list(made.next(uids, whole=True).uids) == list(uids)


def test_what_comes_and_goes_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "LEAST", 2)
    made, uids = Rounds(), dict.fromkeys("abcdef")
    assert list(made.next(uids, whole=False).uids) == ["a", "b"]
    made.use("gone")
    del uids["c"]
    uids["g"] = None
    assert list(made.next(uids, whole=False).uids) == ["d"]
    assert list(made.next(uids, whole=False).uids) == ["e", "f"]
    seen = {uid for _ in range(polls(len(uids))) for uid in made.next(uids, whole=False).uids}
    assert seen == uids.keys()


class Counting(MemoryStore):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.checkpoints = 0

    def checkpoint(self, uid: str, checkpoint: Checkpoint) -> Checkpointed:
        self.checkpoints += 1
        return super().checkpoint(uid, checkpoint)


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setattr(rounds, "LEAST", A_POLL)
    monkeypatch.setattr(feed, "QUIET_AT_ONCE", 2)
    store = Counting()
    for number in range(MANY):
        text, uid = CONFIG.format(name=f"n-{number}"), f"{number:016x}"
        store.put(Put(uid, f"n-{number}", 1, 0, compiled(parse(text), text, uid, 0, None)))
    return store


@pytest.fixture
def server(many: Counting) -> Service:
    made = build(many, KEYS, Metrics(), Tuning(10, 10))
    made.feed.turn()
    return made


def rows(server: Service, number: int) -> int:
    return server.feed.replicas[f"{number:016x}"].rows


def test_news_of_another_server_come_within_a_round_and_from_then_on_at_every_poll(
    many: Counting, server: Service
) -> None:
    beside = build(many, KEYS, Metrics(), Tuning(10, 10))
    beside.feed.turn()
    for number in (0, A_POLL - 1, MANY - 1):
        choose(beside, f"n-{number}", "ann")
    beside.feed.turn()
    assert [rows(beside, number) for number in (0, A_POLL - 1, MANY - 1)] == [1, 1, 1]
    for _ in range(polls(MANY)):
        server.feed._poll()
    assert [rows(server, number) for number in (0, 1, A_POLL - 1, MANY - 1)] == [1, 0, 1, 1]
    for _ in range(polls(MANY)):
        reward(beside, choose(beside, "n-0", "ben"), metric="click")
        beside.feed.turn()
        server.feed._poll()
        assert rows(server, 0) == rows(beside, 0)


def test_one_that_comes_or_goes_is_known_after_a_round(many: Counting, server: Service) -> None:
    text = CONFIG.format(name="late")
    many.put(Put("f" * 16, "late", 1, 0, compiled(parse(text), text, "f" * 16, 0, None)))
    many.put(Put(f"{7:016x}", "n-7", 1, 1, None))
    for _ in range(polls(MANY)):
        server.feed._poll()
    assert choose(server, "late", "ann").decision_id
    assert f"{7:016x}" not in server.feed.replicas
    assert len(server.feed.replicas) == MANY


def test_logs_that_have_been_quiet_are_kept_a_few_at_a_time(many: Counting, server: Service) -> None:
    many._clock = lambda: 2_000_000_000_000  # long after all of it
    for count in (2, 4):
        server.feed._poll()
        assert many.checkpoints == count
    for _ in range(2 * polls(MANY)):
        server.feed._poll()
    assert many.checkpoints == MANY
