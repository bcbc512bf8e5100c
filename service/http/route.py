"""A path of the web port: its handler, and what it asks of requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.errors import LeverError
from service.http.handlers.events import Batch
from service.http.messages import Reply, Request, refused
from service.process.pool import Pool

BODY_BYTES = 64 << 10

Handler = Callable[[Request], Reply]
Fail = Callable[[LeverError], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """A path's handler and what it asks of requests. `fail` renders errors.

    `pool` runs what does not answer at once; but for what `few` gives, whose events are counted together with others'.
    """

    name: str
    method: str
    handle: Handler
    scope: str = ""
    limit: int = BODY_BYTES
    pool: Pool | None = None
    few: Callable[[Request], Batch | None] | None = None
    fail: Fail = refused
