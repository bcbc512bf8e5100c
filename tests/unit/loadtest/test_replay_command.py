"""The rejection estimator, scores, the JSON line and the plots, without a server."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from loadtest import __main__ as entry
from loadtest.replay import command, matching, player, score
from loadtest.replay.dataset import Dataset, Feature
from loadtest.replay.effects import Effects, Scales
from loadtest.replay.matching import Matched
from loadtest.replay.player import Played
from loadtest.replay.world import World
from loadtest.rig import report

KEYS = (
    "dataset",
    "mode",
    "decisions",
    "rewards",
    "policy_reward_rate",
    "uniform_reward_rate",
    "oracle_reward_rate",
    "lift",
    "seconds",
)
ITEMS = 4


def logs(n: int = 40_000) -> Dataset:
    rng = np.random.default_rng(11)
    item = rng.integers(0, ITEMS, n)
    context = rng.integers(0, 2, (n, 1))
    click = rng.random(n) < rates(context)[np.arange(n), item]
    uniform = np.arange(n) < n - 1000  # the last rows are of another policy
    feature = (Feature("returning", ("no", "yes")),)
    return Dataset("obd-men", ITEMS, feature, context, item, click.astype(float), np.full(n, 0.25), uniform, "")


def rates(context: np.ndarray) -> np.ndarray:
    table = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
    return np.asarray(table[context[:, 0]])


def test_replay_of_a_known_policy_is_unbiased() -> None:
    data = logs()
    result = matching.replay(data, lambda row: 3 if data.context[row, 0] == 0 else 0, lambda *_: None)
    assert result.offered == 39_000
    assert abs(result.rows - 39_000 / 4) < 4 * math.sqrt(39_000 * 3 / 16)
    low, high = result.interval
    assert low < 0.4 < high
    assert high - low < 0.025


def test_only_matched_rows_are_learned() -> None:
    data = logs(2000)
    learned: list[tuple[int, bool]] = []
    result = matching.replay(data, lambda _: 1, lambda row, click: learned.append((row, click)))
    expected = np.flatnonzero((data.item == 1) & data.uniform)
    assert [row for row, _ in learned] == expected.tolist()
    assert [click for _, click in learned] == data.click[expected].astype(bool).tolist()
    assert (result.rows, result.clicks) == (len(expected), int(data.click[expected].sum()))


def test_wilson_against_its_published_example() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263 and 0 of 20
    assert matching.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert matching.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert matching.wilson(0, 0) == (0.0, 1.0)


def played(arms: np.ndarray, clicks: np.ndarray) -> Played:
    return Played(arms, clicks, np.full(len(arms), 0.5))


def runs(visitors: int = 4000, seeds: int = 2) -> tuple[World, list[score.Run]]:
    data = logs()
    world = World(data, rates(data.context), Scales(0.1, 0.1, 0.1), Effects(np.zeros(3), np.zeros((ITEMS, 3))))
    made = []
    for seed in range(1, seeds + 1):
        numbers = np.arange(visitors)
        context = data.context[world.contexts(seed, numbers)]
        best = rates(context).argmax(axis=1)
        # the contextual policy starts with the worst arm and is perfect after a quarter
        contextual = np.where(numbers < visitors // 4, 3 - best, best)
        arms = {"linucb": contextual, "beta": np.full(visitors, 2)}
        results = {p: played(a, world.clicks(seed, numbers, a).astype(np.int64)) for p, a in arms.items()}
        made.append(score.score(world, seed, results))
    return world, made


def test_scores() -> None:
    _, made = runs()
    run = made[0]
    assert run.uniform_rate == pytest.approx(0.25)
    assert run.oracle_rate == pytest.approx(0.4)
    assert run.expected["linucb"] == pytest.approx(0.4 * 0.75 + 0.1 * 0.25)
    assert run.expected["beta"] == pytest.approx(0.25, abs=0.005)
    assert run.rate("linucb") == pytest.approx(run.expected["linucb"], abs=4 * math.sqrt(0.25 / 4000))
    assert run.lift("linucb") == pytest.approx(run.rate("linucb") / run.uniform_rate - 1)
    assert run.curves["linucb"][-1] == pytest.approx(run.expected["linucb"] * 4000)
    assert score.better(made) == "linucb"
    # behind by 0.15 for 1,000 visitors, ahead by 0.15 from then on
    assert score.overtakes(made) == pytest.approx(2000, abs=150)


def test_a_policy_that_never_catches_up() -> None:
    _, made = runs()
    turned = [
        score.Run(**{**vars(r), "curves": {"linucb": r.curves["beta"], "beta": r.curves["linucb"]}}) for r in made
    ]
    assert score.overtakes(turned) is None


def test_interval_over_seeds() -> None:
    assert score.interval([1.0]) is None
    # mean 2, standard deviation 1, n = 3: 2 +- 4.303 / sqrt(3)
    assert score.interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5))


def test_the_json_line_of_the_world_mode(capsys: pytest.CaptureFixture[str]) -> None:
    _, made = runs()
    report.emit(command.summarise("obd-men", made, 1.23456))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    record = json.loads(out)
    assert tuple(record)[: len(KEYS)] == KEYS
    assert record["mode"] == "world"
    assert record["decisions"] == 8000
    assert record["rewards"] == made[0].clicked["linucb"] + made[1].clicked["linucb"]
    assert record["policy_reward_rate"] == pytest.approx(record["rewards"] / record["decisions"])
    assert record["lift"] == pytest.approx(record["policy_reward_rate"] / record["uniform_reward_rate"] - 1)
    assert record["policy"] == "linucb"
    assert set(record["policies"]) == {"linucb", "beta"}
    assert record["seconds"] == 1.235


def test_the_json_line_of_the_replay_mode_claims_no_lift() -> None:
    results = {"linucb": Matched(9000, 300, 2), "beta": Matched(9000, 290, 1)}
    record = json.loads(json.dumps(matching.matched_record("obd-men", logs(), results, 2.0), allow_nan=False))
    assert tuple(record)[: len(KEYS)] == KEYS
    assert record["lift"] is None
    assert record["oracle_reward_rate"] is None
    assert record["policies"]["beta"] == {
        "matched": 290,
        "rewards": 1,
        "reward_rate": 1 / 290,
        "interval": list(matching.wilson(1, 290)),
    }


def test_plots_are_png(tmp_path: Path) -> None:
    _, made = runs()
    command.plot(tmp_path / "new", "obd-men", made)
    found = sorted(p.name for p in (tmp_path / "new").iterdir())
    assert found == ["obd-men-learning.png", "obd-men-overtaking.png"]
    for name in found:
        assert (tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG")


def test_machine_facts_name_no_machine() -> None:
    facts = report.machine()
    assert set(facts) == {"cpu", "cores", "system", "python", "date"}
    assert json.dumps(facts)


@pytest.mark.parametrize("policy", player.POLICIES)
def test_the_experiments_are_valid(policy: str) -> None:
    from service.experiment.parse import parse

    spec = parse(player.config(logs(), "replay-toy", policy, 0.005))
    assert spec.experiment == "replay-toy"
    assert [a.id for a in spec.arms] == [player.arm_id(k) for k in range(ITEMS)]
    assert spec.algorithm.name == policy
    assert spec.algorithm.settings == ({"lambda": 200} if policy == "linucb" else {"prior_a": 1, "prior_b": 199})
    assert list(spec.features) == (["returning"] if policy == "linucb" else [])
    assert parse(player.config(logs(), "replay-toy", policy, None)).algorithm.settings == {}


def test_a_policy_takes_those_priors_it_has() -> None:
    from service.experiment.parse import parse

    assert parse(player.config(logs(), "replay-toy", "lints", 0.005)).algorithm.settings == {"lambda": 200}
    assert parse(player.config(logs(), "replay-toy", "uniform", 0.005)).algorithm.settings == {}


def test_one_policy_alone_is_compared_with_none(tmp_path: Path) -> None:
    _, made = runs()
    alone = [
        score.Run(**{**vars(r), **{k: {"beta": getattr(r, k)["beta"]} for k in ("clicked", "expected", "curves")}})
        for r in made
    ]
    record = command.summarise("obd-men", alone, 1.0)
    assert record["policy"] == "beta"
    assert record["overtakes"] is record["ahead"] is record["ahead_interval"] is None
    command.show(alone, record, report.console())
    command.plot(tmp_path, "obd-men", alone)
    assert [p.name for p in tmp_path.iterdir()] == ["obd-men-learning.png"]


def test_policies_are_named_once_each_and_known() -> None:
    options = command.parser().parse_args(["--policies", "lints,beta,lints"])
    assert options.policies == ("lints", "beta")
    assert command.parser().parse_args([]).policies == player.POLICIES
    with pytest.raises(SystemExit, match="2"):
        entry.main(["replay", "--policies", "beta,best"])


def test_bad_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["replay", "--chunk", "10001"]) == 2
    with pytest.raises(SystemExit, match="2"):
        entry.main(["replay", "--decisions", "0"])
    assert entry.main(["juggle"]) == 2
    assert "replay" in capsys.readouterr().err


def test_data_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["replay", "--data", str(tmp_path)]) == 1
    assert "cannot be read" in " ".join(capsys.readouterr().err.split())


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main([]) == 0
    assert "python -m loadtest COMMAND" in capsys.readouterr().out
