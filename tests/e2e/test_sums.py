"""A value made of orders and sign-ups, through a server and its real store: what moves a part moves it, once, and it teaches."""

from __future__ import annotations

import random

import pytest

from service.analysis.evaluation import evaluate
from service.analysis.log_table import entries
from service.analysis.trials_from_log import gather, trials_of
from service.errors import InvalidError
from service.management.offline import Local
from service.management.recount import Recount
from service.management.verify import Examination
from service.management.warm_start import Way
from service.server.assemble import Service
from service.serving.journey import Journey
from service.serving.rewarder import RewardEvent
from service.serving.token import from_text
from service.store.contract import Outcome
from service.store.rows import Composite
from tests.rig.stage import Stage, choose, reward

SHOP = """
experiment: NAME
arms: [{id: calm}, {id: bold}]
default_arm: calm
holdout: {share: 0.2}
metrics:
  - {id: order, unit: 0.01, max: 500, aggregate: sum, outliers: clip, window: 1h, credit: linear}
  - {id: signup, window: 1h}
  - {id: value, primary: true, weights: {order: 1, signup: 0.2}}
"""


@pytest.fixture(scope="module")
def server(world: Stage) -> Service:
    return world.services[0]


def earned(world: Stage, name: str) -> dict[str, float]:
    """Sum of each metric in the report, policy and holdout together; and the proof that records, log and state agree."""
    world.settle()
    store = world.store()
    assert Examination(store, store, store.poll({}).registry[name]).run().faults == []
    found: dict[str, float] = {}
    for total in world.services[0].experiments.report(name).totals:
        found[total.metric] = found.get(total.metric, 0.0) + total.reward_sum
    return found


def test_the_sum_is_never_reported_itself(world: Stage, server: Service) -> None:
    server.experiments.put(SHOP.replace("NAME", "named"), 0)
    server.feed.refresh(60.0)
    made = choose(server, "named", "ann")
    for metric in ("", "value"):
        with pytest.raises(
            InvalidError, match="'value' is made of other metrics; name the one that happened: order, signup"
        ):
            reward(server, made, metric=metric)


def test_it_is_the_sum_of_its_parts_whatever_happens(world: Stage, server: Service) -> None:
    """Orders, refunds, retractions, journeys, sent twice and in any order."""
    server.experiments.put(SHOP.replace("NAME", "sums"), 0)
    server.feed.refresh(60.0)
    rng = random.Random(7)
    tokens = [from_text(choose(server, "sums", f"s{i}").decision_id) for i in range(30)]
    events = [RewardEvent(rng.choice(tokens), "order", rng.choice((19.99, 5.0, -3.5)), f"o{i}") for i in range(60)] + [
        RewardEvent(token, "signup") for token in tokens[:12]
    ]
    events += [RewardEvent(event.decision, "order", None, event.event_id, retract=True) for event in events[:20]]
    events += [RewardEvent(token, "signup", retract=True) for token in tokens[:3]]
    sent = events * 2
    rng.shuffle(sent)
    for at in range(0, len(sent), 9):
        server.use_cases.reward(sent[at : at + 9])
    for _ in range(2):
        server.use_cases.journey(Journey(tokens[:3], 10.0, "j", "order"))
    found = earned(world, "sums")
    assert found["order"] > 0.0
    assert found["value"] == pytest.approx(found["order"] + 0.2 * found["signup"], abs=1e-9)
    store = world.store()
    uid = store.poll({}).registry["sums"]
    recount = Recount(entries(store, uid))
    assert recount.sums(((Composite(2, ((0, 1), (1, 20))), 1),)) == []
    assert recount.sums(((Composite(2, ((0, 1), (1, 21))), 1),)) != []


def test_history_of_a_part_or_of_the_sum_teaches_it_and_is_undone(world: Stage, server: Service) -> None:
    server.experiments.put(SHOP.replace("NAME", "taught"), 0)
    server.feed.refresh(60.0)
    local = Local(world.store())
    file = "arm,reward,metric\ncalm,30,order\nbold,1,signup\nbold,12.5,value\nbold,0,order\n"
    assert local.warm_start("taught", file).applied == 4
    assert earned(world, "taught") == {"order": 30.0, "signup": 1.0, "value": 42.7}
    assert local.warm_start("taught", file, way=Way.UNDO).applied == 4
    assert set(earned(world, "taught").values()) <= {0.0}


