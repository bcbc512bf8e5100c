"""The dashboard asks for what Lever exports, and a real Prometheus that scrapes a real Lever answers every query.

About 45 s. `LEVER_WRITE_DASHBOARD=1 pytest tests/deploy/test_dashboard.py` writes the table of docs/dashboard.md.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.rig.server import Server, channel, free_ports
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from tests.rig.panels import Query, dashboard, exported, kept, number, panels, queries, table, uses
from tests.rig.programs import ROOT
from tests.rig.ruleset import FOLDER

QUERIES = queries()
PAGE = ROOT / "docs" / "dashboard.md"
MARK = "<!-- table -->\n"
EXPERIMENTS = ("homepage-hero", "cart-offer", "thursday-letter")
SCRAPED_S = 20.0  # of traffic before Prometheus is asked
INTERVAL = "10s"
DEADLINE_S = 60.0
ROWS = ["Is it healthy?", "What is it choosing?", "What is it learning?"]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_query_asks_for_what_is_exported(query: Query) -> None:
    known = exported()
    used = list(uses(query.asked()))
    assert used
    for series, labels in used:
        assert series in known
        assert labels <= known[series]
    shown = {part.split("}}")[0] for part in query.legend.split("{{")[1:]}
    assert shown <= kept(query.asked())


def test_three_rows_and_no_panel_twice() -> None:
    assert [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"] == ROWS
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])
    assert len({panel["title"] for panel in panels()}) == len(panels())


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["type"] == "stat" or all(target["legendFormat"] for target in panel["targets"])


def test_no_panel_stands_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_the_table_has_these_panels() -> None:
    lines = [line.split(" | ") for line in PAGE.read_text().split(MARK)[1].splitlines()[2:]]
    asked = [(line[0].removeprefix("| "), line[1].strip("`").replace("\\|", "|")) for line in lines if len(line) == 4]
    told = [(name, expr) for name, expr in asked if not name.startswith("**")]
    assert told == [(query.name, query.expr) for query in QUERIES]


@contextlib.contextmanager
def scraping(program: str, folder: Path, target: str) -> Iterator[str]:
    """Prometheus with the shipped file, its target and intervals apart. Yields its address."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    del config["rule_files"]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def visit(stub: PersonalizationServiceStub, web: str, turn: int) -> None:
    """What a site does in a moment: choices of each kind, rewards for some, a few with a feature nobody declared."""
    for name in EXPERIMENTS:
        subjects = [f"s{turn}-{i}" for i in range(40)]
        for one in subjects[:10]:
            stub.Select(pb.SelectRequest(experiment=name, subject=one, context=context(turn)), timeout=30)
        made = stub.SelectBatch(pb.SelectBatchRequest(experiment=name, subjects=subjects), timeout=30)
        rewards = [pb.RewardRequest(decision=one) for one in made.decision_ids[: 4 + turn % 8]]
        for _ in stub.StreamRewards(iter([pb.StreamRewardsRequest(rewards=rewards)]), timeout=30):
            pass
    link = http.client.HTTPConnection(web, timeout=30)
    with contextlib.closing(link):
        body = {"subject": f"web{turn}", "experiments": list(EXPERIMENTS)}
        link.request("POST", "/v1/select", json.dumps(body), {"content-type": "application/json"})
        assert link.getresponse().status == 200


def context(turn: int) -> dict[str, pb.FeatureValue]:
    """A returning visitor now and then, and now and then a word that no experiment knows."""
    known = {"returning": pb.FeatureValue(flag=bool(turn % 2)), "industry": pb.FeatureValue(text="software")}
    return known | ({"shoe_size": pb.FeatureValue(number=44)} if turn % 5 == 0 else {})


def ask(prometheus: str, query: Query) -> list[dict[str, Any]]:
    """The series of the last ten seconds, those that are numbers at the end."""
    now = time.time()
    asked = {"query": query.asked("|".join(EXPERIMENTS), INTERVAL), "start": now - 10, "end": now, "step": 1}
    try:
        with urllib.request.urlopen(
            f"http://{prometheus}/api/v1/query_range?{urllib.parse.urlencode(asked)}", timeout=30
        ) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        pytest.fail(f"{query.name}: {error.read().decode()}")
    return [series for series in found if number(series["values"][-1][1]) > float("-inf")]


def answered(prometheus: str, site: Server, web: str) -> dict[Query, list[dict[str, Any]]]:
    """Every query's series, as soon as all have some, under traffic all the while."""
    begun, turn = time.monotonic(), 0
    answers: dict[Query, list[dict[str, Any]]] = {}
    with channel(site.address) as link:
        stub = PersonalizationServiceStub(link)
        while True:
            visit(stub, web, turn)
            turn += 1
            time.sleep(0.1)
            passed = time.monotonic() - begun
            if passed > SCRAPED_S and turn % 5 == 0:
                answers = {query: ask(prometheus, query) for query in QUERIES}
                if all(answers.values()) or passed > DEADLINE_S:
                    return answers


def test_every_query_is_answered(prometheus: str, tmp_path: Path) -> None:
    options = ["--web-port", "0", "--experiments", str(ROOT / "deploy" / "examples")]
    with Server(tmp_path / "lever", *options) as site, scraping(prometheus, tmp_path, site.http) as url:
        answers = answered(url, site, site.web)
    silent = [query.name for query, series in answers.items() if not series]
    assert not silent, silent
    if os.environ.get("LEVER_WRITE_DASHBOARD"):
        PAGE.write_text(PAGE.read_text().split(MARK)[0] + MARK + table(answers))
