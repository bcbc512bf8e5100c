"""`log.max`, whatever comes when: what is kept of a log is judged by the bytes of every entry, one by one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from service.store.contract import Checkpointed, Entry
from service.store.embedded import Embedded
from service.store.entries import encode, weight
from service.store.redis import RedisStore
from tests.rig.rows import HOUR, TRIAL_SIZE, claim, create, fold, head, log, now

_prefixes = itertools.count(1)

# Rows of an entry, negative: rewards; how many such entries come in one go; a pause before them, in milliseconds.
bursts = st.lists(
    st.tuples(st.sampled_from((1, 1, 2, 40, -1, -20)), st.integers(1, 12), st.sampled_from((0, 0, 1, 9))),
    min_size=1, max_size=6,
)  # fmt: skip


@pytest.fixture
def precise(valkey: Embedded) -> Iterator[Embedded]:
    """An engine that lets go of single entries, where others do of whole nodes."""
    with redis.Redis.from_url(valkey.url) as client:
        name = "stream-node-max-entries"
        before = client.config_get(name)[name]
        client.config_set(name, 1)
        yield valkey
        client.config_set(name, before)


def test_a_log_keeps_the_newest_bytes_and_all_that_no_checkpoint_covers(precise: Embedded) -> None:
    @settings(max_examples=5, deadline=None)
    @given(st.lists(st.tuples(bursts, st.integers(1, 30_000)), min_size=2, max_size=5))
    def keeps(rounds: list[tuple[list[tuple[int, int, int]], int]]) -> None:
        store = RedisStore(precise.url, f"bytes{next(_prefixes)}", timeout=20.0)
        create(store, "u")
        sequences, base, rows = itertools.count(1), None, 0
        for made, most in rounds:
            for size, count, pause_ms in made:
                time.sleep(pause_ms / 1000)  # bursts and pauses: the time between entries tells nothing of their bytes
                rows += abs(size) * count
                at = now(store)
                for _ in range(count):
                    _write(store, at, size, next(sequences))
            before = log(store, "u")
            last = before[-1].id
            assert store.checkpoint("u", replace(fold(last, base, {}, rows=rows), most=most)) is Checkpointed.STORED
            _check(before, log(store, "u"), most, base)
            base = last
        store.close()

    keeps()


def test_a_checkpoint_trims_as_many_entries_as_may_have_come_since_the_one_before(valkey: Embedded) -> None:
    prefix, count = f"bytes{next(_prefixes)}", 25_000
    store = RedisStore(valkey.url, prefix, timeout=20.0)
    create(store, "u")
    with redis.Redis.from_url(valkey.url) as client, client.pipeline(transaction=False) as pipe:
        for _ in range(count):
            pipe.xadd(f"{prefix}:{{u}}:log", {"t": "x"})
        first, last = (name.decode() for name in pipe.execute()[:: count - 1])
        assert store.checkpoint("u", fold(first, None, {})) is Checkpointed.STORED
        assert store.checkpoint("u", fold(last, first, {}, rows=count, keep=2 * now(store))) is Checkpointed.STORED
        more = client.xadd(f"{prefix}:{{u}}:log", {"t": "x"}).decode()
        assert store.checkpoint("u", fold(more, last, {}, rows=2 * count, keep=2 * now(store))) is Checkpointed.STORED
        assert client.xlen(f"{prefix}:{{u}}:log") < 200
    store.close()


def _write(store: RedisStore, at: int, size: int, sequence: int) -> None:
    if size > 0:
        store.append("u", "w", sequence, TRIAL_SIZE, head(1, sequence, at) * size, HOUR)
    else:
        store.claim("u", [claim(at, counter=100 * sequence + number) for number in range(-size)])


def _check(before: list[Entry], after: list[Entry], most: int, base: str | None) -> None:
    sizes = [weight(encode(entry)) for entry in before]
    covered = next(
        entry.time for entry in before if entry.id == (base or before[0].id)
    )  # what is older a checkpoint has
    moments = [
        at for at, entry in enumerate(before) if not at or before[at - 1].time < entry.time
    ]  # they go as a whole
    first = next(at for at in moments if sum(sizes[at:]) <= most or before[at].time >= covered)
    assert [entry.id for entry in after] == [entry.id for entry in before[first:]]
