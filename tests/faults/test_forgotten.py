"""A store that forgot: what it lost is served on, its rewards refused, and one of two commands ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ConflictError, NotFoundError, PreconditionError
from service.server.assemble import Service
from service.serving.rewarder import RewardEvent
from service.store.contract import LostError, Outcome
from tests.rig.ground import CONFIG, Ground
from tests.rig.stage import choose
from tests.rig.waiting import eventually

APPLIED, DUPLICATE, LATE = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.LATE


def flushed(ground: Ground) -> list[Service]:
    """Two servers that learned something, and a store that forgot everything."""
    servers = [ground.service(), ground.service()]
    tokens = ground.choose(servers[0], 50)
    ground.settle()
    assert ground.click(servers[1], tokens[:20]) == [APPLIED] * 20
    ground.settle()
    with ground.raw as raw:
        raw.flushall()
    eventually(lambda: all(s.feed.lost() for s in servers))
    return servers


def gauge(server: Service, family: str) -> float:
    samples: dict[tuple[str, ...], list[float]] = dict(getattr(server.metrics, family).samples())
    return samples.get(("hero",), [0.0])[0]


def test_a_flushed_store_is_an_alarm_and_not_an_end(ground: Ground) -> None:
    servers = flushed(ground)
    for server in servers:
        ground.choose(server, 10)
        (answer,) = server.use_cases.reward([RewardEvent(ground.tokens[30], "click")])
        assert isinstance(answer, LostError)
        assert answer.reason == "STORE_LOST_EXPERIMENT"
        eventually(lambda server=server: gauge(server, "lost") == 1)  # type: ignore[misc]
        with pytest.raises(LostError):
            server.experiments.put(CONFIG.format(name="hero"), None)


def test_what_is_restored_has_every_bit_and_counts_nothing_again(ground: Ground) -> None:
    servers = flushed(ground)
    uid = servers[0].directory.by_name["hero"].experiment.uid
    held = servers[1].feed.held("hero")
    bits, rows = held.fields(), held.rows
    assert servers[0].experiments.restore("hero").uid == uid
    eventually(lambda: not any(s.feed.lost() for s in servers))
    late = ground.service()
    for server in [*servers, late]:
        assert server.feed.replicas[uid].fields() == bits
        assert server.feed.replicas[uid].rows == rows
    for server in [*servers, late]:  # each of these is logged as late, and so read by all
        eventually(lambda server=server: gauge(server, "lost") == 0)  # type: ignore[misc]
        # Counted before or not: nobody can tell any more, so decisions of before are over.
        assert server.use_cases.reward([RewardEvent(t, "click") for t in ground.tokens]) == [LATE] * 50
    fresh = ground.choose(late, 30)
    ground.settle()
    assert ground.click(servers[0], fresh) == [APPLIED] * 30
    assert ground.click(late, fresh) == [DUPLICATE] * 30
    assert ground.proved(rewards=30).limits
    counts = {a.arm: a for segment in late.experiments.report("hero").segments for a in segment.arms}
    assert set(counts) == {"a", "b", "c"}
    trials = sum(int(late.feed.replicas[uid].state.lifetime(s)[:, :4].sum()) for s in range(2))
    assert trials == 80
    with pytest.raises(PreconditionError):
        servers[1].experiments.restore("hero")


def test_a_loss_that_is_accepted_is_forgotten_everywhere(ground: Ground) -> None:
    servers = flushed(ground)
    with pytest.raises(PreconditionError):
        servers[0].experiments.accept_loss("other")
    servers[0].experiments.accept_loss("hero")
    eventually(lambda: not any(s.feed.lost() for s in servers))
    for server in servers:
        with pytest.raises(NotFoundError):
            choose(server, "hero", "ann")
        eventually(lambda server=server: gauge(server, "lost") == 0)  # type: ignore[misc]
    made, _ = servers[1].experiments.put(CONFIG.format(name="hero"), 0)
    ground.world.services[0].feed.refresh(60.0)
    assert choose(servers[0], "hero", "ann").version == made.version


def test_a_name_taken_meanwhile_wins_and_the_restore_is_refused(ground: Ground) -> None:
    servers = flushed(ground)
    newcomer = ground.world.service()
    newcomer.experiments.put(CONFIG.format(name="hero"), 0)
    uid = newcomer.directory.by_name["hero"].experiment.uid
    eventually(lambda: all(s.directory.by_name["hero"].experiment.uid == uid for s in servers))
    with pytest.raises(ConflictError):
        servers[0].experiments.restore("hero")
    servers[0].experiments.accept_loss("hero")
    eventually(lambda: not any(s.feed.lost() for s in servers))
    assert all(s.directory.by_name["hero"].experiment.uid == uid for s in servers)


def test_a_store_that_comes_back_empty_is_the_same(ground: Ground) -> None:
    server = ground.service()
    tokens = ground.choose(server, 20)
    ground.settle()
    ground.click(server, tokens)
    ground.settle()
    bits = next(iter(server.feed.replicas.values())).fields()
    ground.engine.stop()
    for file in sorted(Path(ground.engine.log_path.parent / "engine").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    ground.engine.start()
    eventually(server.feed.lost)
    ground.choose(server, 10)
    server.feed.flushed(60.0)  # into a store that does not know it: these are gone
    server.experiments.restore("hero")
    ground.settle()
    assert next(iter(server.feed.replicas.values())).fields() == bits
