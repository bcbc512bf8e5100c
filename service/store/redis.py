"""The store on Redis or Valkey >= 6.2: streams, hashes and seven Lua scripts.

Nothing is retried here: every call is safe to send again, and only the caller knows whether it still wants to.
Safe for any number of threads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.errors import ConflictError, CorruptError, UnavailableError
from service.store import Checkpoint, Checkpointed, Claim, Entry, Loaded, LostError, Outcome, Poll, Put
from service.store.claims import check_rows, stride_of
from service.store.scripts import (
    Keys,
    Script,
    checkpoint_arguments,
    claim_call,
    decode_checkpoint,
    decode_entry,
    engine_facts,
    info_lines,
    pairs,
)

HISTORY = 50  # configurations kept of each experiment
MAX_CONNECTIONS = 512

_KINDS: list[tuple[type[redis.RedisError], str]] = [  # subclasses before their parents
    (redis.BusyLoadingError, "LOADING"),
    (redis.AuthenticationError, "authentication"),
    (redis.TimeoutError, "timeout"),
    (redis.ConnectionError, "connection"),
    (redis.ReadOnlyError, "READONLY"),
    (redis.OutOfMemoryError, "OOM"),
]
_WORD = re.compile(r"\b(OOM|READONLY|LOADING|[A-Z]{4,})\b")


def _unavailable(error: redis.RedisError) -> UnavailableError:
    for kind, name in _KINDS:
        if isinstance(error, kind):
            return UnavailableError(f"store: {name}: {error}")
    word = _WORD.search(str(error))
    return UnavailableError(f"store: {word.group() if word else 'error'}: {error}")


def _text(value: bytes) -> str:
    return value.decode()


class _Wire:
    """Commands out, raw replies back, in one round trip, without the client's pipelines and callbacks.

    A redis-py pipeline costs several times the socket and holds the GIL meanwhile (an EVALSHA 35 against 12 us).
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """The replies of all commands. UnavailableError if any of them is an error."""
        try:
            return _checked(self._exchange(commands))
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def run(self, script: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """The reply of a script; it is loaded first where the engine does not know it (any more)."""
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        try:
            replies = self._exchange((command,))
            if isinstance(replies[0], redis.exceptions.NoScriptError):
                replies = self._exchange((("SCRIPT", "LOAD", script.text), command))
            return _checked(replies)[-1]
        except redis.RedisError as error:
            raise _unavailable(error) from error

    def _exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        connection = self._pool.get_connection()
        try:
            return _exchange(connection, commands)
        finally:
            self._pool.release(connection)


class _Line:
    """One connection kept for good, and a number that changes whenever it had to be made anew."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._lock = Lock()
        self._connection: Any = None
        self._session = 0

    def ask(self, *commands: tuple[Any, ...]) -> tuple[int, list[Any]]:
        """The number of the connection and the replies to commands that only read, so may be asked twice.

        UnavailableError if any of them is an error.
        """
        with self._lock:
            try:
                if self._connection is not None:
                    try:
                        return self._session, _checked(_exchange(self._connection, commands))
                    except redis.ConnectionError:
                        self._drop()  # it ended since the last call, which says nothing about the store now
                self._connection = self._pool.get_connection()
                self._session += 1
                return self._session, _checked(_exchange(self._connection, commands))
            except redis.RedisError as error:
                self._drop()
                raise _unavailable(error) from error

    def close(self) -> None:
        """Give the connection back to the pool; a later call takes another."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)


def _exchange(connection: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        return [_reply(connection) for _ in commands]
    except BaseException:
        connection.disconnect()  # whatever is still under way must not answer the next call
        raise


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _checked(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, redis.RedisError):
            raise reply
    return replies


class RedisStore:
    """Store and Backend over a Redis or Valkey server (`url`), or over the pool of a given client.

    `timeout` bounds each wait for the server in seconds, `bulk_timeout` those of checkpoints, which may have
    hundreds of megabytes. A given client keeps its own timeouts and must not decode responses.
    """

    def __init__(
        self, url_or_client: str | redis.Redis, prefix: str = "lever", timeout: float = 1.0, bulk_timeout: float = 30.0
    ) -> None:
        self._keys = Keys(prefix)
        self._owned: list[redis.ConnectionPool] = []
        if isinstance(url_or_client, str):
            self._owned = [_pool(url_or_client, timeout), _pool(url_or_client, bulk_timeout)]
            pool, bulk = self._owned
        else:
            pool = bulk = url_or_client.connection_pool
            if pool.connection_kwargs.get("decode_responses"):
                raise ValueError("the client must not decode responses")
        self._wire, self._bulk, self._line = _Wire(pool), _Wire(bulk), _Line(pool)
        self._put = Script.load("put")
        self._delete = Script.load("delete")
        self._unregister = Script.load("unregister")
        self._append = Script.load("append")
        self._claim = Script.load("claim")
        self._checkpoint = Script.load("checkpoint")

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
            if self._was_deleted(put.uid):
                raise ConflictError(f"{put.name} was deleted")
        tagged = [keys.config(put.uid), keys.history(put.uid), keys.log(put.uid)]
        answer = _text(self._wire.run(self._put, tagged, put.version, put.expected, put.record, HISTORY))
        if answer == "LOST":
            raise ConflictError(f"{put.name} was deleted") if self._was_deleted(put.uid) else _lost(put.uid)
        if answer.startswith("CONFLICT"):
            raise ConflictError(f"{put.name} is at version {answer.split()[1]}, not {put.expected}")
        if put.expected == 0:
            self._register(put)

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
        if answer == "GONE" and not self._was_deleted(put.uid):
            raise _lost(put.uid)
        self._wire.run(self._unregister, [keys.names, keys.deleted], put.name, put.uid)
        self._wire.ask(("UNLINK", *keys.all(put.uid)))

    def _was_deleted(self, uid: str) -> bool:
        return bool(self._wire.ask(("HEXISTS", self._keys.deleted, uid))[0])

    def load(self, uid: str) -> Loaded:
        """Store.load. CorruptError if what is stored does not decode or add up."""
        keys = self._keys
        *_, replies = self._bulk.ask(
            ("MULTI",),
            ("HGETALL", keys.config(uid)),
            ("HGETALL", keys.history(uid)),
            ("HGETALL", keys.checkpoint(uid)),
            ("EXEC",),
        )
        for reply in replies:
            if isinstance(reply, redis.RedisError):
                raise CorruptError(f"experiment {uid}: {reply}") from reply
        config, history, checkpoint = (dict(pairs(reply)) for reply in replies)
        if not config:
            raise _lost(uid)
        try:
            versions = {int(version): record for version, record in sorted(history.items(), key=lambda i: int(i[0]))}
            return Loaded(config[b"record"], decode_checkpoint(checkpoint), versions)
        except (KeyError, ValueError) as error:
            raise CorruptError(f"the configuration of {uid} does not decode: {error!r}") from error

    def poll(self, cursors: Mapping[str, str], limit: int = 1000) -> Poll:
        """Store.poll, in one round trip."""
        keys = self._keys
        commands: list[tuple[Any, ...]] = [("TIME",), ("HGETALL", keys.names), ("HGETALL", keys.deleted)]
        uids = {keys.log(uid).encode(): uid for uid in cursors}
        if cursors:
            commands.append(("XREAD", "COUNT", limit, "STREAMS", *uids, *cursors.values()))
        session, (clock, names, deleted, *streams) = self._line.ask(*commands)
        entries: dict[str, list[Entry]] = {}
        for log, found in pairs(streams[0]) if streams and streams[0] else ():
            entries[uids[log]] = [decode_entry(name, fields) for name, fields in found]
        return Poll(
            now=int(clock[0]) * 1000 + int(clock[1]) // 1000,
            registry={_text(name): _text(uid) for name, uid in pairs(names)},
            deleted=frozenset(_text(uid) for uid, _ in pairs(deleted)),
            entries=entries,
            more=any(len(found) >= limit for found in entries.values()),
            session=session,
        )

    def append(self, uid: str, writer: str, sequence: int, stride: int, trials: bytes, horizon: int) -> int:
        """Store.append. ValueError if `trials` is not a whole number of rows."""
        check_rows(trials, stride)
        keys = self._keys
        tagged = [keys.config(uid), keys.log(uid), keys.watermarks(uid)]
        return int(self._known(uid, self._wire.run(self._append, tagged, writer, sequence, stride, trials, horizon)))

    def claim(self, uid: str, claims: Sequence[Claim]) -> list[Outcome]:
        """Store.claim. ValueError for more than MAX_CLAIMS claims or rows of different sizes."""
        if not claims:
            return []
        stride = stride_of(claims)
        shards, arguments = claim_call(self._keys, uid, claims)
        tagged = [self._keys.config(uid), self._keys.log(uid), *shards]
        return [Outcome(n) for n in self._known(uid, self._wire.run(self._claim, tagged, stride, *arguments))]

    def checkpoint(self, uid: str, checkpoint: Checkpoint) -> Checkpointed:
        """Store.checkpoint. Once two readers differed at one id, every answer is DIVERGED."""
        keys = self._keys
        tagged = [keys.config(uid), keys.log(uid), keys.checkpoint(uid)]
        answer = self._known(uid, self._bulk.run(self._checkpoint, tagged, *checkpoint_arguments(checkpoint)))
        return Checkpointed(_text(answer).lower())

    def _known(self, uid: str, answer: Any) -> Any:
        if answer == b"LOST":
            raise _lost(uid)
        return answer

    # Backend

    def secret(self, name: str, proposal: bytes) -> bytes:
        """Backend.secret."""
        secrets = self._keys.secrets
        _, kept = self._wire.ask(("HSETNX", secrets, name, proposal), ("HGET", secrets, name))
        return bytes(kept)

    def facts(self) -> Mapping[str, str]:
        """Backend.facts. What a managed store does not tell is said to be unknown."""
        info = info_lines(_text(self._wire.ask(("INFO",))[0]))
        return engine_facts(info) | {"fsync": self._fsync(info)}

    def _fsync(self, info: Mapping[str, str]) -> str:
        if info.get("aof_enabled") != "1":
            return "none (no append-only file)"
        try:
            told = dict(pairs(self._wire.ask(("CONFIG", "GET", "appendfsync"))[0]))
        except UnavailableError:  # managed stores forbid CONFIG
            return "unknown (append-only file)"
        return _text(told[b"appendfsync"]) if told else "unknown (append-only file)"

    def close(self) -> None:
        """Let go of connections; those of a client that was handed in stay."""
        self._line.close()
        for pool in self._owned:
            pool.disconnect()


def _lost(uid: str) -> LostError:
    return LostError(f"the store does not know experiment {uid}")


def _pool(url: str, timeout: float) -> redis.ConnectionPool:
    return redis.ConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
