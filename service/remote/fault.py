"""What a server answered instead of success, read from a failed call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.errors import Violation

if TYPE_CHECKING:
    import grpc


@dataclass(frozen=True)
class Fault:
    """What a server answered instead of success; `retry_s` is how long it asks to wait."""

    code: str
    message: str
    reason: str = ""
    violations: tuple[Violation, ...] = ()
    retry_s: float | None = None


def fault(error: grpc.RpcError) -> Fault:
    """Reads a failed call: status, and the google.rpc details where the server sent some."""
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    name = error.code().name
    message = error.details() or name.lower().replace("_", " ")
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # details that contradict the status are no help
        status = None
    if status is None:
        return Fault(name, message)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    bad: Any = error_details_pb2.BadRequest()
    retry_s = None
    for detail in status.details:
        for kind in (info, retry, bad):
            detail.Unpack(kind)
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    # BadRequest has no place for a line of a file; ErrorInfo carries it by the violation's index.
    lines = [info.metadata.get(f"line.{index}") for index in range(len(bad.field_violations))]
    violations = [
        Violation(wrong.field, wrong.description, int(line) if line and line.isdecimal() else None)
        for wrong, line in zip(bad.field_violations, lines, strict=True)
    ]
    return Fault(name, message, info.reason, tuple(violations), retry_s)
