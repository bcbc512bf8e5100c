"""What goes on beside the calls that are measured: rewards streaming in, and batches. A process of its own.

`python -m loadtest.background ADDRESS` reads lines `EXPERIMENT REWARDS_PER_SECOND BATCHES_PER_SECOND` from stdin, each
of which replaces the one before, and answers `ok` when it is in force; `- 0 0` rests, the end of stdin ends it.
"""

from __future__ import annotations

import contextlib
import queue
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from loadtest.rig.pinned import batch
from loadtest.rig.server import channel
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1 import personalization_pb2_grpc as pb_grpc

TICK_S = 0.05


class Background:
    """The driving side's handle."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @contextlib.contextmanager
    def flowing(self, experiment: str, rewards: float, batches: float) -> Iterator[None]:
        """Rewards and batches a second for as long as the block."""
        self._say(f"{experiment} {rewards} {batches}")
        try:
            yield
        finally:
            self._say("- 0 0")

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "ok\n":
            message = "the background process ended"
            raise RuntimeError(message)


@contextlib.contextmanager
def background(address: str) -> Iterator[Background]:
    """A background process on the caller's core."""
    command = [sys.executable, "-m", "loadtest.rig.background", address]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Background(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)


class _Flow:
    """One setting in force."""

    def __init__(self, stub: Any, experiment: str, rewards: float, batches: float) -> None:
        self._stub, self._rewards, self._batches = stub, rewards, batches
        first = stub.SelectBatch(batch(experiment, time.time_ns() % 2**31), timeout=60)
        self._tokens: list[bytes] = list(first.decision_ids)
        self._request = batch(experiment, 7)
        self._pages: queue.SimpleQueue[pb.StreamRewardsRequest | None] = queue.SimpleQueue()
        self._answers = stub.StreamRewards(iter(self._pages.get, None))
        self._begun = time.monotonic()
        self._sent = self._called = 0
        self._flying: Any = None

    def tick(self) -> None:
        """Send what is due."""
        passed = time.monotonic() - self._begun
        due = min(int(passed * self._rewards) - self._sent, len(self._tokens), 1000)
        if due > 0:
            self._sent += due
            page = pb.StreamRewardsRequest(rewards=[pb.RewardRequest(decision=self._tokens.pop()) for _ in range(due)])
            self._pages.put(page)
            next(self._answers)
        if self._flying is not None and self._flying.done():
            self._tokens = list(self._flying.result().decision_ids)
            self._flying = None
        if self._flying is None and passed * self._batches > self._called:
            self._called += 1
            self._flying = self._stub.SelectBatch.future(self._request, timeout=60)

    def end(self) -> None:
        """Close the stream."""
        self._pages.put(None)
        for _ in self._answers:
            pass


def main() -> None:
    """Entry point of the process."""
    flow: _Flow | None = None
    with channel(sys.argv[1]) as link:
        stub = pb_grpc.PersonalizationServiceStub(link)
        while True:
            readable, _, _ = select.select([sys.stdin], [], [], TICK_S)
            if readable:
                line = sys.stdin.readline()
                if flow is not None:
                    flow.end()
                    flow = None
                if not line:
                    return
                experiment, rewards, batches = line.split()
                if experiment != "-":
                    flow = _Flow(stub, experiment, float(rewards), float(batches))
                print("ok", flush=True)
            elif flow is not None:
                flow.tick()


if __name__ == "__main__":
    main()
