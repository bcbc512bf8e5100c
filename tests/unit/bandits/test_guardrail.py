"""What guardrails judge an arm by, against its slow twin; and the test, whatever the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.guarded import DRAWN, HOLDOUT, OWN, Guarded
from bandits.guardrail import EARLY, FALSE_PAUSES, Bound, Evidence, Kind, judge, level, suspects
from bandits.state import Rules, State
from tests.oracles import guarded as oracle
from tests.oracles.state import Row
from tests.rig.folding import add, make_rows

RULES = Rules(3, 4, 2, 5, primary=0, low=-20, high=50, horizon_ms=100_000, guarded=(0, 3), control=(0.1, False, 0))
CASES = settings(max_examples=150, deadline=None, derandomize=True)
X = (0,) * 4
SIDES = {"own": OWN, "drawn": DRAWN, "holdout": HOLDOUT}


def named(guarded: Guarded) -> dict[tuple[object, ...], int]:
    """Non-zero cells under the oracle's names."""
    out: dict[tuple[object, ...], int] = {}
    for arm, side, row, bucket in np.argwhere(guarded.cells).tolist():
        where = (arm, list(SIDES)[side], bucket)
        key = (("trials", *where), ("squares", *where))[row] if row < 2 else ("total", *where, row - 2)
        out[key] = int(guarded.cells[arm, side, row, bucket])
    return out


@pytest.mark.parametrize("seed", range(4))
def test_every_cell_equals_the_slow_twin(seed: int) -> None:
    windows = RULES.window()
    windows[0, 1] = 500_000, 1_500_000
    windows[1, 2] = 0, 0  # not in that segment
    rules = RULES._replace(windows=windows)
    rows = make_rows(seed, 400, rules)
    state = State(rules)
    for at in range(0, len(rows), 37):
        add(state, rows[at : at + 37])
    assert named(state.guarded) == oracle.cells(rows, rules)
    for arm in range(4):
        weight, total, _ = state.guarded.pair(arm, DRAWN, 1)
        assert state.guarded.means(DRAWN, 1)[arm] == pytest.approx(total[0].sum() / weight[0].sum())
        assert state.guarded.means(HOLDOUT, 1)[arm] == pytest.approx(total[1].sum() / weight[1].sum())
    again = State.restore(rules, state.fields())
    assert again.fields() == state.fields()
    assert named(again.guarded) == named(state.guarded)


def test_nothing_is_kept_without_guardrails() -> None:
    state = State(RULES._replace(guarded=()))
    add(state, make_rows(1, 100, RULES))
    assert not state.guarded.cells.size
    assert not any(name.startswith("g/") for name in state.fields())


def trial(arm: int, version: int, **more: Any) -> Row:
    return Row(5, 0, arm, more.pop("flags", 0), 3, X, propensity=0.5, version=version, **more)


def test_after_a_pause_only_what_is_decided_from_then_on_counts() -> None:
    """What was decided before counts no more, nor what it still earns; beside it the holdout begins anew as well."""
    state = State(RULES)
    add(state, [trial(1, 0), trial(2, 0), trial(0, 0, flags=1)])
    away = RULES.window()
    away[:, 1] = 0, 0
    state.adopt(RULES._replace(version=2, windows=away))
    reward = trial(1, 0, metric=1, new=8)
    add(state, [reward, trial(0, 2, flags=1)])  # it is still told what happened, until it comes back
    assert state.guarded.pair(1, OWN, 1)[1].sum(axis=1).tolist() == [8.0, 0.0]
    assert state.guarded.pair(1, OWN, 1)[0].sum(axis=1).tolist() == [1.0, 1.0]
    state.adopt(RULES._replace(version=3))
    add(state, [reward, trial(1, 3), trial(0, 3, flags=1), trial(0, 2, flags=1)])
    trials, totals = ([state.guarded.pair(1, side, 1)[i].sum(axis=1).tolist() for side in (OWN, DRAWN)] for i in (0, 1))
    assert trials == [[1.0, 1.0], [2.0, 1.0]]
    assert totals == [[0.0, 0.0], [0.0, 0.0]]
    assert state.guarded.pair(2, OWN, 1)[0][0].sum() == 1.0  # of others nothing changed
    assert State.restore(state.rules, state.fields()).fields() == state.fields()


@pytest.mark.parametrize(
    "change", [{"control": (0.2, False, 0)}, {"control": (0.1, True, 0)}, {"control": (0.1, False, 2)}, {"guarded": ()}]
)
def test_all_begin_anew_where_the_holdout_changes_or_guardrails_come_and_go(change: dict[str, Any]) -> None:
    state = State(RULES)
    add(state, [trial(1, 0)])
    state.adopt(RULES._replace(version=2, **change))
    if not change.get("guarded", True):
        state.adopt(RULES._replace(version=3))
    add(state, [trial(1, 0), trial(1, 3)])
    assert state.guarded.pair(1, OWN, 0)[0][0].sum() == 1.0


