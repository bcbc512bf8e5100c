"""Other libraries, each behind one decide and one update, for `python -m loadtest kernels`. None of them is needed."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Peer(Protocol):
    """A library with a linear contextual model of every arm, taught by some hundred trials."""

    name: str

    def decide(self, i: int) -> object:
        """Choose at context i."""

    def update(self, i: int) -> object:
        """Learn from one trial at context i."""


class _MabWiser:
    """LinUCB of MABWiser."""

    name = "mabwiser"

    def __init__(self, arms: int, columns: int, x: Floats) -> None:
        mab = importlib.import_module("mabwiser.mab")

        rng = np.random.default_rng(1)
        self.x, self.arms = x, arms
        self.model: Any = mab.MAB(list(range(arms)), mab.LearningPolicy.LinUCB(alpha=1.0))
        n = 20 * arms
        self.model.fit(np.arange(n) % arms, (rng.random(n) < 0.2).astype(int), x[:n])

    def decide(self, i: int) -> object:
        """One prediction."""
        return self.model.predict(self.x[i : i + 1])

    def update(self, i: int) -> object:
        """One trial."""
        return self.model.partial_fit([i % self.arms], [1], self.x[i : i + 1])


class _VowpalWabbit:
    """`--cb_explore` of Vowpal Wabbit: its probabilities, as ours; the example comes as text, as its users send it."""

    name = "vowpalwabbit"

    def __init__(self, arms: int, columns: int, x: Floats) -> None:
        vowpalwabbit = importlib.import_module("vowpalwabbit")

        self.arms = arms
        self.model: Any = vowpalwabbit.Workspace(f"--cb_explore {arms} --cover 3 --quiet")
        self.texts = ["| " + " ".join(f"f{j}:{v:.5f}" for j, v in enumerate(row)) for row in x[: max(100, 20 * arms)]]
        for i in range(len(self.texts)):
            self.update(i)

    def decide(self, i: int) -> object:
        """One pmf."""
        return self.model.predict(self.texts[i % len(self.texts)])

    def update(self, i: int) -> object:
        """One trial with its propensity."""
        return self.model.learn(
            f"{i % self.arms + 1}:{-float(i % 5 == 0)}:{1 / self.arms} {self.texts[i % len(self.texts)]}"
        )


class _BayesianBandits:
    """Thompson sampling over linear regressions of bayesianbandits."""

    name = "bayesianbandits"

    def __init__(self, arms: int, columns: int, x: Floats) -> None:
        peer = importlib.import_module("bayesianbandits")

        self.x, self.arms = x, arms
        made = [peer.Arm(k, learner=peer.NormalInverseGammaRegressor()) for k in range(arms)]
        self.model: Any = peer.ContextualAgent(made, peer.ThompsonSampling(), random_seed=1)
        for i in range(arms):
            self.model.select_for_update(i).update(x[i : i + 20], (np.arange(20) % 5 == 0).astype(float))

    def decide(self, i: int) -> object:
        """One draw."""
        return self.model.pull(self.x[i : i + 1])

    def update(self, i: int) -> object:
        """One trial."""
        return self.model.select_for_update(i % self.arms).update(self.x[i : i + 1], np.ones(1))


def installed(arms: int, columns: int, x: Floats) -> Iterator[Peer]:
    """The peers that are here, taught."""
    for kind in (_MabWiser, _VowpalWabbit, _BayesianBandits):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                peer = kind(arms, columns, x)
            except ImportError:
                continue
            yield peer
