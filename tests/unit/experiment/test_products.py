"""Which products there are. About 5 s."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from service.experiment.compiled import Experiment, build, read
from service.experiment.parse import parse
from service.experiment.state_bound import room_for_products, state_bytes

FEATURES: dict[str, Any] = {
    "source": {"type": "category", "values": ["ads", "mail"]},
    "visits": {"type": "number", "min": 0, "max": 10},
    "member": {"type": "flag"},
}


def applied(features: dict[str, Any], old: Experiment | None = None, **more: Any) -> Experiment:
    arms = [{"id": f"a{n}"} for n in range(more.pop("arms", 2))]
    config = {"experiment": "p", "arms": arms, "default_arm": "a0", "metrics": [{"id": "m"}], "features": features}
    text = msgspec.json.encode(config | more).decode()
    return read(build(parse(text), text, "ab", 0, old))


def named(experiment: Experiment) -> list[str]:
    """The terms in words."""
    columns = experiment.numbers.columns
    words = [column.value or column.feature for column in columns]
    return [f"{words[term.left]}*{words[term.right]}" for term in experiment.numbers.products]


def test_pairs_that_exclude_each_other_have_no_product() -> None:
    made = applied(FEATURES)
    assert named(made) == ["ads*visits", "ads*member", "mail*visits", "mail*member", "visits*visits", "visits*member"]
    assert [term.column for term in made.numbers.products] == [9, 10, 11, 12, 13, 14]
    assert made.columns == 9  # rows and tokens stay as they were
    assert made.design.missing.tolist() == [-1, -1, -1, -1, -1, 6, -1, -1, -1]


def test_a_named_algorithm_has_none_and_keeps_those_there_are() -> None:
    first = applied(FEATURES, algorithm="linucb")
    assert first.numbers.products == ()
    second = applied(FEATURES, first, algorithm="auto")
    assert len(second.numbers.products) == 6
    assert applied(FEATURES, second, algorithm="lints").numbers.products == second.numbers.products


def test_a_feature_that_comes_later_gets_what_room_there_is() -> None:
    first = applied(FEATURES)
    second = applied(FEATURES | {"hour": {"type": "number", "min": 0, "max": 24}}, first)
    assert second.numbers.products[:6] == first.numbers.products
    assert set(named(second)[6:]) == {"ads*hour", "mail*hour", "visits*hour", "member*hour", "hour*hour"}
    assert second.design.place.tolist() == [*range(9), 15, 16]
    assert {term.column for term in second.numbers.products[6:]} == {17, 18, 19, 20, 21}


def test_more_pairs_than_room_share_columns_evenly() -> None:
    many = {f"c{n}": {"type": "category", "values": list("abcde")} for n in range(5)}
    made = applied(many)
    room = 64 - made.columns
    shared = Counter(term.column for term in made.numbers.products)
    assert (len(made.numbers.products), len(shared), made.design.columns) == (250, room, 64)
    assert max(shared.values()) - min(shared.values()) == 1
    signs = Counter(term.sign for term in made.numbers.products)
    assert abs(signs[1] - signs[-1]) < 60  # four standard deviations of a fair coin
    later = applied(many | {"f": {"type": "flag"}}, made)
    assert later.numbers.products == made.numbers.products  # no room is left: main effects only
    assert later.columns == made.columns + 2


def test_room_is_cut_by_the_state_that_products_cost() -> None:
    wide = {f"n{n}": {"type": "number", "min": 0, "max": 1} for n in range(9)}
    made = applied(wide, arms=200)
    assert state_bytes(200, 1, made.design.columns, 1) <= (256 << 20) // 4
    assert room_for_products(made.numbers, 256 << 20) == 0
    assert 20 < made.design.columns < 64
