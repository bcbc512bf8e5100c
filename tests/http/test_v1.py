"""POST /v1/select and /v1/events."""

from __future__ import annotations

import json

import pytest

from tests.rig.site import Site
from tests.rig.waiting import eventually


def select(lever: Site, *experiments: object, subject: str = "ann", **context: object) -> list[dict[str, object]]:
    answer = lever.post("/v1/select", {"subject": subject, "context": context, "experiments": experiments})
    assert answer.status == 200, answer.body
    return list(answer.json["decisions"])


def test_several_experiments_in_one_call(lever: Site) -> None:
    hero, price, none = select(lever, "hero", {"experiment": "price"}, "none", plan="paid", staff=True)
    assert (hero["experiment"], hero["reason"], hero["segment"]) == ("hero", "POLICY", "default")
    assert hero["payload"] == {"title": str(hero["arm"]).capitalize()}
    assert (price["payload"], price["reason"]) == (9, "SEGMENT_DEFAULT")
    assert none["error"]["code"] == "NOT_FOUND"  # type: ignore[index]


def test_what_can_be_said_of_a_choice(lever: Site) -> None:
    (one,) = select(lever, {"experiment": "hero", "arms": ["loud"]})
    assert (one["arm"], one["propensity"]) == ("loud", 1.0)
    (two,) = select(lever, {"experiment": "hero", "previous_decision_id": one["decision_id"]})
    assert (two["decision_id"], two["reason"]) == (one["decision_id"], "REPEATED")
    (three,) = select(lever, {"experiment": "hero", "previous_decision_id": one["decision_id"]}, subject="bea")
    assert three["reason"] == "POLICY"
    (seen,) = select(lever, {"experiment": "hero", "mode": "preview", "arms": ["calm"]})
    assert (seen["arm"], seen["reason"]) == ("calm", "PREVIEW")
    (unseen,) = select(lever, {"experiment": "hero", "mode": "uncounted"})
    assert unseen["reason"] == "UNCOUNTED"
    assert lever.event(str(unseen["decision_id"])) == {"outcome": "IGNORED"}
    (wrong,) = select(lever, {"experiment": "hero", "arms": ["quiet"]})
    assert wrong["error"]["fields"] == [  # type: ignore[index]
        {"field": "arms[0]", "message": "arm 'quiet' does not exist in experiment 'hero'"}
    ]
    (mismatch,) = select(lever, "hero", visits="many")
    assert mismatch["error"]["code"] == "INVALID_ARGUMENT"  # type: ignore[index]


def test_events_are_counted_once_however_often_they_are_sent(lever: Site) -> None:
    (shown,) = select(lever, "hero", subject="buyer")
    (mail,) = select(lever, {"experiment": "hero", "deferred": True}, subject="reader")
    batch = {
        "events": [
            {"decision_id": shown["decision_id"], "metric": "click", "value": 1},
            {"decision_id": shown["decision_id"], "metric": "revenue", "value": 9.99, "event_id": "order-1"},
            {"decision_id": shown["decision_id"], "metric": "revenue", "value": 5, "event_id": "order-2"},
            {"decision_id": shown["decision_id"], "metric": "revenue", "value": 5},
            {"decision_id": mail["decision_id"], "type": "exposure"},
            {"decision_id": shown["decision_id"], "type": "exposure"},
            {"decision_id": "forged"},
            {"decision_id": shown["decision_id"], "metric": "nobody-knows"},
        ]
    }
    first, again = (lever.post("/v1/events", batch).json["results"] for _ in range(2))
    assert [r.get("outcome") for r in first] == ["APPLIED"] * 3 + [None, "APPLIED", "DUPLICATE", None, None]
    assert [r.get("outcome") for r in again] == ["DUPLICATE"] * 3 + [None, "DUPLICATE", "DUPLICATE", None, None]
    codes = [r["error"]["code"] for r in first if "error" in r]
    assert codes == ["INVALID_ARGUMENT", "INVALID_ARGUMENT", "NOT_FOUND"]


