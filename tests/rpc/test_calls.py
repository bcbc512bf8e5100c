"""What the wire does with good and bad requests; a real server, a stand-in behind it."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from service.errors import (
    InvalidError,
    LeverError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    Violation,
)
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc.status import code_of
from service.serving.journey import Journey
from service.serving.personalizer import Mode
from service.serving.rewarder import Exposure, RewardEvent
from service.store.contract import Outcome
from tests.rig.calls import failure
from tests.rig.standin import Standin, served


@pytest.fixture(scope="module")
def standin() -> Standin:
    return Standin()


@pytest.fixture(scope="module")
def channel(standin: Standin) -> Iterator[grpc.Channel]:
    with served(standin) as (channel, _):
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel, standin: Standin) -> PersonalizationServiceStub:
    standin.asked.clear()
    standin.answers.clear()
    return PersonalizationServiceStub(channel)


def select(**fields: object) -> pb.SelectRequest:
    return pb.SelectRequest(**({"experiment": "hero", "subject": "ann"} | fields))  # type: ignore[arg-type]


def test_select_carries_everything_both_ways(stub: PersonalizationServiceStub, standin: Standin) -> None:
    context = {"n": pb.FeatureValue(number=2.5), "t": pb.FeatureValue(text="x"), "f": pb.FeatureValue(flag=False)}
    answer = stub.Select(
        select(
            context=context, arms=["calm", "loud"], previous_decision_id="abc", deferred=True, mode=pb.MODE_UNCOUNTED
        )
    )
    features = {"n": 2.5, "t": "x", "f": False}
    assert standin.asked == [("hero", "ann", features, ["calm", "loud"], "abc", True, Mode.UNCOUNTED)]
    assert answer == pb.SelectResponse(
        decision_id="dG9rZW4", arm="calm", payload_json='{"a":1}', propensity=0.25, segment="visitors", holdout=True,
        stale=True, experiment_version=7, reason=pb.REASON_POLICY,
    )  # fmt: skip


WRONG_SELECTS = [
    (select(experiment=""), "experiment"),
    (select(experiment="x" * 129), "experiment"),
    (select(subject=""), "subject"),
    (select(subject="x" * 513), "subject"),
    (select(subject="\u20ac" * 171), "subject"),
    (select(context={"visits": pb.FeatureValue()}), "context.visits"),
    (select(context={"page": pb.FeatureValue(text="x" * 1025)}), "context.page"),
    (select(context={f"f{i}": pb.FeatureValue(number=1) for i in range(257)}), "context"),
    (select(arms=["a"] * 1001), "arms"),
    (select(previous_decision_id="x" * 1025), "previous_decision_id"),
    (select(mode=9), "mode"),
]


@pytest.mark.parametrize(
    ("request_", "field"), WRONG_SELECTS, ids=[f"{i}-{f}" for i, (_, f) in enumerate(WRONG_SELECTS)]
)
def test_a_wrong_select_names_its_field(
    stub: PersonalizationServiceStub, standin: Standin, request_: pb.SelectRequest, field: str
) -> None:
    error, (bad, info) = failure(stub.Select, request_)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in bad.field_violations] == [field]
    assert (info.reason, info.domain) == ("INVALID", "lever")
    assert not standin.asked


def test_the_longest_subject_passes(stub: PersonalizationServiceStub) -> None:
    stub.Select(select(subject="x" * 512))
    stub.Select(select(subject="\u20ac" * 170))


def test_errors_have_their_status_and_details(stub: PersonalizationServiceStub) -> None:
    error, (bad, info) = failure(stub.Select, select(experiment="missing"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert bad.field_violations[0].field == "experiment"
    assert info.reason == "NOT_FOUND"
    error, (info,) = failure(stub.Select, select(experiment="draft"))
    assert (error.code(), info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DRAFT")
    error, (info, retry) = failure(stub.Select, select(experiment="away"))
    assert (error.code(), info.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert retry.retry_delay.ToMilliseconds() == 1250


def test_a_fault_of_ours_leaks_nothing(stub: PersonalizationServiceStub) -> None:
    error, (info,) = failure(stub.Select, select(experiment="broken"))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "incident" in (error.details() or "")
    assert "secret" not in (error.details() or "")
    assert info.reason == "INTERNAL"


def test_batch_columns_both_ways(stub: PersonalizationServiceStub, standin: Standin) -> None:
    context = [
        pb.FeatureColumn(feature="n", numbers=[1.0, 2.0, 3.0], present=b"\1\0\1"),
        pb.FeatureColumn(feature="t", texts=[0, 1, 0], dictionary=["x", "y"]),
        pb.FeatureColumn(feature="f", flags=b"\0\1\2"),
    ]
    answer = stub.SelectBatch(
        pb.SelectBatchRequest(
            experiment="hero", subjects=["a", "b", "c"], context=context, arms=["calm"], deferred=True
        )
    )
    ((experiment, subjects, columns, arms, deferred, mode),) = standin.asked
    assert (experiment, subjects, arms, deferred, mode) == ("hero", ["a", "b", "c"], ["calm"], True, Mode.NORMAL)
    np.testing.assert_array_equal(columns["n"].numbers, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(columns["n"].present, [True, False, True])
    np.testing.assert_array_equal(columns["t"].codes, [0, 1, 0])
    assert (columns["t"].dictionary, columns["t"].present) == (("x", "y"), None)
    np.testing.assert_array_equal(columns["f"].flags, [False, True, True])
    assert answer == pb.SelectBatchResponse(
        decision_ids=[b"0", b"1", b"2"], arms=[0, 1, 0], arm_ids=["calm", "loud"], payloads_json=["1", "2"],
        propensities=[0.5] * 3, segments=[0, 0, 0], segment_ids=["default"], reasons=[pb.REASON_POLICY] * 3,
        holdout=bytes(3), experiment_version=3,
    )  # fmt: skip


def test_the_largest_batch_passes(stub: PersonalizationServiceStub) -> None:
    subjects = [f"{i:0512d}" for i in range(10_000)]
    column = pb.FeatureColumn(feature="n", numbers=[0.5] * 10_000)
    answer = stub.SelectBatch(pb.SelectBatchRequest(experiment="hero", subjects=subjects, context=[column]))
    assert len(answer.decision_ids) == 10_000


WRONG_BATCHES = [
    ({"subjects": []}, "subjects"),
    ({"subjects": ["a"] * 10_001}, "subjects"),
    ({"subjects": ["a", ""]}, "subjects[1]"),
    ({"subjects": ["a", "x" * 513]}, "subjects[1]"),
    ({"mode": pb.MODE_PREVIEW}, "mode"),
    ({"context": [pb.FeatureColumn(numbers=[1, 2])]}, "context[0].feature"),
    ({"context": [pb.FeatureColumn(feature="n", numbers=[1, 2])] * 2}, "context[1].feature"),
    ({"context": [pb.FeatureColumn(feature="n")]}, "context[0]"),
    ({"context": [pb.FeatureColumn(feature="n", numbers=[1, 2], flags=b"\0\0")]}, "context[0]"),
    ({"context": [pb.FeatureColumn(feature="n", numbers=[1])]}, "context[0].numbers"),
    ({"context": [pb.FeatureColumn(feature="n", flags=b"\0\0", present=b"\0")]}, "context[0].present"),
    ({"context": [pb.FeatureColumn(feature="n", texts=[0, 1], dictionary=["x"])]}, "context[0].texts"),
    ({"context": [pb.FeatureColumn(feature="n", texts=[0, 0], dictionary=["x" * 2000])]}, "context[0].dictionary[0]"),
]


@pytest.mark.parametrize(("fields", "field"), WRONG_BATCHES, ids=[f"{i}-{f}" for i, (_, f) in enumerate(WRONG_BATCHES)])
def test_a_wrong_batch_names_its_field(
    stub: PersonalizationServiceStub, standin: Standin, fields: dict[str, object], field: str
) -> None:
    request = pb.SelectBatchRequest(**({"experiment": "hero", "subjects": ["a", "b"]} | fields))  # type: ignore[arg-type]
    error, (bad, _) = failure(stub.SelectBatch, request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in bad.field_violations] == [field]
    assert not standin.asked


def test_an_index_does_not_matter_where_the_feature_is_missing(stub: PersonalizationServiceStub) -> None:
    column = pb.FeatureColumn(feature="t", texts=[0, 77], dictionary=["x"], present=b"\1\0")
    stub.SelectBatch(pb.SelectBatchRequest(experiment="hero", subjects=["a", "b"], context=[column]))


def test_a_message_above_the_limit_is_refused_by_grpc_itself(stub: PersonalizationServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Select(select(subject="x" * (33 << 20)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_reward_and_expose_take_text_or_bytes(stub: PersonalizationServiceStub, standin: Standin) -> None:
    stub.Reward(pb.RewardRequest(decision_id="-_8", metric="order", value=0.0, event_id="e1"))
    stub.Reward(pb.RewardRequest(decision=b"\xfb\xff"))
    assert stub.Expose(pb.ExposeRequest(decision=b"\xfb\xff")).outcome == pb.OUTCOME_DUPLICATE
    assert standin.asked == [
        (RewardEvent(b"\xfb\xff", "order", 0.0, "e1"),),
        (RewardEvent(b"\xfb\xff", "", None, ""),),
        (Exposure(b"\xfb\xff"),),
    ]


WRONG_REWARDS = [
    (pb.RewardRequest(), "decision_id"),
    (pb.RewardRequest(decision_id="a!b"), "decision_id"),
    (pb.RewardRequest(decision_id="\u20ac"), "decision_id"),
    (pb.RewardRequest(decision_id="x" * 1025), "decision_id"),
    (pb.RewardRequest(decision=b"x" * 1025), "decision"),
    (pb.RewardRequest(decision_id="abcd", decision=b"x"), "decision"),
    (pb.RewardRequest(decision_id="abcd", event_id="x" * 129), "event_id"),
    (pb.RewardRequest(decision_id="abcd", metric="x" * 129), "metric"),
]


@pytest.mark.parametrize(("reward", "field"), WRONG_REWARDS, ids=[f"{i}-{f}" for i, (_, f) in enumerate(WRONG_REWARDS)])
def test_a_wrong_reward_names_its_field(
    stub: PersonalizationServiceStub, standin: Standin, reward: pb.RewardRequest, field: str
) -> None:
    error, (bad, _) = failure(stub.Reward, reward)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in bad.field_violations] == [field]
    assert not standin.asked


WRONG_JOURNEYS = [
    (pb.RewardJourneyRequest(event_id="e"), "decision_ids"),
    (pb.RewardJourneyRequest(event_id="e", decision_ids=["abcd"] * 65), "decision_ids"),
    (pb.RewardJourneyRequest(event_id="e", decision_ids=["abcd", ""]), "decision_ids[1]"),
    (pb.RewardJourneyRequest(event_id="e", decision_ids=["abcd", "a!b"]), "decision_ids[1]"),
    (pb.RewardJourneyRequest(event_id="e", decision_ids=["x" * 1025]), "decision_ids[0]"),
    (pb.RewardJourneyRequest(decision_ids=["abcd"]), "event_id"),
    (pb.RewardJourneyRequest(decision_ids=["abcd"], event_id="x" * 129), "event_id"),
    (pb.RewardJourneyRequest(decision_ids=["abcd"], event_id="e", metric="x" * 129), "metric"),
]


@pytest.mark.parametrize(("journey", "field"), WRONG_JOURNEYS)
def test_a_wrong_journey_names_its_field(
    stub: PersonalizationServiceStub, standin: Standin, journey: pb.RewardJourneyRequest, field: str
) -> None:
    error, (bad, _) = failure(stub.RewardJourney, journey)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in bad.field_violations] == [field]
    assert not standin.asked


def test_a_journey_has_a_result_for_each_decision(stub: PersonalizationServiceStub, standin: Standin) -> None:
    answer = stub.RewardJourney(
        pb.RewardJourneyRequest(decision_ids=["-_8", "abcd"], event_id="e", value=2.0, metric="m")
    )
    assert standin.asked == [(Journey([b"\xfb\xff", b"i\xb7\x1d"], 2.0, "e", "m"),)]
    assert list(answer.values) == [1.0, 1.0]
    assert [result.outcome for result in answer.results] == [pb.OUTCOME_APPLIED] * 2


def test_a_refused_reward_is_an_error(stub: PersonalizationServiceStub, standin: Standin) -> None:
    standin.answers["m"] = PreconditionError("64 events", "TOO_MANY_EVENTS")
    error, (info,) = failure(stub.Reward, pb.RewardRequest(decision_id="abcd", metric="m"))
    assert (error.code(), info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TOO_MANY_EVENTS")


def test_the_code_alone_says_what_may_be_sent_again() -> None:
    """For every error there is: it says how long to wait if, and only if, its status is one of the two that pass."""
    kinds = {LeverError}
    while more := {kind for one in kinds for kind in one.__subclasses__()} - kinds:
        kinds |= more
    for kind in kinds:
        given = [Violation("f", "m")] if issubclass(kind, InvalidError) else "m"
        error = kind("f", "m") if issubclass(kind, NotFoundError) else kind(given)  # type: ignore[arg-type]
        passes = code_of(error) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert (error.retry_s is not None) == passes, kind


def test_a_batch_of_exposures_has_a_result_for_each(stub: PersonalizationServiceStub, standin: Standin) -> None:
    standin.answers["away"] = UnavailableError("the store does not answer", retry_s=1.25)
    exposures = [pb.ExposeRequest(decision=name) for name in (b"a", b"away", b"", b"z" * 1025, b"b")]
    answer = stub.ExposeBatch(pb.ExposeBatchRequest(exposures=exposures))
    assert [result.code for result in answer.results] == [0, 14, 3, 3, 0]
    assert [result.outcome for result in answer.results] == [2, 0, 0, 0, 2]
    assert answer.results[2].message.startswith("exposures[2].decision_id: ")
    assert answer.retry_delay.ToMilliseconds() == 1250
    assert standin.asked == [(b"a", b"away", b"b")]
    assert not stub.ExposeBatch(pb.ExposeBatchRequest()).results
    with pytest.raises(grpc.RpcError, match="exposures: has more than 1,000 elements"):
        stub.ExposeBatch(pb.ExposeBatchRequest(exposures=[pb.ExposeRequest()] * 1001))


def message(sequence: int, *metrics: str) -> pb.StreamRewardsRequest:
    rewards = [pb.RewardRequest(decision_id="abcd", metric=metric) for metric in metrics]
    return pb.StreamRewardsRequest(sequence=sequence, rewards=rewards)


def test_a_stream_answers_every_reward_in_order(stub: PersonalizationServiceStub, standin: Standin) -> None:
    standin.answers |= {
        "late": Outcome.LATE,
        "dear": InvalidError.field("value", "is above 500"),
        "away": UnavailableError("the store does not answer", retry_s=0.75),
    }
    forged = pb.StreamRewardsRequest(sequence=9, rewards=[pb.RewardRequest(decision_id="a!")])
    messages = [message(7, "ok", "late", "dear", "away"), forged, message(3), message(1, "broken"), message(2, "ok")]
    first, second, empty, broken, last = stub.StreamRewards(iter(messages))
    assert [a.sequence for a in (first, second, empty, broken, last)] == [7, 9, 3, 1, 2]
    assert [(r.outcome, r.code) for r in first.results] == [
        (pb.OUTCOME_APPLIED, 0),
        (pb.OUTCOME_LATE, 0),
        (pb.OUTCOME_UNSPECIFIED, 3),
        (pb.OUTCOME_UNSPECIFIED, 14),
    ]
    assert first.results[2].message == "rewards[2].value: is above 500"
    assert first.retry_delay.ToMilliseconds() == 750
    assert second.results[0].message.startswith("rewards[0].decision_id: ")
    assert not second.HasField("retry_delay")
    assert not empty.results
    assert (broken.results[0].code, "secret" in broken.results[0].message) == (13, False)
    assert last.results[0].outcome == pb.OUTCOME_APPLIED


def test_a_message_of_too_many_rewards_ends_the_stream(stub: PersonalizationServiceStub, standin: Standin) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.StreamRewards(iter([message(1, *["ok"] * 1001)])))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not standin.asked
    assert len(next(stub.StreamRewards(iter([message(1, *["ok"] * 1000)]))).results) == 1000
