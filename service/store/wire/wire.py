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
_KEYLESS = frozenset(("MULTI", "EXEC", "SCRIPT", "WAIT", "TIME", "INFO", "CONFIG", "SCAN", "HELLO"))
_COUNTED = frozenset(("EVALSHA", "EVAL"))


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
        (reply,) = self.run_each(script, ((keys, arguments),))
        if isinstance(reply, UnavailableError):
            raise reply
        return reply

    def run_each(self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """The reply of a script to each (keys, arguments), all in one round trip; UnavailableError in place of an error."""
        commands: list[Command] = [("EVALSHA", script.sha, len(keys), *keys, *arguments) for keys, arguments in calls]
        try:
            replies = self._spread(commands)
            unknown = [i for i, reply in enumerate(replies) if isinstance(reply, redis.exceptions.NoScriptError)]
            if unknown:
                again = self._spread([commands[i] for i in unknown], ("SCRIPT", "LOAD", script.text))
                for i, reply in zip(unknown, again, strict=True):
                    replies[i] = reply
        except redis.RedisError as error:
            raise self._said(error) from error
        return [self._said(reply) if isinstance(reply, redis.RedisError) else reply for reply in replies]

    def write(self, *commands: Command) -> list[Any]:
        """`ask`, and what it writes is copied as that of a script."""
        proof = self._proof(key_of(commands))
        replies = self.ask(*commands, *proof)
        short = self._short(replies[len(commands) :])
        if short is not None:
            raise short
        return replies[: len(commands)]

    def parts(self) -> Sequence[Wire]:
        """A wire to each engine there is, for what is asked of an engine and not of a key."""
        return (self,)

    def holder(self, key: str) -> Wire:  # where there is more than one
        """A wire to the engine that has the key now."""
        return self

    def _spread(self, commands: Sequence[Command], first: Command | None = None) -> list[Any]:
        """A reply or an error for each of the commands, whose keys are of any slots; `first` goes before them."""
        before = () if first is None else (first,)
        sent = (*before, *commands, *self._proof(key_of(commands[-1:])))
        return self._proven(self._exchange(sent), len(before), len(commands))

    def _proven(self, replies: list[Any], before: int, count: int) -> list[Any]:
        """The replies to the commands between what went before and the proof, or in their place why they do not count."""
        if before and isinstance(replies[0], redis.RedisError):
            return [replies[0]] * count
        short = self._short(replies[before + count :])
        return replies[before : before + count] if short is None else [short] * count

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

    def _short(self, proof: Sequence[Any]) -> UnavailableError | None:
        """What is wrong if not enough replicas have it."""
        if not proof:
            return None
        for reply in proof:
            if isinstance(reply, redis.RedisError):
                return self._said(reply)
        copied = int(proof[-1])
        self._wait_ms = COPY_MS if copied >= self._replicas else LATE_MS
        if copied >= self._replicas:
            return None
        said = (
            f"store: written, but {copied} replicas have it and {self._replicas} are asked for (LEVER_STORE_REPLICAS)"
        )
        return UnavailableError(said, NOT_COPIED)


def key_of(commands: Sequence[Command]) -> str:
    """The first key that they name."""
    for command in commands:
        if command[0] in _COUNTED:
            return str(command[3])
        if command[0] not in _KEYLESS:
            return command[1].decode() if isinstance(command[1], bytes) else str(command[1])
    raise ValueError(f"{commands[0][0]} is about no key: ask each of the parts")
