"""The shipped rules: promtool's own checks and unit tests, and that alerts, tests, runbook and metrics name the same things."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from service.telemetry.metric_families import FAMILIES
from tests.rig.ruleset import FILES, FOLDER, alerts, hastened, metrics, rules

ROOT = FOLDER.parents[1]
RUNBOOK = ROOT / "docs" / "runbook.md"
TESTS = sorted((FOLDER / "tests").glob("*.yml"))


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_are_valid(promtool: str) -> None:
    run(promtool, "check", "rules", *FILES)
    run(promtool, "check", "config", "prometheus.yml")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_the_rules_unit_tests_pass(promtool: str, file: Path) -> None:
    run(promtool, "test", "rules", str(file))


def test_every_alert_has_a_unit_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires, silent = set(), set()
    for file in TESTS:
        for case in yaml.safe_load(file.read_text())["tests"]:
            name, verb = re.fullmatch(r"(\w+) (fires|is silent)\b.*", case["name"]).groups()  # type: ignore[union-attr]
            said = [sample["labels"] for look in case["promql_expr_test"] for sample in look["exp_samples"]]
            if verb == "fires":
                assert any(f'alertname="{name}"' in labels for labels in said), case["name"]
                fires.add(name)
            else:
                assert not said, case["name"]
                silent.add(name)
    assert fires == silent == set(alerts())


def test_every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() -> None:
    sections = re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sections == alerts()
    for rule in rules():
        if rule.alert:
            base = '{{ or $externalLabels.runbook "docs/runbook.md" }}'
            assert rule.body["annotations"]["runbook_url"] == f"{base}#{rule.name.lower()}"
            assert rule.body["annotations"].keys() == {"summary", "description", "runbook_url"}
            assert rule.body["labels"]["severity"] in ("critical", "warning", "info")


@pytest.mark.parametrize(
    ("labels", "base"),
    [({"runbook": "https://wiki.example/r"}, "https://wiki.example/r"), ({}, "docs/runbook.md")],
)
def test_alerts_link_to_where_the_runbook_is_read(
    promtool: str, tmp_path: Path, labels: dict[str, str], base: str
) -> None:
    down = next(rule.body["annotations"] for rule in rules() if rule.alert and rule.name == "LeverDown")
    told = {k: v.replace("{{ $labels.instance }}", "a:8080") for k, v in down.items()}
    told["runbook_url"] = f"{base}#leverdown"
    series = [{"series": 'up{job="lever", instance="a:8080"}', "values": "0x10"}]
    fired = {"exp_labels": {"severity": "critical", "job": "lever", "instance": "a:8080"}, "exp_annotations": told}
    case = {
        "interval": "1m", "external_labels": labels, "input_series": series,
        "alert_rule_test": [{"eval_time": "5m", "alertname": "LeverDown", "exp_alerts": [fired]}],
    }  # fmt: skip
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(FOLDER / "alerts.yml")], "tests": [case]}))
    run(promtool, "test", "rules", str(file))


def test_the_runbook_names_how_each_alert_was_fired() -> None:
    table = RUNBOOK.read_text().partition("## Fired once by its fault")[2]
    assert set(re.findall(r"^\| (Lever\w+) \|", table, re.MULTILINE)) == set(alerts())


def test_rules_read_only_what_lever_exports_or_a_rule_records() -> None:
    known = {"up"} | {rule.name for rule in rules() if not rule.alert}
    for family in FAMILIES.values():
        parts = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        known |= {family.name + part for part in parts}
    read = {name for rule in rules() for name in metrics(rule.expr)}
    assert read <= known
    assert "lever_store_up" in read
    runbook = re.findall(r"\b(?:lever|grpc_server)_[a-z_]+[a-z]\b", RUNBOOK.read_text())
    assert set(runbook) <= known | set(FAMILIES)


def test_recorded_series_are_used() -> None:
    read = {name for rule in rules() for name in metrics(rule.expr)}
    assert {rule.name for rule in rules() if not rule.alert} <= read


def test_hastening_changes_durations_only() -> None:
    text = "for: 15m\nexpr: increase(a_total[1d] offset 30m) > 10 # rate5m and p50_rate1d stay"
    assert (
        hastened(text, 100)
        == "for: 9000ms\nexpr: increase(a_total[864000ms] offset 18000ms) > 10 # rate5m and p50_rate1d stay"
    )
