"""What a look found, as whole numbers: kept in checkpoints, so that a restarted server reads the same bits.

Between two looks buckets open and merge. A new one counts as the last one that was looked at did, with its rewards in
full; a merged one counts the mean of the two that stand at its ends.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.levels import OWN
from bandits.memory import Found
from bandits.state import State, Weights
from bandits.story import FLAG
from bandits.watch import Advice

UNIT = 1 << 14  # of shares and exposures
SMALL = 1 << 10  # of probabilities and ratios


class Shift(NamedTuple):
    """An arm that earns otherwise than it did."""

    arm: int
    since_ms: int
    ratio: int  # to what it earned before, units of 2^-10; 0: inside it only, in the eyes of some visitors


class Recall(NamedTuple):
    """What is kept of a segment's look."""

    starts: list[int]  # of the buckets, ms
    exposure: list[int]  # of a trial in each, units of 2^-14
    same: dict[int, list[int]]  # by arm, units of 2^-10, where it is not 1 throughout
    floor: int  # units of 2^-14
    watch: dict[int, int]  # by arm, units of 2^-14
    outage: tuple[int, int] | None  # ms: since when, up to when it was seen
    shifts: list[Shift]


def recall(found: Found, advice: Advice) -> Recall:
    """The findings, rounded."""
    same = np.rint(found.story.same * SMALL).astype(np.int64)
    return Recall(
        starts=found.past.start.tolist(),
        exposure=_rounded(found.exposure),
        same={k: same[:, k].tolist() for k in np.flatnonzero((same != SMALL).any(axis=0)).tolist()},
        floor=round(advice.floor * UNIT),
        watch={k: w for k, w in enumerate(_rounded(advice.watch)) if w},
        outage=advice.outage,
        shifts=_shifts(found),
    )


def _rounded(values: NDArray[np.float64]) -> list[int]:
    return [round(v * UNIT) for v in values.tolist()]


def _shifts(found: Found) -> list[Shift]:
    out, inside = [], set(found.story.inside)
    for k in np.flatnonzero(found.story.gain > FLAG).tolist():
        was = np.flatnonzero(found.story.same[:, k] < 0.5)
        if len(was):
            since = int(found.past.end[was[-1]])
            ratio = math.fsum((found.story.now[k] * OWN.values).tolist())
            out.append(Shift(k, since, 0 if k in inside else round(ratio * SMALL)))
    return out


def weights(kept: Recall, state: State) -> Weights:
    """What each bucket and arm of the state counts."""
    starts = np.array(kept.starts, np.int64)
    exposure = np.array(kept.exposure, np.int64)
    same = np.full((len(starts), state.rules.arms), SMALL, np.int64)
    for arm, column in kept.same.items():
        same[:, arm] = column
    # What comes after the look: its rewards are of today. A bucket that it saw the beginning of keeps its weights.
    begin = np.array([b.start for b in state.buckets], np.int64)
    last = np.array([b.end - 1 for b in state.buckets], np.int64)
    i, j = (np.maximum(np.searchsorted(starts, at, side="right") - 1, 0) for at in (begin, last))
    rewards = (same[i] + same[j]) / (2.0 * SMALL)
    rewards[begin > starts[-1]] = 1.0
    return Weights(rewards * ((exposure[i] + exposure[j]) / (2.0 * UNIT))[:, None], rewards)


def share(kept: Recall) -> float:
    """The floor."""
    return kept.floor / UNIT


def watched(kept: Recall, arms: int) -> NDArray[np.float64]:
    """f8[K]: what to try each arm with."""
    out = np.zeros(arms)
    for arm, part in kept.watch.items():
        out[arm] = part / UNIT
    return out
