"""A Python client over gRPC: a choice within its deadline or the default, rewards in the background.

from service.client.client import Lever

lever = Lever("localhost:50051")
hero = lever.select("homepage-hero", "visitor-42", {"returning": True}, default="classic")
...                                     # show hero.arm, or what is in hero.payload
lever.reward(hero.decision_id)          # returns at once; sent in batches, again where that is needed
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import TracebackType
from typing import Any, Self

import grpc

from service.client.outbox import Outbox
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub

Value = float | str | bool
Event = pb.RewardRequest | pb.ExposeRequest
AGAIN = frozenset({grpc.StatusCode.UNAVAILABLE.value[0], grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]})
SEND_S = 5.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What to show. `decision_id` is empty where Lever did not answer and this is the caller's own default."""

    arm: str
    payload: Any = None
    decision_id: str = ""
    propensity: float = 1.0
    segment: str = ""
    holdout: bool = False


class Lever:
    """A connection to Lever. Safe for any number of threads; one a process is enough."""

    def __init__(
        self,
        address: str = "localhost:50051",
        *,
        key: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = 0.2,
    ) -> None:
        """`timeout_s` is the deadline of a choice, retries included; a `key` is sent with every call."""
        config = files("service.client").joinpath("retry.json").read_text()
        options = (("grpc.service_config", config), ("grpc.keepalive_time_ms", 60_000))
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            self._channel = grpc.secure_channel(address, credentials, options)
        self._stub = PersonalizationServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._timeout_s = timeout_s
        self._log = logging.getLogger("lever.client")
        self._outbox: Outbox[Event] = Outbox(self._send)

    def select(
        self,
        experiment: str,
        subject: str,
        context: Mapping[str, Value] | None = None,
        *,
        default: str,
        payload: Any = None,
        arms: Sequence[str] = (),
        previous: str = "",
        deferred: bool = False,
    ) -> Choice:
        """Choose; never raises for what happens on the way. `default` and `payload` are shown without an answer."""
        features = {name: _feature(value) for name, value in (context or {}).items()}
        request = pb.SelectRequest(
            experiment=experiment,
            subject=subject,
            context=features,
            arms=arms,
            previous_decision_id=previous,
            deferred=deferred,
        )
        try:
            made = self._stub.Select(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            self._log.warning("default arm %s for %s: %s", default, experiment, _why(error))
            return Choice(default, payload)
        return Choice(
            made.arm, json.loads(made.payload_json), made.decision_id, made.propensity, made.segment, made.holdout
        )

    def reward(self, decision_id: str, metric: str = "", value: float | None = None, event_id: str = "") -> None:
        """Report a reward in the background. Two calls are two events, unless they have the same `event_id`."""
        if decision_id:
            event = pb.RewardRequest(decision_id=decision_id, metric=metric, event_id=event_id or uuid.uuid4().hex)
            if value is not None:
                event.value = value
            self._outbox.put(event)

    def expose(self, decision_id: str) -> None:
        """Report in the background that a deferred decision was shown."""
        if decision_id:
            self._outbox.put(pb.ExposeRequest(decision_id=decision_id))

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether everything reported so far is safe with the server."""
        return self._outbox.flush(timeout_s)

    def close(self) -> None:
        """Flush and hang up. Also done when the process ends."""
        self._outbox.close()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, events: list[Event]) -> list[Event]:
        """Send a batch; what may be sent again comes back. Raises RpcError."""
        rewards = [event for event in events if isinstance(event, pb.RewardRequest)]
        again: list[Event] = []
        if rewards:
            request = pb.StreamRewardsRequest(sequence=1, rewards=rewards)
            answers = self._stub.StreamRewards(iter([request]), timeout=SEND_S, metadata=self._metadata)
            for answer in answers:
                for reward, result in zip(rewards, answer.results, strict=True):
                    if result.code in AGAIN:
                        again.append(reward)
                    elif result.code:
                        self._log.warning("a reward was refused: %s", result.message)
        for event in events:
            if isinstance(event, pb.ExposeRequest):
                again += self._shown(event)
        return again

    def _shown(self, event: pb.ExposeRequest) -> list[Event]:
        try:
            self._stub.Expose(event, timeout=SEND_S, metadata=self._metadata)
        except grpc.RpcError as error:
            if error.code().value[0] in AGAIN or error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                return [event]
            self._log.warning("an exposure was refused: %s", _why(error))
        return []


def _feature(value: Value) -> pb.FeatureValue:
    if isinstance(value, bool):
        return pb.FeatureValue(flag=value)
    if isinstance(value, str):
        return pb.FeatureValue(text=value)
    return pb.FeatureValue(number=value)


def _why(error: grpc.RpcError) -> str:
    return f"{error.code().name} {error.details()}"
