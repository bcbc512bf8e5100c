"""The fit finds what was planted; the world is the same to everybody."""

import numpy as np
import pytest

from loadtest.replay import effects, world
from loadtest.replay.dataset import Dataset, Feature
from loadtest.replay.effects import Effects, Rows, Scales

ITEMS, SIZES = 5, [3, 2]


def planted(n: int, interaction: float = 0.5) -> tuple[Rows, Effects]:
    rng = np.random.default_rng(7)
    context = np.stack([rng.integers(0, size, n) for size in SIZES], axis=1)
    indexes, width = effects.columns(context, SIZES)
    shared = np.array([-1.0, 0.2, 0.0, -0.2, 0.1, -0.1])
    own = rng.normal(0.0, interaction, (ITEMS, width))
    own[:, 0] = [-0.8, -0.4, 0.0, 0.4, 0.8]
    truth = Effects(shared, own)
    item = rng.integers(0, ITEMS, n)
    chance = 1 / (1 + np.exp(-truth.logits(indexes)[np.arange(n), item]))
    return Rows(indexes, width, item, ITEMS, (rng.random(n) < chance).astype(float)), truth


def every_context() -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.arange(s) for s in SIZES], indexing="ij"), axis=-1).reshape(-1, len(SIZES))
    return effects.columns(grid, SIZES)[0]


def test_columns_are_the_constant_and_one_indicator_a_feature() -> None:
    indexes, width = effects.columns(np.array([[0, 1], [2, 0]]), SIZES)
    assert indexes.tolist() == [[0, 1, 5], [0, 3, 4]]
    assert width == 6


def test_the_fit_recovers_planted_effects() -> None:
    rows, truth = planted(200_000)
    found = effects.fit(rows, Scales(1.0, 1.0, 0.5))
    every = every_context()
    difference = found.logits(every) - truth.logits(every)
    # about 6,700 rows a cell, so a standard error of 0.03; 30 cells
    assert np.abs(difference).max() < 0.12


def test_the_fit_is_the_posterior_mode() -> None:
    rows, _ = planted(2_000)
    scales = Scales(0.5, 0.3, 0.2)
    found = effects.fit(rows, scales)
    design = np.zeros((len(rows.click), rows.width))
    design[np.arange(len(design))[:, None], rows.columns] = 1.0
    logits = (design * (found.shared + found.own)[rows.item]).sum(axis=1)
    residual = rows.click - 1 / (1 + np.exp(-logits))
    pull = np.full(rows.width, scales.interaction**-2)
    pull[0] = scales.item**-2
    for k in range(ITEMS):
        slope = (design * residual[:, None])[rows.item == k].sum(axis=0)
        assert np.allclose(slope, pull * found.own[k], atol=1e-4)
    pull = np.full(rows.width, scales.context**-2)
    pull[0] = 1e-6
    assert np.allclose((design * residual[:, None]).sum(axis=0), pull * found.shared, atol=1e-4)


