"""What a key with the scope `read` may see: answers of gRPC as JSON, each kept for a moment, so that many who look cost as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import msgspec

from service import __version__
from service.console.health import health
from service.console.kept import Kept
from service.console.overview import Overview
from service.console.worker import Worker
from service.errors import InvalidError
from service.http.messages import decode
from service.remote.plain import plain
from service.security.api_keys import Access
from service.telemetry.exposition import Exposition
from service.text.document import load

FRESH_S = 1.0
PAST_S = 10.0
EVENTS = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the experiment in its path, its query, body, and `authorization` header."""

    name: str
    query: bytes
    body: bytes
    header: str


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """A decision, or an experiment and a context: as ExplainRequest."""

    name: str = ""
    decision_id: str = ""
    context: dict[str, str | float | bool] = {}


_QUESTION = msgspec.json.Decoder(Question)
Shown = Callable[[Any], dict[str, Any]]


class Reads:
    """Raises FaultError, InvalidError, ExhaustedError."""

    def __init__(self, worker: Worker, exposition: Exposition, access: Access | None) -> None:
        self._worker = worker
        self._exposition = exposition
        self._access = access
        self._kept, self._past = Kept(FRESH_S), Kept(PAST_S)
        self._overview = Overview(worker)

    async def session(self, asked: Asked) -> bytes:
        """What the caller may do here, for the page to offer no more than that."""
        key = self._access.find(asked.header) if self._access is not None else None
        scopes = ("read",) if self._access is None else sorted(key.scopes) if key is not None and not key.public else ()
        told = {
            "version": __version__, "keys": self._access is not None, "name": key.name if key is not None else "",
            "scopes": scopes,
        }  # fmt: skip
        return msgspec.json.encode(told)

    async def health(self, asked: Asked) -> bytes:
        """What the server says of itself, the same numbers as /metrics."""
        return await self._kept.get(("health",), lambda: asyncio.to_thread(health, self._exposition))

    async def experiments(self, asked: Asked) -> bytes:
        """All experiments with the gist of their reports; null where a report is not here yet."""
        return await self._kept.get(("experiments",), lambda: self._overview.rows(asked.header))

    async def experiment(self, asked: Asked) -> bytes:
        """GetExperiment, and the configuration read as `tree`."""
        from service.pb.lever.v1 import experiment_pb2 as pb

        return await self._answer("GetExperiment", pb.GetExperimentRequest(name=_named(asked)), asked, _with_tree)

    async def report(self, asked: Asked) -> bytes:
        """GetReport, as `lever report --json` has it but for the buckets of subjects."""
        from service.pb.lever.v1 import experiment_pb2 as pb

        return await self._answer("GetReport", pb.GetReportRequest(name=_named(asked)), asked, _without_buckets)

    async def timeline(self, asked: Asked) -> bytes:
        """GetTimeline of a `segment`, of all of them together if none is given. Kept for longer, as it is more to compute."""
        from service.pb.lever.v1 import experiment_pb2 as pb

        segment = parse_qs(asked.query.decode("latin-1")).get("segment", [""])[0]
        request = pb.GetTimelineRequest(name=_named(asked), segment=segment)
        return await self._answer("GetTimeline", request, asked, plain, self._past)

    async def history(self, asked: Asked) -> bytes:
        """GetHistory; `limit` events, 200 if not given."""
        from service.pb.lever.v1 import experiment_pb2 as pb

        limit = parse_qs(asked.query.decode("latin-1")).get("limit", [str(EVENTS)])[0]
        if not limit.isdecimal() or len(limit) > 6:
            raise InvalidError.field("limit", "must be a whole number")
        request = pb.GetHistoryRequest(name=_named(asked), limit=int(limit))
        return await self._answer("GetHistory", request, asked, plain)

    async def explain(self, asked: Asked) -> bytes:
        """Explain."""
        from service.pb.lever.v1 import experiment_pb2 as pb
        from service.pb.lever.v1 import personalization_pb2 as choices

        given = decode(_QUESTION, asked.body)
        context = {name: _feature(choices, value) for name, value in given.context.items()}
        request = pb.ExplainRequest(name=given.name, decision_id=given.decision_id, context=context)
        return await encoded(await self._worker.call("Explain", request, asked.header))

    async def _answer(self, method: str, request: Any, asked: Asked, shown: Shown, kept: Kept | None = None) -> bytes:
        async def make() -> bytes:
            return await encoded(await self._worker.call(method, request, asked.header), shown)

        return await (kept or self._kept).get((method, request.SerializeToString(deterministic=True).hex()), make)


async def encoded(message: Any, shown: Shown = plain) -> bytes:
    """As JSON; made beside the event loop, as a large report takes a while."""
    return await asyncio.to_thread(lambda: msgspec.json.encode(shown(message)))


def _named(asked: Asked) -> str:
    if not asked.name:
        raise InvalidError.field("name", "must be given")
    return asked.name


def _with_tree(message: Any) -> dict[str, Any]:
    return plain(message) | {"tree": load(message.experiment.config)[0].plain()}


def _without_buckets(message: Any) -> dict[str, Any]:
    for lift in message.lifts:
        lift.ClearField("buckets")
    return plain(message)


def _feature(choices: Any, value: str | float | bool) -> Any:
    if isinstance(value, bool):
        return choices.FeatureValue(flag=value)
    return choices.FeatureValue(text=value) if isinstance(value, str) else choices.FeatureValue(number=value)
