"""The version before and this one on one store: servers are upgraded one by one under load, and taken back.

There is no release yet: the version before is a commit whose state format is the one before today's. It runs as it was, with
today's dependencies. A clone without history skips this.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import pytest

from loadtest.endurance.site import Account, Callers
from loadtest.rig.server import Server, channel
from service.learning.replica import FORMAT
from service.management.recount import Recount
from service.management.verify import Examination
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2 import GetExperimentRequest, PutExperimentRequest
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.process.kernel_cache import cache_dir
from service.serving.token import from_text
from service.store.embedded import Embedded
from service.store.redis import RedisStore
from service.store.scripts import STATE_FORMAT
from tests.rig.ground import CONFIG
from tests.rig.programs import ROOT
from tests.rig.waiting import answered, eventually

BEFORE = "45cf731ddb050b6771fb32ef677c1fe553cb4b8b"
NAMES = ["hero", "shop"]
LOAD_S = 3.0
_ALARM = re.compile(r'(lever_divergence|lever_unreadable|lever_lost)\{experiment="(\w+)"\} (\S+)')
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def before() -> Path:
    """The code of the version before, in a folder that stays, as its kernels do."""
    folder = cache_dir() / f"lever-{BEFORE[:12]}"
    if not folder.exists():
        asked = subprocess.run(
            ["git", "archive", BEFORE, "service", "bandits"], cwd=ROOT, capture_output=True, check=False
        )
        if asked.returncode:
            pytest.skip(f"the version before is not in this clone: {asked.stderr.decode().strip()}")
        staged = folder.with_name(f"{folder.name}.{os.getpid()}")
        with tarfile.open(fileobj=io.BytesIO(asked.stdout)) as tar:
            tar.extractall(staged, filter="data")
        with contextlib.suppress(OSError):  # somebody else was faster
            staged.rename(folder)
    return folder


@dataclass
class Site:
    """One store and two servers, each of one version or the other."""

    store: Embedded
    servers: list[Server]
    before: Path
    account: Account = field(default_factory=Account)

    def run(self, number: int, *, old: bool) -> None:
        """Stop a server if it runs, and start it again as that version."""
        server = self.servers[number]
        if server.address:
            server.stop()
        # An older one would find the kernels of this one under NUMBA_CACHE_DIR; empty, it has a place of its own.
        only = {"PYTHONPATH": str(self.before), "PYTHONSAFEPATH": "1", "NUMBA_CACHE_DIR": ""}
        server.variables = only if old else {}
        server.start().ready()
        with channel(server.address) as link:
            get = ExperimentServiceStub(link).GetExperiment
            for name in (
                NAMES if self.account.acked else []
            ):  # what its snapshot file lacks is UNAVAILABLE until it has read
                eventually(partial(answered, partial(get, GetExperimentRequest(name=name), timeout=30)))

    def put(self, number: int, text: str) -> None:
        with channel(self.servers[number].address) as link:
            made = ExperimentServiceStub(link).PutExperiment(PutExperimentRequest(config=text), timeout=60).experiment
        for server in self.servers:  # another server has it with its next poll, not before
            with channel(server.address) as link:
                eventually(partial(self._has, ExperimentServiceStub(link), made.name, made.version))

    @staticmethod
    def _has(stub: ExperimentServiceStub, name: str, version: int) -> bool:
        try:
            return stub.GetExperiment(GetExperimentRequest(name=name), timeout=30).experiment.version == version
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error  # noqa: PT017
            return False

    def load(self) -> None:
        """Callers choose and reward for a while; then the log is quiet until both servers have kept what it comes to."""
        callers = Callers(self.servers, self.account, 2, NAMES)
        time.sleep(LOAD_S)
        callers.stop()
        eventually(self._kept, 60.0)

    def _kept(self) -> bool:
        """Checkpoints are at the ends of the logs. Another digest at the same place would have been an alarm."""
        older = all(server.variables for server in self.servers)  # nobody writes checkpoints of this version then
        store = RedisStore(self.store.url, timeout=30.0, form=STATE_FORMAT - older)
        try:
            for uid in store.poll({}).registry.values():
                loaded = store.load(uid)
                assert not loaded.diverged
                assert not loaded.damaged
                examination = Examination(store, store, uid)
                assert not examination.run().faults
                fold = examination.settled()
                if loaded.checkpoint is None or loaded.checkpoint.id != fold.cursor:
                    return False
                if not older:
                    if loaded.checkpoint.fields["format"] != FORMAT:
                        return False
                    assert loaded.checkpoint.digest == fold.whole().digest
        finally:
            store.close()
        assert not (wrong := self.alarms()), wrong
        return True

    def alarms(self) -> set[tuple[int, str]]:
        """Servers and experiments of which something cannot be read, or is not what another server came to."""
        found = set()
        for number, server in enumerate(self.servers):
            with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=10) as page:
                lines = page.read().decode().splitlines()
            found |= {(number, told[2]) for line in lines if (told := _ALARM.match(line)) and float(told[3])}
        return found

    def odds(self, number: int, name: str) -> set[tuple[int, str, float]]:
        """By what a server chooses."""
        request = pb.SelectBatchRequest(experiment=name, subjects=[f"w{i}" for i in range(200)], mode=pb.MODE_UNCOUNTED)
        with channel(self.servers[number].address) as link:
            made = PersonalizationServiceStub(link).SelectBatch(request, timeout=30)
        arms = [made.arm_ids[arm] for arm in made.arms]
        return set(zip(made.holdout, arms, made.propensities, strict=True))


@pytest.fixture
def site(before: Path, tmp_path: Path) -> Iterator[Site]:
    store = Embedded(tmp_path / "store")
    url = store.start()
    with ExitStack() as stack:
        stack.callback(store.stop)
        servers = [Server(tmp_path / f"server-{i}", "--redis-url", url) for i in range(2)]
        for server in servers:
            stack.callback(server.kill)
        yield Site(store, servers, before)


def test_servers_are_upgraded_one_by_one_and_taken_back(site: Site) -> None:
    """Old beside new, new alone, new beside old, old alone: choices, rewards and sums are the same whoever takes part."""
    for number in (0, 1):
        site.run(number, old=True)
    for name in NAMES:
        site.put(0, CONFIG.format(name=name))
    site.load()
    for step, (number, old) in enumerate([(0, False), (1, False), (1, True), (0, True), (0, False)]):
        site.run(number, old=old)
        if step == 0:  # what the newer one writes is read by the older one
            site.put(0, CONFIG.format(name="hero").replace("{id: c}", "{id: c}, {id: d}"))
        site.load()
        for name in NAMES:
            both = site.odds(0, name) | site.odds(1, name)
            assert len(both) == len({(holdout, arm) for holdout, arm, _ in both}), (step, name, both)
    store = RedisStore(site.store.url, timeout=30.0)
    seen: dict[bytes, int] = {}
    for uid in store.poll({}).registry.values():
        for (prefix, counter), times in Recount(Examination(store, store, uid).log).times():
            seen[prefix.to_bytes(8, "little") + counter.to_bytes(4, "little")] = times
    store.close()
    assert len(site.account.acked) > 1000
    assert {seen.get(nonce, 0) for nonce in site.account.acked} == {1}
    assert (site.account.errors, site.account.strange, site.account.forgotten) == ([], [], 0)


def test_rows_that_only_the_newer_one_knows_stop_nothing_but_their_experiment(site: Site) -> None:
    """Choices among arms that a caller named are marked since: the older server leaves them alone until it is upgraded."""
    site.run(0, old=True)
    site.run(1, old=False)
    for name in NAMES:
        site.put(0, CONFIG.format(name=name))
    site.load()
    with channel(site.servers[1].address) as link:
        request = pb.SelectRequest(experiment="hero", subject="ann", arms=["b", "c"])
        decision = PersonalizationServiceStub(link).Select(request, timeout=30).decision_id
    eventually(lambda: site.alarms() == {(0, "hero")})
    with channel(site.servers[0].address) as link:
        stub = PersonalizationServiceStub(link)
        assert stub.Select(pb.SelectRequest(experiment="hero", subject="ben"), timeout=30).arm
        assert not stub.Select(pb.SelectRequest(experiment="shop", subject="ben"), timeout=30).stale
        assert stub.Reward(pb.RewardRequest(decision=from_text(decision)), timeout=30).outcome == pb.OUTCOME_APPLIED
    assert site.alarms() == {(0, "hero")}
    site.run(0, old=False)
    eventually(lambda: not site.alarms())
    site.load()
