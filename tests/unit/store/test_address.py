"""Where a store is: every form of URL that the settings take leads to one, and none other."""

from __future__ import annotations

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidError
from service.process.settings import settings
from service.store.wire.address import address_of

HOSTS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9.\-]{0,20}[a-z0-9]", fullmatch=True), st.just("[::1]"), st.just("10.0.0.7")
)


@pytest.mark.parametrize(
    ("url", "hosts", "service"),
    [
        ("redis://h", [("h", 6379)], ""),
        ("redis://h:7/3", [("h", 7)], ""),
        ("rediss://u:p%2C%40@h:7,[::1]:8,i", [("h", 7), ("::1", 8), ("i", 6379)], ""),
        ("redis+sentinel://a,b:5/shop", [("a", 26379), ("b", 5)], "shop"),
        ("rediss+sentinel://:p@a/shop/2?sentinel_password=q", [("a", 26379)], "shop"),
    ],
)
def test_addresses(url: str, hosts: list[tuple[str, int]], service: str) -> None:
    assert settings({"redis_url": url}, {}).redis_url == url
    found = address_of(url)
    assert (list(found.hosts), found.service) == (hosts, service)


def test_user_password_database_and_tls_are_those_of_the_url() -> None:
    found = address_of("rediss://u:p%2C%40@h:7,i/0?ssl_ca_certs=/ca.pem").options
    assert (found["username"], found["password"], found["ssl_ca_certs"]) == ("u", "p,@", "/ca.pem")
    assert found["connection_class"] is redis.SSLConnection
    assert address_of("redis+sentinel://:p@a/shop/2").options == {"password": "p", "db": 2}
    assert address_of("unix:///run/x.sock").options["path"] == "/run/x.sock"


def test_a_sentinel_that_is_away_is_asked_once() -> None:
    """redis-py's own clients try again, each for seconds."""
    pool = address_of("redis+sentinel://a,b/shop").pool("", 0, 0.5)
    asked = pool.connection_kwargs["connection_pool"].sentinel_manager.sentinels
    assert [one.get_retry().get_retries() for one in asked] == [0, 0]
    assert [one.connection_pool.connection_kwargs["socket_timeout"] for one in asked] == [0.5, 0.5]


@given(st.lists(st.tuples(HOSTS, st.integers(1, 65535)), min_size=1, max_size=5))
def test_any_hosts_and_ports_come_back(hosts: list[tuple[str, int]]) -> None:
    url = "redis://" + ",".join(f"{host}:{port}" for host, port in hosts)
    assert settings({"redis_url": url}, {}).redis_url == url
    assert list(address_of(url).hosts) == [(host.strip("[]"), port) for host, port in hosts]


@pytest.mark.parametrize("url", ["redis+sentinel://h", "redis+sentinel://h/", "redis://h,i/shop", "unix+sentinel:///x"])
def test_others_are_refused(url: str) -> None:
    with pytest.raises(InvalidError):
        settings({"redis_url": url}, {})
