"""The past by hour and day against a slow twin; nothing is lost, whatever the log's order and cuts; bytes go round."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bandits.pages import Pages, pack, unpack
from bandits.period_rows import ODDS
from bandits.periods import DAY, HOUR, HOURS_MS
from bandits.state import Rules, State
from tests.oracles.state import Row
from tests.rig.folding import NOW, add, long_rows

RULES = Rules(segments=2, arms=3, metrics=2, columns=1, primary=0, low=-20, high=50, horizon_ms=DAY)
HELD = RULES._replace(control=(0.1, False, 0))


def folded(rules: Rules, rows: list[Row], cuts: int = 1) -> State:
    state = State(rules)
    for i in range(cuts):
        add(state, rows[i * len(rows) // cuts : (i + 1) * len(rows) // cuts])
        state.settle(NOW * (i + 1) // cuts)
    state.settle(NOW)
    return state


def twin(rows: list[Row]) -> dict[tuple[int, int, int, int, int], list[int]]:
    """(start, width, segment, arm, group) to [trials, odds, then a metric's rewarded, total, squares]."""
    out: dict[tuple[int, int, int, int, int], list[int]] = defaultdict(lambda: [0] * 8)
    for row in rows:
        group = {0: 0, 1: 1, 8: 2, 4: 3}[row.flags]
        day = row.time // DAY * DAY
        old = day + DAY + HOURS_MS < NOW
        cells = out[(day if old else row.time // HOUR * HOUR, DAY if old else HOUR, row.segment, row.arm, group)]
        trials = 1 if row.metric is None else row.exposes
        cells[0] += trials
        cells[1] += trials * round(row.propensity * ODDS) if group == 0 else 0
        if row.metric is not None and row.metric >= 0:
            at = 2 + 3 * row.metric
            cells[at] += (row.new != 0) - (row.old != 0)
            cells[at + 1] += row.new - row.old
            cells[at + 2] += row.new**2 - row.old**2
    return {key: cells for key, cells in out.items() if any(cells)}


def told(state: State) -> dict[tuple[int, int, int, int, int], list[int]]:
    out = {}
    for past in state.periods.pasts():
        for segment, arm, odds, counts in zip(*past[2:], strict=True):
            c = np.zeros(4 + 2 * 16, np.int64)
            c[: counts.size] = counts
            for group in range(4):
                sums = [int(c[group]), round(odds * ODDS) if group == 0 else 0]
                for metric in range(2):
                    rewarded, total, high, low = c[4 + 16 * metric + 4 * group :][:4].tolist()
                    sums += [rewarded, total, (high << 32) + low]
                if any(sums):
                    out[past.start, past.end - past.start, int(segment), int(arm), group] = sums
    return out


@given(st.integers(0, 10**6), st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_every_sum_equals_the_slow_twin_whatever_the_order(seed: int, cuts: int) -> None:
    rows = long_rows(seed, 150)
    expected = twin(rows)
    random.Random(seed).shuffle(rows)
    state = folded(RULES, rows, cuts)
    assert told(state) == expected
    assert state.fields() == folded(RULES, rows).fields()
    assert told(State.restore(RULES, state.fields())) == expected


def test_all_periods_together_are_the_whole_life_and_all_days_the_lift() -> None:
    state = folded(HELD, long_rows(1, 300), 5)
    whole = sum((state.lifetime(s).sum(axis=0) for s in range(2)), np.zeros(36, np.int64))
    by_period = np.zeros(36, np.int64)
    for past in state.periods.pasts():
        by_period[: past.counts.shape[1]] += past.counts.sum(axis=0)
    assert (by_period == whole).all()
    days = list(state.periods.lift(2))
    assert [day for _, day, _ in days] == sorted({day for _, day, _ in days})
    assert (days[-1][2] == state.subjects.lift.sum(axis=0)).all()


def test_another_holdout_begins_an_era_and_the_old_one_keeps_its_days() -> None:
    rows = sorted(long_rows(2, 300, versions=3), key=lambda row: row.version)
    first = [row for row in rows if row.version < 2]
    state = State(HELD)
    add(state, first)
    before = list(state.periods.lift(2))
    state.adopt(HELD._replace(control=(0.2, False, 0), version=2, applied_ms=7))
    add(state, [row for row in rows if row.version == 2])
    old, new = ([day for day in state.periods.lift(2) if day[0] == era] for era in (0, 1))
    assert [(n, end, cells.tolist()) for n, end, cells in old] == [(n, e, c.tolist()) for n, e, c in before]
    assert (new[-1][2] == state.subjects.lift.sum(axis=0)).all()
    assert state.periods.eras[1] == (2, 7, 1)
    assert State.restore(state.rules, state.fields()).fields() == state.fields()
    # A reward of a decision of the first era counts there, though the report has begun anew.
    at = first[0].time
    add(state, [Row(at, 0, 0, 0, 3, (), metric=0, old=0, new=5, propensity=0.5)])
    assert sum(cells[0, 1].sum() for n, _, cells in list(state.periods.lift(2)) if n == 0) != sum(
        cells[0, 1].sum() for n, _, cells in old
    )


def test_without_a_holdout_no_days_are_kept() -> None:
    state = folded(RULES, long_rows(3, 50))
    assert list(state.periods.lift(2)) == []
    assert not [name for name in state.fields() if name[0] in "lp"]


@given(
    arrays.arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(2, 6)), elements=st.integers(-(2**63), 2**63 - 1))
)
@settings(max_examples=100, deadline=None)
def test_a_packed_page_is_the_page_without_rows_of_zeros(page: np.ndarray) -> None:
    packed = pack(page)
    kept = page[page[:, 1:].any(axis=1)]
    if not packed:
        assert kept.size == 0
        return
    back = unpack(packed)
    assert (back == kept[:, : back.shape[1]]).all()
    assert not kept[:, back.shape[1] :].any()
    assert pack(np.pad(page, ((0, 0), (0, 2)))) == packed


@pytest.mark.parametrize("value", [b"", b"\1\0\0\0\1\0\0\0\3", b"\1\0\0\0\1\0\0\0\1", b"\1\0\0\0\1\0\0\0\1ab"])
def test_what_is_no_page_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="page"):
        Pages().restore((0, 0), value)
