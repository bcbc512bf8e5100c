"""The store on Redis or Valkey >= 6.2: streams, hashes and nine Lua scripts.

Nothing is retried here: every call is safe to send again, and only the caller knows whether it still wants to.
Safe for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, chain
from typing import Any

import redis

from service.errors import ConflictError, CorruptError, UnavailableError
from service.store.claims import check_rows, stride_of
from service.store.contract import (
    Checkpoint,
    Checkpointed,
    Claim,
    Held,
    Loaded,
    LostError,
    Outcome,
    Poll,
    Put,
    Seed,
    SpoiltError,
)
from service.store.durability import engine_facts, together
from service.store.entries import encode, weight
from service.store.journal import RedisJournal
from service.store.poller import Poller
from service.store.scripts import (
    STATE_FORMAT,
    Keys,
    Script,
    checkpoint_arguments,
    claim_call,
    decode_checkpoint,
    decode_claim,
    is_id,
    outcomes_of,
    pairs,
    seed_arguments,
)
from service.store.sharing.states import States
from service.store.wire.link import Given, Link
from service.store.wire.watch import told
from service.store.wire.wire import Wire

HISTORY = 50  # configurations kept of each experiment
STAGED = 500  # log entries sent at a time where a log is brought back


class RedisStore:
    """Store and Engine over a Redis or Valkey server (`url`), or over the pool of a given client.

    `timeout` bounds each wait for the server in seconds, `bulk_timeout` those of checkpoints, which may have
    hundreds of megabytes. A given client keeps its own timeouts and must not decode responses. `replicas`: a write is
    acknowledged once so many have it. `form` is the format of the checkpoints that are stored; older ones are read.
    """

    def __init__(
        self,
        url_or_client: str | redis.Redis,
        prefix: str = "lever",
        timeout: float = 1.0,
        bulk_timeout: float = 30.0,
        replicas: int = 0,
        form: int = STATE_FORMAT,
    ) -> None:
        self._keys = Keys(prefix, form)
        self._link: Link | Given
        if isinstance(url_or_client, str):
            self._link = Link(url_or_client, timeout, bulk_timeout, replicas)
        else:
            self._link = Given(url_or_client.connection_pool, replicas)
        self.journal = RedisJournal(lambda: self._wire, self._keys)
        self.states = States(lambda: self._bulk, self._keys)
        self._poller = Poller(self._link, self._keys)
        self._put = Script.load("put")
        self._delete = Script.load("delete")
        self._unregister = Script.load("unregister")
        self._append = Script.load("append")
        self._claim = Script.load("claim")
        self._checkpoint = Script.load("checkpoint")
        self._seed = Script.load("seed")
        self._has = Script.load("has")

    @property
    def _wire(self) -> Wire:
        return self._link.ways().wire

    @property
    def _bulk(self) -> Wire:
        return self._link.ways().bulk

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
        size = 0
        for at in range(0, len(seed.entries), STAGED):
            part = {entry.id: encode(entry) for entry in seed.entries[at : at + STAGED]}
            before = accumulate(map(weight, part.values()), initial=size)
            asked = [
                ("XADD", staged, id_, "n", n, *chain(*part[id_].items())) for id_, n in zip(part, before, strict=False)
            ]
            self._bulk.ask(*asked)
            size += sum(map(weight, part.values()))
        tagged = [keys.config(put.uid), keys.history(put.uid), keys.log(put.uid), keys.checkpoint(put.uid), staged]
        tagged += keys.other_checkpoints(put.uid)
        answer = _text(self._bulk.run(self._seed, tagged, *seed_arguments(put.version, record, seed, size)))
        if answer == "CONFLICT":
            raise ConflictError(f"something of {put.name} ({put.uid}) is in the store already")
        self._register(put)
        self._wire.write(("HDEL", keys.deleted, put.uid))

    def _register(self, put: Put) -> None:
        names = self._keys.names
        _, holder = self._wire.write(("HSETNX", names, put.name, put.uid), ("HGET", names, put.name))
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
            ("HMGET", keys.config(uid), "version", "record", "epoch"),
            ("HGETALL", keys.history(uid)),
            ("HGETALL", keys.checkpoint(uid)),
            ("EXEC",),
        )
        for reply in replies[:2]:
            if isinstance(reply, redis.RedisError):
                raise CorruptError(f"experiment {uid}: {reply}") from reply
        (version, record, epoch), history = replies[0], dict(pairs(replies[1]))
        if version is None and record is None:
            raise LostError.of(uid)
        try:
            versions = {int(version): record for version, record in sorted(history.items(), key=lambda i: int(i[0]))}
            if record is None:
                raise KeyError("record")  # noqa: TRY301
            epoch = int(epoch or 0)
        except (KeyError, ValueError) as error:
            raise CorruptError(f"the configuration of {uid} does not decode: {error!r}") from error
        if isinstance(replies[2], redis.RedisError):
            return Loaded(record, None, versions, damaged=str(replies[2]), epoch=epoch)
        stored = self._whole(uid, dict(pairs(replies[2])))
        diverged = b"diverged" in stored
        try:
            return Loaded(record, decode_checkpoint(stored), versions, "", diverged, epoch)
        except CorruptError as error:
            return Loaded(record, None, versions, str(error), diverged, epoch)

    def _whole(self, uid: str, stored: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """The stored checkpoint; one of a format before where there is none, or the log no longer goes on from it."""
        with suppress(
            SpoiltError
        ):  # a log that is no log goes on from nothing, and an older one that is none is not there
            for key in self._keys.older_checkpoints(uid):
                if stored and (not is_id(stored.get(b"id", b"")) or self._goes_on(uid, stored)):
                    break  # one whose id is none is damaged, and said to be
                (reply,) = self._bulk.ask(("HGETALL", key))
                older = dict(pairs(reply))
                stored = older if not stored or (older and self._goes_on(uid, older)) else stored
        return stored

    def _goes_on(self, uid: str, stored: Mapping[bytes, bytes]) -> bool:
        at = stored.get(b"id", b"")
        return is_id(at) and bool(self._wire.ask(("EVAL", self._has.text, 1, self._keys.log(uid), at))[0])

    def poll(self, cursors: Mapping[str, str], limit: int = 1000, *, listed: bool = True) -> Poll:
        """Store.poll, in one round trip; in more where a key is no log."""
        return self._poller.poll(cursors, limit, listed=listed)

    def deleted(self, uids: Collection[str]) -> frozenset[str]:
        """Store.deleted."""
        if not uids:
            return frozenset()
        (times,) = self._wire.ask(("HMGET", self._keys.deleted, *uids))
        return frozenset(uid for uid, time in zip(uids, times, strict=True) if time is not None)

    def append(self, uid: str, writer: str, sequence: int, stride: int, trials: bytes, horizon: int) -> int:
        """Store.append. ValueError if `trials` is not a whole number of rows."""
        check_rows(trials, stride)
        tagged = [self._keys.config(uid), self._keys.log(uid)]
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
        _, kept = self._wire.write(("SET", key, proposal, "NX", "PXAT", expires), ("GET", key))
        return bytes(kept) if kept is not None else proposal  # it expired between the two

    def checkpoint(self, uid: str, checkpoint: Checkpoint) -> Checkpointed:
        """Store.checkpoint. Once two readers differed at one id, every answer is DIVERGED."""
        keys = self._keys
        tagged = [keys.config(uid), keys.log(uid), keys.checkpoint(uid), *keys.older_checkpoints(uid)]
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
        engine = self._bulk.holder(prefix)
        while True:
            ((at, names),) = engine.ask(("SCAN", cursor, "MATCH", prefix + "*", "COUNT", 1000))
            for name in names:
                for field, value in pairs(self._bulk.ask(("HGETALL", name))[0]):
                    yield from decode_claim(_text(name)[len(prefix) :], field, value, self._outgrown(uid))
            cursor = _text(at)
            if cursor == "0":
                break
        if self._bulk.holder(prefix).name != engine.name:
            raise UnavailableError("the experiment moved to another primary meanwhile: ask again")

    def _outgrown(self, uid: str) -> Callable[[int, int], bytes | None]:
        def read(decision: int, counter: int) -> bytes | None:
            found: bytes | None = self._bulk.ask(("GET", self._keys.outgrown(uid, decision, counter)))[0]
            return found

        return read

    def facts(self) -> Mapping[str, str]:
        """Engine.facts. What a managed store does not tell is said to be unknown."""
        return together([engine_facts(info, fsync) for info, fsync in map(told, self._wire.parts())])

    def close(self) -> None:
        """Let go of connections; those of a client that was handed in stay."""
        self._link.close()


def _text(value: bytes) -> str:
    return value.decode()
