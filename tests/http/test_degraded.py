"""What a page is told when not all is well: starting, the store away, threads all busy, a fault of ours."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.http.app import WebApp
from service.http.handlers.backend import Backend
from service.serving.rewarder import Exposure, RewardAnswer, RewardEvent
from service.store.contract import Outcome
from service.store.embedded import Embedded
from service.telemetry.metrics import Metrics
from tests.rig.experiments import HERO
from tests.rig.site import Site
from tests.rig.stage import stage
from tests.rig.standin import Standin
from tests.rig.waiting import eventually

FLAG = b'{"context":{"targetingKey":"ann"}}'


async def call(app: WebApp, path: str, body: bytes, method: str = "POST") -> tuple[int, dict[bytes, bytes], Any]:
    """One request to the application itself."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": [], "query_string": b""}
    await app(scope, receive, send)
    start, rest = sent
    return start["status"], dict(start["headers"]), json.loads(rest["body"]) if rest["body"] else None


def test_while_starting_pages_show_their_own_default() -> None:
    app = WebApp(Backend(), None, Metrics())
    status, _, flag = asyncio.run(call(app, "/ofrep/v1/evaluate/flags/hero", FLAG))
    assert (status, flag) == (200, {"key": "hero", "reason": "UNKNOWN", "variant": "", "metadata": {}})
    assert asyncio.run(call(app, "/ofrep/v1/evaluate/flags", FLAG))[::2] == (200, {"flags": []})
    for path, body in (
        ("/v1/select", b'{"subject":"u","experiments":["hero"]}'),
        ("/v1/events", b'{"events":[{"decision_id":"abcd"}]}'),
    ):
        status, headers, told = asyncio.run(call(app, path, body))
        assert (status, told["error"]["reason"], headers[b"retry-after"]) == (503, "NOT_READY", b"1")
    app.close()


def test_without_the_store_choices_go_on_and_rewards_may_be_sent_again(tmp_path: Path) -> None:
    engine = Embedded(tmp_path)
    with stage(engine.start()) as one:
        service = one.service()
        service.experiments.put(HERO, None)
        one.settle()
        backend = Backend(service.use_cases, service.directory, service.clock, open=True)
        app = WebApp(backend, None, Metrics(), threads=2)
        _, _, before = asyncio.run(call(app, "/ofrep/v1/evaluate/flags/hero", FLAG))
        one.settle()
        engine.stop()
        eventually(lambda: service.directory.stale)
        status, _, flag = asyncio.run(call(app, "/ofrep/v1/evaluate/flags/hero", FLAG))
        assert (status, flag["metadata"]["stale"]) == (200, True)
        assert flag["variant"] in ("calm", "loud")
        assert asyncio.run(call(app, "/ofrep/v1/evaluate/flags", FLAG))[0] == 200
        body = json.dumps(
            {"events": [{"decision_id": before["metadata"]["decisionId"]}, {"decision_id": "no"}]}
        ).encode()
        status, headers, told = asyncio.run(call(app, "/v1/events", body))
        assert (status, headers[b"retry-after"]) == (503, b"1")
        assert [result["error"]["code"] for result in told["results"]] == ["UNAVAILABLE", "INVALID_ARGUMENT"]
        app.close()
        one.services.clear()
        service.stop(0.1)


class Rewards(Standin):
    """Use cases of which only rewards matter."""

    def __init__(self, reward: Callable[[Sequence[RewardEvent | Exposure]], list[RewardAnswer]]) -> None:
        super().__init__()
        self._answers = reward

    def reward(self, events: Sequence[RewardEvent | Exposure]) -> list[RewardAnswer]:
        return self._answers(events)


def test_a_store_that_is_slow_is_told_of() -> None:
    begun, go = threading.Event(), threading.Event()

    def reward(events: Sequence[RewardEvent | Exposure]) -> list[RewardAnswer]:
        begun.set()
        go.wait(20)
        return [Outcome.APPLIED] * len(events)

    app = WebApp(Backend(Rewards(reward), open=True), None, Metrics(), threads=1, waiting=0)
    body = b'{"events":[{"decision_id":"abcd"}]}'

    async def both() -> None:
        first = asyncio.create_task(call(app, "/v1/events", body))
        await asyncio.to_thread(begun.wait, 20)
        second = asyncio.create_task(call(app, "/v1/events", body))
        await asyncio.sleep(0)  # it waits for its turn
        status, headers, told = await call(app, "/v1/events", body)
        assert (status, told["error"]["reason"], headers[b"retry-after"]) == (429, "OVERLOADED", b"1")
        go.set()
        assert [(await one)[0] for one in (first, second)] == [200, 200]
        assert (await call(app, "/v1/events", body))[0] == 200

    asyncio.run(both())
    app.close()


def test_a_fault_of_ours_has_a_number_and_no_story(capfd: pytest.CaptureFixture[str]) -> None:
    def reward(_: Sequence[RewardEvent | Exposure]) -> list[RewardAnswer]:
        raise ZeroDivisionError("a secret of the inside")

    app = WebApp(Backend(Rewards(reward), open=True), None, Metrics(), threads=1)
    status, _, told = asyncio.run(call(app, "/v1/events", b'{"events":[{"decision_id":"abcd"}]}'))
    assert status == 500
    assert told["error"]["message"].startswith("internal error, incident ")
    assert "secret" not in json.dumps(told)
    app.close()


def test_a_web_process_that_is_killed_starts_again(lever: Site) -> None:
    decision = lever.flag("hero", "before").json["metadata"]["decisionId"]
    assert lever.server is not None
    children = lever.server.children
    (pid,) = children("service.server.http_worker")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: children("service.server.http_worker") not in ([], [pid]))
    # The supervisor holds the port: who asks meanwhile waits, and is answered.
    eventually(lambda: lever.flag("hero", "after").json.get("variant") in ("calm", "loud"), 60)
    assert lever.event(decision) == {"outcome": "APPLIED"}
