"""Real `lever serve` trees: a worker is killed under load, a store dies and forgets, and commands that repair."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis

from loadtest.endurance.faults import settle
from loadtest.endurance.site import CONFIG, Account, Callers, Site
from loadtest.endurance.site import site as site_of
from loadtest.rig.agreement import differences, disagreements, served
from loadtest.rig.server import channel
from service.analysis.log_table import entries
from service.pb.lever.v1 import experiment_pb2
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.store.redis import RedisStore
from tests.rig.programs import ROOT
from tests.rig.waiting import eventually


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of(tmp_path) as built:
        yield built


def lever(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)


def select(stub: PersonalizationServiceStub) -> pb.SelectResponse:
    return stub.Select(pb.SelectRequest(experiment="chaos", subject="ann"), timeout=30)


@pytest.mark.long
def test_killed_workers_and_stores_under_load(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    callers = Callers(site.servers, account, 2)
    for _ in range(2):
        from loadtest.endurance.faults import store_killed, worker_killed

        worker_killed(site)
        store_killed(site)
    callers.stop()
    kinds, wrong, proof = settle(site, account)
    assert not wrong
    assert kinds["missing"].total() == kinds["double"].total() == 0
    assert not account.errors
    assert proof["rewards"] == len(account.acked)


@pytest.mark.timeout(400)  # trees that may have to compile their kernels first
def test_a_server_starts_without_its_store_and_what_a_flushed_store_lost_is_restored_or_given_up(site: Site) -> None:
    """One tree through it all, as starting trees takes seconds. About 25 s."""
    store_url = site.store.url
    with channel(site.servers[0].address) as link:
        stub = PersonalizationServiceStub(link)
        kept = select(stub)
        assert stub.Reward(pb.RewardRequest(decision_id=kept.decision_id), timeout=30).outcome == pb.OUTCOME_APPLIED
    proof = json.loads(lever("verify", "--redis-url", site.proxy.url, "--json").stdout)[0]
    assert (proof["name"], proof["rewards"], proof["faults"]) == ("chaos", 1, [])

    # Down with everything; one server comes back before the store does.
    site.store.stop()
    first, second = site.servers
    assert first.stop() in (0, 1)
    first.start()
    first.ready()
    with channel(first.address) as link:
        stub = PersonalizationServiceStub(link)
        made = select(stub)
        assert made.stale
        with pytest.raises(grpc.RpcError) as refused:
            stub.Reward(pb.RewardRequest(decision_id=made.decision_id), timeout=30)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert b"RetryInfo" in str(refused.value.trailing_metadata()).encode()
        site.store.start()
        assert site.store.url == store_url
        eventually(lambda: not select(stub).stale)

        flush(site)
        eventually(lambda: "lost" in _reward(stub, made.decision_id))
        assert select(stub).arm in "abcd"
    restored = lever("restore", "chaos", "--server", first.address)
    assert restored.returncode == 0, restored.stderr
    with channel(second.address) as link:
        stub = PersonalizationServiceStub(link)
        eventually(lambda: _reward(stub, made.decision_id) == "LATE")
        again = select(stub)
        eventually(lambda: _reward(stub, again.decision_id) in ("APPLIED", "DUPLICATE"))
    checked = lever("verify", "--redis-url", site.proxy.url)
    assert checked.returncode == 0, checked.stderr
    refused_again = lever("accept-loss", "chaos", "--yes", "--server", first.address)
    assert refused_again.returncode == 1
    assert "has not lost" in refused_again.stderr

    flush(site)
    with channel(first.address) as here, channel(second.address) as there:
        stubs = [PersonalizationServiceStub(link) for link in (here, there)]
        for stub in stubs:
            eventually(lambda stub=stub: "lost" in _reward(stub, made.decision_id))  # type: ignore[misc]
        given_up = lever("accept-loss", "chaos", "--yes", "--server", second.address)
        assert given_up.returncode == 0, given_up.stderr
        assert "chaos is forgotten" in given_up.stdout
        for stub in stubs:
            eventually(lambda stub=stub: unknown(stub))  # type: ignore[misc]
        request = experiment_pb2.PutExperimentRequest(config=CONFIG)
        made_anew = ExperimentServiceStub(here).PutExperiment(request, timeout=30).experiment
        assert made_anew.version == 1  # the name is free
        eventually(lambda: not unknown(stubs[1]))


def flush(site: Site) -> None:
    with redis.Redis(unix_socket_path=site.store.url.removeprefix("unix://"), protocol=2) as raw:
        raw.flushall()


def unknown(stub: PersonalizationServiceStub) -> bool:
    """Whether the server knows no such experiment."""
    try:
        select(stub)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.NOT_FOUND
    return False


def _reward(stub: PersonalizationServiceStub, decision_id: str) -> str:
    try:
        outcome = stub.Reward(pb.RewardRequest(decision_id=decision_id), timeout=30).outcome
    except grpc.RpcError as error:
        return str(error.details()) + str(error.trailing_metadata()).lower()
    return pb.Outcome.Name(outcome).removeprefix("OUTCOME_")


def test_export_and_import_from_the_terminal(site: Site, tmp_path: Path) -> None:
    with channel(site.servers[0].address) as link:
        stub = PersonalizationServiceStub(link)
        for _ in range(20):
            made = select(stub)
        assert _reward(stub, made.decision_id) == "APPLIED"
    file = tmp_path / "chaos.lever"
    done = lever("export", "chaos", "--out", str(file), "--redis-url", site.proxy.url)
    assert done.returncode == 0, done.stderr
    refused = lever("import", str(file), "--redis-url", site.proxy.url)
    assert refused.returncode == 1
    assert "already" in refused.stderr
    assert lever("delete", "chaos", "--yes", "--server", site.servers[0].address).returncode == 0
    done = lever("import", str(file), "--redis-url", site.proxy.url)
    assert done.returncode == 0, done.stderr
    assert lever("verify", "-e", "chaos", "--redis-url", site.proxy.url).returncode == 0
    cut = tmp_path / "cut.lever"
    cut.write_bytes(file.read_bytes()[:-1])
    assert "checksum" in lever("import", str(cut), "--redis-url", site.proxy.url).stderr


def test_a_worker_is_killed_and_the_other_server_goes_on(site: Site) -> None:
    victim, other = site.servers
    before = served(other.address, "chaos")
    with channel(other.address) as link:
        stub = PersonalizationServiceStub(link)
        made = select(stub)
        for pid in victim.workers():
            os.kill(pid, signal.SIGKILL)
        assert all(select(stub).arm in "abcd" for _ in range(50))
        assert _reward(stub, made.decision_id) == "APPLIED"
    victim.ready()
    with channel(victim.address) as link:
        assert _reward(PersonalizationServiceStub(link), made.decision_id) == "DUPLICATE"
    # From then on both serve one snapshot, which is not that of before.
    addresses = [server.address for server in site.servers]
    store = RedisStore(site.store.url)
    (uid,) = store.poll({}).registry.values()
    eventually(lambda: not disagreements(addresses, "chaos", list(entries(store, uid))[-1].id))
    store.close()
    after = served(victim.address, "chaos")
    assert differences([after, before], after.log_id) == [
        f"{other.address} serves the log up to {before.log_id}, not {after.log_id}",
        "the servers' snapshots differ: their reports are not the same bits",
        "the servers' snapshots differ: they choose one arm with different propensities",
    ]
