"""The wire to a cluster: each call goes to the primary that has its keys, and after them where they have moved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import redis

from service.errors import UnavailableError
from service.store.wire.errors import ELSEWHERE, IN_BETWEEN, unavailable
from service.store.wire.exchange import Command
from service.store.wire.nodes import Node, Nodes
from service.store.wire.wire import Wire

PATIENCE_S = 1.0  # for keys that are on their way, or a slot that nobody has
AGAIN_S = 0.02
_KEYLESS = frozenset(("MULTI", "EXEC", "SCRIPT", "WAIT", "TIME", "INFO", "CONFIG", "SCAN", "HELLO"))
_COUNTED = frozenset(("EVALSHA", "EVAL"))


class ClusterWire(Wire):
    """Wire over the primaries of a cluster."""

    def __init__(self, nodes: Nodes, replicas: int = 0, *, bulk: bool = False) -> None:
        super().__init__(None, replicas)
        self._nodes = nodes
        self._bulk = bulk

    def parts(self) -> Sequence[Wire]:
        """Wire.parts: each primary."""
        return [NodeWire(node, self._bulk) for node in self._nodes.primaries()]

    def holder(self, key: str) -> Wire:
        """Wire.holder."""
        return NodeWire(self._nodes.of(key), self._bulk)

    def _said(self, error: redis.RedisError) -> UnavailableError:
        return unavailable(error, part=True)

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        """A command that was answered is not sent again, but for those of a transaction."""
        key, node, until = key_of(commands), None, time.monotonic() + PATIENCE_S
        whole = commands[0][0] == "MULTI"
        done: list[Any] = []
        while True:
            left = commands[len(done) :]
            try:
                replies = (node or self._nodes.of(key)).exchange(left, bulk=self._bulk, asking=node is not None)
            except (redis.ConnectionError, redis.TimeoutError):
                self._nodes.refresh()
                raise
            node = None
            refused = next(
                (at for at, reply in enumerate(replies) if isinstance(reply, (*ELSEWHERE, *IN_BETWEEN))), None
            )
            if refused is None or time.monotonic() > until:
                return done + replies
            why = replies[refused]
            if isinstance(why, redis.exceptions.MovedError):
                self._nodes.moved(why)
            elif isinstance(why, redis.exceptions.AskError) and not whole:
                node = self._nodes.at(why.host, why.port)
            else:
                time.sleep(AGAIN_S)
                self._nodes.refresh()
            if not whole:
                done += replies[:refused]


class NodeWire(Wire):
    """Wire to one primary, for what is asked of it and not of a key."""

    def __init__(self, node: Node, bulk: bool) -> None:
        super().__init__(None)
        self._node = node
        self.name = "{}:{}".format(*node.address)
        self._bulk = bulk

    def _said(self, error: redis.RedisError) -> UnavailableError:
        return unavailable(error, part=True)

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        return self._node.exchange(commands, bulk=self._bulk)


def key_of(commands: Sequence[Command]) -> str:
    """The first key that they name: all are of its slot."""
    for command in commands:
        if command[0] in _COUNTED:
            return str(command[3])
        if command[0] not in _KEYLESS:
            return command[1].decode() if isinstance(command[1], bytes) else str(command[1])
    raise ValueError(f"{commands[0][0]} is about no key: ask each of the parts")
