"""What of the past still counts: delay, the level that all arms share, and arms that changed, as weights at reading.

E r(b, k) = F_b lambda_b m_bk x'theta_k for time bucket b and arm k. F is the share of rewards that has come (delay.py), lambda
a level of all arms: season, campaign, outage, m an arm's own ratio (levels.py, story.py). Trials are weighted
w F lambda, rewards w = P(m_b = m_now): the normal equations of a Poisson model with exposure F lambda, so trials of an outage
teach next to nothing. Everything is recomputed from all buckets at each look. Nothing is ever cut, so what was
wrongly left out counts again as soon as the data say so.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bandits.buckets import fine_width
from bandits.delay import shares
from bandits.evidence import Choice
from bandits.expected import LEAST, coefficients, expect
from bandits.levels import COMMON, OWN, Smooth, hops, ladder
from bandits.posterior import Floats
from bandits.state import State, Weights
from bandits.story import Cell, Scene, Story, told, usual
from bandits.timeline import Ints, Timeline, indicators, marked

ENOUGH = 30.0  # rewards, in numbers of them, below which only delay is looked for
SHORTEST = 3  # buckets
TURNS = 4  # of the model for the level, and of the level for the model, at the most;
NEAR = 1.1  # they end where no level moves by more
FULL = 400.0  # rewards of an arm that a bucket counts for at most: levels vary by some percent anyway
CELL = 8.0  # rewards, or due, below which a column is not asked inside an arm
MOST_ARMS, MOST_COLUMNS = 32, 60  # beyond which none is


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
    for turn in range(TURNS):
        exposed = np.ascontiguousarray(ones * (come * level)[:, None])
        theta = coefficients(state, segment, Weights(exposed, ones), choice)
        expected = _expected(past, exposed, theta, least, phi)
        scene = _scene(past, come, expected, phi, fine_width(state.rules.horizon_ms))
        story = told(scene, _cells(state, segment, columns, theta, phi, least, come) if turn else [])
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


def _cells(
    state: State, segment: int, columns: Ints, theta: Floats, phi: float, least: float, come: Floats
) -> list[Cell]:
    """What to ask inside arms: those trials that an indicator of a context marks."""
    index = np.ascontiguousarray(state.index[:, segment])
    buckets, arms = index.shape
    main = [j for j in indicators(state, columns) if j in state.rules.design.place]
    found, none = list[Cell](), np.zeros(0)
    if arms > MOST_ARMS or len(main) > MOST_COLUMNS:
        return found
    for j in main:
        seen, due, x = np.zeros((buckets, arms)), np.zeros((buckets, arms)), np.zeros((buckets, arms, len(columns)))
        marked(index, state.learn, columns, j, seen, x)
        expect(x, np.ascontiguousarray(x[:, :, 0]), np.zeros((buckets, arms)), theta, least, due)
        seen, due = state.grid.natural(none, none, seen, none)[2] / phi, due * come[:, None] / phi
        part = np.minimum(1.0, FULL / np.maximum(np.maximum(seen, due), 1.0))
        for k in range(arms):
            s, e = np.ascontiguousarray((seen * part)[:, k]), np.ascontiguousarray((due * part)[:, k])
            if max(math.fsum(s.tolist()), math.fsum(e.tolist())) > CELL:
                found.append(Cell(k, j, s, e))
    return found


def _plain(past: Timeline, come: Floats) -> Found:
    """Delay alone: there is too little to look at, or rewards may be negative, and levels of those mean nothing."""
    buckets, arms = past.n.shape
    ones, none = np.ones(buckets), np.zeros((buckets, arms))
    level = Smooth(np.tile(COMMON.values == 1.0, (buckets, 1)).astype(np.float64), ones, ones)
    story = Story(level, np.ones((buckets, arms)), np.zeros(arms), np.tile(OWN.start, (arms, 1)), [])
    return Found(past, come, Scene(none.T, none.T, np.zeros((0, buckets)), []), story)
