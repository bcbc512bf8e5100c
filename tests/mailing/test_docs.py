"""docs/mailings.md, word for word: a mailing by its commands."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from service.serving.token import WHAT, WHOSE, TokenKeys, to_text
from tests.rig.programs import BIN, ROOT
from tests.rig.site import site

DOCS = (ROOT / "docs/mailings.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
README = re.findall(r"^```sh\n(lever mail .*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_a_mailing_by_its_commands(tmp_path: Path) -> None:
    letter = (ROOT / "deploy/examples/subject-line.yaml").read_text()
    (tmp_path / "recipients.csv").write_text("subject\n" + "".join(f"p{i}@example.com\n" for i in range(60)))
    events = ["p1@example.com,delivered", "p1@example.com,click", "p2@example.com,delivered"]
    (tmp_path / "events.csv").write_text("subject,event\n" + "\n".join(events) + "\n")
    (tmp_path / "site").mkdir()
    (winter,) = re.findall(r"^```yaml\n(experiment: winter-letter.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    winter = winter.replace(", min_delay: 5s", "")  # nobody here waits so long before clicking
    with site(tmp_path / "site", {"thursday-letter": letter, "winter-letter": winter}) as made:
        env = {**os.environ, "LEVER_SERVER": made.grpc, "PATH": f"{BIN}:{os.environ['PATH']}"}
        mail, feed = BLOCKS[:2]
        assert [mail] == README
        for block in (mail, feed):
            done = subprocess.run(
                ["bash", "-ec", block], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, done.stderr
        with (tmp_path / "choices.csv").open() as file:
            columns = next(csv.reader(file))
        value = _value(tmp_path, env, mail.replace("thursday", "winter"), BLOCKS[2])
    assert value["voucher"]["value"] == pytest.approx(
        value["voucher"]["order"] + 0.02 * value["voucher"]["click"] - 0.05
    )
    assert value["plain"]["value"] == pytest.approx(value["plain"]["order"] - 4 * value["plain"]["unsubscribed"])
    assert all(f"`{name}`" in DOCS for name in columns[:6])
    assert columns[6:] == ["payload_subject", "preheader"]
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["event", "duplicate", "counted"],
        ["delivered", "2", "0"],  # `lever mail` said so already
        ["click", "0", "1"],
    ]


def _value(folder: Path, env: dict[str, str], mail: str, block: str) -> dict[str, dict[str, float]]:
    """The means of the metrics of each letter, after a mailing of which every voucher was clicked and every letter ordered by."""
    (folder / "choices.csv").unlink()
    subprocess.run(["bash", "-ec", mail], cwd=folder, env=env, capture_output=True, timeout=120, check=True)
    rows = ["subject,event,value"]
    for row in csv.DictReader((folder / "choices.csv").read_text().splitlines()):
        rows += [f"{row['subject']},order,19.90", f"{row['subject']},open,"]
        rows.append(f"{row['subject']},{'click' if row['arm'] == 'voucher' else 'unsubscribed'},")
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    told = subprocess.run(
        ["bash", "-ec", block.replace("report winter-letter", "report winter-letter --json")], cwd=folder, env=env,
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    report = json.loads(told[told.index("{") :])
    return {
        arm["arm"]: {total["metric"]: total["mean"] for total in arm["metrics"]}
        for arm in report["segments"][0]["arms"]
    }


def test_ids_are_as_long_as_it_says() -> None:
    keys = TokenKeys([b"a token key for tests only"])
    for columns, said in ((1, "115 characters without"), (16, "155 with 16"), (64, "283 with 64")):
        token = keys.seal(bytes(12), bytes(WHOSE.size + WHAT.size + 2 * (columns - 1)))
        assert str(len(to_text(token))) == said.split()[0]
        assert said in DOCS.replace("\n", " ")
    for columns, room, said in ((50, 255, "50 feature columns"), (40, 250 - len('{"decision_id":""}'), "up to 40")):
        token = keys.seal(bytes(12), bytes(WHOSE.size + WHAT.size + 2 * (columns - 1)))
        assert len(to_text(token)) <= room
        assert said in DOCS.replace("\n", " ")
