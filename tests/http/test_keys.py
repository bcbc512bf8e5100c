"""Who may do what at the web port: secret keys, public keys of browsers, origins."""

from __future__ import annotations

import json

import grpc
import pytest

from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from tests.rig.site import PAGE, Answer, Keyed, Site

HERO = "/ofrep/v1/evaluate/flags/hero"
BODY = {"context": {"targetingKey": "ann"}}


def bearer(key: str) -> str:
    return f"Bearer {key}"


def public_decision(keyed: Keyed) -> str:
    flag = keyed.site.post(HERO, BODY, authorization=bearer(keyed.public), origin=PAGE).json
    return str(flag["metadata"]["decisionId"])


def send(keyed: Keyed, key: str, **event: object) -> Answer:
    return keyed.site.post("/v1/events", {"events": [event]}, authorization=bearer(key), origin=PAGE)


def test_keys_are_asked_for(keyed: Keyed) -> None:
    for wrong in ("", "Bearer ", "Bearer lever_nobody", "Basic abc", f"Bearer {keyed.secret}x"):
        answer = keyed.site.post(HERO, BODY, authorization=wrong)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert keyed.site.post(HERO, BODY, authorization=bearer(keyed.decide)).status == 200
    assert keyed.site.post(HERO, BODY, authorization="", x_api_key="lever_nobody").status == 401
    denied = keyed.site.post("/v1/events", {"events": []}, authorization=bearer(keyed.decide))
    assert (denied.status, denied.json["error"]["code"]) == (403, "PERMISSION_DENIED")
    assert "reward" in denied.json["error"]["message"]


def test_ofreps_other_header_will_do(keyed: Keyed) -> None:
    site = Site(keyed.site.web)  # sends no key of its own
    assert site.post(HERO, BODY, x_api_key=keyed.decide).status == 200
    assert site.post(HERO, BODY).status == 401


