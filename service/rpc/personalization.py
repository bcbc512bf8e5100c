"""lever.v1.PersonalizationService: from messages to the use cases and back. Raises LeverErrors, never a status.

What is checked here is what belongs to the wire: presence, sizes, kinds. Everything that needs the experiment is
checked by the personalizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import grpc

from service.errors import InvalidError, LeverError
from service.experiment.features.column import Value
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as pb_grpc
from service.rpc import batch
from service.rpc.guard import Guard, Single
from service.rpc.status import code_of, duration, number_of, violations_of
from service.serving.batch import SUBJECTS
from service.serving.frozen import BYTES as FROZEN_BYTES
from service.serving.group_commit import Answers
from service.serving.journey import Journey
from service.serving.personalizer import Mode
from service.serving.rewarder import Exposure, RewardAnswer, RewardEvent
from service.serving.subject import check_subject, check_subjects
from service.serving.token import from_text
from service.serving.use_cases import UseCases
from service.store.contract import Outcome

EVENTS = 1_000  # rewards or exposures in one message
TOUCHES = 64  # decisions of a journey
EVENT_BYTES = 128
NAME_BYTES = 128  # experiments, arms, metrics, features
TEXT_BYTES = 1_024  # a category's value
TOKEN_CHARS = 1_024
FEATURES = 256
ARMS = 1_000

Request = TypeVar("Request")
Read = TypeVar("Read")

# Unset means normal.
MODES: Mapping[int, Mode] = {0: Mode.NORMAL, 1: Mode.NORMAL, 2: Mode.PREVIEW, 3: Mode.UNCOUNTED}


class PersonalizationServicer(pb_grpc.PersonalizationServiceServicer):
    """Choose, show, reward."""

    def __init__(self, use_cases: UseCases, guard: Guard) -> None:
        self._select = use_cases.select
        self._select_batch = use_cases.select_batch
        self._reward = use_cases.reward
        self._expose = use_cases.expose
        self._journey = use_cases.journey
        self._incident = guard.incident

    def Select(self, request: pb.SelectRequest, context: grpc.ServicerContext) -> pb.SelectResponse:
        """One choice. The hot path: one pass over the context, no copies."""
        features: dict[str, Value] = {}
        values = request.context
        if len(values) > FEATURES:
            raise InvalidError.field("context", f"has more than {FEATURES} features")
        for name in values:
            value = values[name]
            text = value.text
            if text:  # so it is the text that is set: most values never ask which
                if len(text) * 4 > TEXT_BYTES:
                    _size(f"context.{name}", text, TEXT_BYTES)
                features[name] = text
                continue
            kind = value.WhichOneof("value")
            if kind == "flag":
                features[name] = value.flag
            elif kind == "number":
                features[name] = value.number
            elif kind == "text":
                features[name] = ""
            else:
                raise InvalidError.field(f"context.{name}", "has no value")
        experiment, subject, previous = request.experiment, request.subject, request.previous_decision_id
        _name("experiment", experiment)
        check_subject("subject", subject)
        if len(previous) > TOKEN_CHARS:
            raise InvalidError.field("previous_decision_id", f"is longer than {TOKEN_CHARS} characters")
        decision = self._select(
            experiment, subject, features, _arms(request.arms), previous, request.deferred, _mode(request.mode)
        )
        return pb.SelectResponse(
            decision_id=decision.decision_id, arm=decision.arm, payload_json=decision.payload_json, propensity=decision.propensity,
            segment=decision.segment, holdout=decision.holdout, stale=decision.stale, experiment_version=decision.version,
            reason=decision.reason,  # type: ignore[arg-type]  # the numbers are those of the wire
        )  # fmt: skip

    def SelectBatch(self, request: pb.SelectBatchRequest, context: grpc.ServicerContext) -> pb.SelectBatchResponse:
        """Many choices, columns in and columns out."""
        _name("experiment", request.experiment)
        mode = _mode(request.mode)
        if mode == Mode.PREVIEW:
            raise InvalidError.field("mode", "a batch has no previews")
        subjects = list(request.subjects)
        if not 1 <= len(subjects) <= SUBJECTS:
            raise InvalidError.field("subjects", f"must be 1 to {SUBJECTS:,}, not {len(subjects):,}")
        check_subjects("subjects", subjects)
        if len(request.context) > FEATURES:
            raise InvalidError.field("context", f"has more than {FEATURES} features")
        decisions = self._select_batch(
            request.experiment, subjects, batch.columns(request.context, len(subjects)), _arms(request.arms),
            request.deferred, mode, _frozen(request),
        )  # fmt: skip
        return batch.answer(decisions)

    def Expose(self, request: pb.ExposeRequest, context: grpc.ServicerContext) -> pb.ExposeResponse:
        """A deferred decision was shown."""
        return self._alone("Expose", request)  # type: ignore[no-any-return]

    def ExposeBatch(self, request: pb.ExposeBatchRequest, context: grpc.ServicerContext) -> pb.ExposeBatchResponse:
        """Many exposures; what is wrong with one does not hinder the others."""
        if len(request.exposures) > EVENTS:
            raise InvalidError.field("exposures", f"has more than {EVENTS:,} elements")
        answers = _each(request.exposures, _token, self._expose)
        response = pb.ExposeBatchResponse(results=[_result(answer, "exposures", i) for i, answer in enumerate(answers)])
        _set_delay(response, answers)
        return response

    def Reward(self, request: pb.RewardRequest, context: grpc.ServicerContext) -> pb.RewardResponse:
        """One reward, acknowledged once it is durable."""
        return self._alone("Reward", request)  # type: ignore[no-any-return]

    def _alone(self, method: str, request: Any) -> Any:
        """Without a group."""
        single = SINGLES[method]
        return single.respond(self._reward([single.read(request)]))

    def RewardJourney(
        self, request: pb.RewardJourneyRequest, context: grpc.ServicerContext
    ) -> pb.RewardJourneyResponse:
        """A conversion that several decisions led to; its shares are acknowledged once they are durable."""
        tokens = request.decision_ids
        if not 1 <= len(tokens) <= TOUCHES:
            raise InvalidError.field("decision_ids", f"must be 1 to {TOUCHES}, not {len(tokens):,}")
        _size("metric", request.metric, NAME_BYTES)
        _size("event_id", request.event_id, EVENT_BYTES)
        if not request.event_id:
            raise InvalidError.field("event_id", "must be given: it tells a retry from a second conversion")
        value = request.value if request.HasField("value") else None
        decisions = [_opaque(f"decision_ids[{i}]", text) for i, text in enumerate(tokens)]
        credited = self._journey(Journey(decisions, value, request.event_id, request.metric))
        answers = [one.answer for one in credited]
        response = pb.RewardJourneyResponse(
            values=[one.value for one in credited],
            results=[_result(answer, "decision_ids", i) for i, answer in enumerate(answers)],
        )
        _set_delay(response, answers)
        return response

    def StreamRewards(
        self, requests: Iterable[pb.StreamRewardsRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.StreamRewardsResponse]:
        """Many rewards a message; what is wrong with one reward never ends the stream."""
        for message in requests:
            if len(message.rewards) > EVENTS:
                raise InvalidError.field("rewards", f"has more than {EVENTS:,} elements")
            yield self._answer(message)

    def _answer(self, message: pb.StreamRewardsRequest) -> pb.StreamRewardsResponse:
        answers = _each(message.rewards, _event, self._counted)
        response = pb.StreamRewardsResponse(sequence=message.sequence)
        response.results.extend(_result(answer, "rewards", i) for i, answer in enumerate(answers))
        _set_delay(response, answers)
        return response

    def _counted(self, events: Sequence[RewardEvent]) -> Sequence[RewardAnswer]:
        if not events:
            return []
        try:
            return self._reward(events)
        except LeverError as error:
            return [error] * len(events)
        except Exception as error:  # noqa: BLE001  # a fault of ours in one message does not end the stream
            return [self._incident(error)] * len(events)


def _frozen(request: pb.SelectBatchRequest) -> bytes | None:
    """What a batch is chosen from: given, or b"" to be given back, or None."""
    if len(request.frozen) > FROZEN_BYTES:
        raise InvalidError.field("frozen", "is longer than any frozen snapshot")
    return request.frozen or (b"" if request.freeze else None)


def _mode(number: int) -> Mode:
    mode = MODES.get(number)
    if mode is None:
        raise InvalidError.field("mode", f"{number} is no mode")
    return mode


def _name(field: str, name: str) -> None:
    if not name:
        raise InvalidError.field(field, "must be given")
    if len(name) * 4 > NAME_BYTES:
        _size(field, name, NAME_BYTES)


def _size(field: str, text: str, most: int) -> None:
    """The exact check; a character is at most four bytes, so most texts never come here."""
    if len(text.encode()) > most:
        raise InvalidError.field(field, f"is longer than {most} bytes")


def _arms(arms: Sequence[str]) -> Sequence[str]:
    if not arms:
        return ()
    if len(arms) > ARMS:
        raise InvalidError.field("arms", f"has more than {ARMS:,} elements")
    return list(arms)


def _token(request: pb.ExposeRequest | pb.RewardRequest) -> bytes:
    """The decision's token, however it was given."""
    text, raw = request.decision_id, request.decision
    if text and raw:
        raise InvalidError.field("decision", "give decision_id or decision, not both")
    if not text and not raw:
        raise InvalidError.field("decision_id", "must be given")
    if len(text) > TOKEN_CHARS or len(raw) > TOKEN_CHARS:
        raise InvalidError.field("decision_id" if text else "decision", "is longer than any decision id")
    return from_text(text) if text else raw


