"""`python -m loadtest adding`: what it costs a server to read the rows of all and to add them up.

The code that servers run, over a real engine, counted in CPU of this process. `python -m loadtest sharing` does it in real time, beside
servers that load what one has added up.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bandits.layout import X_SCALE
from loadtest.engines.engine import Engine
from loadtest.rig.report import emit, machine, save
from loadtest.rig.server import free_ports
from service.experiment.compiled import build
from service.experiment.parse import parse
from service.learning.replica import Replica
from service.store import rows as layout
from service.store.contract import Loaded, Put, Store
from service.store.embedded import find_binary
from service.store.redis import RedisStore

ROWS, PAST = 200_000, 20_000
A_POLL = 20  # entries of one poll: those of 20 servers, ten times a second
ENTRIES = (10, 50, 500)  # rows of one flush
SHAPES = ((10, 0), (10, 16), (10, 62), (100, 16))  # arms, columns
FLUSHES = 10  # a second and server
DAYS_MS = 30 * 86_400_000
PER_SERVER = 7000  # decisions a second of one worker (docs/capacity.md)


def config(arms: int, columns: int) -> str:
    """An experiment of so many arms, and columns beside the constant: a number has two, itself and "missing"."""
    features = "".join(f"  f{i}: {{type: number, min: 0, max: 1}}\n" for i in range(columns // 2))
    return (
        f"experiment: adding\ndefault_arm: a0\narms: [{', '.join(f'{{id: a{i}}}' for i in range(arms))}]\n"
        f"algorithm: linucb\nholdout: {{share: 0.05}}\nmetrics: [{{id: click}}]\n"
        + (f"features:\n{features}" if columns else "")
    )


def fill(store: Store, uid: str, arms: int, columns: int, an_entry: int, days_ms: int = 0) -> None:
    """Trials as servers flush them: of now, or of this time up to now."""
    rng, dtype, now = np.random.default_rng(1), layout.trial_dtype(columns), int(time.time() * 1000)
    rows = PAST if days_ms else ROWS
    for sequence in range(rows // an_entry):
        numbers = np.arange(an_entry) + sequence * an_entry
        packed = np.zeros(an_entry, dtype)
        packed["prefix"], packed["counter"], packed["version"], packed["propensity"] = 1, numbers, 1, 1 / arms
        packed["time"] = now - days_ms + numbers * days_ms // rows
        packed["arm"], packed["bucket"] = rng.integers(0, arms, an_entry), rng.integers(0, 256, an_entry)
        packed["x"] = rng.integers(0, X_SCALE, (an_entry, columns))
        store.append(uid, f"writer-{days_ms}", sequence + 1, dtype.itemsize, packed.tobytes(), 2 * DAYS_MS)


def followed(store: Store, uid: str, loaded: Loaded) -> tuple[Replica, float, float]:
    """A server that adds up what comes after a checkpoint: CPU seconds of reading and of adding up."""
    replica, read, added = Replica(uid, loaded), 0.0, 0.0
    while True:
        begun = time.process_time()
        entries = store.poll({uid: replica.cursor}, A_POLL, listed=False).of(uid)
        between = time.process_time()
        replica.fold(entries)
        read, added = read + between - begun, added + time.process_time() - between
        if not entries:
            return replica, read, added


def measure(store: Store, arms: int, columns: int) -> dict[str, float]:
    """One shape of experiment."""
    found: dict[str, float] = {"arms": arms, "columns": columns}
    for an_entry in ENTRIES:
        uid = f"{arms:04x}{columns:04x}{an_entry:08x}"
        text = config(arms, columns)
        record = build(parse(text), text, uid, int(time.time() * 1000), None)
        store.put(Put(uid, uid, 1, 0, record))
        fill(store, uid, arms, columns, an_entry, DAYS_MS)  # so that the state has all of its time buckets
        past = followed(store, uid, Loaded(record))[0].whole()
        fill(store, uid, arms, columns, an_entry)
        replica, read, added = followed(store, uid, Loaded(record, past))
        found |= {
            f"read_us_{an_entry}": round(read * 1e6 / ROWS, 3), f"add_us_{an_entry}": round(added * 1e6 / ROWS, 3),
        }  # fmt: skip
    found["state_mb"] = round(replica.whole().size / 1e6, 3)
    return found


def main(arguments: Sequence[str]) -> int:
    """Print a line of JSON for each shape of experiment."""
    parser = argparse.ArgumentParser(prog="python -m loadtest adding", description=__doc__)
    parser.add_argument("--out", type=Path, help="file for it")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="lever-adding-") as scratch:
        engine = Engine(find_binary(), Path(scratch), free_ports(1)[0], ("--save", ""))
        try:
            engine.start()
            store = RedisStore(f"redis://127.0.0.1:{engine.port}", timeout=60.0)
            shapes = []
            for arms, columns in SHAPES:
                shapes.append(measure(store, arms, columns))
                emit(shapes[-1])
            store.close()
        finally:
            engine.kill()
    if given.out is not None:
        save(given.out, {"command": "python -m loadtest adding", "machine": machine(), "shapes": shapes})
    return 0
