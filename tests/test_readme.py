"""The README does what it says: its first minute is followed word for word on a real `make run`-like server."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.rig.server import Server
from tests.rig.programs import BIN, ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What `make run` starts, on free ports and an empty folder; yields the gRPC address."""
    examples = str(ROOT / "deploy" / "examples")
    with Server(tmp_path_factory.mktemp("readme"), "--experiments", examples) as made:
        yield made.address
        assert made.stop() == 0


def sh(script: str, server: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a README block as a person would, with the environment's commands on the path."""
    environment = {**os.environ, "LEVER_SERVER": server, "PATH": f"{BIN}:{os.environ['PATH']}"}
    script = script.replace(".venv/bin/", f"{BIN}/")
    return subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_demo_is_the_first_thing_to_try() -> None:
    """tests/server/test_demo.py runs it."""
    assert blocks("sh")[0] == "make setup\n.venv/bin/lever demo\n"


def test_make_run_is_the_first_command() -> None:
    assert blocks("sh")[1] == "make run\n"
    plan = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "lever serve --data-dir .lever --experiments deploy/examples --web-port 8081" in plan


def test_the_first_decision_and_reward(server: str, tmp_path: Path) -> None:
    done = sh(blocks("sh")[2], server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "APPLIED" in done.stdout.upper()
    assert "paid-faster" in done.stdout  # the report's table


def test_the_python_example(server: str, tmp_path: Path) -> None:
    (code,) = blocks("python")
    file = tmp_path / "example.py"
    file.write_text(code.replace("localhost:50051", server))
    done = sh(f"python {file}", server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("OUTCOME_APPLIED")


def test_the_experiment_applies(server: str, tmp_path: Path) -> None:
    (tmp_path / "button.yaml").write_text(blocks("yaml")[0])
    done = sh("lever apply button.yaml && lever select newsletter-button ann && lever list", server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "newsletter-button" in done.stdout


def test_settings_can_be_checked(server: str, tmp_path: Path) -> None:
    assert "lever serve --check" in README
    done = sh("lever serve --check --redis-url redis://:secret@store:6379/0", server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "secret" not in done.stdout
    assert "LEVER_GRPC_PORT=50051" in done.stdout


def test_every_file_that_is_linked_exists() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_table_of_learning_is_that_of_the_numbers() -> None:
    lines = [json.loads(line) for line in (ROOT / "docs/numbers/learning.jsonl").read_text().splitlines()]
    families = [line for line in lines if line.get("policy") == "lever" and "problems" in line]
    whole = lines[-1]
    late = whole["late"]
    for name in ("geometric_mean_ratio", "without_tutorial", "median", "p90", "worst"):
        assert f"| {whole[name]:.2f} | {late[name]:.2f} |" in README
    assert f"{len(whole['seeds'])} seeds" in README
    shown = []
    for line in families:
        name = f"**{line['family']}**" if line["behind"] else line["family"]
        problems = ", ".join(f"`{problem}`" for problem in line["problems"])
        figures = f"{line['ratio']:.2f} ± {line['se']:.2f} | {line['late_ratio']:.2f} ± {line['late_se']:.2f}"
        shown.append((README.index(f"| {name} | {problems} | {figures} |"), line["behind"]))
    behind = [is_behind for _, is_behind in sorted(shown)]
    assert behind == sorted(behind, reverse=True)  # those first on which it is behind
