"""`python -m loadtest sharing`: what a busy experiment costs each server where all add up, and where one does and others load.

Rows come in as those of so many servers do, each flushing ten times a second, in real time. Four services of this process
follow them with the code that servers run: one that adds up for itself, and three that share, of which one adds up for the
others, one adds up to compare, and one loads. Every server reads the same, so what many cost follows from these. CPU is counted, and how old each one's
snapshot is before its turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bandits.layout import X_SCALE
from loadtest.capacity.adding import DAYS_MS, FLUSHES, PER_SERVER, SHAPES, config, fill
from loadtest.engines.engine import Engine
from loadtest.rig.report import emit, machine, save
from loadtest.rig.server import free_ports
from service import logs
from service.experiment.compiled import build as compiled
from service.experiment.parse import parse
from service.security.secrets import Secrets
from service.server.assemble import Service, Tuning, build
from service.store import rows as layout
from service.store.contract import Put
from service.store.embedded import find_binary
from service.store.redis import RedisStore
from service.telemetry.metrics import Metrics

SERVERS = (4, 8, 16)
WARM_S, SECONDS = 2.5, 5.0
TURN_S = 0.1  # between two polls


@dataclass
class Follower:
    """A service that takes its turns here, and what they cost."""

    service: Service
    store: RedisStore
    cpu_s: float = 0.0
    ages_ms: list[float] = field(default_factory=list)

    @classmethod
    def at(cls, url: str, share: bool) -> Follower:
        """One more over the store."""
        store = RedisStore(url, timeout=60.0)
        service = build(store, Secrets([b"k" * 32], b"s" * 32), Metrics(), Tuning())
        if share:
            service.feed.share(store.states, 1.0)
        return cls(service, store)

    def turn(self, uid: str) -> None:
        """Read, add up or load, offer, publish."""
        snapshot = self.service.directory.by_uid.get(uid)
        if snapshot is not None:
            self.ages_ms.append(time.time() * 1000 - int(snapshot.log_id.split("-")[0]))
        begun = time.thread_time()
        self.service.feed.turn()
        self.cpu_s += time.thread_time() - begun

    def begin(self) -> None:
        """Count from now."""
        self.cpu_s = 0.0
        self.ages_ms.clear()


class Traffic:
    """The flushes of so many servers."""

    def __init__(self, store: RedisStore, uid: str, arms: int, columns: int, servers: int) -> None:
        self._store, self._uid, self._servers, self._sequence = store, uid, servers, 0
        rng, count = np.random.default_rng(2), PER_SERVER // FLUSHES
        self._rows = np.zeros(count, layout.trial_dtype(columns))
        self._rows["prefix"], self._rows["version"], self._rows["propensity"] = 2, 1, 1 / arms
        self._rows["arm"], self._rows["bucket"] = rng.integers(0, arms, count), rng.integers(0, 256, count)
        self._rows["x"] = rng.integers(0, X_SCALE, (count, columns))

    def flush(self) -> None:
        """One of each server."""
        self._rows["time"], self._sequence = int(time.time() * 1000), self._sequence + 1
        packed, stride = self._rows.tobytes(), self._rows.dtype.itemsize
        for server in range(self._servers):
            self._store.append(self._uid, f"server-{server}", self._sequence, stride, packed, 2 * DAYS_MS)


def run(seconds: float, traffic: Traffic, followers: Sequence[Follower], uid: str) -> float:
    """Flushes and turns in real time; seconds that it took."""
    begun = time.monotonic()
    while (now := time.monotonic()) < begun + seconds:
        traffic.flush()
        for follower in followers:
            follower.turn(uid)
        time.sleep(max(0.0, now + TURN_S - time.monotonic()))
    return time.monotonic() - begun


def measure(url: str, store: RedisStore, shape: tuple[int, int], servers: int) -> dict[str, float]:
    """One shape of experiment at the traffic of so many servers."""
    (arms, columns), uid = shape, f"{shape[0]:04x}{shape[1]:04x}{servers:08x}"
    text = config(arms, columns)
    record = compiled(parse(text), text, uid, int(time.time() * 1000), None)
    store.put(Put(uid, "adding", 1, 0, record))
    fill(store, uid, arms, columns, 500, DAYS_MS)  # so that the state has all of its time buckets
    plain, _, _, loads = followers = [Follower.at(url, share) for share in (False, True, True, True)]
    traffic = Traffic(store, uid, arms, columns, servers)
    run(WARM_S, traffic, followers, uid)
    for follower in followers:
        follower.begin()
    took = run(SECONDS, traffic, followers, uid)
    bits = {follower.service.feed.replicas[uid].whole().digest for follower in followers if _last(follower, uid)}
    all_add, adder, witness, loader = (follower.cpu_s / took * 1000 for follower in followers)
    shared = adder + witness + (servers - 2) * loader
    found = {
        "arms": arms, "columns": columns, "servers": servers, "rows_s": servers * PER_SERVER,
        "ticks_s": round(len(plain.ages_ms) / took, 1), "adds_up_ms": round(all_add, 1), "adds_for_all_ms": round(adder, 1), "compares_ms": round(witness, 1),
        "loads_ms": round(loader, 1), "loads_s": round(_loads(loads) / (took + WARM_S), 1),
        "cost_of_all_adding": round(shared / (servers * all_add), 2),
        "age_ms": round(float(np.median(plain.ages_ms))), "age_loaded_ms": round(float(np.median(loads.ages_ms))),
        "age_loaded_max_ms": round(max(loads.ages_ms)), "same_bits": float(len(bits) == 1),
    }  # fmt: skip
    store.put(Put(uid, "adding", 1, 1, None))
    for follower in followers:
        follower.store.close()
    return found


def _last(follower: Follower, uid: str) -> bool:
    """Bring it to the end of the log."""
    if follower.service.feed.replicas:
        follower.service.feed._follower.sharing = None  # noqa: SLF001  # reads the log from here
        follower.service.feed.turn()
    return uid in follower.service.feed.replicas


def _loads(follower: Follower) -> float:
    return sum(value for _, (value,) in follower.service.metrics.states_loaded.samples())


def main(arguments: Sequence[str]) -> int:
    """Print a line of JSON for each shape of experiment and number of servers; exit code 1 where states differ."""
    parser = argparse.ArgumentParser(prog="python -m loadtest sharing", description=__doc__)
    parser.add_argument("--servers", type=int, nargs="*", default=SERVERS)
    parser.add_argument("--shapes", nargs="*", default=[f"{a}x{c}" for a, c in SHAPES], help="ARMSxCOLUMNS")
    parser.add_argument("--out", type=Path, help="file for it")
    given = parser.parse_args(arguments)
    logs.configure("error", "false")
    with tempfile.TemporaryDirectory(prefix="lever-sharing-") as scratch:
        engine = Engine(find_binary(), Path(scratch), free_ports(1)[0], ("--save", ""))
        try:
            engine.start()
            url = f"redis://127.0.0.1:{engine.port}"
            store, found = RedisStore(url, timeout=60.0), []
            for arms, columns in (map(int, shape.split("x")) for shape in given.shapes):
                for servers in given.servers:
                    found.append(measure(url, store, (arms, columns), servers))
                    emit(found[-1])
            store.close()
        finally:
            engine.kill()
    if given.out is not None:
        save(given.out, {"command": "python -m loadtest sharing", "machine": machine(), "found": found})
    return int(not all(one["same_bits"] for one in found))