def test_a_public_key_sees_what_is_for_clients(keyed: Keyed) -> None:
    as_page = {"authorization": bearer(keyed.public), "origin": PAGE}
    assert keyed.site.post(HERO, BODY, **as_page).status == 200
    hidden = keyed.site.post("/ofrep/v1/evaluate/flags/price", BODY, **as_page)
    assert (hidden.status, hidden.json["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert keyed.site.flag("price", "ann").status == 200  # with the secret key
    asked = {"subject": "ann", "experiments": ["hero", "price", {"experiment": "hero", "arms": ["loud"]},
                                               {"experiment": "hero", "mode": "uncounted"}, {"experiment": "hero", "mode": "preview", "arms": ["loud"]}]}  # fmt: skip
    made = keyed.site.post("/v1/select", asked, **as_page).json["decisions"]
    assert [d.get("error", {}).get("code") for d in made] == [
        None,
        "NOT_FOUND",
        "PERMISSION_DENIED",
        None,
        "PERMISSION_DENIED",
    ]
    assert made[3]["reason"] == "UNCOUNTED"  # a visitor who did not consent


def test_a_public_key_sends_clicks_once_and_no_amounts(keyed: Keyed) -> None:
    decision = public_decision(keyed)
    assert send(keyed, keyed.public, decision_id=decision, value=1).json["results"] == [{"outcome": "APPLIED"}]
    # An event id of its own does not make it a second click.
    again = send(keyed, keyed.beacon, decision_id=decision, metric="click", event_id="other")
    assert again.json["results"] == [{"outcome": "DUPLICATE"}]
    for wrong in (
        {"value": 2},
        {"value": 0},
        {"metric": "revenue"},
        {"metric": "revenue", "value": 1, "event_id": "e"},
    ):
        (result,) = send(keyed, keyed.public, decision_id=decision, **wrong).json["results"]
        assert result["error"]["code"] == "PERMISSION_DENIED"
    amount = {"decision_id": decision, "metric": "revenue", "value": 20, "event_id": "order"}
    assert keyed.site.post("/v1/events", {"events": [amount]}).json["results"] == [{"outcome": "APPLIED"}]
    foreign = str(keyed.site.flag("price", "ann").json["metadata"]["decisionId"])
    for event in ({"decision_id": foreign}, {"decision_id": foreign, "type": "exposure"}):
        (result,) = send(keyed, keyed.public, **event).json["results"]
        assert result["error"]["code"] == "PERMISSION_DENIED"


def test_a_beacon_has_its_key_in_the_url(keyed: Keyed) -> None:
    decision = public_decision(keyed)
    site = Site(keyed.site.web)
    text = json.dumps({"events": [{"decision_id": decision}]})
    sent = site.post(f"/v1/events?key={keyed.beacon}", text, content_type="text/plain;charset=UTF-8", origin=PAGE)
    assert sent.json == {"results": [{"outcome": "APPLIED"}]}
    assert site.post(f"/v1/events?key={keyed.secret}", text).status == 403  # it would end up in logs
    assert site.post("/v1/events?key=lever_nobody", text).status == 401
    assert site.post(f"{HERO}?key={keyed.beacon}", BODY, origin=PAGE).status == 403  # may only write


def test_a_public_key_opens_nothing_but_the_web_port(keyed: Keyed) -> None:
    with grpc.insecure_channel(keyed.site.grpc) as channel:
        stub = PersonalizationServiceStub(channel)
        request = pb.SelectRequest(experiment="hero", subject="ann")
        with pytest.raises(grpc.RpcError) as caught:
            stub.Select(request, timeout=20, metadata=(("authorization", bearer(keyed.public)),))
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    page = keyed.site.call("GET", "/metrics", address=keyed.site.http, authorization=bearer(keyed.public))
    assert page.status == 403


def test_pages_of_the_keys_origins_may_read(keyed: Keyed) -> None:
    preflight = keyed.site.call("OPTIONS", HERO, origin=PAGE, access_control_request_method="POST")
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, PAGE)
    allowed = preflight.headers["access-control-allow-headers"]
    assert all(name in allowed for name in ("authorization", "x-api-key", "content-type", "if-none-match"))
    for path in (HERO, "/ofrep/v1/evaluate/flags"):
        answer = keyed.site.post(path, BODY, authorization=bearer(keyed.public), origin=PAGE)
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-expose-headers"] == "ETag, Retry-After"
        assert answer.headers["vary"] == "origin"
    etag = answer.headers["etag"]
    same = keyed.site.post(path, BODY, authorization=bearer(keyed.public), origin=PAGE, if_none_match=etag)
    assert (same.status, same.headers["access-control-allow-origin"], same.headers["etag"]) == (304, PAGE, etag)
    unknown = keyed.site.post(HERO, BODY, authorization="", origin=PAGE)  # a page may read why it is refused
    assert (unknown.status, unknown.headers["access-control-allow-origin"]) == (401, PAGE)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://shop.example", "https://shop.example:8443", "null", ""]
)
def test_other_pages_may_not(keyed: Keyed, origin: str) -> None:
    preflight = keyed.site.call("OPTIONS", HERO, origin=origin, access_control_request_method="POST")
    assert "access-control-allow-origin" not in preflight.headers
    answer = keyed.site.post(HERO, BODY, authorization=bearer(keyed.public), origin=origin)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    secret = keyed.site.post(HERO, BODY, origin=PAGE)  # a secret key is no page's: nobody's script reads the answer
    assert (secret.status, "access-control-allow-origin" in secret.headers) == (200, False)


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:3000", 200), ("http://127.0.0.1:1", 200), ("http://[::1]:80", 200), ("https://evil.example", 403),
     ("null", 403), ("http://localhost.evil.example", 403), ("http://[", 403), ("http://127.0.0.1.evil.example", 403)],
)  # fmt: skip
def test_without_keys_only_pages_of_this_machine(lever: Site, origin: str, status: int) -> None:
    answer = lever.post(HERO, BODY, origin=origin)
    assert answer.status == status
    assert answer.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
    assert lever.post("/v1/events", '{"events":[{"decision_id":"x"}]}', origin=origin).status == status
