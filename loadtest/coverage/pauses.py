"""Do guardrails pause what does harm, and nothing else? Simulated months, judged after every step, through the real sums.

Visitors come up to 20 times and differ, the policy learns clicks, one group of visitors clicks and buys more than the other, what all buy
goes up and down with the days, and complaints and orders come hours or days after the visit. Two guardrails: complaints at most 0.4 % of an
arm's trials, revenue at most 5 % below the holdout. *Without harm* no arm is beyond a guardrail, and in half of the months every
arm is exactly at both. *With harm* one arm earns half as many clicks again, so that the policy likes it, and five times the complaints or 0.4 of
the orders; the others are not beyond a guardrail.

What theory gives: the moment from which 95 of 100 arms as harmful are beyond the interval, as wide as it is then, given what can have come by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandits import effect
from bandits.guarded import DRAWN, HOLDOUT, OWN, Guarded
from bandits.guardrail import Bound, Evidence, Judged, Kind, earner, judge, level, suspects
from bandits.layout import HOLDOUT as HELD_FLAG
from bandits.policy import POLICIES, Policy, probabilities
from bandits.posterior import Sums
from bandits.state import Rows, Rules, Totals

STEPS = 90
DAYS = 30
LATE_DAYS = 1.0  # the mean of what rewards take to come
VISITS = (1, 5, 20)  # of a subject at the most
HOLDOUTS = (0.05, 0.1, 0.3)
KEENNESS = (0.2, 1.8)
COMPLAINT, REVENUE = 1, 2  # metrics; 0 is the click
UNITS = 100  # of a usual order
BOUNDS = {COMPLAINT: Bound(Kind.MOST, 0.004), REVENUE: Bound(Kind.DROP, 0.05)}
COMES = 1.0 / (1.0 + LATE_DAYS * STEPS / DAYS)  # chance that a reward comes in a step
SURE = 1.645  # the normal's 95 % point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Month:
    """The truth: chances by visitor group and arm, f8[2,K]; how many visits, subjects' visits, the holdout's share."""

    click: Floats
    complaint: Floats
    order: Floats
    visits: int
    most: int
    share: float
    harmful: int = 0  # number of the arm that does harm, under the metric `under`; 0: none
    under: int = 0

    def truth(self, come: float) -> float:
        """What the guardrail looks at, of the arm that does harm: its rate, of which a share has come; or its revenue over the holdout's."""
        if self.under == COMPLAINT:
            return come * float(self.complaint[:, self.harmful].mean())
        return float(self.order[:, self.harmful].mean() / self.order[:, 0].mean()) - 1.0


def draw(rng: np.random.Generator, *, harm: bool) -> Month:
    """2 to 6 arms, 30,000 to 300,000 visits in a month."""
    arms = int(rng.integers(2, 7))
    click = 0.05 * np.exp(rng.normal(0.0, 0.3, arms))
    taste = np.exp(rng.normal(0.0, 0.3, arms))
    at_bound = rng.random() < 0.5
    complaint = np.full((2, arms), 0.004 if at_bound else 0.002)
    order = np.array([[0.02], [0.06]]) * np.where(np.arange(arms) == 0, 1.0, 0.95 if at_bound and not harm else 1.0)
    harmful = under = 0
    if harm:
        harmful, under = int(rng.integers(1, arms)), int(rng.choice([COMPLAINT, REVENUE]))
        click[harmful] *= 1.5
        (complaint if under == COMPLAINT else order)[:, harmful] *= 5.0 if under == COMPLAINT else 0.4
    chance = np.stack([click * taste, 2.0 * click / taste])
    visits, most = int(10 ** rng.uniform(4.5, 5.5)), int(rng.choice(VISITS))
    return Month(chance, complaint, order, visits, most, float(rng.choice(HOLDOUTS)), harmful, under)


