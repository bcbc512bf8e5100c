"""HTTP as the web port's handlers see it: a request that was read, a reply to be sent, and errors as JSON."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from service.errors import STATUS, InvalidError, LeverError, NotFoundError
from service.security.api_keys import Key

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = b"application/json"
PARSE_ERROR = "PARSE_ERROR"
_PLACE = re.compile(r" - at `\$\.?(.*)`\Z")

Body = TypeVar("Body")


@dataclass(slots=True)
class Request:
    """One request, read whole. `tail` is what its path has beyond the route's; `key` says who asks."""

    tail: str
    headers: Mapping[bytes, bytes]
    body: bytes
    key: Key


class Reply(NamedTuple):
    """What is sent back; an empty `kind` means that there is no body."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    kind: bytes = JSON


def decode(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body:
    """The body as its type. InvalidError names the field; its reason is PARSE_ERROR where it is no JSON at all."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.search(text)
        raise InvalidError.field(
            (place[1] if place else "") or "body", text[: place.start()] if place else text
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        wrong = InvalidError.field("body", f"is not JSON: {error}")
        wrong.reason = PARSE_ERROR
        raise wrong from None


def status_of(error: LeverError) -> int:
    """The HTTP status of an error's class, or of the nearest class above it."""
    return next(STATUS[kind][1] for kind in type(error).__mro__ if kind in STATUS)


def described(error: LeverError) -> dict[str, object]:
    """An error as JSON: `code` as gRPC names it, `reason` for programs, `message` for people, wrong fields, wait."""
    code = next(STATUS[kind][0] for kind in type(error).__mro__ if kind in STATUS)
    told: dict[str, object] = {"code": code, "reason": error.reason, "message": str(error)}
    if isinstance(error, InvalidError):
        told["fields"] = [{"field": v.field, "message": v.message} for v in error.violations]
    if isinstance(error, NotFoundError):
        told["fields"] = [{"field": error.field_name, "message": str(error)}]
    if error.retry_s is not None:
        told["retry_after_ms"] = round(error.retry_s * 1000)
    return told


def refused(error: LeverError) -> Reply:
    """An error as the reply of a whole request."""
    return Reply(status_of(error), msgspec.json.encode({"error": described(error)}), waiting(error))


def waiting(error: LeverError) -> tuple[Header, ...]:
    """Headers that say how to ask again: when, or with what."""
    status = status_of(error)
    if error.retry_s is not None:
        return ((b"retry-after", str(max(1, round(error.retry_s))).encode()),)
    return ((b"www-authenticate", b"Bearer"),) if status == 401 else ()
