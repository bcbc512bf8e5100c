"""The terminal: arguments, tables, complaints and exit codes, against a server that answers what the test says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from typer.testing import CliRunner, Result

from service import __version__
from service.cli.decisions import parse_context
from service.cli.main import app
from service.cli.report import bar, number
from service.pb.lever.v1 import experiment_pb2 as epb
from service.pb.lever.v1 import experiment_pb2_grpc, personalization_pb2_grpc
from service.pb.lever.v1 import personalization_pb2 as ppb
from tests.rig.programs import ROOT


class RefusedError(Exception):
    """What the canned server refuses with."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: Message) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    def abort(self, context: grpc.ServicerContext) -> NoReturn:
        if not self.details:
            context.abort(self.code, self.message)
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            status.details.add().Pack(detail)
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError


class Canned(experiment_pb2_grpc.ExperimentServiceServicer, personalization_pb2_grpc.PersonalizationServiceServicer):
    """Answers each method with what the test put in `answers`, or refuses; keeps the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, Message | RefusedError | Callable[[Any], Message]] = {}
        self.asked: list[Any] = []

    def _answer(self, method: str, request: Message, context: grpc.ServicerContext) -> Any:
        self.asked.append(request)
        try:
            answer = self.answers[method]
            if isinstance(answer, RefusedError):
                raise answer
            return answer if isinstance(answer, Message) else answer(request)
        except RefusedError as refusal:
            refusal.abort(context)

    def PutExperiment(self, request: Any, context: Any) -> Any:
        return self._answer("put", request, context)

    def GetExperiment(self, request: Any, context: Any) -> Any:
        return self._answer("get", request, context)

    def ListExperiments(self, request: Any, context: Any) -> Any:
        return self._answer("list", request, context)

    def DeleteExperiment(self, request: Any, context: Any) -> Any:
        return self._answer("delete", request, context)

    def GetReport(self, request: Any, context: Any) -> Any:
        return self._answer("report", request, context)

    def Evaluate(self, request: Any, context: Any) -> Any:
        return self._answer("evaluate", request, context)

    def WarmStart(self, request: Any, context: Any) -> Any:
        return self._answer("warm_start", request, context)

    def RestoreExperiment(self, request: Any, context: Any) -> Any:
        return self._answer("restore", request, context)

    def AcceptLoss(self, request: Any, context: Any) -> Any:
        return self._answer("accept_loss", request, context)

    def Select(self, request: Any, context: Any) -> Any:
        return self._answer("select", request, context)

    def SelectBatch(self, request: Any, context: Any) -> Any:
        return self._answer("select_batch", request, context)

    def StreamRewards(self, request_iterator: Any, context: Any) -> Any:
        return self._answer("stream", next(request_iterator), context)

    def Expose(self, request: Any, context: Any) -> Any:
        return self._answer("expose", request, context)

    def Reward(self, request: Any, context: Any) -> Any:
        return self._answer("reward", request, context)


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Canned]:
    """A served Canned; LEVER_SERVER names it."""
    servicer = Canned()
    server = grpc.server(ThreadPoolExecutor(2))
    experiment_pb2_grpc.add_ExperimentServiceServicer_to_server(servicer, server)
    personalization_pb2_grpc.add_PersonalizationServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("LEVER_SERVER", f"127.0.0.1:{port}")
    yield servicer
    server.stop(None).wait()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that refuses connections: its port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def lever(*arguments: str | Path, stdin: str | None = None) -> Result:
    """Runs a command in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, env={"COLUMNS": "160"})


def experiment(**fields: Any) -> epb.Experiment:
    values = {"name": "hero", "version": 1, "state": "active", "algorithm": "linucb", "arms": ["calm", "bold"]}
    return epb.Experiment(**{**values, "config": "experiment: hero\n", "applied_at_ms": 1_700_000_000_000, **fields})


def bad_request(*violations: tuple[str, str], **lines: str) -> RefusedError:
    bad = error_details_pb2.BadRequest()
    for field, message in violations:
        bad.field_violations.add(field=field, description=message)
    info = error_details_pb2.ErrorInfo(reason="INVALID", domain="lever")
    for index, line in lines.items():
        info.metadata[f"line.{index.removeprefix('at')}"] = line
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(f"{f}: {m}" for f, m in violations), bad, info)


