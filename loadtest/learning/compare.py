"""What the runs say: means over seeds, and regret beside that of the toughest peer, chosen after the fact."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.learning.policies import is_lever
from loadtest.learning.problems.table import DRAWN, PROBLEMS, set_of
from loadtest.learning.problems.world import Floats
from loadtest.learning.runs import Run

LEAST = 1e-3  # of what is at stake: less regret than that counts as much, so that ratios stay finite


@dataclass(frozen=True)
class Result:
    """One policy on one problem over the same seeds as all others. `se` None: of one seed nothing is claimed."""

    runs: tuple[Run, ...]  # a seed each, in their order; never none

    @property
    def problem(self) -> str:
        """Its name."""
        return self.runs[0].problem

    @property
    def policy(self) -> str:
        """Its name."""
        return self.runs[0].policy

    @property
    def family(self) -> str:
        """Of the problem."""
        return DRAWN if self.problem == DRAWN else PROBLEMS[self.problem].family

    def of(self, field: str) -> Floats:
        """A field of each run."""
        return np.array([getattr(run, field) for run in self.runs], np.float64)

    def mean(self, field: str) -> float:
        """Its mean over the seeds."""
        return float(self.of(field).mean())

    @property
    def se(self) -> float | None:
        """Of the mean reward."""
        return _se(self.of("mean"))

    @property
    def support(self) -> float | None:
        """Mean over the seeds; None where propensities are not known."""
        shares = [run.support.share for run in self.runs if run.support is not None]
        return float(np.mean(shares)) if shares else None

    def record(self) -> dict[str, object]:
        """The line of --json."""
        return {
            "problem": self.problem,
            "family": self.family,
            "set": set_of(self.problem, [run.seed for run in self.runs]),
            "policy": self.policy,
            "mean_reward": self.mean("mean"),
            "se": self.se,
            "oracle": self.mean("oracle"),
            "regret": self.mean("regret"),
            "late_regret": self.mean("late"),
            "support": self.support,
            "found": float((self.of("best") > 0.5).mean()),
        }


@dataclass(frozen=True)
class Ratio:
    """Regret of `policy` over that of `peer`; `se` is paired by seed."""

    problem: str
    policy: str
    peer: str
    value: float
    se: float | None

    @property
    def log(self) -> float:
        """Of the value."""
        return math.log(self.value)

    @property
    def log_se(self) -> float | None:
        """Of the logarithm."""
        return None if self.se is None else self.se / self.value

    @property
    def above_one(self) -> bool:
        """Whether the peer is better by more than two standard errors."""
        return self.se is not None and self.value - 2.0 * self.se > 1.0


def results(runs: Sequence[Run]) -> list[Result]:
    """A result for each (problem, policy) that has a run for each of the seeds; in the order of the runs."""
    grouped: dict[tuple[str, str], dict[int, Run]] = {}
    seeds: dict[str, set[int]] = {}
    for run in runs:
        seeds.setdefault(run.problem, set()).add(run.seed)
        if not run.error:
            grouped.setdefault((run.problem, run.policy), {})[run.seed] = run
    return [
        Result(tuple(found[seed] for seed in sorted(found)))
        for (problem, _), found in grouped.items()
        if found.keys() == seeds[problem]
    ]


def worlds(runs: Sequence[Run]) -> list[Result]:
    """A result for each run: every seed is a problem of its own."""
    return [Result((run,)) for run in runs if not run.error]


def _se(values: Floats) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def toughest(found: Sequence[Result], field: str = "regret") -> Result | None:
    """The peer with the least regret of those on one problem; None where no peer ran."""
    return min((r for r in found if not is_lever(r.policy)), key=lambda r: r.mean(field), default=None)


def ratio(mine: Result, other: Result, field: str = "regret") -> Ratio:
    """Of mean regrets; its standard error by the delta method on pairs of one seed."""
    a, b = mine.of(field), other.of(field)
    least = max(LEAST * mine.mean("stake"), 1e-12)
    below = max(float(b.mean()), least)
    value = max(float(a.mean()), least) / below
    spread = _se(a - value * b)
    return Ratio(mine.problem, mine.policy, other.policy, value, None if spread is None else spread / below)


def by_problem(found: Sequence[Result]) -> Mapping[str, list[Result]]:
    """Results of each problem, in order; a drawn world is a problem."""
    grouped: dict[str, list[Result]] = {}
    for result in found:
        name = f"{DRAWN} {result.runs[0].seed}" if result.problem == DRAWN else result.problem
        grouped.setdefault(name, []).append(result)
    return grouped


def ratios(found: Sequence[Result], policy: str, field: str = "regret") -> list[Ratio]:
    """Of a policy to the toughest peer of each problem on which both ran. `field`: "regret" or "late"."""
    made = []
    for group in by_problem(found).values():
        mine, peer = next((r for r in group if r.policy == policy), None), toughest(group, field)
        if mine is not None and peer is not None:
            made.append(ratio(mine, peer, field))
    return made
