"""The floor: servers that do nothing, with Lever's own messages. `python -m loadtest.rig.echo KIND RESPONSE_FILE`.

Those of gRPC parse each SelectRequest and serialise one SelectResponse of the size Lever answers with; nothing else happens.
`/lever.loadtest/Count` answers how many calls were served, as text: h2load takes gRPC errors for successes.
"http" is uvicorn with httptools: it takes each request's body and answers with the file's bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from service.pb.lever.v1 import personalization_pb2 as pb

KINDS = ("sync", "aio", "uvloop")
SELECT = "/lever.v1.PersonalizationService/Select"
COUNT = "/lever.loadtest/Count"
THREADS = 4  # as Lever has for choices


class _Handlers(grpc.GenericRpcHandler):
    """Two methods, found by one dict lookup."""

    def __init__(self, select: Callable[..., Any], count: Callable[..., Any]) -> None:
        make: Any = grpc.unary_unary_rpc_method_handler
        self._by_path = {
            SELECT: make(select, pb.SelectRequest.FromString, pb.SelectResponse.SerializeToString),
            COUNT: make(count, None, None),
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call's path."""
        return self._by_path.get(handler_call_details.method)


def serve_sync(response: pb.SelectResponse) -> None:
    """Serve until killed: threads, as Lever does."""
    served = itertools.count()

    def select(request: pb.SelectRequest, context: grpc.ServicerContext) -> pb.SelectResponse:
        next(served)
        return response

    def count(request: bytes, context: grpc.ServicerContext) -> bytes:
        return repr(served)[6:-1].encode()  # "count(7)"

    server = grpc.server(futures.ThreadPoolExecutor(THREADS), handlers=[_Handlers(select, count)])
    _say(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


async def serve_aio(response: pb.SelectResponse) -> None:
    """Serve until killed: coroutines."""
    served = itertools.count()

    async def select(request: pb.SelectRequest, context: object) -> pb.SelectResponse:
        next(served)
        return response

    async def count(request: bytes, context: object) -> bytes:
        return repr(served)[6:-1].encode()  # "count(7)"

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Handlers(select, count),))
    _say(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()


def serve_http(answer: bytes) -> None:
    """Serve until killed: an ASGI application."""
    import uvicorn

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]

    async def application(scope: object, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    listener = socket.create_server(("127.0.0.1", 0))
    _say(listener.getsockname()[1])
    config = uvicorn.Config(
        application, http="httptools", loop="uvloop", lifespan="off", access_log=False, log_config=None
    )
    uvicorn.Server(config).run(sockets=[listener])


def _say(port: int) -> None:
    print(port, flush=True)


def main() -> None:
    """Entry point of a server process; prints its port."""
    kind, path = sys.argv[1:3]
    if kind == "http":
        serve_http(Path(path).read_bytes())
        return
    response = pb.SelectResponse.FromString(Path(path).read_bytes())
    if kind == "sync":
        serve_sync(response)
    elif kind == "uvloop":
        import uvloop

        uvloop.run(serve_aio(response))
    else:
        asyncio.run(serve_aio(response))


if __name__ == "__main__":
    main()
