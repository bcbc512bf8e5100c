"""The primaries of a cluster: which has which slot, and which of them do not answer.

What a cluster looks like is learned by redis-py (CLUSTER SLOTS, hosts as they are announced, TLS); the connections are
our own, so that a call costs the same as to a single engine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import redis
from redis.cluster import ClusterNode, NodesManager
from redis.crc import key_slot

from service.errors import UnavailableError
from service.store.contract import PartAwayError
from service.store.wire.exchange import Command, pooled, receive, sent
from service.store.wire.line import Answer, Line, Reads

REFRESH_S = 0.2  # at the most so often the cluster is asked what it looks like
PROBE_S = 0.2  # between two tries whether a silent primary answers again
_SESSIONS = 1 << 40  # sessions of one node

Pooled = Callable[[str, int, float], redis.ConnectionPool]  # host, port, seconds to wait


@lru_cache(1 << 16)
def _slot(key: str) -> int:
    return key_slot(key.encode())


class Node:
    """One engine of a cluster. Once it was waited for in vain nobody else waits: calls fail at once until it answers.

    That is found out by a thread of its own, so that polls, flushes and rewards of the other parts do not stand still.
    """

    def __init__(
        self, number: int, address: tuple[str, int], pool: redis.ConnectionPool, bulk: redis.ConnectionPool
    ) -> None:
        self.address = address
        self._number = number
        self._pool, self._bulk = pool, bulk
        self._line = Line(pool)
        self._silent = False
        self._probing = threading.Lock()

    def exchange(self, commands: Sequence[Command], *, bulk: bool = False, asking: bool = False) -> list[Any]:
        """The replies; `asking` where the keys are still on their way here. redis.RedisError."""
        parts = [part for command in commands for part in (("ASKING",), command)] if asking else commands
        replies = self.hear(self.send(parts, bulk=bulk), len(parts), bulk=bulk)
        return replies[1::2] if asking else replies

    def send(self, commands: Sequence[Command], *, bulk: bool = False) -> Any:
        """The first half of an exchange: a connection, which has to be heard. redis.RedisError."""
        if self.silent:
            host, port = self.address
            raise redis.ConnectionError(f"{host}:{port} does not answer")
        pool = self._bulk if bulk else self._pool
        try:
            return sent(pool, commands)
        except (redis.ConnectionError, redis.TimeoutError):
            self._silent = True
            raise

    def hear(self, connection: Any, count: int, *, bulk: bool = False) -> list[Any]:
        """The second half: so many replies. redis.RedisError."""
        try:
            return receive(connection, count)
        except (redis.ConnectionError, redis.TimeoutError):
            self._silent = True
            raise
        finally:
            (self._bulk if bulk else self._pool).release(connection)

    def begin(self, commands: Sequence[Command]) -> None:
        """Reads.begin. Check `silent` before."""
        self._line.begin(commands)

    def finish(self) -> Answer:
        """Reads.finish."""
        try:
            session, replies = self._line.finish()
        except UnavailableError as error:
            self._silent = True
            raise PartAwayError(str(error)) from error
        return self._number * _SESSIONS + session, replies

    @property
    def silent(self) -> bool:
        """Whether it did not answer a moment ago. Asking sees to it that somebody tries it again."""
        if self._silent and self._probing.acquire(blocking=False):
            threading.Thread(target=self._probe, name="lever-probe", daemon=True).start()
        return self._silent

    def close(self) -> None:
        """Let go of its connections."""
        self._line.close()
        self._pool.disconnect()
        self._bulk.disconnect()

    def _probe(self) -> None:
        try:
            pooled(self._pool, [("PING",)])
            self._silent = False
        except redis.RedisError:
            time.sleep(PROBE_S)
        finally:
            self._probing.release()


def exchange_all(
    asked: Mapping[Node, Sequence[Command]], *, bulk: bool = False
) -> dict[Node, list[Any] | redis.RedisError]:
    """The replies of each, or why there are none; all are asked before the first is listened to."""
    begun: dict[Node, Any] = {}
    answers: dict[Node, list[Any] | redis.RedisError] = {}
    for node, commands in asked.items():
        try:
            begun[node] = node.send(commands, bulk=bulk)
        except redis.RedisError as error:
            answers[node] = error
    for node, connection in begun.items():
        try:
            answers[node] = node.hear(connection, len(asked[node]), bulk=bulk)
        except redis.RedisError as error:
            answers[node] = error
    return answers


class Nodes:
    """The nodes of a cluster, as far as they were met. Safe for any number of threads."""

    def __init__(
        self, hosts: Sequence[tuple[str, int]], options: Mapping[str, Any], pool: Pooled, waits: tuple[float, float]
    ) -> None:
        """`options` are those of a connection, `waits` the seconds of a call and of a long one. UnavailableError."""
        self._hosts, self._make, self._waits = list(hosts), pool, waits
        self._met: dict[tuple[str, int], Node] = {}
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._due = 0.0
        try:
            start = [ClusterNode(host, port) for host, port in hosts]  # type: ignore[no-untyped-call]
            self._manager = NodesManager(start, from_url=True, require_full_coverage=False, **options)
        except (redis.RedisError, redis.exceptions.RedisClusterException) as error:
            raise UnavailableError(
                f"store: the cluster does not say what it looks like (is CLUSTER SLOTS allowed to this user?): {error}"
            ) from error

    def of(self, key: str) -> Node:
        """The primary that has the key. redis.ConnectionError where none is known."""
        nodes = self._manager.slots_cache.get(_slot(key))
        if not nodes:
            self.refresh()
            raise redis.ConnectionError(f"no primary has the slot of {key!r}")
        return self.at(nodes[0].host, nodes[0].port)

    def at(self, host: str, port: int) -> Node:
        """The node at this address."""
        node = self._met.get((host, port))
        if node is None:
            with self._lock:
                node = self._met.get((host, port))
                if node is None:
                    fast, slow = (self._make(host, port, wait) for wait in self._waits)
                    node = self._met[host, port] = Node(len(self._met) + 1, (host, port), fast, slow)
        return node

    def primaries(self) -> list[Node]:
        """All that have slots."""
        return [self.at(node.host, node.port) for node in self._manager.get_nodes_by_server_type("primary")]

    def placed(self, keys: Mapping[str, str]) -> tuple[Mapping[Reads, Sequence[Sequence[str]]], list[str]]:
        """Names by the primary that has their keys, those of one slot together; and those of which none answers."""
        slots: dict[int, list[str]] = {}
        for name, key in keys.items():
            slots.setdefault(_slot(key), []).append(name)
        by_node: dict[Reads, list[list[str]]] = {}
        nowhere: list[str] = []
        for slot, names in slots.items():
            nodes = self._manager.slots_cache.get(slot)
            node = self.at(nodes[0].host, nodes[0].port) if nodes else None
            if node is None or node.silent:
                nowhere += names
            else:
                by_node.setdefault(node, []).append(names)
        return by_node, nowhere

    def moved(self, error: redis.exceptions.MovedError) -> None:
        """A slot is somewhere else, and maybe others are: look, and believe the node that said so."""
        self.refresh()
        if error.host and error.slot_id in self._manager.slots_cache:
            self._manager.move_slot(error)

    def refresh(self) -> None:
        """Ask the cluster what it looks like, unless somebody just did."""
        if time.monotonic() < self._due or not self._refreshing.acquire(blocking=False):
            return
        try:
            self._due = time.monotonic() + REFRESH_S
            silent = [node for node in self._met.values() if node.silent]
            failed = "{}:{}".format(*silent[0].address) if silent else None
            self._manager.initialize(additional_startup_nodes_info=self._hosts, last_failed_node_name=failed)
        except (redis.RedisError, redis.exceptions.RedisClusterException):
            return  # nobody can tell: what was known last is still the best guess
        finally:
            self._refreshing.release()

    def close(self) -> None:
        """Let go of all connections."""
        self._manager.close()
        for node in self._met.values():
            node.close()
