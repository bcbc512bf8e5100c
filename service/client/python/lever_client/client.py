"""A Python client over gRPC: a choice within its deadline or the default, rewards in the background.

from lever_client import Lever

lever = Lever("localhost:50051")
hero = lever.select("homepage-hero", "visitor-42", {"returning": True}, default="classic")
...                                     # show hero.arm, or what is in hero.payload
lever.reward(hero.decision_id)          # returns at once; sent in batches, again where that can help
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from types import TracebackType
from typing import Any, Self

# Read when grpc is imported. Without it a child of a process that has used grpc now and then cannot connect.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "1")

import grpc

from lever_client.forks import Forked, survive
from lever_client.outbox import AGAIN, LOG, TAKEN, Outbox, Verdict
from lever_client.pb.lever.v1 import personalization_pb2 as pb
from lever_client.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from lever_client.values import (
    NAME_BYTES,
    SUBJECT_BYTES,
    TOKEN_CHARS,
    decision_of,
    features_of,
    name_of,
    number_of,
    text_of,
)

Event = pb.RewardRequest | pb.ExposeRequest
# What may be sent again, as the contract has it; the last two are no answer at all.
PASSING = frozenset({
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
})  # fmt: skip
_PASSING = frozenset(code.value[0] for code in PASSING)
SEND_S = 5.0
# grpc's own are 1 s, then longer and longer, up to two minutes: so long defaults were shown after the server's return.
RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # so long an attempt may take
)  # fmt: skip
_LEFT: list[grpc.Channel] = []  # channels of the process that this one was forked from: never closed here


@dataclass(frozen=True, slots=True)
class Choice:
    """What to show. `decision_id` is empty where this is the caller's own default; `error` then says why."""

    arm: str
    payload: Any = None
    decision_id: str = ""
    propensity: float = 1.0
    segment: str = ""
    holdout: bool = False
    error: str = field(default="", compare=False)


