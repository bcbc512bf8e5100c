"""An engine's errors in Lever's own words."""

from __future__ import annotations

import re
from typing import Any

import redis

from service.errors import UnavailableError
from service.store.contract import PartAwayError, SpoiltError, UnreachableError

_KINDS: list[tuple[type[redis.RedisError], str]] = [  # subclasses before their parents
    (redis.BusyLoadingError, "LOADING"),
    (redis.AuthenticationError, "authentication"),
    (redis.TimeoutError, "timeout"),
    (redis.ConnectionError, "connection"),
    (redis.ReadOnlyError, "READONLY"),
    (redis.OutOfMemoryError, "OOM"),
]
_SILENT = {"timeout", "connection"}
_WORD = re.compile(r"\b(OOM|READONLY|LOADING|[A-Z]{4,})\b")
# What an engine says of a key of another type, and a script of a value that is none of ours.
_OF_A_KEY = re.compile(r"WRONGTYPE|attempt to |bad argument #|Invalid stream ID|bad data format")
_FORBIDDEN = re.compile(r"unknown command|no permissions|NOPERM", re.IGNORECASE)

# What a cluster answers where the key is elsewhere, on its way, or nobody's at the moment.
ELSEWHERE = (redis.exceptions.MovedError, redis.exceptions.AskError)
IN_BETWEEN = (redis.exceptions.TryAgainError, redis.exceptions.ClusterDownError, redis.exceptions.MasterDownError)

FORBIDDEN, CLUSTER, NOT_COPIED = "STORE_FORBIDS", "REDIS_CLUSTER", "STORE_NOT_COPIED"  # reasons
HIDDEN_CLUSTER = (
    "the store is a Redis Cluster, but did not say so when it was asked (HELLO): allow that command to Lever's user"
)


def unavailable(error: redis.RedisError, part: bool = False) -> UnavailableError:
    """The error as callers know it: UnreachableError (of a `part`: PartAwayError) where there was no answer at all,
    SpoiltError where it is of a key.
    """
    if isinstance(error, ELSEWHERE) and not part:
        return UnavailableError(f"store: {HIDDEN_CLUSTER}", CLUSTER)
    if isinstance(error, redis.ResponseError) and _FORBIDDEN.search(str(error)):
        return UnavailableError(f"store: {error}", FORBIDDEN)
    for kind, name in _KINDS:
        if isinstance(error, kind):
            silent = PartAwayError if part else UnreachableError
            return (silent if name in _SILENT else UnavailableError)(f"store: {name}: {error}")
    if _OF_A_KEY.search(str(error)):
        return SpoiltError(f"store: {error}")
    word = _WORD.search(str(error))
    kind_of = PartAwayError if part and isinstance(error, (*ELSEWHERE, *IN_BETWEEN)) else UnavailableError
    return kind_of(f"store: {word.group() if word else 'error'}: {error}")


def checked(replies: list[Any]) -> list[Any]:
    """The replies, or the first error among them raised."""
    for reply in replies:
        if isinstance(reply, redis.RedisError):
            raise reply
    return replies
