"""What of the past still counts: delay, the level that all arms share, and arms that changed, as weights at reading.

E r(b, k) = F_b lambda_b m_bk x'theta_k for time bucket b and arm k. F is the share of rewards that has come (delay.py), lambda
a level of all arms: season, campaign, outage, m an arm's own ratio (levels.py, story.py), P(m_b = m_now) also of one that
changed inside (refit.py). Trials are weighted
w F lambda, rewards w = P(m_b = m_now): the normal equations of a Poisson model with exposure F lambda, so trials of an outage
teach next to nothing. Everything is recomputed from all buckets at each look. Nothing is ever cut, so what was
wrongly left out counts again as soon as the data say so.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bandits import refit
from bandits.buckets import fine_width
from bandits.delay import shares
from bandits.evidence import Choice
from bandits.expected import LEAST, coefficients, expect
from bandits.levels import OWN, hops, ladder, steady
from bandits.posterior import Floats
from bandits.state import State, Weights
from bandits.story import Scene, Story, apart, told, usual
from bandits.timeline import Timeline

ENOUGH = 30.0  # rewards, in numbers of them, below which only delay is looked for
SHORTEST = 3  # buckets
TURNS = 4  # of the model for the level, and of the level for the model, at the most;
NEAR = 1.1  # they end where no level moves by more
FULL = 400.0  # rewards of an arm that a bucket counts for at most: levels vary by some percent anyway


class Found(NamedTuple):
    """What a look found, by bucket and arm."""

    past: Timeline
    come: Floats  # f8[B]
    scene: Scene
    story: Story

    @property
    def exposure(self) -> Floats:
        """f8[B]: what a trial counts for."""
        return self.come * self.story.level.mean

    @property
    def weights(self) -> Weights:
        """Of trials and rewards."""
        return Weights(np.ascontiguousarray(self.story.same * self.exposure[:, None]), self.story.same)


def look(state: State, segment: int, now_ms: int, choice: Choice) -> Found:
    """Look at all of a segment's past from the time of the newest entry, under its choice of model."""
    design = state.rules.design
    columns = design.place if math.isinf(choice.ratio) else np.arange(design.columns)
    past = Timeline.of(state, segment, columns)
    come = shares(state.delays[:, segment], past.start, past.end, now_ms)
    seen, square = math.fsum(past.s1.ravel().tolist()), math.fsum(past.s2.ravel().tolist())
    if state.rules.low < 0 or len(come) < SHORTEST or seen <= 0.0 or seen * seen < ENOUGH * square:
        return _plain(past, come)
    # The size of one reward: sums over it are numbers of rewards, whose variance is about their mean.
    phi, least = square / seen, LEAST * seen / math.fsum(past.n.ravel().tolist())
    trials = np.array([math.fsum(row) for row in past.n.tolist()])
    level, ones = np.ones(len(come)), np.ones(past.n.shape)
    parts = refit.Past.of(state, segment, choice)
    for turn in range(TURNS):
        exposed = np.ascontiguousarray(ones * (come * level)[:, None])
        theta = coefficients(state, segment, Weights(exposed, ones), choice)
        expected = _expected(past, exposed, theta, least, phi)
        scene = _scene(past, come, expected, phi, fine_width(state.rules.horizon_ms))
        story = told(scene)
        if turn and parts is not None:
            story = apart(scene, story, refit.changes(parts, come, level, scene.shown))
        before, level = level, usual(story.level.mean, trials)
        if turn and (np.maximum(before, level) < NEAR * np.minimum(before, level)).all():
            break
    return Found(past, come, scene, story)


def _expected(past: Timeline, exposed: Floats, theta: Floats, least: float, phi: float) -> Floats:
    """f8[B,K]: what all were to earn. Of the holdout on average as much as it did: who is in it may be of another kind."""
    taught, both = np.zeros(past.n.shape), np.zeros(past.n.shape)
    expect(past.x, past.n, np.zeros(past.n.shape), theta, least, taught)
    if not past.held.any():
        return taught
    expect(past.x, past.n, past.held, theta, least, both)
    held = both - taught
    for k in range(held.shape[1]):
        due = math.fsum((held[:, k] * exposed[:, k]).tolist())
        held[:, k] *= (math.fsum(past.earned[:, k].tolist()) + phi) / (due + phi)
    return taught + held


def _scene(past: Timeline, come: Floats, expected: Floats, phi: float, fine: int) -> Scene:
    shown = np.flatnonzero((past.n + past.held > 0.0).any(axis=0)).tolist()
    rates = ladder(fine, len(shown))
    jumps = np.zeros((len(rates), len(come)))
    hops(past.start + past.end, rates, fine, jumps)
    seen, due = (past.s1 + past.earned) / phi, expected * come[:, None] / phi
    part = np.minimum(1.0, FULL / np.maximum(np.maximum(seen, due), 1.0))
    return Scene(np.ascontiguousarray((seen * part).T), np.ascontiguousarray((due * part).T), jumps, shown)


def _plain(past: Timeline, come: Floats) -> Found:
    """Delay alone: there is too little to look at, or rewards may be negative, and levels of those mean nothing."""
    buckets, arms = past.n.shape
    none = np.zeros((buckets, arms))
    story = Story(steady(buckets), np.ones((buckets, arms)), np.zeros(arms), np.tile(OWN.start, (arms, 1)), [])
    return Found(past, come, Scene(none.T, none.T, np.zeros((0, buckets)), []), story)