@dataclass
class Kept:
    """The sums after a step; `sizes` by metric and side (arm 0.., holdout last): trials, rewarded, squares."""

    arms: int
    guarded: Guarded = field(init=False)
    sizes: Floats = field(init=False)
    rules: Rules = field(init=False)
    trials: Floats = field(init=False)
    awaited: Floats = field(init=False)  # trials whose rewards have not come yet, as they are to be expected

    def __post_init__(self) -> None:
        self.rules = Rules(1, self.arms, 3, 1, 0, 0, 1, DAYS, guarded=(0, 0, 0))
        self.guarded, self.sizes = Guarded(self.rules), np.zeros((3, self.arms + 1, 2))
        self.trials, self.awaited = np.zeros((2, self.arms + 1))
        self._windows = np.zeros((1, self.arms, 4), np.int64)
        self._windows[..., [1, 3]] = 2**62

    def show(self, visits: Rows) -> None:
        """The trials of a step."""
        self.guarded.add_trials(visits, self._windows)
        shown = np.bincount(self._side(visits), minlength=self.arms + 1)
        self.trials += shown
        self.awaited = (self.awaited + shown) * (1.0 - COMES)

    def reward(self, some: Rows, metric: int, values: Ints) -> None:
        """Rewards that came in a step."""
        zero = np.zeros(len(values), np.int64)
        self.guarded.add_rewards(some, Totals(zero + metric, zero, values, zero, zero), self._windows)
        for place, column in enumerate((np.ones(len(values)), values.astype(float) ** 2)):
            self.sizes[metric, :, place] += np.bincount(self._side(some), column, self.arms + 1)

    def _side(self, visits: Rows) -> Ints:
        return np.where(visits.flags != 0, self.arms, visits.arm)

    def suspects(self) -> Ints:
        """The arms that a server would judge."""
        beyond = np.zeros(self.arms, np.bool_)
        for metric, bound in BOUNDS.items():
            beyond |= suspects(bound, *(self.guarded.means(side, metric) for side in (OWN, DRAWN, HOLDOUT)))
        return np.flatnonzero(beyond[1:]) + 1

    def evidence(self, arm: int, metric: int) -> Evidence:
        """As the server has it (service/analysis/guardrails.py)."""
        bound = BOUNDS[metric]
        weight, total, squares = self.guarded.pair(arm, OWN if bound.kind is Kind.MOST else DRAWN, metric)
        side = arm if earner(bound) == 0 else self.arms
        n, (rewarded, square) = float(self.trials[side]), self.sizes[metric, side]
        return Evidence(weight, total, squares, effect.usual(n, rewarded, square), rewarded / max(n, 1.0))


def rows(who: Ints, arm: Ints, held: NDArray[np.bool_], bucket: Ints, p: Floats) -> Rows:
    """Rows of the log, all of one time and segment."""
    zero = np.zeros(len(who), np.int64)
    flags = np.where(held, HELD_FLAG, 0).astype(np.int64)
    return Rows(zero, zero, arm, flags, bucket, np.zeros((len(who), 0), np.int16), np.where(held, 0.0, p), zero)


@dataclass(frozen=True)
class Crowd:
    """Every visit in the order of time: who; and of each subject what decides."""

    visits: Ints
    group: Ints
    keen: Floats
    held: NDArray[np.bool_]
    bucket: Ints


def crowd(month: Month, rng: np.random.Generator) -> Crowd:
    """Subjects come at any time; their visits lie within a tenth of the month."""
    often = rng.integers(1, month.most + 1, int(2 * month.visits / (month.most + 1)) + 1)
    subject, n = np.repeat(np.arange(len(often)), often), len(often)
    time = rng.random(n)[subject] + rng.exponential(0.1, len(subject))
    held, keen = rng.random(n) < month.share, rng.choice(KEENNESS, n)
    return Crowd(subject[np.argsort(time)], rng.integers(0, 2, n), keen, held, rng.integers(0, 256, n))


def play(month: Month, policy: Policy, rng: np.random.Generator) -> Iterator[Kept]:
    """Run it; what is kept after every step."""
    arms, settings = month.click.shape[1], {name: one.default for name, one in policy.settings.items()}
    every, groups, kept, came = np.arange(arms), np.array([[1.0, -1.0], [1.0, 1.0]]), Kept(arms), crowd(month, rng)
    n, c, s1, s2 = np.zeros((4, arms))
    sums = Sums(n, c, s1, s2, np.zeros((arms, 2, 2)), np.zeros((arms, 2)))
    ends = np.linspace(0, len(came.visits), STEPS + 1).astype(int)
    late: list[list[tuple[Rows, int, Ints]]] = [[] for _ in range(STEPS)]
    for step in range(STEPS):
        post = policy.derive(sums, settings, every)
        pmf = np.stack([probabilities(post, x, every) for x in groups])
        who = came.visits[ends[step] : ends[step + 1]]
        held, group, keen = came.held[who], came.group[who], came.keen[who]
        arm = np.minimum((rng.random(len(who))[:, None] >= pmf.cumsum(axis=1)[group]).sum(axis=1), arms - 1)
        arm[held] = 0
        visits = rows(who, arm, held, came.bucket[who], pmf[group, arm])
        kept.show(visits)
        clicked = rng.random(len(who)) < month.click[group, arm] * keen
        _teach(sums, groups, group[~held], arm[~held], clicked[~held].astype(float))
        season = 1.0 + 0.5 * np.sin(2 * np.pi * DAYS * step / STEPS / 7)
        for metric, chance in ((COMPLAINT, month.complaint), (REVENUE, month.order * season)):
            _earn(visits, metric, rng.random(len(who)) < chance[group, arm] * keen, late[step:], rng)
        for some, metric, values in late[step]:
            kept.reward(some, metric, values)
        late[step].clear()
        yield kept


