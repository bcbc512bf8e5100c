"""How long until it is decided whether the policy is worth anything: by simulation, with the policy that serves.

Each simulated experiment has the arms, the holdout and the algorithm of the real one, and a metric of 0 and 1. One arm earns
`effect` more than the default, the others as much as it. Visitors come once. It is decided when the interval that a report
shows (at any time, bandits/effect.py) leaves 0 out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import effect
from bandits.auto import Side
from bandits.cells import SUBJECT_BUCKETS
from bandits.policy import POLICIES
from bandits.posterior import Sums
from service.errors import InvalidError
from service.experiment.compiled import Experiment
from service.serving.snapshot import Slot

LOOKS_A_DAY = 2  # and refreshes of what the policy knows: it serves with fresher sums than that
MOST_STEPS = 200_000

Floats = NDArray[np.float64]
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected: trials a day, share of the default's trials with a reward, how much more the best arm earns."""

    visits: float
    rate: float
    effect: float
    days: int
    holdout: float
    experiments: int = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """decided[d]: share of the experiments decided by the end of day d + 1. The rest in days; None: not by then."""

    expected: Expected
    arms: int
    decided: list[float]
    wrong: float  # share decided for the worse side
    half: int | None
    most: int | None  # in 80 of 100

    def sentence(self) -> str:
        """For people."""
        seen = f"{self.decided[-1]:.0%} of {self.expected.experiments} simulated experiments are decided by day {self.expected.days}"
        if self.half is None:
            return f"Only {seen}: more visits, a larger holdout or a larger effect are needed."
        then = f", in {self.most} days in 80 of 100" if self.most is not None else ""
        return f"Decided in {self.half} days in half of the cases{then}; {seen}."


def checked(experiment: Experiment, expected: Expected) -> None:
    """InvalidError names what cannot be planned with."""
    one = expected
    wrong = [
        ("visits", "must be above 0: trials a day", not one.visits > 0.0),
        ("rate", "must be between 0 and 1: the default's share of trials with a reward", not 0.0 < one.rate < 1.0),
        ("effect", "makes the best arm's rate no rate", not 0.0 < one.rate * (1.0 + one.effect) < 1.0),
        ("days", "must be at least 1", one.days < 1),
        ("experiments", "must be at least 10", one.experiments < 10),
        (
            "holdout",
            "must be above 0 and at most 0.5: without one nothing is ever decided",
            not 0.0 < one.holdout <= 0.5,
        ),
        ("arms", "needs two that can be drawn", len(_arms(experiment)) < 2),
        ("days", "times experiments is too much to simulate", one.days * one.experiments * LOOKS_A_DAY > MOST_STEPS),
    ]
    for field, message, bad in wrong:
        if bad:
            raise InvalidError.field(field, message)


def plan(experiment: Experiment, expected: Expected, seed: int = 1, progress: Progress = lambda _: None) -> Plan:
    """Simulate; InvalidError as `checked`."""
    checked(experiment, expected)
    days, signs = [], []
    for number in range(expected.experiments):
        day, sign = _decided(experiment, expected, np.random.default_rng([seed, number]))
        days.append(day)
        signs.append(sign)
        progress((number + 1) / expected.experiments)
    by = np.array(days)
    curve = [float((by <= day).mean()) for day in range(1, expected.days + 1)]
    worse = -math.copysign(1.0, expected.effect)
    return Plan(
        expected, len(_arms(experiment)), curve, sum(s == worse for s in signs) / len(signs),
        _reached(curve, 0.5), _reached(curve, 0.8),
    )  # fmt: skip


def _reached(curve: list[float], share: float) -> int | None:
    return next((day for day, decided in enumerate(curve, 1) if decided >= share), None)


def _arms(experiment: Experiment) -> NDArray[np.int64]:
    """The arms of the segment `default` that may be drawn at some time, the default arm first."""
    segment = experiment.segments.numbers["default"]
    active = [
        arm.number
        for arm in experiment.arms
        if arm.state == "active" and (arm.segments is None or segment in arm.segments)
    ]
    return np.array(sorted(active, key=lambda arm: arm != experiment.default_arm), np.int64)


def _decided(experiment: Experiment, expected: Expected, rng: np.random.Generator) -> tuple[float, float]:
    """The day on which one simulated experiment was decided, inf for never, and the sign of what it said."""
    arms = len(_arms(experiment))
    rates = np.full(arms, expected.rate)
    rates[-1] *= 1.0 + expected.effect
    n, rewarded = np.zeros(arms), np.zeros(arms)
    sides = effect.Sums(np.zeros((2, SUBJECT_BUCKETS)), np.zeros((2, SUBJECT_BUCKETS)))
    for step in range(expected.days * LOOKS_A_DAY):
        pmf = _pmf(experiment, n, rewarded)
        came = int(rng.poisson(expected.visits / LOOKS_A_DAY))
        held = int(rng.binomial(came, expected.holdout))
        shown = np.concatenate([rng.multinomial(came - held, pmf), [held]])
        trials = rng.multinomial(shown, np.full(SUBJECT_BUCKETS, 1.0 / SUBJECT_BUCKETS))
        won = rng.binomial(trials, np.append(rates, rates[0])[:, None])
        n += shown[:-1]
        rewarded += won[:-1].sum(axis=1)
        for total, more in ((sides.weight, trials), (sides.total, won)):
            total[0] += more[:-1].sum(axis=0)
            total[1] += more[-1]
        if effect.known(sides):
            mean = float(sides.total.sum() / sides.weight.sum())
            found = effect.compare(sides, mean * mean)
            if not found.low <= 0.0 <= found.high:
                return math.ceil((step + 1) / LOOKS_A_DAY), math.copysign(1.0, found.difference)
    return math.inf, 0.0


def _pmf(experiment: Experiment, n: Floats, rewarded: Floats) -> Floats:
    """What the experiment's algorithm makes of so many trials and rewards, the default arm first; without features."""
    arms = np.arange(len(n))
    policy = POLICIES[experiment.algorithm]
    sums = Sums(
        n.copy(), rewarded.copy(), rewarded.copy(), rewarded.copy(), n[:, None, None].copy(), rewarded[:, None].copy()
    )
    side = Side(least=0.0, control=0)
    pmf = Slot.derive(0, arms, policy, _settings(experiment), sums, None, side).pmf
    out: Floats = pmf / pmf.sum()
    return out


def _settings(experiment: Experiment) -> dict[str, float]:
    """The algorithm's settings; weights of `fixed` by place."""
    if experiment.algorithm != "fixed":
        return dict(experiment.settings)
    return {str(place): experiment.settings.get(str(arm), 0.0) for place, arm in enumerate(_arms(experiment).tolist())}
