"""What a running server exports: two workers, an web port and an engine of their own, read as Prometheus would."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.pb.lever.v1 import experiment_pb2, personalization_pb2
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.security.api_keys import Key, new_secret
from service.store.embedded import Embedded
from service.telemetry.metric_families import FAMILIES
from tests.rig.programs import ROOT
from tests.rig.site import Site, site
from tests.rig.waiting import eventually

CONFIG = """\
experiment: {name}
arms: [{{id: calm}}, {{id: loud}}]
default_arm: calm
features:
  visits: {{type: number, min: 0, max: 10}}
  staff: {{type: flag}}
segments:
  - {{id: staff, when: {{staff: true}}, serve: default}}
metrics: [{{id: click, window: 1h}}]
"""
HISTOGRAM = re.compile(r"_(bucket|sum|count)$")
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|[^|]+\|([^|]*)\|$", re.MULTILINE)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass
class Scraped:
    """A server, its engine and a key for everything."""

    site: Site
    engine: Embedded
    key: str

    def families(self) -> list[Any]:
        page = self.site.call("GET", "/metrics", address=self.site.http)
        assert page.status == 200
        return list(text_string_to_metric_families(page.body.decode()))

    def samples(self) -> Samples:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families()
            for sample in family.samples
        }

    def sum(self, name: str, **labels: str) -> float:
        """All samples of this name that have these labels; -1 where there are none."""
        found = [v for (n, have), v in self.samples().items() if n == name and labels.items() <= dict(have).items()]
        return sum(found) if found else -1.0

    def auth(self) -> Any:
        return (("authorization", f"Bearer {self.key}"),)

    def select(self, experiment: str, *, reward: bool = False, **features: float) -> None:
        """A choice on a connection of its own, so that both workers get some."""
        context = {name: personalization_pb2.FeatureValue(number=value) for name, value in features.items()}
        request = personalization_pb2.SelectRequest(experiment=experiment, subject="ann", context=context)
        with grpc.insecure_channel(self.site.grpc, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
            stub = PersonalizationServiceStub(channel)
            made = stub.Select(request, timeout=20, metadata=self.auth())
            if reward:
                event = personalization_pb2.RewardRequest(decision_id=made.decision_id)
                stub.Reward(event, timeout=20, metadata=self.auth())

    def known(self, experiment: str) -> bool:
        """Whether the worker that was asked knows it by now; if so it made a choice."""
        try:
            self.select(experiment)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error  # noqa: PT017
            return False
        return True

    def teach(self, name: str) -> None:
        """Enough history to say which arm is the best."""
        rows = "arm,reward\n" + "calm,1\ncalm,0\nloud,1\n" * 40
        with grpc.insecure_channel(self.site.grpc) as channel:
            asked = experiment_pb2.WarmStartRequest(name=name, csv=rows)
            ExperimentServiceStub(channel).WarmStart(asked, timeout=60, metadata=self.auth())

    def put(self, name: str, more: str = "") -> None:
        """One more experiment; workers learn of it by polling."""
        with grpc.insecure_channel(self.site.grpc) as channel:
            asked = experiment_pb2.PutExperimentRequest(config=CONFIG.format(name=name) + more)
            ExperimentServiceStub(channel).PutExperiment(asked, timeout=20, metadata=self.auth())

    def measured(self) -> None:
        """An experiment with a holdout, and visitors enough that a report says what it is worth."""
        self.put("measured", "holdout: {share: 0.5}\n")
        eventually(lambda: self.known("measured"))
        with grpc.insecure_channel(self.site.grpc) as channel:
            stub = PersonalizationServiceStub(channel)
            for visitor in range(400):
                asked = personalization_pb2.SelectRequest(experiment="measured", subject=f"v{visitor}")
                made = stub.Select(asked, timeout=20, metadata=self.auth(), wait_for_ready=True)
                if visitor % 2:
                    event = personalization_pb2.RewardRequest(decision_id=made.decision_id)
                    stub.Reward(event, timeout=20, metadata=self.auth())


LIFTS = {"lever_lift", "lever_lift_low", "lever_lift_high"}  # take a holdout, and visitors


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder, key = tmp_path_factory.mktemp("metrics"), new_secret()
    keys = folder / "keys.yaml"
    keys.write_text(f"keys:\n{Key.of(key, 'all', frozenset({'decide', 'reward', 'admin', 'read'})).line()}\n")
    engine = Embedded(folder / "store")
    engine.start()
    options = ("--workers", "2", "--redis-url", engine.url, "--keys-file", str(keys))
    try:
        with site(folder, {"hero": CONFIG.format(name="hero")}, *options, key=key) as made:
            yield Scraped(made, engine, key)
    finally:
        engine.stop()


def table() -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """The table of docs/metrics.md: type, labels and alerts by name."""
    rows = ROW.findall((ROOT / "docs/metrics.md").read_text())
    return {
        name: (kind, tuple(re.findall(r"\w+", labels)), tuple(alerts.split())) for name, kind, labels, alerts in rows
    }


def test_the_table_is_what_a_server_exports(server: Scraped) -> None:
    server.select("hero", reward=True)
    server.teach("hero")
    server.measured()
    server.site.flag("hero", "ann")
    assert server.site.call("GET", "/metrics", address=server.site.http, authorization="").status == 401
    with grpc.insecure_channel(server.site.grpc) as channel, pytest.raises(grpc.RpcError):
        PersonalizationServiceStub(channel).Select(personalization_pb2.SelectRequest(experiment="hero"), timeout=20)
    exported: dict[str, tuple[str, set[str]]] = {}

    def all_there() -> bool:
        for family in server.families():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            exported[name] = (family.type, labels)
        labelled = {name for name, family in FAMILIES.items() if family.labels}
        return all(labels for name, (_, labels) in exported.items() if name in labelled)

    eventually(all_there, 40)
    told = {name: (kind, set(labels)) for name, (kind, labels, _) in table().items()}
    assert told == exported


def test_the_table_has_the_order_of_labels() -> None:
    assert {name: (kind, labels) for name, (kind, labels, _) in table().items()} == {
        name: (family.kind, family.labels) for name, family in FAMILIES.items()
    }


def test_the_table_names_the_alerts_that_use_a_family() -> None:
    folder = ROOT / "deploy/prometheus"
    rules = {name: groups(folder / name) for name in ("rules.yml", "alerts.yml")}
    recorded = {rule["record"]: rule["expr"] for rule in rules["rules.yml"]}

    def families(expression: str) -> set[str]:
        words = set(re.findall(r"[a-zA-Z_][\w:]*", expression))
        below = [families(recorded[word]) for word in words if word in recorded]
        return {HISTOGRAM.sub("", word) for word in words}.intersection(FAMILIES).union(*below)

    used: dict[str, set[str]] = {name: set() for name in FAMILIES}
    for rule in rules["alerts.yml"]:
        for name in families(rule["expr"]):
            used[name].add(rule["alert"])
    assert {name: tuple(sorted(alerts)) for name, alerts in used.items()} == {n: row[2] for n, row in table().items()}


def groups(path: Path) -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def test_workers_and_the_web_process_are_one_sum(server: Scraped) -> None:
    server.put("sums")
    for turn in range(10):
        eventually(lambda: server.known("sums"))
        eventually(lambda turn=turn: server.site.flag("sums", f"s{turn}").status == 200)  # type: ignore[misc]
    eventually(lambda: server.sum("lever_decisions_total", experiment="sums") == 20)
    eventually(lambda: server.sum("lever_worker_ready") == 3)


def test_what_alerts_look_at_moves(server: Scraped) -> None:
    counts: dict[str, dict[str, str]] = {
        "lever_features_clipped_total": {"experiment": "hero"},
        "lever_features_unknown_total": {"experiment": "hero"},
        "lever_rewards_total": {"experiment": "hero", "outcome": "APPLIED"},
        "lever_reward_delay_seconds_count": {},
        "lever_store_seconds_count": {"call": "reward"},
        "grpc_server_handling_seconds_count": {"grpc_method": "Select"},
        "grpc_server_handled_total": {"grpc_method": "Select", "grpc_code": "NOT_FOUND"},
        "lever_denied_total": {"reason": "UNAUTHENTICATED"},
    }
    before = {name: max(server.sum(name, **labels), 0) for name, labels in counts.items()}
    server.select("hero", reward=True, visits=50, nobody=1)
    assert not server.known("nothing")
    with grpc.insecure_channel(server.site.grpc) as channel, pytest.raises(grpc.RpcError):
        PersonalizationServiceStub(channel).Select(personalization_pb2.SelectRequest(experiment="hero"), timeout=20)
    eventually(lambda: all(server.sum(name, **labels) > before[name] for name, labels in counts.items()))


def test_ages_grow_while_the_store_is_frozen(server: Scraped) -> None:
    ages = ("lever_snapshot_age_seconds", "lever_checkpoint_age_seconds", "lever_flush_age_seconds")
    eventually(lambda: server.sum("lever_store_up") == 1 and all(0 <= server.sum(age) < 3 for age in ages))
    failed = server.sum("lever_store_errors_total", call="poll", kind="UnreachableError")
    pid = server.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        server.site.flag("hero", "waits in the buffer")
        eventually(lambda: server.sum("lever_store_up") == 0 and all(server.sum(age) > 3 for age in ages))
        seen = [server.sum(age) for age in ages]
        eventually(lambda: all(server.sum(age) > old + 1 for age, old in zip(ages, seen, strict=True)))
        eventually(lambda: server.sum("lever_store_errors_total", call="poll", kind="UnreachableError") > failed)
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: server.sum("lever_store_up") == 1 and all(0 <= server.sum(age) < 3 for age in ages), 40)


def test_gauges_come_and_go_with_an_experiment(server: Scraped) -> None:
    def gauges(name: str) -> set[str]:
        return {n for n, labels in server.samples() if FAMILIES.get(n, FAMILIES["lever_rewards_total"]).kind == "gauge"
                and ("experiment", name) in labels}  # fmt: skip

    every = {name for name, family in FAMILIES.items() if family.kind == "gauge" and "experiment" in family.labels}
    every -= LIFTS
    server.put("brief")
    eventually(lambda: server.known("brief"))
    assert server.sum("lever_probability_best", experiment="brief") == -1  # too early to say
    server.teach("brief")
    eventually(lambda: gauges("brief") == every, 40)
    assert server.sum("lever_probability_best", experiment="brief", segment="default") == pytest.approx(1)
    assert server.sum("lever_probability_best", experiment="brief", segment="staff") == -1  # it does not learn
    with grpc.insecure_channel(server.site.grpc) as channel:
        asked = experiment_pb2.DeleteExperimentRequest(name="brief", expected_version=1)
        ExperimentServiceStub(channel).DeleteExperiment(asked, timeout=20, metadata=server.auth())
    eventually(lambda: not gauges("brief"))
    assert server.sum("lever_decisions_total", experiment="brief") == 1
