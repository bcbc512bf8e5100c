"""Whatever bytes come in: decision ids, messages and files are refused, never a crash and never our own error."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.endurance.fuzz import CONFIG
from loadtest.rig.malformed import Maker, bad_file, bad_token
from service.errors import InvalidError
from service.experiment.parse import parse
from service.rpc.server import Server
from service.security.api_keys import Access, Key, new_secret
from service.security.secrets import Secrets
from service.server.assemble import Tuning, build
from service.serving.token import FORMAT, NONCE, WHAT, WHOSE, TokenKeys, from_text, to_text
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.lever import LOCAL

KEYS = TokenKeys([b"a key that is used for tests only"])
GOOD = KEYS.seal(b"n" * NONCE.size, bytes(WHOSE.size + WHAT.size + 12))
ALLOWED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "ABORTED", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
METHODS = {
    "PersonalizationService": ("Select", "SelectBatch", "Reward", "Expose"),
    "ExperimentService": ("PutExperiment", "GetExperiment", "ListExperiments", "GetReport"),
}
PATHS = [f"/lever.v1.{service}/{method}" for service, methods in METHODS.items() for method in methods]


@given(st.binary(max_size=300) | st.integers().map(lambda seed: bad_token(random.Random(seed), GOOD)))
@settings(max_examples=400, deadline=None)
def test_no_bytes_but_a_sealed_decision_open(token: bytes) -> None:
    with pytest.raises(InvalidError):
        KEYS.open(token)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
@settings(max_examples=400, deadline=None)
def test_not_one_bit_of_a_decision_can_be_changed(at: int, flip: int) -> None:
    changed = bytearray(GOOD)
    changed[at] ^= flip
    assert GOOD[0] == FORMAT
    with pytest.raises(InvalidError):
        KEYS.open(bytes(changed))


@given(st.text(max_size=200))
@settings(max_examples=400, deadline=None)
def test_a_text_is_a_token_or_invalid(text: str) -> None:
    try:
        token = from_text(text)
    except InvalidError:
        return
    assert from_text(to_text(token)) == token


@given(st.integers().map(lambda seed: bad_file(random.Random(seed), CONFIG)) | st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_a_file_is_an_experiment_or_invalid(text: str) -> None:
    with contextlib.suppress(InvalidError):
        parse(text)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[grpc.Channel, Maker]]:
    """The whole service over a store in memory, behind a real port."""
    service = build(
        MemoryStore(), Secrets([b"a key that is used for tests only"], b"subjects"), Metrics(), Tuning(poll_ms=20)
    )
    service.start()
    service.experiments.put(CONFIG, None)
    service.feed.refresh(60.0)
    server = Server(service.use_cases, service.experiments, Metrics())
    port = server.bind("127.0.0.1:0")
    server.start()
    server.set_ready(ready=True)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=LOCAL) as channel:
        yield channel, Maker("fuzzed", GOOD, CONFIG)
    server.stop(5)
    service.stop()


def code(channel: grpc.Channel, path: str, data: bytes) -> str:
    raw: object = channel.unary_unary(path)
    call = raw.future(data, timeout=60)  # type: ignore[attr-defined]  # bytes go out as they are
    error = call.exception()
    return "OK" if error is None else str(error.code().name)


@given(path=st.sampled_from(PATHS), data=st.binary(max_size=200))
@settings(max_examples=250, deadline=None)
def test_no_handler_calls_any_bytes_its_own_fault(server: tuple[grpc.Channel, Maker], path: str, data: bytes) -> None:
    assert code(server[0], path, data) in ALLOWED


@given(seed=st.integers(0, 2**63))
@settings(max_examples=200, deadline=None)
def test_no_handler_calls_a_malformed_message_its_own_fault(server: tuple[grpc.Channel, Maker], seed: int) -> None:
    channel, maker = server
    path, data = maker.unary(random.Random(seed))
    assert code(channel, path, data) in ALLOWED


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Access:
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    path.write_text("keys:\n" + Key.of(new_secret(), "somebody", frozenset({"decide"})).line())
    return Access(path)


@given(header=st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_header_that_was_made_up_is_let_in(access: Access, header: str) -> None:
    assert access.scopes(header) is None
    assert access.scopes("Bearer " + header) is None
