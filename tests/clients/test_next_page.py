"""A conversion on another page counts for what was shown on the first; without consent nothing is kept or counted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext

from lever_client.openfeature import LeverProvider
from tests.rig.clients import node as nodes
from tests.rig.experiments import HERO
from tests.rig.pages import files
from tests.rig.programs import program
from tests.rig.site import Site, site


@pytest.fixture(scope="module")
def lever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("pages"), {"hero": HERO}) as made:
        yield made


@pytest.mark.timeout(300)
def test_the_web_client_remembers_what_it_may(lever: Site, tmp_path: Path) -> None:
    folder = nodes.workspace(tmp_path)
    shutil.copy(nodes.HERE / "modules.html", folder)
    with files(folder) as origin:
        given = {"executable": program("chromium"), "modules": f"{origin}/modules.html", "lever": lever.url}
        told = nodes.run(folder, "next_page.mjs", given)
    assert (told["unmatched"], told["stranger"], told["otherTab"], told["local"]) == (0, 1, 1, 0)
    for decision in (told["decision"], told["localDecision"], told["yesDecision"]):
        assert lever.event(decision, type="exposure") == {"outcome": "DUPLICATE"}
        assert lever.event(decision) == {"outcome": "DUPLICATE"}
    assert (told["shyKept"], told["shySent"], told["yesKept"]) == (0, 0, 1)
    assert lever.event(told["shyDecision"]) == {"outcome": "IGNORED"}


def test_a_server_hands_its_decisions_to_the_next(lever: Site, caplog: pytest.LogCaptureFixture) -> None:
    ann = EvaluationContext("ann")
    first, second = LeverProvider(lever.url, timeout=20), LeverProvider(lever.url, timeout=20)
    api.set_provider(first, "first")
    shown = api.get_client("first").get_object_details("hero", {}, ann)
    cookie = first.decisions("ann")
    assert cookie == {"hero": shown.flag_metadata["decisionId"]}

    api.set_provider(second, "second")
    there = api.get_client("second")
    there.track("click", ann)
    there.track("click", ann)
    assert second.unmatched == 2
    assert [r.getMessage() for r in caplog.records if "no decision of this subject" in r.getMessage()] == [
        "track('click'): no decision of this subject is known here, so nothing is sent"
    ]
    second.restore("ann", cookie)
    there.track("click", ann)
    assert second.flush(20)
    assert lever.event(cookie["hero"]) == {"outcome": "DUPLICATE"}
    api.clear_providers()
