"""A real Prometheus scrapes real Levers, and every shipped alert is fired once by its fault. About 55 s.

The rules are those of deploy/prometheus with every duration a hundred times shorter (ruleset.hastened); thresholds
are as shipped. Three servers are hurt at the same time: `shop` by its callers, `slow` as a process, `store` through
its store. `pytest -s` prints the table that the runbook has.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
import redis

from loadtest.rig.server import Server
from service.management.verify import Examination
from service.pb.lever.v1 import personalization_pb2 as pb
from service.store.contract import Checkpointed
from service.store.embedded import Embedded
from service.store.redis import RedisStore
from tests.rig.prometheus import Watch, watching
from tests.rig.ruleset import alerts
from tests.rig.visitors import (
    FAULT,
    SETTINGS,
    Caller,
    crowded,
    frozen,
    hurried,
    planted,
    refusing_writes,
    starved,
    ticking,
)
from tests.rig.waiting import eventually

CALM_S = 8.0  # of healthy traffic, before anything is hurt
OLD_S = 18.0  # the age of decisions whose rewards come late: 10 s are a bound of the delay's histogram


@contextmanager
def store(folder: Path) -> Iterator[Embedded]:
    engine = Embedded(folder)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop(timeout=5.0)


@contextmanager
def servers(folder: Path, urls: dict[str, str]) -> Iterator[dict[str, Caller]]:
    settings = SETTINGS | planted(folder / "fault")
    made = {name: Server(folder / name, "--redis-url", url, **settings) for name, url in urls.items()}
    try:
        for server in made.values():
            server.start()
        for server in made.values():
            server.ready()
        yield {name: Caller(server) for name, server in made.items()}
    finally:
        for server in made.values():
            server.kill()


class Shop:
    """Visitors of one server: a site that is well, until its callers change what they do."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.rewarding, self.late, self.muddled = True, False, False
        caller.put("hero", "won", "held", "torn", "dear", "brief", "letter")
        made = caller.choose("won", 3000)
        self.rewarded = [token for token, arm in zip(made.decision_ids, made.arms, strict=True) if arm == 0][:1000]
        caller.reward(self.rewarded)
        self._held = iter(caller.choose("held", 4000).decision_ids)
        self._begun = time.monotonic()

    def turn(self) -> None:
        caller = self.caller
        made = caller.choose("hero", 100, *((999, "tv") if self.muddled else (5, "ads")))
        if self.rewarding:
            caller.reward([*made.decision_ids[:40], *caller.choose("brief", 40).decision_ids[:20]])
        else:
            caller.choose("brief", 40)
        if self.late and time.monotonic() - self._begun > OLD_S:
            caller.reward(list(itertools.islice(self._held, 10)))
        caller.choose("won", 100)

    def differ(self, url: str) -> None:
        """Another server has a bit of one state wrong, and gets to the store first."""
        link = RedisStore(url, timeout=20.0)
        uid = link.poll({}).registry["torn"]
        self.caller.choose("torn", 10_000)  # so many rows are a checkpoint
        eventually(lambda: (stored := link.load(uid).checkpoint) is not None and stored.rows == 10_000)
        wrong = Examination(link, link, uid).settled()
        wrong.state.subjects.lift[0, 0, 0, 0] += 1
        assert link.checkpoint(uid, wrong.whole()) is Checkpointed.DIVERGED
        self.caller.choose("torn", 10_000)
        link.close()


def hurt_by_callers(shop: Shop, engine: Embedded, watch: Watch) -> None:
    shop.muddled, shop.rewarding, shop.late = True, False, True
    with (
        watch.expect("callers send an undeclared category", "LeverUnknownFeatures"),
        watch.expect("callers send a number beyond its range", "LeverClippedFeatures"),
        watch.expect("decisions go on, their rewards are no longer sent", "LeverRewardsStopped"),
        watch.expect("rewards are sent for old decisions only", "LeverRewardDelayUp"),
        watch.expect("only one arm was ever rewarded", "LeverOneArm"),
    ):
        with watch.expect("decisions go on, their rewards are no longer sent", "LeverOutage", of="brief"):
            pass  # at once: so short an experiment has soon forgotten how it was before
        with watch.expect("every visitor complains of one arm", "LeverGuardrailPaused"):
            made = shop.caller.choose("letter", 500)
            shop.caller.reward([token for token, arm in zip(made.decision_ids, made.arms, strict=True) if arm == 1])
        with watch.expect("a checkpoint with one wrong bit is stored beside the server's", "LeverDivergence"):
            shop.differ(engine.url)
        with (
            ticking(lambda: shop.caller.reward_singly(shop.rewarded[:400])),
            watch.expect("400 rewards at once for one thread and 8 places", "LeverShedding", of="rewards"),
        ):
            pass


