"""Replay by rejection (Li, Chu, Langford, Wang 2011, "Unbiased Offline Evaluation of ... News Article Recommendation").

Rows logged under a uniformly random choice are offered one by one; a row counts only where the policy chooses the
logged item, and only then does the policy learn. The mean over those rows is unbiased for the learning policy.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bandits.policy import POLICIES as KNOWN
from loadtest.replay.dataset import Dataset
from loadtest.replay.player import TIMEOUT, Tick, arm_id, config, context_of, counted, delete, history_rate, put
from loadtest.rig.server import channel
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as rpc


@dataclass(frozen=True)
class Matched:
    """Rows offered, rows that counted and clicks on these, with a 95 % interval of the click rate."""

    offered: int
    rows: int
    clicks: int

    @property
    def rate(self) -> float | None:
        """Clicks a counted row."""
        return self.clicks / self.rows if self.rows else None

    @property
    def interval(self) -> tuple[float, float]:
        """Of the rate."""
        return wilson(self.clicks, self.rows)


def replay(
    data: Dataset, choose: Callable[[int], int], learn: Callable[[int, bool], None], limit: int | None = None
) -> Matched:
    """Offer the uniformly logged rows in order: `choose(row)` names an item; `learn(row, click)` follows a match."""
    offered = np.flatnonzero(data.uniform)[:limit]
    rows = clicks = 0
    for row in offered.tolist():
        if choose(row) != data.item[row]:
            continue
        click = bool(data.click[row])
        learn(row, click)
        rows += 1
        clicks += click
    return Matched(len(offered), rows, clicks)


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); (0, 1) without any trial."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def match(address: str, data: Dataset, policy: str, prior: str, tick: Tick) -> Matched:
    """Replay the uniformly logged rows through one experiment on the server.

    Choices are deferred: only a matched row is exposed, so only it is learned from.
    """
    name = f"match-{data.name}-{policy}-{uuid.uuid4().hex[:8]}"
    put(address, config(data, name, policy, history_rate(data) if prior == "history" else None))
    arms = {arm_id(k): k for k in range(data.items)}
    last = ""
    with channel(address) as link:
        stub = rpc.PersonalizationServiceStub(link)

        def choose(row: int) -> int:
            nonlocal last
            known = context_of(data, row) if KNOWN[policy].contextual else {}
            request = pb.SelectRequest(experiment=name, subject=f"row-{row}", context=known, deferred=True)
            answer = stub.Select(request, timeout=TIMEOUT)
            last = answer.decision_id
            tick(1)
            return arms[answer.arm]

        def learn(row: int, click: bool) -> None:
            counted(stub.Expose(pb.ExposeRequest(decision_id=last), timeout=TIMEOUT).outcome, f"row {row}")
            if click:
                counted(stub.Reward(pb.RewardRequest(decision_id=last), timeout=TIMEOUT).outcome, f"row {row}")

        try:
            return replay(data, choose, learn)
        finally:
            delete(address, name)


def matched_record(dataset: str, data: Dataset, results: dict[str, Matched], seconds: float) -> dict[str, object]:
    """The JSON line of the replay mode: of the policy with more clicks a row, without any lift."""
    best = max(results, key=lambda p: results[p].rate or 0.0)
    return {
        "dataset": dataset,
        "mode": "replay",
        "decisions": results[best].offered,
        "rewards": results[best].clicks,
        "policy_reward_rate": results[best].rate,
        "uniform_reward_rate": history_rate(data),
        "oracle_reward_rate": None,
        "lift": None,
        "seconds": round(seconds, 3),
        "policy": best,
        "policies": {
            p: {"matched": m.rows, "rewards": m.clicks, "reward_rate": m.rate, "interval": m.interval}
            for p, m in results.items()
        },
    }
