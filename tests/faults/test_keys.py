"""Keys of decision ids: of those that share an id all are tried, and servers of one store cannot have different ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from service.errors import InvalidError, PreconditionError, UnavailableError
from service.process.settings import Settings
from service.security import secrets
from service.server.worker import make
from service.serving.token import TokenKeys
from service.store.memory import MemoryStore
from service.telemetry.metrics import Metrics
from tests.rig.ground import Ground

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


def test_a_server_that_starts_without_its_store_is_not_held_up(tmp_path: Path) -> None:
    def away(_name: str, _marks: object) -> bool:
        raise UnavailableError("nobody is there")

    secrets.agree([OLD], away)
