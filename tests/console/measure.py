"""How the console bears 50 experiments of 20 arms: time to draw, memory over minutes, and what it costs the server.

`python -m tests.console.measure [MINUTES]` prints what docs/numbers/console.json has.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import grpc

from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from tests.rig.clients import node as nodes
from tests.rig.lever import LOCAL
from tests.rig.programs import program
from tests.rig.site import Site, site

EXPERIMENTS, ARMS, VISITORS = 50, 20, 1500
ARM_IDS = [f"arm-{number:02}" for number in range(ARMS)]
CONFIG = """\
experiment: {name}
arms: [{arms}]
default_arm: arm-00
features:
  plan: {{type: category, values: [free, paid]}}
segments:
  - {{id: paid, when: {{plan: paid}}}}
metrics: [{{id: order, window: 1h}}]
holdout: {{share: 0.1}}
"""
NAMES = [f"experiment-{number:02}" for number in range(EXPERIMENTS)]


class Visitors:
    """Who come to the experiments: many at first, some a second while the page is looked at."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub, self._draw, self._number = PersonalizationServiceStub(channel), random.Random(3), 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._come, daemon=True)

    def one(self, name: str) -> None:
        self._number += 1
        context = {"plan": pb.FeatureValue(text=self._draw.choice(["free", "paid"]))}
        request = pb.SelectRequest(experiment=name, subject=f"visitor-{self._number}", context=context)
        choice = self._stub.Select(request, timeout=20)
        if self._draw.random() < 0.05 + 0.01 * int(choice.arm[-2:]):
            self._stub.Reward(pb.RewardRequest(decision_id=choice.decision_id), timeout=20)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _come(self) -> None:
        while not self._end.wait(0.05):
            self.one(self._draw.choice([NAMES[0], *NAMES]))


def cpu_s(pids: list[int]) -> float:
    """Processor time that these processes have taken."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory of a process."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


def measured(lever: Site, folder: Path, minutes: float) -> dict[str, Any]:
    """Fill the experiments, look at them, and say what came of it."""
    assert lever.server is not None
    (port,) = lever.server.children("operator_worker")
    workers = lever.server.workers()
    with grpc.insecure_channel(lever.grpc, options=LOCAL) as channel:
        visitors = Visitors(channel)
        for name in NAMES:
            for _ in range(VISITORS if name == NAMES[0] else VISITORS // 5):
                visitors.one(name)
        time.sleep(2)
        before = {"resident_mb": resident_mb(port)}
        visitors.start()
        taken, begun = (cpu_s(workers), cpu_s([port])), time.monotonic()
        time.sleep(20)
        alone = (cpu_s(workers) - taken[0]) / (time.monotonic() - begun)
        taken, begun = (cpu_s(workers), cpu_s([port])), time.monotonic()
        given = {
            "executable": program("chromium"),
            "base": f"http://{lever.http}",
            "experiment": NAMES[0],
            "minutes": minutes,
        }
        told = nodes.run(folder, "console_load.mjs", given, seconds=minutes * 60 + 300)
        took = time.monotonic() - begun
        told["worker_cores"] = {"alone": round(alone, 4), "looked_at": round((cpu_s(workers) - taken[0]) / took, 4)}
        told["port_cores"] = round((cpu_s([port]) - taken[1]) / took, 4)
        told["port_resident_mb"] = {"before": before["resident_mb"], "after": resident_mb(port)}
        visitors.stop()
    return dict(told)


def main() -> None:
    """Print what was measured."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    arms = ", ".join(f"{{id: {arm}}}" for arm in ARM_IDS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = nodes.workspace(Path(scratch))
        with site(folder, {name: CONFIG.format(name=name, arms=arms) for name in NAMES}) as lever:
            sys.stdout.write(
                json.dumps(
                    {"experiments": EXPERIMENTS, "arms": ARMS, "minutes": minutes} | measured(lever, folder, minutes),
                    indent=1,
                )
                + "\n"
            )


if __name__ == "__main__":
    main()
