"""CORS: which pages' scripts may read what the web port answers. A public key names its pages' origins.

Without any file of keys only pages of this very machine may: else any website that a developer visits could talk to
the Lever on the developer's desk.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from service.errors import DeniedError
from service.http.messages import Header, Reply
from service.process.settings import is_loopback
from service.security.api_keys import Access, Key

_ALLOW: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, x-api-key, content-type, if-none-match"),
    (b"access-control-max-age", b"7200"),
)
# ETag is not on CORS' list of safe headers: without this no page ever gets a 304.
_EXPOSE: tuple[Header, ...] = ((b"access-control-expose-headers", b"ETag, Retry-After"),)
VARY: Header = (b"vary", b"origin")


class Cors:
    """Judges origins. Without `access` those of this machine are allowed."""

    def __init__(self, access: Access | None) -> None:
        self._access = access

    def preflight(self, origin: bytes) -> Reply:
        """The answer to OPTIONS. It comes without a key, so any public key's origins will do."""
        text = origin.decode("latin-1")
        allowed = text in self._access.origins if self._access is not None else _here(text)
        return Reply(204, headers=(*_allowed(origin), *_ALLOW) if allowed else (VARY,), kind=b"")

    def check(self, origin: bytes, key: Key) -> tuple[Header, ...]:
        """Headers for the answer to a page of this origin. DeniedError where a public key is used from elsewhere."""
        text = origin.decode("latin-1")
        if self._access is None:
            if not _here(text):
                raise DeniedError("without API keys only pages of this machine may ask")
        elif not key.public:
            return (VARY,)  # a secret key has no business in a page: no script reads the answer
        elif text not in key.origins:
            raise DeniedError(f"the public key {key.name!r} is not for pages of this origin")
        return (*_allowed(origin), *_EXPOSE)

    def readable(self, origin: bytes) -> tuple[Header, ...]:
        """Headers for a refusal that came before the key was known: a page may read why."""
        text = origin.decode("latin-1")
        allowed = text in self._access.origins if self._access is not None else _here(text)
        return (*_allowed(origin), *_EXPOSE) if allowed else (VARY,)


def _allowed(origin: bytes) -> tuple[Header, ...]:
    return ((b"access-control-allow-origin", origin), VARY)


def _here(origin: str) -> bool:
    """Whether a page of that origin was served by this machine. A file's origin is "null", as is any sandbox's."""
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False
