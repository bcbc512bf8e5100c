"""What RedisStore leaves in an engine, and what it does when the engine refuses or is away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from service.errors import ConflictError
from service.store.contract import Aggregate, Checkpointed, Claim, Outcome, Put, SpoiltError, Store
from service.store.redis import RedisStore
from service.store.scripts import STATE_FORMAT
from tests.rig.rows import HOUR, TRIAL_SIZE, claim, create, fold, head, loaded, log, now
from tests.rig.stores import Subject, dump, keys

APPLIED, DUPLICATE = Outcome.APPLIED, Outcome.DUPLICATE
STORED = Checkpointed.STORED
SUM = Aggregate.SUM
DAY = 24 * HOUR


@pytest.fixture
def subject(engine_subject: Subject) -> Subject:
    create(engine_subject.store, "u", "hero")
    return engine_subject


# what is left in the engine


def test_all_keys_of_an_experiment_are_in_one_slot(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    store.append("u", "w", 1, TRIAL_SIZE, head(1, 1, t), HOUR)
    store.checkpoint("u", fold(log(store, "u")[0].id, None, {"a": b""}))
    store.claim("u", [claim(t, i, aggregate=SUM, event=b"%d" % e) for i in (1, 600) for e in range(9)])
    kinds = {key.split("}:", 1)[1].split(":")[0] for key in keys(subject, "*{u}*")}
    assert kinds == {"cfg", "hist", "log", f"ck{STATE_FORMAT}", "c", "o"}
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


def _size(events: int) -> int:
    """Bytes of a claim with so many events worth 1 each: their digests, and their values where the total does not tell."""
    values = ",".join(["1"] * events)
    return len(f"0;0:{events}:") + 8 * events + (len(f";65536:0:{values}") if events > 1 else 0)


def test_a_claim_moves_out_exactly_when_it_outgrows_listpack(subject: Subject) -> None:
    store, t = subject.store, now(subject.store)
    events = [claim(t, aggregate=SUM, event=b"%d" % e) for e in range(64)]
    for count, event in enumerate(events, 1):
        assert store.claim("u", [event, event]) == [APPLIED, DUPLICATE]
        assert bool(keys(subject, "{u}:o:*")) == (_size(count) > 64)
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
    config = f"{subject.prefix}:{{u}}:cfg"
    with subject.raw as raw:
        raw.hset(config, mapping={"w:old": f"5:{t - DAY - 1000}", "w:young": f"5:{t - DAY + 60_000}"})
        before = set(raw.hkeys(config))
        store.append("u", "new", 1, TRIAL_SIZE, head(1, 1, t), HOUR)
        assert set(raw.hkeys(config)) == before - {b"w:old"} | {b"w:new"}


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
    loser._wire.run(loser._put, loser._keys.all("v")[:3], 1, 0, b"record", 50, "")
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
    assert store.deleted(["u"]) == {"u"}
    assert not keys(subject, "{u}:*")


def test_deletions_are_forgotten_when_they_are_old(engine_subject: Subject) -> None:
    store, day = engine_subject.store, 86_400_000
    at = now(store)
    marks = {f"old{i}": at - 31 * day for i in range(300)} | {f"new{i}": at - 29 * day for i in range(50)}
    with engine_subject.raw as raw:
        deleted = f"{engine_subject.prefix}:{{registry}}:deleted"
        raw.hset(deleted, mapping=marks)
        for i in range(100):
            store.put(Put(f"gone{i}", f"name {i}", 0, 0, None))
        assert raw.hlen(deleted) < 150 + 20, "as many as it takes"
    assert store.deleted([f"new{i}" for i in range(50)]) == {f"new{i}" for i in range(50)}
    assert len(store.deleted([f"gone{i}" for i in range(100)])) == 100


def test_what_was_deleted_is_not_read_again_at_every_poll(engine_subject: Subject) -> None:
    """However many there are: told by the bytes that a poll brings."""
    store = engine_subject.store
    with engine_subject.raw as raw:

        def sent() -> int:
            before = raw.info("stats")["total_net_output_bytes"]
            store.poll({})
            return int(raw.info("stats")["total_net_output_bytes"] - before)

        few = sent()
        raw.hset(f"{engine_subject.prefix}:{{registry}}:deleted", mapping={f"{i:016x}": 1 for i in range(5000)})
        assert sent() < few + 5000, "each mark has more than a byte"


def test_checkpoints_of_two_formats_stand_side_by_side(subject: Subject) -> None:
    """Two versions of Lever on one store: neither compares with, replaces or trims what the other needs to start."""
    older = subject.store
    assert isinstance(older, RedisStore)
    assert subject.engine is not None
    newer = RedisStore(subject.engine.url, subject.prefix, timeout=20.0, form=STATE_FORMAT + 1)
    t = now(older)
    for i in range(1, 401):
        older.append("u", "w", i, TRIAL_SIZE, head(1, i, t) * 4, HOUR)
    ids, late = [entry.id for entry in log(older, "u")], 2 * t

    def stored(store: RedisStore) -> tuple[str, Mapping[str, bytes]]:
        found = loaded(store)
        return found.id, found.fields

    assert older.checkpoint("u", fold(ids[10], None, {"a": b"3"})) is STORED
    assert stored(newer) == (ids[10], {"a": b"3"})  # it begins with what there is
    assert newer.checkpoint("u", fold(ids[10], None, {"a": b"4"})) is STORED  # and no alarm
    assert older.checkpoint("u", fold(ids[10], None, {"a": b"3"})) is Checkpointed.SAME
    assert newer.checkpoint("u", fold(ids[110], ids[10], {"a": b"44"})) is STORED
    assert (stored(older), stored(newer)) == ((ids[10], {"a": b"3"}), (ids[110], {"a": b"44"}))
    # The way back: the older one goes on alone, and trims what the newer checkpoint needs.
    assert older.checkpoint("u", fold(ids[260], ids[10], {"a": b"33"}, keep=late)) is STORED
    assert older.checkpoint("u", fold(ids[400], ids[260], {"a": b"333"}, keep=late)) is STORED
    assert ids[110] not in {entry.id for entry in log(older, "u")}
    assert stored(newer) == (ids[400], {"a": b"333"})
    # And forward again: once the log no longer goes on from it, the older one's goes.
    more = _more(older, t, 500)
    assert newer.checkpoint("u", fold(more[50], None, {"a": b"5"})) is STORED
    assert newer.checkpoint("u", fold(more[200], more[50], {"a": b"55"}, keep=late)) is STORED
    assert newer.checkpoint("u", fold(more[480], more[200], {"a": b"555"}, keep=late)) is STORED
    assert keys(subject, "{u}:ck*") == [f"{subject.prefix}:{{u}}:ck{STATE_FORMAT + 1}"]
    older.put(Put("u", "hero", 1, 1, None))
    assert not keys(subject, "{u}:*")
    newer.close()


def _more(store: Store, t: int, count: int) -> list[str]:
    """Ids of so many further entries."""
    before = log(store, "u")[-1].id
    for i in range(10_000, 10_000 + count):
        store.append("u", "w", i, TRIAL_SIZE, head(1, i, t) * 4, HOUR)
    return [entry.id for entry in log(store, "u", before)]


def test_a_record_of_a_reward_of_a_newer_version_is_refused(subject: Subject) -> None:
    t = now(subject.store)
    assert subject.store.claim("u", [claim(t, 1)]) == [Outcome.APPLIED]
    (shard,) = keys(subject, "{u}:c:*")
    with subject.raw as raw:
        raw.hset(shard, "1", "1;0:1:;196608:0:a note to come")
    before = dump(subject)
    with pytest.raises(SpoiltError, match="newer version"):
        subject.store.claim("u", [claim(t, 1, event=b"e")])
    assert dump(subject) == before
