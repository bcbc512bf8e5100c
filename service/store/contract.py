"""The store: where the log, the claims, the configurations and the checkpoints live.

Two implementations (`memory`, `redis`) pass one suite, tests/contract. All of an experiment's data is under its uid. Times are
milliseconds of the store's own clock. Every call raises UnavailableError when the store cannot be reached or refuses to write (nothing
was applied, or sending the same again is recognised), and LostError when it no longer knows an experiment that was not deleted.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.errors import CorruptError, UnavailableError
from service.store.rows import Composite

START = "0-0"  # the id before the first entry
NOWHERE = -1  # the session over which nothing is read


class UnreachableError(UnavailableError):
    """No answer at all: no connection, or none in time. What was sent may have been applied."""


class PartAwayError(UnavailableError):
    """The part of the store that keeps this experiment does not answer. The others may: one primary of a cluster."""

    reason = "STORE_PART_AWAY"


class LostError(UnavailableError):
    """The store forgot an experiment that nobody deleted (flushed, wrong database, restored from an old copy)."""

    reason = "STORE_LOST_EXPERIMENT"

    @classmethod
    def of(cls, uid: str) -> LostError:
        """The error of this experiment."""
        return cls(f"the store does not know experiment {uid}")


class SpoiltError(UnavailableError):
    """What is kept of something that the call names is not what it should be; calls that do not name it go on."""


class Outcome(enum.IntEnum):
    """What became of a reward or exposure; the numbers are those of the wire."""

    APPLIED = 1
    DUPLICATE = 2
    LATE = 3
    IGNORED = 4
    RETRACTED = 5  # the event was taken back before it came: not counted
    TOO_SOON = 6  # within the metric's min_delay: not counted, and no store is asked
    TOO_MANY_EVENTS = -1  # the 65th distinct event of a decision and metric: refused, nothing written
    TOTAL_OUT_OF_RANGE = -2  # the new total would leave what a cell can hold: refused, nothing written
    NOTHING_TO_LOWER = -3  # a refund where the total is at its bound: refused, nothing written
    VALUE_UNKNOWN = -4  # to be taken back, but counted before values of events were kept: refused, nothing written


class Aggregate(enum.IntEnum):
    """How the rewards of one decision and metric become its total."""

    FIRST = 0
    SUM = 1
    LAST = 2
    MAX = 3


class Act(enum.IntEnum):
    """What is done with the event of a claim."""

    COUNT = 0
    RETRACT = 1  # it no longer counts, or will not once it comes; the decision stays a trial
    FORGET = 2  # of a row of history: neither its trial nor its reward counts, and it can be taught again


@dataclass(slots=True)  # not frozen: to make one would take six times as long, and each reward needs one
class Claim:
    """One reward or exposure to be counted once.

    `row` is a packed reward row (rows.py); `metric` is NO_METRIC for an exposure. `value` is in units of
    `reward.unit`, an integer. `event` is the caller's event id, b"" for none. `deadline` is the last store time
    at which it still counts; `expires` is when the claim itself may be forgotten (never before `deadline`).
    `deferred`: the decision becomes a trial with its first exposure or reward. `act`: what is done with the event;
    `floored`: a negative value of a sum lowers the total to 0 at most. `moves`: metrics that the total is part of.
    """

    prefix: int
    counter: int
    time: int
    row: bytes
    metric: int
    value: int
    aggregate: Aggregate
    event: bytes
    deadline: int
    expires: int
    deferred: bool
    limit: int  # the total may not leave [-limit, limit]
    act: Act = Act.COUNT
    floored: bool = False
    moves: tuple[Composite, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an experiment's log. Exactly one of config, trials, rewards is set.

    `late` rows are logged and never counted. `totals` has a triple (old, new, exposes) for each reward row;
    exposes is 1 where it made the decision a trial, -1 where history is taken back, else 0. `seeded`:
    a configuration that came with a checkpoint; what it stands on is there, not in the log.
    """

    id: str
    stride: int = 0
    config: bytes | None = None
    trials: bytes | None = None
    rewards: bytes | None = None
    totals: Sequence[tuple[int, int, int]] = ()
    late: bool = False
    seeded: bool = False

    @property
    def time(self) -> int:
        """Store time of the entry, milliseconds."""
        return int(self.id.split("-", 1)[0])


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll brought: the store's time, the registry (name to uid), and the new entries by uid.

    `more` says that entries were left for the next poll. `session` names the connection: another one means that the
    store was away in between, however shortly, or is another one. `damaged` says of which uids the log cannot be read,
    and why. `rewound` are those with new entries whose log no longer has the entry at the cursor: its end was lost,
    or it was trimmed. `eviction` is the engine's policy, "" where it is not told. In a store of several parts `session`
    is always the same, and `sessions` has the connection of each experiment, NOWHERE while its part does not answer;
    `away` are those that were asked for in vain.
    """

    now: int
    registry: Mapping[str, str]
    entries: Mapping[str, Sequence[Entry]]
    more: bool = False
    session: int = 0
    damaged: Mapping[str, str] = field(default_factory=dict)
    rewound: frozenset[str] = frozenset()
    eviction: str = ""
    sessions: Mapping[str, int] | None = None
    away: frozenset[str] = frozenset()

    def session_of(self, uid: str) -> int:
        """The connection over which an experiment is read."""
        return self.session if self.sessions is None else self.sessions[uid]

    def of(self, uid: str) -> Sequence[Entry]:
        """The new entries of an experiment. PartAwayError where it was asked for in vain, CorruptError where it is damaged."""
        if uid in self.away:
            raise PartAwayError("store: the part with this experiment does not answer")
        if uid in self.damaged:
            raise CorruptError(self.damaged[uid])
        return self.entries.get(uid, ())


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A fold up to and including the entry `id`, as fields (canonical bytes by name).

    `fields` has every field that changed since `base`, `removed` those that went; base None: `fields` is all
    there is. `rows` is the number of rows folded from the log's beginning, `size` the bytes of all fields,
    `digest` the SHA-256 over all of it. `keep` is the oldest entry time that must stay in the log, where it has no more
    than `most` bytes (0: any number). `heal` replaces whatever is stored, diverged or not, and trims nothing.
    """

    id: str
    base: str | None
    rows: int
    size: int
    digest: str
    fields: Mapping[str, bytes]
    removed: Sequence[str] = ()
    keep: int = 0
    most: int = 0
    heal: bool = False


