"""The verdict on one policy: a vote for each family of problems, and how ratios are spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from loadtest.learning import compare, policies
from loadtest.learning.compare import Ratio, Result
from loadtest.learning.problems.table import FAMILIES, PROBLEMS

TUTORIAL = "tutorial"


@dataclass(frozen=True)
class Vote:
    """What a family says: the geometric mean of its problems' ratios. `log_se` None: of one seed nothing is claimed."""

    family: str
    log: float
    log_se: float | None

    @property
    def value(self) -> float:
        """The ratio."""
        return math.exp(self.log)

    @property
    def behind(self) -> bool:
        """Whether the peers are better by more than two standard errors."""
        return self.log_se is not None and self.log > 2.0 * self.log_se

    @property
    def se(self) -> float | None:
        """Of the ratio."""
        return None if self.log_se is None else self.value * self.log_se


class Spread(NamedTuple):
    """How ratios are spread."""

    geometric_mean: float
    median: float
    p90: float
    worst: float


def votes(ratios: Sequence[Ratio]) -> dict[str, Vote]:
    """By family, in the order of FAMILIES; families without a problem have none."""
    made: dict[str, Vote] = {}
    for family in FAMILIES:
        own = [r for r in ratios if PROBLEMS[r.problem].family == family]
        if own:
            errors = [r.log_se for r in own if r.log_se is not None]
            se = math.sqrt(math.fsum(e * e for e in errors)) / len(own) if len(errors) == len(own) else None
            made[family] = Vote(family, math.fsum(r.log for r in own) / len(own), se)
    return made


def spread(ratios: Sequence[Ratio]) -> Spread | None:
    """Of the ratios; None of none."""
    if not ratios:
        return None
    values = np.array([r.value for r in ratios])
    median, p90 = np.quantile(values, (0.5, 0.9)).tolist()
    mean = math.exp(math.fsum(r.log for r in ratios) / len(ratios))
    return Spread(mean, median, p90, float(values.max()))


def families(found: Sequence[Result], policy: str) -> list[dict[str, object]]:
    """The lines of --json for one policy: a family each."""
    whole, late = (votes(compare.ratios(found, policy, field)) for field in ("regret", "late"))
    return [
        {
            "family": family,
            "policy": policy,
            "problems": [r.problem for r in found if r.policy == policy and r.family == family],
            "ratio": vote.value,
            "se": vote.se,
            "behind": vote.behind,
            "late_ratio": late[family].value,
            "late_se": late[family].se,
            "late_behind": late[family].behind,
        }
        for family, vote in whole.items()
    ]


def summary(found: Sequence[Result], policy: str) -> dict[str, object]:
    """The last line of --json. `alone`: the same mean for each peer, had it been chosen beforehand, beside the toughest of all."""
    ratios = compare.ratios(found, policy)
    worst = max(ratios, key=lambda r: r.value, default=None)
    return {
        "policy": policy,
        **_judged(ratios),
        "late": _judged(compare.ratios(found, policy, "late")),
        "worst_problem": None if worst is None else worst.problem,
        "alone": {
            peer: overall(compare.ratios(found, peer)) for peer in sorted({r.policy for r in found} - _levers(found))
        },
        "above_one_by_2se": [r.problem for r in ratios if r.above_one],
        "ratios": {r.problem: {"peer": r.peer, "ratio": r.value, "se": r.se} for r in ratios},
    }


def _levers(found: Sequence[Result]) -> set[str]:
    return {r.policy for r in found if policies.is_lever(r.policy)}


def _judged(ratios: Sequence[Ratio]) -> dict[str, object]:
    """Means over the families' votes, quantiles over problems."""
    found = spread(ratios)
    return {
        "behind": [vote.family for vote in votes(ratios).values() if vote.behind],
        "geometric_mean_ratio": overall(ratios),
        "without_tutorial": overall(ratios, TUTORIAL),
        "median": None if found is None else found.median,
        "p90": None if found is None else found.p90,
        "worst": None if found is None else found.worst,
    }


def overall(ratios: Sequence[Ratio], without: str = "") -> float | None:
    """The geometric mean of the families' votes; None where there are none."""
    logs = [vote.log for vote in votes(ratios).values() if vote.family != without]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def drawn(found: Sequence[Result], policy: str) -> dict[str, object]:
    """The last line of --json for drawn worlds."""
    whole, late = (spread(compare.ratios(found, policy, field)) for field in ("regret", "late"))
    return {
        "policy": policy,
        "ratio": None if whole is None else whole._asdict(),
        "late": None if late is None else late._asdict(),
        "worst_worlds": worst_worlds(found, policy),
    }


def worst_worlds(found: Sequence[Result], policy: str, most: int = 5) -> dict[int, float]:
    """Seed and ratio of the worlds on which a policy is furthest behind."""
    ratios = {group[0].runs[0].seed: compare.ratios(group, policy) for group in compare.by_problem(found).values()}
    values = {seed: own[0].value for seed, own in ratios.items() if own}
    return dict(sorted(values.items(), key=lambda pair: -pair[1])[:most])
