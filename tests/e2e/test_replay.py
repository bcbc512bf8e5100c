"""`python -m loadtest replay`, as typed: made-up logs of four items, a live server, one JSON line."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loadtest.replay.dataset import FEATURES

VISITORS = 2000
RATES = np.array([0.05, 0.05, 0.10, 0.50])  # by item; the context says nothing


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder as the real one: 400 rows of either logging policy."""
    rng = np.random.default_rng(5)
    for policy in ("random", "bts"):
        folder = tmp_path / "logs" / policy / "men"
        folder.mkdir(parents=True)
        with (folder / "men.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["item_id", "click", "propensity_score", *FEATURES])
            for item in rng.integers(0, len(RATES), 400).tolist():
                click = int(rng.random() < RATES[item])
                rows.writerow([item, click, 0.25, *rng.choice(["a", "b"], 4), rng.integers(1, 4)])
        (folder / "item_context.csv").write_text("item_id\n0\n1\n2\n3\n", encoding="utf-8")
    return tmp_path / "logs"


def test_the_replay_learns_and_says_so(logs: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest", "replay", "--dataset", "obd-men", "--data", str(logs), "--json"]
    command += ["--decisions", str(VISITORS), "--out", str(tmp_path / "plots")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert (record["dataset"], record["mode"], record["fit"]) == ("obd-men", "world", "logged")
    assert record["decisions"] == VISITORS
    assert record["scales"]["item"] == 3.0
    assert record["scales"]["interaction"] > 0
    assert set(record["policies"]) == {"linucb", "beta"}
    best = record["policies"][record["policy"]]
    assert record["rewards"] == round(best["reward_rate"] * VISITORS)
    assert record["uniform_reward_rate"] < record["oracle_reward_rate"]
    # Item 3 is worth +186 %; a policy that does not learn has a standard error of 5 %: 0.5 by chance never happens.
    assert record["lift"] > 0.5
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == ["obd-men-learning.png", "obd-men-overtaking.png"]
