"""What goes wrong with an engine: nothing is half applied, nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from service.errors import UnavailableError
from service.store.contract import Aggregate, Checkpointed, LostError, Outcome, Put
from service.store.embedded import Embedded
from service.store.redis import RedisStore
from service.store.scripts import STATE_FORMAT
from tests.rig.rows import HOUR, TRIAL_SIZE, claim, create, fold, head, log, now
from tests.rig.stores import Subject, dump, setting

APPLIED, DUPLICATE = Outcome.APPLIED, Outcome.DUPLICATE
SUM = Aggregate.SUM
CHECKPOINT = f"{{u}}:ck{STATE_FORMAT}"


@pytest.fixture
def subject(engine_subject: Subject) -> Subject:
    create(engine_subject.store, "u", "hero")
    return engine_subject


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


@pytest.mark.parametrize("key", ["{u}:log", "{u}:cfg", CHECKPOINT])
def test_a_key_of_another_type_is_met_before_anything_is_written(subject: Subject, key: str) -> None:
    store, t = subject.store, now(subject.store)
    with subject.raw as raw:
        raw.delete(f"{subject.prefix}:{key}")
        raw.sadd(f"{subject.prefix}:{key}", "not ours")
    before = dump(subject)
    calls: dict[str, Callable[[], object]] = {
        "{u}:log": lambda: store.claim("u", [claim(t)]),
        "{u}:cfg": lambda: store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t), HOUR),
        CHECKPOINT: lambda: store.checkpoint("u", fold(log(store, "u")[0].id, None, {"a": b"1"})),
    }
    with pytest.raises(UnavailableError, match="WRONGTYPE"):
        calls[key]()
    assert dump(subject) == before


def test_a_damaged_checkpoint_is_said_to_be_and_can_be_replaced(subject: Subject) -> None:
    store, key = subject.store, f"{subject.prefix}:{CHECKPOINT}"
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
    made = fold(log(store, "u")[0].id, None, {"a": b"1234"})
    store.checkpoint("u", made)
    with subject.raw as raw:
        raw.delete(f"{subject.prefix}:{{u}}:log")
        raw.set(f"{subject.prefix}:{{u}}:log", "not ours")
        raw.xadd(f"{subject.prefix}:{{w}}:log", {"t": b"rows without a stride"})
    poll = store.poll(dict.fromkeys("uvw", "0-0"))
    assert set(poll.damaged) == {"u", "w"}
    assert [entry.config for entry in poll.entries["v"]] == [b"first"]
    assert store.poll({}).session == poll.session
    assert store.load("u").checkpoint == made


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
