"""lever_client.openfeature.LeverProvider, driven by lines of JSON: see tests/rig/clients/driven.py."""

from __future__ import annotations

import sys
from typing import Any

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails

from lever_client.openfeature import LeverProvider
from tests.clients.drivers.python_grpc import ODD, Driver, drive


class Provider(Driver):
    """One provider."""

    def __init__(self, address: str, experiment: str) -> None:
        self.lever: Any = LeverProvider(f"http://{address}")
        self.experiment = experiment
        api.set_provider(self.lever)
        self.client = api.get_client()

    def choose(self, subject: Any, **_: Any) -> dict[str, Any]:
        made = self.client.get_object_details(self.experiment, {}, EvaluationContext(subject))
        return {"decision": made.flag_metadata.get("decisionId", ""), "error": made.error_message or ""}

    def track(self, decision: str, metric: Any = "click", value: Any = None, odd: str = "") -> dict[str, Any]:
        field, _, name = odd.partition(":")
        given = {"metric": metric, "value": value} | ({field: ODD[name]} if name else {})
        details = TrackingEventDetails(given["value"], {"decisionId": decision})
        try:
            self.client.track(given["metric"], None, details)
        except ValueError as error:
            return {"refused": str(error)}
        return {"queued": True}

    def event(self, decision: str, event: str, retract: bool = False) -> dict[str, Any]:
        details: dict[str, Any] = {"decisionId": decision, "eventId": event, "retract": retract}
        self.client.track("click", None, TrackingEventDetails(None, details))
        return {"queued": True}

    def close(self, seconds: float) -> dict[str, Any]:
        return {"done": self.lever._outbox.close(seconds)}


if __name__ == "__main__":
    drive(Provider(sys.argv[1], sys.argv[2]))
