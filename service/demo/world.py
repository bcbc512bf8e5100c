"""What is true in the simulated shop: who comes, what each arm earns from whom, and when a tag is broken."""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OUTAGE_MS = 18 * HOUR_MS  # a broken tag in the middle of the past,
UNNOTICED_MS = 4 * HOUR_MS  # and another one that is still broken when the shop opens,
REPAIRED_S = 90.0  # for so long;
BREAKS_S, BROKEN_S = 1800.0, 600.0  # from then on it breaks once in so long, and for so long


class Event(NamedTuple):
    """What a decision leads to, so many milliseconds after it: a reward, or with an empty metric its exposure."""

    delay_ms: float
    metric: str
    value: float | None = None


@dataclass(frozen=True)
class World:
    """One experiment and its visitors.

    `earns`: by segment and arm, the chance of the first metric's reward, or of an order. `context`: values of each feature
    and their shares. `liking`: factors of that chance, by a feature's value and arm.
    """

    name: str
    subjects: int
    visits: float  # a day, on average
    hours: tuple[float, float]  # from and until when they come; the most in the middle
    earns: Mapping[str, Mapping[str, float]]
    context: Mapping[str, Mapping[str | bool, float]] = field(default_factory=dict)
    liking: Mapping[tuple[str | bool, str], float] = field(default_factory=dict)
    delay_ms: float = 8000.0  # of rewards, on average
    deferred: bool = False
    orders: Mapping[str, float] = field(default_factory=dict)  # by arm, what an order brings on average
    leaves: Mapping[str, float] = field(default_factory=dict)  # by arm, the chance that a letter ends a subscription

    @property
    def text(self) -> str:
        """The experiment's file."""
        file = importlib.resources.files("service.demo") / "experiments" / f"{self.name}.yaml"
        return file.read_text(encoding="utf-8")

    def rate(self, at_ms: float) -> float:
        """Visits an hour at a time of day: a hump over the hours in which they come."""
        first, last = self.hours
        place = (at_ms / HOUR_MS % 24 - first) / (last - first)
        if not 0.0 <= place < 1.0:
            return 0.0
        return self.visits / (last - first) * 0.5 * math.pi * math.sin(math.pi * place)

    def crowd(self, rng: np.random.Generator, n: int) -> tuple[list[str], dict[str, list[str | bool]]]:
        """n visitors: who they are, and what is known of them."""
        known = {}
        for name, shares in self.context.items():
            values = list(shares)
            picked = rng.choice(len(values), n, p=list(shares.values()))
            known[name] = [values[i] for i in picked]
        return [f"{self.name}-{i}" for i in rng.integers(self.subjects, size=n)], known

    def events(
        self, rng: np.random.Generator, segment: str, arm: str, known: Sequence[str | bool], *, broken: bool
    ) -> list[Event]:
        """What one decision leads to. What happens while the tag is `broken` is never told."""
        out = []
        if self.deferred:
            if rng.random() > 0.97:
                return []  # bounced
            out.append(Event(1000.0, ""))
        chance = self.earns[segment][arm]
        for value in known:
            chance *= self.liking.get((value, arm), 1.0)
        if rng.random() < chance and not broken:
            out += self._earned(rng, arm)
        if rng.random() < self.leaves.get(arm, 0.0):
            out.append(Event(rng.exponential(self.delay_ms), "unsubscribed"))
        return out

    def _earned(self, rng: np.random.Generator, arm: str) -> list[Event]:
        delay = rng.exponential(self.delay_ms)
        if arm not in self.orders:
            return [Event(delay, "click")]
        value = round(float(rng.gamma(4.0, self.orders[arm] / 4.0)), 2)
        return [Event(delay, "revenue", value), Event(delay, "order")]


DEVICES: Mapping[str | bool, float] = {"phone": 0.6, "desktop": 0.4}
SOURCES: Mapping[str | bool, float] = {"search": 0.5, "ads": 0.35, "mail": 0.15}

HERO = World(
    "homepage-hero", 90_000, 9000.0, (6, 24),
    earns={
        "returning": {"classic": .060, "free-delivery": .058, "new-season": .070, "welcome-back": .095, "ten-percent": .050},
        "from-ads": {"classic": .034, "free-delivery": .040, "new-season": .030, "welcome-back": .022, "ten-percent": .062},
        "default": {"classic": .040, "free-delivery": .062, "new-season": .044, "welcome-back": .028, "ten-percent": .046},
    },
    context={"device": DEVICES, "source": SOURCES, "returning": {True: 0.3, False: 0.7}},
    liking={("phone", "new-season"): 0.8, ("desktop", "new-season"): 1.3, ("mail", "welcome-back"): 1.2},
)  # fmt: skip
LETTER = World(
    "morning-letter", 9000, 1500.0, (6.5, 9.5), deferred=True, delay_ms=2.0 * HOUR_MS,
    earns={"default": {"plain": .050, "question": .056, "number": .072, "personal": .086}},
    leaves={"plain": .002, "question": .002, "number": .002, "personal": .02},
)  # fmt: skip
OFFER = World(
    "cart-offer", 30_000, 1500.0, (8, 24), delay_ms=20 * 60_000.0,
    earns={"default": {"none": .22, "free-delivery": .30, "ten-percent": .33, "gift": .25}},
    orders={"none": 62.0, "free-delivery": 60.0, "ten-percent": 48.0, "gift": 61.0},
    context={"device": DEVICES}, liking={("phone", "gift"): 0.8, ("phone", "free-delivery"): 1.1},
)  # fmt: skip
WORLDS = (HERO, LETTER, OFFER)


def broken_then(world: World, at_ms: float, begun_ms: float, ended_ms: float) -> bool:
    """Whether the homepage's tag was broken at a time of the past."""
    middle = (begun_ms + ended_ms) / 2
    return world is HERO and (middle <= at_ms < middle + OUTAGE_MS or at_ms >= ended_ms - UNNOTICED_MS)


def broken_now(world: World, open_s: float) -> bool:
    """Whether it is broken, so many seconds after the shop opened."""
    return world is HERO and (open_s < REPAIRED_S or open_s % BREAKS_S >= BREAKS_S - BROKEN_S)
