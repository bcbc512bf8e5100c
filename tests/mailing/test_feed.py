"""`lever feed` on a real server: deliveries, clicks and orders in any order, twice, hours later; each counts once."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.programs import BIN
from tests.rig.site import Site, site

LETTER = """\
experiment: letter
arms: [{id: short, payload: {subject_line: S}}, {id: long, payload: {subject_line: L}}]
default_arm: short
metrics:
  - {id: click, primary: true, window: 7d, min_delay: 5s}
  - {id: order, window: 7d, aggregate: sum, max: 500, unit: 0.01}
  - {id: unsubscribe, window: 7d}
"""
QUICK = LETTER.replace("letter", "quick").replace("5s", "1h")
PEOPLE = 40


@pytest.fixture(scope="module")
def lever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("feed"), {"letter": LETTER, "quick": QUICK}) as made:
        yield made


def run(lever: Site, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "lever"), *map(str, arguments), "--server", lever.grpc]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def at(seconds: float) -> str:
    return str(1_790_000_000_000 + round(1000 * seconds))


EVENTS = [
    *(f"p{i},delivered,{at(i)},," for i in range(30)),
    f"p0,delivered,{at(90)},,",  # told twice
    *(f"p{i},opened,{at(i + 40)},," for i in range(10)),
    f"p1,click,{at(1 + 4.9)},,/a",  # a scanner, 4.9 s after the delivery
    f"p1,click,{at(1 + 600)},,/a",  # then a person
    f"p2,click,{at(700)},,/a",
    f"p2,click,{at(700.9)},,/a",  # twice on one link
    f"p3,click,{at(800)},,/a",
    f"p3,click,{at(800.4)},,/b",  # two links at once
    f"p4,click,{at(900)},,/a",
    f"p4,click,{at(950)},,/b",  # metrics of the kind first count one
    f"p35,unsubscribe,{at(900)},,",  # delivered it was as well, but nobody said so
    f"p4,order,{at(1000)},19.90,",
    f"p4,order,{at(1000.5)},5,",  # two orders are two orders
    "p5,order,,1,",
    f"p6,order,{at(1000)},much,",
    f"p7,order,{at(1000)},501,",
    f"p8,unsubscribe,{at(1000)},,",
    f"nobody,click,{at(1000)},,",
    "p9,click,yesterday,,",
]
WRONG = {
    "p5": "event_id: must be given, or the time, as the metric order counts several",
    "p6": 'value: must be a finite number, not "much"',
    "nobody": "subject: has no choice",
    "p9": 'time: must be a time such as 2026-11-01T09:30:00Z, not "yesterday"',
}


def test_events_in_any_order_count_once(lever: Site, tmp_path: Path) -> None:
    people, choices, events = (tmp_path / name for name in ("people.csv", "choices.csv", "events.csv"))
    people.write_text("subject\n" + "".join(f"p{i}\n" for i in range(PEOPLE)))
    made = run(lever, "mail", "letter", "--in", people, "--out", choices, "--exposure", "delivered")
    assert made.returncode == 0, made.stderr
    before = {arm: trials for arm, (trials, _) in lever.settled("letter").items()}
    rows = EVENTS.copy()
    random.Random(3).shuffle(rows)
    events.write_text("email,event,time,value,link\n" + "\n".join(rows) + "\n")
    told: list[str | Path] = ["feed", "letter", events, "--choices", choices, "--columns", "subject=email", "--json"]
    first = run(lever, *told)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout) == {
        "delivered": {"counted": 30, "duplicate": 1},
        "click": {"counted": 3, "duplicate": 1, "too soon": 1, "twice at once": 1, "two links at once": 2},
        "order": {"counted": 2, "refused": 1},
        "unsubscribe": {"counted": 2},
        "opened": {"not used": 10},
        "wrong rows": {"refused": 4},
    }
    reasons = (tmp_path / "events.rejected.csv").read_text().splitlines()
    assert reasons[0] == "row,reason,email,event,time,value,link"
    for who, why in WRONG.items():
        row = next(
            n for n, line in enumerate(rows, 2) if line.startswith(f"{who},") and ("order" in line or "click" in line)
        )
        assert any(line.startswith(f"{row},") and why in line.replace('""', '"') for line in reasons), (who, reasons)
    (refused,) = (line for line in reasons if "must be between 0 and 500" in line)
    assert refused.split(",")[0] == str(rows.index(f"p7,order,{at(1000)},501,") + 2)
    counted = lever.await_trials("letter", sum(before.values()) + 31)
    assert sum(trials for trials, _ in counted.values()) == sum(before.values()) + 31  # and p35
    assert sum(rewarded for _, rewarded in counted.values()) == 3
    again = json.loads(run(lever, *told).stdout)
    assert "counted" not in {outcome for outcomes in again.values() for outcome in outcomes}
    assert again["order"] == {"duplicate": 2, "refused": 1}
    assert lever.settled("letter") == counted


def test_ids_and_other_names(lever: Site, tmp_path: Path) -> None:
    decision = json.loads(run(lever, "select", "letter", "ann", "--deferred", "--json").stdout)["decision_id"]
    events = tmp_path / "events.csv"
    events.write_text(f"id;what\n{decision};Sent\n{decision};Bestellt\nAT4j?;Sent\nAAAA;Sent\n")
    done = run(
        lever, "feed", "letter", events, "--columns", "decision_id=id,event=what", "--expose", "Sent",
        "--as", "Bestellt=unsubscribe",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["event", "refused", "counted"],
        ["wrong", "rows", "1", "0"],
        ["Sent", "1", "1"],
        ["Bestellt", "0", "1"],
    ]
    assert "not a decision id of this service" in (tmp_path / "events.rejected.csv").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--expose", "click"], "is the reward 'click' too: every choice that counts would be a success"),
        (["--expose", "Click", "--as", "Click=click"], "is the reward 'click' too"),
        (["--as", "Click=clack"], 'there is no metric "clack"; there are click, order, unsubscribe'),
    ],
)
def test_what_would_teach_wrongly_is_refused(lever: Site, tmp_path: Path, options: list[str], said: str) -> None:
    events = tmp_path / "events.csv"
    events.write_text("decision_id,event\nAAAA,click\n")
    done = run(lever, "feed", "letter", events, *options)
    assert done.returncode == 1
    assert said in done.stderr


def test_webhooks_as_they_were_posted(lever: Site, tmp_path: Path) -> None:
    decision = json.loads(run(lever, "select", "letter", "bea", "--deferred", "--json").stdout)["decision_id"]
    mail = {"timestamp": "2026-11-01T09:00:00Z", "destination": ["b@x"], "tags": {"decision_id": [decision]}}
    posted = [
        {"eventType": "Click", "mail": mail, "click": {"timestamp": "2026-11-01T09:10:00.5Z", "link": "https://x/a"}},
        {"eventType": "Delivery", "mail": mail, "delivery": {"timestamp": "2026-11-01T09:00:03.25Z"}},
        {"eventType": "Click", "mail": mail, "click": {"timestamp": "2026-11-01T09:00:04Z", "link": "https://x/b"}},
        {"eventType": "Open", "mail": mail, "open": {"timestamp": "2026-11-01T09:00:04Z"}},
        {"eventType": "Delivery", "mail": {**mail, "tags": {}}, "delivery": {"timestamp": "2026-11-01T09:00:03Z"}},
    ]
    file = tmp_path / "posted.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in posted))
    done = run(lever, "feed", "letter", file, "--from", "ses", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "delivered": {"counted": 1},
        "click": {"counted": 1, "too soon": 1},
        "open": {"not used": 1},
        "of other mails": {"not used": 1},
    }


def test_a_reward_of_the_moment_is_no_persons(lever: Site) -> None:
    """Without word of when it was shown, time counts from the choice; taking back is never too soon."""
    decision = json.loads(run(lever, "select", "quick", "cy", "--json").stdout)["decision_id"]
    assert run(lever, "reward", decision).stdout == "too soon: within the metric's min_delay, not counted\n"
    assert run(lever, "reward", decision, "--metric", "unsubscribe").stdout == "applied\n"
    assert run(lever, "reward", decision, "--retract").stdout == "applied\n"
