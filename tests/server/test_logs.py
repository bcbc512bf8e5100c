"""What the log of a real server says, and what it never says."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from service import logs
from service.pb.lever.v1 import experiment_pb2 as xpb
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc.server import Limits
from service.rpc.status import REQUEST_ID
from service.security.api_keys import Key, new_secret
from tests.rig.credentials import Pair, bearer, certificate, write_certificate, write_keys
from tests.rig.lever import HERO, LOCAL, Lever
from tests.rig.standin import Standin, served
from tests.rig.waiting import answered, eventually

SUBJECT, CONTEXT = "ann@example.com", "burgundy-shoes"  # nobody else would write these
SECRETS = {name: new_secret() for name in ("admin", "site", "stranger")}


class World:
    """A server behind keys and TLS, and what was said to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = {SUBJECT, CONTEXT, *SECRETS.values()}
        self.write_keys()
        pair = certificate("server")
        files = write_certificate(folder, pair)
        config = HERO + "features:\n  colour: {type: category, values: [red]}\n"
        (folder / "hero.yaml").write_text(config)
        self.config = config
        self.lever = Lever(
            folder, "--experiments", str(folder / "hero.yaml"), "--keys-file", str(folder / "keys.yaml"),
            "--tls-cert", str(files.cert), "--tls-key", str(files.key),
        )  # fmt: skip
        self.lever.start()
        self.lever.ready()
        self.channel = self.connect(pair)

    def write_keys(self, *more: Key) -> None:
        admin = Key.of(SECRETS["admin"], "ops-admin", frozenset({"admin", "read"}))
        site = Key.of(SECRETS["site"], "site", frozenset({"decide", "reward"}))
        write_keys(self.folder / "keys.yaml", admin, site, *more)

    def connect(self, pair: Pair) -> grpc.Channel:
        given = grpc.ssl_channel_credentials(pair.cert)
        return grpc.secure_channel(self.lever.address, given, options=[*LOCAL, ("grpc.use_local_subchannel_pool", 1)])

    def lines(self) -> list[dict[str, Any]]:
        """Every line so far, each of which must be JSON; one that is being written is none yet."""
        written = self.lever.said()
        return [json.loads(line) for line in written[: written.rfind("\n") + 1].splitlines()]

    def events(self) -> Counter[str]:
        return Counter(line["event"] for line in self.lines())

    def select(self, key: str = "site", **given: Any) -> pb.SelectResponse:
        context = {"colour": pb.FeatureValue(text=CONTEXT)}
        request = pb.SelectRequest(**{"experiment": "hero", "subject": SUBJECT, "context": context, **given})
        made = PersonalizationServiceStub(self.channel).Select(request, metadata=bearer(SECRETS[key]), timeout=30)
        self.said.add(made.decision_id)
        return made

    def reward(self, decision_id: str, **given: Any) -> int:
        request = pb.RewardRequest(decision_id=decision_id, **given)
        stub = PersonalizationServiceStub(self.channel)
        return int(stub.Reward(request, metadata=bearer(SECRETS["site"]), timeout=30).outcome)

    def kept_quiet(self) -> None:
        """Nothing that was said to the server is in its log."""
        text = self.lever.said()
        assert not [secret for secret in self.said if secret in text]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("logs"))
    try:
        yield made
    finally:
        made.channel.close()
        made.lever.kill()


