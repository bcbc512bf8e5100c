"""What choices are made from: immutable, swapped whole, derived from the fold and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandits.policy import Policy, probabilities
from bandits.posterior import Posterior, Sums
from bandits.prior import with_priors
from service.experiment import Experiment

_SUBSETS = 256  # cached pmfs of arm subsets, a slot


@dataclass(frozen=True, slots=True)
class Slot:
    """One segment of an experiment: its eligible arms and what is believed of them."""

    segment: int
    arms: NDArray[np.int64]  # eligible now, ascending
    posterior: Posterior
    contextual: bool
    pmf: NDArray[np.float64]  # over `arms`, for a context-free policy; empty for a contextual one
    mean: NDArray[np.float64]  # the slot's average features, for reports; d
    members: frozenset[int]
    subsets: dict[tuple[int, ...], NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def derive(
        cls,
        segment: int,
        arms: NDArray[np.int64],
        policy: Policy,
        settings: Mapping[str, float],
        sums: Sums,
        priors: Mapping[int, tuple[float, float]] | None = None,
    ) -> Slot:
        """Derive a slot from its sums and the arms' priors; a pure function."""
        posterior = policy.derive(with_priors(sums, priors or {}), settings, arms)
        total = sums.xx[:, 0, :].sum(axis=0)
        mean = total / total[0] if total[0] > 0 else np.eye(1, sums.xr.shape[1])[0]
        pmf = np.zeros(0) if policy.contextual or len(arms) == 0 else probabilities(posterior, mean, arms)
        arms.flags.writeable = False
        return cls(segment, arms, posterior, policy.contextual, pmf, mean, frozenset(arms.tolist()))

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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One experiment, ready to choose from."""

    experiment: Experiment
    slots: tuple[Slot, ...]  # by segment number
    log_id: str  # the last entry it has seen
    expires_ms: int | None  # when a date changes what is eligible
