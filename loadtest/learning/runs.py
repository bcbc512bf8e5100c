"""One run of one policy on one problem: done in a worker process, or taken from the cache.

Only runs of other libraries are cached: their code stands still while Lever's is worked on.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from loadtest.learning import peers, policies
from loadtest.learning.learner import Played
from loadtest.learning.policies import How
from loadtest.learning.problems.table import lay_out
from loadtest.learning.problems.world import World

MARKS = 100  # points of a curve
LATE = 4  # the last one of so many parts of a run
SUPPORTED = 10_000  # decisions whose propensities are judged


@dataclass(frozen=True)
class Task:
    """What to run."""

    problem: str
    policy: str
    seed: int
    how: How
    cache: Path | None = None


class Support(NamedTuple):
    """How much the log says of always showing the arm that was shown least: its rows, and how many they are worth."""

    rows: int
    effective: float

    @property
    def share(self) -> float:
        """1 where all its propensities were the same, 0 where it was never shown."""
        return self.effective / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Run:
    """What came out. Rewards are the expected ones of what was chosen, means over the rounds: no luck in them.

    late: regret a decision in the last quarter. stake: regret of showing all arms alike. curve: cumulative regret at MARKS
    evenly spaced rounds. best: share of the last quarter's choices that no arm would have been better than. resets:
    changes that Lever detected. error: why there is no result, for people.
    """

    problem: str
    policy: str
    seed: int
    mean: float = 0.0
    oracle: float = 0.0
    late: float = 0.0
    stake: float = 0.0
    curve: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""
    resets: int = 0
    support: Support | None = None
    best: float = 0.0

    @property
    def regret(self) -> float:
        """Reward a decision that was missed."""
        return self.oracle - self.mean


def perform(task: Task) -> Run:
    """Run a task; an exception becomes the run's `error`."""
    try:
        world = lay_out(task.problem, task.seed)
        played, seconds = _peer(task, world) if task.policy in peers.PEERS else _timed(task, world)
        return judge(task, world, played, seconds)
    except Exception as error:  # noqa: BLE001 - other libraries raise whatever they like; it is shown and counted
        return Run(task.problem, task.policy, task.seed, error=f"{type(error).__name__}: {error}")


def _timed(task: Task, world: World) -> tuple[Played, float]:
    started = time.perf_counter()
    return policies.play(task.policy, world, task.seed, task.how), time.perf_counter() - started


def _peer(task: Task, world: World) -> tuple[Played, float]:
    """What another library chose, from the cache if it is there. What it is worth is judged afresh."""
    path = None if task.cache is None else task.cache / f"{_key(task, world)}.npz"
    if path is not None and path.exists():
        with np.load(path) as kept:
            return Played(kept["arms"].astype(np.int64)), float(kept["seconds"])
    played, seconds = _timed(task, world)
    if path is not None:
        _keep(path, played, seconds)
    return played, seconds


def judge(task: Task, world: World, played: Played, seconds: float) -> Run:
    """The run of a policy that played like this."""
    earned = world.expected[np.arange(world.rounds), played.arms]
    missed = world.expected.max(axis=1) - earned
    late = missed[world.rounds - world.rounds // LATE :]
    marks = np.linspace(0, world.rounds, MARKS + 1).astype(np.int64)[1:] - 1
    return Run(
        task.problem,
        task.policy,
        task.seed,
        mean=float(earned.mean()),
        oracle=world.oracle,
        late=float(late.mean()),
        stake=world.stake,
        curve=tuple(np.round(np.cumsum(missed)[marks], 6).tolist()),
        seconds=round(seconds, 3),
        resets=played.resets,
        support=support(played, len(world.arms)),
        best=float((late <= 0.0).mean()),
    )


def support(played: Played, arms: int) -> Support | None:
    """Of the first decisions; None where no propensities are known."""
    if played.propensity is None:
        return None
    shown, weight = played.arms[:SUPPORTED], 1.0 / played.propensity[:SUPPORTED]
    rows = np.bincount(shown, minlength=arms)
    total = np.bincount(shown, weight, minlength=arms)
    squares = np.bincount(shown, weight * weight, minlength=arms)
    effective = np.divide(total * total, squares, out=np.zeros(arms), where=rows > 0)
    return min(Support(int(n), float(e)) for n, e in zip(rows, effective, strict=True))


def _key(task: Task, world: World) -> str:
    """Names a peer's run by all that it depends on."""
    peer = peers.PEERS[task.policy]
    batch = task.how.batch if peer.batches else peers.ONLINE
    parts = (world.digest(), task.policy, peer.version, peers.code(), task.seed, batch)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _keep(path: Path, played: Played, seconds: float) -> None:
    """Write beside and rename: a killed worker leaves no half file, and two writers write the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(part, arms=played.arms.astype(np.int16), seconds=seconds)
    part.replace(path)
