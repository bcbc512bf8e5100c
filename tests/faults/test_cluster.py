"""A cluster that loses a primary, or gives a slot away, while it is used."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loadtest.engines.cluster import Cluster, Member, cluster, slot_of
from service.errors import UnavailableError
from service.learning import rounds
from service.management.verify import Examination
from service.server.assemble import Service
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.contract import Outcome
from service.store.embedded import find_binary
from service.store.wire.exchange import Command
from service.store.wire.nodes import Node
from tests.rig.ground import CONFIG
from tests.rig.programs import redis_server
from tests.rig.stage import Stage, choose
from tests.rig.waiting import eventually

NAMES = [f"hero{i}" for i in range(6)]
CALL = 1000  # rewards of one call


@pytest.fixture(autouse=True)
def _asked_about_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few experiments are polled as hundreds are: in several parts."""
    monkeypatch.setattr(rounds, "LEAST", 2)


@dataclass
class Field:
    """Two servers on a cluster, and experiments on each of its primaries."""

    cluster: Cluster
    world: Stage
    uids: dict[str, str]
    acked: dict[str, set[bytes]] = field(default_factory=dict)

    @property
    def server(self) -> Service:
        return self.world.services[0]

    def on(self, member: Member) -> list[str]:
        """The experiments that a primary has."""
        return [name for name, uid in self.uids.items() if self.cluster.primary(slot_of(uid)) is member]

    def reward(self, name: str, count: int, at: int = 0) -> list[object]:
        """So many choices, which must succeed, and a click for each; what is acknowledged is remembered."""
        server = self.world.services[at]
        tokens = [
            from_text(choose(server, name, f"s{i}", context={"source": "ads"}, deferred=True).decision_id)
            for i in range(count)
        ]
        return self.send(name, tokens, at)

    def send(self, name: str, tokens: list[bytes], at: int = 0) -> list[object]:
        use_cases = self.world.services[at].use_cases
        answers: list[object] = []
        for first in range(0, len(tokens), CALL):
            answers += use_cases.reward([RewardEvent(token, "click") for token in tokens[first : first + CALL]])
        good = {token for token, answer in zip(tokens, answers, strict=True) if isinstance(answer, Outcome)}
        self.acked.setdefault(name, set()).update(good)
        return answers

    def settle(self) -> None:
        for service in self.world.services:
            eventually(lambda service=service: _done(lambda: service.feed.flushed(20.0)))  # type: ignore[misc]
        for service in self.world.services:
            eventually(lambda service=service: _done(lambda: service.feed.refresh(20.0)))  # type: ignore[misc]
            eventually(lambda service=service: not service.directory.parted)  # type: ignore[misc]

    def proved(self) -> None:
        """Log = records = counts of every experiment, the same bits at both servers, and all that was acknowledged."""
        self.settle()
        for name, tokens in self.acked.items():
            again = self.send(name, sorted(tokens))
            assert set(again) <= {Outcome.DUPLICATE}, (name, "was acknowledged, and is not known any more")
        store = self.world.store()
        for name, uid in self.uids.items():
            examination = Examination(store, store, uid)
            found = examination.run()
            assert not found.faults, (name, found.faults)
            bits = examination.settled().fields()
            for service in self.world.services:
                assert service.feed.replicas[uid].fields() == bits, name
            assert found.rewards == found.records
        store.close()


def _done(call: object) -> bool:
    try:
        call()  # type: ignore[operator]
    except UnavailableError:
        return False
    return True


@contextmanager
def field_of(folder: Path, kind: str, replicas: int = 0) -> Iterator[Field]:
    binary = redis_server() if kind == "redis" else find_binary()
    with cluster(binary, folder / "cluster") as made:
        world = Stage(made.url, replicas=replicas)
        try:
            first = world.service()
            uids = {name: first.experiments.put(CONFIG.format(name=name), 0)[0].uid for name in NAMES}
            world.service()
            for service in world.services:
                service.feed.refresh(30.0)
            yield Field(made, world, uids)
        finally:
            for service in world.services:
                service.stop(flush_s=0.0)


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.long)])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Field]:
    with field_of(tmp_path, request.param, replicas=1) as built:
        yield built


