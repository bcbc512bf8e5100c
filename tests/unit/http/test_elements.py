"""POST /v1/events element by element: whatever one of them is, it has a result and the others have theirs."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.http.handlers.backend import Backend
from service.http.handlers.events import Collector
from service.http.messages import Request
from service.security.api_keys import SCOPES, Key
from service.serving.rewarder import Exposure
from tests.rig.standin import Standin

ANYONE = Key("anyone", "", frozenset(SCOPES))
FIELDS = ("decision_id", "type", "metric", "value", "event_id", "strange")
# Half characters too: JSON has them.
TEXTS = st.text(st.characters(codec=None), max_size=5) | st.sampled_from(
    ["\ud800", "x" * 129, "reward", "exposure", "YQ"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
GOOD = st.fixed_dictionaries(
    {"decision_id": st.just("YQ")},
    optional={
        "metric": st.sampled_from(["click", None]),
        "type": st.sampled_from(["reward", None]),
        "value": st.just(1),
    },
)
BAD = st.builds(lambda good, field, value: {**good, field: value}, GOOD, st.sampled_from(FIELDS), VALUES) | VALUES


def collect(events: list[Any]) -> tuple[int, list[dict[str, Any]], list[Any]]:
    """Status, results and the rewards that came through."""
    standin = Standin()
    collector = Collector(Backend(standin, open=True))
    reply = collector.collect(Request("", {}, json.dumps({"events": events}).encode(), ANYONE))
    rewards = [event for call in standin.asked for event in call if not isinstance(event, Exposure)]
    return reply.status, json.loads(reply.body)["results"], rewards


@given(st.lists(GOOD, max_size=3), BAD, st.lists(GOOD, max_size=3))
def test_any_value_in_any_field_leaves_the_others_alone(before: list[Any], bad: Any, after: list[Any]) -> None:
    status, results, rewards = collect([*before, bad, *after])
    assert status == 200
    assert len(results) == len(before) + 1 + len(after)
    good = [*results[: len(before)], *results[len(before) + 1 :]]
    assert good == [{"outcome": "APPLIED"}] * len(good)
    assert len(rewards) - len(good) in (0, 1)  # perhaps it was not bad
    told = results[len(before)]
    if "error" in told:
        assert told["error"]["code"] == "INVALID_ARGUMENT"
        assert told["error"]["fields"][0]["field"].startswith(f"events[{len(before)}]")


@given(st.sampled_from(FIELDS[1:5]))
def test_null_is_absent(field: str) -> None:
    assert collect([{"decision_id": "YQ", field: None}]) == collect([{"decision_id": "YQ"}])
