"""What RedisStore leaves in an engine, and what it does when the engine refuses or is away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from service.errors import ConflictError, UnavailableError
from service.store.contract import Aggregate, Checkpointed, Claim, LostError, Outcome, Put
from service.store.embedded import Embedded
from service.store.redis import RedisStore
from tests.contract.conftest import Subject
from tests.rig.rows import HOUR, TRIAL_SIZE, claim, create, fold, head, log, now

APPLIED, DUPLICATE = Outcome.APPLIED, Outcome.DUPLICATE
SUM = Aggregate.SUM
DAY = 24 * HOUR


@pytest.fixture
def subject(engine_subject: Subject) -> Subject:
    create(engine_subject.store, "u", "hero")
    return engine_subject


def keys(subject: Subject, pattern: str) -> list[str]:
    with subject.raw as raw:
        return sorted(key.decode() for key in raw.scan_iter(f"{subject.prefix}:{pattern}"))


def dump(subject: Subject) -> dict[str, bytes | None]:
    """All that is stored, byte for byte."""
    with subject.raw as raw:
        return {key: raw.dump(key) for key in keys(subject, "*")}


@contextmanager
def setting(subject: Subject, name: str, value: int) -> Iterator[None]:
    with subject.raw as raw:
        old = raw.config_get(name)[name]
        raw.config_set(name, value)
        try:
            yield
        finally:
            raw.config_set(name, old)


# what is left in the engine


def test_all_keys_of_an_experiment_are_in_one_slot(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t), HOUR)
    store.checkpoint("u", fold(log(store, "u")[0].id, None, {"a": b""}))
    store.claim("u", [claim(t, i, aggregate=SUM, event=b"%d" % e) for i in (1, 600) for e in range(9)])
    kinds = {key.split("}:", 1)[1].split(":")[0] for key in keys(subject, "*{u}*")}
    assert kinds == {"cfg", "hist", "log", "wm", "ck", "c", "o"}
    tags = {key[key.index("{") : key.index("}") + 1] for key in keys(subject, "*")}
    assert tags == {"{u}", "{registry}"}


def test_shards_stay_listpack_and_expire(subject: Subject) -> None:
    """A shard with every one of its 256 decisions rewarded under three metrics by several events."""
    store, t = subject.store, now(subject.store)
    for metric in range(3):
        call = [
            claim(t, 512 + i, value=-(10**12) - e, aggregate=SUM, event=b"%d" % e, metric=metric)
            for i in range(256)
            for e in range(2)
        ]
        assert set(store.claim("u", call)) == {APPLIED}
    (shard,) = keys(subject, "{u}:c:*")
    with subject.raw as raw:
        assert raw.hlen(shard) == 256
        assert raw.object("encoding", shard) in {b"listpack", b"ziplist"}
        assert set(raw.hvals(shard)) == {b">"}
        for key in (shard, *keys(subject, "{u}:o:*")):
            assert HOUR - 60_000 < raw.pttl(key) <= HOUR + 600_000
    assert len(keys(subject, "{u}:o:*")) == 256


def test_a_usual_claim_takes_a_few_bytes_of_its_shard(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    store.claim("u", [claim(t, i) for i in range(256)])
    (shard,) = keys(subject, "{u}:c:*")
    with subject.raw as raw:
        assert raw.hvals(shard) == [b"0;0:1:"] * 256
        assert raw.memory_usage(shard) / 256 < 16
    assert not keys(subject, "{u}:o:*")


def test_a_claim_moves_out_exactly_when_it_outgrows_listpack(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    events = [claim(t, aggregate=SUM, event=b"%d" % e) for e in range(64)]
    for count, event in enumerate(events, 1):
        assert store.claim("u", [event, event]) == [APPLIED, DUPLICATE]
        assert bool(keys(subject, "{u}:o:*")) == (len(f"0;0:{count}:") + 8 * count > 64)
        assert store.claim("u", [events[0]]) == [DUPLICATE]
    assert store.claim("u", events) == [DUPLICATE] * 64


def test_lives_are_only_ever_extended(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)

    def lives(*claims: Claim) -> list[int]:
        assert store.claim("u", claims) == [APPLIED] * len(claims)
        with subject.raw as raw:
            return [raw.pttl(key) for key in keys(subject, "{u}:[co]:*")]

    big = [claim(t, aggregate=SUM, event=b"%d" % e) for e in range(9)]
    (first,) = lives(claim(t, 2))
    (longer,) = lives(replace(claim(t, 3), expires=t + DAY))
    (same,) = lives(claim(t, 4))
    assert first <= HOUR + 600_000
    assert DAY - 60_000 < longer <= DAY + 600_000
    assert longer - 60_000 < same <= longer
    shard, overflow = lives(*big)
    assert overflow < 2 * HOUR < shard
    assert min(lives(replace(claim(t, aggregate=SUM, event=b"last"), expires=t + 2 * DAY))) > DAY + HOUR


def test_watermarks_untouched_for_a_day_are_pruned_when_a_server_starts(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    marks = f"{subject.prefix}:{{u}}:wm"
    with subject.raw as raw:
        raw.hset(marks, mapping={"old": f"5:{t - DAY - 1000}", "young": f"5:{t - DAY + 60_000}"})
        store.append("u", "new", 1, TRIAL_SIZE, head(1, 1, t), HOUR)
        assert set(raw.hkeys(marks)) == {b"young", b"new"}


def test_a_deletion_leaves_only_claims_which_expire(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t), HOUR)
    store.claim("u", [claim(t)])
    store.checkpoint("u", fold(log(store, "u")[0].id, None, {"a": b""}))
    store.put(Put("u", "hero", 1, 1, None))
    assert keys(subject, "{u}:*") == keys(subject, "{u}:c:*")


def test_the_creation_that_loses_leaves_no_key(subject: Subject) -> None:
    """Its name is taken between its look at the registry and its registration."""
    loser = subject.again()
    assert isinstance(loser, RedisStore)
    loser._wire.run(loser._put, loser._keys.all("v")[:3], 1, 0, b"record", 50)
    assert keys(subject, "{v}:*")
    with pytest.raises(ConflictError):
        loser._register(Put("v", "hero", 1, 0, b"record"))
    assert not keys(subject, "{v}:*")


def test_a_creation_and_a_deletion_cut_short_are_finished_by_sending_them_again(subject: Subject) -> None:
    store = subject.store
    assert isinstance(store, RedisStore)
    with subject.raw as raw:
        raw.hdel(f"{subject.prefix}:{{registry}}:names", "hero")  # as if the creator died before registering
    create(store, "u", "hero")
    assert store.poll({}).registry == {"hero": "u"}
    assert len(log(store, "u")) == 1
    store._wire.run(store._delete, [store._keys.config("u")], 1)  # as if the deleter died after its first step
    with pytest.raises(ConflictError):
        store.put(Put("u", "hero", 2, 1, b"overtaking"))
    store.put(Put("u", "hero", 1, 1, None))
    assert store.poll({}).deleted == {"u"}
    assert not keys(subject, "{u}:*")


# when it refuses, forgets scripts, or is away


def test_a_script_flush_is_not_noticed(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    with subject.raw as raw:
        for i in range(3):
            raw.script_flush()
            assert store.claim("u", [claim(t, i)]) == [APPLIED]
            raw.script_flush()
            assert store.append("u", "w", i, TRIAL_SIZE, head(1, i, t), HOUR) == 0


def test_a_full_store_refuses_and_nothing_is_half_applied(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    store.claim("u", [claim(t, 9)])
    entry, before = log(store, "u")[0].id, dump(subject)
    call = [claim(t, 1), claim(t, 2, late=True), claim(t, 3, deferred=True)]
    with setting(subject, "maxmemory", 1):
        for attempt in (
            lambda: store.claim("u", call),
            lambda: store.claim("u", [claim(t, 4, aggregate=SUM, event=b"%d" % e) for e in range(64)]),
            lambda: store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t), HOUR),
            lambda: store.put(Put("u", "hero", 2, 1, b"second")),
            lambda: store.checkpoint("u", fold(entry, None, {"a": b"1"})),
        ):
            with pytest.raises(UnavailableError, match="OOM") as caught:
                attempt()
            assert not isinstance(caught.value, LostError)
        assert store.claim("u", [claim(t, 9)]) == [DUPLICATE]  # reading goes on
    assert dump(subject) == before
    assert store.claim("u", call) == [APPLIED, Outcome.LATE, APPLIED]


def test_a_replica_refuses_and_nothing_is_half_applied(subject: Subject) -> None:
    store, t, before = subject.store, now(subject.store), dump(subject)
    with subject.raw as raw, setting(subject, "replica-serve-stale-data", "yes"):  # type: ignore[arg-type]
        raw.replicaof("127.0.0.1", 1)  # nobody is there
        try:
            with pytest.raises(UnavailableError, match="READONLY"):
                store.claim("u", [claim(t)])
        finally:
            raw.replicaof("NO", "ONE")
    assert dump(subject) == before


@pytest.mark.parametrize("key", ["{u}:log", "{u}:wm", "{u}:ck"])
def test_a_key_of_another_type_is_met_before_anything_is_written(subject: Subject, key: str) -> None:
    store, t = subject.store, now(subject.store)
    with subject.raw as raw:
        raw.delete(f"{subject.prefix}:{key}")
        raw.sadd(f"{subject.prefix}:{key}", "not ours")
    before = dump(subject)
    calls: dict[str, Callable[[], object]] = {
        "{u}:log": lambda: store.claim("u", [claim(t)]),
        "{u}:wm": lambda: store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t), HOUR),
        "{u}:ck": lambda: store.checkpoint("u", fold(log(store, "u")[0].id, None, {"a": b"1"})),
    }
    with pytest.raises(UnavailableError, match="WRONGTYPE"):
        calls[key]()
    assert dump(subject) == before


def test_a_damaged_checkpoint_is_said_to_be_and_can_be_replaced(subject: Subject) -> None:
    store, key = subject.store, f"{subject.prefix}:{{u}}:ck"
    made = fold(log(store, "u")[0].id, None, {"a": b"1234", "b": b"5678"})

    def not_a_hash(raw: redis.Redis) -> None:
        raw.delete(key)
        raw.set(key, "not ours")

    damages: list[Callable[[redis.Redis], object]] = [
        lambda raw: raw.hset(key, "f:b", b"567"),
        lambda raw: raw.hset(key, "rows", b"many"),
        lambda raw: raw.hdel(key, "digest"),
        not_a_hash,
    ]
    store.checkpoint("u", made)
    for damage in damages:
        with subject.raw as raw:
            damage(raw)
        loaded = store.load("u")
        assert (loaded.checkpoint, loaded.record) == (None, b"first")
        assert loaded.damaged
        assert store.checkpoint("u", replace(made, heal=True)) is Checkpointed.STORED
        assert store.load("u").checkpoint == made


def test_a_log_that_cannot_be_read_does_not_hide_the_others(subject: Subject) -> None:
    store = subject.store
    create(store, "v")
    create(store, "w")
    with subject.raw as raw:
        raw.delete(f"{subject.prefix}:{{u}}:log")
        raw.set(f"{subject.prefix}:{{u}}:log", "not ours")
        raw.xadd(f"{subject.prefix}:{{w}}:log", {"t": b"rows without a stride"})
    poll = store.poll(dict.fromkeys("uvw", "0-0"))
    assert set(poll.damaged) == {"u", "w"}
    assert [entry.config for entry in poll.entries["v"]] == [b"first"]
    assert store.poll({}).session == poll.session


def test_an_ambiguous_claim_is_sent_again_and_counts_once(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    assert subject.engine is not None
    assert subject.engine.pid is not None
    hasty = RedisStore(subject.engine.url, subject.prefix, timeout=0.2)
    os.kill(subject.engine.pid, signal.SIGSTOP)
    try:
        with pytest.raises(UnavailableError, match="timeout"):
            hasty.claim("u", [claim(t, value=7)])
    finally:
        os.kill(subject.engine.pid, signal.SIGCONT)
    hasty.close()
    assert store.claim("u", [claim(t, value=7)])[0] in {APPLIED, DUPLICATE}
    assert [triple for e in log(store, "u") for triple in e.totals] == [(0, 7, False)]


def test_a_lost_connection_is_another_session(subject: Subject) -> None:
    store = subject.store
    first = store.poll({}).session
    with subject.raw as raw:
        for client in raw.client_list():
            if client["id"] != str(raw.client_id()):
                raw.client_kill_filter(_id=client["id"])
    second = store.poll({}).session
    assert second != first
    assert store.poll({}).session == second
    assert store.claim("u", [claim(now(store))]) == [APPLIED]  # the pool notices by itself


def test_a_store_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    store = RedisStore(f"unix://{tmp_path}/nothing.sock")
    for attempt in (lambda: store.poll({}), lambda: store.load("u"), lambda: store.claim("u", [claim(1)])):
        with pytest.raises(UnavailableError, match="connection"):
            attempt()
    store.close()


def test_a_given_client_is_used_and_left_open(subject: Subject) -> None:
    with subject.raw as raw:
        store = RedisStore(raw, subject.prefix)
        assert store.claim("u", [claim(now(store))]) == [APPLIED]
        store.close()
        assert raw.ping()
    assert subject.engine is not None
    with redis.Redis.from_url(subject.engine.url, protocol=3) as third:
        store = RedisStore(third, subject.prefix)
        assert store.poll({"u": "0-0"}).registry == {"hero": "u"}
        assert len(log(store, "u")) == 2
        assert store.load("u").record == b"first"
        assert store.facts()["fsync"] == "always"
        store.close()
    with (
        redis.Redis.from_url(subject.engine.url, decode_responses=True) as decoding,
        pytest.raises(ValueError, match="decode"),
    ):
        RedisStore(decoding)


def test_what_was_acknowledged_survives_the_kill_of_the_engine(tmp_path: Path) -> None:
    engine = Embedded(tmp_path)
    store = RedisStore(engine.start())
    create(store, "u")
    t = now(store)
    store.claim("u", [claim(t, i) for i in range(100)])
    store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t), HOUR)
    before = log(store, "u")
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    while engine.alive():
        time.sleep(0.001)
    with pytest.raises(UnavailableError):
        store.claim("u", [claim(t, 200)])
    engine.restart()
    assert store.claim("u", [claim(t, i) for i in range(101)]) == [DUPLICATE] * 100 + [APPLIED]
    assert store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t), HOUR) == 0
    assert log(store, "u")[:-1] == before
    store.close()
    engine.stop()
