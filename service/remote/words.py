"""What a report says, in words for people."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.pb.lever.v1.experiment_pb2 import Arrival, SegmentReport, Stop

_TELLING = 30  # trials, all of them rewarded, are no chance


def number(value: float) -> str:
    """Four significant digits, never in powers of ten where a person would write it out."""
    if value == 0 or abs(value) < 5e-5:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.4g}"


def moment(ms: int) -> str:
    """A time for people, UTC to the minute."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def lasting(ms: float) -> str:
    """A time for people: 40 s, 12 min, 5 h, 2.1 days."""
    for size, unit in ((86_400_000, "days"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if ms >= 1.5 * size:
            return f"{ms / size:.2g} {unit}" if ms < 10 * size else f"{ms / size:.0f} {unit}"
    return f"{ms:.0f} ms"


def arriving(found: Arrival) -> str:
    """How soon rewards come in, in one sentence."""
    return f"half of the rewards are in after {lasting(found.half_ms)}, 90 % after {lasting(found.most_ms)}"


def stopping(stop: Stop) -> str:
    """Whether there is much left to find out."""
    if math.isnan(stop.loss):
        return f"stop: {stop.leader} leads and is not believed to earn anything"
    left = f"with 95 % no more than {stop.remaining:.1%} is left to win"
    if stop.settled:
        return f"stop: {stop.leader} may be shown for good; expected loss {stop.loss:.2%} of what it earns, {left}"
    return f"go on: showing {stop.leader} for good is expected to lose {stop.loss:.1%} of what it earns, {left}"


def unexposed(segment: SegmentReport) -> bool:
    """Whether trials seem to count only by their rewards: then all arms look alike, or the wrong one best."""
    trials = sum(arm.trials for arm in segment.arms)
    return trials >= _TELLING and trials == sum(arm.rewarded for arm in segment.arms)
