"""Rewards taken back and refunds, through a server and its real store: records, log and state tell the same story."""

from __future__ import annotations

import pytest

from service.analysis.log_table import LogTable, Record, entries
from service.errors import DeniedError, InvalidError, NotFoundError, PreconditionError
from service.management.offline import Local
from service.management.verify import Examination, fold
from service.management.warm_start import Way
from service.server.assemble import Service
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.contract import Outcome
from tests.rig.stage import Stage, choose, reward

SHOP = """
experiment: NAME
client: true
arms: [{id: calm}, {id: bold}]
default_arm: calm
algorithm: beta
features: {returning: {type: flag}}
metrics:
  - {id: click, primary: true, client: true, window: 1h}
  - {id: revenue, unit: 0.01, min: 0, max: 500, aggregate: sum, outliers: clip, window: 1h}
  - {id: balance, unit: 0.01, min: -100, max: 500, aggregate: sum, outliers: clip, window: 1h}
  - {id: strict, unit: 0.01, min: 0, max: 500, aggregate: sum, window: 1h}
"""
HISTORY = "arm,reward,returning,time\ncalm,1,true,2025-01-01\nbold,0,,2025-03-01\nbold,1,false,\n".replace(
    ",\n", ",2025-05-05\n"
)


@pytest.fixture(scope="module")
def server(world: Stage) -> Service:
    return world.services[0]


def shown(world: Stage, name: str) -> tuple[int, int, float]:
    """Trials, rewarded and sum of the report; and records, log and state agree."""
    world.settle()
    store = world.store()
    uid = store.poll({}).registry[name]
    assert Examination(store, store, uid).run().faults == []
    (segment,) = world.services[0].experiments.report(name).segments
    return tuple(sum(getattr(arm, of) for arm in segment.arms) for of in ("trials", "rewarded", "reward_sum"))


def state(world: Stage, name: str) -> dict[str, bytes]:
    """The sums of the log so far, without the configuration."""
    store = world.store()
    uid = store.poll({}).registry[name]
    return fold(uid, list(entries(store, uid))).state.fields()


def test_a_click_is_taken_back(world: Stage, server: Service) -> None:
    server.experiments.put(SHOP.replace("NAME", "clicks"), 0)
    first, second = (choose(server, "clicks", who) for who in ("ann", "bob"))
    assert reward(server, first, event_id="s1") == Outcome.APPLIED
    assert shown(world, "clicks") == (2, 1, 1)
    assert reward(server, first, event_id="s1", retract=True) == Outcome.APPLIED
    assert shown(world, "clicks") == (2, 0, 0)
    assert reward(server, second, event_id="s2", retract=True) == Outcome.APPLIED  # before it comes
    again = [reward(server, first, event_id="s1", retract=True), reward(server, first, event_id="s1")]
    assert [*again, reward(server, second, event_id="s2")] == [Outcome.DUPLICATE, Outcome.RETRACTED, Outcome.RETRACTED]
    assert shown(world, "clicks") == (2, 0, 0)
    assert reward(server, second, event_id="reader") == Outcome.APPLIED
    assert shown(world, "clicks") == (2, 1, 1)
    table, store = LogTable(), world.store()
    rows = [record for entry in entries(store, store.poll({}).registry["clicks"]) for record in table.records(entry)]
    assert [row["kind"] for row in rows if row["kind"] != "trial"] == ["reward", "retraction", "retraction", "reward"]


