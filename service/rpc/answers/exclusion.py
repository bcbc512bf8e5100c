"""An exclusion as it goes over the wire, and in words."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict

from service.management.exclusions import Exclusion
from service.pb.lever.v1 import experiment_pb2 as pb

EXCLUDED = "excluded data"
INCLUDED = "included data again"


def exclusion_message(one: Exclusion) -> pb.Exclusion:
    """The message."""
    return pb.Exclusion(**asdict(one))


def in_words(one: Exclusion) -> str:
    """What it is, for the history."""
    first, last = (dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat()[:19] for ms in (one.from_ms, one.to_ms))
    of = f"arms {', '.join(one.arms)}" if one.arms else "all arms"
    return f"number {one.number}: from {first}Z to {last}Z, {of}, {one.trials:,} trials"
