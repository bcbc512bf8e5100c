"""Commands that look into the store itself: where it is, and what went wrong as a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from service.store.redis import RedisStore

DataDir = Annotated[Path | None, typer.Option(help="Data directory of a running `lever serve`.")]
RedisUrl = Annotated[str | None, typer.Option(help="The Redis or Valkey in use.")]


@contextmanager
def opened(data_dir: Path | None, redis_url: str | None) -> Iterator[RedisStore]:
    """The store in use; an error inside is printed and ends the command with exit code 1."""
    from service.errors import LeverError
    from service.process.settings import settings
    from service.store.embedded import Embedded
    from service.store.redis import RedisStore

    given: dict[str, Any] = {"data_dir": data_dir, "redis_url": redis_url}
    try:
        resolved = settings({k: v for k, v in given.items() if v is not None}, os.environ)
        # Scripts over a whole log wait for nobody: they may take their time.
        store = RedisStore(resolved.redis_url or Embedded(resolved.data_dir).attach(), timeout=30.0)
        try:
            yield store
        finally:
            store.close()
    except (LeverError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def uid_of(registry: Mapping[str, str], name: str) -> str:
    """The uid of an experiment. NotFoundError."""
    from service.errors import NotFoundError

    if name not in registry:
        raise NotFoundError("experiment", f"experiment {name!r} does not exist in the store")
    return registry[name]
