"""POST /v1/select: one or several experiments of a page for one subject, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from service.errors import DeniedError, LeverError
from service.http.handlers.backend import TOKEN_CHARS, Backend
from service.http.messages import Element, Reply, Request, decode, described, elements, placed
from service.security.api_keys import Key
from service.serving.personalizer import NAMES, Mode
from service.serving.subject import SUBJECT_BYTES, check_subject

EXPERIMENTS = 32
MODES = {None: Mode.NORMAL, "normal": Mode.NORMAL, "preview": Mode.PREVIEW, "uncounted": Mode.UNCOUNTED}

Name = Annotated[str, Meta(min_length=1, max_length=128)]


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    """One experiment to choose in; docs/http.md says what each field means. null is the same as leaving a field out."""

    experiment: Name
    previous_decision_id: Annotated[str, Meta(max_length=TOKEN_CHARS)] | None = None
    arms: Annotated[list[Name], Meta(max_length=1000)] | None = None
    deferred: bool | None = None
    mode: Literal["normal", "preview", "uncounted"] | None = None


class Select(msgspec.Struct, forbid_unknown_fields=True):
    """Who is choosing for whom, on what, where."""

    subject: Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": SUBJECT_BYTES})]  # see check_subject
    experiments: Annotated[list[Name | Choice], Meta(min_length=1, max_length=EXPERIMENTS)]
    context: Annotated[dict[str, str | float | bool | None], Meta(max_length=256)] | None = None


class _Select(Select):
    """The same, its experiments still to be read, each for itself."""

    experiments: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=EXPERIMENTS)]  # type: ignore[assignment]


class Chosen(msgspec.Struct, omit_defaults=True):
    """One choice, or the `error` that came of it."""

    experiment: str
    decision_id: str = ""
    arm: str = ""
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    propensity: float | msgspec.UnsetType = msgspec.UNSET
    segment: str = ""
    holdout: bool | msgspec.UnsetType = msgspec.UNSET
    stale: bool | msgspec.UnsetType = msgspec.UNSET
    experiment_version: int | msgspec.UnsetType = msgspec.UNSET
    reason: str = ""
    error: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Selected(msgspec.Struct):
    """Choices in the order of the request's experiments."""

    decisions: list[Chosen]


_WHOLE = msgspec.json.Decoder(Select)
_REQUEST = msgspec.json.Decoder(_Select)
_CHOICE = msgspec.json.Decoder(Name | Choice)
_ENCODE = msgspec.json.Encoder().encode


def _read(body: bytes) -> tuple[Select, Sequence[str | Choice | Element]]:
    """The request and its experiments: read, or where anything is wrong still unread, each to be judged for itself."""
    try:
        asked = _WHOLE.decode(body)
    except (ValueError, RecursionError):
        return elements(_REQUEST, body, "experiments")
    return asked, asked.experiments


class Choices:
    """Answers POST /v1/select. What is wrong with one experiment does not hinder the others."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def select(self, request: Request) -> Reply:
        """Raises InvalidError and UnavailableError for the request as a whole."""
        asked, experiments = _read(request.body)
        check_subject("subject", asked.subject)
        self._backend.working()
        chosen = [self._one(place, one, asked, request.key) for place, one in enumerate(experiments)]
        return Reply(200, _ENCODE(Selected(chosen)))

    def _one(self, place: int, given: str | Choice | Element, asked: Select, key: Key) -> Chosen:
        try:
            read = decode(_CHOICE, given) if isinstance(given, bytes | msgspec.Raw) else given
        except LeverError as error:
            return Chosen("", error=described(placed(error, f"experiments[{place}]")))
        name = read if isinstance(read, str) else read.experiment
        try:
            wishes = () if isinstance(read, str) else _wishes(read, key)
            exp = self._backend.experiment(name, key)
            decision = self._backend.choose(exp, asked.subject, asked.context or {}, *wishes)
        except LeverError as error:
            return Chosen(name, error=described(error))
        return Chosen(
            exp.name, decision.decision_id, decision.arm, msgspec.Raw(decision.payload_json.encode()), decision.propensity, decision.segment,
            decision.holdout, decision.stale, decision.version, NAMES[decision.reason],
        )  # fmt: skip


def _wishes(one: Choice, key: Key) -> tuple[str, bool, Mode, tuple[str, ...]]:
    """What is asked beyond the experiment, as Backend.choose takes it. DeniedError."""
    if key.public and (one.arms or one.mode == "preview"):
        raise DeniedError("a public key cannot name arms, nor preview them")
    return one.previous_decision_id or "", bool(one.deferred), MODES[one.mode], tuple(one.arms or ())