def _opaque(field: str, text: str) -> bytes:
    if not text or len(text) > TOKEN_CHARS:
        raise InvalidError.field(field, "is longer than any decision id" if text else "must be given")
    try:
        return from_text(text)
    except InvalidError as error:
        raise InvalidError.field(field, error.violations[0].message) from error


def _event(request: pb.RewardRequest) -> RewardEvent:
    _size("metric", request.metric, NAME_BYTES)
    _size("event_id", request.event_id, EVENT_BYTES)
    value = request.value if request.HasField("value") else None
    after = request.after_ms if request.HasField("after_ms") else None
    return RewardEvent(_token(request), request.metric, value, request.event_id, False, request.retract, after)


def _exposure(request: pb.ExposeRequest) -> Exposure:
    return Exposure(_token(request))


def _only(answers: Answers) -> int:
    """The number of the one outcome. Raises what it has in its place."""
    if isinstance(answers, Exception):
        raise answers
    (answer,) = answers
    if isinstance(answer, LeverError):
        raise answer
    return int(answer)


# Methods of one event, which may be counted in a group with others.
SINGLES: Mapping[str, Single] = {
    "Reward": Single(_event, lambda answers: pb.RewardResponse(outcome=_only(answers))),  # type: ignore[arg-type]
    "Expose": Single(_exposure, lambda answers: pb.ExposeResponse(outcome=_only(answers))),  # type: ignore[arg-type]
}