def test_refunds_and_what_has_no_effect(world: Stage, server: Service) -> None:
    server.experiments.put(SHOP.replace("NAME", "refunds"), 0)
    made = choose(server, "refunds", "ann")

    def pay(metric: str, value: float | None, event: str, retract: bool = False) -> Outcome:
        return reward(server, made, metric=metric, value=value, event_id=event, retract=retract)

    assert pay("revenue", 80, "order") == Outcome.APPLIED
    assert pay("revenue", -30, "refund") == Outcome.APPLIED
    assert pay("revenue", -90, "all of it") == Outcome.APPLIED
    for value in (-1, -1e12):
        with pytest.raises(PreconditionError, match="nothing is left"):
            pay("revenue", value, "too much")
    with pytest.raises(InvalidError, match="nothing would change"):
        pay("revenue", -0.001, "a tenth of a cent")
    assert pay("revenue", None, "all of it", retract=True) == Outcome.APPLIED
    assert pay("balance", -500, "debt") == Outcome.APPLIED  # clipped to -100, which has an effect
    with pytest.raises(InvalidError, match="must be between 0 and 500"):
        pay("strict", -1, "refund")
    with pytest.raises(InvalidError, match="a retraction has none"):
        pay("revenue", 80, "order", retract=True)
    with pytest.raises(InvalidError, match="event_id"):
        pay("revenue", None, "", retract=True)
    with pytest.raises(NotFoundError):
        pay("none", None, "e", retract=True)
    with pytest.raises(DeniedError, match="takes nothing back"):
        reward(server, made, metric="click", client=True, retract=True)
    world.settle()
    lifetime = [record for record in _rows(world, "refunds") if record["metric"] == "revenue"]
    assert [(row["old_total"], row["new_total"]) for row in lifetime] == [(0, 80), (80, 50), (50, 0), (0, 50)]
    shown(world, "refunds")


def _rows(world: Stage, name: str) -> list[Record]:
    table, store = LogTable(), world.store()
    return [r for entry in entries(store, store.poll({}).registry[name]) for r in table.records(entry)]


def test_one_call_may_reward_and_take_back(world: Stage, server: Service) -> None:
    server.experiments.put(SHOP.replace("NAME", "together"), 0)
    token = from_text(choose(server, "together", "ann").decision_id)
    sent = [RewardEvent(token, event_id="a"), RewardEvent(token, event_id="a", retract=True)] * 2
    outcomes = [Outcome.APPLIED, Outcome.APPLIED, Outcome.RETRACTED, Outcome.DUPLICATE]
    assert server.use_cases.reward(sent) == outcomes
    assert server.use_cases.reward(sent) == [Outcome.RETRACTED, Outcome.DUPLICATE] * 2
    assert shown(world, "together") == (1, 0, 0)


def test_history_is_judged_taught_taken_back_and_taught_again(world: Stage, server: Service) -> None:
    server.experiments.put(SHOP.replace("NAME", "warm"), 0)
    local = Local(world.store())
    before = state(world, "warm")
    judged = local.warm_start("warm", HISTORY, way=Way.JUDGE)
    assert (judged.applied, judged.repeated, judged.rewarded) == (3, 0, 2)
    assert state(world, "warm") == before
    assert local.warm_start("warm", HISTORY).applied == 3
    other = "arm,reward\nbold,1\n"
    local.warm_start("warm", other)
    for _ in range(2):
        taught = state(world, "warm")
        undone = local.warm_start("warm", HISTORY, way=Way.UNDO)
        assert (undone.applied, undone.repeated) == (3, 0)
        assert (local.warm_start("warm", HISTORY, way=Way.UNDO).applied, shown(world, "warm")) == (0, (0, 0, 0))
        assert _history(world, "warm") == 1
        assert local.warm_start("warm", HISTORY).applied == 3
        assert state(world, "warm") == taught
    assert local.warm_start("warm", "arm,reward\ncalm,0\n", way=Way.UNDO).repeated == 1  # never taught
    with pytest.raises(InvalidError, match="must not be negative"):
        local.warm_start("warm", "arm,reward,metric\ncalm,-5,revenue\n")


def _history(world: Stage, name: str) -> int:
    """Trials of history in the sums."""
    from bandits.cells import HISTORY as GROUP

    store = world.store()
    uid = store.poll({}).registry[name]
    replica = fold(uid, list(entries(store, uid)))
    return int(replica.state.lifetime(0)[:, GROUP].sum())
