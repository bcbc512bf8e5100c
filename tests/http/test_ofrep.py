"""OFREP over a real socket: what is in an answer, what sticks, what a bulk evaluation does not do."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.rig.site import Site
from tests.rig.waiting import eventually


def test_a_flag_is_an_experiment(lever: Site) -> None:
    answer = lever.flag("hero", "ann", plan="free", visits=3, email="not declared, not read")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    flag = answer.json
    assert flag["key"] == "hero"
    assert flag["reason"] == "SPLIT"
    assert flag["value"] == {"title": flag["variant"].capitalize()}
    metadata = flag["metadata"]
    assert set(metadata) == {"decisionId", "propensity", "segment", "holdout", "version", "windowMs"}
    assert all(isinstance(value, (str, float, int, bool)) for value in metadata.values())
    assert 0 < metadata["propensity"] < 1


def test_reasons_and_values(lever: Site) -> None:
    assert lever.flag("price", "ann", staff=True).json["reason"] == "TARGETING_MATCH"
    held = [lever.flag("price", f"s{i}").json for i in range(20)]
    assert {flag["metadata"]["holdout"] for flag in held} == {True, False}
    assert {flag["reason"] for flag in held} == {"SPLIT"}
    paused = lever.flag("paused", "ann").json
    assert (paused["value"], paused["variant"], paused["reason"]) == ("text", "x", "DISABLED")
    sketch = lever.flag("sketch", "ann")  # a draft: the caller's own default is shown
    assert sketch.status == 200
    assert "value" not in sketch.json
    assert sketch.json["reason"] == "DISABLED"


def test_an_arm_without_a_payload_is_worth_its_name(lever: Site) -> None:
    flag = lever.flag("sticky", "ann").json
    assert flag["value"] == flag["variant"]


def test_one_evaluation_is_a_trial_and_its_decision_can_be_rewarded_once(lever: Site) -> None:
    before = lever.settled("hero")
    decision = lever.flag("hero", "rewarded").json["metadata"]["decisionId"]
    assert lever.event(decision) == {"outcome": "APPLIED"}
    assert lever.event(decision) == {"outcome": "DUPLICATE"}
    lever.await_trials("hero", sum(trials for trials, _ in before.values()) + 1)
    after = lever.settled("hero")
    assert sum(r for _, r in after.values()) == sum(r for _, r in before.values()) + 1


def test_bulk_has_what_clients_may_see_and_is_no_exposure(lever: Site) -> None:
    before = lever.settled("sticky")
    flags = {flag["key"]: flag for flag in lever.flags("bea").json["flags"]}
    assert set(flags) == {"hero", "sticky", "paused", "sketch"}
    metadata = flags["sticky"]["metadata"]
    assert metadata["deferred"] is True
    assert lever.event(metadata["decisionId"], type="exposure") == {"outcome": "APPLIED"}
    assert lever.event(metadata["decisionId"], type="exposure") == {"outcome": "DUPLICATE"}
    lever.await_trials("sticky", sum(trials for trials, _ in before.values()) + 1)
    after = lever.settled("sticky")
    assert sum(trials for trials, _ in after.values()) == sum(trials for trials, _ in before.values()) + 1


def test_an_etag_belongs_to_a_subject_and_a_context(lever: Site) -> None:
    etag = lever.flags("cid", plan="free").headers["etag"]
    again = lever.flags("cid", etag, plan="free")
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert lever.flags("cid", etag, plan="paid").status == 200
    assert lever.flags("dan", etag, plan="free").status == 200
    for nonsense in ('"x"', '"-"', '"1-2"', '"ffffffffffffffffff-00"', "é", etag.strip('"'), "W/", ","):
        assert lever.flags("cid", nonsense.encode().decode("latin-1"), plan="free").status == 200


def test_etags_are_compared_as_rfc_9110_says(lever: Site) -> None:
    etag = lever.flags("eve", plan="free", visits=3).headers["etag"]
    for known in (f"W/{etag}", f'"x", {etag}', f'W/"a,b",W/{etag}  , "z"', f" {etag}"):
        again = lever.flags("eve", known, plan="free", visits=3)
        assert (again.status, again.headers["etag"]) == (304, etag)
    assert lever.flags("eve", "*", plan="free", visits=3).status == 304
    assert lever.flags("eve", "*", visits="many").status == 304
    # Only what an experiment makes of the context: not what none declares, nor digits beyond a number's column.
    assert lever.flags("eve", etag, plan="free", visits=3, page="/pricing", clock=7).status == 304
    assert lever.flags("eve", etag, plan="free", visits=3.0000001).status == 304
    assert lever.flags("eve", etag, plan="free", visits=4).status == 200
    assert lever.flags("eve", etag, plan="free", visits=3, uncounted=True).status == 200


def test_who_did_not_consent_is_not_counted(lever: Site) -> None:
    before = lever.settled("hero")
    flag = lever.flag("hero", "shy", uncounted=True).json
    assert flag["variant"] in ("calm", "loud")
    (bulk,) = (flag for flag in lever.flags("shy", uncounted=True).json["flags"] if flag["key"] == "hero")
    for decision in (flag["metadata"]["decisionId"], bulk["metadata"]["decisionId"]):
        assert lever.event(decision, type="exposure") == {"outcome": "IGNORED"}
        assert lever.event(decision) == {"outcome": "IGNORED"}
    assert lever.settled("hero") == before
    wrong = lever.flag("hero", "shy", uncounted="yes")
    assert (wrong.status, wrong.json["errorCode"]) == (400, "INVALID_CONTEXT")


def chance_of_a(flag: dict[str, Any]) -> float:
    propensity = float(flag["metadata"]["propensity"])
    return propensity if flag["variant"] == "a" else 1 - propensity


def test_what_was_shown_stays_while_the_posterior_moves(lever: Site) -> None:
    subjects = [f"stay-{i}" for i in range(30)]
    etags, first = {}, {}
    for subject in subjects:
        answer = lever.flags(subject)
        etags[subject] = answer.headers["etag"]
        first[subject] = next(flag for flag in answer.json["flags"] if flag["key"] == "sticky")
    before = max(chance_of_a(flag) for flag in first.values())
    taught = lever.settled("sticky")["a"][1]
    # However probable "a" is by now, ask until it was drawn forty times.
    drawn = (lever.flag("sticky", f"taught-{i}").json for i in itertools.count())
    taken = itertools.islice((flag for flag in drawn if flag["variant"] == "a"), 40)
    events = [{"decision_id": flag["metadata"]["decisionId"]} for flag in taken]
    assert lever.post("/v1/events", {"events": events}).status == 200
    eventually(lambda: lever.trials("sticky")["a"][1] >= taught + 40)
    eventually(lambda: chance_of_a(lever.flag("sticky", "probe").json) > before)
    moved = 0
    for subject in subjects:
        shown = first[subject]
        # Pages that come back with their ETag go on showing what they have.
        assert lever.flags(subject, etags[subject]).status == 304
        # Others get the same draw with the new probabilities: only towards the arm that gained can anybody move.
        now = lever.flag("sticky", subject).json
        moved += now["variant"] != shown["variant"]
        assert shown["variant"] == "b" or now["variant"] == "a"
        # And a caller who remembers the decision gets it back as it was, in the same mode.
        kept = {flag["key"]: flag for flag in lever.flags(
            subject, previousDecisions={"sticky": shown["metadata"]["decisionId"]}).json["flags"]}["sticky"]  # fmt: skip
        assert kept["variant"] == shown["variant"]
        assert kept["metadata"]["decisionId"] == shown["metadata"]["decisionId"]
        assert kept["metadata"]["propensity"] == shown["metadata"]["propensity"]
    assert moved < len(subjects)


@pytest.mark.parametrize("previous", ["no id", 7, None, {"sticky": 1}, {"sticky": "x" * 1000}, []])
def test_a_previous_decision_that_is_none_is_no_error(lever: Site, previous: object) -> None:
    assert lever.flag("sticky", "eve", previousDecisions=previous).status == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "PARSE_ERROR"),
        (b"{", 400, "PARSE_ERROR"),
        (b"\xff\xfe", 400, "PARSE_ERROR"),
        (b'{"context":{"targetingKey":"\\ud800"}}', 400, "PARSE_ERROR"),
        (b'{"context":' + b"[" * 20_000, 400, None),
        (b'{"context":{"targetingKey":"u","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}}", 400, "PARSE_ERROR"),
        (b"[]", 400, "INVALID_CONTEXT"),
        (b"null", 400, "INVALID_CONTEXT"),
        (b'{"context":7}', 400, "INVALID_CONTEXT"),
        (b"{}", 400, "TARGETING_KEY_MISSING"),
        (b'{"context":null}', 400, "TARGETING_KEY_MISSING"),
        (b'{"context":{}}', 400, "TARGETING_KEY_MISSING"),
        (b'{"context":{"targetingKey":""}}', 400, "TARGETING_KEY_MISSING"),
        (b'{"context":{"targetingKey":7}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":{}}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"' + b"u" * 513 + b'"}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"' + "€".encode() * 171 + b'"}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"u","visits":"three"}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"u","visits":true}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"u","visits":[3]}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"u","visits":1' + b"0" * 400 + b"}}", 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"u","plan":3}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"u","plan":{"a":1}}}', 400, "INVALID_CONTEXT"),
        (b" " * 70_000, 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"u","visits":null,"plan":"unknown","z":{"a":[1]}}}', 200, None),
        (b'{"context":{"targetingKey":"u\\u0000","visits":1e300},"more":1}', 200, None),
    ],
)
def test_what_is_wrong_is_told_as_ofrep_names_it(lever: Site, body: bytes, status: int, code: str | None) -> None:
    single = lever.post("/ofrep/v1/evaluate/flags/hero", body)
    assert single.status == status, single.body
    if status != 200:
        assert single.json["key"] == "hero"
        assert single.json["errorDetails"]
        assert code is None or single.json["errorCode"] == code
    bulk = lever.post("/ofrep/v1/evaluate/flags", body)
    assert bulk.status in (200, status)  # what is wrong for one flag is told with that flag
    if bulk.status == 200 and status == 400:
        wrong = [flag for flag in bulk.json["flags"] if "errorCode" in flag]
        assert [(flag["key"], flag["errorCode"]) for flag in wrong] == [("hero", code)]
        assert "etag" not in bulk.headers


@pytest.mark.parametrize("name", ["nobody", "Hero", "hero/", "hero%00", "%F0%9F%A6%8A", "a%22b", "x" * 3000, "..%2f"])
def test_unknown_flags(lever: Site, name: str) -> None:
    answer = lever.post(f"/ofrep/v1/evaluate/flags/{name}", {"context": {"targetingKey": "u"}})
    assert (answer.status, answer.json["errorCode"]) == (404, "FLAG_NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/ofrep/v1/evaluate/flags/hero", "/ofrep/v1/evaluate/flags", "/v1/select", "/v1/events"]
)
def test_wrong_methods(lever: Site, method: str, path: str) -> None:
    answer = lever.call(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")


def test_other_paths(lever: Site) -> None:
    for path in ("/", "/metrics", "/ofrep/v1/configuration", "/ofrep/v1/evaluate/flagsy", "/v1/select/", "/livez"):
        assert lever.call("GET", path).status == 404