def hurt_as_a_process(caller: Caller, watch: Watch) -> None:
    (pid,) = caller.server.workers()
    with watch.expect("a fault planted in front of the handlers", "LeverFastPathFaults"), pytest.raises(grpc.RpcError):
        caller.stub.Select(pb.SelectRequest(experiment="dear", subject="ann"), timeout=30, metadata=FAULT)
    with (
        crowded(caller.server),
        starved(pid),
        watch.expect("a dear experiment, and the worker runs 10 of every 100 ms", "LeverChoicesSlow"),
        hurried(caller.server),
        watch.expect("60 choices at a time may take 30 ms, and the worker runs 10 of every 100 ms", "LeverOverloaded"),
    ):
        pass
    with frozen(pid), watch.expect("SIGSTOP of the worker", "LeverNotReady"):
        pass
    with watch.expect("SIGKILL of the server", "LeverDown"):
        caller.server.kill()


def hurt_through_the_store(engine: Embedded, watch: Watch) -> None:
    link = RedisStore(engine.url, timeout=20.0)
    registry = link.poll({}).registry
    link.close()
    kept, spoilt = (f"lever:{{{registry[name]}}}:log" for name in ("kept", "spoilt"))
    with redis.Redis.from_url(engine.url, protocol=2) as raw:
        with watch.expect("the last entry of a log deleted", "LeverLogEndsLost", of="kept"):
            for _ in range(5):  # an entry that no server has read yet is missed by nobody
                raw.xdel(kept, raw.xrevrange(kept, count=1)[0][0])
                time.sleep(0.3)
        with watch.expect("`maxmemory-policy` set to `allkeys-lru`", "LeverStoreEvicts"):
            raw.config_set("maxmemory-policy", "allkeys-lru")
        raw.config_set("maxmemory-policy", "noeviction")
        with watch.expect("an experiment's log replaced by a text", "LeverSnapshotOld", of="spoilt"):
            with watch.expect("an experiment's log replaced by a text", "LeverUnreadable"):
                raw.delete(spoilt)
                raw.set(spoilt, "not ours")
            with (
                refusing_writes(engine),
                watch.expect("the store takes no writes", "LeverErrors", "LeverFlushStuck"),
                watch.expect("the store takes no writes", "LeverCheckpointOld", of="kept"),
            ):
                pass
        assert engine.pid is not None
        with frozen(engine.pid), watch.expect("SIGSTOP of the store", "LeverStoreUnreachable"):
            pass
        eventually(lambda: "LeverStoreUnreachable" not in watch.firing())
        with watch.expect("FLUSHALL", "LeverLost", "LeverTrialsDropped"):
            raw.flushall()


@pytest.mark.timeout(600)
def test_every_alert_is_fired_by_its_fault(prometheus: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(store(tmp_path / name)) for name in ("first", "second"))
        urls = {"shop": one.url, "slow": one.url, "store": two.url}
        callers = stack.enter_context(servers(tmp_path, urls))
        shop = Shop(callers["shop"])
        other = callers["store"]
        other.put("kept", "spoilt")
        targets = {name: caller.server.http for name, caller in callers.items()}
        watch = stack.enter_context(watching(prometheus, tmp_path, targets))

        def visit() -> None:
            other.reward_singly(other.choose("kept", 20).decision_ids[:4])

        for turn in (shop.turn, visit, lambda: callers["slow"].choose("hero", 10)):
            stack.enter_context(ticking(turn))
        time.sleep(CALM_S)
        eventually(lambda: not watch.firing(), 10.0)
        with ThreadPoolExecutor() as pool:
            acts = [
                pool.submit(hurt_by_callers, shop, one, watch),
                pool.submit(hurt_as_a_process, callers["slow"], watch),
                pool.submit(hurt_through_the_store, two, watch),
            ]
            for act in acts:
                act.result()
    rows = sorted(watch.rows, key=lambda row: alerts().index(row[0]))
    sys.stdout.write("".join(f"| {name} | {fault} | {seconds:.0f} s |\n" for name, fault, seconds in rows))
    assert [name for name, _, _ in rows] == alerts()
    assert not [text for text in watch.said if "<error" in text or "%!" in text or "<no value>" in text]
