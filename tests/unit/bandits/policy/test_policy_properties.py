"""What holds for every policy, whatever the sums."""

from __future__ import annotations

import copy
import pickle
from collections import UserDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bandits.auto import Side
from bandits.pmf import ALONE
from bandits.policy import POLICIES, Policy, decide, probabilities
from bandits.posterior import Kind, Sums, pack
from bandits.warmup import warm
from tests.oracles import policy as oracle

CASES = settings(max_examples=40, deadline=None, derandomize=True)
NAMES = st.sampled_from(list(POLICIES))
EXACT = st.sampled_from([name for name in POLICIES if name != "revenue"])  # its draws belong to numbers of arms
SEEDS = st.integers(0, 2**32 - 1)


def random_sums(seed: int, arms: int, columns: int, scale: float) -> Sums:
    """Sums as forgetting leaves them: fractional, some arms without a trial, counts over many decades."""
    sums, _ = oracle.world(seed, arms, columns, trials=60)
    rng = np.random.default_rng(seed)
    w = np.where(rng.random(arms) < 0.2, 0.0, scale * 10.0 ** rng.uniform(-2, 2, arms))
    n, rewarded, s1, s2 = (column * w for column in sums[:4])
    return Sums(n, rewarded, s1, s2, sums.xx * w[:, None, None], sums.xr * w[:, None])


def features(seed: int, columns: int) -> NDArray[np.float64]:
    x = np.random.default_rng(seed).integers(-4096, 4097, columns) / 4096.0
    x[0] = 1.0
    return x


@CASES
@given(name=NAMES, seed=SEEDS, arms=st.integers(1, 12), columns=st.integers(1, 9), scale=st.sampled_from([0.0, 1, 1e5]))
def test_sums_to_one_above_the_floor(name: str, seed: int, arms: int, columns: int, scale: float) -> None:
    sums = random_sums(seed, arms, columns, scale)
    every, x = np.arange(arms), features(seed, columns)
    p = probabilities(POLICIES[name].derive(sums, {"floor": 0.05}, every), x, every)
    assert abs(p.sum() - 1) < 1e-12
    assert (p >= 0.05 / arms * (1 - 1e-12)).all()
    q = probabilities(POLICIES[name].derive(sums, {"floor": 0.0}, every), x, every)
    assert p == pytest.approx(oracle.floored(q, 0.05), abs=1e-12)


@CASES
@given(name=EXACT, seed=SEEDS, arms=st.integers(2, 9), columns=st.integers(1, 6))
def test_names_of_arms_do_not_matter(name: str, seed: int, arms: int, columns: int) -> None:
    sums = random_sums(seed, arms, columns, 1.0)
    every, x = np.arange(arms), features(seed, columns)
    order = np.random.default_rng(seed).permutation(arms)
    p = probabilities(POLICIES[name].derive(sums, {}, every), x, every)
    q = probabilities(POLICIES[name].derive(Sums(*(column[order] for column in sums)), {}, every), x, every)
    assert q == pytest.approx(p[order], abs=1e-9)


@CASES
@given(name=EXACT, seed=SEEDS, arms=st.integers(3, 9))
def test_a_subset_is_as_if_the_others_were_not_there(name: str, seed: int, arms: int) -> None:
    sums = random_sums(seed, arms, 4, 1.0)
    post = POLICIES[name].derive(sums, {}, np.arange(arms))
    x = features(seed, 4)
    some = np.flatnonzero(np.random.default_rng(seed).random(arms) < 0.6).astype(np.int64)
    some = some if some.size else np.array([arms - 1])
    belief = (post.par[some], post.theta[some], post.cov[some], post.dof[some])
    alone = pack(Kind(post.kind), *belief, post.alpha, post.grid.copy(), post.floor)
    p = probabilities(post, x, some)
    assert p.tolist() == probabilities(alone, x, np.arange(some.size)).tolist()
    if some.size == 1:
        assert p.tolist() == [1.0]


@CASES
@given(name=NAMES, seed=SEEDS)
def test_inputs_are_read_only_and_unchanged(name: str, seed: int) -> None:
    sums = random_sums(seed, 4, 5, 1.0)
    before = copy.deepcopy(sums)
    every, x = np.arange(4), features(seed, 5)
    cells = np.frombuffer((x * 4096).astype(np.int16).tobytes(), np.int16)
    for array in (*sums, every, x):
        array.flags.writeable = False
    post = POLICIES[name].derive(sums, {}, every)
    kept = pickle.dumps(post)
    out = np.empty(4)
    if post.kind not in ALONE:
        decide(post.packed, cells, every, 1, 2, out)
    probabilities(post, x, every)
    assert pickle.dumps(post) == kept
    assert all((a == b).all() for a, b in zip(sums, before, strict=True))


