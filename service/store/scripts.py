"""What the redis store puts on the wire and reads from it: scripts, key names, packed claims, log entries."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.errors import CorruptError, UnavailableError
from service.store.claims import EXACT, digest
from service.store.contract import START, Act, Checkpoint, Claim, Held, LostError, Outcome, Seed
from service.store.entries import unsealed
from service.store.rows import Composite

DAY_MS = 86_400_000

# The format of a checkpoint's fields: another one whenever a fold comes to other sums than before (docs/design.md, formats).
STATE_FORMAT = 4
_TOGETHER = 3  # formats up to this one were kept under one name
_AHEAD = 8  # so many formats to come are deleted with an experiment too
WINDOW_BITS = 8  # counters of one claim shard: 256 fields, half of what would make a hash leave listpack

# decision, metric, aggregate, flags, value, limit, deadline, expires, digest, composites; see claim.lua
CLAIM = struct.Struct("<IHBBqqqq8sH")
DECISION = struct.Struct("<II")
_ACTS = {Act.COUNT: 0, Act.RETRACT: 2, Act.FORGET: 4}  # bits of a claim's flags; the first: it is deferred
_FLOORED = 8
_NOTES = 65_536  # what is noted of a metric stands under its number and once or twice as much more
_HEAD = (b"id", b"rows", b"size", b"digest")  # of a checkpoint, in the order in which they are sealed
_ID = re.compile(rb"(?:0|[1-9]\d{0,18})-(?:0|[1-9]\d{0,18})")


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script of this package with the SHA-1 the engine knows it by."""

    text: bytes
    sha: str

    @classmethod
    def load(cls, name: str) -> Script:
        """The script in the file `<name>.lua` beside this module; seal.lua comes first in each."""
        folder = importlib.resources.files("service.store").joinpath("lua")
        text = b"".join(folder.joinpath(f"{part}.lua").read_bytes() for part in ("seal", name))
        return cls(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key name. An experiment's keys share the hash tag {uid}; names and deletion marks share another.

    Each format of checkpoints has a name of its own, so that two versions of Lever run on one store: neither reads,
    compares or replaces what the other keeps.
    """

    prefix: str
    form: int = STATE_FORMAT

    @property
    def names(self) -> str:
        """Hash: experiment name to uid."""
        return f"{self.prefix}:{{registry}}:names"

    @property
    def deleted(self) -> str:
        """Hash: uid to the time of its deletion."""
        return f"{self.prefix}:{{registry}}:deleted"

    @property
    def secrets(self) -> str:
        """Hash: name to secret bytes."""
        return f"{self.prefix}:secrets"

    @property
    def journal(self) -> str:
        """Stream: what people did."""
        return f"{self.prefix}:journal"

    def once(self, word: str) -> str:
        """Set for as long as an event that several servers see must not be kept again."""
        return f"{self.prefix}:once:{word}"

    def word(self, word: str) -> str:
        """String: what several calls must agree on."""
        return f"{self.prefix}:word:{word}"

    def config(self, uid: str) -> str:
        """Hash: version, record, deleting, and more: see the scripts."""
        return f"{self.prefix}:{{{uid}}}:cfg"

    def history(self, uid: str) -> str:
        """Hash: version to record."""
        return f"{self.prefix}:{{{uid}}}:hist"

    def log(self, uid: str) -> str:
        """Stream: the log."""
        return f"{self.prefix}:{{{uid}}}:log"

    def checkpoint(self, uid: str) -> str:
        """Hash: the checkpoint, its fields named f:..."""
        return self._checkpoints(uid, self.form, self.form)[0]

    def state(self, uid: str) -> str:
        """Hash: the state that one server added up for the others, for as long as it does."""
        return f"{self.checkpoint(uid)}:state"

    def witness(self, uid: str) -> str:
        """String: the server that adds up too, and compares."""
        return f"{self.checkpoint(uid)}:witness"

    def older_checkpoints(self, uid: str) -> list[str]:
        """Those of formats before, the newest first."""
        return self._checkpoints(uid, _TOGETHER, self.form - 1)

    def other_checkpoints(self, uid: str) -> list[str]:
        """Those of all other formats, of some to come too."""
        return self._checkpoints(uid, self.form + 1, self.form + _AHEAD) + self.older_checkpoints(uid)

    def _checkpoints(self, uid: str, first: int, last: int) -> list[str]:
        numbers = range(last, first - 1, -1)
        return [f"{self.prefix}:{{{uid}}}:ck{'' if number <= _TOGETHER else number}" for number in numbers]

    def all(self, uid: str) -> list[str]:
        """Every key of an experiment but its claims, which expire by themselves."""
        checkpoints = [self.checkpoint(uid), *self.other_checkpoints(uid)]
        return [
            self.config(uid),
            self.history(uid),
            self.log(uid),
            f"{self.prefix}:{{{uid}}}:wm",  # where versions before noted how far each server's trials are
            self.state(uid),
            self.witness(uid),
            *checkpoints,
        ]

    def staged(self, uid: str) -> str:
        """Stream: a log that is being brought back."""
        return f"{self.prefix}:{{{uid}}}:new"

    def shards(self, uid: str) -> str:
        """What the names of an experiment's claim shards begin with."""
        return f"{self.prefix}:{{{uid}}}:c:"

    def shard(self, uid: str, claim: Claim) -> str:
        """Hash: low byte of the counter to the claim, for one decision day and 256 consecutive counters."""
        window = claim.counter >> WINDOW_BITS
        return f"{self.shards(uid)}{claim.time // DAY_MS}:{claim.prefix:x}:{window}"

    def outgrown(self, uid: str, prefix: int, counter: int | str) -> str:
        """String: the claim of a decision that outgrew its shard; with "" what those of a prefix begin with."""
        return f"{self.prefix}:{{{uid}}}:o:{prefix:x}:{counter}"


def claim_call(keys: Keys, uid: str, claims: Sequence[Claim]) -> tuple[list[str], list[bytes]]:
    """Keys and arguments of claim.lua, without the stride: rows, claims, decisions, composites."""
    shards: dict[str, int] = {}
    windows: dict[tuple[int, int, int], int] = {}  # day, prefix and window to the shard: neighbours share one
    outgrown: dict[int, str] = {}  # by prefix: what their overflow keys begin with
    composites: dict[Composite, int] = {}
    decisions: dict[tuple[int, int, int], int] = {}
    overflows: list[str] = []
    packed_decisions: list[bytes] = []
    packed: list[bytes] = []
    for claim in claims:
        name = (claim.prefix, claim.counter, claim.time)
        number = decisions.get(name)
        if number is None:
            number = decisions[name] = len(decisions)
            window = (claim.time // DAY_MS, claim.prefix, claim.counter >> WINDOW_BITS)
            shard = windows.get(window, -1)
            if shard < 0:
                shard = windows[window] = shards.setdefault(keys.shard(uid, claim), len(shards))
            packed_decisions.append(DECISION.pack(shard, claim.counter & ((1 << WINDOW_BITS) - 1)))
            begin = outgrown.get(claim.prefix)
            if begin is None:
                begin = outgrown[claim.prefix] = keys.outgrown(uid, claim.prefix, "")
            overflows.append(f"{begin}{claim.counter}")
        packed.append(
            CLAIM.pack(
                number,
                claim.metric,
                claim.aggregate,
                claim.deferred | _ACTS[claim.act] | (_FLOORED if claim.floored else 0),
                max(-EXACT, min(EXACT, claim.value)),
                claim.limit,
                claim.deadline,
                max(claim.expires, claim.deadline),
                digest(claim.event),
                sum(1 << composites.setdefault(one, len(composites)) for one in claim.moves) if claim.moves else 0,
            )
        )
    rows = b"".join(claim.row for claim in claims)
    weights = ";".join(f"{number}:" + "".join(f"{p}={w}," for p, w in parts) for number, parts in composites)
    return [*shards, *overflows], [rows, b"".join(packed), b"".join(packed_decisions), weights.encode()]


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}  # a member by its number, in a tenth of the time


def outcomes_of(uid: str, reply: Any) -> list[Outcome] | UnavailableError:
    """What claim.lua answered, or the error in its place."""
    if isinstance(reply, UnavailableError):
        return reply
    return LostError.of(uid) if reply == b"LOST" else [_OUTCOMES[number] for number in reply]


def pairs(reply: Any) -> Iterable[tuple[Any, Any]]:
    """The pairs of a map reply, whichever protocol version it came in."""
    if isinstance(reply, dict):
        return reply.items()
    if reply and isinstance(reply[0], (list, tuple)):
        return ((pair[0], pair[1]) for pair in reply)
    return zip(reply[::2], reply[1::2], strict=True) if reply else ()


def registry_of(reply: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Names to uids, and by uid what is wrong with those that are no UTF-8; what is none is shown with backslashes."""
    registry: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for name, uid in pairs(reply):
        shown, of = name.decode(errors="backslashreplace"), uid.decode(errors="backslashreplace")
        registry[shown] = of
        if (shown.encode(), of.encode()) != (name, uid):
            damaged[of] = f"the registry's name for it, {shown!r}, or its uid is no UTF-8"
    return registry, damaged


def decode_claim(
    shard: str, field: bytes, value: bytes, outgrown: Callable[[int, int], bytes | None]
) -> Iterable[Held]:
    """The claim in a field of the shard "day:prefix:window"; none if it expired. CorruptError if it is no claim."""
    try:
        day, prefix, window = shard.split(":")
        decision, counter = int(prefix, 16), (int(window) << WINDOW_BITS) + int(field)
        text = outgrown(decision, counter) if value == b">" else value
        if text is None:
            return
        exposed, *records = text.decode().split(";")
        totals: dict[int, tuple[int, int, int]] = {}
        last = (-1, 0, 0)  # metric, total and events of the record that notes belong to
        for record in records:
            number, total, events = record.split(":")
            note, metric = divmod(int(number), _NOTES)
            n = len(events) // 8
            if note == 0:
                last = metric, int(total), n
                totals[metric] = (int(total), max(n, 1), max(n, 1))
            elif note == 2 and last[0] == metric:
                totals[metric] = (last[1], last[2] + n, last[2] + 2 * n)
        yield Held(decision, counter, int(day), exposed == "1", totals)
    except ValueError as error:
        raise CorruptError(f"the record {field!r} in {shard} does not decode: {error}") from error


def checkpoint_arguments(checkpoint: Checkpoint) -> list[str | int | bytes]:
    """Arguments of checkpoint.lua."""
    arguments: list[str | int | bytes] = [
        checkpoint.id,
        checkpoint.base or "",
        checkpoint.rows,
        checkpoint.size,
        checkpoint.digest,
        checkpoint.keep,
        int(checkpoint.heal),
        checkpoint.most,
        len(checkpoint.removed),
        *(f"f:{name}" for name in checkpoint.removed),
    ]
    return arguments + _fields(checkpoint)


def seed_arguments(version: int, record: bytes, seed: Seed, staged: int) -> list[str | int | bytes]:
    """Arguments of seed.lua; `staged`: the bytes of the log that was staged."""
    of = seed.checkpoint
    return [version, record, seed.epoch, staged, of.rows, of.size, of.digest, *_fields(of)]


def _fields(checkpoint: Checkpoint) -> list[str | int | bytes]:
    return [part for name, value in checkpoint.fields.items() for part in (f"f:{name}", value)]


def decode_checkpoint(reply: Mapping[bytes, bytes]) -> Checkpoint | None:
    """The stored checkpoint, base None; None if there is none. CorruptError if its head is not as it was written."""
    if not reply:
        return None
    try:
        head = [reply[name] for name in _HEAD]
        fields = {name[2:].decode(): value for name, value in reply.items() if name.startswith(b"f:")}
        found = Checkpoint(entry_id(head[0]), None, int(head[1]), int(head[2]), head[3].decode(), fields)
    except (KeyError, ValueError) as error:
        raise CorruptError(f"the checkpoint's head does not decode: {error!r}") from error
    unsealed(reply, b"check", b":".join(head), "the checkpoint's head")
    size = sum(map(len, fields.values()))
    if size != found.size:
        raise CorruptError(f"the checkpoint at {found.id} has {size} bytes of fields, not {found.size}")
    return found


def is_id(name: bytes) -> bool:
    """Whether that is the id of a stream's entry."""
    return _ID.fullmatch(name) is not None


def entry_id(name: bytes) -> str:
    """The id of a log entry. CorruptError where it is none."""
    if not is_id(name):
        raise CorruptError(f"{name[:40]!r} is no id of a log entry")
    return name.decode()


def order(name: str) -> tuple[int, int]:
    """A stream id as numbers that compare in log order."""
    time, _, number = (name or START).partition("-")
    return int(time), int(number)


def info_lines(text: str) -> dict[str, str]:
    """The answer to INFO as name to value."""
    lines = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name: value for name, _, value in lines}
