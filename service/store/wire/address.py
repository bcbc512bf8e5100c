"""Where a store is, taken from its URL: one address, the nodes of a cluster to begin with, or Sentinels that know it.

redis://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...][/DB]    several hosts: nodes of a cluster
redis+sentinel://[USER:PASSWORD@]HOST[:PORT],.../SERVICE[/DB]  the primary that the Sentinels call SERVICE
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

MAX_CONNECTIONS = 512
SENTINEL = "+sentinel"
_PORT, _SENTINEL_PORT = 6379, 26379


@dataclass(frozen=True, slots=True)
class Address:
    """`hosts` to begin with; `options` of a connection beside its host; `service` as Sentinels call it, "" without any."""

    hosts: tuple[tuple[str, int], ...]
    options: Mapping[str, Any]
    service: str = ""

    def pool(self, host: str, port: int, timeout: float) -> redis.ConnectionPool:
        """Connections to this host that wait at most `timeout` seconds, and of which no call is repeated behind our back."""
        if self.service:
            return self._sentinel_pool(timeout)
        place: dict[str, Any] = {} if "path" in self.options else {"host": host, "port": port}
        return redis.ConnectionPool(**self.options, **place, **_waiting(timeout))

    def _sentinel_pool(self, timeout: float) -> redis.ConnectionPool:
        waits = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "protocol": 2, "retry": _once()}
        options = dict(self.options)
        told = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
        secure = options.pop("connection_class", None) is redis.SSLConnection
        files = {name: value for name, value in options.items() if name.startswith("ssl_")}
        own = {"ssl": True, **files} if secure else {}
        known = {name: value for name, value in told.items() if value is not None}
        sentinel = Sentinel(list(self.hosts), sentinel_kwargs={**waits, **own, **known})  # type: ignore[no-untyped-call]
        ssl = {"ssl": True} if secure else {}
        return SentinelConnectionPool(self.service, sentinel, **options, **ssl, **_waiting(timeout))  # type: ignore[no-untyped-call]


def address_of(url: str) -> Address:
    """The address that a URL means. ValueError where its parts are none."""
    scheme, _, rest = url.partition("://")
    if scheme == "unix":
        return Address((("", 0),), _options(url))
    where, asked, query = rest.partition("?")
    known, at, place = where.rpartition("@")
    names, _, path = place.partition("/")
    service = ""
    if scheme.endswith(SENTINEL):
        service, _, path = path.partition("/")
        if not service:
            raise ValueError("name the service that the Sentinels watch: redis+sentinel://HOST/SERVICE")
    hosts = tuple(_host(name, _SENTINEL_PORT if service else _PORT) for name in names.split(","))
    plain = f"{scheme.removesuffix(SENTINEL)}://{known}{at}any/{path}{asked}{query}"
    options = {name: value for name, value in _options(plain).items() if name not in ("host", "port")}
    return Address(hosts, options, service)


def _options(url: str) -> dict[str, Any]:
    return dict(parse_url(url))  # type: ignore[no-untyped-call]


def _host(name: str, port: int) -> tuple[str, int]:
    if name.startswith("["):
        host, _, rest = name[1:].partition("]")
        return host, int(rest.removeprefix(":") or port)
    host, _, given = name.partition(":")
    return host or "localhost", int(given or port)


def _waiting(timeout: float) -> dict[str, Any]:
    return {
        "max_connections": MAX_CONNECTIONS, "socket_timeout": timeout, "socket_connect_timeout": timeout,
        "retry": _once(), "protocol": 2,
    }  # fmt: skip


def _once() -> Retry:
    """No try but the first: redis-py's own would wait for seconds at every Sentinel that is away."""
    return Retry(NoBackoff(), 0)
