"""API keys on the wire: who is let in, what each scope allows, and a file that changes under a running server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from loadtest.rig.raw_http2 import RawConnection
from service.errors import InvalidError
from service.pb.lever.v1 import experiment_pb2 as xpb
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.rpc.unary import unfinished as limits
from service.security.api_keys import MAX_KEYS, SCOPES, Access, Key, new_secret, read
from service.security.secrets import Secrets
from service.serving.token import TokenKeys
from service.telemetry.metrics import Metrics
from tests.rig.calls import SELECT, port_of
from tests.rig.credentials import bearer, write_keys
from tests.rig.standin import Standin, served
from tests.rig.waiting import eventually

TEXTS = {scope: new_secret() for scope in SCOPES}


@pytest.fixture
def access(tmp_path: Path) -> Access:
    keys = [Key.of(text, scope, frozenset({scope})) for scope, text in TEXTS.items()]
    return Access(write_keys(tmp_path / "keys.yaml", *keys))


def calls(channel: grpc.Channel) -> dict[str, Callable[..., Any]]:
    """One call of every method, by the scope it takes."""
    choices, experiments = PersonalizationServiceStub(channel), ExperimentServiceStub(channel)
    stream = pb.StreamRewardsRequest(rewards=[pb.RewardRequest(decision_id="abcd")])
    return {
        "decide Select": lambda **given: choices.Select(pb.SelectRequest(experiment="hero", subject="ann"), **given),
        "decide SelectBatch": lambda **given: choices.SelectBatch(
            pb.SelectBatchRequest(experiment="hero", subjects=["ann"]), **given
        ),
        "reward Reward": lambda **given: choices.Reward(pb.RewardRequest(decision_id="abcd"), **given),
        "reward Expose": lambda **given: choices.Expose(pb.ExposeRequest(decision_id="abcd"), **given),
        "reward StreamRewards": lambda **given: list(choices.StreamRewards(iter([stream]), **given)),
        "read GetExperiment": lambda **given: experiments.GetExperiment(xpb.GetExperimentRequest(name="hero"), **given),
        "read ListExperiments": lambda **given: experiments.ListExperiments(xpb.ListExperimentsRequest(), **given),
        "read GetHistory": lambda **given: experiments.GetHistory(xpb.GetHistoryRequest(name="hero"), **given),
        "read Explain": lambda **given: experiments.Explain(xpb.ExplainRequest(name="hero"), **given),
        "read GetReport": lambda **given: experiments.GetReport(xpb.GetReportRequest(name="hero"), **given),
        "read GetTimeline": lambda **given: experiments.GetTimeline(xpb.GetTimelineRequest(name="hero"), **given),
        "admin Exclude": lambda **given: experiments.Exclude(xpb.ExcludeRequest(name="hero"), **given),
        "admin Include": lambda **given: experiments.Include(xpb.IncludeRequest(name="hero"), **given),
        "admin PutExperiment": lambda **given: experiments.PutExperiment(xpb.PutExperimentRequest(config="x"), **given),
        "admin DeleteExperiment": lambda **given: experiments.DeleteExperiment(
            xpb.DeleteExperimentRequest(name="hero"), **given
        ),
    }


@pytest.mark.parametrize("most", [1, 7, limits.MOST])
def test_whoever_is_not_let_in_hears_it_however_many_they_are(
    access: Access, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST", most)
    with served(Standin(), access=access) as (channel, server), RawConnection(port_of(channel)) as link:
        for number in range(100):
            link.open(SELECT, ("authorization", "Bearer x" if number % 2 else "x"))
        assert calls(channel)["decide Select"](metadata=bearer(TEXTS["decide"]), timeout=20)
        eventually(lambda: not link.take_in(0.1) or len(link.ended) == 100)
        queues = server._queues
        assert queues is not None
        eventually(lambda: not any(queue._open or queue._refused for queue in queues.all))


def test_each_method_takes_its_scope_and_no_other(access: Access) -> None:
    metrics = Metrics()
    with served(Standin(), metrics=metrics, access=access) as (channel, _):
        for name, call in calls(channel).items():
            needed = name.split()[0]
            for scope, key in TEXTS.items():
                if scope == needed:
                    assert call(metadata=bearer(key), timeout=20)
                    continue
                with pytest.raises(grpc.RpcError) as caught:
                    call(metadata=bearer(key), timeout=20)
                assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
                assert f"'{needed}'" in (caught.value.details() or "")
    assert dict(metrics.denied.samples()) == {("PERMISSION_DENIED",): [3.0 * len(calls(channel))]}


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer lever_x", "Basic {}", "{}", "Bearer {}x", "Bearer  {}", "Bearer " + "x" * 999]
)  # fmt: skip
def test_without_a_good_key_nobody_is_known(access: Access, header: str | None) -> None:
    metadata = () if header is None else (("authorization", header.format(TEXTS["decide"])),)
    standin = Standin()
    with served(standin, access=access) as (channel, _):
        for call in calls(channel).values():
            with pytest.raises(grpc.RpcError) as caught:
                call(metadata=metadata, timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            (detail,) = rpc_status.from_call(caught.value).details
            info = error_details_pb2.ErrorInfo()
            assert detail.Unpack(info)
            assert info.reason == "UNAUTHENTICATED"
    assert not standin.asked


def test_health_needs_no_key_and_reflection_does(access: Access) -> None:
    with served(Standin(), access=access) as (channel, _):
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING
        assert next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=20))
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        assert next(reflect(iter([request]), timeout=20, metadata=bearer(TEXTS["read"])))
        with pytest.raises(grpc.RpcError) as caught:
            next(reflect(iter([request]), timeout=20))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_keys_change_under_a_running_server(access: Access, tmp_path: Path) -> None:
    new = new_secret()
    with served(Standin(), access=access) as (channel, _):
        select = calls(channel)["decide Select"]
        select(metadata=bearer(TEXTS["decide"]), timeout=20)
        write_keys(tmp_path / "keys.yaml", Key.of(new, "later", frozenset({"decide"})))
        assert access.refresh()
        assert not access.refresh()
        assert access.names == ("later",)
        select(metadata=bearer(new), timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            select(metadata=bearer(TEXTS["decide"]), timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_broken_file_changes_nothing_and_is_told_once(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    good = path.read_text()
    for wrong in ("keys: [", "keys: []", None):
        path.unlink() if wrong is None else path.write_text(wrong)
        with pytest.raises(InvalidError):
            access.refresh()
        assert not access.refresh()
        assert access.scopes(f"Bearer {TEXTS['read']}") == frozenset({"read"})
    path.write_text(good)
    assert not access.refresh()  # the same keys


def test_a_supervisors_own_key_survives_a_reload(tmp_path: Path) -> None:
    own, path = new_secret(), write_keys(tmp_path / "keys.yaml", Key.of(new_secret(), "web", frozenset({"decide"})))
    access = Access(path, (Key.of(own, "supervisor", frozenset({"admin"})),))
    write_keys(path, Key.of(new_secret(), "other", frozenset({"decide"})))
    assert access.refresh()
    assert access.scopes(f"Bearer {own}") == frozenset({"admin"})
    assert access.names == ("other",)


def test_a_file_is_yaml_or_json_with_either_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = [
        {"name": "a", "hash": "sha256:" + hashlib.sha256(b"one").hexdigest(), "scopes": ["read", "admin"]},
        {"name": "b", "hash": "blake2b:" + hashlib.blake2b(b"two", digest_size=32).hexdigest(), "scopes": ["decide"]},
    ]
    path.write_text(json.dumps({"keys": keys}))
    access = Access(path)
    assert access.scopes("Bearer one") == frozenset({"read", "admin"})
    assert access.scopes("bearer two") == frozenset({"decide"})
    assert access.scopes("Bearer three") is None


@pytest.mark.parametrize(
    ("text", "field", "line"),
    [
        ("keys:\n  - {name: a, hash: secret, scopes: [read]}", "keys[0].hash", 2),
        ("keys:\n  - {name: a, scopes: [read]}", "keys[0].hash", 2),
        (f"keys:\n  - name: a\n    hash: sha256:{'0' * 64}\n    scopes: [root]", "keys[0].scopes", 4),
        (f"keys:\n  - name: a\n    hash: sha256:{'0' * 64}\n    scopes: []", "keys[0].scopes", 4),
        (f"keys:\n  - name: a\n    hash: sha256:{'0' * 64}\n    scope: [read]\n    scopes: [read]", "keys[0].scope", 4),
        ("\n".join(["keys:", *[f"  - {{name: a, hash: 'sha256:{i}{'0' * 63}', scopes: [read]}}" for i in (1, 2)]]),
         "keys[1].name", 3),
        ("\n".join(["keys:", *[f"  - {{name: k{i}, hash: 'sha256:{i:064}', scopes: [read]}}" for i in range(MAX_KEYS + 1)]]),
         "keys", 1),
        ("other: 1", "keys", 1),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named_with_its_line(tmp_path: Path, text: str, field: str, line: int) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(InvalidError) as caught:
        read(path)
    assert (f"{path}: {field}", line) in [(v.field, v.line) for v in caught.value.violations]
    assert "secret" not in str(caught.value)


def test_a_message_that_does_not_decode_is_the_callers_fault() -> None:
    with served(Standin()) as (channel, _):
        for method in ("PersonalizationService/Select", "ExperimentService/PutExperiment"):
            raw: Any = channel.unary_unary(f"/lever.v1.{method}")
            with pytest.raises(grpc.RpcError) as caught:
                raw(b"\x0a\xff", timeout=20)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        stream: Any = channel.stream_stream("/lever.v1.PersonalizationService/StreamRewards")
        with pytest.raises(grpc.RpcError) as caught:
            next(stream(iter([b"\x0a\xff"]), timeout=20))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_token_keys_rotate() -> None:
    nonce, plain = b"n" * 12, bytes(64)
    old, new = b"o" * 32, b"n" * 32
    first, both, second = TokenKeys([old]), TokenKeys([new, old]), TokenKeys(Secrets([new], b"").tokens)
    before, after = first.seal(nonce, plain), both.seal(nonce, plain)
    assert both.open(before) == both.open(after)  # both are accepted
    assert second.open(after) == both.open(after)  # the first of several seals
    for keys, token in ((first, after), (second, before)):
        with pytest.raises(InvalidError):
            keys.open(token)
