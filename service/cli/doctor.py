"""`lever doctor`: what is wrong with an installation, in words, and what to do. Exit code 1 where there is a problem."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.connection import REACH, AsJson, console, open_channel, print_json
from service.cli.store.store_access import DataDir, RedisUrl
from service.remote.fault import fault

if TYPE_CHECKING:
    from service.doctor.findings import Finding
    from service.process.settings import Settings

TIMEOUT_S = 5.0
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what listens everywhere is reached here
COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "skipped": "dim"}


def doctor(
    server: Annotated[
        str | None, typer.Option("--server", envvar="LEVER_SERVER", help="Address of the Lever server.")
    ] = None,
    http: Annotated[str | None, typer.Option("--http", help="Its side port, such as http://127.0.0.1:8080.")] = None,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    keys_file: Annotated[Path | None, typer.Option(help="The file of API keys in use.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="The certificate in use.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check an installation: what is wrong, and what to do about it. Run it where the server runs, with its LEVER_* variables.

    Exit code 1 where there is a problem; a warning is none.
    """
    from service.errors import InvalidError
    from service.process.settings import settings

    given: dict[str, Any] = {
        "data_dir": data_dir, "redis_url": redis_url, "keys_file": keys_file, "tls_cert": tls_cert, "tls_key": tls_key,
    }  # fmt: skip
    try:
        resolved = settings({name: value for name, value in given.items() if value is not None}, os.environ)
    except InvalidError as error:
        found = _wrong_settings(error)
    else:
        found = _examined(resolved, server, http)
    if as_json:
        import dataclasses

        print_json([dataclasses.asdict(one) for one in found])
    else:
        _print(found)
    raise typer.Exit(1 if any(one.result == "problem" for one in found) else 0)


def _wrong_settings(error: Any) -> list[Finding]:
    from service.doctor.findings import PROBLEM, Finding

    said = "; ".join(str(violation) for violation in error.violations)
    return [Finding("settings", PROBLEM, said, "no server starts like this; put it right, and ask again")]


def _examined(settings: Settings, server: str | None, http: str | None) -> list[Finding]:
    from service.doctor import machine, store
    from service.doctor import server as serving
    from service.doctor.findings import OK, Finding, Seen, examine

    server = server or _address(settings.grpc_host, settings.grpc_port)
    http = (http or f"http://{_address(settings.http_host, settings.http_port)}").rstrip("/")
    http = http if "://" in http else f"http://{http}"
    health, vitals = _health(server), store.look(settings)
    now = time.time()
    metrics, clock, readyz = serving.pages(http, REACH.get().key)
    seen = Seen(settings, server, http, health, metrics, clock, readyz, vitals, now)
    checks = (*serving.CHECKS, *store.CHECKS, *machine.CHECKS)
    return [Finding("settings", OK, "valid"), *examine(seen, checks)]


def _address(host: str, port: int) -> str:
    host = ANY.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _health(server: str) -> Mapping[str, bool] | str:
    """Whether the server and its store are well, as it says; a text where it says nothing."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with open_channel(server) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return fault(error).message
        return {"": answer.status == health_pb2.HealthCheckResponse.SERVING}


def _print(found: list[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("what is so")
    table.add_column("what to do")
    for one in found:
        result = f"[{COLOURS[one.result]}]{one.result}[/]"
        table.add_row(escape(one.check), result, escape(one.said), escape(one.todo))
    console().print(table)
    counts = {word: sum(one.result == word for one in found) for word in COLOURS}
    typer.echo(", ".join(f"{count} {word}" for word, count in counts.items() if count))
