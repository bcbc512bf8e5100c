"""Lever on a path of the page's own site, behind the nginx of docs/http.md, with a public key: no CORS, no foreign host."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.security.api_keys import Key, new_secret
from tests.rig.clients import nginx as proxies
from tests.rig.clients import node as nodes
from tests.rig.clients.nginx import Nginx, nginx
from tests.rig.experiments import HERO
from tests.rig.programs import program
from tests.rig.site import Answer, Site, site

FLAG, FLAGS = "/lever/ofrep/v1/evaluate/flags/hero", "/lever/ofrep/v1/evaluate/flags"


@dataclass
class Visited:
    """The site as its visitors have it."""

    nginx: Nginx
    lever: Site
    public: str

    @property
    def origin(self) -> str:
        return f"http://{self.nginx.address}"

    def post(self, path: str, body: object, **headers: str) -> Answer:
        """As a script of the page sends it."""
        as_page = {"authorization": f"Bearer {self.public}", "origin": self.origin, "sec_fetch_site": "same-origin"}
        return Site(self.nginx.address).post(path, body, **as_page | headers)


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    public, secret, port = new_secret(), new_secret(), proxies.free_port()
    folder = tmp_path_factory.mktemp("lever")
    lines = [
        Key.of(public, "page", frozenset({"decide", "reward"}), frozenset({f"http://127.0.0.1:{port}"})).line(),
        Key.of(secret, "test", frozenset({"decide", "reward", "read"})).line(),
    ]
    (folder / "keys.yaml").write_text("\n".join(["keys:", *lines, ""]))
    # Not below pytest's folder, which is closed to the worker of nginx.
    with (
        tempfile.TemporaryDirectory() as made,
        site(folder, {"hero": HERO}, "--keys-file", str(folder / "keys.yaml"), key=secret) as lever,
    ):
        pages = Path(made) / "pages"
        pages.mkdir()
        with nginx(Path(made), port, pages, lever.web) as running:
            yield Visited(running, lever, public)


def test_a_decision_and_its_reward(visited: Visited) -> None:
    flag = visited.post(FLAG, {"context": {"targetingKey": "ann", "plan": "free"}})
    assert (flag.status, flag.json["reason"]) == (200, "SPLIT")
    decision = flag.json["metadata"]["decisionId"]
    events = {"events": [{"decision_id": decision, "metric": "click"}]}
    assert visited.post("/lever/v1/events", events).json == {"results": [{"outcome": "APPLIED"}]}
    by_beacon = visited.post(f"/lever/v1/events?key={visited.public}", events, authorization="")
    assert by_beacon.json == {"results": [{"outcome": "DUPLICATE"}]}
    amount = {"events": [{"decision_id": decision, "metric": "revenue", "value": 1, "event_id": "1"}]}
    assert visited.post("/lever/v1/events", amount).json["results"][0]["error"]["code"] == "PERMISSION_DENIED"


def test_a_page_that_keeps_what_it_shows(visited: Visited) -> None:
    body = {"context": {"targetingKey": "bea"}}
    first = visited.post(FLAGS, body)
    again = visited.post(FLAGS, body, if_none_match=first.headers["etag"])
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert again.headers["etag"] == first.headers["etag"]


def test_a_visitor_who_did_not_consent(visited: Visited) -> None:
    flag = visited.post(FLAG, {"context": {"targetingKey": "shy", "uncounted": True}}).json
    assert flag["reason"] == "SPLIT"
    events = {"events": [{"decision_id": flag["metadata"]["decisionId"], "metric": "click"}]}
    assert visited.post("/lever/v1/events", events).json == {"results": [{"outcome": "IGNORED"}]}


def test_somebody_elses_page_may_not(visited: Visited) -> None:
    assert visited.post(FLAG, {"context": {"targetingKey": "eve"}}, origin="https://other.example").status == 403


@pytest.mark.timeout(300)
def test_the_web_client_in_chromium(visited: Visited, tmp_path: Path) -> None:
    """The story of tests/clients/test_next_page.py, page and Lever from one origin: nothing asks for permission first."""
    folder, pages = nodes.workspace(tmp_path), visited.nginx.folder / "pages"
    shutil.copy(nodes.HERE / "modules.html", pages)
    shutil.copytree(folder / "node_modules", pages / "node_modules")
    given = {"executable": program("chromium"), "modules": f"{visited.origin}/modules.html",
             "lever": f"{visited.origin}/lever", "key": visited.public}  # fmt: skip
    told = nodes.run(folder, "next_page.mjs", given)
    assert (told["unmatched"], told["stranger"], told["shySent"]) == (0, 1, 0)
    for decision in (told["decision"], told["localDecision"], told["yesDecision"]):
        assert visited.lever.event(decision) == {"outcome": "DUPLICATE"}
    assert visited.lever.event(told["shyDecision"]) == {"outcome": "IGNORED"}
    asked = visited.nginx.requests()
    assert {request.split()[1] for request in asked} >= {FLAGS, "/lever/v1/events"}
    assert [request for request in asked if request.startswith("OPTIONS")] == []
