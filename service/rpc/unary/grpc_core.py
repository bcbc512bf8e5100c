"""What of grpc's core is used beside its public names, and whether it is as tested."""

from __future__ import annotations

from typing import Any

import grpc
import structlog
from grpc import _server as private

from service.process.fast_path import obstacle

core: Any = getattr(private, "cygrpc", None)  # the stubs do not know it

UNTESTED = "1.86"  # the first grpcio that this was not tested with; pyproject.toml says the same
_NAMES = (
    "CompletionQueue", "ReceiveMessageOperation", "ReceiveCloseOnServerOperation", "SendInitialMetadataOperation",
    "SendMessageOperation", "SendStatusFromServerOperation",
)  # fmt: skip
_METHODS = ("register_method", "register_completion_queue", "request_registered_call")


def core_server(server: grpc.Server) -> Any:
    """The core's object of a server; None where there is none."""
    return getattr(getattr(server, "_state", None), "server", None)


def available(server: grpc.Server) -> bool:
    """Whether this grpc is built as a FastUnary needs it. Where it is not, one line of the log says why."""
    why = obstacle("grpcio", UNTESTED, ((core, _NAMES), (core_server(server), _METHODS)))
    if why:
        structlog.get_logger("lever.fast_path").warning(
            "calls are answered by grpc's own threads: Select at about twice the cost, and callers that leave calls"
            " unfinished can fill a pool",
            reason=why,
        )
    return not why