def test_a_primary_that_is_killed_under_load(ground: Field) -> None:
    """Its experiments are chosen from all the time, and rewarded again once two engines have them; the others never notice."""
    for name in NAMES:
        ground.reward(name, 10)
    ground.settle()
    victim = max(ground.cluster.primaries(), key=lambda member: len(ground.on(member)))
    registry = ground.cluster.primary(slot_of("registry"))
    hit = ground.on(victim)
    spared = [name for name in NAMES if name not in hit]
    assert hit
    assert spared
    refused, stop = dict.fromkeys(NAMES, 0), threading.Event()

    def load(at: int) -> None:
        while not stop.is_set():
            for name in NAMES:
                answers = ground.reward(name, 2, at)
                refused[name] += sum(isinstance(answer, UnavailableError) for answer in answers)

    threads = [threading.Thread(target=load, args=(at,)) for at in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        ground.cluster.fail(victim)
        ground.cluster.back(victim)
        eventually(lambda: all(isinstance(answer, Outcome) for name in NAMES for answer in ground.reward(name, 1)))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert any(refused[name] for name in hit)
    assert not any(refused[name] for name in spared), (refused, victim is registry)
    ground.proved()


def test_a_primary_that_hangs_stops_nobody_else(ground: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer at all, as of a machine that is gone: waited for once, then the others go on at their own pace."""
    victim = next(member for member in ground.cluster.primaries() if ground.on(member))
    hit = ground.on(victim)
    (spared, *_) = [name for name in NAMES if name not in hit]
    os.kill(victim.pid, signal.SIGSTOP)
    try:
        eventually(lambda: set(ground.server.directory.parted) == {ground.uids[name] for name in hit})
        assert choose(ground.server, hit[0], "ann", context={"source": "ads"}).stale
        assert not choose(ground.server, spared, "ann", context={"source": "ads"}).stale
        polled: set[int] = set()
        begin = Node.begin

        def watched(node: Node, commands: Sequence[Command]) -> None:
            polled.add(node.address[1])
            begin(node, commands)

        monkeypatch.setattr(Node, "begin", watched)
        before = ground.server.feed._done
        assert all(isinstance(answer, Outcome) for answer in ground.reward(spared, 20))
        eventually(lambda: ground.server.feed._done >= before + 20)
        assert polled
        assert victim.port not in polled, "each of the polls would have waited"
    finally:
        os.kill(victim.pid, signal.SIGCONT)
    eventually(lambda: all(isinstance(answer, Outcome) for answer in ground.reward(hit[0], 1)))
    ground.proved()


def test_a_slot_that_moves_under_load(ground: Field) -> None:
    name = NAMES[0]
    slot = slot_of(ground.uids[name])
    target = next(member for member in ground.cluster.primaries() if member is not ground.cluster.primary(slot))
    for each in NAMES:
        ground.reward(each, 50)
    ground.settle()
    ground.cluster.move(slot, target, pause=lambda: ground.reward(name, 1))
    assert ground.cluster.primary(slot) is target
    eventually(lambda: all(isinstance(answer, Outcome) for answer in ground.reward(name, 20)))
    ground.proved()


def test_without_replicas_that_have_it_nothing_is_acknowledged(ground: Field) -> None:
    name = NAMES[0]
    primary = ground.cluster.primary(slot_of(ground.uids[name]))
    (replica,) = ground.cluster.replicas(primary)
    os.kill(replica.pid, signal.SIGSTOP)
    server = ground.server
    token = from_text(choose(server, name, "ann", context={"source": "ads"}, deferred=True).decision_id)
    try:
        for at in (0, 1):  # the second finds that it was counted already, by another server
            (answer,) = ground.send(name, [token], at)
            assert isinstance(answer, UnavailableError)
            assert "LEVER_STORE_REPLICAS" in str(answer)
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    eventually(lambda: ground.send(name, [token]) == [Outcome.DUPLICATE])
    ground.proved()