def evidence(seed: int, rates: tuple[float, float], trials: int = 20_000) -> Evidence:
    """An arm and a holdout of 0 and 1, everybody once."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(np.array([[trials], [trials // 4]]) / 64, (2, 64)).astype(float)
    total = rng.binomial(n.astype(int), np.array(rates)[:, None]).astype(float)
    rate = max(rates)
    return Evidence(n, total, n.sum(axis=1), rate * rate, rate)


@CASES
@given(
    st.integers(0, 2**31), st.floats(1e-4, 0.5), st.floats(1e-4, 0.5), st.integers(64, 50_000),
    st.sampled_from([Bound(Kind.MOST, 0.01), Bound(Kind.DROP, 0.05), Bound(Kind.RISE, 0.1), Bound(Kind.DROP, 0.0)]),
)  # fmt: skip
def test_whatever_the_data(seed: int, one: float, other: float, trials: int, bound: Bound) -> None:
    seen = evidence(seed, (one, other), trials)
    got = judge(bound, seen, level(3, 2))
    if got.early:
        assert not got.harm
        return
    mean = seen.total.sum(axis=1) / seen.weight.sum(axis=1)
    limit = {Kind.MOST: bound.limit, Kind.DROP: -bound.limit, Kind.RISE: bound.limit}[bound.kind]
    if bound.kind is Kind.MOST:
        assert got.estimate == pytest.approx(mean[0])
        assert got.low <= got.estimate <= got.high
    elif mean[1] > 0.0:
        assert got.estimate == pytest.approx(mean[0] / mean[1] - 1.0)
        assert got.low <= got.estimate <= got.high or math.isinf(got.low)
    worse = -1.0 if bound.kind is Kind.DROP else 1.0
    if got.harm:  # what it says is what its interval says, and it is suspected
        own, held = np.array([mean[0]]), np.array([mean[1]])
        assert suspects(bound, own, own, held).all()
        assert math.isinf(got.low) or worse * (got.low if worse > 0 else got.high) > worse * limit
    elif math.isfinite(got.low) and math.isfinite(got.high):
        assert got.low <= limit or worse < 0
        assert got.high >= limit or worse > 0
    stricter = judge(bound, seen, level(30, 2))
    assert stricter.early or got.harm or not stricter.harm


def test_the_unit_of_the_metric_does_not_matter() -> None:
    seen = evidence(3, (0.02, 0.05))
    cents = seen._replace(total=100.0 * seen.total, size=1e4 * seen.size)
    assert judge(Bound(Kind.DROP, 0.05), cents, 0.01) == pytest.approx(judge(Bound(Kind.DROP, 0.05), seen, 0.01))


@pytest.mark.parametrize(
    ("bound", "arm", "holdout", "found"),
    [
        (Bound(Kind.DROP, 0.05), 0.0, 0.05, True),  # it has no rewards of which to tell an error
        (Bound(Kind.DROP, 0.05), 0.0, 1.0, True),
        (Bound(Kind.DROP, 0.0), 0.0, 1.0, True),
        (Bound(Kind.DROP, 0.05), 1.0, 1.0, False),
        (Bound(Kind.RISE, 0.05), 0.05, 0.0, True),
        (Bound(Kind.RISE, 0.05), 1.0, 0.0, True),
        (Bound(Kind.RISE, 0.0), 1.0, 1.0, False),
        (Bound(Kind.MOST, 0.1), 1.0, 0.0, True),
        (Bound(Kind.MOST, 0.1), 0.0, 0.0, False),
    ],
)
def test_what_always_or_never_happens_has_no_error_of_its_own(
    bound: Bound, arm: float, holdout: float, found: bool
) -> None:
    for trials in (640, 20_000):
        seen = evidence(1, (arm, holdout), trials)
        assert judge(bound, seen, level(4, 2)).harm == (found and (trials > 640 or 1.0 in (arm, holdout)))


def test_shares_of_what_is_below_nothing_are_not_told() -> None:
    seen = evidence(2, (0.3, 0.3))
    for kind in (Kind.DROP, Kind.RISE):
        assert judge(Bound(kind, 0.05), seen._replace(total=-seen.total), 0.01) == EARLY


def test_few_rewards_are_too_early() -> None:
    seen = evidence(1, (0.02, 0.02), 600)
    for bound in (Bound(Kind.MOST, 0.001), Bound(Kind.DROP, 0.5), Bound(Kind.RISE, 0.5)):
        assert judge(bound, seen, 0.01) == EARLY
    once = evidence(2, (0.02, 0.05))
    few = once._replace(squares=once.squares * [500.0, 1.0])  # few trials stand for most of the arm's traffic
    assert judge(Bound(Kind.DROP, 0.05), few, 0.01) == EARLY


def test_arms_and_guardrails_share_the_error() -> None:
    assert level(5, 3) * 5 * 3 == pytest.approx(2 * FALSE_PAUSES)
    assert level(0, 0) == 2 * FALSE_PAUSES


def test_no_run_of_looks_pauses_a_good_arm_more_often_than_it_may() -> None:
    """A hundred arms exactly at the bound, fifty looks each, judged as if each were alone: 1 % may be paused."""
    rng = np.random.default_rng(8)
    paused = 0
    for _ in range(100):
        trials, total = np.zeros((2, 64)), np.zeros((2, 64))
        for _look in range(50):
            more = rng.poisson(40.0, (2, 64))
            trials += more
            total += rng.binomial(more, np.array([[0.0095], [0.01]]))
            seen = Evidence(trials, total, trials.sum(axis=1), 1e-4, 0.01)
            if judge(Bound(Kind.DROP, 0.05), seen, level(1, 1)).harm:
                paused += 1
                break
    assert paused <= 3  # more than 3 of 100 at 1 %: 2 in 100
