"""One run of one policy on one problem: done in a worker process, or taken from the cache.

Only runs of other libraries are cached: their code stands still while Lever's is worked on.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from loadtest.learning import fast, lever, peers
from loadtest.learning.learner import Played
from loadtest.learning.world import Ints, World
from loadtest.learning.worlds import PROBLEMS

MARKS = 100  # points of a curve


@dataclass(frozen=True)
class How:
    """How Lever is played: through the service's own path, or without it (fast.py says what `grow` and `step_ms` are)."""

    fast: bool = False
    grow: float = 0.0
    step_ms: int = lever.STEP_MS


FULL = How()


@dataclass(frozen=True)
class Task:
    """What to run. `batch`: decisions between two snapshots, or outcomes that a library learns at a time."""

    problem: str
    policy: str
    seed: int
    batch: int
    cache: Path | None
    how: How = FULL


@dataclass(frozen=True)
class Run:
    """What came out. Rewards are the expected ones of what was chosen, means over the rounds: no luck in them.

    curve: cumulative regret at MARKS evenly spaced rounds. resets: changes that Lever detected. error: why there is no result, for people.
    """

    problem: str
    policy: str
    seed: int
    mean: float = 0.0
    oracle: float = 0.0
    curve: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""
    resets: int = 0

    @property
    def regret(self) -> float:
        """Reward a decision that was missed."""
        return self.oracle - self.mean


def is_lever(policy: str) -> bool:
    """Whether a policy is ours."""
    return policy.split(" ", 1)[0] == lever.NAME


def perform(task: Task) -> Run:
    """Run a task; an exception becomes the run's `error`."""
    try:
        world = PROBLEMS[task.problem].world(task.seed)
        if is_lever(task.policy):
            return _timed(task, world)
        path = None if task.cache is None else task.cache / f"{_key(task, world)}.json"
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            return Run(**kept | {"curve": tuple(kept["curve"])})
        run = _timed(task, world)
        if path is not None:
            _keep(path, run)
        return run
    except Exception as error:  # noqa: BLE001 - other libraries raise whatever they like; it is shown and counted
        return Run(task.problem, task.policy, task.seed, error=f"{type(error).__name__}: {error}")


def _timed(task: Task, world: World) -> Run:
    started = time.perf_counter()
    if is_lever(task.policy):
        played = _lever(task, world)
        chosen, resets = played.arms, played.resets
    else:
        chosen, resets = peers.play(peers.PEERS[task.policy], world, task.seed, task.batch), 0
    return replace(judge(task, world, chosen, time.perf_counter() - started), resets=resets)


def _lever(task: Task, world: World) -> Played:
    how = task.how
    if how.fast:
        return fast.play(world, task.policy, task.seed, task.batch, how.grow, how.step_ms)
    return lever.play(world, task.policy, task.seed, task.batch)


def judge(task: Task, world: World, chosen: Ints, seconds: float) -> Run:
    """The run of a policy that chose these arms (i8[T])."""
    earned = world.expected[np.arange(world.rounds), chosen]
    missed = np.cumsum(world.expected.max(axis=1) - earned)
    marks = np.linspace(0, world.rounds, MARKS + 1).astype(np.int64)[1:] - 1
    curve = tuple(np.round(missed[marks], 6).tolist())
    return Run(task.problem, task.policy, task.seed, float(earned.mean()), world.oracle, curve, round(seconds, 3))


def _key(task: Task, world: World) -> str:
    """Names a peer's run by all that it depends on."""
    peer = peers.PEERS[task.policy]
    batch = task.batch if peer.batches else peers.ONLINE
    parts = (task.problem, world.digest(), task.policy, peer.version, peers.code(), task.seed, batch, MARKS)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _keep(path: Path, run: Run) -> None:
    """Write beside and rename: a killed worker leaves no half file, and two writers write the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(run)))
    part.replace(path)