@CASES
@given(name=st.sampled_from(["auto", "beta", "nig", "linucb", "lints"]), seed=SEEDS)
def test_dominated_arms_get_little_more_than_the_floor(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 3000
    arm, reward = np.repeat([0, 1, 2], n), rng.random(3 * n) < np.repeat([0.8, 0.2, 0.1], n)
    sums = oracle.sums_of(np.ones((3 * n, 1)), arm, reward.astype(float), 3)
    post = POLICIES[name].derive(sums, {"floor": 0.03}, np.arange(3))
    p = probabilities(post, np.ones(1), np.arange(3))
    if name == "auto":  # which keeps a little for the sake of evidence
        assert p[1:] == pytest.approx([0.01, 0.01], abs=0.007)
    else:
        assert p == pytest.approx([0.98, 0.01, 0.01], abs=1e-9)


@CASES
@given(seed=SEEDS, arms=st.integers(2, 8))
def test_fixed_weights(seed: int, arms: int) -> None:
    rng = np.random.default_rng(seed)
    weights = {str(k): float(rng.integers(0, 4)) for k in range(0, arms, 2)}
    post = POLICIES["fixed"].derive(random_sums(seed, arms, 1, 1.0), weights, np.arange(arms))
    p = probabilities(post, np.ones(1), np.arange(arms))
    w = np.array([weights.get(str(k), 0.0) for k in range(arms)])
    assert p == pytest.approx(w / w.sum() if w.sum() else np.full(arms, 1 / arms))


@CASES
@given(
    name=st.sampled_from(["auto", "nig", "linucb", "lints"]),
    value=st.sampled_from([-1.0, 0.0, 1.0]),
    arms=st.integers(2, 6),
)
def test_rewards_that_never_vary(name: str, value: float, arms: int) -> None:
    """No variance at all, one arm never tried: probabilities stay finite and the untried arm keeps a chance."""
    n = 50
    arm = np.arange(n * (arms - 1)) % (arms - 1)
    sums = oracle.sums_of(np.ones((arm.size, 1)), arm, np.full(arm.size, value), arms)
    every = np.arange(arms)
    p = probabilities(POLICIES[name].derive(sums, {}, every), np.ones(1), every)
    assert np.isfinite(p).all()
    assert abs(p.sum() - 1) < 1e-12
    assert p[-1] > 0.1


@pytest.mark.parametrize("name", list(POLICIES))
def test_two_hundred_arms_and_sixty_four_columns(name: str) -> None:
    sums, cells = oracle.world(20, arms=200, columns=64, trials=3000)
    every, out = np.arange(200), np.empty(200)
    post = POLICIES[name].derive(sums, {}, every)
    if post.kind in ALONE:
        out = probabilities(post, cells[0] / 4096.0, every)
    else:
        assert 0 <= decide(post.packed, cells[0], every, 3, 4, out) < 200
    assert abs(out.sum() - 1) < 1e-12


def test_defaults_lie_in_their_ranges() -> None:
    for policy in POLICIES.values():
        for setting in policy.settings.values():
            assert np.isnan(setting.default) or setting.low <= setting.default <= setting.high
    assert [name for name, policy in POLICIES.items() if policy.contextual] == [
        "auto", "linucb", "lints", "greedy", "squarecb",
    ]  # fmt: skip


class Reads(UserDict[str, float]):
    """Settings that note which of them were asked for."""

    def __init__(self, data: dict[str, float]) -> None:
        super().__init__(data)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:  # which get() asks first
        self.asked.add(str(name))
        return super().__contains__(name)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda policy: policy.name)
def test_what_a_policy_reads_stands_in_its_row(policy: Policy) -> None:
    """Its functions know no settings that nobody can set, and no default of their own."""
    complete, sums, arms = Reads(policy.complete({})), random_sums(1, 3, 2, 1.0), np.arange(3)
    policy.believe(sums, complete, arms)
    if policy.informed is not None:
        policy.informed(sums, complete, arms, Side())
    weights = {str(k) for k in arms} if policy.name == "fixed" else set()
    assert {"floor"} <= complete.asked <= policy.settings.keys() | weights


def test_warm_runs_on_the_clock_it_is_given() -> None:
    ticks = iter([1.0, 3.5])
    assert warm(lambda: next(ticks)) == 2.5
    assert warm() == 0.0


def test_a_kernel_refuses_types_it_was_not_made_for() -> None:
    """Rather than compile for a second in the middle of serving."""
    post = POLICIES["uniform"].derive(random_sums(1, 2, 1, 1.0), {}, np.arange(2))
    with pytest.raises(TypeError):
        decide(post.packed, np.ones((1, 1), np.int16), np.arange(2), 1, 2, np.empty(2))
