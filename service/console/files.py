"""The files of the page, as the package has them: each with its kind, its ETag, and packed."""

from __future__ import annotations

import functools
import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files as resources
from importlib.resources.abc import Traversable

KINDS = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
    "LICENSE": b"text/plain; charset=utf-8",
}
PACKED_FROM = 1 << 10  # bytes; below, packing gains nothing


@dataclass(frozen=True, slots=True)
class File:
    """One file. `packed` is its gzip, or empty where that gains nothing."""

    kind: bytes
    body: bytes
    packed: bytes
    etag: bytes


@functools.cache
def files() -> dict[str, File]:
    """By path below /console/; the page itself is `index.html`."""
    return dict(_below(resources("service.console") / "static", ""))


def tag(body: bytes) -> bytes:
    """The ETag of a body."""
    return b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'


def pack(body: bytes, level: int) -> bytes:
    """Its gzip, or nothing where that gains nothing."""
    packed = gzip.compress(body, level, mtime=0) if len(body) >= PACKED_FROM else b""
    return packed if len(packed) < len(body) else b""


def _below(folder: Traversable, at: str) -> list[tuple[str, File]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        kind = KINDS.get(entry.name.rpartition(".")[2])
        if entry.is_dir():
            found += _below(entry, f"{at}{entry.name}/")
        elif kind is not None:
            body = entry.read_bytes()
            found.append((at + entry.name, File(kind, body, pack(body, 9), tag(body))))
    return found
