"""The command explain."""

from __future__ import annotations

import json

from service.pb.lever.v1 import experiment_pb2 as epb
from service.pb.lever.v1 import personalization_pb2 as pb
from tests.rig.canned import Canned, lever


def answer(**fields: object) -> epb.ExplainResponse:
    parts = [epb.ReasonPart(features=["device", "hour"], effect=0.04), epb.ReasonPart(features=["hour"], effect=-0.01)]
    parts += [epb.ReasonPart(features=[], effect=0.002)] * 4
    arms = [
        epb.ArmReasons(
            arm="bold", probability=0.9, mean=0.138, deviation=0.01, base=0.1, parts=parts, low=0.1184, high=0.1576
        ),
        epb.ArmReasons(arm="calm", probability=0.1),
    ]
    return epb.ExplainResponse(name="hero", segment="default", reason=pb.REASON_POLICY, arms=arms, **fields)  # type: ignore[arg-type]


def test_explain_a_context(canned: Canned) -> None:
    canned.answers["explain"] = answer()
    result = lever("explain", "hero", "--context", "device=mobile", "--context", "hour=9")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "hero  segment default  reason: policy"
    assert lines[2].split()[:6] == ["bold", "0.900", "0.1380", "0.1184", "to", "0.1576"]
    assert "device with hour +0.0400, hour -0.0100" in lines[2]
    assert lines[2].endswith("the rest +0.0040")
    assert lines[3].split() == ["calm", "0.100"]
    assert dict(canned.asked[0].context) == {
        "device": pb.FeatureValue(text="mobile"),
        "hour": pb.FeatureValue(number=9),
    }


def test_explain_a_decision_that_begins_with_a_dash(canned: Canned) -> None:
    canned.answers["explain"] = answer(arm="calm", propensity=0.25, at_ms=1_700_000_000_000)
    result = lever("explain", "hero", "-abc")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[1] == "calm was chosen on 2023-11-14 22:13 UTC with probability 0.25"
    assert canned.asked[0].decision_id == "-abc"


def test_who_is_served_without_a_draw(canned: Canned) -> None:
    told = answer(served="calm")
    for arm in told.arms:
        arm.ClearField("probability")
    canned.answers["explain"] = told
    lines = lever("explain", "hero", "--context", "device=mobile").stdout.splitlines()
    assert lines[1] == "everybody here is served calm now, nothing is drawn"
    assert lines[3].split()[:2] == ["bold", "0.1380"]


def test_explain_as_json(canned: Canned) -> None:
    canned.answers["explain"] = answer()
    told = json.loads(lever("explain", "hero", "--json").stdout)
    assert told["arms"][0]["parts"][0] == {"features": ["device", "hour"], "effect": 0.04}
