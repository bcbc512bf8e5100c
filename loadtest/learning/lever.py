"""Lever as a learner: the service's own parts, put together by hand around a clock that the simulation moves.

A choice is `Personalizer.select`, a reward `Rewarder.reward` with the decision's id; trials go through a `Buffer` and
both through the store in memory into its log, which a `Replica` folds into what is chosen from. Only the threads that
call these parts by the second are missing: here the log is folded and the snapshot replaced every `stale` decisions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from bandits.policy import POLICIES
from loadtest.learning.learner import Played, Post, blocks
from loadtest.learning.problems.world import CATEGORY, NUMBER, World, values
from service.experiment.compiled import build, read
from service.experiment.parse import parse
from service.learning.replica import Replica
from service.serving.personalizer import Decision, Mode, Personalizer
from service.serving.published import Published
from service.serving.rewarder import Rewarder, RewardEvent
from service.serving.store_clock import StoreClock
from service.serving.subject import Hasher
from service.serving.token import Namer, TokenKeys, from_text
from service.store.contract import Outcome, Put
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics

NAME = "lever"  # the policy that a user gets without choosing
START_MS = 1_767_225_600_000  # 2026-01-01
EXPERIMENT = "learning"
SUBJECTS = 5_000  # people who come back


class SimulatedClock(StoreClock):
    """Store time as the simulation says."""

    def __init__(self) -> None:
        super().__init__()
        self.time_ms = START_MS

    def now_ms(self) -> int:
        """See StoreClock."""
        return self.time_ms


class SeededNamer(Namer):
    """Names decisions by a prefix of the seed, so that the draws can be repeated."""

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self._next = (prefix, 0)

    def next(self) -> tuple[int, int]:
        """See Namer."""
        prefix, counter = self._next
        self._next = (prefix, counter + 1)
        return prefix, counter


def algorithm(policy: str) -> dict[str, str | float] | None:
    """What the experiment says of its algorithm: None for `lever`, a mapping for `lever NAME` or `lever NAME:a=1,b=2`.

    ValueError for an unknown algorithm.
    """
    text = policy.removeprefix(NAME).strip()
    if not text:
        return None
    name, _, settings = text.partition(":")
    if name not in POLICIES:
        raise ValueError(f"unknown algorithm {name!r}: one of {', '.join(POLICIES)}")
    pairs = [part.partition("=") for part in settings.split(",") if part]
    return {"name": name, **{key: value if value.isalpha() else float(value) for key, _, value in pairs}}


def document(world: World, policy: str) -> str:
    """The experiment's file."""
    metric = {"id": "reward", "min": world.low, "max": world.high, "unit": world.unit, "window": world.window}
    arms = [
        {"id": f"arm-{k}"} | ({"attributes": dict(attributes)} if attributes else {})
        for k, attributes in enumerate(world.arms)
    ]
    made: dict[str, object] = {
        "experiment": EXPERIMENT,
        "arms": arms,
        "default_arm": "arm-0",
        "metrics": [metric | {"outliers": "clip"}],
    }
    if world.features:
        made["features"] = {f.name: _declared(f.type, f.values, f.low, f.high) for f in world.features}
    chosen = algorithm(policy)
    if chosen is not None:
        made["algorithm"] = chosen
    return json.dumps(made)


def _declared(kind: str, texts: tuple[str, ...], low: float, high: float) -> dict[str, object]:
    if kind == CATEGORY:
        return {"type": kind, "values": list(texts)}
    return {"type": kind, "min": low, "max": high} if kind == NUMBER else {"type": kind}


class LeverLearner:
    """One server of one experiment. `choose` and `reward` are what callers do, `refresh` what the feed's threads do."""

    def __init__(self, world: World, policy: str, seed: int) -> None:
        self.clock = SimulatedClock()
        self.store = MemoryStore(self.clock.now_ms)
        self.directory = Published(stale=False)
        keys, metrics = TokenKeys([bytes(32)]), Metrics()
        self.personalizer = Personalizer(self.directory, keys, Hasher(bytes(32)), self.clock, metrics)
        self.rewarder = Rewarder(self.store, self.directory, keys, self.clock, metrics, self.refresh)
        self.uid, prefix = names(policy, seed)
        self.personalizer.namer = SeededNamer(prefix)
        text = document(world, policy)
        record = build(parse(text), text, self.uid, self.clock.now_ms(), None)
        self.store.put(Put(self.uid, EXPERIMENT, 1, 0, record))
        self.experiment = read(record)
        self.replica = Replica(self.uid, self.store.load(self.uid))
        self.refresh()

    def choose(self, subject: str, context: Mapping[str, float | str | bool]) -> Decision:
        """One choice that counts."""
        return self.personalizer.select(EXPERIMENT, subject, context, (), "", deferred=False, mode=Mode.NORMAL)

    def reward(self, decision_id: str, value: float) -> None:
        """Report a reward; RuntimeError unless it counts."""
        (answer,) = self.rewarder.reward([RewardEvent(from_text(decision_id), "", value)])
        if answer is not Outcome.APPLIED:
            raise RuntimeError(f"a reward was answered with {answer!r}")

    def refresh(self) -> None:
        """Flush the trials, fold what the log has, publish what follows from it."""
        buffer = self.directory.buffers.get(self.uid)
        while buffer is not None and (chunk := buffer.chunk()) is not None:
            self.store.append(self.uid, "w", chunk.sequence, chunk.stride, chunk.rows, self.experiment.horizon_ms)
            buffer.done()
        polled = self.store.poll({self.uid: self.replica.cursor}, 1 << 30)
        self.replica.fold(polled.entries.get(self.uid, ()))
        if self.replica.cut is not None:
            self.store.checkpoint(self.uid, self.replica.cut)
            self.replica.sent(self.replica.cut)
        self.directory.publish({self.uid: self.replica.snapshot(self.clock.now_ms())})


def names(policy: str, seed: int) -> tuple[str, int]:
    """The experiment's uid and the prefix of its decisions' names: with another seed other draws."""
    digest = hashlib.sha256(f"{policy}/{seed}".encode()).digest()
    return digest[8:16].hex(), int.from_bytes(digest[:8], "little")


def resets(replica: Replica) -> int:
    """Arms that are believed to earn otherwise than they did; what they earned before counts little."""
    return sum(len(past.shifts) for past in replica.reviews.pasts(replica.experiment).values())


def play(world: World, policy: str, seed: int, stale: int) -> Played:
    """What Lever chooses, from snapshots that are replaced every `stale` decisions."""
    lever = LeverLearner(world, policy, seed)
    who = np.random.default_rng([seed, 79]).integers(0, SUBJECTS, world.rounds)
    arms, propensity = np.empty(world.rounds, np.int64), np.empty(world.rounds)
    ids: dict[int, str] = {}
    post = Post(world)
    for start, end in blocks(world.rounds, stale):
        if start:
            lever.refresh()
        for row in range(start, end):
            lever.clock.time_ms += world.step_ms
            for known in post.collect(row):
                _report(lever, world, known, int(arms[known]), ids.pop(known))
            made = lever.choose(f"subject-{who[row]}", values(world, row))
            arms[row], propensity[row] = lever.experiment.arm_numbers[made.arm], made.propensity
            ids[row] = made.decision_id
            post.send(row, int(arms[row]))
    return Played(arms, propensity, resets(lever.replica))


def _report(lever: LeverLearner, world: World, row: int, arm: int, decision_id: str) -> None:
    """What a caller does when the outcome is known: no reward, no call."""
    value = float(world.drawn[row, arm])
    if value:
        lever.reward(decision_id, value)
