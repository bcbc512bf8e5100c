"""A gRPC server that answers what the test says, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.pb.lever.v1 import experiment_pb2 as epb
from service.pb.lever.v1 import experiment_pb2_grpc, personalization_pb2_grpc


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

    def Exclude(self, request: Any, context: Any) -> Any:
        return self._answer("exclude", request, context)

    def Include(self, request: Any, context: Any) -> Any:
        return self._answer("include", request, context)

    def GetTimeline(self, request: Any, context: Any) -> Any:
        return self._answer("timeline", request, context)

    def Explain(self, request: Any, context: Any) -> Any:
        return self._answer("explain", request, context)

    def GetHistory(self, request: Any, context: Any) -> Any:
        return self._answer("history", request, context)

    def Evaluate(self, request: Any, context: Any) -> Any:
        return self._answer("evaluate", request, context)

    def WarmStart(self, request: Any, context: Any) -> Any:
        return self._answer("warm_start", request, context)

    def ReadLog(self, request: Any, context: Any) -> Any:
        return iter([self._answer("read_log", request, context)])

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

    def ExposeBatch(self, request: Any, context: Any) -> Any:
        return self._answer("expose_batch", request, context)

    def RewardJourney(self, request: Any, context: Any) -> Any:
        return self._answer("journey", request, context)

    def Reward(self, request: Any, context: Any) -> Any:
        return self._answer("reward", request, context)


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
