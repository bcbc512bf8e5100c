"""Explanations of a running server agree with its own choices. About 10 s."""

from __future__ import annotations

import math

import pytest

from service.errors import InvalidError, NotFoundError
from service.experiment.features.column import Value
from service.server.assemble import Service
from service.serving.explainer import Reasons
from service.serving.personalizer import Reason
from tests.rig.stage import Stage, choose, reward

CONFIG = """
experiment: shop
arms: [{id: calm}, {id: bold}]
default_arm: calm
features:
  device: {type: category, values: [mobile, desktop]}
  hour: {type: number, min: 0, max: 24}
segments:
  - {id: staff, serve: default, when: {device: desktop, hour: {min: 23}}}
holdout: {share: 0.2}
metrics: [{id: spend, min: 0, max: 50, window: 1h}]
"""
MOBILE: dict[str, Value] = {"device": "mobile", "hour": 12.0}
DESKTOP: dict[str, Value] = {"device": "desktop", "hour": 12.0}
STAFF: dict[str, Value] = {"device": "desktop", "hour": 23.5}
CONTEXTS: tuple[dict[str, Value], ...] = (MOBILE, DESKTOP, {"device": "mobile"}, {})


@pytest.fixture(scope="module")
def server(world: Stage) -> Service:
    """Taught that `bold` earns 30 from mobile visitors, `calm` 10 from all, with spread."""
    made = world.services[0]
    made.experiments.put(CONFIG, None)
    for i in range(600):
        context = MOBILE if i % 2 else DESKTOP
        decision = choose(made, "shop", f"v{i}", context=context)
        earns = 30.0 if decision.arm == "bold" and context is MOBILE else 10.0 if decision.arm == "calm" else 0.0
        if earns:
            reward(made, decision, value=earns + i % 5)
        if i % 100 == 99:
            world.settle()
    world.settle()
    return made


def adds_up(found: Reasons) -> None:
    assert math.fsum(arm.probability or 0.0 for arm in found.arms) == pytest.approx(1.0)
    for arm in found.arms:
        assert arm.mean is not None
        assert arm.base is not None
        assert arm.deviation is not None
        assert arm.deviation > 0.0
        assert arm.base + math.fsum(part.effect for part in arm.parts) == pytest.approx(arm.mean, abs=1e-6)


def test_an_explanation_has_the_odds_that_a_choice_has(server: Service) -> None:
    for context in CONTEXTS:
        found = server.experiments.explain("shop", context)
        odds = {arm.arm: arm.probability for arm in found.arms}
        adds_up(found)
        for i in range(40):
            made = choose(server, "shop", f"w{i}", context=context)
            if made.reason == Reason.POLICY:
                assert made.propensity == pytest.approx(odds[made.arm], abs=1e-6)


def test_the_feature_that_decides_is_named_first(server: Service) -> None:
    found = server.experiments.explain("shop", MOBILE)
    assert (found.arms[0].arm, found.reason, found.segment) == ("bold", Reason.POLICY, "default")
    assert "device" in found.arms[0].parts[0].features
    assert found.arms[0].parts[0].effect > 3.0
    against = server.experiments.explain("shop", DESKTOP)
    (bold,) = (arm for arm in against.arms if arm.arm == "bold")
    assert bold.parts[0].effect < -3.0


def test_a_decision_is_explained_by_its_own_context(server: Service, world: Stage) -> None:
    decisions = [choose(server, "shop", f"x{i}", context=MOBILE) for i in range(60)]
    world.settle()
    for made in decisions:
        found = server.experiments.explain_decision("", made.decision_id)
        assert (found.experiment, found.arm, found.segment, found.version) == ("shop", made.arm, "default", 1)
        assert found.propensity == pytest.approx(made.propensity)
        assert found.reason == made.reason
        assert found.arms == server.experiments.explain("shop", MOBILE).arms


def test_who_is_served_the_default(server: Service) -> None:
    made = choose(server, "shop", "anyone", context=STAFF)
    found = server.experiments.explain("shop", STAFF)
    assert found.reason == Reason.SEGMENT_DEFAULT == made.reason
    assert (found.served, found.arms) == ("calm", ())  # no odds where nothing is drawn
    again = server.experiments.explain_decision("shop", made.decision_id)
    assert (again.reason, again.served, again.arms) == (Reason.SEGMENT_DEFAULT, "calm", ())


def test_what_cannot_be_explained(server: Service) -> None:
    made = choose(server, "shop", "anyone", context=MOBILE)
    with pytest.raises(NotFoundError):
        server.experiments.explain("nothing", {})
    with pytest.raises(InvalidError) as caught:
        server.experiments.explain_decision("other", made.decision_id)
    assert caught.value.violations[0].field == "decision_id"
    with pytest.raises(InvalidError):
        server.experiments.explain_decision("", made.decision_id[:-4] + "AAAA")
