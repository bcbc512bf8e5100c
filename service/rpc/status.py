"""Errors as gRPC tells them: a status code, a text, and the google.rpc details that programs read.

One place turns a LeverError into all three: BadRequest for wrong fields, ErrorInfo for the stable reason, RetryInfo
for what may be sent again (https://cloud.google.com/apis/design/errors).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from service.errors import STATUS, InvalidError, LeverError, NotFoundError, Violation

DOMAIN = "lever"
METADATA_KEY = "grpc-status-details-bin"
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
REQUEST_ID = "x-request-id"  # metadata of a call, and of the answer to one that failed by a fault of ours


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as it goes over the wire."""

    code: grpc.StatusCode
    text: str
    status: status_pb2.Status


class Ending(grpc.Status):
    """How a call ends without an answer; what `ServicerContext.abort_with_status` takes."""

    def __init__(self, code: grpc.StatusCode, text: str, status: status_pb2.Status | None = None) -> None:
        self.code = code
        self.details = text
        self.trailing_metadata: tuple[tuple[str, str | bytes], ...] = ()
        if status is not None:
            self.trailing_metadata = ((METADATA_KEY, status.SerializeToString()),)

    @classmethod
    def of(cls, error: LeverError, request_id: str = "") -> Ending:
        """As the error tells it, with the id by which the log knows it."""
        wire = wire_error(error)
        ending = cls(wire.code, wire.text, wire.status)
        if request_id:
            ending.trailing_metadata += ((REQUEST_ID, request_id),)
        return ending


def request_id(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """What the caller calls this request, if it looks like a name and not like content; else a name made here."""
    for name, value in metadata:
        if name == REQUEST_ID and isinstance(value, str) and _NAME.fullmatch(value):
            return value
    return secrets.token_hex(6)


def code_of(error: LeverError) -> grpc.StatusCode:
    """The status code of an error's class, or of the nearest class above it."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return grpc.StatusCode[STATUS[kind][0]]
    return grpc.StatusCode.INTERNAL


def number_of(code: grpc.StatusCode) -> int:
    """The canonical number of a status code (14 for UNAVAILABLE)."""
    number: int = code.value[0]
    return number


def violations_of(error: LeverError) -> tuple[Violation, ...]:
    """The fields an error is about; a name that is not known is one too."""
    if isinstance(error, InvalidError):
        return error.violations
    if isinstance(error, NotFoundError):
        return (Violation(error.field_name, str(error)),)
    return ()


def wire_error(error: LeverError) -> WireError:
    """The error's code, text and details."""
    code, text = code_of(error), str(error)
    status = status_pb2.Status(code=number_of(code), message=text)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    violations = violations_of(error)
    if violations:
        bad = error_details_pb2.BadRequest()
        for index, violation in enumerate(violations):
            bad.field_violations.add(field=violation.field, description=violation.message)
            if violation.line is not None:
                # BadRequest has no place for a line; keyed by index, as one field can be wrong in two ways.
                info.metadata[f"line.{index}"] = str(violation.line)
        status.details.add().Pack(bad)
    status.details.add().Pack(info)
    if error.retry_s is not None:
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=duration(error.retry_s)))
    return WireError(code, text, status)


def duration(seconds: float) -> Duration:
    """Seconds as the wire has them."""
    message = Duration()
    message.FromMilliseconds(round(seconds * 1000))
    return message
