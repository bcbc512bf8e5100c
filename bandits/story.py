"""Who changed: everyone, or one arm. The likelihood of rewards under a common level and arms that went their own ways.

With Poisson counts the arms' likelihoods multiply. So for each arm k two stories are compared by their evidence: that
it went along with all others, or that it had a ratio of its own to the level of the others alone,

gain_k = Z(level of the others) + Z(level of k) - Z(level of all),

each Z summed over all paths of its chain. A fall of the leader that nobody else was shown beside is worth nothing
either way: then others have to be tried. With features the same is asked of an arm's trials that a column marks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.levels import ALONE, COMMON, OWN, Path, Smooth, path, smoothed
from bandits.posterior import Floats

ACT = 6.0  # nats that an arm's own way must be worth before it is believed,
FLAG = 8.0  # and what is worth telling people of;
INSIDE = 3.0  # and so many more inside an arm: there are more places to look
MOST = 4  # arms that go their own ways at the most
OPEN = 3.0  # nats that going along counts for at the most
HINT = 1.0  # nats without which an arm is not asked again


class Scene(NamedTuple):
    """What was seen: numbers of rewards, those of the holdout too."""

    seen: Floats  # f8[K,B]
    due: Floats  # f8[K,B]: expected by now at the level 1
    rates: Floats  # f8[R,B]: probability of a jump before each bucket, by rate
    shown: list[int]  # arms that were ever shown


class Cell(NamedTuple):
    """An arm's trials that an indicator column marks: rewards, and those due."""

    arm: int
    column: int
    seen: Floats  # f8[B]
    due: Floats  # f8[B]


class Story(NamedTuple):
    """What was found."""

    level: Smooth  # of all arms that go along
    same: Floats  # f8[B,K]: probability that an arm is now what it was in the bucket, 1 where it goes along
    gain: Floats  # f8[K], nats
    now: Floats  # f8[K,G]: belief about each arm's ratio now, had it gone its own way
    inside: list[tuple[int, int]]  # (arm, column) that went their own ways


class Rest(NamedTuple):
    """Rewards seen and due of all that go along, and their level; f8[B]."""

    seen: Floats
    due: Floats
    level: Path

    @classmethod
    def of(cls, seen: Floats, due: Floats, rates: Floats) -> Rest:
        """These rewards."""
        seen, due = np.maximum(seen, 0.0), np.maximum(due, 0.0)
        return cls(seen, due, path(seen, due, rates, COMMON))

    def without(self, seen: Floats, due: Floats, rates: Floats) -> Rest:
        """The same without a part."""
        return Rest.of(self.seen - seen, self.due - due, rates)


def told(scene: Scene, cells: list[Cell]) -> Story:
    """The story of a segment."""
    arms, buckets = scene.seen.shape
    same, gain, now = np.ones((buckets, arms)), np.zeros(arms), np.tile(OWN.start, (arms, 1))
    along, asked = list(scene.shown), list(scene.shown)
    rest = Rest.of(_sums(scene.seen, along), _sums(scene.due, along), scene.rates)
    for _ in range(min(MOST, len(along) - 1)):
        score = dict.fromkeys(asked, -math.inf)
        for k in asked:
            gain[k], fit, own = way(scene.seen[k], scene.due[k], rest, scene.rates)
            now[k], same[:, k] = own.now, 1.0
            if gain[k] > ACT:
                same[:, k], score[k] = smoothed(own).same, fit
        best = max(asked, key=lambda k: score[k], default=-1)
        if best < 0 or gain[best] <= ACT:
            break
        along.remove(best)
        rest = rest.without(scene.seen[best], scene.due[best], scene.rates)
        asked = [k for k in asked if k != best and gain[k] > HINT]
    same[:, along] = 1.0
    return _within(scene, cells, along, Story(smoothed(rest.level), same, gain, now, []), rest)


def way(seen: Floats, due: Floats, among: Rest, rates: Floats) -> tuple[float, float, Path]:
    """Nats by which a part of the rewards goes its own way; how well that fits, to choose one by; its ratio to the others.

    Bucket by bucket, each for the chance that the level of all does not jump there: nights that merged with days mix two
    levels, and what was tried at each, and prove nothing. That it went along before counts for no more than OPEN nats,
    or it would take long to see that it does not any more. Where two parts disagree, both gain: the fit prefers the
    one whose ratio changed to the one that stayed while all others fell. seen, due f8[B].
    """
    rest = among.without(seen, due, rates)
    alone, level = path(seen, due, rates, ALONE), smoothed(rest.level).mean
    worth, steady = 0.0, 1.0 - among.level.hop
    steady[:1] = steady[1:2]
    for step in (steady * (rest.level.steps + alone.steps - among.level.steps)).tolist():
        worth = max(worth + step, -OPEN)
    own = path(seen, due * level, rates, OWN)
    shared = [s * math.log(v) for s, v in zip(seen.tolist(), level.tolist(), strict=True)]
    return worth, math.fsum([*rest.level.steps.tolist(), *own.steps.tolist(), *shared]), own


def _within(scene: Scene, cells: list[Cell], along: list[int], story: Story, rest: Rest) -> Story:
    """The same with what changed inside arms that go along as a whole."""
    same, gain, found = story.same, story.gain, []
    for cell in cells:
        if cell.arm not in along:
            continue
        worth, _, own = way(cell.seen, cell.due, rest, scene.rates)
        if worth > ACT + INSIDE:
            found.append(cell)
            same[:, cell.arm] = np.minimum(same[:, cell.arm], smoothed(own).same)
            gain[cell.arm] = max(float(gain[cell.arm]), worth)
    if not found:
        return story
    seen, due = rest.seen, rest.due
    for cell in found:
        seen, due = seen - cell.seen, due - cell.due
    level = smoothed(Rest.of(seen, due, scene.rates).level)
    return story._replace(level=level, inside=[(cell.arm, cell.column) for cell in found])


def _sums(values: Floats, arms: list[int]) -> Floats:
    return np.array([math.fsum(column) for column in values[arms].T.tolist()])


def usual(level: Floats, trials: NDArray[np.float64]) -> Floats:
    """The levels over the one that half of the trials were at or below: that is the usual one. Both f8[B]."""
    order = np.argsort(level, kind="stable")
    reached, half = 0.0, 0.5 * math.fsum(trials.tolist())
    for b in order.tolist():
        reached += float(trials[b])
        if reached >= half:
            return np.asarray(level / level[b])
    return level
