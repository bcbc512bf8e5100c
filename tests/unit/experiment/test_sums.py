"""Metrics that are sums of others: what follows from their parts, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidError
from service.experiment.compiled import Experiment, build, read
from service.experiment.parse import parse

FILE = """\
experiment: shop
arms: [{{id: plain}}, {{id: voucher}}]
default_arm: plain
metrics:
  - {{id: order, unit: 0.01, max: 500, window: 7d, aggregate: sum, outliers: clip}}
  - {{id: signup, window: 1d, grace: 8d}}
  - {{id: value, primary: true, weights: {weights}}}
"""


def applied(weights: str, old: Experiment | None = None, text: str = FILE) -> Experiment:
    made = text.format(weights=weights)
    return read(build(parse(made), made, "uid", 0, old))


def problems(weights: str, more: str = "") -> list[str]:
    with pytest.raises(InvalidError) as caught:
        parse(FILE.format(weights=weights) + more)
    return [str(violation) for violation in caught.value.violations]


def test_all_follows_from_the_parts() -> None:
    value = applied("{order: 1, signup: 0.2}").primary
    assert (value.id, value.unit, value.minimum, value.maximum, value.parts) == (
        "value",
        0.01,
        0.0,
        500.2,
        ("order", "signup"),
    )
    assert (value.window_ms, value.grace_ms) == (7 * 86_400_000, 2 * 86_400_000)
    assert value.limit == 64 * 50_020
    less = applied("{order: -0.5, signup: 3}").primary
    assert (less.unit, less.minimum, less.maximum) == (0.005, -250.0, 3.0)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("{}", ["line 7: metrics[2].weights: needs a metric and its weight, as {order: 1, signup: 0.2}"]),
        ("{order: .nan}", ["line 7: metrics[2].weights.order: must be a finite number"]),
        ("{order: 1e300}", ["line 7: metrics[2].weights.order: must be between -1e+09 and 1e+09, not 1e+300"]),
        ("{order: 0}", ["line 7: metrics[2].weights.order: must not be 0: leave it out"]),
        (
            "{orders: 1, signup: 1}",
            ["line 7: metrics[2].weights.orders: must be a metric that is no sum itself: order, signup"],
        ),
        ("{value: 1}", ["line 7: metrics[2].weights.value: must be a metric that is no sum itself: order, signup"]),
        ("{order: 1}, unit: 2", ["line 7: metrics[2].unit: follows from the metrics in `weights`: leave it out"]),
        (
            "{order: 0.3333333, signup: 1}",
            [
                (
                    "line 7: metrics[2].weights: too fine: in steps of 1e-09 a total may reach 10,730,665,600,000 of them, at most "
                    "2,147,483,647; round the weights, or give the metrics larger units"
                )
            ],
        ),
    ],
)
def test_what_is_refused_is_named(weights: str, said: list[str]) -> None:
    assert problems(weights) == said


def test_beta_cannot_hold_a_sum() -> None:
    said = 'beta learns whether a reward came, not what it is worth; "value" has parts of different worth: use auto'
    assert problems("{order: 1}", "algorithm: beta\n") == [f"line 8: algorithm: {said}"]


def test_a_sum_keeps_its_weights_and_counts_from_when_it_is_declared() -> None:
    before = applied("{order: 1, signup: 0.2}")
    assert [(one.number, one.parts, since) for one, since in before.composites] == [(2, ((0, 1), (1, 20)), 1)]
    with pytest.raises(InvalidError, match=r"cannot change from 1 x order \+ 0.2 x signup to 1 x order"):
        applied("{order: 1}", before)
    later = applied("{order: 1, signup: 0.2}", before, FILE + "  - {{id: both, weights: {{signup: 1, order: 2}}}}\n")
    (_, (both, since)) = later.composites
    assert (both.number, since, later.metrics[3].unit) == (3, 2, 0.02)
    assert (later.moved(1, 1), later.moved(1, 2)) == ((before.composites[0][0],), (before.composites[0][0], both))
    dropped = applied("{order: 1, signup: 0.2}", later)
    assert dropped.composites == later.composites
    assert not dropped.metrics[3].live


@settings(max_examples=60, deadline=None)
@given(
    weights=st.tuples(*[st.decimals(-20, 20, places=1).filter(bool)] * 2),
    totals=st.tuples(st.integers(0, 64 * 50_000), st.integers(0, 1)),
)
def test_the_total_in_units_is_exactly_the_weighted_sum(
    weights: tuple[object, object], totals: tuple[int, int]
) -> None:
    exp = applied(f"{{order: {weights[0]}, signup: {weights[1]}}}")
    ((composite, _),) = exp.composites
    whole = sum(weight * totals[part] for part, weight in composite.parts)
    exact = Fraction(str(weights[0])) * Fraction(totals[0], 100) + Fraction(str(weights[1])) * totals[1]
    assert abs(whole) <= exp.primary.limit
    assert whole * Fraction(repr(exp.primary.unit)) == exact
