"""What to try beside the leader because things may have changed: exploration as a test, and the outage alarm.

Falls: while the common level is low and the evidence does not tell whether everyone fell or the leader, others are
tried; nights that were tested are not tested again, for the evidence is of all buckets. Rises: an arm that seems
worse may have become better; the chance of that, under the chain of its ratio, is what it is tried with, as in
Thompson sampling. That chance grows while the arm is not watched, and falls with every trial that does not pay: at
rest it is about sqrt(rate of changes / information a day).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bandits.levels import COMMON, OWN
from bandits.memory import Found
from bandits.posterior import Floats
from bandits.story import ACT

LOW, DOWN = 0.8, 0.126  # levels that are low, and an outage
SURE, OUTAGE = 0.95, 0.99  # probabilities of these that count
TEST = 0.25  # floor while a fall is open
OPEN_ABOVE = -1.0  # nats: below, the leader went along
TRIED = 100.0  # rewards due at that floor until exchanged wishes would have shown
CHANGE, CHANGE_REWARDS = 0.05, 30.0  # floor after an arm changed, until so many rewards of it could have told
WATCHED = 0.3  # of the traffic at the most


class Advice(NamedTuple):
    """For the policy, and for people."""

    floor: float  # total mass
    watch: Floats  # f8[K]: chance that an arm has risen above the leader
    outage: tuple[int, int] | None  # ms: since when, up to when looked at; None: none now


def advice(found: Found) -> Advice:
    """What the look's findings ask for."""
    if not found.scene.shown:
        return Advice(0.0, np.zeros(found.past.n.shape[1]), None)
    return Advice(max(after_fall(found), after_change(found)), risen(found), outage(found))


def mass(found: Found, bucket: int, low: float, high: float) -> float:
    """Probability that the common level of a bucket is in [low, high]."""
    at = (COMMON.values >= low) & (COMMON.values <= high)
    return math.fsum(found.story.level.belief[bucket, at].tolist())


def after_fall(found: Found) -> float:
    """The floor while it is open whether a fall is the leader's or everyone's."""
    if mass(found, -1, 0.0, LOW) <= SURE:
        return 0.0
    leader = int(np.argmax(found.scene.due[:, -1]))
    return TEST if found.story.gain[leader] > OPEN_ABOVE or untried(found) else 0.0


def untried(found: Found) -> bool:
    """Whether a fall may still be one of wishes that were exchanged: visitors who are told apart do not want any more what
    they were shown, so that every favourite falls, and what they want now was next to never shown to them.

    Asked once of lows that last as long: those that no test has outlasted yet.
    """
    if found.past.x.shape[2] == 1:
        return False
    lasted: list[float] = []
    for b in range(len(found.past.start)):
        if mass(found, b, 0.0, LOW) <= 0.5:
            lasted.append(0.0)
        else:
            lasted[-1:] = [(lasted[-1] if lasted else 0.0) + math.fsum(found.scene.due[:, b].tolist())]
    return TEST * (lasted[-1] - 1.1 * max(lasted[:-1], default=0.0)) < TRIED and lasted[-1] > max(
        lasted[:-1], default=0.0
    )


def after_change(found: Found) -> float:
    """The floor while it is open what else changed with an arm that did."""
    new = 0
    for k in np.flatnonzero(found.story.gain > ACT).tolist():
        was = np.flatnonzero(found.story.same[:, k] < 0.5)
        new = max(new, int(was[-1]) + 1 if len(was) else 0)
    if new == 0:
        return 0.0
    due = found.scene.due[:, new:] * found.story.level.mean[new:]
    return CHANGE if CHANGE * math.fsum(due.ravel().tolist()) < CHANGE_REWARDS else 0.0


def risen(found: Found) -> Floats:
    """f8[K]: the chance that each arm that seems worse than the leader is better than it by now."""
    trials = (found.past.n + found.past.held).T
    n, e = (np.array([math.fsum(row) for row in a.tolist()]) for a in (trials, found.scene.due))
    mean = np.divide(e, n, out=np.zeros_like(e), where=n > 0)
    likely = np.array([math.fsum((row * OWN.values).tolist()) for row in found.story.now])
    leader = int(np.argmax(found.scene.due[:, -1]))
    best = float(mean[leader] * likely[leader])
    out = np.zeros(len(mean))
    for k in found.scene.shown:
        if k != leader and mean[k] > 0.0:
            better = mean[k] * OWN.values > best
            # As a whole it is as it ever was, and inside what it was does not count: the policy's to judge.
            if found.story.gain[k] <= ACT or k in found.story.inside:
                better &= OWN.values > 1.0
            out[k] = math.fsum(found.story.now[k][better].tolist())
    total = math.fsum(out.tolist())
    return out * min(1.0, WATCHED / total) if total > 0.0 else out


def outage(found: Found) -> tuple[int, int] | None:
    """Since when, and up to when, next to nothing has been earned; None where it is not so now."""
    last = len(found.past.start) - 1
    if mass(found, last, 0.0, DOWN) <= OUTAGE:
        return None
    first = last
    while first > 0 and mass(found, first - 1, 0.0, DOWN) > 0.5:
        first -= 1
    return int(found.past.start[first]), int(found.past.end[-1])
