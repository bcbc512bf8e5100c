"""`python -m loadtest coverage`: is what a report says of arms true? Thousands of small simulated experiments.

The policy chooses, in process and without tokens or log; at every step somebody looks at the report. Counted is, once it is not too early, how often
its 95 % intervals hold the truth, and how often the arm is the best of which it says so with more than 90 %. Truth is
drawn anew for each experiment, from one base rate in turn: arms that differ by a third, half of the experiments with two
groups of visitors who want different things. A step is a snapshot: nothing is learned between two of them. Then as many
experiments with a holdout and visitors who come back: how often lift and effects of arms ever miss (effects.py). And
experiments with features and attributes (influence.py), and months with guardrails: how often one pauses an arm that does no harm, and one that does (pauses.py).
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bandits.policy import POLICIES, Policy, probabilities
from bandits.posterior import Sums
from bandits.stopping import Verdict, verdict
from bandits.summary import Seen, Span, Summary, early, seen, summary
from loadtest.coverage import effects, influence, pauses
from loadtest.rig import report

BASES = (0.001, 0.01, 0.05, 0.3)
STEPS = 30
SAID = 0.9
ORDER_SIGMA = 0.7  # of the logarithm of an order's value
MOST_ORDER = 30.0  # the largest, in usual ones: the metric's max

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """The truth of one experiment: chance[g, k] of a reward in visitor group g, and how many visitors there will be."""

    base: float
    chance: Floats
    visitors: int
    orders: bool  # a reward is an order of random value, else 1

    @property
    def scale(self) -> float:
        """The largest reward; sums are normalised by it."""
        return MOST_ORDER if self.orders else 1.0

    @property
    def span(self) -> Span:
        """What a mean can be, normalised."""
        return Span(0.0, 1.0, not self.orders)

    @property
    def truth(self) -> Floats:
        """f8[K]: what each arm earns a trial, normalised."""
        value = np.exp(0.5 * ORDER_SIGMA**2) if self.orders else 1.0
        return np.asarray(self.chance.mean(axis=0) * value / self.scale)


@dataclass(frozen=True)
class Look:
    """What somebody sees who looks now."""

    world: World
    trials: Floats
    rewarded: Floats
    own: Seen
    said: Summary

    @property
    def early(self) -> bool:
        """Too early to say anything: an arm was shown, but fewer than 30 times, or not two arms had a reward."""
        return early(self.trials, self.rewarded)

    @property
    def verdict(self) -> Verdict:
        """Whether the leader may be shown for good, and what that may cost."""
        return verdict(self.own, self.world.span, np.arange(self.trials.size), self.said)


@dataclass
class Tally:
    """Counts over all looks; `row` is what they come to."""

    intervals: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    said: int = 0
    true: int = 0
    losses: list[float] = field(default_factory=list)  # of leaders that may be shown for good, in parts of the best
    beyond: int = 0  # such leaders beside which another arm earns more than was said to be left
    ended: World | None = None  # the experiment that was last told to stop

    def see(self, look: Look) -> None:
        """Count a look: intervals of the arms that were shown, and the best arm where it is named."""
        if look.early:
            return
        self._stop(look)
        name = f"{look.world.base:g}" + (" orders" if look.world.orders else "")
        truth, shown = look.world.truth, look.trials > 0
        inside = (look.said.low <= truth) & (truth <= look.said.high)
        self.intervals[name] += int(shown.sum())
        self.covered[name] += int(inside[shown].sum())
        leader = int(look.said.best.argmax())
        if look.said.best[leader] > SAID:
            self.said += 1
            self.true += bool(truth[leader] == truth.max())

    def _stop(self, look: Look) -> None:
        """The first look of an experiment at which a report says that the leader may be shown for good."""
        if look.world is self.ended or not (found := look.verdict).settled:
            return
        self.ended, truth = look.world, look.world.truth
        self.losses.append(1.0 - float(truth[found.leader] / truth.max()))
        self.beyond += bool(truth.max() - truth[found.leader] > found.remaining * look.said.mean[found.leader])

    def row(self) -> dict[str, object]:
        """For the table and the JSON line."""
        coverage = {name: self.covered[name] / total for name, total in self.intervals.items()}
        return {
            "report_interval_coverage": {name: share for name, share in coverage.items() if " " not in name},
            "report_interval_coverage_orders": {name[:-7]: share for name, share in coverage.items() if " " in name},
            "p_best_said": self.said,
            "p_best_true": share(self.true, self.said),
            "stop_said": len(self.losses),
            "stop_error": share(self.beyond, len(self.losses)),
            "stop_loss": share(sum(self.losses), len(self.losses)),
        }


def share(part: float, whole: int) -> float | None:
    """None of nothing."""
    return part / whole if whole else None


def draw(rng: np.random.Generator, base: float, orders: bool) -> World:
    """A world about this base rate: 2 to 8 arms, 3 to 300 rewards in the middle."""
    arms = int(rng.integers(2, 9))
    own = base * np.exp(rng.normal(0.0, 0.3, arms))
    taste = np.exp(rng.normal(0.0, 0.3, arms)) if rng.random() < 0.5 else np.ones(arms)
    chance = np.minimum(np.stack([own * taste, own / taste]), 0.95)
    return World(base, chance, int(10 ** rng.uniform(0.5, 2.5) / base) + STEPS, orders)


def play(world: World, policy: Policy, rng: np.random.Generator) -> Iterator[Look]:
    """Run the experiment to its end; a look after every step."""
    arms, settings = world.chance.shape[1], {name: one.default for name, one in policy.settings.items()}
    every, groups = np.arange(arms), np.array([[1.0, -1.0], [1.0, 1.0]])
    # The same place of every step in the whole: thirty steps that grow, so that the beginning is seen as well.
    ends = np.unique(np.geomspace(max(world.visitors / 300, 4), world.visitors, STEPS).astype(int))
    n, c, s1, s2 = np.zeros((4, arms))
    sums = Sums(n, c, s1, s2, np.zeros((arms, 2, 2)), np.zeros((arms, 2)))
    for count in np.diff(ends, prepend=0):
        post, visits = policy.derive(sums, settings, every), rng.multinomial(count, [0.5, 0.5])
        for group, x in enumerate(groups):
            shown = rng.multinomial(visits[group], probabilities(post, x, every))
            _learn(sums, x, shown, rng.binomial(shown, world.chance[group]), world, rng)
        total = sums.xx[:, 0, :].sum(axis=0)
        own = seen(sums, total / total[0])
        yield Look(world, sums.n, sums.rewarded, own, summary(own, world.span, every))


def _learn(
    sums: Sums, x: Floats, shown: NDArray[np.int64], rewarded: NDArray[np.int64], world: World, rng: np.random.Generator
) -> None:
    """Add the trials of visitors who are all alike."""
    first = second = rewarded.astype(float)
    if world.orders:
        values = [np.minimum(rng.lognormal(0.0, ORDER_SIGMA, n), MOST_ORDER) / MOST_ORDER for n in rewarded]
        first, second = (np.array([float((v**power).sum()) for v in values]) for power in (1, 2))
    for column, more in zip(sums[:4], (shown, rewarded, first, second), strict=True):
        column[:] += more
    sums.xx[:] += shown[:, None, None] * np.outer(x, x)
    sums.xr[:] += first[:, None] * x


def simulate(experiments: int, policy: str, seed: int) -> dict[str, object]:
    """The row of so many experiments; every fifth one is about orders."""
    tally = Tally()
    for number in range(experiments):
        rng = np.random.default_rng([seed, number])
        world = draw(rng, BASES[number % len(BASES)], number // len(BASES) % 5 == 4)
        for look in play(world, POLICIES[policy], rng):
            tally.see(look)
    return {"experiments": experiments, "policy": policy} | tally.row()


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest coverage", description=__doc__)
    made.add_argument("--experiments", type=int, default=2000)
    made.add_argument(
        "--months", type=int, default=1000, help="with guardrails and without harm; a third as many with it"
    )
    made.add_argument("--policy", default="auto", choices=[name for name in POLICIES if name != "fixed"])
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--out", type=Path, help="write the row to this file")
    made.add_argument("--json", action="store_true", help="one JSON line last on stdout")
    return made


def main(arguments: Sequence[str]) -> int:
    """Exit code 0."""
    options = parser().parse_args(arguments)
    row = simulate(options.experiments, options.policy, options.seed)
    row |= effects.simulate(options.experiments, options.policy, options.seed, BASES)
    row |= influence.simulate(options.experiments, options.policy, options.seed, BASES)
    row |= pauses.simulate(options.months, options.policy, options.seed)
    report.console().print(report.table("what a report says", ["what", "value"], [(k, str(v)) for k, v in row.items()]))
    if options.out is not None:
        report.save(options.out, row)
    if options.json:
        report.emit(row)
    return 0
