"""Are effects true? Simulated experiments with a holdout and visitors who come back, looked at after every step.

Counted are experiments, not looks: one in which an interval once missed the truth has missed. Visitors differ in how
likely they are to earn anything, come up to 20 times, and some experiments are sticky; the policy chooses, so the odds
move all the time. What a policy is worth at a look is what its choices so far were worth, visitors drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandits import effect
from bandits.policy import Policy, probabilities
from bandits.posterior import Sums

STEPS = 40
VISITS = (1, 5, 20)  # of a subject at the most
HOLDOUTS = (0.05, 0.1, 0.3)
KEENNESS = (0.2, 1.8)  # times an arm's chance, by visitor
ORDER_SIGMA = 0.7  # of the logarithm of an order's value
MOST_ORDER = 30.0
MOST_VISITS = 400_000
BUCKETS = 256
ARM_BUCKETS = 64

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """The truth: chance[g, k] of a reward in visitor group g, and how the experiment is run."""

    chance: Floats
    visits: int
    most: int
    share: float
    sticky: bool
    orders: bool

    @property
    def value(self) -> float:
        """What a reward is worth on average, over the largest."""
        return float(np.exp(0.5 * ORDER_SIGMA**2)) / MOST_ORDER if self.orders else 1.0


@dataclass(frozen=True)
class Traffic:
    """Every visit in the order of time: who, and of each subject what decides."""

    subject: Ints
    group: Ints
    keen: Floats
    held: NDArray[np.bool_]
    bucket: Ints
    luck: Floats


@dataclass
class Kept:
    """What a state keeps of it, by subject bucket; `counts`: trials, rewarded, squares, [held or not]."""

    arms: int
    weight: Floats = field(init=False)
    total: Floats = field(init=False)
    counts: Floats = field(default_factory=lambda: np.zeros((2, 3)))
    arm_weight: Floats = field(init=False)
    arm_total: Floats = field(init=False)
    arm_counts: Floats = field(init=False)
    worth: float = 0.0  # what the policy's choices were worth in truth
    chosen: int = 0

    def __post_init__(self) -> None:
        self.weight, self.total = np.zeros((2, BUCKETS)), np.zeros((2, BUCKETS))
        self.arm_weight, self.arm_total = np.zeros((self.arms, ARM_BUCKETS)), np.zeros((self.arms, ARM_BUCKETS))
        self.arm_counts = np.zeros((self.arms, 4))

    def add(self, held: bool, bucket: Ints, earned: Floats) -> None:
        """Trials of the policy or of the holdout."""
        side = int(held)
        self.weight[side] += np.bincount(bucket, minlength=BUCKETS)
        self.total[side] += np.bincount(bucket, earned, BUCKETS)
        self.counts[side] += len(earned), (earned != 0).sum(), (earned**2).sum()

    def add_drawn(self, bucket: Ints, arm: Ints, earned: Floats, p: Floats) -> None:
        """The policy's trials by arm, with their propensities."""
        at, size = arm * ARM_BUCKETS + bucket % ARM_BUCKETS, self.arms * ARM_BUCKETS
        self.arm_weight += np.bincount(at, 1.0 / p, size).reshape(self.arms, ARM_BUCKETS)
        self.arm_total += np.bincount(at, earned / p, size).reshape(self.arms, ARM_BUCKETS)
        for place, column in enumerate((np.ones(len(earned)), earned != 0, earned**2, 1.0 / p**2)):
            self.arm_counts[:, place] += np.bincount(arm, column, self.arms)


@dataclass(frozen=True)
class Seen:
    """A look: effects with their truth. None where it is too early."""

    lift: tuple[effect.Effect, float, float] | None  # with the true difference and ratio - 1
    arms: list[tuple[effect.Effect, float]]


def draw(rng: np.random.Generator, base: float, orders: bool) -> Setting:
    """About this base rate: 2 to 6 arms, 100 to 5,000 rewards."""
    arms = int(rng.integers(2, 7))
    own = base * np.exp(rng.normal(0.0, 0.3, arms))
    if rng.random() < 0.25:
        own[:] = base  # all alike: the policy is worth nothing
    taste = np.exp(rng.normal(0.0, 0.3, arms)) if rng.random() < 0.5 else np.ones(arms)
    chance = np.minimum(np.stack([own * taste, own / taste]), 0.5)
    visits = min(int(10 ** rng.uniform(2.0, 3.7) / base), MOST_VISITS)
    return Setting(
        chance, visits, int(rng.choice(VISITS)), float(rng.choice(HOLDOUTS)), bool(rng.random() < 0.3), orders
    )


