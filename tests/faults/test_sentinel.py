"""A primary that Sentinels watch is killed under load: its replica takes over, and nothing that was acknowledged is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.engines.watched import Watched, watched
from service.errors import UnavailableError
from service.management.verify import Examination
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.contract import Outcome
from service.store.embedded import find_binary
from tests.rig.ground import CONFIG
from tests.rig.programs import redis_server
from tests.rig.stage import Stage, choose
from tests.rig.waiting import eventually

pytestmark = pytest.mark.long  # by TLS, with users, it is in every run: test_secured_stores.py


@pytest.fixture(params=["valkey", "redis"])
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    binary = redis_server() if request.param == "redis" else find_binary()
    with watched(binary, tmp_path) as made:
        yield made


def test_a_primary_that_is_killed(engines: Watched) -> None:
    world = Stage(engines.url, replicas=1)
    try:
        server = world.service()
        uid = server.experiments.put(CONFIG.format(name="hero"), 0)[0].uid
        server.feed.refresh(30.0)

        def click(tokens: list[bytes]) -> list[object]:
            return list(server.use_cases.reward([RewardEvent(token, "click") for token in tokens]))

        def chosen(count: int) -> list[bytes]:
            made = (choose(server, "hero", f"s{i}", context={"source": "ads"}, deferred=True) for i in range(count))
            return [from_text(one.decision_id) for one in made]

        before = chosen(50)
        assert click(before) == [Outcome.APPLIED] * 50
        old = engines.primary()
        old.kill()
        during = chosen(10)
        assert all(isinstance(answer, UnavailableError) for answer in click(during))
        eventually(lambda: engines.primary() is not old)
        old.start()  # the Sentinels make it a replica
        eventually(lambda: all(isinstance(answer, Outcome) for answer in click(during)))
        assert click(before) == [Outcome.DUPLICATE] * 50, "all that was acknowledged is there"
        eventually(lambda: server.feed.store_up)
        server.feed.refresh(30.0)
        examination = Examination(store := world.store(), store, uid)
        found = examination.run()
        assert (found.faults, found.rewards) == ([], 60)
        assert server.feed.replicas[uid].fields() == examination.settled().fields()
        store.close()
    finally:
        for service in world.services:
            service.stop(flush_s=0.0)
