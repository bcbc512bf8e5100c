"""A process that attacks: `python -m loadtest.endurance.hostile.attack NAME TARGET`. Started by the command."""

from __future__ import annotations

import sys

from loadtest.endurance.hostile import calls, frames, pages
from loadtest.endurance.hostile.target import Attack, Target

ATTACKS: dict[str, Attack] = {
    "half-open calls of every method": calls.half_open,
    "half-open Selects": calls.half_open_selects,
    "half of large messages": calls.half_messages,
    "answers that are not read": calls.slow_readers,
    "idle streams": calls.idle_streams,
    "oversize messages": calls.oversize,
    "compressed bombs": calls.compressed_bombs,
    "rapid reset": frames.rapid_reset,
    "CONTINUATION flood": frames.continuation_flood,
    "headers before limits": frames.headers_before_limits,
    "PING and SETTINGS flood": frames.control_frames,
    "idle connections": frames.idle_connections,
    "HTTP header flood": pages.headers,
    "HTTP one large header": pages.one_header,
    "HTTP URL flood": pages.urls,
    "HTTP body flood": pages.bodies,
    "HTTP half bodies": pages.half_bodies,
    "HTTP answers that are not read": pages.slow_readers,
}

BELOW = frozenset(
    ("rapid reset", "CONTINUATION flood", "headers before limits", "PING and SETTINGS flood", "idle connections")
)
"""Those that grpc's core answers by itself, below any code of a server's own."""


if __name__ == "__main__":
    ATTACKS[sys.argv[1]](Target.read(sys.argv[2]))
