"""lever_client.Lever, driven by lines of JSON: see tests/rig/clients/driven.py."""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal
from typing import Any

import numpy as np

from lever_client import Lever

ODD: dict[str, Any] = {
    "decimal": Decimal("49.90"), "numpy": np.float32(3), "nan": float("nan"), "bytes": b"1", "object": object(),
    "long": "x" * 129, "half": "\ud800", "flag": np.bool_(True),
}  # fmt: skip


class Driver:
    """One client."""

    def __init__(self, address: str, experiment: str) -> None:
        self.lever = Lever(address)
        self.experiment = experiment

    def choose(self, subject: Any, **_: Any) -> dict[str, Any]:
        made = self.lever.select(self.experiment, subject, default="calm", deferred=True)
        self.lever.expose(made.decision_id)
        return {"decision": made.decision_id, "error": made.error}

    def track(self, decision: str, metric: Any = "click", value: Any = None, odd: str = "") -> dict[str, Any]:
        field, _, name = odd.partition(":")
        given = {"metric": metric, "value": value} | ({field: ODD[name]} if name else {})
        try:
            return {"queued": self.lever.reward(decision, **given)}
        except ValueError as error:
            return {"refused": str(error)}

    def event(self, decision: str, event: str, retract: bool = False) -> dict[str, Any]:
        """A click by its name, or that click taken back."""
        tell = self.lever.retract if retract else self.lever.reward
        return {"queued": tell(decision, "click", event_id=event)}

    def flush(self, seconds: float) -> dict[str, Any]:
        return {"done": self.lever.flush(seconds)}

    def close(self, seconds: float) -> dict[str, Any]:
        return {"done": self.lever.close(seconds)}

    def lost(self) -> dict[str, Any]:
        return {"dropped": self.lever.dropped, "refused": self.lever.refused}

    def fork(self, subjects: list[str]) -> dict[str, Any]:
        """A child chooses and tracks for each, and ends as a worker does; what waits here stays here."""
        child = os.fork()
        if child == 0:
            try:
                for subject in subjects:
                    self.track(self.choose(subject)["decision"])
                os._exit(0 if self.flush(20)["done"] else 1)
            except BaseException:  # noqa: BLE001  # a child must never go on as its parent
                os._exit(2)
        return {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}


def drive(driver: Any) -> None:
    """Answer each line."""
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps(getattr(driver, asked.pop("do"))(**asked)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    drive(Driver(sys.argv[1], sys.argv[2]))
