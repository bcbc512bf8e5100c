"""From decisions over a real store to estimates, and history into it: whole, once, apart."""

from __future__ import annotations

import numpy as np
import pytest

from service.analysis.evaluation import Trials
from service.analysis.log_table import entries
from service.analysis.trials_from_log import gather, trials_of
from service.errors import InvalidError, NotFoundError, PreconditionError
from service.management.offline import Apart, Local
from service.server.assemble import Service
from service.serving.personalizer import Decision, Mode
from service.serving.token import from_text
from service.store.contract import Entry, Outcome
from tests.rig.stage import Stage, choose, reward

OFFER = """
experiment: NAME
arms: [{id: red}, {id: green}, {id: blue}]
default_arm: red
algorithm: {name: beta, floor: 0.3}
features: {country: {type: category, values: [de, fr]}}
metrics: [{id: sale, window: 1h}]
"""
EARNS = {"red": 0.1, "green": 0.5, "blue": 0.2}


@pytest.fixture(scope="module")
def server(world: Stage) -> Service:
    return world.services[0]


def put(server: Service, name: str, more: str = "") -> str:
    server.experiments.put(OFFER.replace("NAME", name) + more, None)
    return name


def trials(world: Stage, name: str) -> Trials:
    """The log as an evaluation takes it."""
    store = world.store()
    uid = store.poll({}).registry[name]
    loaded = store.load(uid)
    return trials_of(gather(entries(store, uid), loaded.history))


def visit(server: Service, name: str, n: int, seed: int = 0) -> int:
    """n visitors; how many of them bought."""
    random, sold = np.random.default_rng(seed), 0
    for i in range(n):
        decision = choose(server, name, f"{seed}-{i}", context={"country": ["de", "fr"][i % 2]})
        if random.random() < EARNS[decision.arm]:
            sold += reward(server, decision) == Outcome.APPLIED
    return sold


def test_an_evaluation_of_the_log_comes_near_the_truth(world: Stage, server: Service) -> None:
    name = put(server, "told")
    sold = visit(server, name, 1500)
    world.settle()
    found = Local(world.store()).evaluate(name, "algorithm: fixed\nweights: {green: 1, blue: 1}\n")
    assert found.support.refused == ""
    assert found.support.rows == 1500
    assert found.open_rows == 1500
    assert found.logged is not None
    assert found.logged.value == pytest.approx(sold / 1500)
    for one in found.estimates:  # four standard errors: false alarm 6e-5 each
        assert abs(one.value - 0.35) < 4 * max(0.012, one.error), one  # DM has no error: NaN
    learned = Local(world.store()).evaluate(name, "algorithm: linucb\nalpha: 0\nfloor: 0\n")
    assert learned.support.refused == ""
    assert abs(learned.estimates[3].value - 0.5) < 4 * learned.estimates[3].error


def test_the_holdout_speaks_of_the_default_and_of_nothing_else(world: Stage, server: Service) -> None:
    name = put(server, "held", "holdout: {share: 0.3}\n")
    visit(server, name, 1200)
    world.settle()
    local, held = Local(world.store()), int(trials(world, name).held.sum())
    assert 240 < held < 480
    found = local.evaluate(name, "algorithm: fixed\nweights: {red: 1}\n")
    assert (found.held_rows, found.support.rows, found.approximate) == (held, 1200, False)
    assert found.support.refused == ""
    assert found.support.ess > held
    assert found.support.mean_weight == pytest.approx(1.0, abs=0.15)
    for one in found.estimates:
        assert abs(one.value - 0.1) < 4 * max(0.012, one.error), one
    other = local.evaluate(name, "algorithm: best\n")
    assert (other.held_rows, other.left_out["holdout"], other.approximate) == (0, held, True)
    assert other.support.refused == ""
    assert abs(other.estimates[0].value - 0.5) < 4 * other.estimates[0].error
    assert other.logged is not None
    assert other.logged.value == found.logged.value  # type: ignore[union-attr]  # what the policy earned


def test_an_even_holdout_speaks_of_everything(world: Stage, server: Service) -> None:
    name = put(server, "even", "holdout: {share: 0.5, serve: uniform}\n")
    visit(server, name, 600)
    world.settle()
    held = int(trials(world, name).held.sum())
    found = Local(world.store()).evaluate(name, "algorithm: fixed\nweights: {blue: 1}\n")
    assert found.held_rows == held
    assert abs(found.estimates[0].value - 0.2) < 4 * found.estimates[0].error


