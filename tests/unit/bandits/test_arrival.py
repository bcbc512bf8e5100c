"""How soon rewards come: the curve's spread holds the truth, ages are read from it, and few rewards say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from bandits.arrival import arrival
from bandits.cells import DELAY_BINS, delay_bin

HOUR = 3_600_000


def seen(rng: np.random.Generator, buckets: int, each: int, mean: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Rewards after exponential delays, of buckets of an hour up to now; those that lie ahead are not seen."""
    end = np.arange(1, buckets + 1) * HOUR
    now = int(end[-1])
    delays = np.zeros((buckets, DELAY_BINS), np.int64)
    for b in range(buckets):
        made = end[b] - HOUR * rng.random(each)
        late = rng.exponential(mean, each)
        for delay in late[made + late <= now]:
            delays[b, delay_bin(int(delay))] += 1
    return delays, end, now


def test_the_spread_holds_the_truth_and_narrows() -> None:
    rng, held, total, widths = np.random.default_rng(5), 0, 0, []
    for each in (4, 40) * 20:
        found = arrival(*seen(rng, 60, each, 5.0 * HOUR))
        assert found is not None
        truth = 1.0 - np.exp(-found.age_ms / (5.0 * HOUR))
        assert (np.diff(found.share) >= 0.0).all()
        assert ((found.low <= found.share) & (found.share <= found.high)).all()
        inner = (found.share > 0.02) & (found.share < 1.0)
        held += int(((found.low <= truth) & (truth <= found.high))[inner].sum())
        total += int(inner.sum())
        widths.append(float((found.high - found.low).max()))
    assert held / total > 0.9
    assert np.mean(widths[1::2]) < 0.5 * np.mean(widths[::2])


def test_half_and_nine_tenths() -> None:
    found = arrival(*seen(np.random.default_rng(6), 200, 200, 5.0 * HOUR))
    assert found is not None
    assert found.age(0.5) == pytest.approx(5.0 * HOUR * np.log(2), rel=0.1)
    assert found.age(0.9) == pytest.approx(5.0 * HOUR * np.log(10), rel=0.15)
    assert found.share[-1] == 1.0
    assert found.share[0] < 0.01


def test_few_rewards_say_nothing_and_equal_delays_are_a_step() -> None:
    delays = np.zeros((2, DELAY_BINS), np.int64)
    delays[0, delay_bin(HOUR)] = 9
    end = np.array([10 * HOUR, 20 * HOUR])
    assert arrival(delays, end, 30 * HOUR) is None
    delays[1, delay_bin(8 * HOUR)] = 900  # of decisions of which some were made just now
    assert arrival(delays, end, 21 * HOUR) is None
    delays[1] = 0
    delays[0, delay_bin(HOUR)] = 50
    found = arrival(delays, end, 30 * HOUR)
    assert found is not None
    assert (found.age_ms.min(), found.age_ms.max()) == (2.0 ** (delay_bin(HOUR) + 3), 2.0 ** (delay_bin(HOUR) + 4))
    assert 0.5 * HOUR < found.age(0.5) < 2 * HOUR