def traffic(setting: Setting, rng: np.random.Generator) -> Traffic:
    """Subjects come at any time; their visits lie within a tenth of the whole."""
    often = rng.integers(1, setting.most + 1, int(2 * setting.visits / (setting.most + 1)) + 1)
    subject = np.repeat(np.arange(len(often)), often)
    time = rng.random(len(often))[subject] + rng.exponential(0.1, len(subject))
    subject = subject[np.argsort(time)]
    n = len(often)
    return Traffic(
        subject, rng.integers(0, 2, n), rng.choice(KEENNESS, n), rng.random(n) < setting.share,
        rng.integers(0, BUCKETS, n), rng.random(n),
    )  # fmt: skip


def play(setting: Setting, policy: Policy, rng: np.random.Generator) -> Iterator[tuple[Kept, Setting]]:
    """Run it; what is kept after every step."""
    arms, settings = setting.chance.shape[1], {name: one.default for name, one in policy.settings.items()}
    every, groups = np.arange(arms), np.array([[1.0, -1.0], [1.0, 1.0]])
    crowd, kept = traffic(setting, rng), Kept(arms)
    n, c, s1, s2 = np.zeros((4, arms))
    sums = Sums(n, c, s1, s2, np.zeros((arms, 2, 2)), np.zeros((arms, 2)))
    whole = len(crowd.subject)
    ends = np.unique(np.geomspace(max(whole / 300, 4), whole, STEPS).astype(int))
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        post = policy.derive(sums, settings, every)
        pmf = np.stack([probabilities(post, x, every) for x in groups])
        who = crowd.subject[start:end]
        held, group = crowd.held[who], crowd.group[who]
        u = crowd.luck[who] if setting.sticky else rng.random(len(who))
        arm = np.minimum((u[:, None] >= pmf.cumsum(axis=1)[group]).sum(axis=1), arms - 1)
        arm[held] = 0
        earned = (rng.random(len(who)) < setting.chance[group, arm] * crowd.keen[who]).astype(float)
        if setting.orders:
            earned *= np.minimum(rng.lognormal(0.0, ORDER_SIGMA, len(who)), MOST_ORDER) / MOST_ORDER
        kept.add(True, crowd.bucket[who][held], earned[held])
        free = ~held
        kept.add(False, crowd.bucket[who][free], earned[free])
        kept.add_drawn(crowd.bucket[who][free], arm[free], earned[free], pmf[group, arm][free])
        kept.chosen += int(free.sum())
        kept.worth += free.sum() * float((pmf * setting.chance).sum(axis=1).mean()) * setting.value
        for g, x in enumerate(groups):
            mine = free & (group == g)
            _teach(sums, x, arm[mine], earned[mine])
        yield kept, setting


def _teach(sums: Sums, x: Floats, arm: Ints, earned: Floats) -> None:
    arms = len(sums.n)
    shown, first = np.bincount(arm, minlength=arms), np.bincount(arm, earned, arms)
    rest = (np.bincount(arm, earned != 0, arms), first, np.bincount(arm, earned**2, arms))
    for column, more in zip(sums[:4], (shown, *rest), strict=True):
        column[:] += more
    sums.xx[:] += shown[:, None, None] * np.outer(x, x)
    sums.xr[:] += first[:, None] * x


def look(kept: Kept, setting: Setting) -> Seen:
    """The effects that a report would show now."""
    truth = setting.chance.mean(axis=0) * setting.value
    lift, sides = None, effect.Sums(kept.weight, kept.total)
    if effect.known(sides):
        found = effect.compare(sides, effect.usual(*kept.counts.sum(axis=0)))
        worth = kept.worth / kept.chosen
        lift = (found, worth - float(truth[0]), worth / float(truth[0]) - 1.0)
    arms = []
    n, rewarded, squares, _ = kept.arm_counts.sum(axis=0)
    for k in range(1, kept.arms):
        pair = effect.Sums(kept.arm_weight[[k, 0]], kept.arm_total[[k, 0]])
        if effect.supported(pair, kept.arm_counts[[k, 0], 3], rewarded / max(n, 1.0)):
            arms.append((effect.compare(pair, effect.usual(n, rewarded, squares)), float(truth[k] - truth[0])))
    return Seen(lift, arms)
