"""The loop over a real store: choose, show, reward, learn; every reason, mode and outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ConflictError, InvalidError, NotFoundError, PreconditionError
from service.server.assemble import Service
from service.serving.personalizer import Mode, Reason
from service.serving.token import from_text
from service.store.contract import Outcome
from tests.rig.stage import Stage, choose, reward

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"

PLAIN = """
experiment: plain
arms: [{id: a, payload: {x: 1}}, {id: b}, {id: c}]
default_arm: a
algorithm: beta
metrics: [{id: click, window: 1h}]
"""


@pytest.fixture(scope="module")
def server(world: Stage) -> Service:
    return world.services[0]


def put(server: Service, text: str, name: str) -> str:
    """A variant of an experiment under a name of its own."""
    text = text.replace("experiment: plain", f"experiment: {name}")
    server.experiments.put(text, None)
    return name


def test_a_reward_is_felt(server: Service, world: Stage) -> None:
    name = put(server, PLAIN, "felt")
    for i in range(300):
        decision = choose(server, name, f"visitor {i}")
        assert decision.reason == Reason.POLICY
        assert 0 < decision.propensity < 1
        if decision.arm == "b":
            assert reward(server, decision) == Outcome.APPLIED
        if i % 50 == 0:
            world.settle()
    world.settle()
    arms = {a.arm: a for a in server.experiments.report(name).segments[0].arms}
    assert sum(a.trials for a in arms.values()) == 300
    assert arms["b"].rewarded == arms["b"].trials
    assert arms["b"].credible_low > arms["a"].credible_high
    assert arms["b"].credible_low < arms["b"].mean + 1e-9
    assert choose(server, name, "next").arm == "b"


def test_the_response_has_payload_segment_and_version(server: Service) -> None:
    name = put(server, PLAIN, "answer")
    seen = {}
    for i in range(50):
        decision = choose(server, name, str(i))
        seen[decision.arm] = decision
    assert seen["a"].payload_json == '{"x":1}'
    assert seen["a"].segment == "default"
    assert seen["a"].version == 1
    assert not seen["a"].stale


def test_duplicates_events_and_late_rewards(server: Service) -> None:
    name = put(server, PLAIN + "  \n", "events")  # `first`: whatever comes after the first reward is a duplicate
    decision = choose(server, name, "s")
    assert reward(server, decision) == Outcome.APPLIED
    assert reward(server, decision) == Outcome.DUPLICATE
    assert reward(server, decision, event_id="another") == Outcome.DUPLICATE
    summed = put(server, PLAIN.replace("window: 1h", "window: 1h, aggregate: sum, max: 5"), "summed")
    decision = choose(server, summed, "s")
    with pytest.raises(InvalidError, match="event_id"):
        reward(server, decision)
    assert reward(server, decision, event_id="1", value=2.0) == Outcome.APPLIED
    assert reward(server, decision, event_id="1", value=2.0) == Outcome.DUPLICATE
    assert reward(server, decision, event_id="2", value=3.0) == Outcome.APPLIED
    with pytest.raises(InvalidError, match="between 0 and 5"):
        reward(server, decision, event_id="3", value=6.0)
    with pytest.raises(NotFoundError, match="metric 'sale' does not exist"):
        reward(server, decision, metric="sale")


def test_deferred_decisions_count_once_exposed_or_rewarded(server: Service, world: Stage) -> None:
    name = put(server, PLAIN, "deferred")
    exposed, rewarded, ignored = (choose(server, name, str(i), deferred=True) for i in range(3))

    def expose(token: bytes) -> Outcome:
        (answer,) = server.use_cases.expose([token])
        assert isinstance(answer, Outcome)
        return answer

    assert expose(from_text(exposed.decision_id)) == Outcome.APPLIED
    assert expose(from_text(exposed.decision_id)) == Outcome.DUPLICATE
    assert reward(server, rewarded) == Outcome.APPLIED
    assert expose(from_text(rewarded.decision_id)) == Outcome.DUPLICATE
    shown = choose(server, name, "shown at once")
    assert expose(from_text(shown.decision_id)) == Outcome.DUPLICATE
    world.settle()
    arms = server.experiments.report(name).segments[0].arms
    assert sum(a.trials for a in arms) == 3
    assert sum(a.rewarded for a in arms) == 1
    assert ignored.decision_id


def test_previews_and_uncounted_choices_are_no_trials(server: Service, world: Stage) -> None:
    name = put(server, PLAIN, "modes")
    preview = choose(server, name, "designer", arms=["c"], mode=Mode.PREVIEW)
    assert (preview.arm, preview.propensity, preview.reason) == ("c", 1.0, Reason.PREVIEW)
    bot = choose(server, name, "bot", mode=Mode.UNCOUNTED)
    assert bot.reason == Reason.UNCOUNTED
    assert reward(server, preview) == Outcome.IGNORED
    assert reward(server, bot) == Outcome.IGNORED
    assert server.use_cases.expose([from_text(bot.decision_id)]) == [Outcome.IGNORED]
    with pytest.raises(InvalidError, match="a preview takes exactly one arm"):
        choose(server, name, "designer", arms=["a", "b"], mode=Mode.PREVIEW)
    world.settle()
    assert sum(a.trials for a in server.experiments.report(name).segments[0].arms) == 0


def test_subsets_and_states_of_arms(server: Service) -> None:
    name = put(server, PLAIN, "subset")
    assert {choose(server, name, str(i), arms=["b", "c"]).arm for i in range(40)} == {"b", "c"}
    only = choose(server, name, "s", arms=["b"])
    assert (only.arm, only.propensity) == ("b", 1.0)
    with pytest.raises(NotFoundError, match="arm 'z' does not exist"):
        choose(server, name, "s", arms=["a", "z"])
    put(server, PLAIN.replace("{id: b}", "{id: b, state: paused}"), "subset")
    nobody = choose(server, name, "s", arms=["b"])
    assert (nobody.arm, nobody.reason, nobody.propensity) == ("a", Reason.NO_ELIGIBLE_ARM, 1.0)


def test_inactive_experiments_answer_without_learning(server: Service) -> None:
    name = put(server, PLAIN, "life")
    early = choose(server, name, "early")
    put(server, PLAIN + "state: paused\n", name)
    paused = choose(server, name, "s")
    assert (paused.arm, paused.reason, paused.propensity) == ("a", Reason.INACTIVE, 1.0)
    assert reward(server, paused) == Outcome.IGNORED
    assert reward(server, early) == Outcome.APPLIED  # decided before it was paused
    put(server, PLAIN + "state: ended\nwinner: c\n", name)
    assert choose(server, name, "s").arm == "c"
    put(server, PLAIN + "state: draft\n", name)
    with pytest.raises(PreconditionError, match="draft"):
        choose(server, name, "s")
    assert choose(server, name, "s", arms=["b"], mode=Mode.PREVIEW).arm == "b"
    put(server, PLAIN + "end: 2020-01-01\n", name)
    assert choose(server, name, "s").reason == Reason.INACTIVE


def test_holdout_is_by_subject_and_teaches_nothing(server: Service, world: Stage) -> None:
    name = put(server, PLAIN + "holdout: {share: 0.3}\n", "holdout")
    held = [choose(server, name, f"s{i}") for i in range(1000)]
    again = [choose(server, name, f"s{i}") for i in range(1000)]
    assert [d.holdout for d in held] == [d.holdout for d in again]
    assert 240 < sum(d.holdout for d in held) < 360  # binomial(1000, .3): beyond is one in 30,000
    assert all((d.arm, d.propensity, d.reason) == ("a", 1.0, Reason.HOLDOUT) for d in held if d.holdout)
    world.settle()
    report = server.experiments.report(name).segments[0].arms
    assert sum(a.holdout_trials for a in report) == 2 * sum(d.holdout for d in held)
    assert sum(a.trials for a in report) == 2 * sum(not d.holdout for d in held)


def test_previous_decisions_are_kept_while_they_are_good(server: Service) -> None:
    name = put(server, PLAIN, "keep")
    first = choose(server, name, "s")
    second = choose(server, name, "s", previous=first.decision_id)
    assert (second.decision_id, second.arm, second.propensity) == (first.decision_id, first.arm, first.propensity)
    assert second.reason == Reason.REPEATED
    for changed in (
        choose(server, name, "somebody else", previous=first.decision_id),
        choose(server, name, "s", previous=first.decision_id, deferred=True),
        choose(server, name, "s", previous=first.decision_id, mode=Mode.UNCOUNTED),
        choose(server, name, "s", previous=first.decision_id, arms=[a for a in "abc" if a != first.arm]),
        choose(server, name, "s", previous="not a token"),
    ):
        assert changed.reason in (Reason.POLICY, Reason.UNCOUNTED)
        assert changed.decision_id != first.decision_id


def test_sticky_subjects_see_the_same_arm(server: Service) -> None:
    name = put(server, PLAIN + "sticky: 1d\n", "sticky")
    for i in range(20):
        assert len({choose(server, name, f"s{i}").arm for _ in range(5)}) == 1


def test_tokens_of_others_and_of_deleted_experiments(server: Service) -> None:
    name = put(server, PLAIN, "gone")
    decision = choose(server, name, "s")
    token = bytearray(from_text(decision.decision_id))
    token[-1] ^= 1
    with pytest.raises(InvalidError, match="decision_id: not a decision id"):
        reward(server, bytes(token))
    with pytest.raises(InvalidError, match="decision_id"):
        reward(server, b"short")
    server.experiments.delete(name, None)
    with pytest.raises(NotFoundError, match="no longer exists"):
        reward(server, decision)
    with pytest.raises(NotFoundError, match="experiment 'gone' does not exist"):
        choose(server, name, "s")
    put(server, PLAIN, name)
    with pytest.raises(NotFoundError, match="no longer exists"):
        reward(server, decision)


def test_versions_are_checked(server: Service) -> None:
    text = PLAIN.replace("plain", "versions")
    first, changed = server.experiments.put(text, 0)
    assert (first.version, changed) == (1, True)
    assert server.experiments.put(text, None)[1] is False
    with pytest.raises(ConflictError, match="at version 1, not 0"):
        server.experiments.put(text, 0)
    second, _ = server.experiments.put(text + "half_life: 7d\n", 1)
    assert second.version == 2
    with pytest.raises(InvalidError, match="metrics"):
        server.experiments.put(text.replace("window: 1h", "window: 1h, max: 2"), None)
    assert server.experiments.get("versions").version == 2


def test_changes_never_forget_while_traffic_flows(server: Service, world: Stage) -> None:
    text = PLAIN + "features:\n  color: {type: category, values: [red]}\n"
    name = put(server, text, "grow")
    counted = 0
    steps = [
        text,
        text.replace("{id: c}", "{id: c}, {id: d}"),
        text.replace("{id: c}", "{id: c, state: paused}, {id: d}"),
        text.replace("[red]", "[red, blue]").replace("{id: c}", "{id: d}"),
        text.replace("algorithm: beta", "algorithm: linucb"),
        text.replace("algorithm: beta", "algorithm: {name: lints, lambda: 2}")
        + "  size: {type: number, min: 0, max: 9}\n",
        text.replace("algorithm: beta", "algorithm: nig"),
    ]
    for step in steps:
        put(server, step, name)
        for i in range(30):
            decision = choose(server, name, f"{counted} {i}", context={"color": "blue"})
            if i % 3 == 0:
                assert reward(server, decision) == Outcome.APPLIED
            counted += 1
    world.settle()
    arms = server.experiments.report(name).segments[0].arms
    assert sum(a.trials for a in arms) == counted
    assert sum(a.rewarded for a in arms) == counted // 3
    assert len(arms) == 4


def test_shipped_examples_run(server: Service, world: Stage) -> None:
    for file in sorted(EXAMPLES.glob("*.yaml")):
        experiment, _ = server.experiments.put(file.read_text(), None)
        decision = choose(server, experiment.name, "somebody")
        assert reward(server, decision, event_id="e") in (Outcome.APPLIED, Outcome.IGNORED)
    world.settle()
    hero = server.experiments.get("homepage-hero")
    assert (hero.columns, len(hero.arms), hero.algorithm) == (16, 10, "linucb")
