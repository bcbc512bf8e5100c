"""The list of experiments: reports are made one at a time, for those who look, and for nobody else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from service.console import overview
from service.console.overview import Overview
from service.console.worker import FaultError
from service.pb.lever.v1 import experiment_pb2 as pb
from service.remote.fault import Fault


class Reporter:
    """A worker with so many experiments, that counts what it is asked."""

    def __init__(self, count: int) -> None:
        self.names = [f"e{number}" for number in range(count)]
        self.asked: list[str] = []
        self.now = self.most = 0

    async def call(self, method: str, request: Any, header: str) -> Any:
        if method == "ListExperiments":
            return pb.ListExperimentsResponse(
                experiments=[pb.Experiment(name=n, uid=f"uid {n}", config="x") for n in self.names]
            )
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        self.asked.append(request.name)
        if request.name == "e1":
            raise FaultError(Fault("INTERNAL", "broken"))
        return pb.GetReportResponse(name=request.name, headline=f"about {request.name}")


def looked(count: int, times: int, monkeypatch: pytest.MonkeyPatch, looks_s: float = 0.2) -> tuple[Reporter, list[Any]]:
    monkeypatch.setattr(overview, "LOOKS_S", looks_s)
    reporter = Reporter(count)

    async def run() -> list[Any]:
        shown: Any = Overview(reporter)  # type: ignore[arg-type]
        for _ in range(times):
            bodies = await asyncio.gather(*(shown.rows("") for _ in range(10)))
        if shown._renewing is not None:
            await shown._renewing
        return list(json.loads(bodies[-1])["experiments"])

    return reporter, asyncio.run(run())


def test_many_who_look_cost_one_report_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter, rows = looked(30, 3, monkeypatch)
    assert [row["name"] for row in rows] == reporter.names
    assert rows[0]["gist"]["headline"] == "about e0"
    assert "config" not in rows[0]
    assert sorted(reporter.asked) == sorted(reporter.names)
    assert reporter.most == 1


def test_one_without_a_report_keeps_no_other_from_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    _, rows = looked(3, 1, monkeypatch)
    assert [row["gist"] is None for row in rows] == [False, True, False]


def test_when_nobody_looks_any_more_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    reporter, _ = looked(2, 1, monkeypatch, looks_s=0.05)
    assert len(reporter.asked) == 2
