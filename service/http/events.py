"""POST /v1/events: exposures and rewards, many a call. Sending a call again changes nothing, so it may be retried.

Also takes what `navigator.sendBeacon` sends: a text body, and the (public) key in the query, as a beacon has no headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from service.errors import InvalidError, LeverError, UnavailableError
from service.http.backend import TOKEN_CHARS, Backend
from service.http.messages import Element, Reply, Request, decode, described, elements, placed, waiting
from service.security.api_keys import Key
from service.serving.rewarder import RewardAnswer, RewardEvent
from service.serving.token import from_text
from service.serving.use_cases import UseCases
from service.store.contract import Outcome

EVENTS = 1000
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


class Collector:
    """Answers POST /v1/events. It waits for the store: to be called on a thread."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def collect(self, request: Request) -> Reply:
        """Raises InvalidError and UnavailableError for the batch as a whole; what is wrong with an event stays with it.

        503 where the store was away for any event: the same batch may then be sent again as it is.
        """
        _, events = elements(_BATCH, request.body, "events")
        answers = _answers(self._backend.working(), events, request.key)
        away = next((answer for answer in answers if isinstance(answer, UnavailableError)), None)
        results = [
            Result(error=described(answer)) if isinstance(answer, LeverError) else Result(answer.name)
            for answer in answers
        ]
        body = msgspec.json.encode(Results(results))
        return Reply(200, body) if away is None else Reply(503, body, waiting(away))


def _event(raw: Element) -> Event:
    event = decode(_EVENT, raw)
    for field in ("metric", "event_id"):
        text = getattr(event, field) or ""
        if len(text) * 4 > NAME_BYTES and len(text.encode()) > NAME_BYTES:
            raise InvalidError.field(field, f"is longer than {NAME_BYTES} bytes")
    return event


def _answers(use_cases: UseCases, events: Sequence[Element], key: Key) -> list[RewardAnswer]:
    """One answer an event; rewards go to the store together, and exposures do."""
    answers: list[RewardAnswer] = [Outcome.IGNORED] * len(events)
    rewards: dict[int, RewardEvent] = {}
    exposures: dict[int, bytes] = {}
    for place, raw in enumerate(events):
        try:
            event = _event(raw)
            token = from_text(event.decision_id)
        except LeverError as error:
            answers[place] = placed(error, f"events[{place}]")
            continue
        if event.type == "exposure":
            exposures[place] = token
        else:
            event_id = "" if key.public else event.event_id or ""
            rewards[place] = RewardEvent(
                token, event.metric or "", event.value, event_id, key.public, bool(event.retract)
            )
    # Exposures first: a reward makes its decision a trial too, and the exposure beside it would be told it was one.
    shown = use_cases.expose(list(exposures.values()), key.public) if exposures else []
    counted = use_cases.reward(list(rewards.values())) if rewards else []
    for place, answer in zip((*rewards, *exposures), (*counted, *shown), strict=True):
        answers[place] = answer
    return answers
