"""Other libraries with the settings they recommend, as a user would set them up. What is not installed is left out.

MABWiser (Strong, Kleynhans, Kadioglu 2019): LinUCB and LinTS, a ridge regression an arm.
bayesianbandits: Thompson sampling with a Normal-Inverse-Gamma regression an arm.
Vowpal Wabbit: --cb_explore_adf -q UA, a learner of the interactions of context and arm.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from loadtest.learning import learner
from loadtest.learning.learner import Agent, Post
from loadtest.learning.problems.world import CATEGORY, Floats, Ints, World

ONLINE = 1  # Vowpal Wabbit learns every outcome as it comes


@dataclass(frozen=True)
class Peer:
    """A policy of another library: `play(world, seed, batch)` gives the arms it chooses."""

    name: str
    package: str
    play: Callable[[World, int, int], Ints]
    batches: bool = True  # learns in batches, so that their size matters

    @property
    def version(self) -> str | None:
        """Of the installed package, None where it is missing."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None


class MabWiser:
    """MABWiser's linear policies. Every arm must be fitted before the first choice: that one is made at random."""

    def __init__(self, policy: str, alpha: float, arms: int, seed: int) -> None:
        mab = importlib.import_module("mabwiser.mab")
        made = getattr(mab.LearningPolicy, policy)(alpha=alpha, l2_lambda=1.0)
        self._mab = mab.MAB(arms=list(range(arms)), learning_policy=made, seed=seed)
        self._random = np.random.default_rng([seed, 77])
        self._arms, self._fitted = arms, False

    def choose(self, x: Floats) -> Ints:
        """See Agent."""
        if not self._fitted:
            return self._random.integers(0, self._arms, len(x))
        chosen: Any = self._mab.predict(x)
        return np.atleast_1d(np.asarray(chosen, np.int64))

    def learn(self, x: Floats, arms: Ints, rewards: Floats) -> None:
        """See Agent."""
        (self._mab.partial_fit if self._fitted else self._mab.fit)(arms, rewards, x)
        self._fitted = True


class BayesianBandits:
    """A ContextualAgent of bayesianbandits with its Normal-Inverse-Gamma regressor at its own priors."""

    def __init__(self, arms: int, seed: int) -> None:
        bb = importlib.import_module("bayesianbandits")
        made = [bb.Arm(k, learner=bb.NormalInverseGammaRegressor()) for k in range(arms)]
        self._agent = bb.ContextualAgent(made, bb.ThompsonSampling(), random_seed=seed)

    def choose(self, x: Floats) -> Ints:
        """See Agent."""
        return np.asarray(self._agent.pull(x), np.int64)

    def learn(self, x: Floats, arms: Ints, rewards: Floats) -> None:
        """See Agent."""
        for arm in np.unique(arms).tolist():
            mine = arms == arm
            self._agent.select_for_update(arm).update(x[mine], rewards[mine])


class VowpalWabbit:
    """One workspace; contexts and arms are texts in its own format."""

    def __init__(self, world: World, options: str, seed: int) -> None:
        vw = importlib.import_module("vowpalwabbit")
        self._vw = vw.Workspace(f"--cb_explore_adf -q UA --quiet --random_seed {seed} {options}")
        self._kind = vw.LabelType.CONTEXTUAL_BANDIT
        self._random = np.random.default_rng([seed, 78])
        self._arms = [f"|A arm={k}{attributes(arm)}" for k, arm in enumerate(world.arms)]
        self._world = world
        self._chance = np.zeros(world.rounds)

    def choose(self, row: int) -> int:
        """The arm for this round, drawn from VW's probabilities."""
        examples = self._vw.parse("\n".join([self._shared(row), *self._arms]), self._kind)
        p = np.asarray(self._vw.predict(examples), dtype=np.float64)
        self._vw.finish_example(examples)
        arm = int(self._random.choice(len(p), p=p / p.sum()))
        self._chance[row] = p[arm]
        return arm

    def learn(self, row: int, arm: int) -> None:
        """The outcome of a round is known; a cost is what VW keeps low."""
        cost = -self._world.drawn[row, arm] / self._world.typical
        lines = [self._shared(row), *self._arms]
        lines[arm + 1] = f"0:{cost:.6g}:{self._chance[row]:.6g} {self._arms[arm]}"
        examples = self._vw.parse("\n".join(lines), self._kind)
        self._vw.learn(examples)
        self._vw.finish_example(examples)

    def close(self) -> None:
        """Free the model."""
        self._vw.finish()

    def _shared(self, row: int) -> str:
        parts = ["shared |U one"]
        for feature, cell in zip(self._world.features, self._world.context[row].tolist(), strict=True):
            value = f"={feature.values[int(cell)]}" if feature.type == CATEGORY else f":{cell:.6g}"
            parts.append(f"{feature.name}{value}")
        return " ".join(parts)


