"""The commands select, expose and reward."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
import typer

from service.cli.decisions import parse_context
from service.pb.lever.v1 import experiment_pb2 as epb
from service.pb.lever.v1 import personalization_pb2 as ppb
from tests.rig.canned import Canned, RefusedError, experiment, lever

# --- select, expose, reward


def decision(**fields: Any) -> ppb.SelectResponse:
    values = {"decision_id": "-tok_" + "x" * 150, "arm": "calm", "payload_json": '{"headline":"Grüezi"}'}
    rest = {"propensity": 0.421875, "segment": "enterprise", "experiment_version": 3, "reason": ppb.REASON_POLICY}
    return ppb.SelectResponse(**{**values, **rest, **fields})


def test_select_prints_one_line_a_fact(canned: Canned) -> None:
    canned.answers["select"] = decision()
    result = lever("select", "hero", "ann")
    assert result.exit_code == 0, result.output
    assert dict(line.split(maxsplit=1) for line in result.stdout.splitlines()) == {
        "arm": "calm",
        "payload": '{"headline":"Grüezi"}',
        "propensity": "0.421875",
        "segment": "enterprise",
        "reason": "policy",
        "version": "3",
        "decision": "-tok_" + "x" * 150,
    }


DECLARED = """\
experiment: hero
arms: [{id: calm}]
default_arm: calm
features:
  industry: {type: category, values: [software, retail]}
  visits: {type: number, min: 0, max: 50}
metrics: [{id: click}]
"""


def test_select_warns_of_what_plays_no_part(canned: Canned) -> None:
    canned.answers["select"] = decision()
    canned.answers["get"] = epb.GetExperimentResponse(experiment=experiment(config=DECLARED))
    typed = ["-c", "industri=retail", "-c", "industry=Software", "-c", "visits=51"]
    result = lever("select", "hero", "ann", *typed)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        'warning: industri: the experiment declares no such feature and ignores it; did you mean "industry"?',
        "warning: industry: 'Software' is none of its values and counts as unknown; did you mean \"software\"?",
        "warning: visits: 51 is clipped to the declared range, 0 to 50",
    ]
    assert lever("select", "hero", "ann", "-c", "industry=retail", "-c", "visits=3").stderr == ""
    assert len(canned.asked) == 4
    canned.answers["get"] = RefusedError(grpc.StatusCode.PERMISSION_DENIED, "takes the scope read")
    assert lever("select", "hero", "ann", *typed).stderr == ""  # a key that may only choose


def test_reward_takes_back(canned: Canned) -> None:
    canned.answers["reward"] = ppb.RewardResponse(outcome=ppb.OUTCOME_RETRACTED)
    result = lever("reward", "-tok", "--retract", "--event", "scan-7")
    assert canned.asked == [ppb.RewardRequest(decision_id="-tok", event_id="scan-7", retract=True)]
    assert result.stdout == "retracted: it was taken back before, not counted\n"


def test_select_sends_what_was_typed(canned: Canned) -> None:
    canned.answers["select"] = decision(reason=ppb.REASON_NO_ELIGIBLE_ARM, stale=True)
    pairs = ["-c", "visits=3", "-c", "returning=true", "-c", "industry=software", "--context", "zip:=007"]
    flags = ["--arm", "calm", "--arm", "bold", "--deferred", "--mode", "uncounted", "--previous", "-tok"]
    result = lever("select", "hero", "ann", *pairs, *flags, "--json")
    assert result.exit_code == 0, result.output
    assert canned.asked[:1] == [
        ppb.SelectRequest(
            experiment="hero",
            subject="ann",
            context={
                "visits": ppb.FeatureValue(number=3),
                "returning": ppb.FeatureValue(flag=True),
                "industry": ppb.FeatureValue(text="software"),
                "zip": ppb.FeatureValue(text="007"),
            },
            arms=["calm", "bold"],
            previous_decision_id="-tok",
            deferred=True,
            mode=ppb.MODE_UNCOUNTED,
        )
    ]
    assert json.loads(result.stdout)["reason"] == "NO_ELIGIBLE_ARM"
    assert "store is away" in result.stderr


def test_context_values() -> None:
    pairs = ["a=1", "b=-2.5e-3", "c=.5", "d=TRUE", "e=nan", "f=1_000", "g:=true", "h=", "i=x=y", "j=inf"]
    typed = {"a": 1.0, "b": -0.0025, "c": 0.5, "d": True, "e": "nan", "f": "1_000", "g": "true", "h": "", "i": "x=y"}
    assert parse_context(pairs) == {**typed, "j": "inf"}


@pytest.mark.parametrize("pairs", [["a"], ["=1"], [":=1"], ["a=1", "a:=2"]])
def test_context_that_cannot_be_read(pairs: list[str], nobody: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_context(pairs)
    typed = [word for pair in pairs for word in ("-c", pair)]
    assert lever("select", "hero", "ann", *typed, "--server", nobody).exit_code == 2


def test_reward_and_expose(canned: Canned) -> None:
    canned.answers["reward"] = ppb.RewardResponse(outcome=ppb.OUTCOME_APPLIED)
    canned.answers["expose"] = ppb.ExposeResponse(outcome=ppb.OUTCOME_DUPLICATE)
    assert lever("reward", "tok").stdout == "applied\n"
    # Ids are base64url and may begin with dashes; values may be negative.
    assert lever("reward", "-mtok", "-12.5", "--metric", "order", "--event", "e1").stdout == "applied\n"
    assert lever("reward", "--tok").stdout == "applied\n"
    assert lever("expose", "-tok").stdout == "duplicate: it had been counted before\n"
    assert canned.asked == [
        ppb.RewardRequest(decision_id="tok"),
        ppb.RewardRequest(decision_id="-mtok", value=-12.5, metric="order", event_id="e1"),
        ppb.RewardRequest(decision_id="--tok"),
        ppb.ExposeRequest(decision_id="-tok"),
    ]
    assert lever("reward", "tok", "much").exit_code == 2


def test_a_journey_says_what_each_decision_got(canned: Canned) -> None:
    refused = ppb.RewardResult(code=14, message="decision_ids[2]: the store does not answer")
    results = [ppb.RewardResult(outcome=ppb.OUTCOME_APPLIED), ppb.RewardResult(outcome=ppb.OUTCOME_IGNORED), refused]
    canned.answers["journey"] = ppb.RewardJourneyResponse(values=[9.5, 0, 0.25], results=results)
    told = lever("journey", "--event", "order-77", "--value", "9.75", "one", "-two", "three")
    assert told.exit_code == 1
    assert told.stdout.splitlines() == [
        "9.5         applied",
        "0           no share by the metric's rule",
        "0.25        decision_ids[2]: the store does not answer",
    ]
    (request,) = canned.asked
    assert (list(request.decision_ids), request.event_id, request.value) == (["one", "-two", "three"], "order-77", 9.75)
