"""One server adds up and the others load: however the two alternate, everybody comes to what the log comes to."""

from __future__ import annotations

import random
import time

import pytest

from service.experiment.exclusions import Excluded
from service.learning.sharing import sharing
from service.server.assemble import Service, Tuning, build
from service.serving.rewarder import RewardEvent
from service.store.counted import Counted
from service.store.redis import RedisStore
from service.store.sharing.states import States
from service.telemetry.metrics import Metrics
from tests.rig.ground import CONFIG, Ground
from tests.rig.stage import KEYS, one_valued
from tests.rig.waiting import eventually

EXTRA = CONFIG.replace("algorithm: beta", "algorithm: auto").replace("{{id: c}}", "{{id: c}}, {{id: d}}")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVERY_S", "SHARE", "AGAIN_S"):
        monkeypatch.setattr(sharing, name, 0.0)
    monkeypatch.setattr(sharing, "OLD_MS", 600_000)  # no state is late because this machine is


def sharer(ground: Ground, rows_s: float = 0.0, lease_ms: int = 60_000) -> tuple[Service, RedisStore]:
    """A server that shares, not started: it takes a turn when it is told to."""
    metrics, store = Metrics(), ground.world.store()
    made = build(Counted(store, metrics), KEYS, metrics, Tuning(20, 20))
    made.feed.share(States(lambda: store._bulk, store._keys, lease_ms), rows_s, window_s=0.0)
    return made, store


def count(service: Service, family: str) -> float:
    return sum(one_valued(service.metrics, family).values())


def bits(service: Service, uid: str) -> dict[str, bytes]:
    return service.feed.replicas[uid].fields()


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
def test_any_order_of_loading_and_adding_up_ends_in_the_same_bits(ground: Ground, seed: int) -> None:
    rng = random.Random(seed)
    plain = ground.service()
    (uid,) = plain.feed.replicas
    servers = [sharer(ground) for _ in range(4)]
    keys = servers[0][1]._keys
    states = keys.state(uid)
    version = 1
    for _ in range(60):
        match rng.randrange(10):
            case 0:
                ground.choose(plain, rng.randrange(1, 40), deferred=rng.random() < 0.3)
                plain.feed.flushed(60.0)
            case 1 | 2 if ground.tokens:
                some = rng.choices(ground.tokens, k=9)
                ground.send(plain, [RewardEvent(token, "spend", rng.randint(-9, 9), "e") for token in some])
            case 3 if version < 3:
                text = (CONFIG if version % 2 == 0 else EXTRA).format(name="hero")
                version += plain.experiments.put(text, None)[1]
            case 4 if not plain.experiments.exclusions("hero") and ground.tokens:
                now = time.time_ns() // 1_000_000
                plain.experiments.exclude("hero", Excluded(now - 30, now + 60_000, ("b",)))
            case 5:  # whose it was has been away for too long
                with ground.raw as raw:
                    raw.delete(rng.choice([states, keys.witness(uid)]))
            case 6:  # damaged
                with ground.raw as raw:
                    name = rng.choice(["f:config", "digest", "id"])
                    if raw.exists(states):
                        raw.hset(states, name, "none")
            case _:
                rng.choice(servers)[0].feed.turn()
    for _ in range(2):  # by the second time it is settled who adds up
        ground.choose(plain, 3)
        ground.settle()
        for server, _ in servers * 4:  # who loads is a turn behind
            server.feed.turn()
    ground.proved()
    assert [bits(server, uid) for server, _ in servers] == [bits(plain, uid)] * 4
    assert sum(count(server, "lever_states_loaded_total") for server, _ in servers) > 0
    for _, store in servers:
        store.close()


def test_a_state_takes_along_where_checkpoints_are_cut(ground: Ground) -> None:
    plain = ground.service()
    ground.with_checkpoint(plain)
    (uid,) = plain.feed.replicas
    first, second, other = servers = [sharer(ground)[0] for _ in range(3)]
    for each in servers:
        each.feed.turn()
    ground.click(plain, ground.tokens[40:])
    for each in servers:
        each.feed.turn()
    assert count(second, "lever_states_loaded_total") == 0
    assert count(other, "lever_states_loaded_total") == 1
    kept, told = first.feed.replicas[uid].stored, other.feed.replicas[uid].stored
    assert kept is not None
    assert told is not None
    assert (told.id, told.rows, told.size) == (kept.id, kept.rows, kept.size)
    with other.feed.paused():
        replica = other.feed.replicas[uid]
        replica.cut = replica.whole()
    other.feed.turn()
    assert plain.feed.replicas[uid].stored is not None
    assert replica.cut is None
    assert replica.stored == replica.whole()
    ground.proved()


