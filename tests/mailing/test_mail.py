"""`lever mail` on a real server: everyone on the list has one choice, whatever is killed, and what is wrong is told by row."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.programs import BIN
from tests.rig.site import Site, site

LETTER = """\
experiment: {name}
arms:
  - {{id: short, payload: {{subject_line: "Short, and to the point", weight: 3}}}}
  - {{id: long, payload: {{subject_line: 'A "long" one', inner: {{deep: [1]}}}}}}
  - {{id: none}}
default_arm: short
features:
  plan: {{type: category, values: [free, paid]}}
  visits: {{type: number, min: 0, max: 50}}
  returning: {{type: flag}}
metrics: [{{id: click, window: 7d}}]
"""
NAMES = ("sent", "delivered", "killed", "changed", "swapped")
PEOPLE = 25_000
OWN = ["decision_id", "propensity", "holdout", "segment", "arm"]
PAYLOAD = ["subject_line", "weight", "inner"]


@pytest.fixture(scope="module")
def lever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("mail"), {name: LETTER.format(name=name) for name in NAMES}) as made:
        yield made


def people(path: Path, count: int) -> Path:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["email", "first_name", "plan", "visits", "returning"])
        out.writerows(
            [f"p{i}@example.com", f"Ann {i}", ("free", "paid", "")[i % 3], i % 60, ("true", "0")[i % 2]]
            for i in range(count)
        )
    return path


def command(lever: Site, *arguments: str | Path) -> list[str]:
    return [str(BIN / "lever"), "mail", *map(str, arguments), "--columns", "subject=email", "--server", lever.grpc]


def run(lever: Site, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(lever, *arguments), capture_output=True, text=True, timeout=120, check=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_everyone_has_a_choice_and_counts_at_once(lever: Site, tmp_path: Path) -> None:
    before = sum(trials for trials, _ in lever.settled("sent").values())
    done = run(
        lever, "sent", "--in", people(tmp_path / "in.csv", 1_000), "--out", tmp_path / "out.csv", "--keep", "first_name"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"1,000 choices in {tmp_path / 'out.csv'}\n")
    made = rows(tmp_path / "out.csv")
    assert list(made[0]) == ["email", "first_name", *OWN, *PAYLOAD]
    assert [row["email"] for row in made] == [f"p{i}@example.com" for i in range(1_000)]
    assert made[7]["first_name"] == "Ann 7"
    said = {
        "short": ("Short, and to the point", "3", ""),
        "long": ('A "long" one', "", '{"deep": [1]}'),
        "none": ("", "", ""),
    }
    assert all(tuple(row[name] for name in PAYLOAD) == said[row["arm"]] for row in made)
    assert len({row["decision_id"] for row in made}) == 1_000
    assert all(0.3 < float(row["propensity"]) < 0.36 for row in made)  # next to nothing is known
    assert min(Counter(row["arm"] for row in made).values()) > 250
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]
    lever.await_trials("sent", before + 1_000)
    again = run(lever, "sent", "--in", tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    assert (again.returncode, again.stderr.splitlines()[-1]) == (1, f"{tmp_path / 'out.csv'}: out: is there already")


def test_a_bad_row_is_told_and_leaves_the_others(lever: Site, tmp_path: Path) -> None:
    given = tmp_path / "in.csv"
    given.write_text(
        "email;first_name;plan;visits;returning\na@x;A;free;1,5;true\n;B;free;2,0;true\nc@x;C;free;many;perhaps\n"
        'a@x;D;paid;1,0;\n"e@x";E;"pa"id;1;\nf@x;F;paid\ng@x;G;other;NA;0\n' + "h" * 600 + ";H;;;\n"
    )
    done = run(lever, "delivered", "--in", given, "--out", tmp_path / "out.csv", "--exposure", "delivered")
    assert done.returncode == 0, done.stderr
    assert [row["email"] for row in rows(tmp_path / "out.csv")] == ["a@x", "g@x"]
    wrong = rows(tmp_path / "out.rejected.csv")
    assert [(row["row"], row["reason"]) for row in wrong] == [
        ("3", "subject: must be given"),
        ("4", 'visits: must be a finite number, not "many"; returning: must be true or false, not "perhaps"'),
        ("5", "subject: is on the list before: nobody is chosen for twice"),
        ("6", "is no CSV: ';' expected after '\"'"),
        ("7", "has 3, the header has 5"),
        ("9", "subject: is longer than 512 bytes"),
    ]
    assert wrong[1]["visits"] == "many"
    assert sum(trials for trials, _ in lever.settled("delivered").values()) == 1  # the site's own


@pytest.mark.parametrize("wrong", ["nosuch", "email=nosuch"])
def test_what_is_wrong_with_the_file_is_said_before_anything_is_done(lever: Site, tmp_path: Path, wrong: str) -> None:
    given = people(tmp_path / "in.csv", 3)
    keep = ["--keep", wrong]
    done = run(lever, "sent", "--in", given, "--out", tmp_path / "out.csv", *keep)
    assert done.returncode == 1
    assert "is missing; the file has email, first_name" in done.stderr
    assert list(tmp_path.iterdir()) == [given]


def test_killed_at_any_moment_it_goes_on(lever: Site, tmp_path: Path) -> None:
    given, out = people(tmp_path / "in.csv", PEOPLE), tmp_path / "out.csv"
    state, part = tmp_path / "out.csv.state", tmp_path / "out.csv.part"
    before = sum(trials for trials, _ in lever.settled("killed").values())
    for marks in (1, 2):
        with subprocess.Popen(
            command(lever, "killed", "--in", given, "--out", out), stderr=subprocess.DEVNULL
        ) as mailing:
            while not (state.exists() and state.read_bytes().count(b'"Mark"') > marks) and mailing.poll() is None:
                time.sleep(0.002)
            mailing.send_signal(signal.SIGKILL)
        assert not out.exists()
        with part.open("ab") as file:
            file.write(b"half a row")  # whatever was being written
        with state.open("ab") as file:
            file.write(b'{"type":"Mark","rows":')
    changed = people(tmp_path / "other.csv", PEOPLE - 1)
    changed.write_text(changed.read_text().replace("p17@", "q17@"))
    refused = run(lever, "killed", "--in", changed, "--out", out)
    assert refused.returncode == 1
    assert "is not the list that the mailing was begun with" in refused.stderr
    other = run(lever, "killed", "--in", given, "--out", out, "--keep", "first_name")
    assert other.returncode == 1
    assert "is of a mailing with other options" in other.stderr
    done = run(lever, "killed", "--in", given, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "going on after row" in done.stderr
    assert Counter(row["email"] for row in rows(out)) == Counter(f"p{i}@example.com" for i in range(PEOPLE))
    odds: dict[tuple[int, str], set[str]] = {}
    for i, row in enumerate(rows(out)):
        odds.setdefault((i % 60, row["arm"]), set()).add(row["propensity"])
    assert {len(each) for each in odds.values()} == {1}  # one snapshot, though there are thousands of trials by now
    lever.await_trials("killed", before + PEOPLE)
    assert sum(trials for trials, _ in lever.settled("killed").values()) == before + PEOPLE


def test_an_experiment_that_is_changed_meanwhile(lever: Site, tmp_path: Path) -> None:
    """Stopped after a portion, changed, and gone on with: an arm that is retired is sent to nobody any more."""
    given, out = people(tmp_path / "in.csv", PEOPLE), tmp_path / "out.csv"
    asked: list[str | Path] = ["swapped", "--in", given, "--out", out, "--exposure", "delivered"]
    state = tmp_path / "out.csv.state"
    with subprocess.Popen(command(lever, *asked), stderr=subprocess.DEVNULL) as mailing:
        while not (state.exists() and state.read_bytes().count(b'"Mark"') > 1):
            time.sleep(0.002)
        mailing.send_signal(signal.SIGKILL)
    marked = int(json.loads(state.read_text().splitlines()[-1])["rows"])
    changed = tmp_path / "changed.yaml"
    changed.write_text(LETTER.format(name="swapped").replace("id: none}", "id: none, state: retired}"))
    applied = [str(BIN / "lever"), "apply", str(changed), "--server", lever.grpc]
    subprocess.run(applied, capture_output=True, timeout=60, check=True)
    done = run(lever, *asked)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the experiment was changed meanwhile") == 1
    made = rows(out)
    assert [row["email"] for row in made] == [f"p{i}@example.com" for i in range(PEOPLE)]
    arms = [{row["arm"] for row in part} for part in (made[:marked], made[marked:])]
    assert arms == [{"short", "long", "none"}, {"short", "long"}]


def test_one_process_at_a_time(lever: Site, tmp_path: Path) -> None:
    given, out = people(tmp_path / "in.csv", PEOPLE), tmp_path / "out.csv"
    with subprocess.Popen(
        command(lever, "delivered", "--in", given, "--out", out, "--exposure", "delivered"), stdout=subprocess.DEVNULL
    ) as mailing:
        while not (tmp_path / "out.csv.state").exists():
            time.sleep(0.002)
        mailing.send_signal(signal.SIGSTOP)
        other = run(lever, "delivered", "--in", given, "--out", out, "--exposure", "delivered")
        mailing.send_signal(signal.SIGCONT)
        assert mailing.wait(120) == 0
    assert other.returncode == 1
    assert "another process is at it" in other.stderr
    assert len(rows(out)) == PEOPLE


def test_a_second_wave_knows_what_the_first_earned(lever: Site, tmp_path: Path) -> None:
    given, out = people(tmp_path / "in.csv", 4_000), tmp_path / "out.csv"
    first, second = tmp_path / "out.wave-1.csv", tmp_path / "out.wave-2.csv"
    asked: list[str | Path] = ["changed", "--in", given, "--out", out, "--wave", "25%,4s"]
    with subprocess.Popen(command(lever, *asked), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as mailing:
        while not first.exists():
            assert mailing.poll() is None
            time.sleep(0.01)
        mailing.send_signal(signal.SIGKILL)  # while it waits
    tenth = rows(first)
    assert 850 < len(tenth) < 1_150  # a random quarter of 4,000
    clicks = [row["decision_id"] for row in tenth if row["arm"] == "long"]
    events = tmp_path / "events.csv"
    events.write_text("decision_id,event\n" + "".join(f"{one},click\n" for one in clicks))
    told = [str(BIN / "lever"), "feed", "changed", str(events), "--server", lever.grpc]
    assert subprocess.run(told, capture_output=True, timeout=120, check=False).returncode == 0
    assert sum(rewarded for _, rewarded in lever.settled("changed").values()) == len(clicks)
    done = run(lever, *asked)
    assert done.returncode == 0, done.stderr
    rest = rows(second)
    assert Counter(row["email"] for row in tenth + rest) == Counter(f"p{i}@example.com" for i in range(4_000))
    assert second.stat().st_mtime >= first.stat().st_mtime + 4
    odds = {arm: [float(row["propensity"]) for row in rest if row["arm"] == arm] for arm in ("long", "short")}
    assert min(odds["long"]) > 0.8
    assert max(odds["short"], default=0.0) < 0.1
    again = run(lever, *asked)
    assert (again.returncode, again.stderr) == (1, f"error: {second}: is there already\n")


@pytest.mark.parametrize("wrong", ["10", "10%", "10%,soon", "0%,1h", "100%,1h"])
def test_a_wave_that_is_none(lever: Site, tmp_path: Path, wrong: str) -> None:
    given = people(tmp_path / "in.csv", 3)
    done = run(lever, "changed", "--in", given, "--out", tmp_path / "out.csv", "--wave", wrong)
    assert done.returncode == 2
    assert "--wave" in done.stderr
