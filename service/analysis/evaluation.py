"""What a policy would have earned on logged trials: from trials and a target to estimates, or a plain refusal.

A target that learns is fitted on the log itself by cross-fitting: the rows of each third are judged by what the
algorithm derives, through the very fold and derivation that serve, from the other two thirds. It is then held still:
what is estimated is the policy as this log taught it, not how fast it learned. Forgetting plays no part.

Rows of the holdout teach nothing, and speak of a target as far as their draw could have given what the target would choose: those
who are served the default of "always the default", those of an even split of every target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandits import ope
from bandits.auto import Side
from bandits.layout import X_SCALE
from bandits.policy import probabilities
from bandits.state import Rows, Rules, State, Totals
from service.analysis.target import Target, read_policy
from service.serving.snapshot import Slot

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Progress = Callable[[float], None]  # told the share that is done

MOST_CELLS = 20_000_000  # rows x arms: 160 MB for the target's probabilities


@dataclass(frozen=True, slots=True)
class Trials:
    """n trials that a policy or the holdout drew, one of each unit, in the order of their decisions.

    arm, segment, total (in `unit`s of the reward): i8[n]; propensity f8[n]; x i2[n, columns - 1] in units of 2^-12.
    choices[choice[i]] are the numbers of the arms that row i could have had from a policy, ascending. held[i]: it is of the
    holdout; open[i]: its reward may still come. `left_out` counts rows by why they are not here.
    """

    arms: tuple[str, ...]
    arm: Ints
    segment: Ints
    propensity: Floats
    total: Ints
    x: NDArray[np.int16]
    choice: Ints
    choices: tuple[Ints, ...]
    rules: Rules
    unit: float
    left_out: Mapping[str, int] = field(default_factory=dict)
    priors: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    held: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))  # empty here and below: none of them
    open: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))
    costs: Floats | None = None  # f8[arms]: of showing each, in units of the reward's scale

    def __post_init__(self) -> None:
        for name in ("held", "open"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(len(self.arm), np.bool_))

    def __len__(self) -> int:
        return len(self.arm)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The answer. `estimates` are empty where `support.refused` says why; `logged` is what the policy really earned.

    `approximate`: the target learns, and what is estimated is what two thirds of the log made of it. `held_rows` of those
    that were used are the holdout's.
    """

    policy: str
    support: ope.Support
    logged: ope.Estimate | None
    estimates: tuple[ope.Estimate, ...]
    left_out: Mapping[str, int]
    open_rows: int
    warnings: tuple[str, ...] = ()  # of the policy's file
    approximate: bool = False
    held_rows: int = 0


def evaluate(trials: Trials, policy: str, progress: Progress = lambda _: None) -> Evaluation:
    """Evaluate the policy that the text describes. InvalidError where the text is wrong."""
    target = read_policy(policy, trials.arms)
    said = (target.warnings, target.learns)
    if trials.held.all():
        refused = ope.Support(0, 0.0, 0.0, 0.0, 1.0, "it has no trials that a policy drew")
        return Evaluation(target.name, refused, None, (), trials.left_out, 0, *said)
    fold = ope.folds(len(trials))
    pmf = target_pmf(trials, target, fold, lambda share: progress(0.8 * share))
    reward = (trials.total * trials.unit).astype(np.float64)
    if trials.costs is not None:
        largest = max(abs(trials.rules.low), abs(trials.rules.high)) * trials.unit
        reward -= trials.costs[trials.arm] * largest
    used = ~trials.held | speaks(trials, pmf)
    held, left = trials.held[used], dict(trials.left_out)
    if not used.all():
        left["holdout"] = int((~used).sum())
    arm, propensity, x = trials.arm[used], trials.propensity[used], full(trials.x[used])
    log = ope.pooled(ope.Logged(arm, propensity, reward[used], x, pmf[used], fold[used]), held)
    support = ope.support(log)
    logged = ope.logged(reward[~trials.held])
    progress(0.85)
    estimates = () if support.refused else ope.estimates(log)
    progress(1.0)
    still = int(trials.open[used].sum())
    return Evaluation(target.name, support, logged, estimates, left, still, *said, int(held.sum()))


def speaks(trials: Trials, pmf: Floats) -> Mask:
    """bool[n]: whether the draw of a row that is held out could have given all that the target would choose there."""
    sure = pmf[np.arange(len(trials)), trials.arm] >= 1.0 - 1e-9
    return sure | (trials.propensity < 1.0)  # below 1 it was an even split over all arms that could be drawn


def full(x: NDArray[np.int16]) -> Floats:
    """Features in units of 1 with the constant in front."""
    return np.concatenate([np.ones((len(x), 1)), x / X_SCALE], axis=1)


def target_pmf(trials: Trials, target: Target, fold: Ints, progress: Progress) -> Floats:
    """f8[n, arms]: what the target would have done in each row, knowing only rows of other folds."""
    out = np.zeros((len(trials), trials.rules.arms))
    done = 0
    for number in range(ope.FOLDS):
        state = learned(trials, (fold != number) & ~trials.held)
        for segment in np.unique(trials.segment[fold == number]).tolist():
            rows = np.flatnonzero((fold == number) & (trials.segment == segment))
            arms = np.unique(np.concatenate([trials.choices[c] for c in np.unique(trials.choice[rows]).tolist()]))
            sums = state.sums(segment)
            side = Side(trials.rules.design, None, trials.rules.least)
            known = target.settings, sums, trials.priors, side, trials.costs
            slot = Slot.derive(segment, arms, target.policy, *known)
            _fill(out, trials, slot, rows)
            done += len(rows)
            progress(done / len(trials))
    return out


def learned(trials: Trials, chosen: NDArray[np.bool_]) -> State:
    """The fold of some of the trials with their rewards, as a server's. All in one time bucket: nothing is forgotten."""
    n = int(chosen.sum())
    zero = np.zeros(n, np.int64)
    rows = Rows(zero, trials.segment[chosen], trials.arm[chosen], zero, zero, trials.x[chosen])
    state = State(trials.rules)
    state.add_trials(rows)
    metric = np.full(n, trials.rules.primary, np.int64)
    state.add_rewards(rows, Totals(metric, zero, trials.total[chosen], zero, zero))
    return state


def _fill(out: Floats, trials: Trials, slot: Slot, rows: Ints) -> None:
    """Fill in the slot's probabilities at its rows."""
    if not slot.contextual:
        for choice in np.unique(trials.choice[rows]).tolist():
            arms = trials.choices[choice]
            out[np.ix_(rows[trials.choice[rows] == choice], arms)] = slot.pmf_of(arms)
        return
    x = full(trials.x[rows])
    for i, row in enumerate(rows.tolist()):
        arms = trials.choices[trials.choice[row]]
        out[row, arms] = probabilities(slot.posterior, x[i], arms)
