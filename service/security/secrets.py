"""Where the secrets come from: given, or made once and kept in the data directory or the store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from service.errors import PreconditionError, UnavailableError

BYTES = 32  # of a key that is made here
LEAST, MOST = 16, 64  # of one that is given


@dataclass(frozen=True, slots=True)
class Secrets:
    """Token keys, the current one first, and the key that subjects are hashed with."""

    tokens: Sequence[bytes]
    subjects: bytes


def find(token_keys: tuple[bytes, ...], data_dir: Path | None, shared: Callable[[str, bytes], bytes]) -> Secrets:
    """Token keys, given or made; and the key that subjects are hashed with, made once for ever.

    With a `data_dir` (the embedded store's) they are kept in its files; else in the store by `shared(name, proposal)`,
    so that all servers of one store agree. Raises UnavailableError, OSError, PreconditionError for what is no key.
    """

    def kept(name: str) -> bytes:
        if data_dir is not None:
            return in_file(data_dir / f"{name}.key")
        return checked(shared(name, secrets.token_bytes(BYTES)), f"the secret {name!r} in the store")

    return Secrets(token_keys or (kept("token"),), kept("subject"))


def checked(key: bytes, what: str) -> bytes:
    """The key, if it is as long as one must be; PreconditionError."""
    if not LEAST <= len(key) <= MOST:
        raise PreconditionError(f"{what} has {len(key)} bytes; a key has {LEAST} to {MOST}: put back what was there")
    return key


def fingerprint(key: bytes) -> str:
    """What tells a key from others and tells nothing of it: a hash that is keyed by it."""
    return hashlib.blake2b(key=key, digest_size=16, person=b"lever-print").hexdigest()


def agree(tokens: Sequence[bytes], shared: Callable[[str, Sequence[str]], bool]) -> None:
    """Make sure that the servers of one store can open one another's decision ids.

    `shared(name, marks)` says whether any of the marks is among those that the last server left there, and then
    leaves these. So keys may change one after the other (NEW,OLD; then NEW), never all at once. PreconditionError;
    UnavailableError where the store is away: a server may start from its snapshot file, and asks when it is back.
    """
    if not shared("token-fingerprints", [fingerprint(key) for key in tokens]):
        raise PreconditionError(
            "the servers of this store use other token keys: decision ids of theirs would be refused here, and the other "
            "way round. Give the same LEVER_TOKEN_KEYS; to change keys, NEW,OLD first (docs/security.md)"
        )


def remembered(folder: Path, mark: str, shared: Callable[[str, bytes], bytes]) -> Callable[[str, bytes], bytes]:
    """`shared` with a memory: what the store told is kept in `folder`, and stands in for a store that is away.

    A store that has lost its secrets is given back the remembered ones. `mark` names the store. Raises
    UnavailableError where the store is away and nothing is remembered.
    """

    def ask(name: str, proposal: bytes) -> bytes:
        path = folder / f"{name}-{mark}.key"
        known = checked(path.read_bytes(), str(path)) if path.exists() else None
        try:
            told = shared(name, known or proposal)
        except UnavailableError:
            if known is None:
                raise
            return known
        if told != known:
            _keep(path, told)
        return told

    return ask


def reaffirm(secrets: Secrets, shared: Callable[[str, bytes], bytes]) -> None:
    """Give a store that was emptied the secrets in use, before a server that starts makes others."""
    with contextlib.suppress(UnavailableError):
        for name, value in (("token", secrets.tokens[0]), ("subject", secrets.subjects)):
            if shared(name, value) != value:
                log = structlog.get_logger("lever.keys")
                log.error("the store was given another secret meanwhile; restart this server", secret=name)


def _keep(path: Path, key: bytes) -> None:
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key)
        staged.replace(path)
    except OSError as error:  # nothing depends on it but a start without the store
        structlog.get_logger("lever.keys").warning("the keys cannot be kept for a store that is away", error=str(error))


def in_file(path: Path) -> bytes:
    """The key in the file, mode 600. If there is none yet, one is made; of several who try, one makes it."""
    try:
        return checked(path.read_bytes(), str(path))
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written whole beside it, then linked: nobody ever reads a part of a key.
    staged = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(staged, path)
    except FileExistsError:
        pass
    finally:
        staged.unlink()
    return checked(path.read_bytes(), str(path))