def refused(call: Callable[[], object], code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is code


DOUBT = "taken, but hardly meant"


def test_a_start_says_what_matters_once(world: World) -> None:
    eventually(lambda: world.events()["ready"] == 1)
    names = [line["event"] for line in world.lines()]
    start = world.lines()[: names.index("ready") + 1]
    promise = "acknowledged rewards survive a crash of any process and a power loss"
    assert names[: len(start)] == [
        "starting",
        promise,
        "the store is reached",
        "experiment created",
        DOUBT,
        "ready",
    ]  # it has no holdout
    lines = {line["event"]: line for line in start}
    assert lines["ready"]["seconds"] > 0
    assert lines["starting"]["settings"]["keys_file"].endswith("keys.yaml")
    assert (lines["experiment created"]["experiment"], lines["experiment created"]["by"]) == ("hero", "supervisor")
    assert lines[promise]["fsync"] == "always"
    assert all(line["timestamp"] for line in start)
    assert {line["event"]: line["level"] for line in start if line["level"] != "info"} == {DOUBT: "warning"}


def test_decisions_rewards_and_wrong_requests_add_no_line(world: World) -> None:
    world.select()
    before = len(world.lines())
    for _ in range(1000):
        made = world.select()
    assert world.reward(made.decision_id) == pb.OUTCOME_APPLIED
    wrong = grpc.StatusCode.INVALID_ARGUMENT
    refused(lambda: world.select(experiment=SUBJECT), grpc.StatusCode.NOT_FOUND)
    refused(lambda: world.select(context={"colour": pb.FeatureValue()}), wrong)
    refused(lambda: world.select(previous_decision_id=CONTEXT * 100), wrong)
    refused(lambda: world.reward(made.decision_id, metric=CONTEXT), grpc.StatusCode.NOT_FOUND)
    refused(lambda: world.reward(made.decision_id[:-4] + "AAAA"), wrong)
    refused(lambda: world.reward(CONTEXT), wrong)
    assert len(world.lines()) == before
    world.kept_quiet()


def test_strangers_are_told_of_in_one_line(world: World) -> None:
    before = world.events()["calls were refused, or trials lost"]
    for _ in range(50):
        refused(lambda: world.select("stranger"), grpc.StatusCode.UNAUTHENTICATED)
    eventually(lambda: denied(world) >= 50)
    assert world.events()["calls were refused, or trials lost"] - before <= 2
    world.kept_quiet()


def test_what_is_no_http_is_told_of_once_in_a_while(world: World) -> None:
    host, port = world.lever.http.rsplit(":", 1)
    for _ in range(100):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"\x16\x03\x01 no request\r\n\r\n")
            assert connection.recv(64).startswith(b"HTTP/1.1 400")
    told = [name for name in world.events().elements() if name.startswith("Invalid HTTP request")]
    assert 1 <= len(told) <= 5  # a line in ten seconds


def denied(world: World) -> int:
    lines = [line for line in world.lines() if line["event"] == "calls were refused, or trials lost"]
    return sum(line["denied"]["UNAUTHENTICATED"] for line in lines)


def test_who_changed_and_deleted_an_experiment(world: World) -> None:
    stub, metadata = ExperimentServiceStub(world.channel), bearer(SECRETS["admin"])
    config = world.config.replace("experiment: hero", "experiment: banner")
    for text in (config, config, config.replace("title: Calm", "title: Quiet")):  # the second one changes nothing
        stub.PutExperiment(xpb.PutExperimentRequest(config=text), metadata=metadata, timeout=30)
    stub.DeleteExperiment(xpb.DeleteExperimentRequest(name="banner"), metadata=metadata, timeout=30)
    told = [(line["event"], line.get("version")) for line in world.lines() if line.get("experiment") == "banner"]
    assert told == [("experiment created", 1), ("experiment updated", 2), ("experiment deleted", None)]
    assert {line["by"] for line in world.lines() if line.get("experiment") == "banner"} == {"ops-admin"}
    past = stub.GetHistory(xpb.GetHistoryRequest(name="banner"), metadata=metadata, timeout=30).events
    assert [(one.what, one.version, one.by) for one in past] == [
        ("deleted", 0, "ops-admin"), ("updated", 2, "ops-admin"), ("created", 1, "ops-admin"),
    ]  # fmt: skip


def test_keys_and_a_certificate_that_are_replaced(world: World) -> None:
    before = world.events()
    world.write_keys(Key.of(SECRETS["stranger"], "stranger", frozenset({"read"})))
    eventually(lambda: world.events()["API keys reloaded"] == before["API keys reloaded"] + 1)
    asked = xpb.GetHistoryRequest(limit=1)
    stub, stranger = ExperimentServiceStub(world.channel), bearer(SECRETS["stranger"])
    # What is logged is written into the history a moment later.
    eventually(
        lambda: [e.what for e in stub.GetHistory(asked, metadata=stranger, timeout=30).events] == ["API keys changed"]
    )
    (past,) = stub.GetHistory(asked, metadata=stranger, timeout=30).events
    assert (past.what, past.by, past.experiment) == ("API keys changed", "the file of keys", "")
    assert past.detail == "added stranger"
    (world.folder / "keys.yaml").write_text(f"keys:\n  - {{name: site, hash: {SECRETS['site']}, scopes: [read]}}\n")
    eventually(lambda: world.events()["the API keys were not reloaded; the old ones stay"] == 1)
    pair = certificate("server")
    write_certificate(world.folder, pair)
    with world.connect(pair) as channel:
        grpc.channel_ready_future(channel).result(30)
    assert world.events()["certificate reloaded"] == before["certificate reloaded"] + 1
    world.write_keys()
    world.channel.close()
    world.channel = world.connect(pair)
    world.kept_quiet()


