"""POST /v1/events: exposures and rewards, many a call. Sending a call again changes nothing, so it may be retried.

Also takes what `navigator.sendBeacon` sends: a text body, and the (public) key in the query, as a beacon has no headers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from service.errors import LeverError, UnavailableError
from service.http.backend import TOKEN_CHARS, Backend
from service.http.messages import Reply, Request, decode, described, waiting
from service.security.api_keys import Key
from service.serving.rewarder import RewardAnswer, RewardEvent
from service.serving.token import from_text
from service.serving.use_cases import UseCases
from service.store.contract import Outcome

EVENTS = 1000


class Event(msgspec.Struct, forbid_unknown_fields=True):
    """One event of one decision. A reward has a metric (the primary one if left out) and a value (1 if left out)."""

    decision_id: Annotated[str, Meta(min_length=1, max_length=TOKEN_CHARS)]
    type: Literal["reward", "exposure"] = "reward"
    metric: Annotated[str, Meta(max_length=128)] = ""
    value: float | None = None
    event_id: Annotated[str, Meta(max_length=128)] = ""


class Events(msgspec.Struct, forbid_unknown_fields=True):
    """A batch."""

    events: Annotated[list[Event], Meta(min_length=1, max_length=EVENTS)]


class Result(msgspec.Struct, omit_defaults=True):
    """What became of an event: an `outcome` as gRPC names it, or an `error`."""

    outcome: str = ""
    error: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Results(msgspec.Struct):
    """In the order of the events."""

    results: list[Result]


_DECODER = msgspec.json.Decoder(Events)


class Collector:
    """Answers POST /v1/events. It waits for the store: to be called on a thread."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def collect(self, request: Request) -> Reply:
        """Raises InvalidError and UnavailableError for the batch as a whole.

        503 where the store was away for any event: the same batch may then be sent again as it is.
        """
        events = decode(_DECODER, request.body).events
        answers = _answers(self._backend.working(), events, request.key)
        away = next((answer for answer in answers if isinstance(answer, UnavailableError)), None)
        results = [
            Result(error=described(answer)) if isinstance(answer, LeverError) else Result(answer.name)
            for answer in answers
        ]
        body = msgspec.json.encode(Results(results))
        return Reply(200, body) if away is None else Reply(503, body, waiting(away))


def _answers(use_cases: UseCases, events: list[Event], key: Key) -> list[RewardAnswer]:
    """One answer an event; rewards go to the store together."""
    answers: list[RewardAnswer] = [Outcome.IGNORED] * len(events)
    rewards: list[RewardEvent] = []
    places: list[int] = []
    for place, event in enumerate(events):
        try:
            token = from_text(event.decision_id)
            if event.type == "exposure":
                answers[place] = use_cases.expose(token, key.public)
            else:
                event_id = "" if key.public else event.event_id
                rewards.append(RewardEvent(token, event.metric, event.value, event_id, key.public))
                places.append(place)
        except LeverError as error:
            answers[place] = error
    if rewards:
        for place, answer in zip(places, use_cases.reward(rewards), strict=True):
            answers[place] = answer
    return answers
