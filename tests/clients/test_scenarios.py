"""The same stories told to every client: what the server counted is what was made, or the caller was told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtest.rig.proxy import Proxy
from tests.rig.clients import golang
from tests.rig.clients import node as nodes
from tests.rig.clients.driven import Driven, driven, python
from tests.rig.experiments import HERO
from tests.rig.pages import files
from tests.rig.programs import program
from tests.rig.site import Site, site
from tests.rig.waiting import eventually

CLIENTS = ("grpc", "openfeature", "node", "web", "go")
STORIES = ("poison", "away", "hang", "slow", "page", "gone", "fork", "taken")
SLOW_S = 0.4
# What a site's own proxy may say in the place of a Lever that is away: Next.js's and a worker's page, JSON of somebody
# else, an answer that is cut.
NOT_LEVER = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 5\r\nconnection: close\r\n\r\nsorry",
    b'HTTP/1.1 502 Bad Gateway\r\ncontent-length: 17\r\nconnection: close\r\n\r\n{"error": "away"}',
    b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n20\r\n{"results":',
)
AWAY_S = 1.2  # several attempts of every client fail; ten seconds show no more


@pytest.fixture(scope="module")
def lever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    texts = {f"{story}-{client}": HERO.replace("hero", f"{story}-{client}") for client in CLIENTS for story in STORIES}
    with site(tmp_path_factory.mktemp("clients"), texts) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Where Node finds its packages, and that folder's address for a browser."""
    made = nodes.workspace(tmp_path_factory.mktemp("node"))
    (made / "modules.html").write_bytes((nodes.HERE / "modules.html").read_bytes())
    with files(made) as origin:
        yield made, f"{origin}/modules.html"


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver in Go, built once."""
    return golang.driver(tmp_path_factory.mktemp("go"))


@dataclass
class Story:
    """A client, the network between it and Lever, and what the server says of its experiment."""

    lever: Site
    proxy: Proxy
    start: Callable[[], AbstractContextManager[Driven]]
    experiment: str
    checks_types: bool  # by its compiler: a value is a number

    def rewarded(self) -> int:
        return sum(rewarded for _, rewarded in self.lever.trials(self.experiment).values())

    def counted(self, events: int) -> None:
        """The server comes to this number of rewarded trials, and stays there."""
        eventually(lambda: self.rewarded() == events)

    def outcomes(self, outcome: str) -> int:
        """How many events of the experiment ended so, by the server's metrics; they are told once a second."""
        page = self.lever.call("GET", "/metrics", address=self.lever.http).body.decode()
        line = rf'lever_rewards_total\{{experiment="{self.experiment}",outcome="{outcome}"\}} (\S+)'
        return int(sum(float(found) for found in re.findall(line, page)))


@pytest.fixture(params=CLIENTS)
def story(request: pytest.FixtureRequest, lever: Site, folder: tuple[Path, str]) -> Iterator[Story]:
    client = request.param
    name = f"{request.function.__name__.split('_')[1]}-{client}"
    proxy = Proxy(lever.grpc if client in ("grpc", "go") else lever.web)
    where, modules = folder
    built = str(request.getfixturevalue("go")) if client == "go" else ""

    def start() -> AbstractContextManager[Driven]:
        if client in ("grpc", "openfeature"):
            command = python(f"python_{client}.py", proxy.address, name)
        elif client == "go":
            command = [built, proxy.address, name]
        elif client == "node":
            command = [program("node"), "node_server.mjs", proxy.address, name]
        else:
            command = [program("node"), "web.mjs", proxy.address, name, program("chromium"), modules]
        return driven(command, where)

    yield Story(lever, proxy, start, name, checks_types=client == "go")
    proxy.close()


def test_poison_in_the_middle_costs_nothing_else(story: Story) -> None:
    with story.start() as client:
        before, between, after = client.choose("a", "b", "c")
        client.ask("track", decision=before)
        for odd, field in (
            ("value:nan", "value"), ("value:object", "value"), ("value:flag", "value"), ("metric:long", "(metric|name|tracking_event_name)"),
            ("metric:half", "(metric|name|tracking_event_name)"),
        ):  # fmt: skip
            if story.checks_types and odd in ("value:object", "value:flag"):
                continue
            assert re.match(rf"{field}: ", client.ask("track", decision=between, odd=odd)["refused"]), odd
        assert client.ask("track", decision=between, value="1e999")["refused"].startswith("value: ")
        client.ask("track", decision="no decision of Lever")  # only the server can tell
        client.ask("track", decision=between, metric="click", value="1.0")
        client.ask("track", decision=between, metric="revenue", value="49.90")
        client.ask("track", decision=after)
        assert not client.ask("flush", seconds=20)["done"]
        assert client.lost() in (
            1,
            7,
        )  # JavaScript counts what it refused itself: its SDK keeps the error from the caller
        assert client.ask("flush", seconds=20)["done"]
        story.counted(3)


