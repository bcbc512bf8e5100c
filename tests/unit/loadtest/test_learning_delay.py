"""loadtest delay: when one share of the traffic has come to another one's."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.learning.delay import ARRIVAL, reached
from loadtest.learning.drift import A_DAY, DAYS, STEP, Shop, Weather

STEPS, DAY = DAYS * A_DAY // STEP, A_DAY // STEP


@pytest.mark.parametrize("after", [0.25, 1.0, 2.5])
def test_the_first_time_that_lasts(after: float) -> None:
    best = np.ones((2, STEPS))
    mine = np.zeros((2, STEPS))
    start = round((ARRIVAL + after) * DAY)
    mine[:, start:] = [[0.95], [0.86]]  # 0.905 of 1 in the mean
    assert reached(mine, best) == pytest.approx(after)
    mine[:, start + DAY // 2] = 0.5  # not for a day
    assert reached(mine, best) == pytest.approx(after + 0.5 + STEP / A_DAY)
    assert reached(0.5 * best, best) == np.inf


def test_delays_are_even_over_the_spread() -> None:
    shop = Shop(Weather(lambda _: (0.1,), spread=3.0, window=3), 1, 0.0, remembers=True)
    days = np.array([shop._delay() for _ in range(4_000)]) / 86_400_000
    assert days.min() >= 0.0
    assert days.max() <= 3.0
    assert days.mean() == pytest.approx(1.5, abs=0.06)  # four standard errors