def test_a_sum_that_comes_later_counts_later_decisions(world: Stage, server: Service) -> None:
    text = (
        SHOP.replace("NAME", "later")
        .replace("id: signup", "id: signup, primary: true")
        .replace("primary: true, weights", "weights")
    )
    both = "  - {id: value, weights: {order: 1, signup: 0.2}}\n"
    server.experiments.put(text.replace(both, ""), 0)
    server.feed.refresh(60.0)
    before = choose(server, "later", "ann")
    assert reward(server, before, metric="order", value=10.0, event_id="a") == Outcome.APPLIED
    server.experiments.put(text, None)
    server.feed.refresh(60.0)
    reward(server, before, metric="order", value=7.0, event_id="b")
    reward(server, choose(server, "later", "bob"), metric="order", value=5.0, event_id="c")
    assert earned(world, "later") == {"order": 22.0, "signup": 0.0, "value": 5.0}


COSTLY = """
experiment: vouchers
arms: [{id: plain}, {id: voucher, cost: COST}, {id: gift, cost: 3}]
default_arm: plain
algorithm: {name: uniform}
holdout: {share: 0.3}
metrics:
  - {id: order, unit: 0.01, max: 500, window: 1h}
  - {id: signup, window: 1h}
  - {id: value, primary: true, weights: {order: 1, signup: 0.2}}
guardrails: [{metric: value, max_drop: 0.9}]
"""


def test_what_arms_cost_is_taken_from_all_that_is_told_of_them(world: Stage, server: Service) -> None:
    """Every trial of an arm costs the same, so all that is told moves by it; a cost that changes moves it again."""
    server.experiments.put(COSTLY.replace("COST", "0"), 0)
    server.feed.refresh(60.0)
    rng = random.Random(3)
    events = []
    for i in range(600):
        token = from_text(choose(server, "vouchers", f"s{i}").decision_id)
        if rng.random() < 0.5:
            events.append(RewardEvent(token, "order", round(rng.uniform(5.0, 15.0), 2)))
        events.append(RewardEvent(token, "signup", float(rng.random() < 0.3)))
    assert set(server.use_cases.reward(events)) == {Outcome.APPLIED}
    world.settle()
    told = []
    for cost in ("0", "1.25"):
        server.experiments.put(COSTLY.replace("COST", cost), None)
        server.feed.refresh(60.0)
        told.append(server.experiments.report("vouchers"))
    free, left = told
    for was, now in zip(free.segments[0].arms, left.segments[0].arms, strict=True):
        by = 1.25 if now.arm == "voucher" else 0.0
        assert now.mean == pytest.approx(was.mean - by)
        assert now.posterior_mean == pytest.approx(was.posterior_mean - by)
        assert now.metrics[0].cost == pytest.approx(now.trials * {"plain": 0.0, "voucher": 1.25, "gift": 3.0}[now.arm])
        assert [one.mean for one in now.metrics[1:]] == [one.mean for one in was.metrics[1:]]
        if now.effect is not None and was.effect is not None:
            assert now.effect.difference == pytest.approx(was.effect.difference - by)
            assert now.effect.high - now.effect.low == pytest.approx(was.effect.high - was.effect.low)
    share = next(arm.traffic_share for arm in left.segments[0].arms if arm.arm == "voucher")
    assert left.lifts[0].difference == pytest.approx(free.lifts[0].difference - 1.25 * share)
    assert left.lifts[0].low == pytest.approx(free.lifts[0].low - 1.25 * share)
    assert [one.difference for one in left.lifts[1:]] == [one.difference for one in free.lifts[1:]]
    before, after = (next(g for g in r.guardrails if g.arm == "voucher") for r in (free, left))
    held = free.lifts[0].holdout_reward_sum / free.lifts[0].holdout_trials
    assert (after.estimate - before.estimate) * held == pytest.approx(-1.25, abs=1e-6)


def test_a_policy_is_judged_by_what_is_left(world: Stage, server: Service) -> None:
    """`always the voucher` is estimated lower by the voucher's cost, and the best arm is the best of what is left."""
    estimates = {}
    for cost in ("0", "40"):
        server.experiments.put(COSTLY.replace("COST", cost), None)
        server.feed.refresh(60.0)
        for policy in ("algorithm: fixed\nweights: {voucher: 1}", "algorithm: best"):
            store = world.store()
            uid = store.poll({}).registry["vouchers"]
            found = evaluate(trials_of(gather(entries(store, uid), store.load(uid).history)), policy)
            estimates[cost, policy[:16]] = next(one.value for one in found.estimates if one.name == "SNIPS")
    free, left = (estimates[cost, "algorithm: fixed"] for cost in ("0", "40"))
    assert left == pytest.approx(free - 40.0, abs=1e-6)
    assert estimates["40", "algorithm: best"] > left + 30.0
