"""The tools behind the Model Context Protocol: over stdin and stdout, or over HTTP to this machine alone."""

from __future__ import annotations

import socket
from collections.abc import Callable

import anyio
import grpc
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations

from service import __version__
from service.assistant.tools import Reads, Writes

HOST, PATH = "127.0.0.1", "/mcp"
INSTRUCTIONS = """\
Lever is a contextual bandit: it chooses which arm (variant) each visitor is shown and learns from the rewards. Begin with \
list_experiments, then report. A report's `headline` is the answer to "what is it worth"; the interval of a lift holds \
at any time, and where it includes 0 no difference is shown yet. Where something is too early to say, say so."""


def server(channel: grpc.Channel, *, changes: bool) -> MCPServer:
    """All tools that look; with `changes` those that change as well."""
    made = MCPServer("lever", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    reads = Reads(channel)
    looks = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    for tool in (
        reads.list_experiments, reads.show_experiment, reads.report, reads.explain, reads.history, reads.evaluate,
        reads.plan,
    ):  # fmt: skip
        made.add_tool(tool, annotations=looks)
    if changes:
        writes = Writes(channel)
        for change in (writes.apply, writes.pause, writes.resume):
            made.add_tool(
                change, annotations=ToolAnnotations(read_only_hint=False, idempotent_hint=True, open_world_hint=False)
            )
    return made


def over_stdio(made: MCPServer) -> None:
    """Serve until stdin ends."""
    made.run("stdio")


def over_http(made: MCPServer, port: int, ready: Callable[[str], None]) -> None:
    """Serve on a port of the loopback, 0 for any that is free, until a signal; `ready` is told the address. OSError.

    Requests that name another host, or come from a page of another origin, are refused: a website that is open in a browser
    on this machine cannot call the tools.
    """
    import uvicorn

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        bound = listener.getsockname()[1]
        names = [f"{HOST}:{bound}", f"localhost:{bound}"]
        own = TransportSecuritySettings(allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names])
        app = made.streamable_http_app(streamable_http_path=PATH, transport_security=own, host=HOST)
        config = uvicorn.Config(app, log_level="warning", lifespan="on")
        listener.listen()
        ready(f"http://{HOST}:{bound}{PATH}")
        anyio.run(uvicorn.Server(config).serve, [listener])
