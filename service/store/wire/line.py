"""One connection kept for good, on which what is new is asked for: of one engine, or of several at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import redis

from service.errors import UnavailableError
from service.store.wire.errors import unavailable
from service.store.wire.exchange import Command, exchange, packed, receive

Answer = tuple[int, list[Any]]  # the number of the connection, and the replies


class Reads(Protocol):
    """What can be asked in two steps, so that several are asked at once. Used by one thread at a time.

    The commands only read, so may be sent twice. An error that answers a command is a reply.
    """

    def begin(self, commands: Sequence[Command]) -> None:
        """Send. What goes wrong is told by `finish`."""

    def finish(self) -> Answer:
        """The replies. UnavailableError if there is no answer."""


class Line:
    """A connection, and a number that changes whenever it had to be made anew."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._connection: Any = None
        self._session = 0
        self._commands: Sequence[Command] = ()
        self._kept = False  # whether the commands went out on a connection of an earlier call
        self._failed: redis.RedisError | None = None

    def begin(self, commands: Sequence[Command]) -> None:
        """Reads.begin."""
        self._commands, self._failed = commands, None
        self._kept = self._connection is not None
        try:
            connection = self._connected()
            connection.send_packed_command(packed(connection, commands))
        except redis.RedisError as error:
            self.close()
            self._failed = error

    def finish(self) -> Answer:
        """Reads.finish."""
        try:
            try:
                if self._failed is not None:
                    raise self._failed
                return self._session, receive(self._connection, len(self._commands))
            except redis.ConnectionError:
                if not self._kept:
                    raise
                self.close()  # it ended since the last call, which says nothing about the store now
                connection = self._connected()
                return self._session, exchange(connection, self._commands)
        except redis.RedisError as error:
            self.close()
            raise unavailable(error) from error

    def close(self) -> None:
        """Give the connection back to the pool; a later call takes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self._pool.get_connection()
            self._session += 1
        return self._connection


L = TypeVar("L", bound=Reads)


def ask_all(asked: Mapping[L, Sequence[Command]]) -> dict[L, Answer | UnavailableError]:
    """What each answers, all asked before the first is listened to."""
    for line, commands in asked.items():
        line.begin(commands)
    answers: dict[L, Answer | UnavailableError] = {}
    for line in asked:
        try:
            answers[line] = line.finish()
        except UnavailableError as error:
            answers[line] = error
    return answers
