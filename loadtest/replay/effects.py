"""Click rates from logs: a mixed logistic model, its shrinkage chosen by likelihood on held-out folds.

    logit P(click | item k, context x) = x . (b + g_k)       x = (1, one indicator a category value)
    b = (intercept, context effects ~ N(0, context^2))       g_k = (item effect ~ N(0, item^2), item x context effects
                                                                    ~ N(0, interaction^2))
The estimate is the posterior mode at given scales. No policy is looked at here. Two worlds differ in the item scale:
"logged" leaves the items' rates as they were logged, "shrunk" lets the likelihood choose that scale too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadtest.replay.dataset import Dataset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Standard deviations on the logit scale; 0 is "no such effect". 0.7 doubles a rate.
ITEM_GRIDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "logged": (3.0,),  # weak: an item never clicked may have a rate near zero
        "shrunk": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
    }
)
CONTEXT_GRID = (0.0, 0.1, 0.2, 0.4)
INTERACTION_GRID = (0.0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
NEAR_TIES: Mapping[str, float] = MappingProxyType({"logged": 1.0, "shrunk": 0.0})  # nats; see pick()
FOLDS = 10
REPEATS = 3
ABSENT = 1e-3  # stands for a scale of 0: an effect of a thousandth is none


class Scales(NamedTuple):
    """Prior standard deviations on the logit scale."""

    item: float
    context: float
    interaction: float


@dataclass(frozen=True)
class Rows:
    """Design of n rows: `columns[n, c]` are the indexes of the indicators that are 1, column 0 the constant."""

    columns: Ints
    width: int
    item: Ints
    items: int
    click: Floats

    def take(self, keep: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        return Rows(self.columns[keep], self.width, self.item[keep], self.items, self.click[keep])


@dataclass(frozen=True)
class Effects:
    """`shared[width]` is b, `own[items, width]` is g."""

    shared: Floats
    own: Floats

    def logits(self, columns: Ints) -> Floats:
        """Logits of contexts `columns[n, c]` for every item: [n, items]."""
        return np.asarray((self.shared + self.own)[:, columns].sum(axis=2).T, dtype=np.float64)


def columns(context: Ints, sizes: Iterable[int]) -> tuple[Ints, int]:
    """Indicator indexes of contexts given as codes [n, features], with the constant first; and their width."""
    starts = np.cumsum([1, *sizes])
    constant = np.zeros((len(context), 1), dtype=np.int64)
    return np.hstack([constant, context + starts[:-1]]), int(starts[-1])


def rows_of(data: Dataset) -> Rows:
    """All logged rows: what was shown is known, so rows of either logging policy tell the same rates."""
    indexes, width = columns(data.context, [len(f.values) for f in data.features])
    return Rows(indexes, width, data.item, data.items, data.click)


def _moments(rows: Rows, weight: Floats) -> Floats:
    """Sum of weight * x x' an item: [items, width, width]."""
    size = rows.items * rows.width * rows.width
    total = np.zeros(size)
    for first in rows.columns.T:
        base = (rows.item * rows.width + first) * rows.width
        for second in rows.columns.T:
            total += np.bincount(base + second, weights=weight, minlength=size)
    return total.reshape(rows.items, rows.width, rows.width)


def _predict(rows: Rows, effects: Effects) -> Floats:
    """Logits of the rows' own items: [n]."""
    table = effects.shared + effects.own
    return np.asarray(table[rows.item[:, None], rows.columns].sum(axis=1), dtype=np.float64)