def test_a_wrong_element_has_an_error_of_its_own(lever: Site) -> None:
    first, wrong, strange, last = select(lever, "hero", {"experiment": "hero", "mode": "loud"}, {}, "sticky")
    assert (first["reason"], last["experiment"]) == ("POLICY", "sticky")
    assert wrong["error"]["fields"][0]["field"] == "experiments[1].mode"  # type: ignore[index]
    assert strange["error"]["code"] == "INVALID_ARGUMENT"  # type: ignore[index]
    given = [
        {"decision_id": first["decision_id"], "metric": "click", "value": None, "event_id": None, "type": None},
        {"decision_id": "x", "value": "49.90"}, {"decision_id": "x", "type": "click"}, {"decision_id": ""}, None,
        {"decision_id": first["decision_id"], "event_id": "\ud800"}, {"decision_id": "x", "metric": "€" * 43},
        {"decision_id": first["decision_id"], "metric": "click"},
    ]  # fmt: skip
    results = lever.post("/v1/events", {"events": given}).json["results"]
    assert [r.get("outcome", r.get("error", {}).get("code")) for r in results] == [
        "APPLIED", *["INVALID_ARGUMENT"] * 6, "DUPLICATE",
    ]  # fmt: skip
    assert [r["error"]["fields"][0]["field"] for r in results[1:-1]] == [
        "events[1].value", "events[2].type", "events[3].decision_id", "events[4]", "events[5]", "events[6].metric",
    ]  # fmt: skip


def test_a_first_visit_sends_null(lever: Site) -> None:
    nothing = {"experiment": "hero", "previous_decision_id": None, "arms": None, "deferred": None, "mode": None}
    answer = lever.post("/v1/select", {"subject": "first", "context": None, "experiments": [nothing]})
    assert answer.json["decisions"][0]["reason"] == "POLICY"


def test_a_beacon_is_text(lever: Site) -> None:
    (shown,) = select(lever, "hero", subject="beacon")
    body = json.dumps({"events": [{"decision_id": shown["decision_id"]}]})
    answer = lever.post("/v1/events", body, content_type="text/plain;charset=UTF-8")
    assert answer.json == {"results": [{"outcome": "APPLIED"}]}


@pytest.mark.parametrize("path", ["/v1/select", "/v1/events"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"7", b"null", b"\xff", b"{}", b'{"subject":1}', b'{"subject":"u"}', b'{"events":{}}', b'{"events":[]}',
        b'{"subject":"' + "€".encode() * 171 + b'","experiments":["hero"]}',
        b'{"subject":"","experiments":["hero"]}', b'{"subject":"u","experiments":[]}',
        b'{"subject":"u","experiments":["hero"],"context":{"a":[]}}', b'{"subject":"u","experiments":["hero"],"nope":1}',
        b'{"events":' + b"[" * 50_000, b'{"events":[7],"nope":"\\ud800"}', b'{"events":[NaN,"\\ud800"]}', b'{"events":"\\u0083"}', b'["\\ud800"]',
        b'{"subject":"u","experiments":[' + b'"hero",' * 40 + b'"hero"]}',
    ],
)  # fmt: skip
def test_what_is_malformed_names_its_field(lever: Site, path: str, body: bytes) -> None:
    answer = lever.post(path, body)
    assert answer.status == 400, answer.body
    assert answer.json["error"]["code"] == "INVALID_ARGUMENT"
    assert answer.json["error"]["fields"][0]["field"]


@pytest.mark.parametrize(("path", "size"), [("/v1/select", 70_000), ("/v1/events", 3 << 20)])
def test_huge_bodies(lever: Site, path: str, size: int) -> None:
    assert lever.post(path, b" " * size).status == 413


def test_the_side_port_counts_web_requests(lever: Site) -> None:
    def page() -> str:
        return lever.call("GET", "/metrics", address=lever.http).body.decode()

    select(lever, "hero")
    eventually(lambda: 'lever_http_requests_total{route="select",status="200"}' in page())  # told once a second
    assert 'lever_worker_ready{worker="web"} 1.0' in page()
