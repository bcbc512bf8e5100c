"""A cluster, and a primary behind Sentinels, that let nobody in without TLS, a user and a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest.engines.cluster import cluster, slot_of
from loadtest.engines.engine import Engine
from loadtest.engines.watched import watched
from service.errors import UnavailableError
from service.management.verify import Examination
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.contract import Outcome
from service.store.redis import RedisStore
from tests.rig.credentials import certificate, narrow_user, write_certificate
from tests.rig.ground import CONFIG
from tests.rig.programs import redis_server
from tests.rig.stage import Stage, choose
from tests.rig.waiting import eventually

PASSWORD = "open,sesame@"
QUOTED = "open%2Csesame%40"


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    write_certificate(tmp_path, certificate("store"))
    return tmp_path


def allow(engines: list[Engine]) -> None:
    """Lever's own user, as deploy/README.md has it; the one without a name can do nothing any more but watch over engines."""
    for engine in engines:
        engine.ask("ACL", "SETUSER", "lever", "reset", "on", f">{PASSWORD}", "~t*", *narrow_user())


def secured(url: str, tls: Path) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.replace('redis', 'rediss')}://lever:{QUOTED}@{rest}?ssl_ca_certs={tls}/cert.pem"


@contextmanager
def world_of(url: str) -> Iterator[Stage]:
    world = Stage(url, replicas=1)
    try:
        yield world
    finally:
        for service in world.services:
            service.stop(flush_s=0.0)


def rewarded(world: Stage, names: list[str], count: int = 10) -> None:
    """Choices and their rewards, of which all are acknowledged sooner or later."""
    (server,) = world.services
    for name in names:
        made = [choose(server, name, f"s{i}", context={"source": "ads"}, deferred=True) for i in range(count)]
        events = [RewardEvent(from_text(one.decision_id), "click") for one in made]
        eventually(lambda events=events: all(isinstance(a, Outcome) for a in server.use_cases.reward(events)))  # type: ignore[misc]


def proved(world: Stage, rewards: int) -> None:
    (server,) = world.services
    eventually(lambda: server.feed.store_up and not server.directory.parted)
    server.feed.refresh(30.0)
    store = world.store()
    for uid in store.poll({}).registry.values():
        examination = Examination(store, store, uid)
        found = examination.run()
        assert (found.faults, found.rewards) == ([], rewards)
        assert server.feed.replicas[uid].fields() == examination.settled().fields()
    store.close()


def test_a_cluster_by_tls_and_a_user_loses_a_primary(tls: Path) -> None:
    names = ["hero", "shop", "mail"]
    with cluster(redis_server(), tls / "cluster", tls=tls) as made:
        allow([*made.members])
        url = secured(made.url, tls)
        for wrong in (made.url, url.replace(QUOTED, "guessed"), url.partition("?")[0]):
            with pytest.raises(UnavailableError):
                RedisStore(wrong).poll({})
        with world_of(url) as world:
            server = world.service()
            uids = [server.experiments.put(CONFIG.format(name=name), 0)[0].uid for name in names]
            server.feed.refresh(30.0)
            rewarded(world, names)
            victim = made.primary(slot_of(uids[0]))
            made.fail(victim)
            victim.start()
            allow([victim])
            rewarded(world, names)
            proved(world, rewards=20)


def test_sentinels_by_tls_and_users_of_their_own(tls: Path) -> None:
    with watched(redis_server(), tls, tls=tls) as made:
        allow(made.engines)
        for one in made.sentinels:
            one.ask(
                "ACL", "SETUSER", "asker", "on", f">{PASSWORD}", "&*", "-@all", "+auth", "+hello", "+sentinel", "+ping"
            )
        url = f"{secured(made.url, tls)}&sentinel_username=asker&sentinel_password={QUOTED}"
        for wrong in (made.url, url.replace(f"sentinel_password={QUOTED}", "sentinel_password=guessed")):
            with pytest.raises(UnavailableError):
                RedisStore(wrong).poll({})
        with pytest.raises(UnavailableError, match="other"):
            RedisStore(url.replace("/shop", "/other")).poll({})
        with world_of(url) as world:
            server = world.service()
            server.experiments.put(CONFIG.format(name="hero"), 0)
            server.feed.refresh(30.0)
            rewarded(world, ["hero"])
            old = made.primary()
            old.kill()
            eventually(lambda: made.primary() is not old)
            old.start()
            allow([old])
            rewarded(world, ["hero"])
            proved(world, rewards=20)
