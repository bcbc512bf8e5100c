"""Bytes to and from a Redis or Valkey: commands in one round trip, and errors in Lever's own words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from threading import Lock
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.errors import UnavailableError
from service.store.contract import SpoiltError, UnreachableError
from service.store.scripts import Script

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


# What an engine says of a key of another type, and a script of a value that is none of ours.
_OF_A_KEY = re.compile(r"WRONGTYPE|attempt to |bad argument #|Invalid stream ID|bad data format")
_FORBIDDEN = re.compile(r"unknown command|no permissions|NOPERM", re.IGNORECASE)
_CLUSTER = (
    redis.exceptions.MovedError, redis.exceptions.AskError, redis.exceptions.ClusterDownError,
    redis.exceptions.ClusterCrossSlotError,
)  # fmt: skip
FORBIDDEN, CLUSTER = "STORE_FORBIDS", "REDIS_CLUSTER"  # reasons
NO_CLUSTER = (
    "the store is a Redis Cluster (cluster-enabled yes), which Lever does not support yet: its keys would lie on several "
    "nodes; give one primary, with replicas if you like, with cluster mode disabled"
)


def unavailable(error: redis.RedisError) -> UnavailableError:
    """The error as callers know it: UnreachableError where there was no answer at all, SpoiltError where it is of a key."""
    if isinstance(error, _CLUSTER):
        return UnavailableError(f"store: {NO_CLUSTER}", CLUSTER)
    if isinstance(error, redis.ResponseError) and _FORBIDDEN.search(str(error)):
        return UnavailableError(f"store: {error}", FORBIDDEN)
    for kind, name in _KINDS:
        if isinstance(error, kind):
            silent = name in {"timeout", "connection"}
            return (UnreachableError if silent else UnavailableError)(f"store: {name}: {error}")
    if _OF_A_KEY.search(str(error)):
        return SpoiltError(f"store: {error}")
    word = _WORD.search(str(error))
    return UnavailableError(f"store: {word.group() if word else 'error'}: {error}")


class Wire:
    """Commands out, raw replies back, in one round trip, without the client's pipelines and callbacks.

    A redis-py pipeline costs several times the socket and holds the GIL meanwhile (an EVALSHA 35 against 12 us).
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """The replies of all commands. UnavailableError if any of them is an error."""
        try:
            return checked(self._exchange(commands))
        except redis.RedisError as error:
            raise unavailable(error) from error

    def told(self, *command: Any) -> Any:
        """The reply to a command that managed stores forbid; None where this one does. UnavailableError."""
        try:
            return self.ask(command)[0]
        except UnavailableError as error:
            if error.reason != FORBIDDEN:
                raise
            return None

    def run(self, script: Script, keys: Sequence[str], *arguments: Any) -> Any:
        """The reply of a script; it is loaded first where the engine does not know it (any more)."""
        (reply,) = self.run_each(script, ((keys, arguments),))
        if isinstance(reply, UnavailableError):
            raise reply
        return reply

    def run_each(self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """The reply of a script to each (keys, arguments), all in one round trip; UnavailableError in place of an error."""
        commands = [("EVALSHA", script.sha, len(keys), *keys, *arguments) for keys, arguments in calls]
        try:
            replies = self._exchange(commands)
            unknown = [i for i, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]
            if unknown:
                loaded, *again = self._exchange((("SCRIPT", "LOAD", script.text), *(commands[i] for i in unknown)))
                for i, reply in zip(unknown, again, strict=True):
                    replies[i] = loaded if isinstance(loaded, redis.RedisError) else reply
        except redis.RedisError as error:
            raise unavailable(error) from error
        return [unavailable(reply) if isinstance(reply, redis.RedisError) else reply for reply in replies]

    def _exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        connection = self._pool.get_connection()
        try:
            return _exchange(connection, commands)
        finally:
            self._pool.release(connection)


class Line:
    """One connection kept for good, and a number that changes whenever it had to be made anew."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._lock = Lock()
        self._connection: Any = None
        self._session = 0

    def ask(self, *commands: tuple[Any, ...]) -> tuple[int, list[Any]]:
        """The number of the connection and the replies to commands that only read, so may be asked twice.

        An error that answers a command is a reply. UnavailableError if there is no answer.
        """
        with self._lock:
            try:
                if self._connection is not None:
                    try:
                        return self._session, _exchange(self._connection, commands)
                    except redis.ConnectionError:
                        self._drop()  # it ended since the last call, which says nothing about the store now
                self._connection = self._pool.get_connection()
                self._session += 1
                return self._session, _exchange(self._connection, commands)
            except redis.RedisError as error:
                self._drop()
                raise unavailable(error) from error

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


def checked(replies: list[Any]) -> list[Any]:
    """The replies, or the first error among them raised."""
    for reply in replies:
        if isinstance(reply, redis.RedisError):
            raise reply
    return replies


def pool_of(url: str, timeout: float) -> redis.ConnectionPool:
    """Connections that wait at most `timeout` seconds, and of which no call is repeated behind our back."""
    return redis.ConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
