"""Commands out and raw replies back in one round trip, without the client's pipelines and callbacks.

A redis-py pipeline costs several times the socket and holds the GIL meanwhile (an EVALSHA 35 against 12 us).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hiredis
import redis

Command = tuple[Any, ...]


class Packed(tuple[Any, ...]):
    """A command that is sent again and again: its bytes are made once."""

    __slots__ = ()

    @classmethod
    def of(cls, *parts: Any) -> Packed:
        """The command with these parts: its bytes are all that it has."""
        return cls((hiredis.pack_command(parts),))


def packed(connection: Any, commands: Sequence[Command]) -> list[bytes]:
    """The bytes of the commands, in order."""
    made: list[bytes] = []
    for command in commands:
        if isinstance(command, Packed):
            made.append(command[0])
        else:
            made += connection.pack_command(*command)
    return [b"".join(made)]


def exchange(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """A reply for each command; one that is an error stands there as it is. redis.RedisError where there is none."""
    try:
        connection.send_packed_command(packed(connection, commands))
    except BaseException:
        connection.disconnect()
        raise
    return receive(connection, len(commands))


def receive(connection: Any, count: int) -> list[Any]:
    """The replies to so many commands that were sent."""
    try:
        return [_reply(connection) for _ in range(count)]
    except BaseException:
        connection.disconnect()  # whatever is still under way must not answer the next call
        raise


def sent(pool: Any, commands: Sequence[Command]) -> Any:
    """A connection of the pool on which they are under way; it is to be listened to and released."""
    connection = pool.get_connection()
    try:
        connection.send_packed_command(packed(connection, commands))
    except BaseException:
        connection.disconnect()
        pool.release(connection)
        raise
    return connection


def pooled(pool: Any, commands: Sequence[Command]) -> list[Any]:
    """An exchange over a connection of the pool."""
    connection = sent(pool, commands)
    try:
        return receive(connection, len(commands))
    finally:
        pool.release(connection)


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
