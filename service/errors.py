"""Every error Lever answers with, drawn as a tree; one table maps it to a gRPC and an HTTP status.

LeverError
├── InvalidError        the request is wrong; names the field
├── UnauthenticatedError  no API key, or one that is not known
├── DeniedError         the key does not allow this; names the scope that would
├── NotFoundError       experiment, arm or metric unknown
├── ConflictError       the version written against is no longer current
├── PreconditionError   right request, wrong state (a draft asked to choose; a decision that has all its events)
├── ExhaustedError      too much at once: may be sent again
├── UnavailableError    may be sent again: the store is away, or forgot
└── CorruptError        stored data does not prove itself
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """One wrong field: its path (`arms[2].id`), what is wrong, and the line where a file was given."""

    field: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        at = f"line {self.line}: " if self.line is not None else ""
        return f"{at}{self.field}: {self.message}"

    def of_file(self, file: str) -> str:
        """As compilers say it: file:line: field: what is wrong."""
        at = "" if self.line is None else f":{self.line}"
        return f"{file}{at}: {self.field}: {self.message}"


class LeverError(Exception):
    """Root. `reason` is a stable UPPER_SNAKE word for programs; the text is for people."""

    reason = "INTERNAL"
    retry_s: float | None = None  # how long to wait before it may be sent again; None: that would not help

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class InvalidError(LeverError):
    """A field of the request is wrong."""

    reason = "INVALID"

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("; ".join(str(v) for v in violations))
        self.violations = tuple(violations)

    @classmethod
    def field(cls, field: str, message: str) -> InvalidError:
        """An error about a single field."""
        return cls([Violation(field, message)])


class UnauthenticatedError(LeverError):
    """Nobody knows who asks."""

    reason = "UNAUTHENTICATED"


class DeniedError(LeverError):
    """Who asks may not do this."""

    reason = "PERMISSION_DENIED"


class NotFoundError(LeverError):
    """The thing named does not exist; `field` says which name was not known."""

    reason = "NOT_FOUND"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field_name = field


class ConflictError(LeverError):
    """Somebody else wrote first."""

    reason = "VERSION_CONFLICT"


class PreconditionError(LeverError):
    """The experiment or the decision is not in a state that allows this."""

    reason = "FAILED_PRECONDITION"


class ExhaustedError(LeverError):
    """Too much at once: nothing was applied, and later it will be. `retry_s` says how long to wait."""

    reason = "EXHAUSTED"

    def __init__(self, message: str, reason: str | None = None, retry_s: float = 1.0) -> None:
        super().__init__(message, reason)
        self.retry_s: float = retry_s


class UnavailableError(LeverError):
    """Try again: nothing was applied, or a retry will be recognised. `retry_s` says how long to wait."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self, message: str, reason: str | None = None, retry_s: float = 0.5) -> None:
        super().__init__(message, reason)
        self.retry_s: float = retry_s


class CorruptError(LeverError):
    """Stored bytes do not decode or do not match their digest."""

    reason = "CORRUPT"


# gRPC status name and HTTP status of each class; handlers never name a status. What may be sent again has a status of
# its own, so that callers need look no further: UNAVAILABLE or RESOURCE_EXHAUSTED, 503 or 429.
STATUS: dict[type[LeverError], tuple[str, int]] = {
    InvalidError: ("INVALID_ARGUMENT", 400),
    UnauthenticatedError: ("UNAUTHENTICATED", 401),
    DeniedError: ("PERMISSION_DENIED", 403),
    NotFoundError: ("NOT_FOUND", 404),
    ConflictError: ("ABORTED", 409),
    PreconditionError: ("FAILED_PRECONDITION", 412),
    ExhaustedError: ("RESOURCE_EXHAUSTED", 429),
    UnavailableError: ("UNAVAILABLE", 503),
    CorruptError: ("DATA_LOSS", 500),
    LeverError: ("INTERNAL", 500),
}
