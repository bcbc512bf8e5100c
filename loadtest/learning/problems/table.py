"""The table of problems: one line each, by family. Constants are chosen on the tuning set, reported on the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from loadtest.learning.problems import arms, conversions, drawn, late, moving, published, rates, shapes, values
from loadtest.learning.problems.world import World

Build = Callable[[int, int], World]

DRAWN = "drawn"  # a problem whose every seed is another one
TUNING, REPORTING, MIXED = "tuning", "reporting", "mixed"
SEEDS = {TUNING: 1, REPORTING: 1001}  # first of each set's thousand
ROOM = 1_000

FAMILIES = (
    "conversions",
    "rare",
    "no context",
    "many arms",
    "revenue",
    "signed",
    "classification",
    "tutorial",
    "quadratic",
    "pairs",
    "late",
    "drift",
    "outage",
)  # each has one vote


@dataclass(frozen=True)
class Problem:
    """A problem: `build(seed, rounds)` lays it out. `what` is for people, `set` says what it may be used for."""

    name: str
    family: str
    set: str
    rounds: int
    build: Build
    what: str
    changes: bool = False  # the truth, on the way

    def world(self, seed: int) -> World:
        """Laid out for a seed."""
        return lay_out(self.name, seed)


def set_of(problem: str, seeds: Iterable[int]) -> str:
    """The set that runs of a problem on these seeds belong to; MIXED where they are of both."""
    found = {next((name for name, first in SEEDS.items() if first <= seed < first + ROOM), MIXED) for seed in seeds}
    if problem != DRAWN:
        found.add(PROBLEMS[problem].set)
    return found.pop() if len(found) == 1 else MIXED


@functools.lru_cache(maxsize=2)
def lay_out(name: str, seed: int) -> World:
    """The world of a problem and a seed. KeyError for an unknown problem."""
    if name == DRAWN:
        return drawn.world(seed)
    problem = PROBLEMS[name]
    return problem.build(seed, problem.rounds)


def _news(after: tuple[str, ...]) -> Build:
    return lambda seed, rounds: published.news(seed, rounds, after)


def _bandit(name: str) -> Build:
    return lambda seed, rounds: published.open_bandit(name, seed, rounds)


def _classes(name: str) -> Build:
    return lambda seed, rounds: published.classification(name, seed, rounds)


def _late(delay: str) -> Build:
    return lambda seed, rounds: late.late(f"late-{delay}", seed, rounds, delay)


def _tuning() -> Sequence[Problem]:
    def of(family: str, name: str, rounds: int, build: Build, what: str, changes: bool = False) -> Problem:
        return Problem(name, family, TUNING, rounds, build, what, changes)

    return (
        of("conversions", "marketing", 10_000, conversions.marketing, "1 to 15 %, 4 categories, 8 arms"),
        of("conversions", "opposed", 6_000, conversions.opposed, "two groups with opposite wishes"),
        of("conversions", "irrelevant", 8_000, conversions.irrelevant, "2 of 9 features matter"),
        of("conversions", "alike", 8_000, conversions.alike, "12 arms nearly alike, one better for half of the visitors"),
        of("rare", "rare", 10_000, rates.rare, "conversions of 0.5 to 5 %, 6 arms"),
        of("rare", "open-bandit", 10_000, _bandit("obd-men"), "clicks on 34 items of ZOZOTOWN, fitted to its logs"),
        of("no context", "no-context", 5_000, rates.no_context, "8 arms, nothing known of the visitor"),
        of("many arms", "arms-30", 5_000, arms.arms_30, "30 arms that share attributes"),
        of("many arms", "arms-100", 5_000, arms.arms_100, "100 arms that share attributes"),
        of("revenue", "revenue", 8_000, values.revenue, "order values with a heavy tail, 8 arms"),
        of("signed", "gaussian", 4_000, values.gaussian, "linear in 10 numbers, normal noise"),
        of("classification", "breast", 3_000, _classes("breast_cancer"), "30 numbers, 2 arms"),
        of("classification", "wine", 2_000, _classes("wine"), "13 numbers, 3 arms"),
        of("classification", "iris", 2_000, _classes("iris"), "4 numbers, 3 arms"),
        of("tutorial", "obp", 10_000, published.obp, "synthetic data of the Open Bandit Pipeline: 5 numbers, 10 arms"),
        of("tutorial", "news", 5_000, published.news, "VW tutorial: 2 users x 2 times of day, 7 articles"),
        of("tutorial", "news-change", 10_000, _news(published.SCENARIO_2), "its scenario 2: half of the likes change", True),
        of("tutorial", "news-swap", 10_000, _news(published.EXCHANGED), "Tom and Anna exchange their likes midway", True),
        of("quadratic", "hills", 6_000, shapes.hills, "numbers only, each arm best around a point"),
        of("pairs", "pairs", 10_000, shapes.pairs, "pairs of features decide"),
        of("late", "late-geometric", 10_000, _late("geometric"), "rewards come 100 decisions late on average"),
        of("late", "late-lognormal", 10_000, _late("lognormal"), "rewards come late, median 300 decisions"),
        of("drift", "weekends", 21_000, moving.weekends, "14 days; at weekends half as many buy", True),
        of("drift", "swings", 21_000, moving.swings, "14 days; five arms go up and down slowly", True),
        of("outage", "lost-hours", 21_000, moving.lost_hours, "14 days; eight hours' rewards lost every third"),
    )  # fmt: skip


def _reporting() -> Sequence[Problem]:
    def of(family: str, name: str, rounds: int, build: Build, what: str, changes: bool = False) -> Problem:
        return Problem(name, family, REPORTING, rounds, build, what, changes)

    return (
        of("conversions", "site", 10_000, conversions.site, "4 categories, 8 arms; a few values matter much"),
        of("conversions", "shop", 8_000, conversions.shop, "a flag, 2 numbers, 2 categories; 5 arms of 4 to 15 %"),
        of("rare", "rarer", 20_000, rates.rarer, "conversions of 0.1 to 1.5 %, 8 arms"),
        of("no context", "one-and-two", 5_000, rates.one_and_two, "an arm of 1 % and one of 2 %"),
        of("no context", "twenty", 10_000, rates.twenty, "20 arms of 1 to 6 %"),
        of("many arms", "groups-60", 10_000, arms.groups_60, "60 arms; members and guests want other ones"),
        of("revenue", "wide", 8_000, values.wide, "orders of about 20 where up to 5,000 was declared"),
        of("revenue", "baskets", 8_000, values.baskets, "arms move the size of orders; heavy tail"),
        of("signed", "margin", 8_000, values.margin, "coupons that cost with every visitor and earn with some"),
        of("classification", "digits", 3_000, published.digits, "16 numbers, 10 arms"),
        of("classification", "diabetes", 4_000, published.diabetes, "10 numbers, 3 arms, hard to tell"),
        of("tutorial", "crowd", 5_000, published.crowd, "4 users x 3 times of day, 9 articles, uncertain clicks"),
        of("tutorial", "obp-other", 8_000, published.obp_other, "as obp with other coefficients, 6 arms"),
        of("quadratic", "prices", 8_000, shapes.prices, "seven prices, each for other visitors"),
        of("pairs", "signs", 8_000, shapes.signs, "what a number does depends on another one"),
        of("late", "late-mixed", 10_000, late.mixed, "half of the rewards 400 decisions late"),
        of("drift", "season", 21_000, moving.season, "14 days; demand swings slowly between .5 and 1.5", True),
        of("drift", "rise", 21_000, moving.rise, "14 days; a losing arm rises above the leader", True),
        of("outage", "lost-day", 21_000, moving.lost_day, "14 days; all rewards of the sixth are lost"),
    )  # fmt: skip


PROBLEMS: Mapping[str, Problem] = MappingProxyType({row.name: row for row in (*_tuning(), *_reporting())})
