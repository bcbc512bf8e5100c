"""The stock OpenFeature SDK with the stock OFREP provider against a running Lever, and Lever's own clients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

from lever_client import Choice, Lever
from lever_client.openfeature import LeverProvider
from lever_client.outbox import AGAIN, TAKEN, Outbox, Verdict
from tests.rig.programs import ROOT
from tests.rig.site import Keyed, Site
from tests.rig.waiting import eventually

CLIENT = ROOT / "service/client/python"
ANN = EvaluationContext("ann", {"plan": "free", "visits": 3})


@pytest.fixture
def stock(lever: Site) -> Iterator[OpenFeatureClient]:
    api.set_provider(OFREPProvider(lever.url), "stock")
    yield api.get_client("stock")
    api.clear_providers()


def test_the_stock_provider(stock: OpenFeatureClient) -> None:
    details = stock.get_object_details("hero", {"title": "Default"}, ANN)
    assert details.variant in ("calm", "loud")
    assert details.value == {"title": str(details.variant).capitalize()}
    assert details.reason == Reason.SPLIT
    assert details.error_code is None
    assert set(details.flag_metadata) == {"decisionId", "propensity", "segment", "holdout", "version", "windowMs"}
    assert stock.get_string_details("paused", "default", ANN).reason == Reason.DISABLED
    assert stock.get_integer_value("price", 0, ANN) in (9, 12)


def test_the_stock_provider_is_told_what_is_wrong(stock: OpenFeatureClient) -> None:
    for flag, context, code in (
        ("nobody", ANN, ErrorCode.FLAG_NOT_FOUND),
        ("hero", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
        ("hero", EvaluationContext("ann", {"visits": "many"}), ErrorCode.INVALID_CONTEXT),
    ):
        details = stock.get_object_details(flag, {}, context)
        assert (details.value, details.error_code) == ({}, code)
    draft = stock.get_string_details("sketch", "mine", ANN)
    assert (draft.value, draft.reason, draft.error_code) == ("mine", Reason.DISABLED, None)


def test_levers_provider_tracks(keyed: Keyed) -> None:
    provider = LeverProvider(keyed.site.url, key=keyed.secret, timeout=20)
    api.set_provider(provider, "lever")
    client = api.get_client("lever")
    before = keyed.site.settled("hero")
    subject = EvaluationContext("tracked")
    shown = client.get_object_details("hero", {}, subject)
    client.get_string_details("sticky", "", subject)
    client.track("revenue", subject, TrackingEventDetails(12.5))  # only hero has that metric
    client.track("click", subject)
    client.track("click", EvaluationContext("nobody"))
    assert provider.flush(20)
    rewarded = sum(r for _, r in before.values()) + 1
    eventually(lambda: sum(r for _, r in keyed.site.trials("hero").values()) == rewarded)
    decision = str(shown.flag_metadata["decisionId"])
    assert keyed.site.event(decision, metric="click") == {"outcome": "DUPLICATE"}
    details = TrackingEventDetails(
        attributes={"decisionId": keyed.site.flag("hero", "by-id").json["metadata"]["decisionId"]}
    )
    client.track("click", None, details)
    assert provider.flush(20)
    eventually(lambda: sum(r for _, r in keyed.site.trials("hero").values()) == rewarded + 1)
    api.clear_providers()


def test_the_client_chooses_and_rewards(keyed: Keyed) -> None:
    with Lever(keyed.site.grpc, key=keyed.secret, timeout_s=20) as lever:
        made = lever.select("hero", "client", {"plan": "paid", "visits": 2}, default="calm")
        assert made.payload == {"title": made.arm.capitalize()}
        mail = lever.select("sticky", "client", default="a", deferred=True)
        lever.reward(made.decision_id, "click")
        lever.reward(made.decision_id, "revenue", 2.5)
        lever.reward("not a decision id")
        lever.expose(mail.decision_id)
        assert not lever.flush(20)
        assert (lever.refused, lever.dropped) == (1, 0)
        assert lever.flush(20)
    assert keyed.site.event(made.decision_id, metric="click") == {"outcome": "DUPLICATE"}
    assert keyed.site.event(mail.decision_id, type="exposure") == {"outcome": "DUPLICATE"}


def test_without_an_answer_the_default_is_shown(keyed: Keyed) -> None:
    with Lever("localhost:1", timeout_s=0.05) as lever:
        assert lever.select("hero", "ann", default="calm", payload=1) == Choice("calm", 1)
        lever.reward("")  # the decision id of a default
    with Lever(keyed.site.grpc, timeout_s=20) as lever:  # without a key
        assert lever.select("hero", "ann", default="calm") == Choice("calm")
    with Lever(keyed.site.grpc, key=keyed.secret, timeout_s=20) as lever:
        assert lever.select("nobody", "ann", default="calm") == Choice("calm")


def test_rewards_are_not_lost_at_exit(lever: Site) -> None:
    """A process that rewards and ends at once, its outbox far from due."""
    decision = lever.flag("hero", "exit").json["metadata"]["decisionId"]
    text = "import sys; from lever_client import Lever; Lever(sys.argv[1]).reward(sys.argv[2], 'click')"
    subprocess.run([sys.executable, "-c", text, lever.grpc, decision], cwd=CLIENT, check=True, timeout=60)
    assert lever.event(decision, metric="click") == {"outcome": "DUPLICATE"}


def test_an_outbox_sends_again_in_order_and_forgets_nothing() -> None:
    seen: list[list[int]] = []

    def send(batch: list[int]) -> list[Verdict]:
        seen.append(batch)
        if len(seen) == 1:
            return [AGAIN] * len(batch)
        return [TAKEN, *[AGAIN if len(seen) == 2 else TAKEN] * (len(batch) - 1)]

    box: Outbox[int] = Outbox(send, every_s=0.01)
    for number in range(3):
        box.put(number)
    eventually(lambda: box.flush(0.05))
    assert sorted({number for batch in seen for number in batch}) == [0, 1, 2]
    assert seen[-1][-1] == 2
    assert box.close()
    assert not box.put(4)
    assert box.dropped == 1


def test_a_full_outbox_lets_the_oldest_go_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def send(batch: list[int]) -> list[Verdict]:
        return [AGAIN] * len(batch)

    box: Outbox[int] = Outbox(send, every_s=60, most=5)
    for number in range(9):
        box.put(number)
    assert box.dropped == 4
    assert not box.close(0.01)
    assert box.dropped == 9
    assert [record.getMessage() for record in caplog.records] == [
        "5 events wait, as many as may: the oldest are dropped for now",
        "5 events dropped: left when it was closed",
    ]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.booleans())
def test_what_cannot_be_sent_is_found_and_leaves_the_others_alone(poison: list[bool], raises: bool) -> None:
    taken: list[int] = []

    def send(batch: list[int]) -> list[Verdict]:
        if raises and any(poison[number] for number in batch):
            raise TypeError("cannot be written")
        taken.extend(number for number in batch if not poison[number])
        return ["wrong" if poison[number] else TAKEN for number in batch]

    box: Outbox[int] = Outbox(send, every_s=0)
    for number in range(len(poison)):
        box.put(number)
    assert box.flush(20) is not any(poison)
    assert box.flush(20)  # what was told once is not told again
    assert taken == [number for number, bad in enumerate(poison) if not bad]
    assert box.refused == sum(poison)
    assert box.close()
