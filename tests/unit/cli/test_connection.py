"""Complaints about what a server says, and one that is not there; exit codes."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from tests.rig.canned import Canned, RefusedError, bad_request, lever

# --- complaints


def test_a_wrong_field_is_named(canned: Canned) -> None:
    canned.answers["select"] = bad_request(("context.visits", "must be a number"), ("subject", "is empty"))
    result = lever("select", "hero", "ann")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: context.visits: must be a number",
        "error: subject: is empty",
        "(INVALID_ARGUMENT, INVALID)",
    ]


def test_a_store_that_is_away_says_when_to_try_again(canned: Canned) -> None:
    info = error_details_pb2.ErrorInfo(reason="STORE_UNAVAILABLE", domain="lever")
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=500_000_000))
    canned.answers["reward"] = RefusedError(grpc.StatusCode.UNAVAILABLE, "the store is away", info, retry)
    result = lever("reward", "tok")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: the store is away",
        "(UNAVAILABLE, STORE_UNAVAILABLE)",
        "Try again in 0.5 s; nothing is counted twice.",
    ]


def test_a_status_without_details(canned: Canned) -> None:
    canned.answers["get"] = RefusedError(grpc.StatusCode.NOT_FOUND, "no experiment 'hero'")
    result = lever("show", "hero")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["error: no experiment 'hero'", "(NOT_FOUND)"]


@pytest.mark.parametrize("command", [["list"], ["apply", "deploy/examples"], ["reward", "tok"]])
def test_nobody_there(command: list[str], nobody: str, tmp_path: Path) -> None:
    (tmp_path / "deploy/examples").mkdir(parents=True)
    (tmp_path / "deploy/examples/x.yaml").write_text("x")
    command = [str(tmp_path / word) if "/" in word else word for word in command]
    result = lever(*command, "--server", nobody)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: no Lever server answers at {nobody}\nStart one with `lever serve`")
