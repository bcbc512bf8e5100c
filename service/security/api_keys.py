"""Who may do what: API keys with scopes, from a file that is read again when it changes.

The file is YAML or JSON and holds no key, only hashes: whoever reads it can call nothing. Keys are 256 random bits, so
one fast hash is enough; a slow one is for what people make up.

    keys:
      - {name: website, hash: "blake2b:5f…", scopes: [decide, reward]}
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.errors import InvalidError, Violation
from service.text.document import load
from service.text.document import read as read_document
from service.text.fields import Fields, Problems
from service.text.tree import Item

SCOPES = ("decide", "reward", "admin", "read")
PUBLIC_SCOPES = frozenset({"decide", "reward"})
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
HEADER = "authorization"
PREFIX = "lever_"
MAX_KEYS = 256  # an unknown key is compared with every one of them
_SCHEME = "bearer "
_LONGEST = 256  # characters of a header that is looked at
_HASH = re.compile(r"(blake2b|sha256):[0-9a-f]{64}")


def _blake2b(key: bytes) -> str:
    return "blake2b:" + hashlib.blake2b(key, digest_size=32).hexdigest()


def _sha256(key: bytes) -> str:
    return "sha256:" + hashlib.sha256(key).hexdigest()


_DIGESTS: Mapping[str, Callable[[bytes], str]] = {"blake2b": _blake2b, "sha256": _sha256}


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the file: a name for people, `algorithm:hex`, and what the key allows.

    A `public` key stands in web pages: it opens the web port only, for what is marked `client: true`, and browsers
    may use it from pages of its `origins`.
    """

    name: str
    hash: str
    scopes: frozenset[str]
    public: bool = False
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, secret: str, name: str, scopes: frozenset[str], origins: frozenset[str] = frozenset()) -> Key:
        """The line that lets `secret` in; with `origins` a public one."""
        return cls(name, _blake2b(secret.encode()), scopes, bool(origins), origins)

    def line(self) -> str:
        """As it stands in the file."""
        scopes = ", ".join(scope for scope in SCOPES if scope in self.scopes)
        origins = ", ".join(f'"{origin}"' for origin in sorted(self.origins))
        public = f", public: true, origins: [{origins}]" if self.public else ""
        return f'  - {{name: {self.name}, hash: "{self.hash}", scopes: [{scopes}]{public}}}'