class Lever(Forked):
    """A connection to Lever. Safe for any number of threads; one a process is enough, and a fork has its own."""

    def __init__(
        self,
        address: str = "localhost:50051",
        *,
        key: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = 0.3,
    ) -> None:
        """`timeout_s` is the deadline of a choice, retries included; a `key` is sent with every call."""
        self._address = address
        self._credentials = credentials
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._timeout_s = timeout_s
        self._channel: grpc.Channel | None = None
        self._connecting = threading.Lock()
        self._outbox: Outbox[Event] = Outbox(self._send)
        survive(self)

    def select(
        self,
        experiment: str,
        subject: str,
        context: Mapping[str, Any] | None = None,
        *,
        default: str,
        payload: Any = None,
        arms: Sequence[str] = (),
        previous: str | None = "",
        deferred: bool = False,
        uncounted: bool = False,
    ) -> Choice:
        """Choose; never raises. `default` and `payload` are shown without an answer, and where an argument is wrong.

        `uncounted` is for who did not consent, and for bots: chosen as usual, never a trial.
        """
        try:
            request = pb.SelectRequest(
                experiment=text_of("experiment", experiment),
                subject=name_of("subject", subject, SUBJECT_BYTES),
                context={name: _feature(value) for name, value in features_of(context or {}).items()},
                arms=[text_of("arms", arm) for arm in arms],
                previous_decision_id=text_of("previous", previous or "", TOKEN_CHARS),
                deferred=bool(deferred),
                mode=pb.MODE_UNCOUNTED if uncounted else pb.MODE_NORMAL,
            )
            made = self._stub().Select(request, timeout=self._timeout_s, metadata=self._metadata)
            return Choice(
                made.arm, json.loads(made.payload_json), made.decision_id, made.propensity, made.segment, made.holdout
            )
        except grpc.RpcError as error:
            why = _why(error)
        except (ValueError, TypeError) as error:
            why = str(error)
        LOG.warning("default arm %s for %s: %s", default, experiment, why)
        return Choice(default, payload, error=why)

    def reward(self, decision_id: str, metric: str = "", value: Any = None, event_id: Any = None) -> bool:
        """Report a reward in the background; False where there is nothing to send: the default has no decision.

        Two calls are two events, unless they have the same `event_id`. ValueError names the field that is wrong.
        """
        if not decision_id:
            return False
        event = pb.RewardRequest(
            decision_id=decision_of("decision_id", decision_id),
            metric=text_of("metric", metric or "", NAME_BYTES),
            event_id=uuid.uuid4().hex if event_id is None or event_id == "" else name_of("event_id", event_id),
        )
        if value is not None:
            event.value = number_of("value", value)
        return self._outbox.put(event)

    def retract(self, decision_id: str, metric: str = "", event_id: Any = None) -> bool:
        """Take back a reward, such as a scanner's click, by the `event_id` it was reported with; as `reward`.

        It counts no more, or will not once it comes. Where a metric counts the first reward only, `event_id` may be left out.
        """
        if not decision_id:
            return False
        name = "" if event_id is None or event_id == "" else name_of("event_id", event_id)
        event = pb.RewardRequest(
            decision_id=decision_of("decision_id", decision_id),
            metric=text_of("metric", metric or "", NAME_BYTES),
            event_id=name,
            retract=True,
        )
        return self._outbox.put(event)

    def expose(self, decision_id: str) -> bool:
        """Report in the background that a deferred decision was shown; as `reward`."""
        if not decision_id:
            return False
        return self._outbox.put(pb.ExposeRequest(decision_id=decision_of("decision_id", decision_id)))

    @property
    def dropped(self) -> int:
        """Events that will never count as nobody took them in time: too many waited, or they were left at the end."""
        return self._outbox.dropped

    @property
    def refused(self) -> int:
        """Events that the server refused for good; the log says why."""
        return self._outbox.refused

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether everything reported so far is safe with the server, and nothing was lost since the last flush."""
        return self._outbox.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush and hang up; whether everything was taken. Also done when the process ends."""
        done = self._outbox.close(timeout_s)
        with self._connecting:
            if self._channel is not None:
                self._channel.close()
        return done

    def forked(self) -> None:
        """In the child of a fork: a connection of its own. The parent's is left alone."""
        if self._channel is not None:
            _LEFT.append(self._channel)
        self._channel = None
        self._connecting = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stub(self) -> PersonalizationServiceStub:
        with self._connecting:
            if self._channel is None:
                self._channel = self._connect()
                self._made = PersonalizationServiceStub(self._channel)
            return self._made

    def _connect(self) -> grpc.Channel:
        config = files("lever_client").joinpath("retry.json").read_text()
        options = (("grpc.service_config", config), ("grpc.keepalive_time_ms", 60_000), *RECONNECT)
        if self._credentials is None:
            return grpc.insecure_channel(self._address, options)
        return grpc.secure_channel(self._address, self._credentials, options)

    def _send(self, events: list[Event]) -> list[Verdict]:
        rewards = [event for event in events if isinstance(event, pb.RewardRequest)]
        exposures = [event for event in events if isinstance(event, pb.ExposeRequest)]
        shown = iter(self._shown(exposures) if exposures else ())  # first: a reward makes its decision a trial too
        counted = iter(self._rewarded(rewards) if rewards else ())
        return [next(counted if isinstance(event, pb.RewardRequest) else shown) for event in events]

    def _rewarded(self, rewards: list[pb.RewardRequest]) -> list[Verdict]:
        request = pb.StreamRewardsRequest(sequence=1, rewards=rewards)
        try:
            (answer,) = self._stub().StreamRewards(iter([request]), timeout=SEND_S, metadata=self._metadata)
        except grpc.RpcError as error:
            return _all(rewards, error)
        return [_verdict(result) for result in answer.results]

    def _shown(self, exposures: list[pb.ExposeRequest]) -> list[Verdict]:
        request = pb.ExposeBatchRequest(exposures=exposures)
        try:
            answer = self._stub().ExposeBatch(request, timeout=SEND_S, metadata=self._metadata)
        except grpc.RpcError as error:
            return _all(exposures, error)
        return [_verdict(result) for result in answer.results]


def _verdict(result: pb.RewardResult) -> Verdict:
    if not result.code:
        return TAKEN
    return AGAIN if result.code in _PASSING else result.message or f"code {result.code}"


def _all(events: Sequence[Event], error: grpc.RpcError) -> list[Verdict]:
    verdict = AGAIN if error.code() in PASSING else _why(error)
    return [verdict] * len(events)


def _feature(value: float | str | bool) -> pb.FeatureValue:
    if isinstance(value, bool):
        return pb.FeatureValue(flag=value)
    if isinstance(value, str):
        return pb.FeatureValue(text=value)
    return pb.FeatureValue(number=value)


def _why(error: grpc.RpcError) -> str:
    return f"{error.code().name} {error.details()}"
