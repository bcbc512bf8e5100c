"""All experiments at a glance. Reports are made one at a time while somebody looks, and rest between: however many look,
and however many experiments there are, no more than a fifth of one worker's thread goes into them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from service.console.worker import FaultError, Worker
from service.errors import LeverError
from service.remote.plain import plain

LOOKS_S = 15.0  # who asked so long ago may still look
RENEWED_S = 4.0  # a gist is made anew no sooner
REST = 4.0  # times what a report took, before the next
FIRST_S = 0.8  # the first page waits so long for gists that there were none of
NOT_SHOWN = ("config",)


@dataclass(slots=True)
class _Gist:
    """Of one experiment: `told` is what is shown of its report, None before there is one."""

    uid: str
    told: dict[str, Any] | None = None
    made: float = 0.0


class Overview:
    """Rows for the list."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._gists: dict[str, _Gist] = {}
        self._header = ""  # of whoever asked last
        self._looked = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._complete = asyncio.Event()

    async def rows(self, header: str) -> bytes:
        """Every experiment but for its configuration, each with its `gist`."""
        from service.pb.lever.v1 import experiment_pb2 as pb

        answer: Any = await self._worker.call("ListExperiments", pb.ListExperimentsRequest(), header)
        self._header, self._looked = header, time.monotonic()
        self._follow({one.name: one.uid for one in answer.experiments})
        if not self._complete.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._complete.wait(), FIRST_S)
        rows = []
        for one in answer.experiments:
            gist = self._gists.get(one.name)
            row = {name: value for name, value in plain(one).items() if name not in NOT_SHOWN}
            rows.append(row | {"gist": gist.told if gist is not None and gist.uid == one.uid else None})
        return msgspec.json.encode({"experiments": rows})

    def _follow(self, uids: dict[str, str]) -> None:
        """Forget what is gone, know what is new, and have somebody at work."""
        old = self._gists
        self._gists = {
            name: old[name] if name in old and old[name].uid == uid else _Gist(uid) for name, uid in uids.items()
        }
        if any(gist.made == 0.0 for gist in self._gists.values()):
            self._complete.clear()
        else:
            self._complete.set()
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        while time.monotonic() - self._looked < LOOKS_S:
            name = min(self._gists, key=lambda one: self._gists[one].made, default=None)
            gist = self._gists[name] if name is not None else None
            if gist is None or (gist.made and time.monotonic() - gist.made < RENEWED_S):
                self._complete.set()
                await asyncio.sleep(0.25)
                continue
            first, begun = not gist.made, time.monotonic()
            with contextlib.suppress(FaultError, LeverError):  # an experiment without a report is shown without one
                gist.told = await self._gist(str(name))
            gist.made = time.monotonic()
            if all(one.made for one in self._gists.values()):
                self._complete.set()
            if not first:
                await asyncio.sleep(REST * (gist.made - begun))

    async def _gist(self, name: str) -> dict[str, Any]:
        from service.pb.lever.v1 import experiment_pb2 as pb

        return summed(await self._worker.call("GetReport", pb.GetReportRequest(name=name), self._header))


def summed(report: Any) -> dict[str, Any]:
    """What a line about an experiment needs of its report."""
    return {
        "headline": report.headline,
        "metric": report.metric,
        "stale": report.stale,
        "totals": [plain(total) for total in report.totals if total.metric == report.metric],
        "segments": [
            {
                "segment": segment.segment,
                "too_early": segment.too_early,
                "served": segment.served,
                "stop": plain(segment.stop) if segment.HasField("stop") else None,
                "outage": plain(segment.outage) if segment.HasField("outage") else None,
                "changes": [plain(change) for change in segment.changes],
                "leader": _leader(segment),
            }
            for segment in report.segments
        ],
    }


def _leader(segment: Any) -> dict[str, Any] | None:
    """The arm that is the likeliest to be the best, while that can be said."""
    told = [arm for arm in segment.arms if not math.isnan(arm.probability_best)]
    if not told:
        return None
    best = max(told, key=lambda arm: arm.probability_best)
    return {name: getattr(best, name) for name in ("arm", "probability_best", "mean", "traffic_share", "trials")}
