"""The fold against its slow twin, cell by cell; order and cuts do not matter; bytes go round."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.cells import (
    DELAY_BINS,
    SQUARE_HIGH,
    SQUARE_LOW,
    count_offset,
    delay_bin,
)
from bandits.grid import PRODUCT, grid_of, taught
from bandits.layout import COARSE_GRID as COARSE
from bandits.layout import FINE_GRID as FINE
from bandits.rows import NEVER
from bandits.state import State, Weights
from tests.oracles.state import OracleState, Row, cells, oracle_grid, oracle_shifts, shift
from tests.rig.folding import RULES, add, make_rows


@pytest.mark.parametrize("seed", range(5))
def test_every_cell_equals_the_slow_twin(seed: int) -> None:
    rules = (RULES, RULES._replace(grid=COARSE), RULES._replace(high=10**6), RULES._replace(low=-(2**31) + 1))[seed % 4]
    rows = make_rows(seed, 400)
    state = State(rules)
    for i in range(0, len(rows), 37):
        add(state, rows[i : i + 37])
        state.settle(100_000 * i)
    assert cells(state) == OracleState(rules, rows).cells(state.buckets)
    assert state.rejected == 0


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_order_and_cuts_do_not_matter(seed: int, shuffler: random.Random) -> None:
    rows = make_rows(seed, 120)
    once, often = State(RULES), State(RULES)
    add(once, rows)
    once.settle(3_000_000)
    shuffler.shuffle(rows)
    at = 0
    while at < len(rows):
        step = shuffler.randint(1, 30)
        add(often, rows[at : at + step])
        often.settle(min(25_000 * at, 3_000_000))
        at += step
    often.settle(3_000_000)
    assert once.fields() == often.fields()


def test_fields_restore_to_the_same_state_and_go_on_alike() -> None:
    rows = make_rows(7, 300)
    state = State(RULES)
    add(state, rows[:200])
    copy = State.restore(RULES, state.fields())
    assert copy.fields() == state.fields()
    for either in (state, copy):
        add(either, rows[200:])
        either.settle(5_000_000)
    assert copy.fields() == state.fields()


@given(st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_a_restart_under_any_rules_goes_on_alike(rng: random.Random) -> None:
    """Arms come, go, come back and have dates by segment, holdout and default change; rewards are of any time before."""
    rules = RULES._replace(version=1, guarded=(0,) * RULES.metrics, control=(0.1, False, 0))
    state, copy = State(rules), State(rules)
    for version in range(1, 6):
        rows = [replace(row, version=rng.randint(1, version)) for row in make_rows(rng.randrange(10**6), 80)]
        for either in (state, copy):
            add(either, rows)
        windows = rules.window().copy()
        for place in np.ndindex(windows.shape[:2]):
            if rng.random() < 0.3:
                windows[place] = rng.choice([(0, 0), (0, NEVER), (0, 1_500_000), (500_000, NEVER)])
        control = rules.control if rng.random() < 0.7 else (0.1, False, rng.randrange(2))
        wider = rules._replace(arms=rules.arms + 1, windows=None).window()
        wider[:, :-1] = windows
        grows = rng.random() < 0.3
        rules = rules._replace(
            version=version + 1, control=control, windows=wider if grows else windows, arms=rules.arms + grows
        )
        for either in (state, copy):
            either.adopt(rules)
        if rng.random() < 0.7:
            copy = State.restore(rules, copy.fields())
        assert copy.fields() == state.fields()


def test_a_state_takes_over_what_is_new_of_another_or_stays_as_it_is() -> None:
    renewed = 0
    for seed in range(2):
        rows = [replace(row, time=row.time % 8_000) for row in make_rows(seed, 160)]
        state = State(RULES)
        add(state, rows[:120])
        copy = State.restore(RULES, state.fields())
        for at in range(120, 160, 4):
            part = State(RULES)
            add(part, rows[at : at + 4])
            for sign in (1, -1):  # sums that fall back to zero are written shorter
                state.add(State.restore(RULES, part.fields()), sign)
                before, wanted = copy.fields(), state.fields()
                changed = {name: value for name, value in wanted.items() if before.get(name) != value}
                if before.keys() <= wanted.keys() and copy.renew(changed):
                    renewed += 1
                    assert copy.fields() == wanted
                else:
                    assert copy.fields() == before
                    assert before.keys() != wanted.keys()
                    copy = State.restore(RULES, wanted)
    assert renewed > 10


def test_fields_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown field"):
        State.restore(RULES, {"q/1": b""})
    with pytest.raises(ValueError, match="overlap"):
        State.restore(RULES, {"c/0/4/0/0": b"\0" * 4, "c/2/2/0/0": b"\0" * 4})


def test_growing_rules_keep_what_was_summed() -> None:
    rows = make_rows(3, 200)
    grown = RULES._replace(segments=5, arms=6, metrics=3, columns=8)
    wide = [Row(**{**r.__dict__, "x": (*r.x, 0, 0, 0)}) for r in rows]
    state, fresh = State(RULES), State(grown)
    add(state, rows[:150])
    state.adopt(grown)
    add(state, wide[150:])
    add(fresh, wide)

    def shared(one: State) -> dict[str, bytes]:
        """Without the arms that came later: beside them the default counts from then on."""
        return {name: value for name, value in one.fields().items() if name[0] != "e" or name[-1] not in "45"}

    assert shared(state) == shared(fresh)
    with pytest.raises(ValueError, match="never shrink"):
        state.adopt(RULES)


def dated(start: int, end: int) -> np.ndarray:
    """Windows of RULES: arm 1 may be drawn from start until end in segment 0, all others always."""
    out = RULES.window()
    out[0, 1] = start, end
    return out


def test_an_arm_is_compared_with_the_default_of_its_own_time() -> None:
    rows = [
        replace(row, exposes=max(row.exposes, 0)) for row in make_rows(5, 2000)
    ]  # none taken back: trials that never were
    rules = RULES._replace(windows=dated(500_000, 1_000_000))
    state = State(rules)
    add(state, rows)
    assert cells(state) == OracleState(rules, rows).cells(state.buckets)
    beside = state.subjects.drawn(0, 1).weight[1].sum()
    assert 0.0 < beside < state.subjects.drawn(0, 2).weight[1].sum()


def test_an_arm_that_comes_back_begins_anew_and_its_old_decisions_stay_out() -> None:
    state, rewarded = State(RULES), Row(5, 0, 1, 0, 3, (0,) * 4, 0, 0, 1, propensity=0.5)
    add(state, [Row(5, 0, 1, 0, 3, (0,) * 4, propensity=0.5)])
    away = RULES._replace(version=2, windows=dated(0, 0))
    state.adopt(away)
    add(state, [rewarded, Row(9, 0, 0, 0, 3, (0,) * 4, propensity=0.5, version=2)])  # the default while it is away
    drawn = state.subjects.drawn(0, 1)
    assert (drawn.weight.sum(axis=1).tolist(), drawn.total.sum(axis=1).tolist()) == ([2.0, 0.0], [2.0, 0.0])
    assert State.restore(away, state.fields()).fields() == state.fields()
    back = RULES._replace(version=3)
    state.adopt(back)
    assert not state.subjects.drawn(0, 1).weight.any()
    add(state, [rewarded, Row(11, 0, 0, 0, 3, (0,) * 4, propensity=0.25, version=3)])
    drawn = state.subjects.drawn(0, 1)
    assert (drawn.weight.sum(axis=1).tolist(), drawn.total.sum(axis=1).tolist()) == ([0.0, 4.0], [0.0, 0.0])
    assert State.restore(back, state.fields()).fields() == state.fields()


@pytest.mark.parametrize("control", [(0.1, False, 0), (0.05, True, 0), (0.05, False, 2)])
def test_lift_begins_anew_where_the_holdout_changes(control: tuple[float, bool, int]) -> None:
    """The two sides must be of one time: what was decided before stays out, its rewards as well."""
    before = RULES._replace(control=(0.05, False, 0), version=1)
    old = Row(5, 0, 0, 1, 3, (0,) * 4, version=1)
    state = State(before)
    add(state, [old])
    state.adopt(before._replace(version=2))
    assert state.subjects.lift.sum() == 1
    state.adopt(before._replace(version=3, control=control))
    add(state, [old, Row(5, 0, 0, 1, 3, (0,) * 4, 0, 0, 1, version=1), Row(7, 0, 0, 1, 4, (0,) * 4, version=3)])
    assert np.argwhere(state.subjects.lift).tolist() == [[0, 1, 0, 4]]
    assert State.restore(state.rules, state.fields()).fields() == state.fields()


def test_rows_that_name_unknown_numbers_are_counted_and_left_out() -> None:
    state = State(RULES)
    good, bad = make_rows(1, 1)[0], Row(5, 99, 0, 0, 0, (0,) * 4)
    add(state, [bad, Row(5, 0, 0, 0, 0, (0,) * 4, metric=9, new=1)])
    assert state.rejected == 2
    assert state.fields() == {}
    add(state, [good])
    assert state.fields() != {}


TOTALS = st.integers(-(2**31), 2**31) | st.integers(-100, 100)
ENDS = st.integers(0, 2**31 - 1) | st.integers(0, 2**12)


@given(TOTALS, ENDS, ENDS, st.sampled_from([COARSE, FINE]))
@settings(deadline=None)
def test_what_a_total_teaches(total: int, below: int, above: int, version: int) -> None:
    rules = RULES._replace(low=-below, high=above + 1, grid=version)
    made = grid_of(rules.low, rules.high, version)
    assert taught(total, made.packed) == oracle_grid(total, rules)
    assert tuple(made.packed[PRODUCT:].tolist()) == oracle_shifts(rules)


@given(TOTALS, ENDS, ENDS)
@settings(deadline=None)
def test_no_cell_overflows_and_no_reward_is_lost(total: int, below: int, above: int) -> None:
    """2^31 rows of the largest reward and of features at their limit fit; up to 2^28 units a total is itself."""
    rules = RULES._replace(low=-below, high=above + 1)
    made, (product, square) = grid_of(rules.low, rules.high, FINE), oracle_shifts(rules)
    for extreme in (rules.low, rules.high):
        q = oracle_grid(extreme, rules)
        for cell in (q, shift(q * 32767, product), shift(-q * 32767, product), shift(q * q, square)):
            assert abs(cell) * 2**31 < 2**63
    if max(below, above + 1) < 2**28:
        assert taught(total, made.packed) == min(max(total, rules.low), rules.high) * (total != 0)
        assert made.one == max(below, above + 1)


def test_a_coarse_rating_keeps_no_reward_apart_from_the_lowest() -> None:
    old, new = grid_of(1, 5, COARSE).packed, grid_of(1, 5, FINE).packed
    assert [taught(total, old) for total in (0, 1, 5)] == [0, round(32767 / 5), 32767]
    assert [taught(total, new) for total in (0, 1, 5)] == [0, 1, 5]


@pytest.mark.parametrize("high", [1, 50, 10**5, 2**25, 2**31 - 1])
def test_a_reward_a_hundred_thousandth_of_the_largest_teaches(high: int) -> None:
    """Under the coarse grid it was nothing."""
    state = State(RULES._replace(low=0, high=high))
    small = max(high // 100_000, 1)
    rng = random.Random(1)
    rows = [
        Row(5, 0, 0, 0, 0, (rng.randint(-4096, 4096), 0, 0, 0), metric=0, new=small, exposes=True) for _ in range(2000)
    ]
    add(state, rows)
    sums, value = state.sums(0), small / high
    assert sums.s1[0] == pytest.approx(2000 * value, rel=1e-3)
    assert sums.s2[0] == pytest.approx(2000 * value**2, rel=0.02)
    assert sums.xr[0, 1] == pytest.approx(value * sum(row.x[0] / 4096 for row in rows), rel=0.02)


@pytest.mark.parametrize(
    ("delay", "expected"), [(0, 0), (15, 0), (16, 1), (31, 1), (32, 2), (2**34, DELAY_BINS - 1), (2**60, 31)]
)
def test_delay_bins(delay: int, expected: int) -> None:
    assert delay_bin(delay) == expected


def test_cells_hold_their_bounds() -> None:
    """The largest total and the largest reward on the grid, as often as a cell is promised to hold them."""
    top = 2**31 - 1
    state = State(RULES._replace(high=top))
    add(state, [Row(5, 0, 0, 0, 0, (4096,) * 4, metric=0, new=top, exposes=True)])
    state.counts *= 2**31
    state.learn *= 2**31
    here = state.counts[state.index[0, 0, 0]].tolist()
    at = count_offset(0, 0)
    assert (here[at + SQUARE_HIGH] << 32) + here[at + SQUARE_LOW] == top**2 * 2**31
    assert state.learn[state.index[0, 0, 0]].min() >= 0


def test_sums_are_in_natural_units() -> None:
    state = State(RULES)
    add(state, [Row(5, 1, 2, 0, 0, (2048, 0, 0, -4096)), Row(5, 1, 2, 0, 0, (2048, 0, 0, -4096), metric=0, new=50)])
    sums = state.sums(1)
    assert sums.n[2] == sums.rewarded[2] == sums.s1[2] == sums.s2[2] == 1.0
    assert sums.xx[2].tolist() == np.outer([1, 0.5, 0, 0, -1], [1, 0.5, 0, 0, -1]).tolist()
    assert sums.xr[2].tolist() == [1, 0.5, 0, 0, -1]
    left = state.aged(int(state.buckets[0].start + state.buckets[0].width / 2) + 500, 500)
    assert left.tolist() == [0.5]


def test_trials_and_rewards_have_weights_of_their_own() -> None:
    state = State(RULES)
    add(state, [Row(5, 1, 2, 0, 0, (2048, 0, 0, -4096)), Row(5, 1, 2, 0, 0, (2048, 0, 0, -4096), metric=0, new=50)])
    ones = np.ones((1, RULES.arms))
    sums = state.sums(1, Weights(0.75 * ones, 0.5 * ones))
    assert (sums.n[2], sums.xx[2, 0, 0]) == (0.75, 0.75)
    assert (sums.rewarded[2], sums.s1[2], sums.s2[2], sums.xr[2, 0]) == (0.5, 0.5, 0.5, 0.5)