@dataclass(frozen=True, slots=True)
class Seed:
    """What an experiment begins with when it is brought back: a state, and the log that led there, if it is kept.

    The checkpoint's id is not used; it is stored at the entry that the write appends. Claims cannot be brought back,
    so decisions made before `epoch`, or before the write, are over: their rewards are LATE, their trials dropped.
    """

    checkpoint: Checkpoint
    epoch: int
    entries: Sequence[Entry] = ()


@dataclass(frozen=True, slots=True)
class Put:
    """A configuration to be written: created where `expected` is 0, else replacing exactly that version.

    `record` None deletes the experiment instead, leaving a mark that it was meant; with `expected` 0, one that
    the store has lost. `seed` creates it, in one step, with all that it holds, deleted before or not.
    `since`: what is written needs the log from this id on. It is refused where that was trimmed, and no checkpoint of
    before trims it.
    """

    uid: str
    name: str
    version: int
    expected: int
    record: bytes | None
    seed: Seed | None = None
    since: str = ""


class Checkpointed(enum.Enum):
    """What became of a checkpoint."""

    STORED = "stored"
    SAME = "same"  # that very id is stored with the same digest
    DIVERGED = "diverged"  # that very id is stored with another digest; both are kept
    STALE = "stale"  # another base is stored, or the entry it ends at is gone


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a starting server needs: the newest configuration and the checkpoint, if there is one.

    `damaged` says why a stored checkpoint was not fit to be returned. `diverged`: two servers differed over it.
    `epoch` is that of the last Seed, else 0.
    """

    record: bytes
    checkpoint: Checkpoint | None = None
    history: Mapping[int, bytes] = field(default_factory=dict)
    damaged: str = ""
    diverged: bool = False
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """A claim as it is kept: metric to (total, least and greatest number of rows of the log that led to it)."""

    prefix: int
    counter: int
    day: int
    exposed: bool
    totals: Mapping[int, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that somebody did: what, with which key, to which experiment ("" for what concerns none).

    `version` is that of a configuration written with it, else 0. `at_ms` is the store's time, set when it is kept.
    """

    what: str
    by: str
    experiment: str = ""
    version: int = 0
    detail: str = ""
    at_ms: int = 0


