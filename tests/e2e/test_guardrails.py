"""A guardrail pauses the arm that does harm: once, on all servers, never the default; a person makes it active again."""

from __future__ import annotations

import random
import time

import pytest

from service.errors import ConflictError, InvalidError, NotFoundError
from service.management.guardian import PAUSED, Guardian
from service.server.assemble import Service
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.embedded import Embedded
from tests.rig.stage import Stage, choose, one_valued, stage
from tests.rig.waiting import eventually

LETTER = """\
experiment: letter
arms:
  - id: plain
  - id: loud  # the one that annoys
    payload: {title: Loud}
  - {id: calm}
default_arm: plain
algorithm: uniform
holdout: {share: 0.2}
metrics:
  - {id: open, primary: true, window: 1h}
  - {id: unsubscribed, window: 1h}
guardrails:
  - {metric: unsubscribed, max: 0.05}
  - {metric: open, max_drop: 0.1}
"""
RATES = {"plain": 0.2, "calm": 0.01, "loud": 0.4}


def visits(world: Stage, server: Service, first: int, count: int, rates: dict[str, float]) -> set[str]:
    """So many subjects come; of those shown an arm, a share unsubscribes. The arms that were shown."""
    rng, shown, events = random.Random(first), set(), []
    for i in range(first, first + count):
        made = choose(server, "letter", f"s{i}")
        shown.add(made.arm)
        token = from_text(made.decision_id)
        events += [RewardEvent(token, metric="open")] * (rng.random() < 0.5)
        events += [RewardEvent(token, metric="unsubscribed")] * (rng.random() < rates[made.arm])
    for at in range(0, len(events), 500):
        assert not any(isinstance(one, Exception) for one in server.use_cases.reward(events[at : at + 500]))
    world.settle()
    return shown


def states(server: Service) -> dict[str, str]:
    return {arm.id: arm.state for arm in server.experiments.get("letter").arms}


def test_a_harmful_arm_is_paused_by_one_server_and_stays_so_until_a_person_says_otherwise(valkey: Embedded) -> None:
    with stage(valkey.url) as world:
        servers = [world.service(), world.service()]
        server, other = servers
        server.experiments.put(LETTER, 0)
        # The default annoys as well, and is what everybody falls back to.
        shown = visits(world, server, 0, 1500, RATES)
        assert shown == {"plain", "loud", "calm"}
        eventually(lambda: states(server)["loud"] == "paused")
        world.settle()
        for one in servers:
            assert states(one) == {"plain": "active", "loud": "paused", "calm": "active"}
            told = {(g.metric, g.arm): g for g in one.experiments.report("letter").guardrails}
            paused = told["unsubscribed", "loud"]
            assert (paused.state, told["unsubscribed", "calm"].state) == ("paused", "too early")
            assert told["open", "calm"].state == "holding"
            assert abs(time.time() * 1000 - paused.paused_since_ms) < 60_000
            assert 0.05 < paused.low < paused.estimate < paused.high
            assert one_valued(one.metrics, "lever_guardrail_paused") == {("letter",): 1.0}
        assert visits(world, other, 2000, 100, RATES) == {"plain", "calm"}
        event = [past.event for past in server.experiments.history("letter", 100) if past.event.what == PAUSED]
        assert [(e.by, e.version) for e in event] == [("guardrail unsubscribed", 2)]
        assert event[0].detail.startswith("loud: unsubscribed 0.")
        assert "max is 0.05" in event[0].detail
        text = server.experiments.get("letter").text
        assert text == LETTER.replace("  - id: loud  #", "  - state: paused\n    id: loud  #")

        again, changed = server.experiments.put(LETTER, None)  # as a server does at its start
        assert (changed, again.version) == (False, 2)
        assert any("'loud' is paused by its guardrail on 'unsubscribed'" in said for said in again.warnings)
        longer = LETTER.replace("  - {id: calm}\n", "  - {id: calm}\n  - {id: quiet}\n")
        again, _ = server.experiments.put(longer, None)  # it has another arm, and says nothing of this one
        world.settle()
        assert states(other) == {"plain": "active", "loud": "paused", "calm": "active", "quiet": "active"}
        assert again.pauses.paused["loud"].since_ms == paused.paused_since_ms

        # A person says so: what was counted counts no more.
        again, _ = server.experiments.put(LETTER.replace("id: loud", "id: loud\n    state: active"), None, "somebody")
        assert any("'loud' was paused by a guardrail" in said for said in again.warnings)
        world.settle()
        for one in servers:
            one.guardian.turn()
        assert states(other)["loud"] == "active"
        fresh = {(g.metric, g.arm): g for g in other.experiments.report("letter").guardrails}["unsubscribed", "loud"]
        assert (fresh.state, fresh.trials, fresh.paused_since_ms) == ("too early", 0, 0)
        assert one_valued(server.metrics, "lever_guardrail_paused") == {("letter",): 0.0}
        visits(world, server, 5000, 1500, RATES)
        eventually(lambda: states(other)["loud"] == "paused")  # it does harm again


def test_a_guardrail_on_an_unknown_metric_is_refused_and_nothing_applied(valkey: Embedded) -> None:
    with stage(valkey.url) as world:
        server = world.service()
        with pytest.raises(InvalidError) as refused:
            server.experiments.put(LETTER.replace("{metric: unsubscribed, max", "{metric: unsubscribes, max"), 0)
        (violation,) = refused.value.violations
        assert (violation.field, violation.line) == ("guardrails[0].metric", 14)
        with pytest.raises(NotFoundError):
            server.experiments.get("letter")


def test_who_comes_second_writes_nothing(valkey: Embedded) -> None:
    """Two servers see the same evidence at the same moment; neither has read what the other wrote."""
    with stage(valkey.url) as world:
        server, other = world.service(), world.service()
        for one in (server, other):
            one.guardian.stop()
        server.experiments.put(LETTER, 0)
        visits(world, server, 0, 1500, RATES)
        guardians = [Guardian(world.store(), one.feed, one.clock, 256 << 20) for one in (server, other)]
        looks = [(one, one._look(uid)) for one in guardians for uid in server.feed.replicas]
        assert [len(look[1]) for _, look in looks if look] == [1, 1]
        first, second = looks
        assert first[1] is not None
        first[0]._pause(*first[1])
        assert second[1] is not None
        with pytest.raises(ConflictError):
            second[0]._pause(*second[1])
        world.settle()
        events = [e.event.what for e in server.experiments.history("letter", 100)]
        assert events.count(PAUSED) == 1
        assert server.experiments.get("letter").version == 2
