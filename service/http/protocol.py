"""Which protocol uvicorn speaks for a port: one with bounds, for the web port a shorter way too; both only where uvicorn is
as it was tested, else its own.
"""

from __future__ import annotations

import asyncio

import structlog

from service.process.fast_path import obstacle

# The first versions that fast_protocol.py was not tested with; pyproject.toml says the same.
UNTESTED = {"uvicorn": "0.55", "httptools": "0.10"}
_CLASS = (
    "connection_made", "data_received", "pause_writing", "resume_writing", "send_400_response", "on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete",
    "on_response_complete", "eof_received", "shutdown",
)  # fmt: skip
_PARSER = ("get_http_version", "get_method", "should_keep_alive", "should_upgrade")


def protocol(*, fast: bool = True) -> type[asyncio.Protocol] | str:
    """What to give uvicorn as `http`. Where it is uvicorn's own, one line of the log says why."""
    why = _obstacle()
    if why:
        structlog.get_logger("lever.fast_path").warning(
            "HTTP requests go uvicorn's own way, which costs more and bounds nothing", reason=why
        )
        return "auto"
    if fast:
        from service.http.fast_protocol import FastProtocol

        return FastProtocol
    from service.http.bounded import Bounded  # without the choices, and so without the kernels

    return Bounded


def _obstacle() -> str:
    try:
        import httptools
        from uvicorn.protocols.http import httptools_impl
    except ImportError as error:
        return str(error)
    own = getattr(httptools_impl, "HttpToolsProtocol", None)
    return obstacle(
        "uvicorn", UNTESTED["uvicorn"], ((httptools_impl, ("STATUS_LINE", "HttpToolsProtocol")), (own, _CLASS))
    ) or obstacle("httptools", UNTESTED["httptools"], ((getattr(httptools, "HttpRequestParser", None), _PARSER),))
