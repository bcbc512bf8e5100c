"""What choices are made from: immutable, swapped whole, derived from the fold and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bandits.auto import Side, restrict
from bandits.policy import Policy, probabilities
from bandits.posterior import Posterior, Sums
from bandits.prior import Priors
from bandits.summary import Seen, Span, Summary, seen, soon, summary, thinned, told
from service.experiment.compiled import Experiment
from service.experiment.metric import Metric

_SUBSETS = 256  # cached pmfs of arm subsets, a slot


@dataclass(frozen=True, slots=True)
class Slot:
    """One segment of an experiment: its eligible arms and what is believed of them."""

    segment: int
    arms: NDArray[np.int64]  # eligible now, ascending
    posterior: Posterior
    contextual: bool  # whether the odds depend on features: the policy reads them, and there are some
    pmf: NDArray[np.float64]  # over `arms` where they do not; else empty
    mean: NDArray[np.float64]  # the slot's average features; d
    seen: Seen  # what the arms' own trials say at these, for reports
    members: frozenset[int]
    early: bool = True  # too early to say which arm is the best, see bandits/summary.py; who folds knows
    crowding: float = 1.0  # how many trials are worth one, as visits of one subject go together
    subsets: dict[tuple[int, ...], NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def derive(
        cls,
        segment: int,
        arms: NDArray[np.int64],
        policy: Policy,
        settings: Mapping[str, float],
        sums: Sums,
        priors: Priors | None = None,
        side: Side | None = None,
        costs: NDArray[np.float64] | None = None,
    ) -> Slot:
        """Derive a slot from its sums (over learning columns), the arms' priors and costs and the rest; a pure function."""
        design = side.design if side is not None else None
        main = sums if design is None else restrict(sums, design)
        if policy.informed is not None:
            posterior = policy.informed(sums, settings, arms, (side or Side())._replace(priors=priors, costs=costs))
        else:
            sums = main
            posterior = policy.derive(sums, settings, arms, priors, costs)
        mean = average(main if posterior.design is None else sums)
        contextual = policy.contextual and len(mean) > 1
        pmf = np.zeros(0) if contextual or len(arms) == 0 else probabilities(posterior, mean, arms)
        arms.flags.writeable = False
        own = seen(main, average(main), priors)._replace(costs=costs)
        return cls(segment, arms, posterior, contextual, pmf, mean, own, frozenset(arms.tolist()))

    @property
    def packed(self) -> NDArray[np.float64]:
        """The posterior as kernels read it."""
        return self.posterior.packed

    def judged(self, crowding: float, counts: NDArray[np.int64], experiment: Experiment) -> Slot:
        """What reports say of it: how much its trials are worth, and whether `counts` (of all arms, over all time) are enough."""
        early = soon(counts[self.arms], experiment.primary.number)
        return replace(self, seen=thinned(self.seen, crowding), early=early, crowding=crowding)

    def beliefs(self, metric: Metric) -> Summary | None:
        """What is believed of the eligible arms, over the primary metric's scale; None where there are none."""
        return summary(self.seen, span_of(metric), self.arms) if len(self.arms) else None

    def told(self, beliefs: Summary) -> Summary:
        """Of these beliefs what people are told; nan where that is nothing."""
        return told(beliefs, self.tried[self.arms], self.early)

    @property
    def tried(self) -> NDArray[np.bool_]:
        """By arm number: whether anything is known of it, by trials or by its prior."""
        return self.seen.n > 0.0

    def leader(self, metric: Metric) -> int | None:
        """The eligible arm whose serving everybody gives up the least, as reports say it; None where there is none."""
        beliefs = self.beliefs(metric)
        return None if beliefs is None else int(self.arms[int(np.argmin(beliefs.loss))])

    def pmf_of(self, arms: NDArray[np.int64]) -> NDArray[np.float64]:
        """The pmf of a slot without context over some of the eligible arms, exact for just these; computed once."""
        if len(arms) == len(self.arms):
            return self.pmf
        key = tuple(arms.tolist())
        known = self.subsets.get(key)
        if known is None:
            known = probabilities(self.posterior, self.mean, arms)
            if len(self.subsets) < _SUBSETS:
                self.subsets[key] = known
        return known


def span_of(metric: Metric) -> Span:
    """What the mean of a trial can be, over the metric's scale: one without a reward earns 0."""
    low, high = min(metric.minimum, 0.0), max(metric.maximum, 0.0)
    return Span(low / metric.scale, high / metric.scale, metric.minimum >= 0.0 and round(high / metric.unit) == 1)


def average(sums: Sums) -> NDArray[np.float64]:
    """The average features of all trials; those of a visitor of whom nothing is known where there are none."""
    total = sums.xx[:, 0, :].sum(axis=0)
    mean: NDArray[np.float64] = total / total[0] if total[0] > 0 else np.eye(1, sums.xr.shape[1])[0]
    return mean


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One experiment, ready to choose from."""

    experiment: Experiment
    slots: tuple[Slot, ...]  # by segment number
    log_id: str  # the last entry it has seen
    expires_ms: int | None  # when a date changes what is eligible
    leaders: tuple[int, ...] = ()  # by segment: the arm that is served where each segment's own has won, else empty

    def after(self, segment: int) -> int:
        """The arm that all of a segment are served while the experiment does not choose: a winner, or the default arm."""
        exp = self.experiment
        if exp.state == "ended" and self.leaders:
            return self.leaders[segment]
        return exp.default_arm if exp.winner is None else exp.winner
