"""The terminal's side of the wire: a connection, and errors as sentences.

Whatever the server answers, a person reads what was wrong, field by field, on stderr; the exit code is 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.remote.fault import Fault, fault

if TYPE_CHECKING:
    import grpc
    from rich.console import Console

    from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
    from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub

TIMEOUT_S = 10.0
MESSAGE_BYTES = 32 << 20

Server = Annotated[str, typer.Option("--server", envvar="LEVER_SERVER", help="Address of the Lever server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead, for programs.")]
LOCAL = "localhost:50051"


@dataclass(frozen=True)
class Client:
    """The two services of one server. Every call is given TIMEOUT_S."""

    experiments: ExperimentServiceStub
    choices: PersonalizationServiceStub


@dataclass(frozen=True)
class Reach:
    """How commands reach a server: with an API key, over TLS, trusting `ca`, with a certificate of their own."""

    key: str = ""
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    cert_key: Path | None = None


# Set by the options before the command, which every command would have to take and hand on otherwise.
REACH: ContextVar[Reach] = ContextVar("reach", default=Reach())  # noqa: B039  # frozen


@contextmanager
def connect(server: str) -> Iterator[Client]:
    """A client for the time of one command; a failed call inside is printed and ends the command with exit code 1.

    Reaches the server as the options before the command say.
    """
    import grpc

    from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
    from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub

    with open_channel(server) as channel:
        try:
            yield Client(ExperimentServiceStub(channel), PersonalizationServiceStub(channel))
        except grpc.RpcError as error:
            complain(fault(error), server)
            raise typer.Exit(1) from None


def open_channel(server: str) -> grpc.Channel:
    """A channel to the server, as the options before the command say."""
    import grpc

    reach = REACH.get()
    options = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        # A shell's http_proxy is for the web; it would swallow calls to localhost.
        ("grpc.enable_http_proxy", 0),
    ]
    if not (reach.tls or reach.ca or reach.cert):
        channel = grpc.insecure_channel(server, options=options)
    else:
        ca, cert_key, cert = (_read(path) for path in (reach.ca, reach.cert_key, reach.cert))
        channel = grpc.secure_channel(server, grpc.ssl_channel_credentials(ca, cert_key, cert), options=options)
    if not reach.key:
        return channel
    from service.cli.bearer import Bearer

    return grpc.intercept_channel(channel, Bearer(reach.key))


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path is not None else None
    except OSError as error:
        typer.echo(f"error: {path}: {error.strerror}", err=True)
        raise typer.Exit(2) from None


def complain(what: Fault, server: str, file: str = "") -> None:
    """Prints a fault on stderr. With `file`, violations that know their line read `file:line: field: message`."""
    for line in sentences(what, server, file):
        typer.echo(line, err=True)


def sentences(what: Fault, server: str, file: str = "") -> list[str]:
    """The lines of a complaint."""
    unanswered = not what.reason and what.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    if unanswered and what.code == "UNAVAILABLE":
        return [
            f"error: no Lever server answers at {server}",
            "Start one with `lever serve`, or name another with --server or LEVER_SERVER.",
            f"({what.message})",
        ]
    if unanswered:
        return [f"error: {server} did not answer within {TIMEOUT_S:g} s"]
    lines = [wrong.of_file(file or "error") for wrong in what.violations]
    if not lines:
        lines = [f"{file}: {what.message}" if file else f"error: {what.message}"]
    lines.append(f"({what.code}, {what.reason})" if what.reason else f"({what.code})")
    if what.retry_s is not None:
        lines.append(f"Try again in {what.retry_s:g} s; nothing is counted twice.")
    return lines


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def console() -> Console:
    """A console on stdout. Into a pipe it is wide, so that no cell is cut."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160)
