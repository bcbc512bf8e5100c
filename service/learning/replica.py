"""One experiment as this process knows it: the fold of its log so far, and the snapshots derived from it."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bandits.asides import PREFIX, Asides
from bandits.cells import POLICY
from bandits.effect import crowding
from bandits.policy import POLICIES
from bandits.posterior import Sums
from bandits.state import State
from service.errors import CorruptError
from service.experiment.compiled import Experiment, read
from service.learning.fold.aside import aside_of, exclusions_of
from service.learning.fold.batches import batches, brings_trials, count
from service.learning.fold.digests import digest, field_digest
from service.learning.fold.kept import Kept
from service.learning.fold.past import Past
from service.learning.fold.rules import rules_of
from service.learning.reviews import FIELD, OLD_FIELDS, Reviews, reviewed
from service.serving.snapshot import Slot, Snapshot
from service.store.contract import START, Checkpoint, Entry, Loaded
from service.store.scripts import STATE_FORMAT

CHECKPOINT_ROWS = 10_000  # rows between checkpoints at the least
CHECKPOINT_SHARE = 64  # and at least a row for so many bytes of checkpoint
FORMAT = b"%d" % STATE_FORMAT
# "1" had no sums by propensity, "2" none by hour and day, "3" not the time in which an arm that is closed could be drawn.
READ_FORMATS = (b"1", b"2", b"3", FORMAT)


class Replica:
    """Folds entries in order, cuts checkpoints where the log says so. Used by one thread."""

    def __init__(self, uid: str, loaded: Loaded, past: Past | None = None) -> None:
        """`past` is asked for rows that a configuration excludes after they were folded."""
        self.uid = uid
        self._past = past
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
        self.asides = Asides()  # what is excluded
        self._kept = Kept()  # the stored checkpoint
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
                self.rows += count(entry)
            if brings_trials(entry) and reviewed(self.experiment) and self.reviews.due(self.rows, entry.time):
                self._fold_run(run)
                run = []
                self._advance(entry)
                self._changed |= self.reviews.review(self.state, self.experiment, self.rows, entry.time)
            if self.cut is None and self._experiment is not None and self.rows >= self._threshold():
                self._fold_run(run)
                run = []
                self._advance(entry)
                self.cut = self.step(self._kept)
        self._fold_run(run)
        if entries:
            self._advance(entries[-1])

    def idle(self, now_ms: int, idle_ms: int = 10_000) -> None:
        """Cut a checkpoint if the log has been quiet for this long and there is something new to keep."""
        if self.cut is None and self.due(now_ms, idle_ms):
            self.cut = self.step(self._kept)

    def due(self, now_ms: int, idle_ms: int = 10_000) -> bool:
        """Whether a checkpoint is, or waits to be sent."""
        if self.cut is not None:
            return True
        quiet = self.begun and self.touched and now_ms - self.touched > idle_ms
        stored = self.stored
        # One of a format before counts as none: while servers of two versions run, the older may always be the first to cut.
        return bool(quiet) and (
            stored is None or stored.id != self.cursor or stored.fields.get("format", FORMAT) != FORMAT
        )

    def _advance(self, entry: Entry) -> None:
        self.cursor = entry.id
        self.touched = entry.time
        if self._state is not None:
            before = len(self._state.buckets)
            self._state.settle(entry.time)
            self.asides.settle(entry.time)
            if len(self._state.buckets) != before:  # merged buckets are weighted together
                self._changed = set(range(self._state.rules.segments))

    def _configure(self, entry: Entry) -> None:
        assert entry.config is not None
        if self._state is not None:
            self._state.settle(entry.time)  # what came before is settled under the rules it came under
            self.asides.settle(entry.time)
        self._adopt(entry.config, entry.seeded)
        self._set_aside(entry)

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
            self.asides.adopt(rules)
        self._changed = set(range(rules.segments))

    def _set_aside(self, entry: Entry) -> None:
        """Take out what the configuration newly excludes, put back what it no longer does, and look at it all anew."""
        wanted, held = exclusions_of(self.experiment), self.asides.exclusions
        for exclusion in held:
            if exclusion not in wanted:
                self.asides.include(self.state, exclusion.number)
        for exclusion in wanted:
            if exclusion not in held:
                aside = aside_of(self.state, exclusion, self.experiment, self._past, entry)
                self.asides.exclude(self.state, exclusion, aside)
        if wanted != held:
            self.reviews = Reviews()
            if reviewed(self.experiment):
                self.reviews.review(self.state, self.experiment, self.rows, entry.time)

    def _fold_run(self, run: Sequence[Entry]) -> None:
        for rows, totals in batches(run, self.experiment) if run else ():
            if totals is None:
                self.asides.add_trials(self.state, rows)
            else:
                self.asides.add_rewards(self.state, rows, totals)
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
                of = experiment.settings, sums, experiment.priors, side, experiment.costs
                slot = Slot.derive(segment, arms, policy, *of)
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
        return (
            self.state.fields()
            | self.asides.fields()
            | self.reviews.fields()
            | {"format": FORMAT, "config": self._record}
        )

    def sent(self, checkpoint: Checkpoint) -> None:
        """The store holds this checkpoint now (we wrote it, or another server wrote the same)."""
        self.stored = checkpoint
        self._kept.took(checkpoint)
        self.cut = None

    def step(self, kept: Kept) -> Checkpoint:
        """A checkpoint at the cursor, as what changes what is kept into it."""
        keep = self.touched - self.experiment.keep_ms
        whole = Checkpoint(
            id=self.cursor, base=None, rows=self.rows, size=0, digest="", fields=self.fields(), keep=max(keep, 0),
            most=self.experiment.keep_bytes,
        )  # fmt: skip
        return kept.step(whole)

    def whole(self) -> Checkpoint:
        """A checkpoint at the cursor that stands on nothing."""
        return self.step(Kept())

    def heal(self) -> None:
        """What is stored is no good: one that replaces it whole is due."""
        self._kept.forget()
        self.cut = replace(self.whole(), heal=True)

    def superseded(self, stored: Checkpoint | None) -> None:
        """Another server's checkpoint is stored; the next one of ours starts from scratch."""
        self.stored = stored
        self._kept.forget()
        self.cut = None

    def _threshold(self) -> int:
        stored = self.stored
        if stored is None:
            return CHECKPOINT_ROWS
        return stored.rows + max(CHECKPOINT_ROWS, stored.size // CHECKPOINT_SHARE)

    def _restore(self, checkpoint: Checkpoint) -> None:
        fields = dict(checkpoint.fields)
        digests = {name: field_digest(value) for name, value in fields.items()}
        if digest(digests) != checkpoint.digest:
            raise CorruptError(f"the checkpoint of {self.uid} does not match its digest")
        try:
            form = fields.pop("format")
            if form not in READ_FORMATS:
                known = ", ".join(read.decode() for read in READ_FORMATS)
                raise CorruptError(
                    f"the checkpoint of {self.uid} has format {form.decode(errors='replace')}; this version reads {known}"
                )
            self._record = fields.pop("config")
            self.reviews = Reviews(fields.pop(FIELD, None))
            for name in OLD_FIELDS:
                fields.pop(name, None)
            self._experiment = read(self._record)
            rules = rules_of(self._experiment)
            self.asides = Asides.restore(rules, exclusions_of(self._experiment), fields)
            self._state = State.restore(rules, fields)
        except (KeyError, IndexError, ValueError, struct.error) as error:
            raise CorruptError(f"the checkpoint of {self.uid} does not decode: {error!r}") from error
        if form == FORMAT:  # else the next one of ours stands on nothing
            self._kept.holds(checkpoint.id, digests)
        self._stand_at(checkpoint)
        if form == READ_FORMATS[0]:
            self._state.subjects.begun = self.touched
        if form in READ_FORMATS[:2]:
            self._state.begin_periods(self.touched)
        self._state.settle(self.touched)
        self.asides.settle(self.touched)

    def renew(self, checkpoint: Checkpoint, changed: Mapping[str, bytes]) -> bool:
        """Go on to a state that differs from this one in the fields `changed`; false where it has to be restored whole."""
        if any(name in ("config", "format") or name.startswith(f"{PREFIX}/") for name in changed):
            return False
        if not self.state.renew({name: value for name, value in changed.items() if name != FIELD}):
            return False
        if FIELD in changed:
            self.reviews = Reviews(changed[FIELD])
        self._stand_at(checkpoint)
        self.state.settle(self.touched)
        self.asides.settle(self.touched)
        return True

    def _stand_at(self, checkpoint: Checkpoint) -> None:
        self._changed = set(range(self.state.rules.segments))
        self.cursor = checkpoint.id
        self.rows = checkpoint.rows
        self.touched = int(checkpoint.id.split("-")[0])
