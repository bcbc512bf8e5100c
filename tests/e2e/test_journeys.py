"""A conversion that several decisions led to, through a server and its real store."""

from __future__ import annotations

import pytest

from service.errors import InvalidError, LeverError, NotFoundError, PreconditionError
from service.server.assemble import Service
from service.serving.journey import Journey
from service.serving.token import from_text
from service.store.contract import Outcome
from tests.rig.stage import Stage, choose

CONFIG = """
experiment: {name}
arms: [{{id: calm}}, {{id: bold}}]
default_arm: calm
algorithm: beta
metrics:
  - {{id: order, primary: true, unit: {unit}, min: 0, max: 10000, aggregate: sum, window: 1h, credit: {rule}}}
"""


@pytest.fixture(scope="module")
def server(world: Stage) -> Service:
    (made,) = world.services
    for name, rule, unit in (
        ("hero", "linear", 0.01),
        ("mail", "position", 1),
        ("turn", "linear", 0.01),
        ("offer", "last", 1),
    ):
        made.experiments.put(CONFIG.format(name=name, rule=rule, unit=unit), 0)
    made.feed.refresh(60.0)
    return made


def test_a_journey_through_a_real_store(server: Service, world: Stage) -> None:
    ids = [from_text(choose(server, name, "ann").decision_id) for name in ("hero", "mail", "hero", "hero")]
    other = from_text(choose(server, "hero", "ann").decision_id)
    order = Journey(ids, 10.0, "order-1")
    first = server.use_cases.journey(order)
    assert [one.value for one in first] == [3.33, 10.0, 3.33, 3.34]
    assert {one.answer for one in first} == {Outcome.APPLIED}
    again = server.use_cases.journey(Journey([ids[2], *ids[:2], ids[3]], 10.0, "order-1"))  # in another order
    assert {one.answer for one in again} == {Outcome.DUPLICATE}
    for changed in (
        Journey(ids[:3], 10.0, "order-1"),
        Journey([*ids[:3], other], 10.0, "order-1"),
        Journey(ids, 11.0, "order-1"),
    ):
        with pytest.raises(PreconditionError) as refused:
            server.use_cases.journey(changed)
        assert refused.value.reason == "ANOTHER_JOURNEY"
    assert server.use_cases.journey(Journey(ids[:2], 2.0, "order-2"))[0].answer == Outcome.APPLIED
    world.settle()
    (segment,) = server.experiments.report("hero").segments
    assert sum(arm.reward_sum for arm in segment.arms) == pytest.approx(12.0)


def test_the_shares_stay_those_of_the_first_call(server: Service) -> None:
    ids = [from_text(choose(server, "turn", f"bob{i}").decision_id) for i in range(4)]
    first = server.use_cases.journey(Journey(ids, 8.0, "order-3"))
    server.experiments.put(CONFIG.format(name="turn", rule="last", unit=0.01), None)
    server.feed.refresh(60.0)
    again = server.use_cases.journey(Journey(ids, 8.0, "order-3"))
    assert [one.value for one in again] == [one.value for one in first] == [2.0] * 4
    assert [one.value for one in server.use_cases.journey(Journey(ids, 8.0, "order-4"))] == [0.0, 0.0, 0.0, 8.0]


@pytest.mark.parametrize(
    ("wrong", "error", "field"),
    [
        (lambda ids: Journey([*ids, b"forged" * 8], 1.0, "e"), InvalidError, r"decision_ids\[2\]"),
        (lambda ids: Journey([*ids, ids[0]], 1.0, "e"), InvalidError, r"decision_ids\[2\].*decision_ids\[0\]"),
        (lambda ids: Journey(ids, -1.0, "e"), InvalidError, "value"),
        (lambda ids: Journey(ids, float("nan"), "e"), InvalidError, "value"),
        (lambda ids: Journey(ids, 1.0, "e", "nothing"), NotFoundError, "nothing"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_applied(
    server: Service, world: Stage, wrong: object, error: type[LeverError], field: str
) -> None:
    ids = [from_text(choose(server, "offer", f"eve{i}").decision_id) for i in range(2)]
    with pytest.raises(error, match=field):
        server.use_cases.journey(wrong(ids))  # type: ignore[operator]
    world.settle()
    uid = world.store().poll({}).registry["offer"]
    assert not any(held.totals for held in world.store().claims(uid))
