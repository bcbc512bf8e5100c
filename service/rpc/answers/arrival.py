"""How soon rewards come in, as the answer of GetReport."""

from __future__ import annotations

from bandits.arrival import Arrival
from service.pb.lever.v1 import experiment_pb2 as pb


def arrival_message(found: Arrival | None) -> pb.Arrival | None:
    """The message, where there is anything to say."""
    if found is None:
        return None
    return pb.Arrival(
        rewards=found.rewards, half_ms=found.age(0.5), most_ms=found.age(0.9), age_ms=found.age_ms, share=found.share,
        low=found.low, high=found.high,
    )  # fmt: skip
