"""What the runs say: means over seeds, and regret beside that of the toughest peer, chosen after the fact."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.learning.lever import NAME
from loadtest.learning.runs import Run, is_lever
from loadtest.learning.world import Floats

LEAST = 1e-12  # a regret of nothing, so that ratios stay finite


@dataclass(frozen=True)
class Result:
    """One policy on one problem over the same seeds as all others. `se` None: of one seed nothing is claimed."""

    problem: str
    policy: str
    mean: float
    se: float | None
    oracle: float
    regret: float
    regrets: tuple[float, ...]  # a seed each, in their order
    curves: tuple[tuple[float, ...], ...]
    seconds: float  # a run
    resets: float  # a run

    def record(self) -> dict[str, object]:
        """The line of --json."""
        return {
            "problem": self.problem,
            "policy": self.policy,
            "mean_reward": self.mean,
            "se": self.se,
            "oracle": self.oracle,
            "regret": self.regret,
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
        _result(problem, policy, [found[seed] for seed in sorted(found)])
        for (problem, policy), found in grouped.items()
        if found.keys() == seeds[problem]
    ]


def _result(problem: str, policy: str, runs: Sequence[Run]) -> Result:
    means = np.array([run.mean for run in runs])
    return Result(
        problem=problem,
        policy=policy,
        mean=float(means.mean()),
        se=_se(means),
        oracle=float(np.mean([run.oracle for run in runs])),
        regret=float(np.mean([run.regret for run in runs])),
        regrets=tuple(run.regret for run in runs),
        curves=tuple(run.curve for run in runs),
        seconds=float(np.mean([run.seconds for run in runs])),
        resets=float(np.mean([run.resets for run in runs])),
    )


def _se(values: Floats) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def toughest(found: Sequence[Result]) -> Result | None:
    """The peer with the least regret of those on one problem; None where no peer ran."""
    return min((r for r in found if not is_lever(r.policy)), key=lambda r: r.regret, default=None)


def ratio(mine: Result, other: Result) -> Ratio:
    """Of mean regrets; its standard error by the delta method on pairs of one seed."""
    a, b = np.array(mine.regrets), np.array(other.regrets)
    below = max(float(b.mean()), LEAST)
    value = max(float(a.mean()), LEAST) / below
    spread = _se(a - value * b)
    return Ratio(mine.problem, mine.policy, other.policy, value, None if spread is None else spread / below)


def by_problem(found: Sequence[Result]) -> Mapping[str, list[Result]]:
    """Results of each problem, in order."""
    grouped: dict[str, list[Result]] = {}
    for result in found:
        grouped.setdefault(result.problem, []).append(result)
    return grouped


def ratios(found: Sequence[Result], policy: str = NAME) -> list[Ratio]:
    """Of a policy to the toughest peer of each problem on which both ran."""
    made = []
    for group in by_problem(found).values():
        mine, peer = next((r for r in group if r.policy == policy), None), toughest(group)
        if mine is not None and peer is not None:
            made.append(ratio(mine, peer))
    return made


def geometric_mean(found: Sequence[Ratio]) -> float | None:
    """Of the ratios; None of none."""
    return math.exp(math.fsum(math.log(r.value) for r in found) / len(found)) if found else None


def summary(found: Sequence[Ratio], stale: int) -> dict[str, object]:
    """The last line of --json."""
    worst = max(found, key=lambda r: r.value, default=None)
    return {
        "geometric_mean_ratio": geometric_mean(found),
        "worst_ratio": None if worst is None else worst.value,
        "worst_problem": None if worst is None else worst.problem,
        "above_one_by_2se": [r.problem for r in found if r.above_one],
        "stale": stale,
        "ratios": {r.problem: {"peer": r.peer, "ratio": r.value, "se": r.se} for r in found},
    }
