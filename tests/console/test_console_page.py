"""The console in Debian's Chromium: what it shows is what the server says, for everybody, and with an admin key it changes things.

The pictures go to docs/console where LEVER_SCREENSHOTS is set to a folder.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest

from loadtest.rig.server import Server
from service.console.files import files
from tests.rig.clients import node as nodes
from tests.rig.programs import program
from tests.rig.site import Site
from tests.rig.told import Told
from tests.rig.waiting import eventually

pytestmark = pytest.mark.timeout(600)  # the browser goes through all of it before the first test

# Texts with a digit that are no number of an answer.
NAMED = re.compile(
    r"(version \d+|9[05] %|[\d,]+ (trials?|arms?|days?|hours?)|\d+ of \d+ ready|0\.1\.0|\d+ groups? of subjects|, \d+ are needed)"
)


DURATIONS = {"days": 86_400_000.0, "h": 3_600_000.0, "min": 60_000.0, "ms": 1.0, "s": 1000.0}


@pytest.fixture(scope="module")
def seen(told: Told, unlocked: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the browser saw."""
    folder = nodes.workspace(tmp_path_factory.mktemp("console-page"))
    return dict(
        nodes.run(
            folder, "console.mjs",
            {"executable": program("chromium"), "base": f"http://{told.site.http}", "past": f"http://{unlocked.http}", "decision": told.decision,
             "keys": {"read": told.read, "everything": told.everything}, "shots": os.environ.get("LEVER_SCREENSHOTS", "")},
            seconds=400,
        )
    )  # fmt: skip


def test_nothing_goes_wrong_and_no_request_leaves_the_host(told: Told, unlocked: Server, seen: dict[str, Any]) -> None:
    assert seen["errors"] == []
    assert set(seen["hosts"]) == {f"http://{told.site.http}", f"http://{unlocked.http}"}


def test_axe_finds_nothing_serious(seen: dict[str, Any]) -> None:
    assert seen["serious"] == []


def test_it_fits_on_a_phone(seen: dict[str, Any]) -> None:
    assert seen["wide"] == []


def test_the_keyboard_alone_reaches_everything(seen: dict[str, Any]) -> None:
    assert seen["unreached"] == {}
    assert seen["focusReturns"] == "who"


def test_a_key_that_may_only_read_is_offered_nothing_to_change(seen: dict[str, Any]) -> None:
    assert (seen["reader"], seen["readerMayTurn"]) == ({"buttons": 0, "cookies": 0}, 0)


@pytest.mark.parametrize("view", ["list", "report", "paid", "quiet", "why", "past"])
def test_every_number_is_that_of_the_answer(told: Told, unlocked: Server, seen: dict[str, Any], view: str) -> None:
    numbers = seen["views"][view]["numbers"]

    def settled() -> (
        dict[str, Any] | None
    ):  # the list is made anew only now and then: data was excluded and included meanwhile
        found = _past(unlocked) if view == "past" else _answers(told, view)
        return found if all(_same(one["value"], _value(one, found)) for one in numbers) else None

    answers = eventually(settled)
    for one in numbers:
        value = _value(one, answers)
        assert one["value"] == ("" if value is None else one["value"]), one
        assert _reads(one["text"], value), (one, value)
    least = {"list": 2, "report": 60, "paid": 60, "quiet": 0, "why": 4, "past": 200}
    assert len(numbers) >= least[view]
    loose = [text for text in seen["views"][view]["loose"] if re.search(r"\d", NAMED.sub("", text))]
    assert loose == []


def _value(one: dict[str, Any], answers: dict[str, Any]) -> Any:
    """What the answers have where a number of the page says that it is from."""
    root, *path = one["of"].split("/")
    value = _at(answers[root], path)
    return value / _at(answers[root], [*path[:-1], one["over"]]) if "over" in one else value


def test_the_past_is_drawn(seen: dict[str, Any]) -> None:
    assert seen["drawn"] == [True] * len(seen["drawn"])
    assert len(seen["drawn"]) >= 2
    assert seen["openTo"] == "read only"


def test_the_sentence_comes_first(told: Told, seen: dict[str, Any]) -> None:
    sentence = told.get("experiments/shop/report")["headline"]
    lines = [line for line in seen["views"]["report"]["text"].replace("\xa0", " ").split("\n") if line.strip()]
    assert sentence in lines
    assert lines.index(sentence) < lines.index("Arms")


