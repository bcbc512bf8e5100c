"""What clients do: storms of duplicates, disorder, lateness; and clocks that are wrong, arms that are gone."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import UnavailableError
from service.server.assemble import Service, Tuning, build
from service.serving.rewarder import RewardEvent
from service.serving.store_clock import StoreClock
from service.store.contract import Outcome, SpoiltError
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.ground import CONFIG, Ground
from tests.rig.stage import KEYS, choose

APPLIED, DUPLICATE, LATE = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.LATE
MINUTES_5 = 300_000


class Skewed(StoreClock):
    """A server whose own clock is wrong by so many milliseconds."""

    def __init__(self, skew_ms: int) -> None:
        super().__init__()
        self._offset_ns += skew_ms * 1_000_000


def test_a_storm_of_duplicates_in_any_order_counts_each_once(ground: Ground) -> None:
    servers = [ground.service() for _ in range(3)]
    tokens = ground.choose(servers[0], 150, deferred=True)  # rewards come before anybody knows of the trials
    rng = random.Random(4)
    events = [RewardEvent(t, "spend", rng.randint(-500, 500) / 100, f"e{i}") for i in range(2) for t in tokens]
    events += [RewardEvent(t, "click") for t in tokens]
    storm = events * 8
    rng.shuffle(storm)
    parts = [storm[at : at + 20] for at in range(0, len(storm), 20)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: servers[n % 3].use_cases.reward(parts[n]), range(len(parts))))
    outcomes = [answer for part in done for answer in part]
    # On a busy machine an engine may be late once; then nobody knows what counted, and it is sent again, as by any client.
    left = [
        event
        for part, answers in zip(parts, done, strict=True)
        for event, answer in zip(part, answers, strict=True)
        if isinstance(answer, UnavailableError)
    ]
    ground.insist(servers[0], left)
    assert {answer for answer in outcomes if not isinstance(answer, UnavailableError)} == {APPLIED, DUPLICATE}
    assert outcomes.count(APPLIED) == len(events) or (left and outcomes.count(APPLIED) < len(events))
    found = ground.proved(rewards=len(events))
    assert found.trials == found.records == 150


@pytest.mark.parametrize("skew", [-MINUTES_5, MINUTES_5])
def test_a_server_whose_clock_is_five_minutes_off_decides_in_store_time(ground: Ground, skew: int) -> None:
    right = ground.service()
    wrong = build(ground.world.store(), KEYS, Metrics(), Tuning(20, 20), clock=Skewed(skew))
    ground.world.services.append(wrong)
    wrong.start()
    wrong.feed.refresh(60.0)
    assert abs(wrong.clock.now_ms() - right.clock.now_ms()) < 1000
    tokens = ground.choose(wrong, 40)
    ground.settle()
    assert ground.click(right, tokens[:20]) + ground.click(wrong, tokens[20:]) == [APPLIED] * 40
    assert ground.proved(rewards=40).trials == 40


class Hand:
    """A store's clock, moved by hand."""

    def __init__(self) -> None:
        self.now = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.now


def on(store: MemoryStore) -> Service:
    service = build(store, KEYS, Metrics(), Tuning(10, 10))
    service.start()
    service.feed.refresh(60.0)
    return service


def test_a_late_reward_is_answered_late_logged_and_not_counted() -> None:
    hand = Hand()
    store = MemoryStore(hand)
    server = on(store)
    try:
        server.experiments.put(CONFIG.format(name="hero"), 0)
        decision = choose(server, "hero", "ann")
        token = RewardEvent(_token(decision.decision_id), "click")
        server.feed.flushed(60.0)
        hand.now += 3_600_000 + 60_000
        server.feed.refresh(60.0)
        assert server.use_cases.reward([token]) == [LATE]
        server.feed.refresh(60.0)
        (replica,) = server.feed.replicas.values()
        assert replica.state.lifetime(0)[:, 4:].sum() == 0
        assert [e.late for e in store.poll({replica.uid: "0-0"}).entries[replica.uid]][-1]
    finally:
        server.stop()


def test_a_store_clock_that_jumps_moves_all_servers_with_it() -> None:
    hand = Hand()
    store = MemoryStore(hand)
    servers = [on(store), on(store)]
    try:
        servers[0].experiments.put(CONFIG.format(name="hero"), 0)
        for jump in (MINUTES_5, -MINUTES_5):
            hand.now += jump
            for server in servers:
                server.feed.refresh(60.0)
            token = _token(choose(servers[0], "hero", "ann").decision_id)
            servers[0].feed.flushed(60.0)
            assert servers[1].use_cases.reward([RewardEvent(token, "click")]) == [APPLIED]
            assert servers[0].use_cases.reward([RewardEvent(token, "click")]) == [DUPLICATE]
        for server in servers:
            server.feed.refresh(60.0)
        bits = [next(iter(s.feed.replicas.values())).fields() for s in servers]
        assert bits[0] == bits[1]
    finally:
        for server in servers:
            server.stop()


def test_rewards_of_an_arm_that_was_retired_still_count(ground: Ground) -> None:
    server, other = ground.service(), ground.service()
    tokens = ground.choose(server, 90)
    ground.settle()
    text = CONFIG.format(name="hero").replace("{id: c}", "{id: d}")
    assert other.experiments.put(text, None)[0].version == 2
    ground.settle()
    assert all(choose(server, "hero", f"v{i}").arm != "c" for i in range(200))
    assert ground.click(server, tokens) == [APPLIED] * 90
    ground.proved(rewards=90)
    arms = {a.arm: a for segment in server.experiments.report("hero").segments for a in segment.arms if a.trials}
    assert arms["c"].state == "retired"
    assert arms["c"].rewarded == arms["c"].trials or arms["c"].rewarded > 0


def _token(text: str) -> bytes:
    from service.serving.token import from_text

    return from_text(text)


def test_claims_that_are_spoilt_in_the_store_are_nobody_elses_trouble(ground: Ground) -> None:
    first, second = ground.service(), ground.service()
    spoilt, good = ground.choose(first, 20), ground.choose(second, 20)
    ground.settle()
    assert ground.click(first, spoilt[:1]) == [APPLIED]
    with ground.raw as raw:
        (shard,) = raw.scan_iter(f"{ground.world.prefix}:*:c:*")
        raw.delete(shard)
        raw.sadd(shard, "not ours")
    mixed = [token for pair in zip(spoilt, good, strict=True) for token in pair]
    answers = ground.click(second, mixed)
    assert {type(answer) for answer in answers[::2]} == {SpoiltError}
    assert answers[1::2] == [APPLIED] * 20
    with ground.raw as raw:
        raw.delete(shard)
    assert ground.click(second, good) == [DUPLICATE] * 20
