"""The console's endpoints: the answers of gRPC, its keys and scopes, its errors."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess

import grpc
import pytest

from loadtest.rig.server import Server
from service.console.app import Console
from service.pb.lever.v1 import experiment_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.remote.plain import plain
from service.telemetry.exposition import Exposition
from tests.rig.lever import LOCAL
from tests.rig.programs import BIN, ROOT
from tests.rig.site import Answer, Site
from tests.rig.told import Told
from tests.rig.waiting import eventually

BODIES: dict[str, object] = {
    "explain": {"name": "shop"}, "apply": {"config": "experiment: x"}, "state": {"state": "paused", "version": 1},
    "exclude": {"from_ms": 1, "to_ms": 2}, "include": {"number": 1},
}  # fmt: skip
ENDPOINTS = {
    "/".join("shop" if part == "*" else part for part in shape): endpoint
    for shape, endpoint in Console("", Exposition(), None)._endpoints.items()
}


def call(server: Server, method: str, path: str, body: object = None, **headers: str) -> Answer:
    return Site("", server.address, server.http).call(method, path, body, server.http, **headers)


def report(told: Told) -> pb.GetReportResponse:
    metadata = (("authorization", f"Bearer {told.everything}"),)
    with grpc.insecure_channel(told.site.grpc, options=LOCAL) as channel:
        return ExperimentServiceStub(channel).GetReport(pb.GetReportRequest(name="shop"), timeout=20, metadata=metadata)


def test_a_report_is_that_of_the_rpc_but_for_the_buckets(told: Told) -> None:
    wanted = report(told)
    for lift in wanted.lifts:
        lift.ClearField("buckets")
    found = told.get("experiments/shop/report")
    assert found == plain(wanted)
    assert found["headline"].endswith("safe to look at any time.")
    assert not told.get("experiments/quiet/report")["lifts"]


def test_the_list_has_every_experiment_with_the_gist_of_its_report(told: Told) -> None:
    rows = eventually(
        lambda: (
            all(row["gist"] for row in told.get("experiments")["experiments"])
            and told.get("experiments")["experiments"]
        )
    )
    assert [row["name"] for row in rows] == ["quiet", "shop"]
    assert "config" not in rows[1]
    wanted = told.get("experiments/shop/report")
    assert rows[1]["gist"]["headline"] == wanted["headline"]
    assert [one["segment"] for one in rows[1]["gist"]["segments"]] == [one["segment"] for one in wanted["segments"]]


def test_a_configuration_comes_as_text_and_as_a_tree(told: Told) -> None:
    found = told.get("experiments/shop")
    assert found["tree"]["features"]["plan"]["values"] == ["free", "paid"]
    assert "# Two groups of visitors." in found["experiment"]["config"]


def test_a_decision_and_a_context_are_explained(told: Told) -> None:
    status, made = told.ask("explain", {"decision_id": told.decision})
    assert (status, made["name"]) == (200, "shop")
    assert made["arm"] in {"calm", "loud", "slow"}
    status, asked = told.ask("explain", {"name": "shop", "context": {"plan": "paid", "staff": True}})
    assert (status, asked["segment"], asked["arm"]) == (200, "paid", "")
    status, wrong = told.ask("explain", {"name": "shop", "context": {"plan": "paid"}, "decision_id": told.decision})
    assert (status, wrong["error"]["fields"][0]["field"]) == (400, "context")


def test_health_says_what_the_metrics_say(told: Told) -> None:
    def sound() -> bool:
        health = told.get("health")
        applied = [
            one["value"] for one in health["families"]["lever_rewards"]
            if one["labels"] == {"experiment": "shop", "outcome": "APPLIED"}
        ]  # fmt: skip
        return bool(
            health["ready"] and applied and applied[0] > 0 and health["families"]["lever_store_up"][0]["value"] == 1
        )

    assert eventually(sound)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_keys_open_what_they_open_over_grpc(told: Told, path: str) -> None:
    scope = ENDPOINTS[path].scope
    body = BODIES[path.rpartition("/")[2]] if ENDPOINTS[path].method == "POST" else None
    if not scope:
        assert told.ask(path, body, key="")[0] == 200
        return
    assert told.ask(path, body, key="")[0] == 401
    assert told.ask(path, body, key="lever_unknown")[0] == 401
    status, said = told.ask(path, body, key=told.read if scope == "admin" else told.decide)
    assert (status, said["error"]["code"]) == (403, "PERMISSION_DENIED")
    assert repr(scope) in said["error"]["message"]


def test_a_session_tells_what_the_key_may_do(told: Told) -> None:
    assert told.get("session")["scopes"] == ["admin", "decide", "read", "reward"]
    assert told.ask("session", key=told.read)[1] | {"version": ""} == {
        "version": "",
        "keys": True,
        "name": "ben",
        "scopes": ["read"],
    }
    assert told.ask("session", key="")[1]["scopes"] == []


def test_what_is_wrong_is_told_as_over_grpc(told: Told) -> None:
    for path, status in (
        ("experiments/nobody", 404),
        ("experiments/nobody/report", 404),
        ("nothing", 404),
        ("experiments/shop/history?limit=x", 400),
    ):
        assert told.ask(path)[0] == status
    assert (
        told.ask("explain", {"name": "shop", "contexts": {}})[1]["error"]["fields"][0]["message"]
        == "Object contains unknown field `contexts`"
    )
    assert told.site.call("POST", "/console/api/session", {}, address=told.site.http).status == 405
    large = told.site.call("POST", "/console/api/explain", "x" * (1 << 20) + "x", address=told.site.http)
    assert (large.status, json.loads(large.body)["error"]["fields"][0]["field"]) == (400, "body")


def test_errors_of_a_configuration_have_their_lines(told: Told) -> None:
    now = told.get("experiments/shop")["experiment"]
    broken = now["config"].replace("  - id: slow", "  - id: slow\n    colour: red").replace("share: 0.3", "share: 3")
    status, said = told.ask("apply", {"config": broken, "expected_version": now["version"]})
    assert status == 400
    fields = {one["field"]: one["line"] for one in said["error"]["fields"]}
    lines = broken.split("\n")
    assert "colour" in lines[fields["arms[2].colour"] - 1]
    assert "share" in lines[fields["holdout.share"] - 1]
    assert told.get("experiments/shop")["experiment"] == now
    assert told.ask("apply", {"config": now["config"], "expected_version": now["version"] + 1})[0] == 409


def test_a_pause_changes_one_word_of_the_file_and_stands_in_the_history(told: Told) -> None:
    before = told.get("experiments/quiet")["experiment"]
    status, paused = told.ask("experiments/quiet/state", {"state": "paused", "version": before["version"]})
    assert (status, paused["experiment"]["state"]) == (200, "paused")
    assert paused["experiment"]["config"] == before["config"].replace(
        "experiment: quiet\n", "experiment: quiet\nstate: paused\n"
    )
    assert told.ask("experiments/quiet/state", {"state": "active", "version": before["version"]})[0] == 409
    status, resumed = told.ask(
        "experiments/quiet/state", {"state": "active", "version": paused["experiment"]["version"]}
    )
    assert (status, resumed["experiment"]["state"]) == (200, "active")
    events = told.get("experiments/quiet/history")["events"]
    assert [(one["what"], one["by"]) for one in events[:2]] == [("updated", "anna"), ("updated", "anna")]


def test_what_is_excluded_no_longer_counts_until_it_is_taken_back(told: Told) -> None:
    def trials() -> int:
        return sum(
            arm["trials"] for segment in told.get("experiments/shop/report")["segments"] for arm in segment["arms"]
        )

    before = trials()
    given = {"from_ms": 1_700_000_000_000, "to_ms": 1_700_000_000_001}
    assert told.ask("experiments/shop/exclude", given | {"arms": ["nobody"]})[0] in {400, 404}
    first = told.get("experiments/shop/timeline")["periods"][0]["start_ms"]
    until = first + 86_400_000
    status, made = told.ask("experiments/shop/exclude", {"from_ms": first, "to_ms": until, "arms": ["slow"]})
    assert status == 200, made
    assert made["exclusion"]["trials"] > 0
    assert eventually(lambda: trials() == before - made["exclusion"]["trials"])
    number = made["exclusion"]["number"]
    assert [one["number"] for one in told.get("experiments/shop/report")["exclusions"]] == [number]
    assert told.ask("experiments/shop/include", {"number": number})[0] == 200
    assert eventually(lambda: trials() == before)
    assert told.get("experiments/shop/history")["events"][0]["by"] == "anna"


def test_without_keys_everything_is_shown_and_nothing_changed(unlocked: Server) -> None:
    def ask(path: str, body: object = None, **headers: str) -> int:
        return call(unlocked, "GET" if body is None else "POST", f"/console/api/{path}", body, **headers).status

    assert ask("experiments/homepage-hero/report") == 200
    assert ask("experiments/homepage-hero/timeline?segment=returning") == 200
    assert ask("experiments/homepage-hero/timeline?segment=nobody") in {400, 404}
    assert ask("explain", {"name": "homepage-hero"}) == 200
    assert ask("apply", {"config": "experiment: x"}) == 403
    assert ask("experiments/homepage-hero/state", {"state": "paused", "version": 1}) == 403
    # A site whose name points to this machine reads nothing through its visitor's browser.
    assert ask("experiments/homepage-hero/report", host="rebound.example.com") == 403
    assert ask("experiments/homepage-hero/report", host="localhost:8080") == 200


def test_files_are_strict_packed_and_asked_for_once(unlocked: Server) -> None:
    page = call(unlocked, "GET", "/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    script = call(unlocked, "GET", "/console/main.js", accept_encoding="gzip")
    assert script.headers["content-encoding"] == "gzip"
    assert b"import" in gzip.decompress(script.body)
    for answer in (page, script):
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers
    again = call(unlocked, "GET", "/console/main.js", if_none_match=script.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert call(unlocked, "GET", "/console/../secrets").status == 404
    assert call(unlocked, "POST", "/console/main.js", {}).status == 405
    assert call(unlocked, "HEAD", "/").body == b""


def test_the_key_of_the_documentation_opens_what_it_says(told: Told) -> None:
    (command,) = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/console.md").read_text(), re.MULTILINE | re.DOTALL)
    made = subprocess.run(
        [BIN / "lever", *shlex.split(command)[1:]], capture_output=True, text=True, check=True, timeout=60
    )
    line = next(line for line in (made.stdout + made.stderr).splitlines() if line.startswith("  - {"))
    told.keys.write_text(told.keys.read_text() + line.replace("name: anna", "name: new") + "\n")
    key = made.stdout.split()[0]
    assert eventually(lambda: told.ask("session", key=key)[1]["scopes"]) == ["admin", "read"]
