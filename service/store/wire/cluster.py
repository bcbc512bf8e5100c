"""The wire to a cluster: each call goes to the primary that has its keys, and after them where they have moved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import redis

from service.errors import UnavailableError
from service.store.wire.errors import ELSEWHERE, IN_BETWEEN, unavailable
from service.store.wire.exchange import Command
from service.store.wire.nodes import Node, Nodes, exchange_all
from service.store.wire.wire import Wire, key_of

PATIENCE_S = 1.0  # for keys that are on their way, or a slot that nobody has
AGAIN_S = 0.02


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

    def _spread(self, commands: Sequence[Command], first: Command | None = None) -> list[Any]:
        """Each primary gets its own in one round trip, all at the same time."""
        if len(commands) == 1:
            return super()._spread(commands, first)
        replies: list[Any] = [None] * len(commands)
        by_node: dict[Node, list[int]] = {}
        for i, command in enumerate(commands):
            try:
                by_node.setdefault(self._nodes.of(key_of([command])), []).append(i)
            except redis.ConnectionError as error:
                replies[i] = error
        before = () if first is None else (first,)
        asked = {
            node: (*before, *(commands[i] for i in mine), *self._proof(key_of([commands[mine[-1]]])))
            for node, mine in by_node.items()
        }
        for node, answer in exchange_all(asked, bulk=self._bulk).items():
            mine = by_node[node]
            if isinstance(answer, redis.RedisError):
                self._nodes.refresh()
                for i in mine:
                    replies[i] = answer
            elif any(isinstance(reply, (*ELSEWHERE, *IN_BETWEEN)) for reply in answer):
                for i in mine:  # on its way: each is followed for itself
                    replies[i] = self._followed(commands[i], first)
            else:
                for i, reply in zip(mine, self._proven(answer, len(before), len(mine)), strict=True):
                    replies[i] = reply
        return replies

    def _followed(self, command: Command, first: Command | None) -> Any:
        try:
            return super()._spread([command], first)[0]
        except redis.RedisError as error:
            return error

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
