"""One problem, laid out: every visitor's context and what every arm would pay, drawn before any policy is asked.

All policies of a (problem, seed) meet the same visitors and the same luck: what arm k pays in round t stands in
`drawn[t, k]` whoever shows it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CATEGORY, NUMBER, FLAG = "category", "number", "flag"


@dataclass(frozen=True)
class Feature:
    """One feature as an experiment declares it; a number has low and high, a category has values."""

    name: str
    type: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @property
    def width(self) -> int:
        """Columns it takes where every value has one."""
        return len(self.values) if self.type == CATEGORY else 1


@dataclass(frozen=True)
class World:
    """A problem with its luck. T rounds, K arms; rewards in natural units.

    context f8[T, features]: the number, the index of the category's value, 0 or 1 of a flag. arms: attributes of each.
    delay i8[T, K]: rounds until the reward is known, 0 where it is at once. `typical` is a reward of usual size, which
    whoever runs a library that wants rewards of about 1 divides by. Visitors come every `step_ms`; a reward counts for
    `window` after its decision, both of which only Lever knows of.
    """

    features: tuple[Feature, ...]
    context: Floats
    arms: tuple[Mapping[str, str], ...]
    expected: Floats  # f8[T, K]
    drawn: Floats  # f8[T, K]
    low: float = 0.0
    high: float = 1.0
    unit: float = 1.0
    typical: float = 1.0
    delay: Ints | None = None
    step_ms: int = 1_000
    window: str = "30m"

    @property
    def rounds(self) -> int:
        """T."""
        return len(self.expected)

    @property
    def oracle(self) -> float:
        """Mean reward of always choosing the best arm."""
        return float(self.expected.max(axis=1).mean())

    @property
    def stake(self) -> float:
        """What is lost by showing all arms alike, a decision."""
        return self.oracle - float(self.expected.mean())

    def cut(self, rounds: int) -> World:
        """The first rounds of it."""
        return replace(
            self,
            context=self.context[:rounds],
            expected=self.expected[:rounds],
            drawn=self.drawn[:rounds],
            delay=None if self.delay is None else self.delay[:rounds],
        )

    def digest(self) -> str:
        """Of all that a policy could see; two worlds of one digest are the same problem with the same luck."""
        made = hashlib.sha256(repr((self.features, self.arms, self.low, self.high, self.unit, self.typical)).encode())
        for array in (self.context, self.expected, self.drawn, self.delay):
            made.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return made.hexdigest()


def generator(problem: str, seed: int) -> np.random.Generator:
    """The random numbers of a (problem, seed)."""
    return np.random.default_rng([zlib.crc32(problem.encode()), seed])


def one_hot(features: Sequence[Feature], context: Floats) -> Floats:
    """f8[T, d]: the constant, a column for each value of a category, numbers and flags as they are."""
    parts = [np.ones((len(context), 1))]
    for i, feature in enumerate(features):
        column = context[:, i]
        if feature.type == CATEGORY:
            parts.append((column[:, None] == np.arange(len(feature.values))).astype(np.float64))
        else:
            parts.append(column[:, None])
    return np.concatenate(parts, axis=1)


def values(world: World, row: int) -> dict[str, float | str | bool]:
    """The context of one round, by feature name, as a caller of the service sends it."""
    made: dict[str, float | str | bool] = {}
    for feature, cell in zip(world.features, world.context[row].tolist(), strict=True):
        if feature.type == CATEGORY:
            made[feature.name] = feature.values[int(cell)]
        else:
            made[feature.name] = bool(cell) if feature.type == FLAG else cell
    return made


def categories(sizes: Sequence[int]) -> tuple[Feature, ...]:
    """Categories c0, c1, ... of so many values each."""
    return tuple(Feature(f"c{i}", CATEGORY, tuple(f"v{j}" for j in range(n))) for i, n in enumerate(sizes))


def numbers(count: int, low: float, high: float) -> tuple[Feature, ...]:
    """Numbers x0, x1, ... of one range."""
    return tuple(Feature(f"x{i}", NUMBER, (), low, high) for i in range(count))


def visits(rng: np.random.Generator, rounds: int, features: Sequence[Feature]) -> Floats:
    """Contexts: categories with uneven shares, flags evenly, numbers standard normal within their range."""
    columns: list[Floats] = []
    for feature in features:
        if feature.type == CATEGORY:
            shares = rng.dirichlet(np.full(len(feature.values), 3.0))
            columns.append(rng.choice(len(feature.values), rounds, p=shares).astype(np.float64))
        elif feature.type == FLAG:
            columns.append(rng.integers(0, 2, rounds).astype(np.float64))
        else:
            columns.append(np.clip(rng.normal(size=rounds), feature.low, feature.high))
    return np.stack(columns, axis=1) if columns else np.zeros((rounds, 0))


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float64)


def coins(rng: np.random.Generator, chances: Floats) -> Floats:
    """0 or 1 for each chance."""
    return (rng.random(chances.shape) < chances).astype(np.float64)


def plain_arms(count: int) -> tuple[Mapping[str, str], ...]:
    """Arms without attributes."""
    return tuple({} for _ in range(count))
