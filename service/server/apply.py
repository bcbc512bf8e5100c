"""Applies experiment files to a running server over gRPC, as `lever serve --experiments` does once it is ready."""

from __future__ import annotations

from pathlib import Path

import grpc
import structlog

from service.errors import InvalidError, UnavailableError
from service.pb.lever.v1 import experiment_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.remote.fault import fault
from service.text.document import SUFFIXES, files_of, read, repeated

TIMEOUT_S = 30.0


class Refused(Exception):  # noqa: N818  # says what happened
    """A file was refused; `lines` say why, `file:line: field: message` where that is known."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def apply(path: Path, address: str, key: str = "") -> None:
    """Create or update every experiment of a file or folder, and log what changed.

    `key` is an API key, where the server asks for one.
    Raises Refused where one is wrong, UnavailableError where the server could not write it.
    """
    log = structlog.get_logger("lever.apply")
    files = files_of(path)
    if not files:
        raise Refused([f"{path}: no {', '.join(SUFFIXES)} files"])
    texts = {file: _text(file) for file in files}
    twice = repeated(texts)
    if twice:
        raise Refused(twice)
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = ExperimentServiceStub(channel)
        for file, text in texts.items():
            answer = _put(stub, file, text, key)
            for warning in answer.experiment.warnings:
                log.warning("taken, but hardly meant", file=str(file), said=warning)
            said = "applied" if answer.changed else "unchanged"
            # The worker that wrote it says so to operators.
            log.debug(said, file=str(file), experiment=answer.experiment.name, version=answer.experiment.version)


def _text(file: Path) -> str:
    try:
        return read(file)
    except InvalidError as error:
        raise Refused([wrong.of_file(str(file)) for wrong in error.violations]) from error


def _put(stub: ExperimentServiceStub, file: Path, text: str, key: str) -> pb.PutExperimentResponse:
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    try:
        request = pb.PutExperimentRequest(config=text)
        return stub.PutExperiment(request, timeout=TIMEOUT_S, wait_for_ready=True, metadata=metadata)
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise UnavailableError(f"{file}: {error.details()}") from error
        raise Refused(_lines(file, error)) from error


def _lines(file: Path, error: grpc.RpcError) -> list[str]:
    what = fault(error)
    return [wrong.of_file(str(file)) for wrong in what.violations] or [f"{file}: {what.message}"]
