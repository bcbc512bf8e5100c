"""What a report says of the policy's worth, over a service whose visitors and rewards are known."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from bandits import effect
from service.analysis.lift import MISMATCH, Lift, SampleRatio, headline, percent
from service.analysis.report import report
from service.experiment.compiled import NO_HOLDOUT
from service.server.assemble import Service, Tuning, build
from service.serving.personalizer import Mode, Reason
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.stage import KEYS, choose, reward, shop, told, visit


@pytest.fixture
def service() -> Iterator[Service]:
    made = build(MemoryStore(), KEYS, Metrics(), Tuning(10, 10))
    made.start()
    yield made
    made.stop()


def test_lift_over_all_and_in_each_segment(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    visit(service, 0, 900)
    made = told(service)
    assert [(one.segment, one.metric) for one in made.lifts] == [
        ("", "order"), ("", "revenue"), ("default", "order"), ("default", "revenue"), ("paid", "order"), ("paid", "revenue"),
    ]  # fmt: skip
    whole, money = made.lifts[:2]
    assert whole.policy_trials + whole.holdout_trials == 900
    assert (
        whole.difference
        == whole.policy_reward_sum / whole.policy_trials - whole.holdout_reward_sum / whole.holdout_trials
    )
    assert money.policy_reward_sum == pytest.approx(20.5 * whole.policy_reward_sum)
    assert 0.0 < whole.low < whole.difference < whole.high
    assert abs(whole.difference - 0.25) < 5 * whole.standard_error
    assert whole.relative_low < 1.0 < whole.relative_high
    assert money.low < 10.25 - 2.5625 < money.high
    assert whole.incremental == pytest.approx(whole.difference * whole.policy_trials)
    assert whole.from_ms <= whole.to_ms
    assert made.headline.startswith("+")
    assert made.headline.endswith("; safe to look at any time.")
    assert made.sample_ratio is not None
    assert not made.sample_ratio.mismatch
    buckets = whole.buckets
    assert buckets is not None
    assert sum(buckets.policy_trials) == whole.policy_trials
    sides = effect.Sums(
        *(  # what stands in the JSON is enough to compute it all again
            np.array(pair, np.float64)
            for pair in (
                (buckets.policy_trials, buckets.holdout_trials),
                (buckets.policy_reward_sums, buckets.holdout_reward_sums),
            )
        )
    )
    assert effect.compare(sides, 1.0).error == whole.standard_error
    assert all(one.buckets is None for one in made.lifts[2:])


def test_everyone_is_in_the_report(service: Service) -> None:
    text = shop(0.4).replace("{id: paid, when: {paid: true}}", "{id: paid, when: {paid: true}, serve: default}")
    service.experiments.put(text, 0)
    visit(service, 0, 300)
    made = told(service)
    by = {(total.group, total.metric): total for total in made.totals}
    assert sum(by[group, "order"].trials for group in ("policy", "holdout", "default")) == 300
    assert by["default", "order"].trials == 100
    assert by["default", "revenue"].rewarded == by["default", "order"].rewarded == 25
    assert by["default", "revenue"].mean == pytest.approx(10.25 * 0.25)
    paid = next(one for one in made.segments if one.segment == "paid")
    assert {total.group for total in paid.totals} == {"default"}
    whole = next(one for one in made.segments if one.segment == "default")
    new = next(arm for arm in whole.arms if arm.arm == "new")
    assert [(total.metric, total.trials) for total in new.metrics] == [("order", new.trials), ("revenue", new.trials)]
    assert new.metrics[1].reward_sum == pytest.approx(20.5 * new.rewarded)


def test_a_click_of_ten_arms_is_too_early(service: Service) -> None:
    arms = ", ".join(f"{{id: a{k}}}" for k in range(10))
    service.experiments.put(
        f"experiment: shop\narms: [{arms}]\ndefault_arm: a0\nmetrics: [{{id: order, window: 1h}}]\n", 0
    )
    made = [choose(service, "shop", f"s{i}") for i in range(10)]
    reward(service, made[0], metric="order", value=1.0)
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)
    (segment,) = told(service).segments
    assert segment.too_early
    assert all(math.isnan(arm.probability_best) and math.isnan(arm.expected_loss) for arm in segment.arms)
    tried, untried = ([arm for arm in segment.arms if bool(arm.trials) is shown] for shown in (True, False))
    assert all(0.0 <= arm.credible_low <= arm.posterior_mean <= arm.credible_high <= 1.0 for arm in tried)
    assert untried
    assert all(math.isnan(arm.posterior_mean) and math.isnan(arm.credible_low) for arm in untried)
    clicked = next(arm for arm in segment.arms if arm.rewarded)
    equals = [arm for arm in segment.arms if arm.trials >= clicked.trials and not arm.rewarded]
    assert all(arm.posterior_mean < clicked.posterior_mean for arm in equals)


def test_arms_against_the_default(service: Service) -> None:
    text = shop(0.1).replace("{name: fixed, weights: {new: 1}}", "{name: fixed, weights: {new: 1, old: 3, idle: 1}}")
    service.experiments.put(text.replace("[{id: old}", "[{id: old}, {id: idle, segments: [paid]}"), 0)
    visit(service, 0, 600)
    paid = next(one for one in told(service).segments if one.segment == "paid")
    early = next(arm for arm in paid.arms if arm.arm == "idle").effect
    assert early is not None
    assert "are needed" in early.too_early
    assert math.isnan(early.difference)
    visit(service, 600, 4000)
    made = told(service)
    arms = {arm.arm: arm for arm in next(one for one in made.segments if one.segment == "default").arms}
    assert arms["old"].effect is None
    assert arms["idle"].effect is None  # it cannot be drawn here
    new = arms["new"].effect
    assert new is not None
    assert new.too_early == ""
    assert 0.0 < new.low < new.difference < new.high
    assert abs(new.difference - 0.25) < 5 * new.standard_error
    assert new.p_value < 0.05
    assert new.difference == pytest.approx(arms["new"].mean - arms["old"].mean, abs=0.02)  # odds never moved


def test_visits_that_go_together_widen_what_is_believed(service: Service) -> None:
    """The same trials and rewards, of 300 visitors or of 15 who come twenty times and always or never order."""
    text = "experiment: NAME\narms: [{id: old}]\ndefault_arm: old\nmetrics: [{id: order, window: 1h}]\n"
    width = {}
    for name, subjects in (("many", 300), ("few", 15)):
        service.experiments.put(text.replace("NAME", name), 0)
        for i in range(300):
            made = choose(service, name, f"s{i % subjects}")
            if i % 3 == 0:
                reward(service, made, metric="order", value=1.0)
    service.feed.flushed(60.0)
    service.feed.refresh(60.0)
    for name in ("many", "few"):
        (arm,) = service.feed.inspect(name, report).segments[0].arms
        assert (arm.trials, arm.rewarded) == (300, 100)
        width[name] = arm.credible_high - arm.credible_low
    assert width["many"] == pytest.approx(0.107, rel=0.1)
    assert width["few"] > 1.5 * width["many"]


def test_a_changed_holdout_begins_anew_and_old_rewards_stay_out(service: Service) -> None:
    service.experiments.put(shop(0.4), 0)
    before = [choose(service, "shop", f"b{i}") for i in range(50)]
    service.feed.flushed(60.0)
    service.experiments.put(shop(0.5), 1)
    for one in before:
        reward(service, one, metric="order", value=1.0)
    service.feed.refresh(60.0)
    made = told(service)
    assert made.lifts == ()
    assert (
        made.headline
        == "It is too early to say what the policy is worth over the default: nobody of the holdout has come yet."
    )
    visit(service, 0, 30)
    whole = told(service).lifts[0]
    assert whole.policy_trials + whole.holdout_trials == 30
    assert "groups of subjects in" in whole.too_early
    assert math.isnan(whole.difference)
    assert whole.from_ms == told_version(service)


def told_version(service: Service) -> int:
    return service.experiments.get("shop").applied_at_ms


def test_nobody_is_held_out_where_there_is_no_choice(service: Service) -> None:
    """Else the holdout would have visitors whom the policy never had."""
    text = shop(0.5).replace("{id: new}", "{id: new, segments: [paid]}")
    service.experiments.put(text, 0)
    single = [choose(service, "shop", f"s{i}", arms=("new",)).reason for i in range(20)]
    batch = service.use_cases.select_batch("shop", [f"s{i}" for i in range(20)], {}, ["new"], False, Mode.NORMAL)
    assert set(single) == {Reason.NO_ELIGIBLE_ARM}
    assert set(batch.reasons) == {Reason.NO_ELIGIBLE_ARM}


def test_apply_warns_where_there_is_no_holdout(service: Service) -> None:
    made, _ = service.experiments.put(shop(0).replace("{name: fixed, weights: {new: 1}}", "auto"), 0)
    assert made.warnings == (NO_HOLDOUT,)
    assert "you will not be able to say what it was worth" in NO_HOLDOUT
    assert told(service).headline.startswith("Nobody can say what the policy is worth")
    assert service.experiments.put(shop(0.05), 1)[0].warnings == ()


def lift(**given: float) -> Lift:
    named: dict[str, object] = dict.fromkeys(Lift.__slots__, 0.0) | {"metric": "orders", "too_early": "", "segment": ""}
    return Lift(**named | given)  # type: ignore[arg-type]


CLEAR = {"low": 0.01, "high": 0.02, "relative": 0.12, "relative_low": 0.08, "relative_high": 0.16, "difference": 0.015}


def test_the_first_line(service: Service) -> None:
    service.experiments.put(shop(0.05), 0)
    made = service.experiments.get("shop")
    assert headline(made, (lift(**CLEAR),), None) == (
        "+12 % orders over the default, between +8.0 % and +16 %; safe to look at any time."
    )
    unsure = lift(**CLEAR | {"low": -0.01, "relative_low": -0.03})
    assert headline(made, (unsure,), None).startswith(
        "No difference is shown yet: +12 % orders over the default, between -3.0"
    )
    endless = lift(**CLEAR | {"relative_low": -math.inf, "relative_high": math.inf})
    assert headline(made, (endless,), None).startswith(
        "+0.015 orders a trial over the default, between +0.01 and +0.02"
    )
    off = SampleRatio(0.05, 0.08, MISMATCH / 2, True)
    assert headline(made, (lift(**CLEAR),), off).endswith(
        "Do not trust it yet: the holdout has 8.0% of the trials, where 5.0% of the subjects are in it."
    )


def test_percent() -> None:
    assert [percent(v) for v in (0.12, -0.034, 0.0994, 12.0, 0.0)] == [
        "+12 %",
        "-3.4 %",
        "+9.9 %",
        "+1,200 %",
        "+0.0 %",
    ]
