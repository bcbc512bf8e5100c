"""Keys of decision ids: of those that share an id all are tried, and servers of one store cannot have different ones."""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path

import grpc
import pytest

from loadtest.rig.server import Server, channel, tail
from service.errors import InvalidError, PreconditionError
from service.management.verify import Examination
from service.pb.lever.v1.experiment_pb2 import PutExperimentRequest
from service.pb.lever.v1.experiment_pb2_grpc import ExperimentServiceStub
from service.pb.lever.v1.personalization_pb2 import SelectRequest
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub
from service.process.settings import Settings
from service.security import secrets
from service.server.worker import make
from service.serving.token import TokenKeys
from service.store.embedded import Embedded
from service.store.memory import MemoryStore
from service.store.redis import RedisStore
from service.telemetry.metrics import Metrics
from tests.rig.ground import CONFIG, Ground
from tests.rig.waiting import eventually

OLD, NEW, NEXT, OTHER = (bytes([i]) * 32 for i in range(1, 5))
NONCE, PLAIN = b"n" * 12, bytes(64)


def same_id(key: bytes) -> bytes:
    """Another key whose id is the same byte: one in 256 is."""
    wanted = TokenKeys([key]).seal(NONCE, PLAIN)[1]
    tried = (hashlib.sha256(b"%d" % i).digest() for i in range(100_000))
    return next(other for other in tried if TokenKeys([other]).seal(NONCE, PLAIN)[1] == wanted)


def test_keys_that_share_an_id_are_all_tried() -> None:
    twin = same_id(OLD)
    before = TokenKeys([OLD]).seal(NONCE, PLAIN)
    both = TokenKeys([twin, OLD])
    after = both.seal(NONCE, PLAIN)
    assert before[1] == after[1]
    assert both.open(before) == both.open(after)
    assert after == TokenKeys([twin]).seal(NONCE, PLAIN), "the first of several seals"
    for keys, token in ((TokenKeys([OLD]), after), (TokenKeys([twin]), before)):
        with pytest.raises(InvalidError):
            keys.open(token)


@pytest.mark.parametrize("content", [b"", b"short", bytes(15), bytes(65)])
def test_a_file_that_is_no_key_is_refused_and_named(content: bytes, tmp_path: Path) -> None:
    kept: dict[str, bytes] = {}
    for name in ("token", "subject"):
        folder = tmp_path / name
        secrets.find((), folder, kept.setdefault)
        (folder / f"{name}.key").write_bytes(content)
        with pytest.raises(PreconditionError, match=rf"{name}\.key has {len(content)} bytes"):
            secrets.find((), folder, kept.setdefault)
    (tmp_path / "token-mark.key").write_bytes(content)
    with pytest.raises(PreconditionError, match=r"token-mark\.key"):
        secrets.remembered(tmp_path, "mark", kept.setdefault)("token", bytes(32))
    with pytest.raises(PreconditionError, match="'token' in the store"):
        secrets.find((), None, lambda _name, _proposal: content)


def test_a_fingerprint_is_of_its_key_and_does_not_hold_it() -> None:
    assert len({secrets.fingerprint(key) for key in (OLD, NEW, OLD[:16])}) == 3
    assert secrets.fingerprint(OLD) == secrets.fingerprint(OLD)
    store = MemoryStore()
    secrets.agree([OLD, NEW], store.agree)
    assert all(key not in value for key in (OLD, NEW) for value in store._secrets.values())


def test_a_server_with_other_keys_does_not_start_and_keys_rotate_one_server_after_the_other(
    ground: Ground, tmp_path: Path
) -> None:
    url = ground.engine.url

    def start(*keys: bytes) -> None:
        make(Settings(data_dir=tmp_path, redis_url=url, token_keys=keys), url, Metrics()).close()

    def refused(*keys: bytes) -> bool:
        with pytest.raises(PreconditionError, match="LEVER_TOKEN_KEYS"):
            start(*keys)
        return True

    start(OLD)
    assert refused(OTHER)
    assert refused(NEW), "never all at once"
    start(NEW, OLD)  # the first server
    start(OLD)  # the second, which crashed meanwhile
    assert refused(OTHER, NEXT)
    start(NEW, OLD)  # the second
    start(NEW)  # the first
    start(NEW, OLD)  # the second, which crashed meanwhile
    start(NEW)
    assert refused(OLD)
    start(NEXT, NEW)
    start(NEXT)
    assert refused(NEW)
    with ground.raw as raw:
        stored = b"".join(raw.hvals("lever:secrets"))
    assert not any(key in stored or key.hex().encode() in stored for key in (OLD, NEW, NEXT, OTHER))


@pytest.mark.timeout(300)
def test_a_server_that_started_without_its_store_is_checked_when_it_is_back(tmp_path: Path) -> None:
    store = Embedded(tmp_path / "store")
    store.start()
    url = store.url
    try:
        with lever(tmp_path / "friend", url, OLD) as server, channel(server.address) as link:
            config = PutExperimentRequest(config=CONFIG.format(name="hero"))
            ExperimentServiceStub(link).PutExperiment(config, timeout=30)
            assert choices(link)
            eventually(lambda: trials(store) == 1)
        store.stop()
        shutil.copytree(tmp_path / "friend" / "data", tmp_path / "other" / "data")
        friend, other = lever(tmp_path / "friend", url, NEW, OLD), lever(tmp_path / "other", url, OTHER)
        with friend, other, channel(friend.address) as ours, channel(other.address) as theirs:
            assert choices(ours)
            assert choices(theirs)
            store.start()
            eventually(lambda: "LEVER_TOKEN_KEYS" in tail(other.log))
            eventually(lambda: not choices(theirs))
            eventually(lambda: trials(store) == 2)  # what the other showed is in nobody's log
    finally:
        store.stop(timeout=5.0)


def lever(folder: Path, url: str, *keys: bytes) -> Server:
    """A server with these keys. All share one folder: that of a machine that starts again."""
    told = ",".join(base64.b64encode(key).decode() for key in keys)
    return Server(folder, "--redis-url", url, LEVER_TOKEN_KEYS=told, LEVER_FLUSH_MS="20")


def choices(link: grpc.Channel) -> bool:
    request = SelectRequest(experiment="hero", subject="ann")
    request.context["source"].text = "ads"
    try:
        return bool(PersonalizationServiceStub(link).Select(request, timeout=10).arm)
    except grpc.RpcError:
        return False


def trials(store: Embedded) -> int:
    """How many the store has."""
    link = RedisStore(store.url)
    try:
        (uid,) = link.poll({}).registry.values()
        return Examination(link, link, uid).run().trials
    finally:
        link.close()
