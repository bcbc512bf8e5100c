"""A provider of OpenFeature: the stock OFREP provider, and `track`, which OFREP does not have.

    from openfeature import api
    from service.client.openfeature import LeverProvider

    api.set_provider(LeverProvider("http://localhost:8081"))
    client = api.get_client()
    hero = client.get_object_value("homepage-hero", {"headline": "Welcome"}, EvaluationContext("visitor-42"))
    client.track("click", EvaluationContext("visitor-42"))

An event counts for the subject's last decision of every flag whose experiment has a metric of that name; or for one
decision, if its details carry a `decisionId` (it is in the evaluation's flag metadata).
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict
from typing import Any

import requests
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.provider import Metadata
from openfeature.track import TrackingEventDetails

from service.client.outbox import Outbox

SUBJECTS = 10_000
AGAIN = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})


class LeverProvider(OFREPProvider):
    """Evaluates by OFREP within `timeout` seconds; sends events in the background, and what is left at exit."""

    def __init__(self, base_url: str, *, key: str = "", timeout: float = 0.5, subjects: int = SUBJECTS) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        super().__init__(base_url, headers_factory=lambda: headers, timeout=timeout)
        self._headers = headers
        self._events_url = f"{base_url.rstrip('/')}/v1/events"
        self._last: OrderedDict[str, dict[str, str]] = OrderedDict()  # decisions by flag, of the latest subjects
        self._subjects = subjects
        self._lock = threading.Lock()
        self._log = logging.getLogger("lever.client")
        self._outbox: Outbox[dict[str, Any]] = Outbox(self._send)

    def get_metadata(self) -> Metadata:
        """Name of the provider."""
        return Metadata(name="Lever")

    def get_provider_hooks(self) -> list[Hook]:
        """The hook that remembers which decision a subject was shown."""
        return [_Remember(self)]

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Report an event: the name is a metric's. Two calls are two events."""
        details = tracking_event_details or TrackingEventDetails()
        given = details.attributes.get("decisionId")
        subject = evaluation_context.targeting_key if evaluation_context is not None else None
        with self._lock:
            decisions = [str(given)] if given else list(self._last.get(subject or "", {}).values())
        for decision in decisions:
            event: dict[str, Any] = {
                "decision_id": decision,
                "metric": tracking_event_name,
                "event_id": uuid.uuid4().hex,
            }
            if details.value is not None:
                event["value"] = details.value
            self._outbox.put(event)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether all events so far are safe with the server."""
        return self._outbox.flush(timeout_s)

    def shutdown(self) -> None:
        """Flush and end."""
        self._outbox.close()
        self.session.close()

    def remember(self, subject: str, flag: str, decision_id: str) -> None:
        """A subject was shown this."""
        with self._lock:
            flags = self._last.pop(subject, {})
            flags[flag] = decision_id
            self._last[subject] = flags
            while len(self._last) > self._subjects:
                self._last.popitem(last=False)

    def _send(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answer = requests.post(self._events_url, json={"events": events}, headers=self._headers, timeout=5)
        if answer.status_code not in (200, 503):
            answer.raise_for_status()
        results = answer.json().get("results")
        if results is None:  # it is starting, or stopping
            return events
        again = []
        for event, result in zip(events, results, strict=True):
            error = result.get("error", {})
            if error.get("code") in AGAIN:
                again.append(event)
            elif error and error.get("code") != "NOT_FOUND":  # a flag without that metric: not its event
                self._log.warning("an event was refused: %s", error.get("message"))
        return again


class _Remember(Hook):
    def __init__(self, provider: LeverProvider) -> None:
        self._provider = provider

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[Any], hints: HookHints) -> None:
        """An evaluation succeeded."""
        decision = details.flag_metadata.get("decisionId")
        subject = hook_context.evaluation_context.targeting_key
        if subject and isinstance(decision, str):
            self._provider.remember(subject, details.flag_key, decision)
