"""A vote for each family whatever its number of problems, quantiles over problems, and what a log can speak of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadtest.learning import runs, verdict
from loadtest.learning.compare import Ratio, Result
from loadtest.learning.learner import Played
from loadtest.learning.runs import Run


def ratio(problem: str, value: float, se: float | None = 0.01) -> Ratio:
    return Ratio(problem, "lever", "x", value, se)


def test_a_family_has_one_vote() -> None:
    """Four problems of the tutorial at 1/16 weigh as much as one problem at 4."""
    found = [ratio(name, 1 / 16) for name in ("obp", "news", "news-change", "news-swap")] + [ratio("hills", 4.0)]
    votes = verdict.votes(found)
    assert {family: vote.value for family, vote in votes.items()} == {
        "tutorial": pytest.approx(1 / 16), "quadratic": pytest.approx(4.0),
    }  # fmt: skip
    assert verdict.overall(found) == pytest.approx(0.5)
    assert verdict.overall(found, verdict.TUTORIAL) == pytest.approx(4.0)
    assert verdict.overall([]) is None


def test_behind_is_two_standard_errors_of_the_familys_mean() -> None:
    two = [ratio("arms-30", 1.2, 0.12), ratio("arms-100", 1.2, 0.12)]
    vote = verdict.votes(two)["many arms"]
    assert vote.log_se == pytest.approx(0.1 / math.sqrt(2.0))
    assert vote.behind  # ln 1.2 = .182 > .141
    assert not verdict.votes(two[:1])["many arms"].behind  # .182 < .2
    assert not verdict.votes([ratio("arms-30", 3.0, None)])["many arms"].behind  # of one seed nothing is claimed


def test_the_spread_is_over_problems() -> None:
    made = verdict.spread([ratio(str(i), 2.0**i) for i in range(-5, 6)])
    assert made is not None
    assert made._asdict() == pytest.approx({"geometric_mean": 1.0, "median": 1.0, "p90": 16.0, "worst": 32.0})
    assert verdict.spread([]) is None


def results(regrets: dict[str, dict[str, tuple[float, ...]]]) -> list[Result]:
    return [
        Result(tuple(Run(problem, policy, seed, 1.0 - r, 1.0, r, 1.0) for seed, r in enumerate(values, 1)))
        for problem, policies in regrets.items()
        for policy, values in policies.items()
    ]


def test_the_summary_names_what_is_behind_and_the_worst() -> None:
    found = results({
        "hills": {"lever": (0.2, 0.2), "x": (0.1, 0.1)},
        "news": {"lever": (0.1, 0.1), "x": (0.2, 0.2), "y": (0.4, 0.4)},
    })  # fmt: skip
    made = verdict.summary(found, "lever")
    assert made["geometric_mean_ratio"] == pytest.approx(1.0)
    assert made["without_tutorial"] == pytest.approx(2.0)
    assert (made["worst_problem"], made["worst"], made["behind"]) == ("hills", pytest.approx(2.0), ["quadratic"])
    assert made["above_one_by_2se"] == ["hills"]
    assert made["alone"] == {"x": pytest.approx(1.0), "y": pytest.approx(2.0)}
    lines = verdict.families(found, "lever")
    assert [(line["family"], line["behind"], line["problems"]) for line in lines] == [
        ("tutorial", False, ["news"]), ("quadratic", True, ["hills"]),
    ]  # fmt: skip
    nothing = verdict.summary([], "lever")
    assert (nothing["geometric_mean_ratio"], nothing["median"], nothing["worst_problem"]) == (None, None, None)


def test_each_drawn_world_counts_for_itself() -> None:
    found = [
        Result((Run("drawn", policy, seed, 1.0 - r, 1.0, r, 1.0),))
        for seed, mine in ((7, 0.1), (8, 0.4), (9, 0.2))
        for policy, r in (("lever", mine), ("x", 0.2), ("y", 0.3))
    ]
    made = verdict.drawn(found, "lever")
    assert made["ratio"] == {
        "geometric_mean": pytest.approx(1.0), "median": pytest.approx(1.0), "p90": pytest.approx(1.8),
        "worst": pytest.approx(2.0),
    }  # fmt: skip
    assert verdict.worst_worlds(found, "lever", 2) == {8: pytest.approx(2.0), 9: pytest.approx(1.0)}


def test_support_is_what_the_least_shown_arms_rows_are_worth() -> None:
    arms = np.array([0, 0, 0, 1, 1, 0])
    even = runs.support(Played(arms, np.full(6, 0.5)), 2)
    assert even is not None
    assert even.rows == 2
    assert even.share == pytest.approx(1.0)
    torn = runs.support(Played(arms, np.array([0.9, 0.9, 0.9, 0.01, 0.99, 0.9])), 2)
    assert torn is not None
    weight = np.array([100.0, 1.0 / 0.99])
    assert torn.share == pytest.approx(weight.sum() ** 2 / (weight**2).sum() / 2)
    never = runs.support(Played(arms, np.full(6, 0.5)), 3)
    assert never is not None
    assert (never.rows, never.share) == (0, 0.0)
    assert runs.support(Played(arms), 2) is None
    late = runs.support(Played(np.repeat([0, 1], [runs.SUPPORTED, 5]), np.ones(runs.SUPPORTED + 5)), 2)
    assert late is not None
    assert late.rows == 0  # only the first decisions count
