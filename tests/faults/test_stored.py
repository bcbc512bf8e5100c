"""What is stored goes bad: checkpoints, logs, the end of the append-only file. The rest goes on; what can be is healed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from service.learning import checkpoints
from service.learning.replica import Replica
from service.management.verify import Examination, repair
from service.serving.rewarder import RewardEvent
from service.store.contract import Checkpointed, Outcome
from tests.rig.ground import Ground
from tests.rig.waiting import eventually

APPLIED = Outcome.APPLIED


def cell(raw: redis.Redis, key: str) -> tuple[str, bytes]:
    """The first block of cells, by its field."""
    fields: dict[bytes, bytes] = raw.hgetall(key)  # type: ignore[assignment]
    name = min(f for f in fields if f.startswith(b"f:c/"))
    return name.decode(), fields[name]


def flip(raw: redis.Redis, key: str) -> None:
    """One bit of one cell."""
    name, kept = cell(raw, key)
    value = bytearray(kept)
    value[len(value) // 2] ^= 1
    raw.hset(key, name, bytes(value))


def cut(raw: redis.Redis, key: str) -> None:
    name, kept = cell(raw, key)
    raw.hset(key, name, kept[:-3])


def gone(raw: redis.Redis, key: str) -> None:
    raw.hdel(key, "f:config")


def other_type(raw: redis.Redis, key: str) -> None:
    raw.delete(key)
    raw.set(key, "not ours")


DAMAGES = [flip, cut, gone, other_type]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_rebuilt_from_the_log_by_who_starts(
    ground: Ground, damage: Callable[[redis.Redis, str], None]
) -> None:
    server = ground.service()
    key = ground.with_checkpoint(server)
    with ground.raw as raw:
        damage(raw, key)
    late = ground.service()
    ground.choose(server, 5)
    ground.choose(late, 5)
    assert late.feed.replicas.keys() == server.feed.replicas.keys()
    eventually(lambda: ground.past().load(next(iter(late.feed.replicas))).checkpoint)
    ground.proved(rewards=40)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_replaced_by_who_serves(
    ground: Ground, damage: Callable[[redis.Redis, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "AUDIT_S", 0.05)
    monkeypatch.setattr(checkpoints, "AUDIT_SHARE", 0)
    server = ground.service()
    key = ground.with_checkpoint(server)
    uid = next(iter(server.feed.replicas))
    with ground.raw as raw:
        raw.xtrim(key.rsplit(":", 1)[0] + ":log", minid=server.feed.replicas[uid].cursor, approximate=False)
        damage(raw, key)

    def whole() -> bool:
        loaded = ground.past().load(uid)
        try:
            return loaded.checkpoint is not None and Replica(uid, loaded).begun
        except Exception:  # noqa: BLE001  # not yet
            return False

    eventually(whole)
    late = ground.service()
    assert late.feed.replicas[uid].fields() == server.feed.replicas[uid].fields()
    ground.settle()


def test_a_store_that_refuses_a_checkpoint_for_what_is_stored_is_looked_at_at_once(ground: Ground) -> None:
    server = ground.service()
    key = ground.with_checkpoint(server)
    (replica,) = server.feed.replicas.values()
    with ground.raw as raw:
        other_type(raw, key)
    with server.feed.paused():
        replica.cut = replica.whole()
    eventually(lambda: ground.past().load(replica.uid).checkpoint)
    ground.proved(rewards=40)


def test_a_damaged_checkpoint_of_a_trimmed_log_is_said_and_the_last_snapshot_served(ground: Ground) -> None:
    server = ground.service()
    key = ground.with_checkpoint(server)
    uid = next(iter(server.feed.replicas))
    with ground.raw as raw:
        raw.xtrim(key.rsplit(":", 1)[0] + ":log", maxlen=1, approximate=False)
        flip(raw, key)
    ground.proxy.cut()  # all load anew, and nobody can
    eventually(lambda: dict(server.metrics.unreadable.samples()).get(("hero",)) == [1])
    assert not server.feed.replicas
    ground.choose(server, 20)
    store = ground.past()
    assert Examination(store, store, uid).run().faults


def test_a_log_that_is_no_log_hurts_only_its_experiment(ground: Ground) -> None:
    from tests.rig.ground import CONFIG

    server = ground.service()
    server.experiments.put(CONFIG.format(name="other"), 0)
    ids = {name: s.experiment.uid for name, s in server.directory.by_name.items()}
    tokens = ground.choose(server, 20)
    ground.settle()
    with ground.raw as raw:
        key = f"{ground.world.prefix}:{{{ids['other']}}}:log"
        raw.delete(key)
        raw.set(key, "not ours")
    eventually(lambda: ids["other"] not in server.feed.replicas)
    assert ground.click(server, tokens) == [APPLIED] * 20
    server.feed.refresh(60.0)
    assert server.feed.replicas[ids["hero"]].rows == 40
    from tests.rig.stage import choose

    assert choose(server, "other", "ann").arm in "abc"


def test_servers_that_differ_stop_and_are_settled_by_verify(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "DIVERGED_S", 0.05)
    monkeypatch.setattr(checkpoints, "AUDIT_S", 0.05)
    monkeypatch.setattr(checkpoints, "AUDIT_SHARE", 0)
    right, wrong = ground.service(), ground.service()
    ground.with_checkpoint(right)
    uid = next(iter(wrong.feed.replicas))
    for server in (right, wrong):
        with server.feed.paused():
            replica = server.feed.replicas[uid]
            if server is wrong:
                replica.state.subjects.lift[0, 0, 0, 0] += 1  # as a broken memory would
            answer = ground.past().checkpoint(uid, replica.whole())
    assert answer is Checkpointed.DIVERGED
    for server in (right, wrong):
        eventually(lambda server=server: dict(server.metrics.divergence.samples()).get(("hero",)) == [1])  # type: ignore[misc]
    store = ground.past()
    examination = Examination(store, store, uid)
    assert any("different states" in fault for fault in examination.run().faults)
    repair(store, examination)
    for server in (right, wrong):
        eventually(lambda server=server: dict(server.metrics.divergence.samples()).get(("hero",)) == [0])  # type: ignore[misc]
    ground.proved(rewards=40)


def test_a_wrong_state_is_seen_by_verify(ground: Ground) -> None:
    server = ground.service()
    ground.with_checkpoint(server)
    (uid,) = server.feed.replicas
    store = ground.past()
    replica = Examination(store, store, uid).settled()
    replica.state.subjects.lift[0, 0, 0, 0] += 1
    store.checkpoint(uid, replace(replica.whole(), heal=True))
    assert any("not what the log" in fault for fault in Examination(store, store, uid).run().faults)


def test_a_lost_or_changed_claim_is_seen_by_verify(ground: Ground) -> None:
    server = ground.service()
    ground.with_checkpoint(server)
    (uid,) = server.feed.replicas
    store = ground.past()
    with ground.raw as raw:
        shard = next(raw.scan_iter(f"{ground.world.prefix}:{{{uid}}}:c:*"))
        kept = raw.hgetall(shard)
        first = min(kept)
        raw.hdel(shard, first)
        assert any("no record" in fault for fault in Examination(store, store, uid).run().faults)
        raw.hset(shard, first, b"0;0:7:")
        assert any("the record has 7" in fault for fault in Examination(store, store, uid).run().faults)
        raw.hset(shard, first, kept[first])
        raw.hset(shard, "255", b"0;0:1:")
        assert any("not in the log" in fault for fault in Examination(store, store, uid).run().faults)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)])
def test_an_append_only_file_cut_anywhere_leaves_a_consistent_store(ground: Ground, seed: int) -> None:
    """A power loss, as a file system may leave it. What is gone is gone; what is left agrees, and resending heals."""
    rng = random.Random(seed)
    server, other = ground.service(), ground.service()
    tokens = ground.choose(server, 120)
    ground.settle()
    for round_ in range(3):
        part = tokens[round_ * 40 : round_ * 40 + 40]
        for token in part:
            ground.click(server, [token])
        assert ground.engine.pid is not None
        os.kill(ground.engine.pid, signal.SIGKILL)
        eventually(lambda: not ground.engine.alive())
        file = max((ground.engine.log_path.parent / "engine").rglob("*.incr.aof*"), default=None)
        file = file or next((ground.engine.log_path.parent / "engine").rglob("*.aof"))
        size = file.stat().st_size
        with file.open("r+b") as aof:
            aof.truncate(size - rng.randrange(1, 3000))
        ground.engine.restart()
        eventually(lambda: not server.directory.stale and not other.directory.stale)
        ground.settle()
        found = ground.proved()
        assert found.rewards <= 40 * (round_ + 1)
        ground.insist(other, [RewardEvent(token, "click") for token in part])
    ground.proved(rewards=120)
