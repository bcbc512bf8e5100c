"""`auto`: what a user gets without choosing. A ridge regression an arm, one noise, the optimist's pmf (optimist.py).

How close features and products are held is chosen by evidence (evidence.py); the constant has a prior of its own, so
that an arm is soon free of its prior whatever is said of features. All of it is a pure function of the sums.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from bandits.basis import back, basis, change
from bandits.belief import Arms, Settings, pool
from bandits.evidence import RIDGES, Choice, choose, constant, prior_of
from bandits.expansion import Design, plain
from bandits.optimist import EASE, NOISE, NUMBERS, OPTIMISM, TEMPERATURE
from bandits.posterior import Floats, Kind, Posterior, Sums, charged, pack
from bandits.prior import Priors, with_priors
from bandits.ridges import invert_all, on_average, residuals, towards
from bandits.spread import precision

OPTIMISTIC = 1.0  # deviations of a mean that its score stands above it
COLD = 0.1  # the temperature once rewards have come in
HEAT = 3.0  # its square while there are none: then the odds are about those that an arm is the best
MILD = 0.2  # the same of many arms that no features tell apart: one that was unlucky is not left for good
EASY = 1.0  # a gap of 1 / sqrt(EASY) deviations of a reward halves what an arm is shown for the sake of evidence
PRIOR_TRIALS = 2.0  # of the raw variance, that the noise begins with
LEAST = 1e-24  # of a noise: the square of a unit of the finest grid
SHARE = 0.022  # of the traffic, for all arms together, whatever is believed of them,
SHOWS = 12.0  # until an arm was shown so often in each e-fold of trials: then each of them is, see ope.SHOWS
FEW = 10  # arms; of more each has a share as of the square of their number
ALONE = 0.03  # for the default arm, for the best one and for the next,
ALONE_SHOWS = 80.0  # until each was shown so often in each e-fold of trials: then they are
FIRST = 0.1  # as SHARE and SHOWS, of the first traffic: who leads by then may not lead for long
FIRST_SHOWS = 5.0
MUCH = (0.1, 1.0, 6.0)  # times that, as `evidence` says


class Side(NamedTuple):
    """What a slot knows beside its sums; all of it the same on every server."""

    design: Design | None = None  # None: main columns only
    choice: Choice | None = None  # None: chosen from these very sums
    least: float = -math.inf  # that a trial can earn, in units of the sums
    control: int | None = None  # the arm that others are compared with: the default arm
    priors: Priors | None = None  # of single arms
    floor: float = 0.0  # of exploration, at the least: what a change or a fall asks for (watch.py)
    watch: Floats | None = None  # f8[K]: share of arms that may have risen
    costs: Floats | None = None  # f8[K]: of showing each arm, in units of the sums


class Fit(NamedTuple):
    """A regression per arm, and one noise: an arm that was never rewarded has left no square over, and is no surer for it."""

    theta: Floats  # f8[K,d]
    inverse: Floats  # f8[K,d,d], (S + D)^-1
    mean: Floats  # f8[K,d], of the prior
    noise: float  # a variance


def auto(sums: Sums, settings: Settings, arms: Arms, side: Side | None = None) -> Posterior:
    """The posterior; `sums` are over learning columns."""
    side = side or Side()
    design = side.design or plain(sums.xr.shape[1])
    choice = side.choice or chosen(sums, design)
    believed = with_priors(sums, side.priors)
    sums, main, t = prepared(sums, Side(design, choice))
    prior, cold = prior_of(choice, main, sums.xr.shape[1]), COLD
    usual = prior.copy()
    if len(arms) > FEW and side.least >= 0.0 and flat(choice, main):
        prior[0], cold = precision(sums), MILD
    fit = regression(sums, prior)
    if side.costs is not None and _sum(sums.rewarded) <= 0.0:  # nobody knows yet what a cost is beside a reward
        fit = fit._replace(noise=max(fit.noise, pool(sums).noise ** 2))
    least = MUCH[int(settings["evidence"])] * shares(sums, fit.theta, arms, side)
    own = np.array(sorted(side.priors or {}), np.int64)
    if own.size:  # an arm's prior moves that arm alone: not what is common to all, and not the noise
        believed, solved = prepared(believed, Side(design, choice), t)[0], np.zeros_like(sums.xr)
        invert_all(believed.xx, believed.xr, usual, own, fit.inverse, solved)
        towards(fit.inverse, solved, usual, fit.mean, own, fit.theta)
    theta, cov = back(fit.theta, fit.noise * fit.inverse, t)
    numbers = np.empty(NUMBERS)
    numbers[NOISE], numbers[OPTIMISM], numbers[EASE] = fit.noise, OPTIMISTIC, EASY
    numbers[TEMPERATURE] = math.sqrt(cold * cold + HEAT / (1.0 + max(_sum(sums.rewarded), 0.0)))
    par, dof = np.zeros((sums.n.size, 3)), np.full(sums.n.size, np.inf)
    par[:, 0] = np.minimum(least, 1.0 / max(len(arms), 1))
    if side.watch is not None:
        par[:, 1] = side.watch
    used, floor = main if len(main.terms) else None, max(settings["floor"], side.floor)
    post = pack(Kind.OPTIMIST, par, theta, cov, dof, 0.0, numbers, floor, used, side.least)
    return charged(post, side.costs)


def flat(choice: Choice, design: Design) -> bool:
    """Whether features play no part: there are none, or they are held to next to nothing."""
    return len(design.place) == 1 or choice.ridge > RIDGES[-1]


def shares(sums: Sums, theta: Floats, arms: Arms, side: Side) -> Floats:
    """f8[K]: what each arm is shown at the least, so that the log can speak of other policies (ope.py asks for 100
    effective trials): from 5,000 trials on, of an even split over up to ten arms, and of always the default arm, the
    one that is the best on average, or the next, which may be the best tomorrow.
    """
    trials, few = max(_sum(sums.n[arms]), 1.0), max(len(arms), 1)
    part = min(1.0, FEW / few) / few
    every = max(min(SHARE * part, SHOWS / trials), min(FIRST * part, FIRST_SHOWS / trials))
    alone = min(ALONE, ALONE_SHOWS / trials)
    out = np.full(len(sums.n), every)
    if trials > len(arms):  # else nobody is the best yet
        mean = np.zeros(len(sums.n))
        on_average(sums.xx, theta, mean)
        mean -= 0.0 if side.costs is None else side.costs
        out[arms[mean[arms] >= sorted(mean[arms].tolist())[-2:][0]]] = max(every, alone)
    if side.control is not None:
        out[side.control] = max(every, alone)
    return out


def chosen(sums: Sums, design: Design) -> Choice:
    """The evidence's choice, in the bases that the fits use."""
    few = prepared(sums, Side(design, Choice()))[0]
    many = prepared(sums, Side(design, Choice(ratio=1.0)))[0] if len(design.terms) else few
    return choose(many, few, design)


