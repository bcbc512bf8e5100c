"""Credit sums to the value to the last unit, and is what the rule says to within one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.credit import Credit, shares

DAY = 86_400_000
TIMES = st.lists(st.integers(0, 90 * DAY), min_size=1, max_size=64).map(sorted)
TOTALS = st.integers(0, 2**53 - 1)


def twin(total: int, times: list[int], rule: Credit, half_life: int) -> list[Fraction]:
    """The exact parts, in fractions of a unit."""
    n = len(times)
    if rule is Credit.LAST:
        weights = [Fraction(0)] * (n - 1) + [Fraction(1)]
    elif rule is Credit.LINEAR:
        weights = [Fraction(1)] * n
    elif rule is Credit.TIME_DECAY:
        weights = [Fraction(2.0 ** (-(times[-1] - at) / half_life)) for at in times]
    elif n == 1:
        weights = [Fraction(1)]
    elif n == 2:
        weights = [Fraction(1, 2)] * 2
    else:
        weights = [Fraction(2, 5), *[Fraction(1, 5) / (n - 2)] * (n - 2), Fraction(2, 5)]
    return [total * w / sum(weights) for w in weights]


@given(TOTALS, TIMES, st.sampled_from(Credit), st.integers(60_000, 90 * DAY))
def test_parts_sum_to_the_total_and_none_is_negative(total: int, times: list[int], rule: Credit, half: int) -> None:
    found = shares(total, np.array(times, np.int64), rule, half).tolist()
    assert sum(found) == total
    assert min(found) >= 0


@given(st.integers(0, 10**6), TIMES, st.sampled_from(Credit), st.integers(60_000, 90 * DAY))
def test_each_part_is_within_a_unit_of_what_the_rule_says(
    total: int, times: list[int], rule: Credit, half: int
) -> None:
    found = shares(total, np.array(times, np.int64), rule, half).tolist()
    for part, exact in zip(found, twin(total, times, rule, half), strict=True):
        assert abs(part - exact) < 1 + Fraction(1, 1000)  # weights are kept to 2^-32


@pytest.mark.parametrize(
    ("rule", "total", "days", "parts"),
    [
        (Credit.LAST, 7, [0, 1, 2], [0, 0, 7]),
        (Credit.LINEAR, 7, [0, 1, 2], [2, 2, 3]),  # of equal remainders the later one's
        (Credit.POSITION, 100, [0, 1, 2], [40, 20, 40]),
        (Credit.POSITION, 100, [0, 1, 2, 3], [40, 10, 10, 40]),
        (Credit.POSITION, 9, [0, 1], [4, 5]),
        (Credit.TIME_DECAY, 70, [0, 7, 14], [10, 20, 40]),
        (Credit.TIME_DECAY, 5, [3], [5]),
        (Credit.LINEAR, 0, [0, 1], [0, 0]),
    ],
)
def test_known_parts(rule: Credit, total: int, days: list[int], parts: list[int]) -> None:
    times = np.array(days, np.int64) * DAY
    assert shares(total, times, rule, 7 * DAY).tolist() == parts