def test_what_is_not_busy_is_added_up_by_everybody(ground: Ground) -> None:
    plain = ground.service()
    servers = [sharer(ground, rows_s=1e9)[0] for _ in range(2)]
    ground.choose(plain, 20)
    ground.settle()
    for each in servers * 2:
        each.feed.turn()
    (uid,) = plain.feed.replicas
    assert [bits(each, uid) for each in servers] == [bits(plain, uid)] * 2
    for each in servers:
        assert count(each, "lever_states_offered_total") == count(each, "lever_states_loaded_total") == 0


def test_a_lost_end_of_the_log_is_in_no_state_after_its_owner_has_noticed(ground: Ground) -> None:
    plain = ground.service()
    (uid,) = plain.feed.replicas
    servers = [sharer(ground)[0] for _ in range(3)]
    ground.choose(plain, 20)
    ground.settle()
    for each in servers * 2:
        each.feed.turn()
    with ground.raw as raw:
        log = f"{ground.world.prefix}:{{{uid}}}:log"
        raw.xdel(log, raw.xrevrange(log, count=1)[0][0])
    ground.choose(plain, 7)
    ground.settle()
    for each in servers * 2:
        each.feed.turn()
    assert [each.feed.replicas[uid].rows for each in servers] == [7, 7, 7]
    ground.proved()


def test_a_second_server_adds_up_and_compares_and_what_is_in_dispute_is_not_shared(ground: Ground) -> None:
    plain = ground.service()
    (uid,) = plain.feed.replicas
    first, witness, other = servers = [sharer(ground)[0] for _ in range(3)]
    ground.choose(plain, 20)
    ground.settle()
    for each in servers:
        each.feed.turn()
    state = first.feed.replicas[uid].state
    state.counts[state.index.max(), 0] += 1  # broken memory
    ground.choose(plain, 20)
    ground.settle()
    for each in servers:
        each.feed.turn()
    loaded = [count(each, "lever_states_loaded_total") for each in servers]
    assert loaded[:2] == [0, 0]
    assert loaded[2] > 0
    assert bits(first, uid) == bits(other, uid) != bits(witness, uid) == bits(plain, uid)
    for each in (first, witness):
        each.feed.replicas[uid].cut = each.feed.replicas[uid].whole()
        each.feed.turn()
    assert [count(each, "lever_divergence") for each in servers] == [0, 1, 0]
    for each in servers:  # within a minute each of them looks
        each.feed._checkpoints._alarm(each.feed.replicas[uid])
    offered = count(first, "lever_states_offered_total")
    ground.choose(plain, 20)
    ground.settle()
    for each in servers:
        each.feed.turn()
    assert [each.feed.replicas[uid].rows for each in servers] == [60, 60, 60]
    assert count(first, "lever_states_offered_total") == offered
    assert count(other, "lever_states_loaded_total") == loaded[2]


def test_who_adds_up_may_go_and_who_loads_may_write(ground: Ground) -> None:
    plain = ground.service()
    servers = [sharer(ground, lease_ms=200)[0] for _ in range(3)]
    ground.world.services += servers  # stopped with the others
    for each in servers:
        each.start()

    def busy(by: list[Service], family: str, least: int) -> list[Service]:
        ground.choose(plain, 5)
        return [each for each in by if count(each, family) >= least]

    (owner,) = eventually(lambda: busy(servers, "lever_states_offered_total", 3))
    left = [each for each in servers if each is not owner]
    loader = eventually(lambda: busy(left, "lever_states_loaded_total", 2))[0]
    made, _ = loader.experiments.put(EXTRA.format(name="hero"), 1)
    assert loader.directory.named("hero").experiment.version == made.version == 2
    owner.stop()
    ground.world.services.remove(owner)
    ground.choose(plain, 5)
    eventually(lambda: busy(left, "lever_states_offered_total", 1))
    ground.proved()