def test_an_experiment_is_paused_resumed_and_edited(told: Told, seen: dict[str, Any]) -> None:
    assert "Segment paid" in seen["context"]
    assert seen["sameElement"]  # nothing is made anew, so nothing flickers
    assert re.search(r", slow: [1-9]\d* trials do not count", seen["excluded"])
    assert eventually(
        lambda: "description: How the shop opens." in told.get("experiments/shop")["experiment"]["config"]
    )
    config = told.get("experiments/shop")["experiment"]["config"]
    line = 1 + config.split("\n").index("holdout: {share: 0.3}")
    assert [text.startswith(f"line {line} holdout.share: ") for text in seen["wrongs"]] == [True]
    assert seen["jumped"] == "holdout: {share: 3}"
    assert seen["done"].endswith("is in force.")
    assert "state: active  # since Monday" in config
    assert "+ description: How the shop opens." in seen["difference"]
    assert "- description: What the shop opens with." in seen["difference"]


def test_uplot_is_the_one_that_was_published() -> None:
    published = nodes.packages() / "uplot"
    for name, path in {
        "uPlot.esm.js": "dist/uPlot.esm.js",
        "uPlot.min.css": "dist/uPlot.min.css",
        "uPlot.LICENSE": "LICENSE",
    }.items():
        ours = Path(__file__).resolve().parents[2] / "service/console/static/vendor" / name
        assert ours.read_bytes() == (published / path).read_bytes()
    assert "vendor/uPlot.esm.js" in files()


def _past(unlocked: Server) -> dict[str, Any]:
    """What the server without keys says of the segment that most come to."""

    def get(path: str) -> Any:
        return (
            Site("", unlocked.address, unlocked.http)
            .call("GET", f"/console/api/experiments/homepage-hero/{path}", address=unlocked.http)
            .json
        )

    report = get("report")
    most = max(report["segments"], key=lambda one: sum(arm["trials"] for arm in one["arms"]))
    return {"report": report, "timeline": get(f"timeline?segment={most['segment']}")}


def _answers(told: Told, view: str) -> dict[str, Any]:
    if view == "why":
        return {"explain": told.ask("explain", {"name": "shop", "decision_id": told.decision})[1]}
    if view == "list":
        return {"experiments": told.get("experiments")}
    name = "quiet" if view == "quiet" else "shop"
    report = told.get(f"experiments/{name}/report")
    segment = "paid" if view == "paid" else "default"
    return {"report": report, "timeline": told.get(f"experiments/{name}/timeline?segment={segment}")}


def _at(answer: Any, path: list[str]) -> Any:
    for key in path:
        answer = answer[int(key)] if isinstance(answer, list) else answer[key]
    return answer


def _same(shown: str, value: Any) -> bool:
    if value is None or isinstance(value, str):
        return shown == (value or "")
    return bool(shown) and math.isclose(float(shown), float(value), rel_tol=1e-12, abs_tol=1e-300)


def _reads(text: str, value: Any) -> bool:
    """Whether what is read is the number, to the digits that are shown."""
    if value is None:
        return text in {"–", "too early"}
    if isinstance(value, str):
        return text.replace("\xa0", " ") == value
    if text.endswith(" UTC"):
        at = dt.datetime.strptime(text, "%Y-%m-%d %H:%M UTC").replace(tzinfo=dt.UTC)
        return bool(0 <= value / 1000 - at.timestamp() < 60)
    plain = text.replace(",", "").replace("−", "-").replace("+", "")
    for unit, ms in DURATIONS.items():
        if plain.endswith(f" {unit}"):  # two digits, or whole ones
            return float(plain.removesuffix(f" {unit}")) == pytest.approx(value / ms, rel=0.06)
    size = 100.0 if plain.endswith(" %") else 1.0
    plain = plain.removesuffix(" %")
    if plain[0] in "<>":
        bound = float(plain[1:]) / size
        return bool(value < bound if plain[0] == "<" else value > bound)
    digits = len(plain.partition(".")[2])
    room = 0.5 * 10.0**-digits / size
    if plain == "0":
        room = 5e-5
    elif "." not in plain and abs(value) >= 1 and size == 1.0:
        room = max(0.5, 5e-4 * abs(value)) if abs(value) >= 1000 else 0.05
    elif size == 1.0 and abs(value) >= 1:
        room = max(room, 5e-4 * abs(value))  # four digits, without the zeros at the end
    return bool(abs(float(plain) / size - value) <= room * (1 + 1e-9))
