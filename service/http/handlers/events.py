"""POST /v1/events: exposures and rewards, many a call. Sending a call again changes nothing, so it may be retried.

Also takes what `navigator.sendBeacon` sends: a text body, and the (public) key in the query, as a beacon has no headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from service.errors import InvalidError, LeverError, UnavailableError
from service.http.handlers.backend import TOKEN_CHARS, Backend
from service.http.messages import Element, Reply, Request, decode, described, elements, placed, waiting
from service.security.api_keys import Key
from service.serving.rewarder import Event as Counted
from service.serving.rewarder import Exposure, RewardAnswer, RewardEvent
from service.serving.token import from_text
from service.store.contract import Outcome

EVENTS = 1000
FEW, FEW_BYTES = 16, 8 << 10  # as a page sends them
NAME_BYTES = 128

Name = Annotated[str, Meta(max_length=NAME_BYTES)]


class Event(msgspec.Struct, forbid_unknown_fields=True):
    """One event of one decision. A reward has a metric (the primary one if left out) and a value (1 if left out);
    `retract` takes it back, by its `event_id`.

    null is the same as leaving a field out.
    """

    decision_id: Annotated[str, Meta(min_length=1, max_length=TOKEN_CHARS)]
    type: Literal["reward", "exposure"] | None = None
    metric: Name | None = None
    value: float | None = None
    event_id: Name | None = None
    retract: bool | None = None


class Events(msgspec.Struct, forbid_unknown_fields=True):
    """A batch."""

    events: Annotated[list[Event], Meta(min_length=1, max_length=EVENTS)]


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    """A batch whose events are still to be read, each for itself."""

    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=EVENTS)]


class Result(msgspec.Struct, omit_defaults=True):
    """What became of an event: an `outcome` as gRPC names it, or an `error`."""

    outcome: str = ""
    error: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Results(msgspec.Struct):
    """In the order of the events."""

    results: list[Result]


_BATCH = msgspec.json.Decoder(_Batch)
_EVENT = msgspec.json.Decoder(Event)


@dataclass(slots=True)
class Batch:
    """A call's events, read: `answers` has what is wrong with some, `events` the others by their place."""

    answers: list[RewardAnswer]
    events: dict[int, Counted]


class Collector:
    """Answers POST /v1/events."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def collect(self, request: Request) -> Reply:
        """The reply to many events. It waits for the store: to be called on a thread.

        Raises InvalidError and UnavailableError for the batch as a whole; what is wrong with an event stays with it.
        """
        self._backend.working()
        batch = _batch(elements(_BATCH, request.body, "events")[1], request.key)
        return replied(batch, self.count([*batch.events.values()]))

    def few(self, request: Request) -> Batch | None:
        """The events where they are so few that they are read at once and counted with others'. Raises as `collect`."""
        if len(request.body) > FEW_BYTES:
            return None
        self._backend.working()
        raw = elements(_BATCH, request.body, "events")[1]
        return _batch(raw, request.key) if len(raw) <= FEW else None

    def count(self, events: Sequence[Counted]) -> list[RewardAnswer]:
        """UseCases.reward. Raises UnavailableError while there are none."""
        return self._backend.working().reward(events) if events else []


def replied(batch: Batch, counted: Sequence[RewardAnswer]) -> Reply:
    """What a call is answered whose events were counted, in the order of `batch.events`.

    503 where the store was away for any event: the same batch may then be sent again as it is.
    """
    answers = batch.answers
    for place, answer in zip(batch.events, counted, strict=True):
        answers[place] = answer
    away = next((answer for answer in answers if isinstance(answer, UnavailableError)), None)
    results = [
        Result(error=described(answer)) if isinstance(answer, LeverError) else Result(answer.name) for answer in answers
    ]
    body = msgspec.json.encode(Results(results))
    return Reply(200, body) if away is None else Reply(503, body, waiting(away))


def _sent(raw: Element) -> Event:
    sent = decode(_EVENT, raw)
    for field in ("metric", "event_id"):
        text = getattr(sent, field) or ""
        if len(text) * 4 > NAME_BYTES and len(text.encode()) > NAME_BYTES:
            raise InvalidError.field(field, f"is longer than {NAME_BYTES} bytes")
    return sent


def _batch(raw: Sequence[Element], key: Key) -> Batch:
    """Exposures first: a reward makes its decision a trial too, and the exposure beside it would be told it was one."""
    answers: list[RewardAnswer] = [Outcome.IGNORED] * len(raw)
    rewards: dict[int, Counted] = {}
    exposures: dict[int, Counted] = {}
    for place, one in enumerate(raw):
        try:
            sent = _sent(one)
            token = from_text(sent.decision_id)
        except LeverError as error:
            answers[place] = placed(error, f"events[{place}]")
            continue
        if sent.type == "exposure":
            exposures[place] = Exposure(token, key.public)
        else:
            event_id = "" if key.public else sent.event_id or ""
            rewards[place] = RewardEvent(token, sent.metric or "", sent.value, event_id, key.public, bool(sent.retract))
    return Batch(answers, exposures | rewards)
