"""Lever as a learner without the service around it: the fold, the reviews and the snapshots, and a draw for each row.

What a run of `lever.play` spends on subjects, tokens, claims and the store is left out; what it learns from is made
here, a block of decisions at a time: the rows that the buffer would have sent and the rewards that the store would have
claimed, in the log's own layout and order, folded by a `Replica`. So the same (world, policy, seed) gets the same
choices with the same propensities as there, which tests/unit/loadtest/test_learning_fast.py asks for.

Two things make it faster still, and are no longer the same to the bit. `timeless`: decisions a millisecond apart, so
that all lie in one time bucket and nothing is found that has to do with time. `grow` .01: a snapshot may also be as
old as a hundredth of all decisions so far, so that a long run has some hundreds of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bandits.draw import draw_many
from bandits.policy import decide_batch
from loadtest.learning.learner import Played, blocks
from loadtest.learning.lever import START_MS, document, names, resets
from loadtest.learning.problems.world import CATEGORY, FLAG, Floats, Ints, World
from service.experiment.compiled import Experiment, build, read
from service.experiment.features.column import Column
from service.experiment.parse import parse
from service.learning.replica import Replica
from service.serving.buffer import CHUNK_ROWS
from service.serving.snapshot import Slot
from service.serving.subject import decision_units
from service.store.contract import Entry, Loaded
from service.store.rows import reward_dtype, trial_dtype

ONLY: Final = 0  # the number of the one segment


class Log:
    """What would stand in the experiment's log: trials of a block and the rewards that came meanwhile."""

    def __init__(self, world: World, experiment: Experiment, prefix: int) -> None:
        self._world = world
        self.x = experiment.encoder.encode_columns(columns(world), world.rounds).x
        self.units = decision_units(prefix, 0, world.rounds)
        wide = self.x.shape[1] - 1
        self.trials = np.zeros(world.rounds, trial_dtype(wide))
        self._rewards = np.zeros(world.rounds, reward_dtype(wide))
        for rows in (self.trials, self._rewards):
            rows["prefix"], rows["counter"] = prefix, np.arange(world.rounds)
            rows["version"], rows["unit"], rows["x"] = experiment.version, self.units, self.x[:, 1:]
            rows["time"] = START_MS + (np.arange(world.rounds) + 1) * world.step_ms
        metric = experiment.primary
        self._rewards["metric"] = metric.number
        self._reach = metric.window_ms + metric.grace_ms
        # As Metric.units does it, for all of them at once.
        kept = np.clip(world.drawn, metric.minimum, metric.maximum)
        self._totals = np.asarray(np.rint(kept / metric.unit), dtype=np.int64)
        self._waiting = np.zeros((0, 2), np.int64)  # (round in which it is reported, row)

    def note(self, start: int, arms: Ints, propensity: Floats) -> None:
        """These arms were chosen from row `start` on."""
        rows = np.arange(start, start + len(arms))
        for packed in (self.trials, self._rewards):
            packed["arm"][rows], packed["propensity"][rows] = arms, propensity
        delay = self._world.delay
        reported = rows + 1 + (0 if delay is None else delay[rows, arms])
        some = self._world.drawn[rows, arms] != 0.0
        self._waiting = np.concatenate([self._waiting, np.stack([reported, rows], axis=1)[some]])

    def entries(self, start: int, end: int) -> Iterator[Entry]:
        """What was appended while the rows of a block were chosen: each reward, then the trials."""
        due = self._waiting[:, 0] < end
        ready, self._waiting = self._waiting[due], self._waiting[~due]
        ready = ready[np.lexsort((ready[:, 1], ready[:, 0]))]
        for reported, row in ready.tolist():
            now = self._time_ms(reported)
            total = int(self._totals[row, self.trials["arm"][row]])
            packed = self._rewards[row].tobytes()
            late = now > self.trials["time"][row] + self._reach
            yield Entry(f"{now}-0", len(packed), rewards=packed, totals=() if late else ((0, total, False),), late=late)
        stride = self.trials.dtype.itemsize
        for at in range(start, end, CHUNK_ROWS):
            part = self.trials[at : min(at + CHUNK_ROWS, end)]
            yield Entry(f"{self._time_ms(end - 1)}-1", stride, trials=part.tobytes())

    def _time_ms(self, row: int) -> int:
        return START_MS + (row + 1) * self._world.step_ms


def columns(world: World) -> dict[str, Column]:
    """The contexts as a batch's caller sends them."""
    made = {}
    for feature, values in zip(world.features, world.context.T, strict=True):
        if feature.type == CATEGORY:
            made[feature.name] = Column(codes=values.astype(np.int64), dictionary=feature.values)
        elif feature.type == FLAG:
            made[feature.name] = Column(flags=values != 0.0)
        else:
            made[feature.name] = Column(numbers=values)
    return made


def play(world: World, policy: str, seed: int, stale: int, grow: float = 0.0, timeless: bool = False) -> Played:
    """What `lever.play` chooses."""
    if timeless:
        world = replace(world, step_ms=1)
    uid, prefix = names(policy, seed)
    text = document(world, policy)
    record = build(parse(text), text, uid, START_MS, None)
    experiment = read(record)
    replica = Replica(uid, Loaded(record, None))
    replica.fold([Entry(f"{START_MS}-0", config=record)])
    log = Log(world, experiment, prefix)
    arms, propensity = np.empty(world.rounds, np.int64), np.empty(world.rounds)
    for start, end in blocks(world.rounds, stale, grow):
        slot = replica.snapshot(START_MS + start * world.step_ms).slots[ONLY]
        choose(slot, log.x[start:end], log.units[start:end], experiment.salt, arms[start:end], propensity[start:end])
        log.note(start, arms[start:end], propensity[start:end])
        if end < world.rounds:
            replica.fold(list(log.entries(start, end)))
            if replica.cut is not None:
                replica.sent(replica.cut)
    return Played(arms, propensity, resets(replica))


def choose(
    slot: Slot, x: NDArray[np.int16], units: NDArray[np.uint64], salt: int, chosen: Ints, propensity: Floats
) -> None:
    """Fill `chosen` with arm numbers and `propensity`, from one snapshot."""
    if slot.contextual:
        decide_batch(slot.posterior, x, slot.arms, units, salt, chosen, propensity)
    else:
        draw_many(slot.pmf_of(slot.arms), slot.arms, units, salt, chosen, propensity)
    chosen[:] = slot.arms[chosen]
