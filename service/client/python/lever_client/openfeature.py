"""A provider of OpenFeature: the stock OFREP provider, and `track`, which OFREP does not have.

    from openfeature import api
    from lever_client.openfeature import LeverProvider

    api.set_provider(LeverProvider("http://localhost:8081"))
    client = api.get_client()
    hero = client.get_object_value("homepage-hero", {"headline": "Welcome"}, EvaluationContext("visitor-42"))
    client.track("click", EvaluationContext("visitor-42"))

An event counts for the subject's last decision of every flag whose experiment has a metric of that name; or for one
decision, if its details carry a `decisionId` (it is in the evaluation's flag metadata). Another process knows nothing
of a subject's decisions: hand them over in a cookie, by `decisions` and `restore`.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import requests
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.provider import Metadata
from openfeature.track import TrackingEventDetails

from lever_client.forks import Forked, survive
from lever_client.outbox import AGAIN, LOG, TAKEN, Outbox, Verdict
from lever_client.values import decision_of, name_of, number_of, text_of

SUBJECTS = 10_000
PASSING = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
SEND_S = 5.0
NO_ANSWER = (
    requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError,  # cut in its middle
)  # fmt: skip


class LeverProvider(OFREPProvider, Forked):
    """Evaluates by OFREP within `timeout` seconds; sends events in the background, and what is left at exit."""

    def __init__(self, base_url: str, *, key: str = "", timeout: float = 0.3, subjects: int = SUBJECTS) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        super().__init__(base_url, headers_factory=lambda: headers, timeout=timeout)
        self._headers = headers
        self._events_url = f"{base_url.rstrip('/')}/v1/events"
        self._last: OrderedDict[str, dict[str, str]] = OrderedDict()  # decisions by flag, of the latest subjects
        self._subjects = subjects
        self._lock = threading.Lock()
        self._outbox: Outbox[dict[str, Any]] = Outbox(self._send)
        self._strange: set[str] = set()  # events that had no decision, and said so
        self.unmatched = 0  # events that were sent for nothing, as the subject has no known decision
        survive(self)

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
        """Report an event: the name is a metric's. ValueError names the field that is wrong.

        Two calls are two events, unless they have the same `eventId` in the details; with `retract`, it is taken back.
        """
        details = tracking_event_details or TrackingEventDetails()
        given, named = details.attributes.get("decisionId"), details.attributes.get("eventId")
        back = details.attributes.get("retract") is True
        name = "" if named is None or named == "" else name_of("eventId", named)
        metric = text_of("tracking_event_name", tracking_event_name)
        value = None if details.value is None else number_of("value", details.value)
        subject = evaluation_context.targeting_key if evaluation_context is not None else None
        decisions = [decision_of("decisionId", given)] if given else list(self.decisions(subject).values())
        if not decisions:
            self._unknown(metric)
        for decision in decisions:
            event_id = name or ("" if back else uuid.uuid4().hex)
            event: dict[str, Any] = {"decision_id": decision, "metric": metric, "event_id": event_id}
            if back:
                event["retract"] = True
            if value is not None:
                event["value"] = value
            self._outbox.put(event)

    def decisions(self, subject: str | None) -> dict[str, str]:
        """Decision ids by flag that the subject was shown here: for a cookie, so that another process may track."""
        with self._lock:
            return dict(self._last.get(subject or "", {}))

    def restore(self, subject: str, decisions: Mapping[str, str]) -> None:
        """What `decisions` handed out elsewhere; what is newer here stays."""
        for flag, decision in decisions.items():
            if flag not in self.decisions(subject):
                self.remember(subject, text_of("flag", flag), decision_of(flag, decision))

    @property
    def dropped(self) -> int:
        """Events that will never count as nobody took them in time: too many waited, or they were left at the end."""
        return self._outbox.dropped

    @property
    def refused(self) -> int:
        """Events that the server refused for good; the log says why."""
        return self._outbox.refused

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether all events so far are safe with the server, and none was lost since the last flush."""
        return self._outbox.flush(timeout_s)

    def shutdown(self) -> None:
        """Flush and end."""
        self._outbox.close()
        self.session.close()

    def forked(self) -> None:
        """In the child of a fork: connections of its own."""
        self.session = requests.Session()
        self._lock = threading.Lock()

    def remember(self, subject: str, flag: str, decision_id: str) -> None:
        """A subject was shown this."""
        with self._lock:
            flags = self._last.pop(subject, {})
            flags[flag] = decision_id
            self._last[subject] = flags
            while len(self._last) > self._subjects:
                self._last.popitem(last=False)

    def _unknown(self, metric: str) -> None:
        self.unmatched += 1
        if metric not in self._strange and len(self._strange) < self._subjects:
            self._strange.add(metric)
            LOG.warning("track(%r): no decision of this subject is known here, so nothing is sent", metric)

    def _send(self, events: list[dict[str, Any]]) -> list[Verdict]:
        try:
            answer = requests.post(self._events_url, json={"events": events}, headers=self._headers, timeout=SEND_S)
        except NO_ANSWER:
            return [AGAIN] * len(events)
        try:
            told = answer.json()
        except ValueError:
            told = None
        told = told if isinstance(told, dict) else {}  # else not Lever's: a proxy's
        if "results" in told:
            return [_verdict(result.get("error")) for result in told["results"]]
        error = told.get("error")
        lever = isinstance(error, dict) and "code" in error
        return [_verdict(error) if lever else _of_a_proxy(answer)] * len(events)


def _of_a_proxy(answer: requests.Response) -> Verdict:
    """A proxy of the site says 500 and more while Lever is away, each kind its own."""
    passing = answer.status_code >= 500 or answer.status_code in (408, 425, 429)
    return AGAIN if passing else f"{answer.status_code} {answer.text[:200]}"


def _verdict(error: Mapping[str, Any] | None) -> Verdict:
    if not error or [wrong.get("field") for wrong in error.get("fields", ())] == ["metric"]:
        return TAKEN  # a flag without that metric: not its event
    return AGAIN if error.get("code") in PASSING else str(error.get("message") or error.get("code"))


class _Remember(Hook):
    def __init__(self, provider: LeverProvider) -> None:
        self._provider = provider

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[Any], hints: HookHints) -> None:
        """An evaluation succeeded."""
        decision = details.flag_metadata.get("decisionId")
        subject = hook_context.evaluation_context.targeting_key
        if subject and isinstance(decision, str):
            self._provider.remember(subject, details.flag_key, decision)
