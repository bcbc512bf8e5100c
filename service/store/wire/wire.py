"""Commands to whatever keeps a key: one round trip a call, a script by its SHA, and copies waited for where asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from service.errors import UnavailableError
from service.store.scripts import Script
from service.store.wire.errors import FORBIDDEN, NOT_COPIED, checked, unavailable
from service.store.wire.exchange import Command, pooled

COPY_MS = 500  # so long replicas have to confirm a write
LATE_MS = 50  # the same while they do not: what is refused shall not hold up what is not
PROOF_S = 60


class Wire:
    """The one way to one engine. `replicas`: so many must have a script's writes before its reply is given.

    A cluster's (cluster.py) is another with the same calls. `name` tells the engines of a cluster apart.
    """

    name = ""

    def __init__(self, pool: Any, replicas: int = 0) -> None:
        self._pool = pool
        self._replicas = replicas
        self._wait_ms = COPY_MS

    def ask(self, *commands: Command) -> list[Any]:
        """The replies of all commands, which are about keys of one slot. UnavailableError if any of them is an error."""
        try:
            return checked(self._exchange(commands))
        except redis.RedisError as error:
            raise self._said(error) from error

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
        command: Command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        after = self._proof(keys[0])
        try:
            replies = self._exchange((command, *after))
            if isinstance(replies[0], redis.exceptions.NoScriptError):
                replies = self._exchange((("SCRIPT", "LOAD", script.text), command, *after))[1:]
            checked(replies)
        except redis.RedisError as error:
            raise self._said(error) from error
        self._copied(replies[1:])
        return replies[0]

    def write(self, *commands: Command) -> list[Any]:
        """`ask`, and its writes are copied as those of a script."""
        after = self._proof(commands[0][1])
        replies = self.ask(*commands, *after)
        self._copied(replies[len(commands) :])
        return replies[: len(commands)]

    def parts(self) -> Sequence[Wire]:
        """A wire to each engine there is, for what is asked of an engine and not of a key."""
        return (self,)

    def holder(self, key: str) -> Wire:  # where there is more than one
        """A wire to the engine that has the key now."""
        return self

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        return pooled(self._pool, commands)

    def _said(self, error: redis.RedisError) -> UnavailableError:
        return unavailable(error)

    def _proof(self, key: str) -> tuple[Command, ...]:
        """What makes sure that replicas have everything up to here, also what another connection wrote.

        WAIT looks at the last write of its own connection. A claim that was counted already writes nothing, so a
        write of our own goes before it.
        """
        if not self._replicas:
            return ()
        mark = f"{key[: key.rindex('}') + 1] if '}' in key else key}:proof"
        return ("SET", mark, 1, "EX", PROOF_S), ("WAIT", self._replicas, self._wait_ms)

    def _copied(self, proof: Sequence[Any]) -> None:
        if not proof:
            return
        copied = int(proof[-1])
        self._wait_ms = COPY_MS if copied >= self._replicas else LATE_MS
        if copied < self._replicas:
            raise UnavailableError(
                f"store: written, but {copied} replicas have it and {self._replicas} are asked for (LEVER_STORE_REPLICAS)",
                NOT_COPIED,
            )
