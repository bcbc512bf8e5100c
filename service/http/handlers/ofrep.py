"""OFREP, the wire protocol of OpenFeature (github.com/open-feature/protocol, OpenAPI 0.3.0): flags are experiments.

A flag's value is the arm's payload, or the arm's id where it has none; its variant is the arm. What a reward needs is
in the metadata. One evaluation is a decision that counts at once; of a bulk evaluation nobody knows what a page will
show, so its decisions are deferred: they count when they are exposed or rewarded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from service.errors import InvalidError, LeverError, NotFoundError, PreconditionError, UnavailableError
from service.experiment.compiled import Experiment
from service.http.handlers.backend import Backend, declared
from service.http.messages import PARSE_ERROR, Header, Reply, Request, decode, status_of, waiting
from service.serving.personalizer import Decision, Mode, Reason
from service.serving.subject import check_subject

TARGETING_KEY = "targetingKey"
PREVIOUS = "previousDecisions"  # in the context: decision ids by flag, kept where they are still good
UNCOUNTED = "uncounted"  # in the context: true for who did not consent, and for bots: no decision is a trial
MISSING = "TARGETING_KEY_MISSING"
_REASONS: Mapping[Reason, str] = {
    Reason.POLICY: "SPLIT",
    Reason.HOLDOUT: "SPLIT",
    Reason.UNCOUNTED: "SPLIT",
    Reason.REPEATED: "SPLIT",
    Reason.SEGMENT_DEFAULT: "TARGETING_MATCH",
    Reason.PREVIEW: "TARGETING_MATCH",
    Reason.NO_ELIGIBLE_ARM: "STATIC",
    Reason.INACTIVE: "STATIC",
}

_ETAG = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')  # RFC 9110, 8.8.3


class Evaluate(msgspec.Struct):
    """The body of both kinds of evaluation."""

    context: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(Evaluate)


class Ofrep:
    """Evaluates one flag or all of them. LeverErrors become what OFREP names; a page never gets a 5xx for them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def single(self, request: Request) -> Reply:
        """POST /ofrep/v1/evaluate/flags/{key}."""
        name = request.tail
        try:
            context, subject = _context(request.body)
            if not self._backend.open:
                return Reply(200, _nothing(name, "UNKNOWN"))
            exp = self._backend.experiment(name, request.key)
            return Reply(200, self._flag(exp, subject, context, deferred=False))
        except LeverError as error:
            return failed(error, name)

    def bulk(self, request: Request) -> Reply:
        """POST /ofrep/v1/evaluate/flags: every experiment marked `client: true`."""
        try:
            context, subject = _context(request.body)
        except LeverError as error:
            return failed(error)
        if not self._backend.open:
            return Reply(200, b'{"flags":[]}')
        experiments = self._backend.for_clients()
        for known in etags(request.headers.get(b"if-none-match", b"")):
            if self._current(known, subject, context, experiments):
                return Reply(304, headers=() if known == b"*" else ((b"etag", known),), kind=b"")
        now_ms = self._backend.clock.now_ms()
        flags, complete = [], True
        for exp in experiments:
            try:
                flags.append(self._flag(exp, subject, context, deferred=True))
            except LeverError as error:
                flags.append(failed(error, exp.name).body)
                complete = False
        headers: tuple[Header, ...] = ((b"etag", _tag(now_ms, subject, context, experiments)),) if complete else ()
        return Reply(200, b'{"flags":[' + b",".join(flags) + b"]}", headers)

    def _flag(self, exp: Experiment, subject: str, context: Mapping[str, Any], *, deferred: bool) -> bytes:
        previous = ""
        if PREVIOUS in context:
            previous = _previous(context[PREVIOUS], exp.name)
        try:
            decision = self._backend.choose(exp, subject, context, previous, deferred, _mode(context))
        except PreconditionError:  # a draft: it has no value yet, so the caller's own default is right
            return _nothing(exp.name, "DISABLED")
        return _success(exp, decision, deferred=deferred)

    def _current(self, known: bytes, subject: str, context: Mapping[str, Any], experiments: list[Experiment]) -> bool:
        """Whether what was answered with this ETag is what the caller should go on showing.

        The tag says when that was, and for whom, on what context and by which versions. Posteriors are not in it:
        else every reward would move the assignments of a session. It holds as long as a previous decision would.
        """
        if known == b"*":  # whatever the caller has: RFC 9110, 13.1.2
            return True
        tagged_ms = _time_of(known)
        now = self._backend.clock.now_ms()
        try:
            if tagged_ms is None or not tagged_ms <= now or known != _tag(tagged_ms, subject, context, experiments):
                return False
        except LeverError:  # a value of the wrong kind: the answer says which
            return False
        for exp in experiments:
            keep_ms = exp.sticky_ms if exp.sticky_ms is not None else exp.primary.window_ms
            change = exp.next_change(tagged_ms)
            if now - tagged_ms >= keep_ms or (change is not None and change <= now):
                return False
        return True