def _earn(
    visits: Rows,
    metric: int,
    those: NDArray[np.bool_],
    late: list[list[tuple[Rows, int, Ints]]],
    rng: np.random.Generator,
) -> None:
    """Who complains or orders, and in which step from now that comes."""
    places = np.flatnonzero(those)
    usual = np.minimum(rng.lognormal(0.0, 0.7, len(places)), 30.0) * UNITS
    worth = np.rint(usual if metric == REVENUE else np.ones(len(places))).astype(np.int64)
    due = rng.geometric(COMES, len(places)) - 1
    for at in np.unique(due[due < len(late)]):
        mask = np.zeros(len(those), np.bool_)
        mask[places[due == at]] = True
        late[at].append((visits.where(mask), metric, worth[due == at]))


def _teach(sums: Sums, groups: Floats, group: Ints, arm: Ints, earned: Floats) -> None:
    arms = len(sums.n)
    for g, x in enumerate(groups):
        mine = group == g
        shown, first = np.bincount(arm[mine], minlength=arms), np.bincount(arm[mine], earned[mine], arms)
        for column, more in zip(sums[:4], (shown, first, first, first), strict=True):
            column[:] += more
        sums.xx[:] += shown[:, None, None] * np.outer(x, x)
        sums.xr[:] += first[:, None] * x


def look(kept: Kept, arms: NDArray[np.int64]) -> dict[tuple[int, int], Judged]:
    """Every guardrail of these arms, by arm and metric."""
    alpha = level(kept.arms - 1, len(BOUNDS))
    return {(int(k), m): judge(BOUNDS[m], kept.evidence(int(k), m), alpha) for k in arms for m in BOUNDS}


@dataclass
class Tally:
    """Counts over months; `row` is what they come to."""

    months: int = 0
    paused: int = 0  # of months without harm
    harmful: int = 0
    due: int = 0  # of months with harm, those that were long enough for what theory gives
    caught: int = 0  # of these, by then
    found: int = 0
    took: list[tuple[float, float]] = field(
        default_factory=list
    )  # trials of the harmful arm until it is paused, and days
    theory: list[tuple[float, float]] = field(default_factory=list)

    def safe(self, looks: Iterator[Kept]) -> None:
        """A month without harm."""
        self.months += 1
        for kept in looks:
            if any(one.harm for one in look(kept, kept.suspects()).values()):
                self.paused += 1
                return

    def harm(self, month: Month, looks: Iterator[Kept]) -> None:
        """A month with harm; the arm goes on being shown, to see when theory would have it paused."""
        self.harmful += 1
        took = theory = None
        for step, kept in enumerate(looks):
            one = look(kept, np.array([month.harmful]))[month.harmful, month.under]
            trials = float(kept.trials[month.harmful])
            now = (trials, (step + 1) * DAYS / STEPS)
            if took is None and one.harm:
                took = now
            if theory is None and not one.early and _surely(month, one, 1.0 - kept.awaited[month.harmful] / trials):
                theory = now
            if took is not None and theory is not None:
                self.took.append(took)
                self.theory.append(theory)
                break
        self.found += took is not None
        if theory is not None:
            self.due += 1
            self.caught += took is not None and took[1] <= theory[1]

    def row(self) -> dict[str, object]:
        """For the table and the JSON line."""
        return {
            "months_without_harm": self.months,
            "false_pause_rate": self.paused / self.months if self.months else None,
            "months_with_harm": self.harmful,
            "months_long_enough": self.due,
            "pause_power": self.caught / self.due if self.due else None,
            "paused_within_the_month": self.found / self.harmful if self.harmful else None,
            "pause_trials": _middle(self.took, 0),
            "pause_trials_theory": _middle(self.theory, 0),
            "pause_days": _middle(self.took, 1),
            "pause_days_theory": _middle(self.theory, 1),
        }


def _middle(values: list[tuple[float, float]], part: int) -> float | None:
    return float(np.median([one[part] for one in values])) if values else None


def _surely(month: Month, one: Judged, come: float) -> bool:
    """Whether the interval leaves the bound out in 95 of 100 cases, the truth being what it is."""
    bound, truth = BOUNDS[month.under], month.truth(come)
    if bound.kind is Kind.MOST:
        # As wide as it is where as many complain as should: a count and its error are lucky together.
        scale = float(np.sqrt(truth / one.estimate))
        return truth - bound.limit >= scale * ((one.high - one.low) / 2 + SURE * one.error)
    return bound.factor - 1.0 - truth >= one.high - one.estimate + SURE * one.error


def simulate(months: int, policy: str, seed: int) -> dict[str, object]:
    """The row of so many months without harm, and a third as many with it."""
    tally = Tally()
    for number in range(months):
        rng = np.random.default_rng([seed, 2, number])
        month = draw(rng, harm=False)
        tally.safe(play(month, POLICIES[policy], rng))
    for number in range(months // 3):
        rng = np.random.default_rng([seed, 3, number])
        month = draw(rng, harm=True)
        tally.harm(month, play(month, POLICIES[policy], rng))
    return tally.row()