def test_smaller_scales_shrink() -> None:
    rows, _ = planted(2_000)
    sizes = [np.abs(effects.fit(rows, Scales(s, s, s)).own).max() for s in (1.0, 0.3, 0.1, 0.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-3


def test_held_out_likelihood_tells_real_interactions_from_none() -> None:
    with_effect, _ = planted(5_000, interaction=0.8)
    without, _ = planted(5_000, interaction=0.0)
    gains = [
        effects.held_out(r, Scales(0.6, 0.1, 0.6), repeats=1) - effects.held_out(r, Scales(0.6, 0.1, 0.0), repeats=1)
        for r in (with_effect, without)
    ]
    assert gains[0] > 10
    assert gains[1] < 0


def test_choose_takes_the_best_of_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "ITEM_GRIDS", {"shrunk": (0.0, 0.6), "logged": (3.0,)})
    monkeypatch.setattr(effects, "CONTEXT_GRID", (0.0,))
    monkeypatch.setattr(effects, "INTERACTION_GRID", (0.0, 0.6))
    monkeypatch.setattr(effects, "REPEATS", 1)
    rows, _ = planted(5_000, interaction=0.8)
    ticks: list[int] = []
    assert effects.choose(rows, "shrunk", lambda: ticks.append(1)) == Scales(0.6, 0.0, 0.6)
    assert len(ticks) == len(effects.grid("shrunk")) == 4
    assert effects.choose(rows, "logged") == Scales(3.0, 0.0, 0.6)


def test_a_near_tie_goes_to_the_least_interaction_but_not_to_none() -> None:
    values = {
        Scales(3.0, 0.0, 0.0): -10.0,
        Scales(3.0, 0.1, 0.1): -10.3,
        Scales(3.0, 0.0, 0.1): -10.5,
        Scales(3.0, 0.0, 0.2): -10.2,
    }
    assert effects.pick(values, 0.0) == Scales(3.0, 0.0, 0.0)
    assert effects.pick(values, 1.0) == Scales(3.0, 0.1, 0.1)
    assert effects.pick(values, 0.25) == Scales(3.0, 0.0, 0.2)
    assert effects.pick(values, 0.1) == Scales(3.0, 0.0, 0.0)


def test_items_of_the_logged_world_have_the_rates_of_the_log() -> None:
    rng = np.random.default_rng(3)
    views, clicks = np.array([791, 400, 400]), np.array([12, 4, 0])
    item = np.repeat(np.arange(3), views)
    click = np.concatenate([np.arange(v) < c for v, c in zip(views, clicks, strict=True)]).astype(float)
    context = np.stack([rng.integers(0, size, len(item)) for size in SIZES], axis=1)
    indexes, width = effects.columns(context, SIZES)
    rows = Rows(indexes, width, item, 3, click)
    fitted = [1 / (1 + np.exp(-effects.fit(rows, Scales(s, 0.1, 0.1)).logits(indexes))).mean(axis=0) for s in (3, 0.4)]
    # the rate itself (its standard error is 30 %); an item without clicks has a tenth of the mean at most
    assert fitted[0][:2] == pytest.approx([12 / 791, 4 / 400], rel=0.04)
    assert fitted[0][2] < 0.1 * click.mean()
    assert fitted[1][2] > 0.3 * click.mean()


def test_scales_on_record_are_of_the_grids() -> None:
    assert len(world.CHOSEN) == 3
    for scales in world.CHOSEN.values():
        assert set(scales) == set(effects.ITEM_GRIDS)
        for kind, chosen in scales.items():
            assert chosen in effects.grid(kind)


def test_rows_of_one_kind_cannot_be_fitted() -> None:
    rows, _ = planted(100)
    with pytest.raises(ValueError, match="with and without"):
        effects.fit(Rows(rows.columns, rows.width, rows.item, ITEMS, np.zeros(100)), Scales(1.0, 1.0, 1.0))


def test_folds_share_out_the_clicks() -> None:
    click = np.zeros(1000)
    click[:50] = 1
    fold = effects.folds(click, seed=0)
    assert np.bincount(fold).tolist() == [100] * 10
    assert np.bincount(fold[:50]).tolist() == [5] * 10
    assert np.array_equal(fold, effects.folds(click, seed=0))


def small_world() -> world.World:
    rows, truth = planted(3_000)
    features = tuple(Feature(f"f{i}", tuple("abc"[:size])) for i, size in enumerate(SIZES))
    starts = np.cumsum([1, *SIZES])[:-1]
    context = rows.columns[:, 1:] - starts
    uniform = np.ones(len(context), dtype=bool)
    data = Dataset(
        "toy", ITEMS, features, context, rows.item, rows.click, np.full(len(context), 1 / ITEMS), uniform, ""
    )
    return world.World(data, 1 / (1 + np.exp(-truth.logits(rows.columns))), Scales(1, 1, 1), truth)


def test_visitors_and_clicks_depend_on_nothing_but_their_numbers() -> None:
    made = small_world()
    visitors, arms = np.arange(1000), np.arange(1000) % ITEMS
    whole = made.clicks(3, visitors, arms)
    backwards = [bool(made.clicks(3, np.array([v]), np.array([v % ITEMS]))[0]) for v in range(999, -1, -1)]
    assert whole.tolist() == backwards[::-1]
    assert not np.array_equal(whole, made.clicks(4, visitors, arms))


def test_clicks_come_as_often_as_their_rates_say() -> None:
    made = small_world()
    visitors = np.arange(200_000)
    for arm in range(ITEMS):
        arms = np.full(len(visitors), arm)
        chances = made.chances(1, visitors, arms)
        assert abs(chances.mean() - made.rates[:, arm].mean()) < 0.003
        error = (made.clicks(1, visitors, arms) - chances).sum() / np.sqrt((chances * (1 - chances)).sum())
        assert abs(error) < 4


def test_draws_for_two_arms_of_a_visitor_are_not_related() -> None:
    visitors = np.arange(100_000)
    draws = [world.uniforms(1, visitors, stream) for stream in (0, 1, 2)]
    for u in draws:
        assert 0 <= u.min() < u.max() < 1
        assert abs(u.mean() - 0.5) < 0.005
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.015


def test_what_a_world_implies() -> None:
    limits = world.implied(np.array([[0.1, 0.3], [0.1, 0.2], [0.4, 0.1]]))
    assert limits.uniform == pytest.approx(0.2)
    assert limits.single == pytest.approx(0.2)
    assert limits.oracle == pytest.approx(0.3)
    assert world.implied(np.array([[0.1, 0.3], [0.1, 0.2]])).best_item == 1