def fit(rows: Rows, scales: Scales, start: Effects | None = None, steps: int = 50) -> Effects:
    """Posterior mode by Newton's method. The items' blocks are eliminated first, so a step solves small systems only.

    Raises ValueError without at least one click and one row without.
    """
    mean = float(rows.click.mean())
    if not 0.0 < mean < 1.0:
        raise ValueError("rows with and without clicks are needed")
    item, context, interaction = (max(s, ABSENT) for s in scales)
    shared_prior = np.full(rows.width, context**-2)
    shared_prior[0] = 1e-6
    own_prior = np.full(rows.width, interaction**-2)
    own_prior[0] = item**-2
    shared = np.zeros(rows.width)
    shared[0] = np.log(mean / (1.0 - mean))
    effects = start or Effects(shared, np.zeros((rows.items, rows.width)))
    for _ in range(steps):
        change_shared, change_own = _step(rows, effects, shared_prior, own_prior)
        # a first step from far away may overshoot: halve it until no logit moves by more than 2
        largest = max(float(np.abs(change_shared).max()), float(np.abs(change_own).max()))
        damp = min(1.0, 2.0 / largest) if largest > 0 else 1.0
        effects = Effects(effects.shared + damp * change_shared, effects.own + damp * change_own)
        if largest < 1e-6:
            break
    return effects


def _step(rows: Rows, effects: Effects, shared_prior: Floats, own_prior: Floats) -> tuple[Floats, Floats]:
    chance = 1.0 / (1.0 + np.exp(-_predict(rows, effects)))
    where = (rows.item[:, None] * rows.width + rows.columns).ravel()
    residual = np.repeat(rows.click - chance, rows.columns.shape[1])
    slope = np.bincount(where, weights=residual, minlength=rows.items * rows.width).reshape(rows.items, rows.width)
    moments = _moments(rows, chance * (1.0 - chance))
    own_slope = slope - own_prior * effects.own
    solved = np.linalg.solve(moments + np.diag(own_prior), np.concatenate([moments, own_slope[:, :, None]], axis=2))
    through, alone = solved[:, :, :-1], solved[:, :, -1]
    curvature = moments.sum(axis=0) + np.diag(shared_prior) - np.einsum("kij,kjl->il", moments, through)
    shared_slope = slope.sum(axis=0) - shared_prior * effects.shared - np.einsum("kij,kj->i", moments, alone)
    change = np.linalg.solve(curvature, shared_slope)
    return change, alone - through @ change


def log_likelihood(rows: Rows, effects: Effects) -> float:
    """Of the rows' clicks."""
    logits = _predict(rows, effects)
    return float((rows.click * logits - np.logaddexp(0.0, logits)).sum())


def folds(click: Floats, seed: int) -> Ints:
    """A fold number a row; clicks are rare, so they are dealt out evenly."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(click), dtype=np.int64)
    for value in (0.0, 1.0):
        where = rng.permutation(np.flatnonzero(click == value))
        fold[where] = np.arange(len(where)) % FOLDS
    return fold


def held_out(rows: Rows, scales: Scales, repeats: int = REPEATS) -> float:
    """Log-likelihood of each fold under the fit to the others, summed; mean over `repeats` ways to cut folds."""
    total = 0.0
    for seed in range(repeats):
        fold = folds(rows.click, seed)
        effects: Effects | None = None
        for k in range(FOLDS):
            effects = fit(rows.take(fold != k), scales, effects)
            total += log_likelihood(rows.take(fold == k), effects)
    return total / repeats


def grid(kind: str) -> list[Scales]:
    """The scales a world of this kind is chosen from."""
    return [Scales(*point) for point in product(ITEM_GRIDS[kind], CONTEXT_GRID, INTERACTION_GRID)]


def choose(rows: Rows, kind: str, tick: Callable[[], None] = lambda: None) -> Scales:
    """The scales of a world, by held-out likelihood alone. Calls `tick` a point of the grid."""
    values = {}
    for scales in grid(kind):
        values[scales] = held_out(rows, scales)
        tick()
    return pick(values, NEAR_TIES[kind])


def pick(values: Mapping[Scales, float], tie: float) -> Scales:
    """The scales with the highest held-out log-likelihood, or those which are as good as that and interact least.

    As good is: fewer than `tie` nats lower, with a non-zero interaction. Of these the least interaction is taken, then
    the highest likelihood: rates are to depend on item and context, but on no more than the logs ask for.
    """
    top = max(values.values())
    near = [s for s, value in values.items() if s.interaction > 0 and top - value < tie]
    if near:
        least = min(s.interaction for s in near)
        return max((s for s in near if s.interaction == least), key=values.__getitem__)
    return max(values, key=values.__getitem__)
