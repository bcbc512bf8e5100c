"""The table of problems: one line each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loadtest.learning import worlds_known as known
from loadtest.learning import worlds_made as made
from loadtest.learning import worlds_own as own
from loadtest.learning.world import World


@dataclass(frozen=True)
class Problem:
    """A problem: `build(seed, rounds)` lays it out. `what` is for people."""

    name: str
    rounds: int
    build: Callable[[int, int], World]
    what: str
    changes: int = 0  # of the truth on the way

    def world(self, seed: int) -> World:
        """Laid out for a seed."""
        return _laid_out(self.name, seed)


def _table() -> Mapping[str, Problem]:
    rows = (
        Problem("obp", 10_000, known.obp, "synthetic data of the Open Bandit Pipeline: 5 numbers, 10 arms"),
        Problem("news", 5_000, known.news, "VW tutorial: 2 users x 2 times of day, 7 articles"),
        Problem("news-change", 10_000, _news(known.SCENARIO_2), "its scenario 2: half of the likes change midway", 1),
        Problem("news-swap", 10_000, _news(known.EXCHANGED), "Tom and Anna exchange their likes midway", 1),
        Problem("open-bandit", 10_000, _bandit("obd-men"), "clicks on 34 items of ZOZOTOWN, fitted to its logs"),
        Problem("breast", 3_000, _classes("breast_cancer"), "classification as a bandit: 30 numbers, 2 arms"),
        Problem("wine", 2_000, _classes("wine"), "13 numbers, 3 arms"),
        Problem("iris", 2_000, _classes("iris"), "4 numbers, 3 arms"),
        Problem("marketing", 10_000, made.marketing, "conversions of 1 to 15 %, 4 categories, 8 arms"),
        Problem("rare", 10_000, made.rare, "conversions of 0.5 to 5 %, 6 arms"),
        Problem("no-context", 5_000, made.no_context, "8 arms, nothing known of the visitor"),
        Problem("revenue", 8_000, made.revenue, "order values with a heavy tail, 8 arms"),
        Problem("arms-30", 5_000, made.arms_30, "30 arms that share attributes"),
        Problem("arms-100", 5_000, made.arms_100, "100 arms that share attributes"),
        Problem("pairs", 10_000, made.pairs, "pairs of features decide"),
        Problem("gaussian", 4_000, made.gaussian, "linear in 10 numbers, normal noise"),
        Problem("late-geometric", 10_000, _late("geometric"), "rewards come 100 decisions late on average"),
        Problem("late-lognormal", 10_000, _late("lognormal"), "rewards come late, median 300 decisions"),
        Problem("hills", 6_000, own.hills, "numbers only, quadratic truth"),
        Problem("opposed", 6_000, own.opposed, "two groups with opposite wishes"),
        Problem("irrelevant", 8_000, own.irrelevant, "2 of 9 features matter"),
        Problem("alike", 8_000, own.alike, "12 arms nearly alike, one better for half of the visitors"),
    )
    return MappingProxyType({row.name: row for row in rows})


def _news(after: tuple[str, ...]) -> Callable[[int, int], World]:
    return lambda seed, rounds: known.news(seed, rounds, after)


def _bandit(name: str) -> Callable[[int, int], World]:
    return lambda seed, rounds: known.open_bandit(name, seed, rounds)


def _classes(name: str) -> Callable[[int, int], World]:
    return lambda seed, rounds: known.classification(name, seed, rounds)


def _late(delay: str) -> Callable[[int, int], World]:
    return lambda seed, rounds: made.late(f"late-{delay}", seed, rounds, delay)


@functools.lru_cache(maxsize=2)
def _laid_out(name: str, seed: int) -> World:
    problem = PROBLEMS[name]
    return problem.build(seed, problem.rounds)


PROBLEMS: Mapping[str, Problem] = _table()