def _each(
    requests: Sequence[Request],
    read: Callable[[Request], Read],
    count: Callable[[Sequence[Read]], Sequence[RewardAnswer]],
) -> list[RewardAnswer]:
    """An answer for each: what `read` finds wrong, or what became of it when all the others were counted together."""
    answers: list[RewardAnswer] = [Outcome.IGNORED] * len(requests)
    events: list[Read] = []
    places: list[int] = []
    for index, request in enumerate(requests):
        try:
            events.append(read(request))
            places.append(index)
        except LeverError as error:
            answers[index] = error
    for index, answer in zip(places, count(events), strict=True):
        answers[index] = answer
    return answers


def _result(answer: RewardAnswer, field: str, index: int) -> pb.RewardResult:
    if isinstance(answer, LeverError):
        return pb.RewardResult(code=number_of(code_of(answer)), message=_indexed(answer, field, index))
    return pb.RewardResult(outcome=int(answer))  # type: ignore[arg-type]  # the numbers are those of the wire


def _set_delay(
    response: pb.StreamRewardsResponse | pb.ExposeBatchResponse | pb.RewardJourneyResponse,
    answers: Sequence[RewardAnswer],
) -> None:
    """How long to wait before what was refused for now is sent again: as long as the most patient of them says."""
    delays = [answer.retry_s for answer in answers if isinstance(answer, LeverError) and answer.retry_s is not None]
    if delays:
        response.retry_delay.CopyFrom(duration(max(delays)))


def _indexed(error: LeverError, field: str, index: int) -> str:
    """The error's text, its fields named from the message's root: `rewards[3].value`."""
    wrong = violations_of(error)
    if not wrong:
        return str(error)
    return "; ".join(f"{field}[{index}].{violation.field}: {violation.message}" for violation in wrong)