def new_secret() -> str:
    """A new key, 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def read(path: Path) -> tuple[Key, ...]:
    """The keys of a file. InvalidError names line and field; a file that cannot be read is one too."""
    try:
        text = read_document(path)
    except InvalidError as error:
        raise InvalidError([Violation("keys_file", f"{path}: {v.message}", v.line) for v in error.violations]) from None
    root, violations = load(text)
    problems = Problems(violations)
    fields = Fields(problems, "", root)
    keys = [_key(problems, at, item) for at, item in fields.items("keys", required=True)]
    fields.done()
    for field in ("name", "hash"):
        seen: set[str] = set()
        for index, key in enumerate(keys):
            value = getattr(key, field)
            if value and value in seen:
                problems.add(f"keys[{index}].{field}", "is given twice")
            seen.add(value)
    if len(keys) > MAX_KEYS:
        problems.add("keys", f"has {len(keys)} elements, at most {MAX_KEYS}")
    if problems.violations:
        raise InvalidError([Violation(f"{path}: {v.field}", v.message, v.line) for v in problems.violations])
    return tuple(keys)


def _key(problems: Problems, at: str, item: Item) -> Key:
    fields = Fields(problems, at, item)
    name = fields.ident("name", required=True) or ""
    digest = fields.text("hash", required=True) or ""
    if digest and not _HASH.fullmatch(digest):
        # Not quoted: it may be a key that somebody put there by mistake, and this goes to logs.
        fields.add("hash", 'must be "blake2b:" or "sha256:" and 64 hexadecimal digits; `lever key new` prints it')
    scopes = fields.texts("scopes", required=True) or ()
    for scope in scopes:
        if scope not in SCOPES:
            fields.add("scopes", f'"{scope[:40]}" is not one of {", ".join(SCOPES)}')
    public = fields.flag("public", False)
    origins = fields.texts("origins", required=public) or ()
    fields.done()
    if origins and not public:
        fields.add("origins", "are for public keys, which browsers use")
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            fields.add("origins", f'"{origin[:80]}" is not an origin such as https://www.example.com')
    if public and set(scopes) - PUBLIC_SCOPES:
        fields.add("scopes", "of a public key can be decide and reward only")
    return Key(name, digest, frozenset(scopes), public, frozenset(origins))


def difference(old: tuple[Key, ...], new: tuple[Key, ...]) -> str:
    """Which keys came, went and changed, by name."""
    before, after = {key.name: key for key in old}, {key.name: key for key in new}
    changed = [name for name in after if name in before and after[name] != before[name]]
    said = {"added": after.keys() - before.keys(), "removed": before.keys() - after.keys(), "changed": changed}
    return "; ".join(f"{what} {', '.join(sorted(names))}" for what, names in said.items() if names)


class Access:
    """The keys in force. `scopes` may be called by any thread; `refresh` by one.

    `own` are keys beside those of the file: the one that a supervisor and its workers share.
    """

    def __init__(self, path: Path, own: tuple[Key, ...] = ()) -> None:
        """Raise InvalidError where the file is wrong."""
        self._path = path
        self._own = own
        self._seen = _signature(path)
        self._take(read(path))

    # The keys, and the headers seen with a good one of them: nobody can fill that with bad ones. The lookup tells
    # nothing by its time, as Python compares texts only where their keyed 64-bit hashes agree. One tuple, so that a
    # thread still at it with old keys remembers its finding with those.
    _state: tuple[tuple[Key, ...], dict[str, Key]]

    def _take(self, keys: tuple[Key, ...]) -> None:
        self._state = (self._own + keys, {})

    @property
    def keys(self) -> tuple[Key, ...]:
        """Keys of the file."""
        return self._state[0][len(self._own) :]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the keys of the file."""
        return tuple(key.name for key in self.keys)

    def refresh(self) -> bool:
        """Read the file again if it changed; whether the keys did. InvalidError if it is wrong: the old ones stay.

        A wrong file is reported once, and read again when it changes again.
        """
        seen = _signature(self._path)
        if seen == self._seen:
            return False
        self._seen = seen
        before = self._state[0]
        keys = read(self._path)
        self._take(keys)
        return self._state[0] != before

    @property
    def origins(self) -> frozenset[str]:
        """Origins of all public keys."""
        return frozenset().union(*(key.origins for key in self._state[0]))

    def scopes(self, header: str | None) -> frozenset[str] | None:
        """What the `authorization` header allows; None where there is no key in it, or one that is not known.

        A public key allows nothing here: only the web port knows what it may do.
        """
        key = self.find(header)
        if key is None:
            return None
        return frozenset() if key.public else key.scopes

    def find(self, header: str | None) -> Key | None:
        """The key in the `authorization` header; None where there is none, or one that is not known."""
        if header is None:
            return None
        keys, known = self._state
        found = known.get(header)
        if found is None and len(header) <= _LONGEST and header[: len(_SCHEME)].lower() == _SCHEME:
            found = _judge(keys, header[len(_SCHEME) :])
            if found is not None:
                known[header] = found
        return found


def _judge(keys: tuple[Key, ...], secret: str) -> Key | None:
    """Compares with every key, each in constant time, whatever was found before."""
    given = {name: digest(secret.encode("utf-8", "replace")) for name, digest in _DIGESTS.items()}
    found = None
    for key in keys:
        if hmac.compare_digest(given[key.hash.partition(":")[0]], key.hash):
            found = key
    return found


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file does; None while there is none (it is being replaced)."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
