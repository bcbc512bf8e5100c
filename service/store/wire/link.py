"""The way to a store. What is at its address, one engine or a cluster, is known once somebody answered there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import redis

from service.errors import PreconditionError, UnavailableError
from service.store.scripts import pairs
from service.store.wire.address import Address, address_of
from service.store.wire.cluster import ClusterWire
from service.store.wire.errors import CLUSTER, unavailable
from service.store.wire.exchange import pooled
from service.store.wire.line import Line, Reads
from service.store.wire.nodes import Nodes
from service.store.wire.wire import Wire


class Lines(Protocol):
    """Where what is new is asked for; `parted` where not all of it is on one line."""

    parted: bool

    def all(self) -> Sequence[Reads]:
        """A line to each engine that is thought to answer."""

    def at(self, key: str) -> Reads | None:
        """The one among them that has the key."""

    def placed(self, keys: Mapping[str, str]) -> tuple[Mapping[Reads, Sequence[Sequence[str]]], Sequence[str]]:
        """Names by the line that has their keys, in groups that one command may name; and those that none has now."""

    def refused(self) -> None:
        """Somebody did not answer, or said that a key is elsewhere."""


class Ways(Protocol):
    """A store that is known: calls, calls that take long, and lines."""

    wire: Wire
    bulk: Wire
    lines: Lines

    def close(self) -> None:
        """Let go of connections."""


class One:
    """One engine, at an address or behind Sentinels. Pools that were handed in stay open."""

    def __init__(self, pool: Any, bulk: Any, replicas: int = 0, *, owned: bool = True) -> None:
        self.wire, self.bulk = Wire(pool, replicas), Wire(bulk, replicas)
        self.lines: Lines = _OneLine(Line(pool))
        self._line, self._pools = self.lines.line, (pool, bulk) if owned else ()

    def close(self) -> None:
        """Ways.close."""
        self._line.close()
        for pool in self._pools:
            pool.disconnect()


class _OneLine:
    parted = False

    def __init__(self, line: Line) -> None:
        self.line = line

    def all(self) -> Sequence[Reads]:
        return (self.line,)

    def at(self, key: str) -> Reads:  # it has them all
        return self.line

    def placed(self, keys: Mapping[str, str]) -> tuple[Mapping[Reads, Sequence[Sequence[str]]], Sequence[str]]:
        return ({self.line: [list(keys)]} if keys else {}), ()

    def refused(self) -> None:
        pass


class Cluster:
    """The primaries of a Redis Cluster."""

    def __init__(self, nodes: Nodes, replicas: int) -> None:
        self.wire: Wire = ClusterWire(nodes, replicas)
        self.bulk: Wire = ClusterWire(nodes, replicas, bulk=True)
        self.lines: Lines = _ClusterLines(nodes)
        self.close = nodes.close


class _ClusterLines:
    parted = True

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def all(self) -> Sequence[Reads]:
        return [node for node in self._nodes.primaries() if not node.silent]

    def at(self, key: str) -> Reads | None:
        try:
            node = self._nodes.of(key)
        except redis.RedisError:
            return None
        return None if node.silent else node

    def placed(self, keys: Mapping[str, str]) -> tuple[Mapping[Reads, Sequence[Sequence[str]]], Sequence[str]]:
        return self._nodes.placed(keys)

    def refused(self) -> None:
        self._nodes.refresh()


class Given:
    """A pool that was handed in: a single engine."""

    def __init__(self, pool: Any, replicas: int = 0) -> None:
        if pool.connection_kwargs.get("decode_responses"):
            raise ValueError("the client must not decode responses")
        self._ways = One(pool, pool, replicas, owned=False)

    def ways(self) -> Ways:
        """The ways."""
        return self._ways

    def close(self) -> None:
        """Let go of the line's connection; the pool stays."""
        self._ways.close()


class Link:
    """Finds out what a URL leads to, once; then gives the ways there. Safe for any number of threads."""

    def __init__(self, url: str, timeout: float, bulk_timeout: float, replicas: int = 0) -> None:
        """ValueError for a URL that cannot be understood."""
        self._address = address_of(url)
        self._waits = timeout, bulk_timeout
        self._replicas = replicas
        self._lock = threading.Lock()
        self._ways: Ways | None = None

    def ways(self) -> Ways:
        """The ways. UnavailableError while nobody answers; PreconditionError where it is none to work with."""
        if self._ways is None:
            made = self._found()
            with self._lock:
                if self._ways is None:
                    self._ways = made
            if made is not self._ways:
                made.close()
        return self._ways

    def close(self) -> None:
        """Let go of connections."""
        if self._ways is not None:
            self._ways.close()

    def _found(self) -> Ways:
        address, failed = self._address, UnavailableError("store: no address is given")
        for host, port in address.hosts:
            pool = address.pool(host, port, self._waits[0])
            try:
                clustered = _is_cluster(pool)
            except redis.RedisError as error:
                pool.disconnect()
                failed = unavailable(error)
                if address.service:
                    break  # the Sentinels were all asked
                continue
            if not clustered and len(address.hosts) > 1 and not address.service:
                pool.disconnect()
                raise PreconditionError(
                    f"several addresses are given for the store, but {host}:{port} is no Redis Cluster", CLUSTER
                )
            if not clustered:
                return One(pool, address.pool(host, port, self._waits[1]), self._replicas)
            pool.disconnect()
            return Cluster(_nodes(address, self._waits), self._replicas)
        raise failed


def _is_cluster(pool: redis.ConnectionPool) -> bool:
    """Whether an engine is a cluster's; one that does not tell is taken for a single one."""
    (reply,) = pooled(pool, [("HELLO",)])
    return isinstance(reply, (list, dict)) and dict(pairs(reply)).get(b"mode") == b"cluster"


def _nodes(address: Address, waits: tuple[float, float]) -> Nodes:
    options = {name: value for name, value in address.options.items() if name != "db"}
    if "path" in options:
        raise PreconditionError("a Redis Cluster is reached by redis://HOST:PORT, not by a socket", CLUSTER)
    if address.options.get("db"):
        raise PreconditionError("a Redis Cluster has no numbered databases: give the URL without one", CLUSTER)
    spoken = {"socket_timeout": waits[0], "socket_connect_timeout": waits[0], "protocol": 2}
    return Nodes(address.hosts, options | spoken, Address((), options).pool, waits)