def test_a_holdout_that_was_changed_is_left_out(world: Stage, server: Service) -> None:
    name = put(server, "moved", "holdout: {share: 0.3}\n")
    visit(server, name, 100)
    world.settle()
    put(server, name, "holdout: {share: 0.5}\n")
    visit(server, name, 100, seed=1)
    world.settle()
    found = trials(world, name)
    assert not found.held.any()
    assert found.left_out["of a holdout that was changed"] + len(found) == 200


def test_arms_that_the_caller_named_are_left_out(world: Stage, server: Service) -> None:
    name = put(server, "named")
    for i in range(90):
        arms = (["green", "blue"], [], ["red", "green", "blue"])[i % 3]
        choose(server, name, f"s{i}", arms=arms)
    batch = server.use_cases.select_batch(name, ["x", "y"], {}, ["red", "blue"], False, Mode.NORMAL)
    assert len(batch.arms) == 2
    world.settle()
    found = trials(world, name)
    assert (len(found), found.left_out) == (60, {"of arms that the caller named": 32})
    drawn = world.services[0].feed.inspect(name, lambda _, replica, __: replica.state.subjects.drawn(0, 1))
    # Of those rows an arm's effect is not taken either: weights would be those of other draws.
    assert drawn.weight[0].sum() == pytest.approx(60, rel=0.5)


def test_a_child_process_says_the_same(world: Stage, server: Service) -> None:
    name = put(server, "apart")
    visit(server, name, 300)
    world.settle()
    apart, local = Apart(world.url, world.prefix), Local(world.store())
    policy = "algorithm: lints\n"
    assert repr(apart.evaluate(name, policy)) == repr(local.evaluate(name, policy))  # DM has no error: NaN
    with pytest.raises(InvalidError) as caught:
        apart.evaluate(name, "algorithm: lints\nalpha: 1\n")
    assert caught.value.violations[0].line == 2
    with pytest.raises(NotFoundError, match="does not exist"):
        apart.evaluate("nothing", policy)
    warmed = apart.warm_start(name, "arm,reward\nred,1\n")
    assert (warmed.applied, warmed.rewarded) == (1, 1)


@pytest.mark.parametrize("policy", ["auto", "beta", "nig", "linucb", "lints"])
def test_every_algorithm_can_be_evaluated(world: Stage, server: Service, policy: str) -> None:
    name = put(server, f"every-{policy}")
    server.experiments.put(OFFER.replace("NAME", name).replace("name: beta", "name: auto"), None)
    visit(server, name, 400)
    world.settle()
    found = Local(world.store()).evaluate(name, f"algorithm: {policy}\n")
    assert found.policy == policy
    assert 0.8 < found.support.mean_weight < 1.2


def test_a_log_without_trials_is_refused(world: Stage, server: Service) -> None:
    found = Local(world.store()).evaluate(put(server, "quiet"), "algorithm: uniform\n")
    assert "no trials" in found.support.refused
    assert found.logged is None
    with pytest.raises(PreconditionError, match="the log is empty"):
        gather([], {})


def test_only_what_a_policy_drew_is_used(world: Stage, server: Service) -> None:
    name = put(
        server, "drawn", "holdout: {share: 0.3}\nsegments: [{id: french, when: {country: fr}, serve: default}]\n"
    )
    visit(server, name, 200)
    Local(world.store()).warm_start(name, "arm,reward\nred,1\ngreen,0\n")
    deferred = [choose(server, name, f"d{i}", deferred=True, context={"country": "de"}) for i in range(40)]
    shown = [d for d in deferred if not d.holdout]
    assert reward(server, shown[0]) == Outcome.APPLIED
    server.use_cases.expose([from_text(shown[1].decision_id)])
    world.settle()
    found = trials(world, name)
    assert found.left_out["history"] == 2
    assert found.left_out["fixed"] == 100
    assert len(found) == 100 + 2
    assert 10 < found.held.sum() < 60


def test_a_unit_counts_once_by_its_first_decision(world: Stage, server: Service) -> None:
    name = put(server, "sticky", "sticky: 30d\n")
    first: dict[int, Decision] = {}
    for visits in range(3):
        for i in range(50):
            decision = choose(server, name, f"s{i}")
            first.setdefault(i, decision)
            if visits == 1:
                reward(server, decision)  # of a later visit: no reward of the first
    for i in range(5):
        assert reward(server, first[i]) == Outcome.APPLIED
    world.settle()
    found = trials(world, name)
    assert len(found) == 50
    assert found.left_out["later visit of a unit"] == 100
    assert int(found.total.sum()) == 5


