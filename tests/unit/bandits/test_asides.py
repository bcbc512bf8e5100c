"""Data taken back: as if it had never been there, and given back to the bit."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.asides import Asides, Exclusion
from bandits.periods import DAY
from bandits.rows import Rules
from bandits.state import State
from tests.oracles.state import Row
from tests.rig.folding import NOW, add, columns_of, long_rows

HELD = Rules(
    segments=2,
    arms=3,
    metrics=2,
    columns=1,
    primary=0,
    low=-20,
    high=50,
    horizon_ms=DAY,
    control=(0.1, False, 0),
    guarded=(0, 4),
)
WIDE = HELD._replace(arms=4, metrics=3, version=2, applied_ms=9, guarded=(0, 4, 0))


class Replayed:
    """A state and its asides, with every row that it folded."""

    def __init__(self) -> None:
        self.state, self.asides, self.rows = State(HELD), Asides(), list[Row]()

    def fold(self, rows: list[Row], now: int) -> None:
        self.rows += rows
        trials, rewards, totals = columns_of(self.state.rules, rows)
        self.asides.add_trials(self.state, trials)
        self.asides.add_rewards(self.state, rewards, totals)
        self.settle(now)

    def settle(self, now: int) -> None:
        self.state.settle(now)
        self.asides.settle(now)

    def adopt(self, rules: Rules) -> None:
        self.state.adopt(rules)
        self.asides.adopt(rules)

    def exclude(self, exclusion: Exclusion, now: int) -> None:
        aside = self.state.hollow()
        add(aside, [row for row in self.rows if held(exclusion, row)])
        aside.settle(now)
        aside.tidy()
        self.asides.exclude(self.state, exclusion, aside)

    def restart(self) -> None:
        fields = self.state.fields() | self.asides.fields()
        rules, exclusions = self.state.rules, self.asides.exclusions
        self.asides = Asides.restore(rules, exclusions, fields)
        self.state = State.restore(rules, fields)


def held(exclusion: Exclusion, row: Row) -> bool:
    return bool(exclusion.holds(np.array([row.time]), np.array([row.arm]))[0])


def folded(rows: list[Row], steps: list[int], adopts: int, exclusion: Exclusion | None = None) -> State:
    """The rows, or those that an exclusion leaves, in steps; other rules before step `adopts`."""
    made = Replayed()
    for i, (first, last) in enumerate(pairwise(steps)):
        if i == adopts:
            made.adopt(WIDE)
        made.fold(
            [row for row in rows[first:last] if exclusion is None or not held(exclusion, row)], NOW * (i + 1) // 4
        )
    return made.state


@given(
    st.integers(0, 10**6), st.integers(0, NOW), st.integers(1, NOW), st.sampled_from([(), (1,), (0, 2)]),
    st.integers(0, 4), st.booleans(),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_excluded_is_never_happened_and_taken_back_is_never_excluded(
    seed: int, start: int, length: int, arms: tuple[int, ...], adopts: int, restarts: bool
) -> None:
    rows, steps = long_rows(seed, 120, versions=3), [0, 30, 60, 90, 120]
    random.Random(seed).shuffle(rows)
    early = steps[min(adopts, 4)]  # whose configuration is not known yet
    rows = [replace(row, version=row.version % 2) if i < early else row for i, row in enumerate(rows)]
    exclusion = Exclusion(7, start, start + length, arms)
    made = Replayed()
    for i in range(4):
        if i == adopts:
            made.adopt(WIDE)
        made.fold(rows[steps[i] : steps[i + 1]], NOW * (i + 1) // 4)
        if i == 1:
            made.exclude(exclusion, NOW * 2 // 4)
        if restarts:
            made.restart()
    assert made.state.fields() == folded(rows, steps, adopts, exclusion).fields()
    made.asides.include(made.state, 7)
    assert made.state.fields() == folded(rows, steps, adopts).fields()
    assert made.asides.fields() == {}
    made.settle(NOW + 20 * DAY)
    never = folded(rows, steps, adopts)
    never.settle(NOW + 20 * DAY)
    assert made.state.fields() == never.fields()


def test_exclusions_beside_one_another_come_back_in_any_order() -> None:
    rows = long_rows(4, 200)
    whole = folded(rows, [0, 50, 100, 150, 200], 9)
    made = Replayed()
    made.fold(rows, NOW)
    for number, (start, end) in enumerate([(0, NOW // 3), (NOW // 3, NOW // 2), (NOW // 2, NOW)]):
        made.exclude(Exclusion(number, start, end), NOW)
    assert made.state.fields() == State(HELD).fields()
    for number in (1, 0, 2):
        made.asides.include(made.state, number)
    assert made.state.fields() == whole.fields()


def test_what_overlaps() -> None:
    one = Exclusion(1, 10, 20, (1, 2))
    assert one.overlaps(Exclusion(2, 19, 30))
    assert Exclusion(2, 19, 30).overlaps(one)
    assert not one.overlaps(Exclusion(2, 20, 30))
    assert not one.overlaps(Exclusion(2, 0, 30, (0, 3)))
    assert one.overlaps(Exclusion(2, 0, 30, (2,)))


def test_sums_of_an_exclusion_that_is_not_known_are_refused() -> None:
    made = Replayed()
    made.fold(long_rows(1, 20), NOW)
    made.exclude(Exclusion(3, 0, NOW), NOW)
    with pytest.raises(ValueError, match="3"):
        Asides.restore(HELD, (), made.asides.fields())
