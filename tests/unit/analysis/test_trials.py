"""The files people bring to an evaluation or a warm start: what is read from them, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from bandits.layout import HISTORY
from service.analysis.evaluation import evaluate
from service.analysis.target import read_policy
from service.analysis.trials_from_csv import trials_of
from service.cli.main import app
from service.errors import InvalidError
from service.experiment.compiled import Experiment, build, read
from service.experiment.parse import parse as parse_experiment
from service.management.warm_start import coarse, parse
from service.store import rows as layout
from service.text.csv_format import Format

ARMS = ("red", "green", "blue")
NOW = 1_790_000_000_000
OFFER = """
experiment: offer
arms: [{id: red}, {id: green}, {id: blue}]
default_arm: red
features:
  country: {type: category, values: [de, fr]}
  visits: {type: number, min: 0, max: 10}
  member: {type: flag}
segments: [{id: germans, when: {country: de}}]
metrics:
  - {id: sale, primary: true, min: 0, max: 100, unit: 0.01, aggregate: sum}
  - {id: click}
"""


def problems(call: object, *given: object) -> list[str]:
    """What an InvalidError says, problem by problem."""
    with pytest.raises(InvalidError) as caught:
        call(*given)  # type: ignore[operator]
    return [str(violation) for violation in caught.value.violations]


@pytest.fixture(scope="module")
def offer() -> Experiment:
    return read(build(parse_experiment(OFFER), OFFER, "00000000000000aa", NOW, None))


# -- policies


def test_a_policy_has_its_settings_and_defaults() -> None:
    target = read_policy("algorithm: linucb\nalpha: 0.25\n", ARMS)
    assert (target.name, target.settings["alpha"], target.settings["lambda"]) == ("linucb", 0.25, 1.0)
    old = read_policy("algorithm: auto\nalpha: 0.25\n", ARMS)
    assert [said.partition(";")[0] for said in old.warnings] == ["alpha: no longer exists"]
    fixed = read_policy('{"algorithm": "fixed", "weights": {"blue": 2, "red": 1}}', ARMS)
    assert (fixed.settings["2"], fixed.settings["0"]) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("algorithm: linucb\nalfa: 1\n", ['line 2: alfa: unknown key; did you mean "alpha"?']),
        ("algorithm: linucb\n\nalpha: -1\n", ["line 3: alpha: must be between 0 and 100, not -1"]),
        ("alpha: 1\n", ["line 1: algorithm: is required"]),
        ("algorithm: fixed\nweights: {pink: 1}\n", ['line 2: weights.pink: there is no arm "pink"']),
        ("algorithm: fixed\n", ["line 1: weights: is required"]),
        ("algorithm: [", ["line 1: config: not valid YAML"]),
    ],
)
def test_wrong_policies_are_told_by_line(text: str, said: list[str]) -> None:
    found = problems(read_policy, text, ARMS)
    assert all(any(wanted in one for one in found) for wanted in said), found


def test_an_unknown_algorithm_is_told_alone() -> None:
    (said,) = problems(read_policy, "algorithm: linucp\nalpha: 1\n", ARMS)
    assert 'did you mean "linucb"?' in said


# -- logged decisions of one's own


def decisions(n: int, seed: int = 0) -> str:
    """A CSV of three arms, drawn .5, .3, .2; green earns most."""
    random = np.random.default_rng(seed)
    lines = ["decision_time,unit,arm,propensity,reward,country,visits"]
    for i in range(n):
        arm = int(random.choice(3, p=[0.5, 0.3, 0.2]))
        reward = int(random.random() < [0.1, 0.5, 0.2][arm])
        country = ["de", "fr", ""][i % 3]
        lines.append(
            f"2026-01-01T00:00:{i % 60:02d}Z,u{i},{ARMS[arm]},{[0.5, 0.3, 0.2][arm]},{reward},{country},{i % 7}"
        )
    return "\n".join(lines) + "\n"


def test_a_csv_becomes_trials() -> None:
    trials = trials_of(decisions(300))
    assert sorted(trials.arms) == sorted(ARMS)
    assert len(trials) == 300
    # The constant; two values of country and missing; visits, which are never missing.
    assert trials.rules.columns == 1 + 3 + 1
    assert set(np.unique(trials.total * trials.unit).tolist()) == {0.0, 1.0}


def test_only_the_first_row_of_a_unit_counts() -> None:
    text = "unit,decision_time,arm,propensity,reward\na,2,x,0.5,1\na,1,y,0.5,0\nb,3,x,0.5,1\n"
    trials = trials_of(text)
    assert [trials.arms[k] for k in trials.arm] == ["y", "x"]
    assert trials.left_out == {"later visit of a unit": 1}


def test_a_csv_is_evaluated_near_the_truth() -> None:
    found = evaluate(trials_of(decisions(6000)), "algorithm: fixed\nweights: {green: 1}\n")
    assert found.support.refused == ""
    for one in found.estimates:
        assert abs(one.value - 0.5) < 4 * 0.012, one  # sqrt(.25 / (.3 x 6000)) = .0118


def test_a_learned_policy_is_fitted_on_other_rows() -> None:
    # Rewards are noise: a policy judged on the rows that taught it would seem to earn more than there is to earn.
    # Difference of at most 4 standard errors: false alarm 6e-5.
    random = np.random.default_rng(4)
    lines = ["arm,propensity,reward"]
    lines += [f"a{random.integers(30)},{1 / 30},{int(random.random() < 0.5)}" for _ in range(6000)]
    found = evaluate(trials_of("\n".join(lines)), "algorithm: beta\n")
    ips = found.estimates[0]
    assert abs(ips.value - 0.5) < 4 * ips.error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arm,reward\nx,1\n", ["column propensity: is missing"]),
        ("arm,propensity,reward\n", ["file: has no rows"]),
        ("", ["column arm: is missing", "column propensity: is missing", "column reward: is missing"]),
        (
            "arm,propensity,reward\nx,0,1\ny,0.5,1\nx,1.5,0\n",
            ["row 2, propensity: must be above 0", "row 4, propensity"],
        ),
        (
            "arm,propensity,reward\nx,nan,1\nx,0.5,inf\n",
            ["row 2, propensity: must be a finite", "row 3, reward: must be"],
        ),
        ("arm,propensity,reward\nx,0.5,7\n", ["row 2, reward: must be between 0 and 1, not 7"]),
        ("arm,propensity,reward\n,0.5,1\n", ["row 2, arm: must be given"]),
        ("arm,propensity,reward\nx,0.5\n", ["row 2, cells: has 2, the header has 3"]),
        ("arm,arm,propensity,reward\nx,x,0.5,1\n", ['row 1: the column "arm" is given twice']),
        ("arm,propensity,reward,decision_time\nx,0.5,1,soon\n", ["row 2, decision_time: must be a time"]),
        ('arm,propensity,reward\n"x,0.5,1\n', ["row 2: is no CSV: a quotation mark is opened here and never closed"]),
    ],
)
def test_wrong_decisions_are_told_by_row(text: str, said: list[str]) -> None:
    found = problems(trials_of, text, 0.0, 1.0)
    assert all(any(wanted in one for one in found) for wanted in said), found


def test_many_wrong_rows_are_counted() -> None:
    found = problems(trials_of, "arm,propensity,reward\n" + "x,0,1\n" * 1000)
    assert len(found) == 21
    assert found[-1] == "rows: 980 problems more"


def test_the_command_evaluates_a_csv(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(decisions(2000), encoding="utf-8")
    (tmp_path / "p.yaml").write_text("algorithm: uniform\n", encoding="utf-8")
    picture = tmp_path / "p.png"
    arguments = ["evaluate", "--csv", str(tmp_path / "log.csv"), "--policy", str(tmp_path / "p.yaml")]
    shown = CliRunner().invoke(app, [*arguments, "--out", str(picture)])
    assert shown.exit_code == 0, shown.output
    assert "DR" in shown.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    wrong = CliRunner().invoke(app, [*arguments, "--max", "0.5"])
    assert wrong.exit_code == 1
    assert "log.csv: row " in wrong.output
    thin = tmp_path / "thin.csv"
    thin.write_text(decisions(50), encoding="utf-8")
    refused = CliRunner().invoke(app, ["evaluate", "--csv", str(thin), "--policy", str(tmp_path / "p.yaml"), "--json"])
    assert refused.exit_code == 3
    assert '"refused": "the effective sample size of 50 rows is' in refused.output


# -- history


def test_history_becomes_rows(offer: Experiment) -> None:
    text = (
        "arm,reward,metric,country,visits,member,time\n"
        "red,12.34,sale,de,10,true,2026-01-02\n"
        "green,0,,fr,,0,2026-01-03T10:00:00+01:00\n"
        "blue,1,click,xx,3,,\n"
    )
    with pytest.raises(InvalidError) as caught:
        parse(offer, text, NOW)
    assert [str(v) for v in caught.value.violations] == [
        "row 3, metric: there is no metric nothing",
        "row 4, time: must be a time such as 2026-11-01T09:30:00Z, not nothing",
    ]
    text = text.replace("green,0,,", "green,0,sale,").replace("3,,\n", "3,,2026-01-04\n")
    history = parse(offer, text, NOW)
    rows = history.rows
    assert rows["arm"].tolist() == [0, 1, 2]
    assert history.value.tolist() == [1234, 0, 1]
    assert rows["metric"].tolist() == [0, layout.NO_METRIC, 1]
    assert [offer.segments.ids[s] for s in rows["segment"]] == ["germans", "default", "default"]
    assert (rows["flags"] == HISTORY).all()
    assert np.isnan(rows["propensity"]).all()
    assert history.unknown == 1
    again = parse(offer, text, NOW + 5000)
    assert again.rows["prefix"].tolist() == rows["prefix"].tolist()


def test_a_file_of_history_is_another_one_where_it_means_something_else(offer: Experiment) -> None:
    text = "Arm;clicks;bought;visits\nred;1;0;3,5\n\nblue;0;1;NA\n"

    def named(reward: str) -> Format:
        return Format(columns={"arm": "Arm", "reward": reward}, leave_out=("clicks", "bought"))

    clicks, bought = parse(offer, text, NOW, named("clicks")), parse(offer, text, NOW, named("bought"))
    assert (clicks.value.tolist(), bought.value.tolist()) == ([100, 0], [0, 100])
    assert offer.encoder.encode({"visits": 3.5}).x == clicks.rows["x"][0].tobytes()
    assert offer.encoder.encode({}).x == clicks.rows["x"][1].tobytes()  # NA is missing
    files = [int(history.rows["prefix"][0]) for history in (clicks, bought)]
    assert files[0] != files[1]
    told = msgspec.structs.replace(named("clicks"), delimiter="semicolon")
    for same in (text.replace("\n", "\r\n"), text.replace("\n", "\r")):
        assert parse(offer, same, NOW, told).rows["prefix"].tolist() == clicks.rows["prefix"].tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arm\nred\n", ["column reward: is missing"]),
        ("arm,reward,colour\nred,1,x\n", ["column colour: is not known"]),
        ("arm,reward\nred,1\npink,1\n", ['row 3, arm: there is no arm "pink"']),
        ("arm,reward\nred,-1\n", ["row 2, reward: must be between 0 and 100"]),
        ("arm,reward,metric\nred,2,click\n", ["row 2, reward: must be between 0 and 1"]),
        ("arm,reward\nred,nan\nred,lots\n", ["row 2, reward: must be a finite", "row 3, reward: must be a finite"]),
        ("arm,reward,segment\nred,1,romans\n", ['row 2, segment: there is no segment "romans"']),
        (
            "arm,reward,visits,member\nred,1,many,maybe\n",
            ["row 2, visits: must be a finite", "row 2, member: must be true"],
        ),
        (
            "arm,reward,time\nred,1,2100-01-01\nred,1,1990-01-01\n",
            ["row 2, time: is in the fut", "row 3, time: is before"],
        ),
    ],
)
def test_wrong_history_is_told_by_row(offer: Experiment, text: str, said: list[str]) -> None:
    found = problems(parse, offer, text, NOW)
    assert all(any(wanted in one for one in found) for wanted in said), found


def test_times_of_history_become_coarse_with_age() -> None:
    times = NOW - np.arange(0, 3 * 365 * 86_400_000, 3_600_000, dtype=np.int64)
    kept = coarse(times, NOW)
    assert (kept <= times).all()
    assert ((times - kept) * 16 <= np.maximum(NOW - times, 16)).all()
    assert len(np.unique(kept)) < 400  # of 26,280


def test_a_prior_is_checked_and_felt(offer: Experiment) -> None:
    text = OFFER.replace("{id: green}", "{id: green, prior: {mean: 500, weight: 20}}")
    assert "line 3: arms[1].prior.mean: must be between 0 and 100" in problems(parse_experiment, text)[0]
    text = text.replace("500", "5")
    known = read(build(parse_experiment(text), text, "00000000000000aa", NOW, None))
    assert known.priors == {1: (0.05, 20.0)}
    assert offer.priors == {}
