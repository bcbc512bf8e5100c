"""How long until it is decided: by simulation with the policy that serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.analysis.plan import Expected, plan
from service.errors import InvalidError
from service.experiment.compiled import Experiment, build, read
from service.experiment.parse import parse
from tests.rig.canned import lever
from tests.rig.programs import ROOT

TEXT = """
experiment: shop
arms: [{id: a}, {id: old}, {id: new}]
default_arm: old
algorithm: ALGORITHM
holdout: {share: 0.2}
metrics: [{id: order, window: 1h}]
"""


def experiment(algorithm: str = "{name: fixed, weights: {new: 1}}", **more: str) -> Experiment:
    text = TEXT.replace("ALGORITHM", algorithm)
    for old, new in more.items():
        text = text.replace(old, new)
    return read(build(parse(text), text, "ab", 0, None))


def test_more_visits_decide_sooner() -> None:
    slow, fast = (plan(experiment(), Expected(visits, 0.1, 0.5, 20, 0.2, 20)) for visits in (1000, 4000))
    assert slow.decided == sorted(slow.decided)
    assert fast.half is not None
    assert slow.half is not None
    assert fast.half < slow.half
    assert fast.decided[-1] == 1.0
    assert fast.wrong == 0.0
    assert fast.sentence().startswith(
        f"Decided in {fast.half} days in half of the cases, in {fast.most} days in 80 of 100; 100%"
    )


def test_what_is_worth_nothing_is_seldom_decided() -> None:
    """The error that is allowed: 5 of 100, at any time."""
    nothing = plan(experiment(), Expected(2000, 0.2, 0.0, 20, 0.2, 40))
    assert nothing.decided[-1] <= 0.1
    assert nothing.half is None
    assert nothing.sentence().startswith("Only ")


def test_the_policy_that_serves_is_the_one_that_is_simulated() -> None:
    """`auto` has to find the best arm first; `fixed` shows it from the start."""
    learning = plan(experiment("auto"), Expected(2000, 0.1, 0.5, 15, 0.2, 10))
    known = plan(experiment(), Expected(2000, 0.1, 0.5, 15, 0.2, 10))
    assert sum(learning.decided) < sum(known.decided)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("visits", {"visits": 0.0}), ("rate", {"rate": 1.0}), ("effect", {"effect": 20.0}), ("days", {"days": 0}),
        ("holdout", {"holdout": 0.0}), ("experiments", {"experiments": 1}), ("visits", {"visits": float("nan")}),
        ("days", {"days": 100_000}),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_names_its_field(field: str, given: dict[str, float]) -> None:
    usual = {"visits": 100.0, "rate": 0.1, "effect": 0.1, "days": 5, "holdout": 0.1, "experiments": 10}
    with pytest.raises(InvalidError) as caught:
        plan(experiment(), Expected(**usual | given))  # type: ignore[arg-type]
    assert [wrong.field for wrong in caught.value.violations] == [field]


def test_the_command(tmp_path: Path) -> None:
    file, picture = tmp_path / "shop.yaml", tmp_path / "plan.png"
    file.write_text(TEXT.replace("ALGORITHM", "{name: fixed, weights: {new: 1}}"))
    asked = (
        "plan",
        file,
        "--visits",
        "4000",
        "--rate",
        "0.1",
        "--effect",
        "0.5",
        "--days",
        "10",
        "--experiments",
        "10",
    )
    told = lever(*asked)
    assert told.exit_code == 0, told.output
    assert "in half of the cases" in told.stdout
    as_json = json.loads(lever(*asked, "--json", "--out", picture).stdout)
    assert len(as_json["decided"]) == 10
    assert picture.read_bytes().startswith(b"\x89PNG")
    wrong = lever(*asked, "--holdout", "0")
    assert wrong.exit_code == 2
    assert "holdout: must be above 0" in wrong.stderr
    assert "--visits" in lever("plan", file, "--rate", "0.1", "--effect", "0.5").stderr


def test_the_documented_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands in the docs, over fewer days and experiments."""
    (line,) = [line for line in (ROOT / "docs/reports.md").read_text().splitlines() if line.startswith("lever plan ")]
    monkeypatch.chdir(ROOT)
    told = lever(*line.split()[1:], "--days", "3", "--experiments", "10")
    assert told.exit_code == 0, told.output
    assert "10 simulated experiments" in told.stdout
