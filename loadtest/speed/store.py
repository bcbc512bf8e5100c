"""`python -m loadtest store`: what trials, rewards and polls cost the store: its CPU, its memory, its append-only file.

Real engines, told by their own INFO: one as `lever serve` starts it (fsync always), and a cluster of three primaries (fsync
everysec) for what is spread over it. CPU is that of the engines alone, whoever else uses the machine; figures are per row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from loadtest.engines.cluster import cluster
from loadtest.rig import summaries
from loadtest.rig.report import emit, machine, save
from service.store.contract import Aggregate, Claim, Put
from service.store.embedded import Embedded, find_binary
from service.store.redis import RedisStore
from service.store.rows import HEAD_STRUCT, TAIL_STRUCT
from service.store.wire.link import Link
from service.store.wire.watch import told

COLUMNS = (0, 16, 64)  # beside the constant, two bytes each in a row
SHARES = (1, 5, 30)  # of decisions that are rewarded, percent
TRIALS, A_FLUSH = 100_000, 500  # rows, and those of one append
REWARDS, A_CALL = 20_000, 50
IDLE, POLLS = 1000, 200  # experiments without news, and how often they are polled
WAITED = 500  # calls with and without waiting for a copy
SPREAD = 30  # experiments of the cluster
DAY_MS = 86_400_000
HORIZON = 30 * DAY_MS
Cost = dict[str, float]


class Account:
    """What the engines say that they have used so far."""

    def __init__(self, url: str) -> None:
        self._link = Link(url, 5.0, 5.0)

    def read(self) -> tuple[float, float, float]:
        """CPU seconds, bytes of memory, bytes of the append-only file, of all together."""
        infos = [told(engine, "everything")[0] for engine in self._link.ways().wire.parts()]
        cpu = sum(float(info["used_cpu_user"]) + float(info["used_cpu_sys"]) for info in infos)
        return cpu, sum(int(i["used_memory"]) for i in infos), sum(int(i["aof_current_size"]) for i in infos)

    def of(self, count: int, work: Callable[[], None]) -> Cost:
        """What `work` costs, by each of `count`."""
        before = self.read()
        work()
        cpu, memory, file = (now - then for now, then in zip(self.read(), before, strict=True))
        return {
            "cpu_us": round(cpu * 1e6 / count, 2),
            "memory": round(memory / count, 1),
            "file": round(file / count, 1),
        }


def _row(counter: int, now: int, columns: int, metric: int | None = None) -> bytes:
    tail = b"" if metric is None else TAIL_STRUCT.pack(metric)
    return HEAD_STRUCT.pack(1 << 40, counter, 1, now, counter, 0.25, 2, 3, 0, 255, 0) + tail + b"\1\0" * columns


def trials(store: RedisStore, uid: str, columns: int) -> None:
    """Flushes of one server."""
    now = int(time.time() * 1000)
    for sequence in range(TRIALS // A_FLUSH):
        rows = b"".join(_row(sequence * A_FLUSH + i, now, columns) for i in range(A_FLUSH))
        store.append(uid, "writer", sequence + 1, HEAD_STRUCT.size + 2 * columns, rows, HORIZON)


def rewards(store: RedisStore, uids: Sequence[str], share: int) -> None:
    """Calls of single rewards for decisions of which so many percent are rewarded, over the experiments in turn."""
    now, step = int(time.time() * 1000), 100 // share
    for call in range(REWARDS // A_CALL):
        counters = range(call * A_CALL * step, (call + 1) * A_CALL * step, step)
        store.claim(uids[call % len(uids)], [_claim(counter, now, share) for counter in counters])


def _claim(counter: int, now: int, prefix: int) -> Claim:
    return Claim(
        prefix,
        counter,
        now,
        _row(counter, now, 16, 0),
        0,
        1,
        Aggregate.FIRST,
        b"",
        now + DAY_MS,
        now + HORIZON,
        False,
        1 << 40,
    )


def polls(store: RedisStore, uids: Sequence[str]) -> None:
    """Polls that bring nothing."""
    cursors = dict.fromkeys(uids, "9999999999999-0")
    for _ in range(POLLS):
        store.poll(cursors)


def _made(store: RedisStore, count: int, word: str) -> list[str]:
    uids = [f"{word}{i}" for i in range(count)]
    for uid in uids:
        store.put(Put(uid, uid, 1, 0, b"a configuration"))
    return uids


@contextlib.contextmanager
def _single(folder: Path) -> Iterator[str]:
    engine = Embedded(folder / "one")
    try:
        yield engine.start()
    finally:
        engine.stop()


def measure(url: str, *, spread: bool) -> dict[str, object]:
    """All figures of a store."""
    store, account = RedisStore(url, timeout=30.0), Account(url)
    uids = _made(store, SPREAD if spread else 1, "u")
    found: dict[str, object] = {}
    if not spread:
        made = {columns: _made(store, 1, f"columns{columns}-")[0] for columns in COLUMNS}
        found["trial"] = {
            str(columns): account.of(TRIALS, lambda c=columns, u=uid: trials(store, u, c))  # type: ignore[misc]
            for columns, uid in made.items()
        }
    found["reward"] = {
        str(share): account.of(REWARDS, lambda s=share: rewards(store, uids, s))  # type: ignore[misc]
        for share in SHARES
    }
    idle = [*uids, *_made(store, IDLE - len(uids), "idle")]
    found["poll"] = {
        "experiments": IDLE, "cpu_us": account.of(POLLS, lambda: polls(store, idle))["cpu_us"],
    }  # fmt: skip
    store.close()
    return found


def copied(url: str) -> dict[str, float]:
    """What waiting for a replica costs a call of 50 rewards: with and without in turn."""
    ways = {replicas: RedisStore(url, timeout=30.0, replicas=replicas) for replicas in (0, 1)}
    uids = _made(ways[0], SPREAD, "copied")
    took: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(2 * WAITED):
        now, replicas = int(time.time() * 1000), turn % 2
        calls = [_claim(turn * A_CALL + i, now, 7) for i in range(A_CALL)]
        begun = time.perf_counter()
        ways[replicas].claim(uids[turn // 2 % len(uids)], calls)
        took[replicas].append(time.perf_counter() - begun)
    for store in ways.values():
        store.close()
    plain, waited = (summaries.median(took[replicas]) for replicas in (0, 1))
    return {"call_ms": round(plain * 1000, 3), "waited_ms": round(waited * 1000, 3), "ratio": round(waited / plain, 2)}


def main(arguments: Sequence[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m loadtest store", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--out", type=Path, help="file for it")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="lever-store-") as scratch:
        with _single(Path(scratch)) as url:
            found: dict[str, object] = {"one": measure(url, spread=False)}
        with cluster(find_binary(), Path(scratch) / "cluster", replicas=0) as engines:
            found["cluster"] = measure(engines.url, spread=True)
        with cluster(find_binary(), Path(scratch) / "copied", replicas=1) as engines:
            found["copied"] = copied(engines.url)
    found["machine"] = machine()
    if given.json:
        emit(found)
    else:
        print(json.dumps(found, indent=1))
    if given.out is not None:
        save(given.out, {"command": "python -m loadtest store", **found})
    return 0