class Journal(Protocol):
    """Events in the order in which they were kept. Calls raise UnavailableError as those of a Store do."""

    def note(self, event: Event, once: str = "") -> None:
        """Keep an event. With `once`, the same word again within a minute keeps nothing: several servers saw one thing."""

    def events(self, experiment: str = "", limit: int = 1000) -> list[Event]:
        """The newest first, at most `limit`: of one experiment, or all."""


class Store(Protocol):
    """The seam between the personalizer and whatever keeps its data."""

    def put(self, put: Put) -> None:
        """Write a configuration and append it to the log, in one step; or delete an experiment.

        Raises ConflictError if the stored version is not `expected`, or the name was taken meanwhile (then
        nothing of the new uid is left). The name's registration is the last thing written.
        """

    def load(self, uid: str) -> Loaded:
        """The newest configuration with its history, and the checkpoint. LostError if there is none."""

    def poll(self, cursors: Mapping[str, str], limit: int = 1000, *, listed: bool = True) -> Poll:
        """New log entries after each uid's cursor, at most `limit` a uid. `listed` False: the registry as it was read last."""

    def deleted(self, uids: Collection[str]) -> frozenset[str]:
        """Those that were deleted on purpose. A deletion is remembered for 30 days, by when every server has seen it."""

    def append(self, uid: str, writer: str, sequence: int, stride: int, trials: bytes, horizon: int) -> int:
        """Append trial rows once: a `sequence` not above the writer's last is a no-op. Returns rows dropped.

        Rows whose time is more than `horizon` ms ago are dropped: their rewards could no longer arrive.
        """

    def claim(self, uid: str, claims: Sequence[Claim]) -> list[Outcome]:
        """Count each claim once and append those that changed something, each before the metrics it moved, in one atomic step.

        All are judged before any is written. Claims of one call may name the same decision; they are taken in order. A
        claim past its deadline, or of a decision before the experiment's epoch, is LATE: so in the log, not counted.
        """

    def remember(self, word: str, proposal: bytes, expires: int) -> bytes:
        """What is kept under `word`: `proposal` where nothing was, and then until `expires`."""

    def claim_each(self, calls: Sequence[tuple[str, Sequence[Claim]]]) -> list[list[Outcome] | UnavailableError]:
        """Several calls of `claim` by uid, in order and in one round trip: the outcomes of each, or why it has none.

        Raises UnavailableError where that is so of all of them.
        """

    def checkpoint(self, uid: str, checkpoint: Checkpoint) -> Checkpointed:
        """Store a checkpoint if its base is the stored one, and trim the log behind the checkpoint before last."""

    def versions(self, uid: str) -> Mapping[int, bytes]:
        """The newest configurations of an experiment, 50 at most, by version in rising order; none of an unknown one."""

    @property
    def journal(self) -> Journal:
        """What people did, kept beside the experiments."""


class Engine(Protocol):
    """What the composition root asks of a store's engine, beside Store."""

    def secret(self, name: str, proposal: bytes) -> bytes:
        """The secret kept under `name`; `proposal` is kept if there is none yet. For token keys."""

    def agree(self, name: str, marks: Sequence[str]) -> bool:
        """Whether one of the marks is kept under `name`, or none were; then these are kept. For telling keys apart."""

    def claims(self, uid: str) -> Iterator[Held]:
        """Every claim kept of an experiment; each as it stood at some moment of the walk. For verification."""

    def facts(self) -> Mapping[str, str]:
        """What the engine is and promises: `engine`, `version`, `fsync`, `eviction`, `memory`; words for people."""

    def close(self) -> None:
        """Let go of connections."""
