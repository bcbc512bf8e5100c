"""What choices are made from: immutable, swapped whole, derived from the fold and nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandits.auto import Side, restrict
from bandits.pending import decide_pending, decide_rows_pending, note
from bandits.policy import Policy, decide, decide_batch, probabilities
from bandits.posterior import Posterior, Sums
from bandits.prior import Priors
from bandits.summary import Seen, Span, Summary, seen, summary
from service.experiment.compiled import Experiment, Metric

_SUBSETS = 256  # cached pmfs of arm subsets, a slot
_RECENT = 4096  # decisions remembered until the fold has them, a slot


class Pending:
    """A server's own decisions that the snapshot has not seen, for one slot; see bandits.pending.

    Beside the snapshot, never in what servers compare. `packed` is a copy that decisions change; a thread holds the
    interpreter lock while it does.
    """

    __slots__ = ("packed", "recent")

    def __init__(self, posterior: Posterior) -> None:
        self.packed = posterior.packed.copy()
        self.recent: deque[tuple[int, int, NDArray[np.int16]]] = deque(maxlen=_RECENT)

    def follow(self, before: Pending, seen_ms: int) -> None:
        """Take over the decisions made after `seen_ms`, which the new snapshot has not seen either."""
        for when, arm, x in list(before.recent):
            if when > seen_ms:
                note(self.packed, x, np.array([arm], np.int64))
                self.recent.append((when, arm, x))


@dataclass(frozen=True, slots=True)
class Slot:
    """One segment of an experiment: its eligible arms and what is believed of them."""

    segment: int
    arms: NDArray[np.int64]  # eligible now, ascending
    posterior: Posterior
    contextual: bool
    pmf: NDArray[np.float64]  # over `arms`, for a context-free policy; empty for a contextual one
    mean: NDArray[np.float64]  # the slot's average features; d
    seen: Seen  # what the arms' own trials say at these, for reports
    members: frozenset[int]
    subsets: dict[tuple[int, ...], NDArray[np.float64]] = field(default_factory=dict)
    pending: Pending | None = None

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
    ) -> Slot:
        """Derive a slot from its sums (over learning columns), the arms' priors and the rest; a pure function."""
        design = side.design if side is not None else None
        main = sums if design is None else restrict(sums, design)
        if policy.informed is not None:
            posterior = policy.informed(sums, settings, arms, (side or Side())._replace(priors=priors))
        else:
            sums = main
            posterior = policy.derive(sums, settings, arms, priors)
        mean = average(main if posterior.design is None else sums)
        pmf = np.zeros(0) if policy.contextual or len(arms) == 0 else probabilities(posterior, mean, arms)
        arms.flags.writeable = False
        pending = Pending(posterior) if policy.informed is not None else None
        own = seen(main, average(main), priors)
        members = frozenset(arms.tolist())
        return cls(segment, arms, posterior, policy.contextual, pmf, mean, own, members, pending=pending)

    def decide(
        self, x: NDArray[np.int16], arms: NDArray[np.int64], unit: int, salt: int, out: NDArray[np.float64], now_ms: int
    ) -> int:
        """A contextual choice that counts: fills out with the pmf, returns the position in `arms`."""
        if self.pending is None:
            return decide(self.posterior.packed, x, arms, unit, salt, out)
        at = decide_pending(self.pending.packed, x, arms, unit, salt, out)
        self.pending.recent.append((now_ms, int(arms[at]), x))
        return at

    def decide_many(
        self,
        rows: NDArray[np.int16],
        arms: NDArray[np.int64],
        units: NDArray[np.uint64],
        salt: int,
        chosen: NDArray[np.int64],
        propensity: NDArray[np.float64],
        parts: Iterable[slice],
    ) -> None:
        """The same for many, part by part; what they tell each other is forgotten with the call."""
        pending = None if self.pending is None else self.pending.packed.copy()
        for part in parts:
            given = (rows[part], arms, units[part], salt, chosen[part], propensity[part])
            if pending is None:
                decide_batch(self.posterior, *given)
            else:
                decide_rows_pending(pending, *given)

    def beliefs(self, metric: Metric) -> Summary | None:
        """What is believed of the eligible arms, over the primary metric's scale; None where there are none."""
        return summary(self.seen, span_of(metric), self.arms) if len(self.arms) else None

    def pmf_of(self, arms: NDArray[np.int64]) -> NDArray[np.float64]:
        """The context-free policy's pmf over some of the eligible arms, exact for just these; computed once."""
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
    seen_ms: int = 0  # time of the newest decision it has seen

    def follow(self, before: Snapshot) -> None:
        """Take over from the snapshot before it what neither has seen. Call it before this one is published."""
        for slot, old in zip(self.slots, before.slots, strict=False):
            if slot is not old and slot.pending is not None and old.pending is not None:
                slot.pending.follow(old.pending, self.seen_ms)