def test_away_server_gets_everything_once_it_is_back(story: Story) -> None:
    with story.start() as client:
        decisions = client.choose(*(f"s{i}" for i in range(20)))
        client.ask("flush", seconds=20)
        story.proxy.refusing = True
        story.proxy.cut()
        for decision in decisions:
            client.ask("track", decision=decision)
        assert not client.ask("flush", seconds=AWAY_S)["done"]
        assert client.ask("choose", subject="nobody")["decision"] == ""
        story.proxy.refusing = False
        assert client.ask("flush", seconds=30)["done"]
        assert client.lost() == 0
        story.counted(len(decisions))


def test_hang_shows_the_default(story: Story) -> None:
    """A server that takes a connection and says nothing: a choice ends while it is still silent."""
    with story.start() as client:
        (decision,) = client.choose("a")
        story.proxy.silent = True
        begun = time.monotonic()
        assert client.ask("choose", subject="b")["decision"] == ""
        assert time.monotonic() - begun < 5  # the stock providers wait ten seconds, or for ever
        client.ask("track", decision=decision)
        story.proxy.silent = False
        assert client.ask("flush", seconds=30)["done"]
        story.counted(1)


def test_slow_network_loses_nothing(story: Story) -> None:
    """Every answer comes later than a choice waits: the default is shown, and each event counts once."""
    with story.start() as client:
        decisions = client.choose(*(f"s{i}" for i in range(20)))
        assert client.ask("flush", seconds=20)["done"]
        story.proxy.delay_s = SLOW_S
        assert client.ask("choose", subject="late")["decision"] == ""
        for decision in decisions:
            client.ask("track", decision=decision)
        assert client.ask("flush", seconds=30)["done"]
        assert client.lost() == 0
        story.counted(len(decisions))


def test_page_of_a_proxy_is_no_verdict(story: Story) -> None:
    """The site's own proxy answers for a Lever that is away: what waits goes on waiting."""
    with story.start() as client:
        decisions = client.choose("a", "b", "c")
        client.ask("flush", seconds=20)
        story.proxy.refusing = True
        story.proxy.cut()
        for decision, answer in zip(decisions, NOT_LEVER, strict=True):
            story.proxy.answering = answer
            client.ask("track", decision=decision)
            assert not client.ask("flush", seconds=0.8)["done"]
        assert client.ask("choose", subject="nobody")["decision"] == ""
        story.proxy.refusing = False
        assert client.ask("flush", seconds=30)["done"]
        assert client.lost() == 0
        story.counted(len(decisions))


def test_gone_server_is_told_of_at_close(story: Story) -> None:
    with story.start() as client:
        decisions = client.choose("a", "b", "c")
        client.ask("flush", seconds=20)
        story.proxy.refusing = True
        story.proxy.cut()
        for decision in decisions:
            client.ask("track", decision=decision)
        assert not client.ask("close", seconds=0.3)["done"]
        assert client.lost() == len(decisions)
        client.ask("track", decision=decisions[0])
        assert client.lost() == len(decisions) + 1
    assert story.rewarded() == 0


@pytest.mark.parametrize("story", ["grpc", "openfeature", "node", "go"], indirect=True)
def test_taken_back_clicks_do_not_count(story: Story) -> None:
    """Before or after they come, and whatever is sent twice; a public key may not, so the web client cannot."""
    with story.start() as client:
        scanned, read, early = client.choose("scanned", "read", "early")
        client.ask("event", decision=early, event="s", retract=True)
        for decision in (scanned, read, early):
            client.ask("event", decision=decision, event="s")
        assert client.ask("flush", seconds=20)["done"]
        for _ in range(2):
            client.ask("event", decision=scanned, event="s", retract=True)
            client.ask("event", decision=scanned, event="s")
        assert client.ask("flush", seconds=20)["done"]
        assert client.lost() == 0
        story.counted(1)


@pytest.mark.parametrize("story", ["grpc", "openfeature"], indirect=True)
def test_fork_sends_the_childs_and_the_parents_once(story: Story) -> None:
    with story.start() as client:
        decisions = client.choose(*(f"p{i}" for i in range(5)))
        assert client.ask("flush", seconds=20)["done"]
        for decision in decisions:  # they wait, and one child after the other has a copy of them
            client.ask("track", decision=decision)
        for child in range(3):
            assert client.ask("fork", subjects=[f"c{child}-{i}" for i in range(4)]) == {"status": 0}
        assert client.ask("flush", seconds=20)["done"]
        assert client.lost() == 0
        story.counted(5 + 3 * 4)
        eventually(lambda: story.outcomes("APPLIED") == 5 + 3 * 4)
        assert story.outcomes("DUPLICATE") == 0
