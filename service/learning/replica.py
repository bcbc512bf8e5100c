"""One experiment as this process knows it: the fold of its log so far, and the snapshots derived from it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bandits.cells import POLICY
from bandits.effect import crowding
from bandits.policy import POLICIES
from bandits.posterior import Sums
from bandits.state import Rows, Rules, State, Totals
from bandits.subjects import NEVER
from service.errors import CorruptError
from service.experiment.compiled import Experiment, read
from service.experiment.guardrails import guarded
from service.learning.bounds import bounds_of
from service.learning.reviews import FIELD, OLD_FIELDS, Reviews, reviewed
from service.serving.snapshot import Slot, Snapshot
from service.store import rows as layout
from service.store.contract import START, Checkpoint, Entry, Loaded
from service.store.entries import joined

CHECKPOINT_ROWS = 10_000  # rows between checkpoints at the least
CHECKPOINT_SHARE = 64  # and at least a row for so many bytes of checkpoint
FORMAT = b"2"
READ_FORMATS = (b"1", FORMAT)  # "1" had no sums by propensity


class Replica:
    """Folds entries in order, cuts checkpoints where the log says so. Used by one thread."""

    def __init__(self, uid: str, loaded: Loaded) -> None:
        self.uid = uid
        self.cursor = START
        self.rows = 0  # folded since the log's beginning
        self.touched = 0  # id time of the last entry
        self.stored: Checkpoint | None = loaded.checkpoint
        self.cut: Checkpoint | None = None  # a checkpoint due, not yet sent
        self._record = b""
        self._experiment: Experiment | None = None
        self._state: State | None = None
        self._slots: dict[int, Slot] = {}
        self._leaders: dict[int, tuple[Slot, int]] = {}  # of an experiment that has ended: its slots' best arms
        self._changed: set[int] = set()
        self.reviews = Reviews()
        self._sent: dict[str, bytes] = {}  # digest of each field of the stored checkpoint
        if loaded.checkpoint is not None:
            self._restore(loaded.checkpoint)

    # -- what is known -----------------------------------------------------------------------------------------

    @property
    def experiment(self) -> Experiment:
        """The configuration in force at the cursor. CorruptError before the log's first entry was folded."""
        if self._experiment is None:
            raise CorruptError(f"the log of {self.uid} does not begin with a configuration")
        return self._experiment

    @property
    def state(self) -> State:
        """The folded sums."""
        if self._state is None:
            raise CorruptError(f"the log of {self.uid} does not begin with a configuration")
        return self._state

    @property
    def begun(self) -> bool:
        """Whether a configuration was folded yet."""
        return self._experiment is not None

    # -- fold --------------------------------------------------------------------------------------------------

    def fold(self, entries: Sequence[Entry]) -> None:
        """Fold entries in log order; a checkpoint that falls due on the way is left in `cut`."""
        run: list[Entry] = []
        for entry in entries:
            if entry.config is not None:
                self._fold_run(run)
                run = []
                self._configure(entry)
            else:
                run.append(entry)
                self.rows += _count(entry)
            if _brings_trials(entry) and reviewed(self.experiment) and self.reviews.due(self.rows, entry.time):
                self._fold_run(run)
                run = []
                self._advance(entry)
                self._changed |= self.reviews.review(self.state, self.experiment, self.rows, entry.time)
            if self.cut is None and self._experiment is not None and self.rows >= self._threshold():
                self._fold_run(run)
                run = []
                self._advance(entry)
                self.cut = self._next_checkpoint()
        self._fold_run(run)
        if entries:
            self._advance(entries[-1])

    def idle(self, now_ms: int, idle_ms: int = 10_000) -> None:
        """Cut a checkpoint if the log has been quiet for this long and there is something new to keep."""
        quiet = self.begun and self.touched and now_ms - self.touched > idle_ms
        if self.cut is None and quiet and (self.stored is None or self.stored.id != self.cursor):
            self.cut = self._next_checkpoint()

    def _advance(self, entry: Entry) -> None:
        self.cursor = entry.id
        self.touched = entry.time
        if self._state is not None:
            before = len(self._state.buckets)
            self._state.settle(entry.time)
            if len(self._state.buckets) != before:  # merged buckets are weighted together
                self._changed = set(range(self._state.rules.segments))

    def _configure(self, entry: Entry) -> None:
        assert entry.config is not None
        if self._state is not None:
            self._state.settle(entry.time)  # what came before is settled under the rules it came under
        self._adopt(entry.config, entry.seeded)

    def _adopt(self, record: bytes, seeded: bool) -> None:
        experiment = read(record)
        rules = rules_of(experiment)
        if self._state is None and (experiment.version != 1 or seeded):
            raise CorruptError(f"the log of {self.uid} was trimmed and its checkpoint is missing")
        self._record, self._experiment = record, experiment
        self._leaders.clear()
        if self._state is None:
            self._state = State(rules)
        else:
            self._state.adopt(rules)
        self._changed = set(range(rules.segments))

    def _fold_run(self, run: Sequence[Entry]) -> None:
        for stride in {e.stride for e in run}:
            same = [e for e in run if e.stride == stride and not e.late]
            trials = [e for e in same if e.trials]
            if trials:
                self._fold_trials(trials)
            rewards = [e for e in same if e.rewards]
            if rewards:
                self._fold_rewards(rewards)

    def _sound(self, entries: Sequence[Entry]) -> layout.Rows:
        packed = joined(entries)
        bounds_of(self.experiment).check(entries, packed)
        return packed

    def _fold_trials(self, entries: Sequence[Entry]) -> None:
        rows = _columns(self._sound(entries))
        self.state.add_trials(rows)
        self._changed.update(np.unique(rows.segment).tolist())

    def _fold_rewards(self, entries: Sequence[Entry]) -> None:
        packed = self._sound(entries)
        rows = _columns(packed)
        totals = np.array([t for e in entries for t in e.totals], np.int64).reshape(-1, 3)
        arrived = np.repeat([e.time for e in entries], [len(e.totals) for e in entries]).astype(np.int64)
        metric = packed["metric"].astype(np.int64)
        metric[metric == layout.NO_METRIC] = -1
        columns_of = (np.ascontiguousarray(totals[:, i]) for i in range(3))
        old, new, exposes = columns_of
        self.state.add_rewards(rows, Totals(metric, old, new, exposes, np.maximum(arrived - rows.time, 0)))
        self._changed.update(np.unique(rows.segment).tolist())

    # -- snapshots ---------------------------------------------------------------------------------------------

    def snapshot(self, now_ms: int) -> Snapshot:
        """What can be served now. Slots are derived from the fold alone; `now_ms` only tells which arms are in date."""
        experiment, state = self.experiment, self.state
        if experiment.half_life_ms is not None:
            self._changed = set(range(state.rules.segments))  # everything ages at once
        policy = POLICIES[experiment.algorithm]
        for segment in range(state.rules.segments):
            arms = np.array(experiment.eligible(segment, now_ms), np.int64)
            known = self._slots.get(segment)
            if segment in self._changed or known is None or not np.array_equal(known.arms, arms):
                sums = state.sums(segment, self.reviews.weights(state, experiment, segment, self.touched))
                side = self.reviews.side(experiment, state.rules, segment)
                slot = Slot.derive(segment, arms, policy, experiment.settings, sums, experiment.priors, side)
                self._slots[segment] = slot.judged(self._crowding(segment, sums), state.lifetime(segment), experiment)
        self._changed.clear()
        slots = tuple(self._slots[s] for s in range(state.rules.segments))
        return Snapshot(experiment, slots, self.cursor, experiment.next_change(now_ms), self._winners(slots))

    def _winners(self, slots: Sequence[Slot]) -> tuple[int, ...]:
        """Each segment's own winner, where that is what an experiment that has ended serves."""
        experiment = self.experiment
        if not experiment.winner_learned:
            return ()
        for slot in slots:
            known = self._leaders.get(slot.segment)
            if known is None or known[0] is not slot:
                learns = experiment.segments.draws(slot.segment)
                leader = slot.leader(experiment.primary) if learns else None
                self._leaders[slot.segment] = (slot, experiment.default_arm if leader is None else leader)
        return tuple(self._leaders[slot.segment][1] for slot in slots)

    def _crowding(self, segment: int, sums: Sums) -> float:
        """How much the policy's trials go together by subject (bandits/effect.py)."""
        metric, lift = self.experiment.primary, self.state.subjects.lift[segment, POLICY]
        n, s1, s2 = (float(column.sum()) for column in (sums.n, sums.s1, sums.s2))
        if n <= 0.0:
            return 1.0
        totals = lift[1 + metric.number] * (metric.unit / metric.scale)
        return crowding(lift[0].astype(np.float64), totals.astype(np.float64), s2 / n - (s1 / n) ** 2)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def fields(self) -> dict[str, bytes]:
        """Everything a restarting server needs, canonical: equal for equal prefixes of the log."""
        return self.state.fields() | self.reviews.fields() | {"format": FORMAT, "config": self._record}

    def sent(self, checkpoint: Checkpoint) -> None:
        """The store holds this checkpoint now (we wrote it, or another server wrote the same)."""
        self.stored = checkpoint
        for name in checkpoint.removed:
            self._sent.pop(name, None)
        if checkpoint.base is None:
            self._sent.clear()
        self._sent.update({name: _digest(value) for name, value in checkpoint.fields.items()})
        self.cut = None

    def whole(self) -> Checkpoint:
        """A checkpoint at the cursor that stands on nothing."""
        return self._checkpoint(base=None)

    def heal(self) -> None:
        """What is stored is no good: one that replaces it whole is due."""
        self._sent.clear()
        self.cut = replace(self.whole(), heal=True)

    def superseded(self, stored: Checkpoint | None) -> None:
        """Another server's checkpoint is stored; the next one of ours starts from scratch."""
        self.stored = stored
        self._sent.clear()
        self.cut = None

    def _threshold(self) -> int:
        stored = self.stored
        if stored is None:
            return CHECKPOINT_ROWS
        return stored.rows + max(CHECKPOINT_ROWS, stored.size // CHECKPOINT_SHARE)

    def _next_checkpoint(self) -> Checkpoint:
        return self._checkpoint(self.stored.id if self.stored is not None and self._sent else None)

    def _checkpoint(self, base: str | None) -> Checkpoint:
        fields = self.fields()
        digests = {name: _digest(value) for name, value in fields.items()}
        changed = {n: v for n, v in fields.items() if base is None or self._sent.get(n) != digests[n]}
        keep = self.touched - self.experiment.keep_ms
        return Checkpoint(
            id=self.cursor, base=base, rows=self.rows, size=sum(map(len, fields.values())),
            digest=digest(digests), fields=changed,
            removed=[n for n in self._sent if n not in fields] if base else [], keep=max(keep, 0),
        )  # fmt: skip

    def _restore(self, checkpoint: Checkpoint) -> None:
        fields = dict(checkpoint.fields)
        digests = {name: _digest(value) for name, value in fields.items()}
        if digest(digests) != checkpoint.digest:
            raise CorruptError(f"the checkpoint of {self.uid} does not match its digest")
        try:
            form = fields.pop("format")
            if form not in READ_FORMATS:
                raise CorruptError(f"the checkpoint of {self.uid} has a format this version does not read")
            self._record = fields.pop("config")
            self.reviews = Reviews(fields.pop(FIELD, None))
            for name in OLD_FIELDS:
                fields.pop(name, None)
            self._experiment = read(self._record)
            self._state = State.restore(rules_of(self._experiment), fields)
        except (KeyError, IndexError, ValueError, struct.error) as error:
            raise CorruptError(f"the checkpoint of {self.uid} does not decode: {error!r}") from error
        self._changed = set(range(self._state.rules.segments))
        self._sent = digests
        self.cursor = checkpoint.id
        self.rows = checkpoint.rows
        self.touched = int(checkpoint.id.split("-")[0])
        if form != FORMAT:
            self._state.subjects.begun = self.touched
        self._state.settle(self.touched)


def rules_of(experiment: Experiment) -> Rules:
    """What the fold needs of a configuration."""
    metric = experiment.primary
    low, high = (round(v / metric.unit) for v in (metric.minimum, metric.maximum))
    return Rules(
        segments=len(experiment.segments.ids), arms=len(experiment.arms), metrics=len(experiment.metrics),
        columns=experiment.design.columns, primary=metric.number, low=low, high=high, horizon_ms=experiment.horizon_ms,
        products=experiment.design, grid=experiment.numbers.grid, version=experiment.version, applied_ms=experiment.applied_at_ms,
        control=(experiment.holdout_share, experiment.holdout_uniform, experiment.default_arm),
        windows=_windows(experiment), guarded=guarded(experiment),
    )  # fmt: skip


def _windows(experiment: Experiment) -> NDArray[np.int64]:
    """i8[segments, arms, 2]: from and until when each arm may be drawn, milliseconds; 0 and 0: not at all."""
    out = np.zeros((len(experiment.segments.ids), len(experiment.arms), 2), np.int64)
    for arm in experiment.arms:
        if arm.state == "active":
            where = slice(None) if arm.segments is None else sorted(arm.segments)
            out[where, arm.number] = (arm.start_ms or 0, NEVER if arm.end_ms is None else arm.end_ms)
    return out


def digest(digests: Mapping[str, bytes]) -> str:
    """SHA-256 over the fields' names and digests in order; the same for the same state, however it came about."""
    whole = hashlib.sha256()
    for name in sorted(digests):
        whole.update(name.encode() + b"\0" + digests[name])
    return whole.hexdigest()


def intact(checkpoint: Checkpoint) -> bool:
    """Whether a whole checkpoint is what its digest says."""
    return digest_of(checkpoint.fields) == checkpoint.digest


def digest_of(fields: Mapping[str, bytes]) -> str:
    """`digest` of the fields themselves."""
    return digest({name: _digest(value) for name, value in fields.items()})


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _brings_trials(entry: Entry) -> bool:
    """Whether trials come with it. Between flushes the log has rewards of trials that it does not have yet."""
    return entry.trials is not None or any(exposes for _, _, exposes in entry.totals)


def _count(entry: Entry) -> int:
    """Rows of an entry."""
    return len(entry.trials or entry.rewards or b"") // entry.stride if entry.stride else 0


def _columns(packed: layout.Rows) -> Rows:
    fields = (packed[name].astype(np.int64) for name in ("time", "segment", "arm", "flags", "bucket"))
    time, segment, arm, flags, bucket = fields
    version = packed["version"].astype(np.int64)
    return Rows(time, segment, arm, flags, bucket, packed["x"], packed["propensity"].astype(np.float64), version)