def test_units_from_before_the_kept_log_are_left_out(world: Stage, server: Service) -> None:
    name = put(server, "cut", "sticky: 1h\n")
    for i in range(20):
        choose(server, name, f"s{i}")
    world.settle()
    store = world.store()
    uid = store.poll({}).registry[name]
    log, history = list(entries(store, uid)), store.load(uid).history
    assert len(trials_of(gather(log, history))) == 20
    # Without its first entry the log may have had earlier visits of the same hour.
    cut = trials_of(gather([e for e in log if e.config is None], history))
    assert len(cut) == 0
    assert cut.left_out == {"period began before the kept log": 20}
    unknown = trials_of(gather([Entry("1-0", config=history[1]), *[e for e in log if e.trials]], {}))
    assert len(unknown) == 20


def test_arms_that_could_be_drawn_are_those_of_the_time(world: Stage, server: Service) -> None:
    name = put(server, "changed")
    visit(server, name, 30, seed=1)
    world.settle()
    server.experiments.put(OFFER.replace("NAME", name).replace("{id: blue}", "{id: blue, state: paused}"), None)
    visit(server, name, 30, seed=2)
    world.settle()
    found = trials(world, name)
    sizes = [len(found.choices[c]) for c in found.choice]
    assert sizes == [3] * 30 + [2] * 30


def test_history_teaches_once_and_apart(world: Stage, server: Service) -> None:
    name = put(server, "warm")
    text = "arm,reward,country,time\n" + "".join(
        f"{['red', 'green'][i % 2]},{int(i % 2 and i % 4 == 1)},de,2026-0{1 + i % 9}-01\n" for i in range(1200)
    )
    local = Local(world.store())
    warmed = local.warm_start(name, text)
    assert (warmed.applied, warmed.repeated, warmed.rewarded) == (1200, 0, 300)
    again = local.warm_start(name, text)
    assert (again.applied, again.repeated) == (0, 1200)
    world.settle()
    arms = {arm.arm: arm for arm in server.experiments.report(name).segments[0].arms}
    assert sum(arm.trials for arm in arms.values()) == 0  # the report's trials are the policy's own
    assert arms["green"].posterior_mean == pytest.approx(0.5, abs=0.02)
    assert arms["red"].posterior_mean < 0.01  # blue was never tried: nobody knows
    state = server.feed.replicas[server.experiments.get(name).uid].state
    assert int(state.lifetime(0)[:, 3].sum()) == 1200


def test_a_wrong_history_writes_nothing(world: Stage, server: Service) -> None:
    name = put(server, "spoiled")
    with pytest.raises(InvalidError, match="row 602, reward: must be between 0 and 1"):
        Local(world.store()).warm_start(name, "arm,reward\n" + "red,1\n" * 600 + "red,2\n")
    store = world.store()
    uid = store.poll({}).registry[name]
    assert [entry.config is not None for entry in entries(store, uid)] == [True]


def test_half_a_file_is_finished_by_sending_it_again(world: Stage, server: Service) -> None:
    name = put(server, "half")
    text = "arm,reward\n" + "red,1\ngreen,0\n" * 400
    store = world.store()
    claimed = []

    class Failing:
        """A store that dies after its first claim."""

        def __getattr__(self, method: str) -> object:
            return getattr(store, method)

        def claim(self, uid: str, claims: list[object]) -> list[Outcome]:
            claimed.append(len(claims))
            if len(claimed) > 1:
                raise ConnectionError
            return store.claim(uid, claims)  # type: ignore[arg-type]

    with pytest.raises(ConnectionError):
        Local(Failing()).warm_start(name, text)  # type: ignore[arg-type]
    warmed = Local(store).warm_start(name, text)
    assert (warmed.repeated, warmed.applied) == (claimed[0], 800 - claimed[0])


def test_priors_of_arms_are_served(world: Stage, server: Service) -> None:
    name = "expected"
    text = OFFER.replace("NAME", name).replace("{id: blue}", "{id: blue, prior: {mean: 0.6, weight: 500}}")
    server.experiments.put(text.replace("floor: 0.3", "floor: 0"), None)
    world.settle()
    arms = {arm.arm: arm for arm in server.experiments.report(name).segments[0].arms}
    assert arms["blue"].posterior_mean == pytest.approx(0.6, abs=0.01)
    assert arms["blue"].trials == 0
