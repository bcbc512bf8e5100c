"""The store dies, freezes, loads, refuses: choices go on, rewards are refused at once and counted once when resent."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import UnavailableError
from service.server.assemble import Service
from service.serving.rewarder import RewardEvent
from service.store.contract import Outcome
from tests.rig.ground import Ground
from tests.rig.waiting import eventually

APPLIED, DUPLICATE = Outcome.APPLIED, Outcome.DUPLICATE


def kill(ground: Ground) -> None:
    assert ground.engine.pid is not None
    os.kill(ground.engine.pid, signal.SIGKILL)
    eventually(lambda: not ground.engine.alive())


def refused(ground: Ground, tokens: list[bytes]) -> list[UnavailableError]:
    """The answers of many callers at once, each of which must be told when to come again."""
    server = ground.world.services[0]
    with ThreadPoolExecutor(16) as pool:
        answers = [answer for part in pool.map(lambda t: ground.click(server, [t]), tokens) for answer in part]
    assert all(isinstance(a, UnavailableError) and a.retry_s > 0 for a in answers), answers
    return [a for a in answers if isinstance(a, UnavailableError)]


def test_a_killed_store_costs_no_choice_and_no_acknowledged_reward(ground: Ground) -> None:
    server, other = ground.service(), ground.service()
    tokens = ground.choose(server, 60)
    ground.settle()
    assert ground.click(server, tokens[:30]) == [APPLIED] * 30
    kill(ground)
    refused(ground, tokens[30:50])
    eventually(lambda: server.directory.stale and other.directory.stale)
    more = ground.choose(server, 40)
    ground.engine.restart()
    events = [RewardEvent(token, "click") for token in tokens + more]
    ground.insist(other, events)
    eventually(lambda: all(a == DUPLICATE for a in ground.click(server, tokens)))  # it may find the store later
    found = ground.proved(rewards=100)
    assert found.trials == 100


def claims(server: Service) -> list[float]:
    """The histogram of the claims that were sent to the store."""
    return list(dict(server.metrics.store_seconds.samples())["reward",])


def test_a_frozen_store_holds_nobody_for_long_and_an_ambiguous_reward_counts_once(ground: Ground) -> None:
    server = ground.service()
    tokens = ground.choose(server, 80)
    ground.settle()
    assert ground.engine.pid is not None
    os.kill(ground.engine.pid, signal.SIGSTOP)
    try:
        refused(ground, tokens[:32])  # the first ones wait for the time-out; what they sent may be applied later
        asked = claims(server)
        refused(ground, tokens[32:])
        assert claims(server) == asked, "nobody else waits for a store that does not answer"
        ground.choose(server, 20)
    finally:
        os.kill(ground.engine.pid, signal.SIGCONT)
    ground.insist(server, [RewardEvent(token, "click") for token in tokens])
    ground.proved(rewards=80)


def test_restarts_under_load_lose_and_double_nothing(ground: Ground) -> None:
    first, second = ground.service(), ground.service()
    tokens = ground.choose(first, 600)
    ground.settle()
    stop = threading.Event()
    chosen = [0]

    def keep_choosing() -> None:
        while not stop.is_set():
            ground.choose(first, 1)
            chosen[0] += 1

    def reward(part: list[bytes]) -> None:
        for at in range(0, len(part), 5):
            server = (first, second)[at // 5 % 2]
            ground.insist(server, [RewardEvent(t, "spend", 0.5, "e") for t in part[at : at + 5]])

    with ThreadPoolExecutor(5) as pool:
        choosing = pool.submit(keep_choosing)
        rewarding = [pool.submit(reward, tokens[i::4]) for i in range(4)]
        for _ in range(3):
            kill(ground)
            ground.engine.restart()
        for done in rewarding:
            done.result()
        stop.set()
        choosing.result()
    found = ground.proved(rewards=600)
    assert found.trials == 600 + chosen[0]
    assert len(ground.acked) == 600


def test_what_a_store_says_while_it_loads_is_no_answer(ground: Ground) -> None:
    """LOADING, as a store says it that reads its file: every command is refused with that word."""
    server = ground.service()
    tokens = ground.choose(server, 10)
    ground.settle()
    with ground.raw as raw:
        pipe = raw.pipeline(transaction=False)
        for i in range(100_000):
            pipe.set(f"ballast:{i}", "x" * 200)
        pipe.execute()
    kill(ground)
    ground.engine._child = None
    ground.engine._spawn()  # and do not wait
    said: list[str] = []
    past = ground.past()

    def loaded() -> bool:
        try:
            past.poll({})
        except UnavailableError as error:
            said.append(str(error))
            ground.choose(server, 1)
            return False
        return True

    eventually(loaded)
    past.close()
    assert any("LOADING" in word for word in said)
    ground.insist(server, [RewardEvent(token, "click") for token in tokens])
    ground.proved(rewards=10)


def read_only(ground: Ground) -> Callable[[], object]:
    with ground.raw as raw:
        raw.replicaof("127.0.0.1", 1)

    def back() -> None:
        with ground.raw as raw:
            raw.replicaof("NO", "ONE")

    return back


def set_to(name: str, value: object) -> Callable[[Ground], Callable[[], object]]:
    def apply(ground: Ground) -> Callable[[], object]:
        with ground.raw as raw:
            raw.config_set(name, value)

        def back() -> None:
            with ground.raw as raw:
                raw.config_set(name, 0)

        return back

    return apply


@pytest.mark.parametrize(
    "refuse", [read_only, set_to("min-replicas-to-write", 1), set_to("maxmemory", 1)], ids=["replica", "min", "full"]
)
def test_a_store_that_takes_no_writes_is_read_on_and_takes_the_rewards_later(
    ground: Ground, refuse: Callable[[Ground], Callable[[], object]]
) -> None:
    server = ground.service()
    tokens = ground.choose(server, 40)
    ground.settle()
    ground.click(server, tokens[:10])
    back = refuse(ground)
    refused(ground, tokens[10:])
    replica = next(iter(server.feed.replicas.values()))
    replica.cut = replica.whole()  # a checkpoint falls due meanwhile
    server.feed.refresh(60.0)
    server.feed.refresh(60.0)
    assert next(iter(server.feed.replicas.values())) is replica, "it is not loaded again and again"
    assert not server.directory.stale
    ground.choose(server, 10)
    back()
    ground.insist(server, [RewardEvent(token, "click") for token in tokens])
    assert ground.proved(rewards=40).trials == 50


def test_scripts_flushed_under_load_are_not_noticed(ground: Ground) -> None:
    server = ground.service()
    tokens = ground.choose(server, 200)
    ground.settle()
    with ground.raw as raw:
        for at in range(0, 200, 10):
            raw.script_flush()
            assert ground.click(server, tokens[at : at + 10]) == [APPLIED] * 10
    ground.proved(rewards=200)
