"""What an admin key may change: the same calls as `lever apply`, with the same errors by line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from service.console.reads import Asked, encoded
from service.console.worker import Worker
from service.errors import ConflictError
from service.http.messages import decode

LONG_S = 60.0  # an exclusion reads the log


class Apply(msgspec.Struct, forbid_unknown_fields=True):
    """A configuration, and the version that it replaces: 0 to create, null for whatever stands there."""

    config: str
    expected_version: int | None = None


class State(msgspec.Struct, forbid_unknown_fields=True):
    """The state that an experiment shall have, and the version that was looked at."""

    state: Literal["active", "paused"]
    version: int


class Exclude(msgspec.Struct, forbid_unknown_fields=True):
    """Decisions of a time that shall not count, milliseconds since 1970; of some arms, or of all."""

    from_ms: int
    to_ms: int
    arms: list[str] = []


class Include(msgspec.Struct, forbid_unknown_fields=True):
    """The exclusion that is taken back."""

    number: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


_EXCLUDE, _INCLUDE = msgspec.json.Decoder(Exclude), msgspec.json.Decoder(Include)
_APPLY, _STATE = msgspec.json.Decoder(Apply), msgspec.json.Decoder(State)


class Writes:
    """Raises FaultError and InvalidError. Who did it stands in the history by the name of the key."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def apply(self, asked: Asked) -> bytes:
        """PutExperiment."""
        given = decode(_APPLY, asked.body)
        return await self._put(given.config, given.expected_version, asked.header)

    async def state(self, asked: Asked) -> bytes:
        """Pause or resume: the configuration as it stands with another `state`, and nothing else in it touched."""
        from service.pb.lever.v1 import experiment_pb2 as pb
        from service.text.edit import with_value

        given = decode(_STATE, asked.body)
        answer: Any = await self._worker.call("GetExperiment", pb.GetExperimentRequest(name=asked.name), asked.header)
        now = answer.experiment
        if now.version != given.version:
            raise ConflictError(
                f"version {given.version} of {asked.name!r} was looked at, it is now {now.version}: look again"
            )
        return await self._put(with_value(now.config, "state", given.state, "experiment"), now.version, asked.header)

    async def exclude(self, asked: Asked) -> bytes:
        """Exclude: answered once it is in force on every server."""
        from service.pb.lever.v1 import experiment_pb2 as pb

        given = decode(_EXCLUDE, asked.body)
        request = pb.ExcludeRequest(name=asked.name, from_ms=given.from_ms, to_ms=given.to_ms, arms=given.arms)
        return await encoded(await self._worker.call("Exclude", request, asked.header, LONG_S))

    async def include(self, asked: Asked) -> bytes:
        """Include: an exclusion is taken back."""
        from service.pb.lever.v1 import experiment_pb2 as pb

        request = pb.IncludeRequest(name=asked.name, number=decode(_INCLUDE, asked.body).number)
        return await encoded(await self._worker.call("Include", request, asked.header, LONG_S))

    async def _put(self, config: str, expected: int | None, header: str) -> bytes:
        from service.pb.lever.v1 import experiment_pb2 as pb

        request = pb.PutExperimentRequest(config=config, expected_version=expected)
        return await encoded(await self._worker.call("PutExperiment", request, header))
