"""HTTP as the web port's handlers see it: a request that was read, a reply to be sent, and errors as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeVar

import msgspec

from service.errors import STATUS, InvalidError, LeverError, NotFoundError, Violation
from service.security.api_keys import Key

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]
Element = bytes | msgspec.Raw  # of a list, still JSON

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


def decode(decoder: msgspec.json.Decoder[Body], body: Element) -> Body:
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


def elements(decoder: msgspec.json.Decoder[Body], body: bytes, field: str) -> tuple[Body, Sequence[Element]]:
    """The body as its type, and the elements of its list `field` still unread, so that each is judged for itself.

    JSON allows half a character (a lone surrogate) in a text, msgspec refuses the whole body for it: so Python's own decoder
    splits such a body, and the element is refused when it is read.
    """
    try:
        read = decode(decoder, body)
        return read, getattr(read, field)
    except InvalidError:
        if b"\\u" not in body:
            raise
        try:
            given = json.loads(body, parse_constant=_no_constant)
            given = msgspec.convert(given, dict[str, Any])
            parts = [json.dumps(element).encode() for element in msgspec.convert(given[field], list[Any])]
            outline = json.dumps(given | {field: [0] * len(parts)}).encode()
        except (ValueError, KeyError, TypeError, RecursionError):
            outline = b""
        if not outline:
            raise
    return decode(decoder, outline), parts


def _no_constant(name: str) -> NoReturn:
    """NaN and Infinity, which Python reads though they are no JSON."""
    raise ValueError(name)


def placed(error: LeverError, place: str) -> LeverError:
    """The error with its fields named from the body's root: `events[3].value`."""
    if not isinstance(error, InvalidError):
        return error
    named = [Violation(place if v.field == "body" else f"{place}.{v.field}", v.message) for v in error.violations]
    return InvalidError(named)


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
