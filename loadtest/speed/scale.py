"""`python -m loadtest scale`: what a decision, a start and the memory cost as everything grows.

In one process over a real store of its own, as a worker has it, without gRPC: what is asked is how Lever's own work
grows. History is made by appending synthetic trials to the log; the start then loads checkpoint and tail.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml

from bandits.layout import X_SCALE
from bandits.warmup import warm
from loadtest.rig import processes, report, summaries
from loadtest.rig.pinned import EXAMPLE
from service import logs
from service.security.secrets import Secrets
from service.server.assemble import Service, Tuning, build
from service.serving.personalizer import Mode
from service.store import rows as layout
from service.store.embedded import Embedded
from service.store.redis import RedisStore
from service.telemetry.metrics import Metrics

KEYS = Secrets([b"a token key for load tests"], b"a subject key for load tests")
GROWTH: dict[str, tuple[int, ...]] = {
    "experiments": (1, 10, 100, 1000), "segments": (1, 10, 30, 63), "arms": (2, 10, 50, 200),
    "history": (10_000, 100_000, 1_000_000, 10_000_000), "servers": (1, 2, 4),
}  # fmt: skip
CONTEXT = {"industry": "software", "source": "search", "returning": True}
CHUNK = 4000
ROUNDS = 9
CALLS = 2000


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest scale", description=__doc__)
    made.add_argument("--what", choices=list(GROWTH), action="append", help="default: everything")
    made.add_argument("--most", type=int, default=1_000_000, help="rows of history; 10000000 takes some minutes more")
    made.add_argument("--out", type=Path, help="folder for plots and numbers")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0."""
    options = parser().parse_args(arguments)
    out = report.console()
    record: dict[str, object] = {}
    for what in options.what or GROWTH:
        points = []
        for size in GROWTH[what]:
            if what == "history" and size > options.most:
                continue
            points.append({"size": size} | _alone(what, size))
            out.print(f"{what} {size:,}: " + ", ".join(f"{k} {v:,.2f}" for k, v in points[-1].items() if k != "size"))
        record[what] = points
        if options.out is not None:
            plot(options.out / f"scale-{what}.png", what, points)
    record["machine"] = report.machine()
    if options.out is not None:
        report.save(options.out / "scale.json", record)
    if options.json:
        report.emit(record)
    return 0


@contextmanager
def store() -> Iterator[str]:
    """The URL of an empty engine."""
    with tempfile.TemporaryDirectory(prefix="lever-scale-") as scratch:
        engine = Embedded(Path(scratch))
        try:
            yield engine.start()
        finally:
            engine.stop()


def config(name: str, arms: int = 10, segments: int = 1) -> str:
    """The homepage example with so many arms and learning segments."""
    given = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    given["experiment"] = name
    given["arms"] = [{"id": f"arm-{i}", "payload": {"n": i}} for i in range(arms)]
    given["default_arm"] = "arm-0"
    # Ranges that no visitor falls into come before the one that takes all: every rule is tried.
    given["features"]["visits"] = {"type": "number", "min": 0, "max": 1000}
    others = [{"id": f"s{i}", "when": {"visits": {"min": i, "max": i + 0.5}}} for i in range(segments - 1)]
    given["segments"] = [
        *others,
        {"id": "returning", "when": {"returning": True}},
        {"id": "default", "serve": "default"},
    ]
    given["metrics"][0] |= {"window": "30d"}
    return str(yaml.safe_dump(given))


def started(url: str) -> tuple[Service, float]:
    """A server over the store, and the seconds until it was ready."""
    begun = time.perf_counter()
    service = build(RedisStore(url), KEYS, Metrics(), Tuning(poll_ms=5, state_max=1 << 30))
    service.start()
    while not service.feed.ready:
        time.sleep(0.001)
    return service, time.perf_counter() - begun


def cost_us(select: Callable[..., object], names: Sequence[str]) -> float:
    """CPU microseconds of a decision by this thread: the median of some rounds."""
    found = []
    for _ in range(ROUNDS):
        begun = time.thread_time_ns()
        for i in range(CALLS):
            select(names[i % len(names)], "visitor-1", CONTEXT, (), "", False, Mode.UNCOUNTED)
        found.append((time.thread_time_ns() - begun) / CALLS / 1000)
    return summaries.median(found)


def history(url: str, service: Service, name: str, rows: int) -> None:
    """Append trials to the experiment's log, spread over ten days."""
    exp = service.directory.named(name).experiment
    dtype = layout.trial_dtype(exp.encoder.columns - 1)
    rng, own = np.random.default_rng(1), RedisStore(url)
    now = service.clock.now_ms()
    for sequence in range(-(-rows // CHUNK)):
        count = min(CHUNK, rows - sequence * CHUNK)
        packed = np.zeros(count, dtype)
        packed["prefix"], packed["counter"] = 1, np.arange(count) + sequence * CHUNK
        packed["version"], packed["propensity"] = exp.version, 0.1
        packed["time"] = now - 864_000_000 + (np.arange(count) + sequence * CHUNK) * 864_000_000 // rows
        packed["segment"], packed["arm"] = 1, rng.integers(0, 10, count)
        packed["bucket"] = rng.integers(0, 256, count)
        packed["x"][:, 0] = X_SCALE
        if own.append(exp.uid, "scale", sequence + 1, dtype.itemsize, packed.tobytes(), 90 * 86_400_000):
            message = "the store dropped rows of the made history"
            raise RuntimeError(message)
    own.close()


def _alone(what: str, size: int) -> dict[str, float]:
    """A point in a process of its own, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_point, what, size).result()


def _point(what: str, size: int) -> dict[str, float]:
    """One size: cost of a decision, seconds of a start, memory of a process."""
    logs.configure("error", "false")
    warm()
    with store() as url:
        first, _ = started(url)
        names = [f"scale-{i}" for i in range(size if what == "experiments" else 1)]
        for name in names:
            arms, segments = (size if what == key else least for key, least in (("arms", 10), ("segments", 1)))
            first.experiments.put(config(name, arms, segments), None)
        first.feed.refresh(60.0)
        if what == "history":
            history(url, first, names[0], size)
            first.feed.refresh(300.0)
        others = [started(url)[0] for _ in range(size - 1)] if what == "servers" else []
        first.stop()
        gc.collect()
        again, seconds = started(url)
        again.feed.refresh(60.0)
        try:
            found = {"select_us": cost_us(again.use_cases.select, names)}  # asked in turn: each is out of the caches
            if len(names) > 1:
                found["same_us"] = cost_us(again.use_cases.select, names[:1])  # the others are only there
            return found | {"start_s": seconds, "rss_mb": processes.resident_mb(os.getpid())}
        finally:
            for service in (again, *others):
                service.stop()


def plot(path: Path, what: str, points: Sequence[dict[str, float]]) -> None:
    """PNG of the cost of a decision and of a start."""
    with report.Figure(path) as axes:
        sizes = [p["size"] for p in points]
        axes.plot(sizes, [p["select_us"] for p in points], marker="o", label="decision, CPU us")
        axes.plot(sizes, [p["start_s"] * 1000 for p in points], marker="s", label="start, ms")
        axes.set(title=f"growing: {what}", xlabel=what, xscale="log", yscale="log")
        axes.legend()
