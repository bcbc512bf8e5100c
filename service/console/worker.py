"""The way to a worker: the same calls that anybody makes, with the caller's own key, so that keys and scopes are those of gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from service.errors import ExhaustedError
from service.remote.fault import Fault, fault
from service.security.api_keys import HEADER

if TYPE_CHECKING:
    from google.protobuf.message import Message

DEADLINE_S = 10.0
AT_ONCE = 2  # calls; half of the threads that a worker has for them
WAITING = 64  # calls more, before callers hear that there are too many
MESSAGE_BYTES = 32 << 20


class FaultError(Exception):
    """A worker answered no; `fault` says what."""

    def __init__(self, what: Fault) -> None:
        super().__init__(what.message)
        self.fault = what


class Worker:
    """One connection to whichever worker answers at `address`; made with the first call, as its library is large."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stub: Any = None
        self._opening = asyncio.Lock()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def call(self, method: str, request: Message, header: str, deadline_s: float = DEADLINE_S) -> Message:
        """The answer of ExperimentService's method. FaultError; ExhaustedError where too many calls wait already."""
        import grpc

        stub = await self._open()
        metadata = ((HEADER, header),) if header else ()
        async with self._turn():
            try:
                answer: Message = await getattr(stub, method)(request, timeout=deadline_s, metadata=metadata)
            except grpc.RpcError as error:
                raise FaultError(fault(error)) from None
        return answer

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= AT_ONCE + WAITING:
            raise ExhaustedError("overloaded: too many requests for the console wait", "OVERLOADED")
        self._waiting += 1
        try:
            async with self._room:
                yield
        finally:
            self._waiting -= 1

    async def _open(self) -> Any:
        async with self._opening:
            if self._stub is None:
                await asyncio.to_thread(_load)  # half a second, in which the port answers others
                from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub

                self._stub = ExperimentServiceStub(_channel(self._address))
        return self._stub


def _load() -> None:

    import service.pb.lever.v1.experiment_pb2_grpc  # noqa: F401


def _channel(address: str) -> Any:
    from grpc import aio

    options = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    return aio.insecure_channel(address, options=options)
