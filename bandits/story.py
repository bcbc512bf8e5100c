"""Who changed: everyone, or one arm. The likelihood of rewards under a common level and arms that went their own ways.

With Poisson counts the arms' likelihoods multiply. So for each arm k two stories are compared by their evidence: that
it went along with all others, or that it had a ratio of its own to the level of the others alone,

gain_k = Z(level of the others) + Z(level of k) - Z(level of all),

each Z summed over all paths of its chain. A fall of the leader that nobody else was shown beside is worth nothing
either way: then others have to be tried. Arms that changed inside, for some visitors, are found elsewhere (refit.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.levels import ALONE, COMMON, OWN, Path, Smooth, path, smoothed, steady
from bandits.posterior import Floats
from bandits.refit import Change

ACT = 6.0  # nats that an arm's own way must be worth before it is believed,
FLAG = 8.0  # and what is worth telling people of
MOST = 4  # arms that go their own ways at the most
OPEN = 3.0  # nats that going along counts for at the most
HINT = 1.0  # nats without which an arm is not asked again


class Scene(NamedTuple):
    """What was seen: numbers of rewards, those of the holdout too."""

    seen: Floats  # f8[K,B]
    due: Floats  # f8[K,B]: expected by now at the level 1
    rates: Floats  # f8[R,B]: probability of a jump before each bucket, by rate
    shown: list[int]  # arms that were ever shown


class Story(NamedTuple):
    """What was found."""

    level: Smooth  # of all arms that go along
    same: Floats  # f8[B,K]: probability that an arm is now what it was in the bucket, 1 where it goes along
    gain: Floats  # f8[K], nats
    now: Floats  # f8[K,G]: belief about each arm's ratio now, had it gone its own way
    inside: list[int]  # arms that changed in the eyes of some visitors


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


def told(scene: Scene) -> Story:
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
    return Story(smoothed(rest.level), same, gain, now, [])


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


def apart(scene: Scene, story: Story, own: Mapping[int, Change]) -> Story:
    """The same with arms that changed inside: the level is that of the others."""
    if not own:
        return story
    same, gain = story.same.copy(), story.gain.copy()
    for k, change in own.items():
        same[:, k] = np.minimum(same[:, k], change.same)
        gain[k] = max(float(gain[k]), change.gain)
    along = [k for k in scene.shown if same[:, k].min() == 1.0]
    rest = Rest.of(_sums(scene.seen, along), _sums(scene.due, along), scene.rates)
    level = smoothed(rest.level) if along else steady(len(same))
    return Story(level, same, gain, story.now, sorted(own))


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