def _context(body: bytes) -> tuple[Mapping[str, Any], str]:
    context = decode(_DECODER, body).context or {}
    subject = context.get(TARGETING_KEY)
    try:
        check_subject(TARGETING_KEY, subject)
    except InvalidError as error:
        if subject is None or subject == "":
            error.reason = MISSING
        raise
    return context, str(subject)


def _mode(context: Mapping[str, Any]) -> Mode:
    given = context.get(UNCOUNTED)
    if given is not None and not isinstance(given, bool):
        raise InvalidError.field(UNCOUNTED, "must be true or false")
    return Mode.UNCOUNTED if given else Mode.NORMAL


def _previous(given: Any, name: str) -> str:
    """The decision id for this flag; what is not one is treated as one that is no longer good."""
    found = given.get(name) if isinstance(given, dict) else None
    return found if isinstance(found, str) else ""


def _success(exp: Experiment, decision: Decision, *, deferred: bool) -> bytes:
    """The flag's JSON, put together by hand: only the payload can hold what must be escaped, and is JSON already."""
    reason = _REASONS[decision.reason]
    if decision.reason == Reason.INACTIVE and exp.state == "paused":
        reason = "DISABLED"
    value = decision.payload_json if decision.payload_json != "null" else f'"{decision.arm}"'
    window_ms = max(metric.window_ms for metric in exp.spec.metrics)
    extra = ',"deferred":true' if deferred else ""
    if decision.stale:
        extra += ',"stale":true'
    return (
        f'{{"key":"{exp.name}","value":{value},"variant":"{decision.arm}","reason":"{reason}","metadata":'
        f'{{"decisionId":"{decision.decision_id}","propensity":{decision.propensity!r},"segment":"{decision.segment}",'
        f'"holdout":{"true" if decision.holdout else "false"},"version":{decision.version},"windowMs":{window_ms}{extra}}}}}'
    ).encode()


def _nothing(name: str, reason: str) -> bytes:
    """An answer without a value: the caller's code default is to be shown."""
    return msgspec.json.encode({"key": name, "reason": reason, "variant": "", "metadata": {}})


def failed(error: LeverError, name: str | None = None) -> Reply:
    """An error as OFREP tells it."""
    if isinstance(error, NotFoundError):
        status, code = 404, "FLAG_NOT_FOUND"
    elif isinstance(error, InvalidError):
        status, code = 400, error.reason if error.reason in (PARSE_ERROR, MISSING) else "INVALID_CONTEXT"
    elif isinstance(error, UnavailableError):
        return Reply(200, b'{"flags":[]}' if name is None else _nothing(name, "UNKNOWN"))
    else:
        status, code = status_of(error), "GENERAL"
    told = {"errorCode": code, "errorDetails": str(error)}
    return Reply(status, msgspec.json.encode(told if name is None else {"key": name} | told), waiting(error))


def _tag(made_ms: int, subject: str, context: Mapping[str, Any], experiments: list[Experiment]) -> bytes:
    """What changes no choice is not in it: attributes that nobody declares, a number's digits beyond its column."""
    seen = []
    for exp in experiments:
        features = declared(exp, context)
        seen.append((exp.uid, exp.version, exp.encoder.encode(features).x, exp.segments.match(features)))
    text = msgspec.json.encode((made_ms, subject, _mode(context), seen))
    return f'"{made_ms:x}-{hashlib.blake2b(text, digest_size=12).hexdigest()}"'.encode()


def etags(given: bytes) -> list[bytes]:
    """The entity tags of an If-None-Match; weak ones are compared like strong ones, so that mark is left away."""
    text = given.strip()
    return [b"*"] if text == b"*" else _ETAG.findall(text)


def _time_of(tag: bytes) -> int | None:
    """When a tag of ours was made; None for anything else."""
    try:
        return int(tag.strip(b'"').split(b"-", 1)[0], 16) if len(tag) < 64 else None
    except ValueError:
        return None
