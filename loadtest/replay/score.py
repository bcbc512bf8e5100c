"""What a run was worth: rates, lifts, intervals over seeds, and where one policy overtakes the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.replay.effects import Floats
from loadtest.replay.player import CONTEXT_FREE, CONTEXTUAL, Played
from loadtest.replay.world import World, implied

POINTS = 200
# Two-sided 95 % quantiles of Student's t for 1..9 degrees of freedom.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass(frozen=True)
class Run:
    """One seed. Rates are means over the visitors; `*_rate` of uniform, single and oracle are exact, not drawn.

    `clicked` counts real draws, `expected` adds up the true probabilities of what was chosen (less noise, same mean).
    Curves are cumulative sums of the latter at `marks` visitors.
    """

    seed: int
    visitors: int
    uniform_rate: float
    single_rate: float
    oracle_rate: float
    clicked: dict[str, int]
    expected: dict[str, float]
    marks: Floats
    uniform_curve: Floats
    oracle_curve: Floats
    curves: dict[str, Floats]

    def rate(self, policy: str) -> float:
        """Clicks a visitor, as drawn."""
        return self.clicked[policy] / self.visitors

    def lift(self, policy: str) -> float:
        """Over uniform, as drawn."""
        return self.rate(policy) / self.uniform_rate - 1.0

    def expected_lift(self, policy: str) -> float:
        """Over uniform, by true probabilities."""
        return self.expected[policy] / self.uniform_rate - 1.0


def score(world: World, seed: int, played: dict[str, Played]) -> Run:
    """Judge what the policies did with visitors 0..n-1."""
    visitors = len(next(iter(played.values())).arms)
    rates = world.rates[world.contexts(seed, np.arange(visitors))]
    best = implied(world.rates).best_item
    marks = np.unique(np.linspace(0, visitors, POINTS + 1).astype(np.int64))[1:]

    def curve(chance: Floats) -> Floats:
        return np.asarray(np.cumsum(chance)[marks - 1], dtype=np.float64)

    chances = {policy: rates[np.arange(visitors), p.arms] for policy, p in played.items()}
    return Run(
        seed=seed,
        visitors=visitors,
        uniform_rate=float(rates.mean()),
        single_rate=float(rates[:, best].mean()),
        oracle_rate=float(rates.max(axis=1).mean()),
        clicked={policy: int(p.clicks.sum()) for policy, p in played.items()},
        expected={policy: float(c.mean()) for policy, c in chances.items()},
        marks=marks.astype(np.float64),
        uniform_curve=curve(rates.mean(axis=1)),
        oracle_curve=curve(rates.max(axis=1)),
        curves={policy: curve(c) for policy, c in chances.items()},
    )


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean over seeds (Student's t); None for a single seed."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    t = STUDENT[n - 2] if n - 2 < len(STUDENT) else 2.0 + 2.4 / (n - 1)
    return mean - t * spread, mean + t * spread


def mean(values: Sequence[float]) -> float:
    """Arithmetic."""
    return math.fsum(values) / len(values)


def better(runs: Sequence[Run]) -> str:
    """The policy with the higher true mean rate; luck in the clicks has no say."""
    return max(runs[0].expected, key=lambda policy: mean([r.expected[policy] for r in runs]))


def compared(runs: Sequence[Run]) -> bool:
    """Whether both the contextual and the context-free policy were played."""
    return {CONTEXTUAL, CONTEXT_FREE} <= set(runs[0].curves)


def ahead(runs: Sequence[Run]) -> list[float]:
    """Expected clicks of the contextual policy minus those of the context-free one, at the end of each run."""
    return [float(r.curves[CONTEXTUAL][-1] - r.curves[CONTEXT_FREE][-1]) for r in runs]


def overtakes(runs: Sequence[Run]) -> int | None:
    """Visitors after which the contextual policy's mean total stays above the context-free one's to the end.

    None where it is not above at the end.
    """
    lead = np.mean([r.curves[CONTEXTUAL] - r.curves[CONTEXT_FREE] for r in runs], axis=0)
    behind = np.flatnonzero(lead <= 0)
    if len(behind) == 0:
        return int(runs[0].marks[0])
    last = int(behind[-1])
    return int(runs[0].marks[last + 1]) if last + 1 < len(lead) else None