def prepared(sums: Sums, side: Side, t: Floats | None = None) -> tuple[Sums, Design, Floats | None]:
    """The sums that the side's choice asks for, in the basis of its prior; the design and that basis.

    `t` is a basis that was made before, None: made from these sums.
    """
    design, choice = side.design or plain(sums.xr.shape[1]), side.choice or Choice()
    if math.isinf(choice.ratio):
        sums, design = restrict(sums, design), design.mains
    t = basis(np.asarray(sums.xx.sum(axis=0)), design) if t is None else t
    xx, xr = change(sums.xx, sums.xr, t)
    return sums._replace(xx=xx, xr=xr), design, t


def restrict(sums: Sums, design: Design) -> Sums:
    """The sums over main columns only."""
    if len(design.terms) == 0:
        return sums
    at = design.place
    return sums._replace(xx=np.ascontiguousarray(sums.xx[:, at[:, None], at]), xr=np.ascontiguousarray(sums.xr[:, at]))


def regression(sums: Sums, prior: Floats) -> Fit:
    """Coefficients of every arm, towards the likeliest common constant: an arm without trials stands there."""
    every = np.arange(len(sums.n))
    seen = np.flatnonzero(sums.n > 0.0)
    inverse, solved = np.zeros_like(sums.xx), np.zeros_like(sums.xr)
    invert_all(sums.xx, sums.xr, prior, every, inverse, solved)
    mean = np.zeros_like(sums.xr)
    mean[:, 0] = constant(sums, prior, seen)
    theta, left = np.empty_like(solved), np.zeros(len(sums.n))
    towards(inverse, solved, prior, mean, every, theta)
    residuals(sums.xx, sums.xr, sums.s2, sums.n, prior, mean, theta, left)
    slot = pool(sums)
    noise = (_sum(left) + PRIOR_TRIALS * slot.variance) / (max(slot.trials, 0.0) + PRIOR_TRIALS)
    return Fit(theta, inverse, mean, max(noise, LEAST))


def _sum(values: Floats) -> float:
    """The same bits whatever numpy's vector width."""
    return math.fsum(values.ravel().tolist())
