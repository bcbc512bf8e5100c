"""The commands history and rollback."""

from __future__ import annotations

import json

import grpc
import pytest

from service.pb.lever.v1 import experiment_pb2 as epb
from tests.rig.canned import Canned, RefusedError, experiment, lever

AT = 1_700_000_000_000
FIRST, SECOND = "experiment: hero\nstate: active\n", "experiment: hero\nstate: paused\n"


@pytest.fixture
def past(canned: Canned) -> Canned:
    """`hero`: created, paused, then taught."""
    events = [
        epb.HistoryEvent(at_ms=AT + 9000, what="taught history", by="bob", experiment="hero", detail="12 rows"),
        epb.HistoryEvent(at_ms=AT + 5000, what="updated", by="", experiment="hero", version=2, config=SECOND),
        epb.HistoryEvent(at_ms=AT, what="created", by="ann", experiment="hero", version=1, config=FIRST),
    ]
    canned.answers["history"] = epb.GetHistoryResponse(events=events)
    canned.answers["get"] = epb.GetExperimentResponse(experiment=experiment(version=2))
    canned.answers["put"] = lambda _: epb.PutExperimentResponse(experiment=experiment(version=3), changed=True)
    return canned


def test_history_is_a_table(past: Canned) -> None:
    result = lever("history", "hero", "--limit", "7")
    assert result.exit_code == 0, result.output
    heading, *rows = (line.split() for line in result.stdout.splitlines())
    assert heading == ["when", "what", "experiment", "version", "by", "detail"]
    assert rows[0] == ["2023-11-14", "22:13:29", "UTC", "taught", "history", "hero", "bob", "12", "rows"]
    assert rows[1] == ["2023-11-14", "22:13:25", "UTC", "updated", "hero", "2", "anyone"]
    assert (past.asked[0].name, past.asked[0].limit) == ("hero", 7)


def test_history_with_lines_that_changed(past: Canned) -> None:
    shown = lever("history", "--diff").stdout.splitlines()
    assert "-state: active" in shown
    assert "+state: paused" in shown
    assert "--- hero version 1, 2023-11-14 22:13:20 UTC" in shown


def test_history_as_json(past: Canned) -> None:
    found = json.loads(lever("history", "--json").stdout)
    assert [event["what"] for event in found] == ["taught history", "updated", "created"]
    assert found[2]["config"] == FIRST


def test_no_history(canned: Canned) -> None:
    canned.answers["history"] = epb.GetHistoryResponse()
    assert lever("history").stdout == "Nothing was changed yet.\n"


def test_rollback_applies_the_version_before(past: Canned) -> None:
    result = lever("rollback", "hero")
    assert result.stdout == "hero  is as it was in version 1, as version 3\n"
    assert (past.asked[-1].config, past.asked[-1].expected_version) == (FIRST, 2)


@pytest.mark.parametrize("to", ["2", "7"])
def test_rollback_to_what_is_not_kept(past: Canned, to: str) -> None:
    result = lever("rollback", "hero", "--to", to)
    assert result.exit_code == 1
    assert result.stderr == f"error: --to: version {to} of hero is not kept; kept are 1\n"
    assert not any(isinstance(request, epb.PutExperimentRequest) for request in past.asked)


def test_rollback_that_another_change_overtook(past: Canned) -> None:
    past.answers["put"] = RefusedError(grpc.StatusCode.FAILED_PRECONDITION, "experiment 'hero' is at version 3, not 2")
    result = lever("rollback", "hero")
    assert result.exit_code == 1
    assert "is at version 3, not 2" in result.stderr