def test_a_store_that_goes_away_and_comes_back(world: World) -> None:
    before = world.events()
    away, back = "the store is away; choices go on from the last snapshot", "the store is reached"
    (engine,) = world.lever.children("valkey")
    made = world.select()
    os.kill(engine, signal.SIGSTOP)
    try:
        eventually(lambda: world.events()[away] == before[away] + 1)
        refused(lambda: world.reward(made.decision_id), grpc.StatusCode.UNAVAILABLE)
        assert world.select().stale
    finally:
        os.kill(engine, signal.SIGCONT)
    eventually(lambda: world.events()[back] == before[back] + 1)
    assert eventually(lambda: answered(lambda: world.reward(made.decision_id)))
    assert world.events()[away] == before[away] + 1
    world.kept_quiet()


def test_a_worker_that_dies_and_the_end(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        (worker,) = world.lever.children("service.server.worker")
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: world.events()["a child is ready again"] == 1)
        assert world.events()["a child ended unasked and starts again"] == 1
        assert world.lever.stop() == 0
        ends = [line["event"] for line in world.lines()][-4:]
        assert ends == ["stopping", "stopping: flushing trials", "stopped", "stopped"]
        levels = {line["event"]: line["level"] for line in world.lines()}
        assert levels["a child ended unasked and starts again"] == "error"
    finally:
        world.channel.close()
        world.lever.kill()


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The log of this process."""
    out = io.StringIO()
    logs.configure("info", "true", out)
    try:
        yield out
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()


@pytest.mark.parametrize("choices", [0, 4])
def test_a_fault_of_ours_is_found_by_the_id_that_the_caller_has(written: io.StringIO, choices: int) -> None:
    request = pb.SelectRequest(experiment="broken", subject=SUBJECT, context={"colour": pb.FeatureValue(text=CONTEXT)})
    with served(Standin(), Limits(choices=choices)) as (channel, _):
        stub = PersonalizationServiceStub(channel)

        def answer(*metadata: tuple[str, str]) -> str:
            with pytest.raises(grpc.RpcError) as caught:
                stub.Select(request, metadata=metadata, timeout=20)
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            trailing: Any = caught.value.trailing_metadata()
            told = str(dict(trailing)[REQUEST_ID])
            assert caught.value.details() == f"internal error, incident {told}"
            return told

        assert answer((REQUEST_ID, "order-17.a:b")) == "order-17.a:b"
        made = answer()
        other = answer((REQUEST_ID, f"{SUBJECT} bought {CONTEXT}"))  # no name: it may be anything
        (result,) = next(stub.StreamRewards(iter([broken_rewards()]), timeout=20)).results
        assert result.message.startswith("internal error, incident ")
        streamed = result.message.rpartition(" ")[2]
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["request_id"] for line in lines] == ["order-17.a:b", made, other, streamed]
    assert {(line["event"], line["level"]) for line in lines} == {("incident", "error")}
    for line in lines:
        assert "RuntimeError\n" in line["exception"]
        assert "standin.py" in line["exception"]
    for secret in (SUBJECT, CONTEXT, "secret detail of the inside", "abcdefgh"):
        assert secret not in written.getvalue()


def broken_rewards() -> pb.StreamRewardsRequest:
    return pb.StreamRewardsRequest(rewards=[pb.RewardRequest(decision_id="abcdefgh", metric="broken")])


def test_what_an_exception_says_stays_out_and_what_the_machine_says_stays_in(written: io.StringIO) -> None:
    def fail() -> None:
        try:
            {"": 0}[SUBJECT]
        except KeyError as error:
            raise OSError(28, "No space left on device") from error

    try:
        fail()
    except OSError:
        structlog.get_logger("lever.test").exception("a turn failed")
    (line,) = (json.loads(line) for line in written.getvalue().splitlines())
    assert "No space left on device" in line["exception"]
    assert "caused by KeyError\n" in line["exception"]
    assert SUBJECT not in written.getvalue()