# --- apply, list, show, delete


def test_apply_says_what_became_of_each_file(canned: Canned, tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.json", "notes.txt"):
        (tmp_path / name).write_text(name)
    became = {"a.yaml": (1, True), "b.yml": (4, True), "c.json": (2, False)}

    def put(request: Any) -> epb.PutExperimentResponse:
        version, changed = became[request.config]
        stands = experiment(name=request.config[0], version=version)
        return epb.PutExperimentResponse(experiment=stands, changed=changed)

    canned.answers["put"] = put
    result = lever("apply", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout == "a  created  version 1\nb  changed  version 4\nc  unchanged  version 2\n"
    assert not any(request.HasField("expected_version") for request in canned.asked)


def test_apply_names_file_and_line_and_goes_on(canned: Canned, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text("bad")
    good.write_text("good")

    def put(request: Any) -> epb.PutExperimentResponse:
        if request.config == "bad":
            raise bad_request(("arms[1].id", "is used twice"), ("metrics", "is missing"), at0="12")
        return epb.PutExperimentResponse(experiment=experiment(), changed=True)

    canned.answers["put"] = put
    result = lever("apply", bad, good)
    assert result.exit_code == 1
    assert result.stdout == "hero  created  version 1\n"
    assert result.stderr.splitlines() == [
        f"{bad}:12: arms[1].id: is used twice",
        f"{bad}: metrics: is missing",
        "(INVALID_ARGUMENT, INVALID)",
    ]


def test_apply_refuses_what_is_not_there(tmp_path: Path) -> None:
    assert lever("apply", tmp_path / "none.yaml").exit_code == 2
    empty = lever("apply", tmp_path)
    assert empty.exit_code == 1
    assert "no .yaml, .yml, .json files in" in empty.stderr


def test_apply_reports_a_file_that_is_not_text(canned: Canned, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    result = lever("apply", tmp_path / "x.yaml")
    assert result.exit_code == 1
    assert "x.yaml: 'utf-8' codec can't decode" in result.stderr
    assert not canned.asked


def test_list(canned: Canned) -> None:
    canned.answers["list"] = epb.ListExperimentsResponse(
        experiments=[experiment(), experiment(name="offer", version=7)]
    )
    lines = lever("list").stdout.splitlines()
    assert lines[0].split() == ["experiment", "state", "algorithm", "arms", "version", "applied"]
    assert lines[2].split() == ["offer", "active", "linucb", "2", "7", "2023-11-14", "22:13:20", "UTC"]
    as_json = json.loads(lever("list", "--json").stdout)
    assert [one["name"] for one in as_json] == ["hero", "offer"]
    assert as_json[1]["version"] == 7  # not "7", as protobuf's own JSON has it
    canned.answers["list"] = epb.ListExperimentsResponse()
    assert "No experiments yet" in lever("list").stdout
    assert json.loads(lever("list", "--json").stdout) == []


def test_show_prints_what_can_be_applied_again(canned: Canned) -> None:
    canned.answers["get"] = epb.GetExperimentResponse(experiment=experiment(version=3))
    shown = lever("show", "hero").stdout
    assert shown == "# hero: active, linucb, version 3, applied 2023-11-14 22:13:20 UTC\nexperiment: hero\n"
    assert json.loads(lever("show", "hero", "--json").stdout)["arms"] == ["calm", "bold"]
    assert [request.name for request in canned.asked] == ["hero", "hero"]


def test_delete_asks_first(canned: Canned) -> None:
    canned.answers["delete"] = epb.DeleteExperimentResponse()
    assert lever("delete", "hero", stdin="n\n").exit_code == 1
    assert lever("delete", "hero", stdin="").exit_code == 1
    assert not canned.asked
    assert lever("delete", "hero", stdin="y\n").exit_code == 0
    assert lever("delete", "hero", "--yes", "--version", "3").stdout == "hero  deleted\n"
    assert [r.expected_version if r.HasField("expected_version") else None for r in canned.asked] == [None, 3]


# --- report


def report(**fields: Any) -> epb.GetReportResponse:
    shown: dict[str, Any] = {"trials": 12345, "rewarded": 987, "reward_sum": 987.0, "mean": 0.08, "traffic_share": 0.75}
    believed: dict[str, Any] = {
        "credible_low": 0.075,
        "credible_high": 0.085,
        "posterior_mean": 0.0799,
        "probability_best": 0.875,
    }
    calm = epb.ArmReport(arm="calm", state="active", **shown, **believed, expected_loss=0.00012)
    bold = epb.ArmReport(arm="[b]old", state="paused", holdout_trials=200, holdout_reward_sum=14)
    segments = [epb.SegmentReport(segment="enterprise", arms=[calm, bold])]
    return epb.GetReportResponse(
        name="hero", version=3, algorithm="linucb", metric="click", segments=segments, **fields
    )


def test_report_is_a_table_per_segment(canned: Canned) -> None:
    canned.answers["report"] = report()
    result = lever("report", "hero")
    assert result.exit_code == 0, result.output
    out = result.stdout
    assert "hero  version 3  linucb  metric click" in out
    assert "segment enterprise" in out
    row = next(line for line in out.splitlines() if line.startswith("calm"))
    for cell in (
        "active",
        "12,345",
        "75.0%",
        "987",
        "0.0800",
        "0.0799",
        "0.0750 to 0.0850",
        "████████▊",
        "87.5%",
        "0.0001",
    ):
        assert cell in row, cell
    assert next(line for line in out.splitlines() if line.startswith("[b]old"))  # markup in an id is only text
    assert "holdout: 200 trials, mean 0.0700" in out
    assert "…" not in out  # nothing is cut
    assert result.stderr == ""


def test_report_as_json(canned: Canned) -> None:
    canned.answers["report"] = report(stale=True)
    result = lever("report", "hero", "--json")
    assert "store is away" in result.stderr
    told = json.loads(result.stdout)
    assert told["stale"] is True
    arm = told["segments"][0]["arms"][0]
    assert (arm["trials"], arm["probability_best"], arm["holdout_trials"]) == (12345, 0.875, 0)


def test_report_as_json_has_no_nan(canned: Canned) -> None:
    answer = report()
    answer.segments[0].arms[0].credible_low = float("nan")
    canned.answers["report"] = answer
    assert json.loads(lever("report", "hero", "--json").stdout)["segments"][0]["arms"][0]["credible_low"] is None


def test_bar() -> None:
    assert [bar(0), bar(1), bar(0.5), bar(0.06)] == [" " * 10, "█" * 10, "█████     ", "▋         "]
    assert bar(0.5, blocks=False) == "#####     "
    assert bar(1.0000001) == "█" * 10


def test_number() -> None:
    values = (0, 0.00001, 0.0123456, 0.5, 12.3456, -3.25, 1234567.8)
    assert [number(v) for v in values] == ["0", "0", "0.0123", "0.5000", "12.35", "-3.25", "1,234,568"]


# --- select, expose, reward


def decision(**fields: Any) -> ppb.SelectResponse:
    values = {"decision_id": "-tok_" + "x" * 150, "arm": "calm", "payload_json": '{"headline":"Grüezi"}'}
    rest = {"propensity": 0.421875, "segment": "enterprise", "experiment_version": 3, "reason": ppb.REASON_POLICY}
    return ppb.SelectResponse(**{**values, **rest, **fields})


def test_select_prints_one_line_a_fact(canned: Canned) -> None:
    canned.answers["select"] = decision()
    result = lever("select", "hero", "ann")
    assert result.exit_code == 0, result.output
    assert dict(line.split(maxsplit=1) for line in result.stdout.splitlines()) == {
        "arm": "calm",
        "payload": '{"headline":"Grüezi"}',
        "propensity": "0.421875",
        "segment": "enterprise",
        "reason": "policy",
        "version": "3",
        "decision": "-tok_" + "x" * 150,
    }


def test_select_sends_what_was_typed(canned: Canned) -> None:
    canned.answers["select"] = decision(reason=ppb.REASON_NO_ELIGIBLE_ARM, stale=True)
    pairs = ["-c", "visits=3", "-c", "returning=true", "-c", "industry=software", "--context", "zip:=007"]
    flags = ["--arm", "calm", "--arm", "bold", "--deferred", "--mode", "uncounted", "--previous", "-tok"]
    result = lever("select", "hero", "ann", *pairs, *flags, "--json")
    assert result.exit_code == 0, result.output
    assert canned.asked == [
        ppb.SelectRequest(
            experiment="hero",
            subject="ann",
            context={
                "visits": ppb.FeatureValue(number=3),
                "returning": ppb.FeatureValue(flag=True),
                "industry": ppb.FeatureValue(text="software"),
                "zip": ppb.FeatureValue(text="007"),
            },
            arms=["calm", "bold"],
            previous_decision_id="-tok",
            deferred=True,
            mode=ppb.MODE_UNCOUNTED,
        )
    ]
    assert json.loads(result.stdout)["reason"] == "NO_ELIGIBLE_ARM"
    assert "store is away" in result.stderr


def test_context_values() -> None:
    pairs = ["a=1", "b=-2.5e-3", "c=.5", "d=TRUE", "e=nan", "f=1_000", "g:=true", "h=", "i=x=y", "j=inf"]
    typed = {"a": 1.0, "b": -0.0025, "c": 0.5, "d": True, "e": "nan", "f": "1_000", "g": "true", "h": "", "i": "x=y"}
    assert parse_context(pairs) == {**typed, "j": "inf"}


@pytest.mark.parametrize("pairs", [["a"], ["=1"], [":=1"], ["a=1", "a:=2"]])
def test_context_that_cannot_be_read(pairs: list[str], nobody: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_context(pairs)
    typed = [word for pair in pairs for word in ("-c", pair)]
    assert lever("select", "hero", "ann", *typed, "--server", nobody).exit_code == 2


def test_reward_and_expose(canned: Canned) -> None:
    canned.answers["reward"] = ppb.RewardResponse(outcome=ppb.OUTCOME_APPLIED)
    canned.answers["expose"] = ppb.ExposeResponse(outcome=ppb.OUTCOME_DUPLICATE)
    assert lever("reward", "tok").stdout == "applied\n"
    # Ids are base64url and may begin with dashes; values may be negative.
    assert lever("reward", "-mtok", "-12.5", "--metric", "order", "--event", "e1").stdout == "applied\n"
    assert lever("reward", "--tok").stdout == "applied\n"
    assert lever("expose", "-tok").stdout == "duplicate: it had been counted before\n"
    assert canned.asked == [
        ppb.RewardRequest(decision_id="tok"),
        ppb.RewardRequest(decision_id="-mtok", value=-12.5, metric="order", event_id="e1"),
        ppb.RewardRequest(decision_id="--tok"),
        ppb.ExposeRequest(decision_id="-tok"),
    ]
    assert lever("reward", "tok", "much").exit_code == 2


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


# --- serve


def test_serve_check_prints_the_settings_and_hides_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEVER_WORKERS", "3")
    monkeypatch.setenv("LEVER_GRPC_PORT", "1111")
    options = ["--grpc-port", "2222", "--redis-url", "redis://:hush@127.0.0.1/0", "--experiments", str(tmp_path)]
    result = lever("serve", "--check", *options)
    assert result.exit_code == 0, result.output
    printed = dict(line.split("=", 1) for line in result.stdout.splitlines())
    wanted = {"LEVER_WORKERS": "3", "LEVER_GRPC_PORT": "2222", "LEVER_EXPERIMENTS": str(tmp_path)}
    assert wanted.items() <= printed.items()
    assert "hush" not in result.output


def test_serve_refuses_wrong_settings_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVER_HTTP_PORT", "many")
    result = lever("serve", "--check", "--workers", "0")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["error", "LEVER_HTTP_PORT"],
        ["error", "workers"],
    ]


# --- the program itself


def test_help_and_version_are_instant() -> None:
    script = (
        "import sys\n"
        "from service.cli import main\n"
        "sys.argv = ['lever', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'numba', 'numpy', 'grpc', 'google.protobuf', 'redis', 'service.server.serve', 'service.process.settings'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    for arguments in (["--help"], ["select", "--help"], ["--version"]):
        command = [sys.executable, "-W", "error", "-c", script, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert done.stdout == f"lever {__version__}\n"


def test_it_is_a_module_too(nobody: str) -> None:
    env = {**os.environ, "LEVER_SERVER": nobody}
    command = [sys.executable, "-m", "service", "list"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_unknown_commands_and_no_command() -> None:
    assert lever("dance").exit_code == 2
    assert "Usage" in lever().output