def attributes(arm: Mapping[str, str]) -> str:
    """An arm's attributes as VW features."""
    return "".join(f" {name}={value}" for name, value in arm.items())


def mabwiser(policy: str, alpha: float) -> Callable[[World, int, int], Ints]:
    """Plays one of MABWiser's policies."""

    def play(world: World, seed: int, batch: int) -> Ints:
        agent: Agent = MabWiser(policy, alpha, len(world.arms), seed)
        return learner.play(world, agent, batch)

    return play


def bayesian(world: World, seed: int, batch: int) -> Ints:
    """Plays bayesianbandits."""
    return learner.play(world, BayesianBandits(len(world.arms), seed), batch)


def wabbit(options: str) -> Callable[[World, int, int], Ints]:
    """Plays Vowpal Wabbit, which learns each outcome before the next choice."""

    def play(world: World, seed: int, batch: int) -> Ints:
        vw = VowpalWabbit(world, options, seed)
        chosen = np.empty(world.rounds, np.int64)
        post = Post(world)
        for row in range(world.rounds):
            for known in post.collect(row):
                vw.learn(known, int(chosen[known]))
            chosen[row] = vw.choose(row)
            post.send(row, int(chosen[row]))
        vw.close()
        return chosen

    return play


def _table() -> Mapping[str, Peer]:
    rows = (
        Peer("mabwiser linucb .25", "mabwiser", mabwiser("LinUCB", 0.25)),
        Peer("mabwiser linucb .5", "mabwiser", mabwiser("LinUCB", 0.5)),
        Peer("mabwiser linucb 1", "mabwiser", mabwiser("LinUCB", 1.0)),
        Peer("mabwiser lints .3", "mabwiser", mabwiser("LinTS", 0.3)),
        Peer("mabwiser lints 1", "mabwiser", mabwiser("LinTS", 1.0)),
        Peer("bayesianbandits nig", "bayesianbandits", bayesian),
        Peer("vw squarecb", "vowpalwabbit", wabbit("--squarecb"), batches=False),
        Peer("vw epsilon .05", "vowpalwabbit", wabbit("--epsilon 0.05"), batches=False),
        Peer("vw regcbopt", "vowpalwabbit", wabbit("--regcbopt --mellowness 0.01"), batches=False),
        Peer("vw cover 4", "vowpalwabbit", wabbit("--cover 4"), batches=False),
    )
    return MappingProxyType({row.name: row for row in rows})


PEERS: Mapping[str, Peer] = _table()


def play(peer: Peer, world: World, seed: int, batch: int) -> Ints:
    """The arms a peer chooses, i8[T]. Its warnings are its own business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peer.play(world, seed, batch if peer.batches else ONLINE)


@functools.cache
def code() -> str:
    """Digest of what decides how peers are played; results under another one are not comparable. Comments do not count."""
    sources = (Path(__file__).read_text("utf-8"), inspect.getsource(learner))
    return hashlib.sha256("\0".join(ast.dump(ast.parse(text)) for text in sources).encode()).hexdigest()
