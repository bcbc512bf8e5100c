"""The store on Redis or Valkey >= 6.2: streams, hashes and eight Lua scripts.

Nothing is retried here: every call is safe to send again, and only the caller knows whether it still wants to.
Safe for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import redis

from service.errors import ConflictError, CorruptError, UnavailableError
from service.store.claims import check_rows, stride_of
from service.store.contract import (
    START,
    Checkpoint,
    Checkpointed,
    Claim,
    Entry,
    Held,
    Loaded,
    LostError,
    Outcome,
    Poll,
    Put,
    Seed,
)
from service.store.entries import decode, encode
from service.store.journal import RedisJournal
from service.store.scripts import (
    Keys,
    Script,
    checkpoint_arguments,
    claim_call,
    decode_checkpoint,
    decode_claim,
    engine_facts,
    info_lines,
    outcomes_of,
    pairs,
    registry_of,
    seed_arguments,
)
from service.store.watch import Watch
from service.store.wire import Line, Wire, checked, pool_of, unavailable

HISTORY = 50  # configurations kept of each experiment
STAGED = 500  # log entries sent at a time where a log is brought back
_SPOILT = ("WRONGTYPE", "Invalid stream ID")  # what an engine says of a single stream, without its ERR


class RedisStore:
    """Store and Engine over a Redis or Valkey server (`url`), or over the pool of a given client.

    `timeout` bounds each wait for the server in seconds, `bulk_timeout` those of checkpoints, which may have
    hundreds of megabytes. A given client keeps its own timeouts and must not decode responses.
    """

    def __init__(
        self, url_or_client: str | redis.Redis, prefix: str = "lever", timeout: float = 1.0, bulk_timeout: float = 30.0
    ) -> None:
        self._keys = Keys(prefix)
        self._owned: list[redis.ConnectionPool] = []
        if isinstance(url_or_client, str):
            self._owned = [pool_of(url_or_client, timeout), pool_of(url_or_client, bulk_timeout)]
            pool, bulk = self._owned
        else:
            pool = bulk = url_or_client.connection_pool
            if pool.connection_kwargs.get("decode_responses"):
                raise ValueError("the client must not decode responses")
        self._wire, self._bulk, self._line = Wire(pool), Wire(bulk), Line(pool)
        self.journal = RedisJournal(self._wire, self._keys)
        self._put = Script.load("put")
        self._delete = Script.load("delete")
        self._unregister = Script.load("unregister")
        self._append = Script.load("append")
        self._claim = Script.load("claim")
        self._checkpoint = Script.load("checkpoint")
        self._seed = Script.load("seed")
        self._has = Script.load("has")
        self._watch = Watch()

    # Store

    def put(self, put: Put) -> None:
        """Store.put. An experiment that was deleted meanwhile: ConflictError."""
        keys = self._keys
        if put.record is None:
            self._remove(put)
            return
        if put.expected == 0:
            (holder,) = self._wire.ask(("HGET", keys.names, put.name))
            if holder is not None and _text(holder) != put.uid:
                raise ConflictError(f"the name {put.name} is taken")
            if put.seed is not None:
                self._bring_back(put, put.record, put.seed)
                return
            if self._was_deleted(put.uid):
                raise ConflictError(f"{put.name} was deleted")
        tagged = [keys.config(put.uid), keys.history(put.uid), keys.log(put.uid)]
        answer = _text(self._wire.run(self._put, tagged, put.version, put.expected, put.record, HISTORY, put.since))
        if answer == "LOST":
            raise ConflictError(f"{put.name} was deleted") if self._was_deleted(put.uid) else LostError.of(put.uid)
        if answer.startswith("CONFLICT"):
            raise ConflictError(f"{put.name} is at version {answer.split()[1]}, not {put.expected}")
        if put.expected == 0:
            self._register(put)

    def _bring_back(self, put: Put, record: bytes, seed: Seed) -> None:
        keys, staged = self._keys, self._keys.staged(put.uid)
        self._bulk.ask(("UNLINK", staged))
        for at in range(0, len(seed.entries), STAGED):
            part = seed.entries[at : at + STAGED]
            self._bulk.ask(*(("XADD", staged, entry.id, *chain(*encode(entry).items())) for entry in part))
        tagged = [keys.config(put.uid), keys.history(put.uid), keys.log(put.uid), keys.checkpoint(put.uid), staged]
        answer = _text(self._bulk.run(self._seed, tagged, *seed_arguments(put.version, record, seed)))
        if answer == "CONFLICT":
            raise ConflictError(f"something of {put.name} ({put.uid}) is in the store already")
        self._register(put)
        self._wire.ask(("HDEL", keys.deleted, put.uid))

    def _register(self, put: Put) -> None:
        names = self._keys.names
        _, holder = self._wire.ask(("HSETNX", names, put.name, put.uid), ("HGET", names, put.name))
        if holder is None or _text(holder) != put.uid:
            self._wire.ask(("UNLINK", *self._keys.all(put.uid)))
            raise ConflictError(f"the name {put.name} was taken meanwhile")

    def _remove(self, put: Put) -> None:
        # Each step may be repeated: a deletion cut short is finished by sending it again.
        keys = self._keys
        answer = _text(self._wire.run(self._delete, [keys.config(put.uid)], put.expected))
        if answer.startswith("CONFLICT"):
            raise ConflictError(f"{put.name} is at version {answer.split()[1]}, not {put.expected}")
        if answer == "GONE" and put.expected != 0 and not self._was_deleted(put.uid):
            raise LostError.of(put.uid)
        self._wire.run(self._unregister, [keys.names, keys.deleted], put.name, put.uid)
        self._wire.ask(("UNLINK", *keys.all(put.uid)))

    def _was_deleted(self, uid: str) -> bool:
        return uid in self.deleted([uid])

    def load(self, uid: str) -> Loaded:
        """Store.load. CorruptError if the configuration cannot be read."""
        keys = self._keys
        *_, replies = self._bulk.ask(
            ("MULTI",),
            ("HGETALL", keys.config(uid)),
            ("HGETALL", keys.history(uid)),
            ("HGETALL", keys.checkpoint(uid)),
            ("EXEC",),
        )
        for reply in replies[:2]:
            if isinstance(reply, redis.RedisError):
                raise CorruptError(f"experiment {uid}: {reply}") from reply
        config, history = (dict(pairs(reply)) for reply in replies[:2])
        if not config:
            raise LostError.of(uid)
        try:
            versions = {int(version): record for version, record in sorted(history.items(), key=lambda i: int(i[0]))}
            record, epoch = config[b"record"], int(config.get(b"epoch", 0))
        except (KeyError, ValueError) as error:
            raise CorruptError(f"the configuration of {uid} does not decode: {error!r}") from error
        if isinstance(replies[2], redis.RedisError):
            return Loaded(record, None, versions, damaged=str(replies[2]), epoch=epoch)
        stored = dict(pairs(replies[2]))
        diverged = b"diverged" in stored
        try:
            return Loaded(record, decode_checkpoint(stored), versions, "", diverged, epoch)
        except CorruptError as error:
            return Loaded(record, None, versions, str(error), diverged, epoch)

    def poll(self, cursors: Mapping[str, str], limit: int = 1000) -> Poll:
        """Store.poll, in one round trip; in more where a key is no log."""
        keys = self._keys
        commands: list[tuple[Any, ...]] = [("TIME",), ("HGETALL", keys.names)]
        uids = {keys.log(uid).encode(): uid for uid in cursors}
        watching = self._watch.commands()
        commands += watching
        if cursors:
            commands.append(("XREAD", "COUNT", limit, "STREAMS", *uids, *cursors.values()))
        session, (clock, names, *rest) = self._line.ask(*commands)
        if watching:
            self._watch.hear(rest[: len(watching)])
        streams = rest[len(watching) :]
        try:
            checked([clock, names])
        except redis.RedisError as error:
            raise unavailable(error) from error
        entries: dict[str, list[Entry]] = {}
        registry, damaged = registry_of(names)
        for log, found in self._streams(streams, cursors, limit, damaged):
            try:
                entries[uids[log]] = [decode(name, dict(pairs(fields))) for name, fields in found]
            except CorruptError as error:
                damaged[uids[log]] = str(error)
        return Poll(
            now=int(clock[0]) * 1000 + int(clock[1]) // 1000,
            registry=registry,
            entries=entries,
            more=any(len(found) >= limit for found in entries.values()),
            session=session + self._watch.changes,
            damaged=damaged,
            rewound=self._rewound({uid: cursors[uid] for uid in entries if cursors[uid] != START}),
            eviction=self._watch.eviction,
        )

    def _rewound(self, cursors: Mapping[str, str]) -> frozenset[str]:
        """Those whose log has no entry at the cursor."""
        if not cursors:
            return frozenset()
        asked = [("EVAL", self._has.text, 1, self._keys.log(uid), at) for uid, at in cursors.items()]
        found = self._line.ask(*asked)[1]
        return frozenset(uid for uid, has in zip(cursors, found, strict=True) if has == 0)

    def _streams(
        self, replies: list[Any], cursors: Mapping[str, str], limit: int, damaged: dict[str, str]
    ) -> list[tuple[bytes, Any]]:
        """What XREAD brought, by key. One key or cursor that is none spoils the answer for all: then each is asked."""
        if not replies or not replies[0]:
            return []
        if not isinstance(replies[0], redis.RedisError):
            return list(pairs(replies[0]))
        if not str(replies[0]).startswith(_SPOILT):
            raise unavailable(replies[0]) from replies[0]
        out: list[tuple[bytes, Any]] = []
        asked = [("XREAD", "COUNT", limit, "STREAMS", self._keys.log(uid), at) for uid, at in cursors.items()]
        for uid, reply in zip(cursors, self._line.ask(*asked)[1], strict=True):
            if isinstance(reply, redis.RedisError):
                damaged[uid] = str(reply)
            else:
                out += pairs(reply or ())
        return out

    def deleted(self, uids: Collection[str]) -> frozenset[str]:
        """Store.deleted."""
        if not uids:
            return frozenset()
        (times,) = self._wire.ask(("HMGET", self._keys.deleted, *uids))
        return frozenset(uid for uid, time in zip(uids, times, strict=True) if time is not None)

    def append(self, uid: str, writer: str, sequence: int, stride: int, trials: bytes, horizon: int) -> int:
        """Store.append. ValueError if `trials` is not a whole number of rows."""
        check_rows(trials, stride)
        tagged = [self._keys.config(uid), self._keys.log(uid), self._keys.watermarks(uid)]
        return int(self._known(uid, self._wire.run(self._append, tagged, writer, sequence, stride, trials, horizon)))

    def claim(self, uid: str, claims: Sequence[Claim]) -> list[Outcome]:
        """Store.claim. ValueError for more than MAX_CLAIMS claims or rows of different sizes."""
        (answer,) = self.claim_each([(uid, claims)])
        if isinstance(answer, UnavailableError):
            raise answer
        return answer

    def claim_each(self, calls: Sequence[tuple[str, Sequence[Claim]]]) -> list[list[Outcome] | UnavailableError]:
        """Store.claim_each. ValueError as of `claim`."""
        asked = []
        for uid, claims in calls:
            if claims:
                shards, arguments = claim_call(self._keys, uid, claims)
                tagged = [self._keys.config(uid), self._keys.log(uid), *shards]
                asked.append((tagged, (stride_of(claims), *arguments)))
        replies = iter(self._wire.run_each(self._claim, asked) if asked else ())
        return [outcomes_of(uid, next(replies)) if claims else [] for uid, claims in calls]

    def remember(self, word: str, proposal: bytes, expires: int) -> bytes:
        """Store.remember."""
        key = self._keys.word(word)
        _, kept = self._wire.ask(("SET", key, proposal, "NX", "PXAT", expires), ("GET", key))
        return bytes(kept) if kept is not None else proposal  # it expired between the two

    def checkpoint(self, uid: str, checkpoint: Checkpoint) -> Checkpointed:
        """Store.checkpoint. Once two readers differed at one id, every answer is DIVERGED."""
        keys = self._keys
        tagged = [keys.config(uid), keys.log(uid), keys.checkpoint(uid)]
        answer = self._known(uid, self._bulk.run(self._checkpoint, tagged, *checkpoint_arguments(checkpoint)))
        return Checkpointed(_text(answer).lower())

    def versions(self, uid: str) -> Mapping[int, bytes]:
        """Store.versions."""
        (kept,) = self._wire.ask(("HGETALL", self._keys.history(uid)))
        return dict(sorted((int(version), record) for version, record in pairs(kept)))

    def _known(self, uid: str, answer: Any) -> Any:
        if answer == b"LOST":
            raise LostError.of(uid)
        return answer

    # Engine

    def secret(self, name: str, proposal: bytes) -> bytes:
        """Engine.secret."""
        secrets = self._keys.secrets
        _, kept = self._wire.ask(("HSETNX", secrets, name, proposal), ("HGET", secrets, name))
        return bytes(kept)

    def agree(self, name: str, marks: Sequence[str]) -> bool:
        """Engine.agree."""
        secrets, mine = self._keys.secrets, ",".join(marks)
        _, kept = self._wire.ask(("HSETNX", secrets, name, mine), ("HGET", secrets, name))
        if set(_text(kept).split(",")).isdisjoint(marks):
            return False
        if _text(kept) != mine:
            self._wire.ask(("HSET", secrets, name, mine))
        return True

    def claims(self, uid: str) -> Iterator[Held]:
        """Engine.claims. Each shard is read at once; a shard that grows meanwhile may be met twice."""
        cursor, prefix = "0", self._keys.shards(uid)
        while True:
            ((at, names),) = self._bulk.ask(("SCAN", cursor, "MATCH", prefix + "*", "COUNT", 1000))
            for name in names:
                for field, value in pairs(self._bulk.ask(("HGETALL", name))[0]):
                    yield from decode_claim(_text(name)[len(prefix) :], field, value, self._outgrown(uid))
            cursor = _text(at)
            if cursor == "0":
                return

    def _outgrown(self, uid: str) -> Callable[[int, int], bytes | None]:
        def read(decision: int, counter: int) -> bytes | None:
            found: bytes | None = self._bulk.ask(("GET", self._keys.outgrown(uid, decision, counter)))[0]
            return found

        return read

    def facts(self) -> Mapping[str, str]:
        """Engine.facts. What a managed store does not tell is said to be unknown."""
        info = info_lines(_text(self._wire.told("INFO") or b""))
        return engine_facts(info) | {"fsync": self._fsync(info)}

    def _fsync(self, info: Mapping[str, str]) -> str:
        if "aof_enabled" not in info:
            return "unknown"
        if info["aof_enabled"] != "1":
            return "none (no append-only file)"
        told = dict(pairs(self._wire.told("CONFIG", "GET", "appendfsync") or []))
        return _text(told[b"appendfsync"]) if told else "unknown (append-only file)"

    def close(self) -> None:
        """Let go of connections; those of a client that was handed in stay."""
        self._line.close()
        for pool in self._owned:
            pool.disconnect()


def _text(value: bytes) -> str:
    return value.decode()
