"""`lever mcp` over a real server, asked by the protocol's own client: on stdio and over HTTP."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import grpc
import pytest
from mcp import Client, StdioServerParameters

from loadtest.rig.server import Server, channel
from service.pb.lever.v1 import experiment_pb2 as epb
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.remote.plain import plain
from tests.rig.lever import HERO
from tests.rig.waiting import eventually

LOOKS = {"list_experiments", "show_experiment", "report", "explain", "history", "evaluate", "plan"}
CHANGES = {"apply", "pause", "resume"}

Talk = Callable[[Client], Awaitable[None]]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose heroes were seen and clicked."""
    with Server(tmp_path_factory.mktemp("assistant")) as made, channel(made.address) as link:
        ExperimentServiceStub(link).PutExperiment(
            epb.PutExperimentRequest(config=HERO + "holdout: {share: 0.2}\n"), timeout=30
        )
        choices = PersonalizationServiceStub(link)
        for i in range(60):
            chosen = choices.Select(pb.SelectRequest(experiment="hero", subject=f"s{i}"), timeout=30)
            if i % 3 == 0:
                choices.Reward(pb.RewardRequest(decision_id=chosen.decision_id), timeout=30)
        eventually(lambda: counted(link) == (60, 20))
        yield made.address


def counted(link: grpc.Channel) -> tuple[int, int]:
    """Trials and rewards that are in the report."""
    totals = ExperimentServiceStub(link).GetReport(epb.GetReportRequest(name="hero"), timeout=30).totals
    return sum(total.trials for total in totals), sum(total.rewarded for total in totals)


def command(address: str, *options: str) -> list[str]:
    return ["-m", "service", "mcp", "--server", address, *options]


def over_stdio(address: str, talk: Talk, *options: str) -> None:
    program = StdioServerParameters(command=sys.executable, args=command(address, *options), env=dict(os.environ))

    async def run() -> None:
        async with Client(program) as client:
            await talk(client)

    anyio.run(run)


@contextmanager
def over_http(address: str) -> Iterator[str]:
    """The address of its tools."""
    with subprocess.Popen(
        [sys.executable, *command(address, "--http", "0")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"at (http://\S+)\. ", process.stdout.readline())
            assert found is not None
            yield found[1]
        finally:
            process.terminate()
    assert process.returncode in (0, -15)


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    found = answer.structured_content
    return found["result"] if isinstance(found, dict) and set(found) == {"result"} else found


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error
    return str(answer.content[0].text)  # type: ignore[union-attr]


def test_what_it_is_asked_is_what_the_server_knows(address: str) -> None:
    with channel(address) as link:
        known = plain(ExperimentServiceStub(link).GetReport(epb.GetReportRequest(name="hero"), timeout=30))

    async def talk(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == LOOKS
        assert all(tool.annotations and tool.annotations.read_only_hint and tool.description for tool in tools)
        assert [one["name"] for one in await call(client, "list_experiments")] == ["hero"]
        assert "algorithm: {name: beta}" in (await call(client, "show_experiment", experiment="hero"))["config"]
        told = await call(client, "report", experiment="hero")
        for part in ("headline", "segments", "totals", "version"):
            assert told[part] == known[part], part
        assert all("buckets" not in lift for lift in told["lifts"])
        reasons = await call(client, "explain", experiment="hero", context={})
        assert sum(arm["probability"] for arm in reasons["arms"]) == pytest.approx(1.0)
        assert (await call(client, "history", experiment="hero"))[0]["what"] == "created"
        planned = await call(client, "plan", experiment="hero", visits=2000, rate=0.2, effect=0.5, days=5)
        assert len(planned["decided"]) == 5

    over_stdio(address, talk)


def test_what_is_wrong_is_said(address: str) -> None:
    async def talk(client: Client) -> None:
        assert "does not exist" in await refused(client, "report", experiment="none")
        assert "rate" in await refused(client, "plan", experiment="hero", visits=10, rate=7, effect=0.1)
        assert "days" in await refused(client, "plan", experiment="hero", visits=10, rate=0.1, effect=0.1, days=9999)
        assert "policy" in await refused(client, "evaluate", experiment="hero", policy="no-such-policy")
        assert "apply" in await refused(client, "apply", config="experiment: other")  # there is no such tool

    over_stdio(address, talk)


def test_changes_where_they_are_allowed(address: str) -> None:
    async def talk(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == LOOKS | CHANGES
        assert not any(tools[name].annotations.read_only_hint for name in CHANGES)  # type: ignore[union-attr]
        config = HERO.replace("experiment: hero", "experiment: banner")
        assert (await call(client, "apply", config=config, expected_version=0))["experiment"]["version"] == 1
        assert (await call(client, "pause", experiment="banner"))["experiment"]["state"] == "paused"
        assert (await call(client, "resume", experiment="banner"))["experiment"]["state"] == "active"
        assert "version" in await refused(client, "apply", config=config + "#\n", expected_version=1)
        assert "line 5: default_arm" in await refused(
            client,
            "apply",
            config="experiment: x\narms:\n  - id: a\n  - id: b\ndefault_arm: c\nmetrics: [{id: m, window: 1h}]\n",
        )

    over_stdio(address, talk, "--allow-changes")


def test_over_http_to_this_machine_alone(address: str) -> None:
    async def talk(url: str) -> None:
        async with Client(url) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == LOOKS
            assert (await call(client, "report", experiment="hero"))["name"] == "hero"

    with over_http(address) as url:
        assert url.startswith("http://127.0.0.1:")
        anyio.run(talk, url)
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for header, value, status in (("Origin", "https://evil.example", 403), ("Host", "evil.example", 421)):
            request = urllib.request.Request(url,  # noqa: S310
                json.dumps(asked).encode(), {
                "Content-Type": "application/json", "Accept": "application/json, text/event-stream", header: value,
            })  # fmt: skip
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20)
            assert error.value.code == status
            error.value.close()


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, *command("127.0.0.1:1", "--http", port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
