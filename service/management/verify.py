"""Proof on a live system that nothing was lost or counted twice: records = log = counts, and state = log.

Everything is read from the store, with other eyes than the servers': claims are walked one by one, and the log row
by row. What a server writes meanwhile is allowed for: a claim must agree with some moment of the walk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from bandits.cells import GROUPS, REWARDED, TOTAL, count_offset
from service.analysis.log_table import entries
from service.errors import ConflictError, CorruptError
from service.experiment.compiled import read
from service.learning.fold.digests import digest_of, intact
from service.learning.fold.past import ListedPast
from service.learning.replica import FORMAT, Replica
from service.management.recount import Recount
from service.store.contract import START, Checkpoint, Checkpointed, Engine, Entry, Loaded, LostError, Store
from service.store.scripts import order


@dataclass(slots=True)
class Verdict:
    """What was found of one experiment: `proved` and `limits` in words, `faults` where something is wrong."""

    uid: str
    name: str = ""
    entries: int = 0
    trials: int = 0
    rewards: int = 0
    records: int = 0  # of decisions whose rewards the store remembers as counted
    proved: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def complete(log: Sequence[Entry]) -> bool:
    """Whether the log reaches back to the experiment's creation."""
    first = log[0].config if log else None
    return first is not None and not log[0].seeded and read(first).version == 1


def fold(
    uid: str,
    log: Sequence[Entry],
    base: Checkpoint | None = None,
    to: str | None = None,
    records: Mapping[int, bytes] = MappingProxyType({}),
) -> Replica:
    """The fold of what comes after `base`, up to and including the entry `to`; `records` are configurations by version.

    CorruptError where it cannot be.
    """
    replica = Replica(uid, Loaded(b"", base), ListedPast(log, records))
    after, until = order(replica.cursor), order(to) if to is not None else None
    replica.fold([e for e in log if order(e.id) > after and (until is None or order(e.id) <= until)])
    replica.cut = None
    return replica


class Examination:
    """One experiment under examination."""

    def __init__(self, store: Store, engine: Engine, uid: str, since: Checkpoint | None = None) -> None:
        self.verdict = Verdict(uid)
        self._uid = uid
        self._loaded = store.load(uid)
        log = list(entries(store, uid))
        recount = Recount(log)
        recount.close()
        self._claims = list(engine.claims(uid))
        later = list(entries(store, uid, log[-1].id if log else START))
        recount.add(later)
        self._now = store.poll({}).now
        self.log = log + later
        self._recount = recount
        self._whole = complete(self.log)
        self._since = since

    def run(self) -> Verdict:
        """Examine it all."""
        verdict = self.verdict
        verdict.entries, verdict.records = len(self.log), len(self._claims)
        verdict.trials, verdict.rewards = self._recount.trials, self._recount.rewards
        try:
            now = self._state()
            verdict.name = now.experiment.name
            self._counts(now)
            self._compare_claims(now)
        except CorruptError as error:
            verdict.faults.append(str(error))
        verdict.faults += self._recount.faults
        return verdict

    def settled(self) -> Replica:
        """The state that can be proved best: the fold of a whole log, else of the tail on the stored checkpoint."""
        return self._fold(None if self._whole else self._loaded.checkpoint)

    def _fold(self, base: Checkpoint | None, to: str | None = None) -> Replica:
        return fold(self._uid, self.log, base, to, self._loaded.history)

    def _state(self) -> Replica:
        """State = fold, bit by bit; returns the state at the log's end."""
        stored, verdict = self._loaded.checkpoint, self.verdict
        if self._loaded.damaged or (stored is not None and not intact(stored)):
            verdict.faults.append(f"the stored checkpoint is damaged: {self._loaded.damaged or 'wrong digest'}")
            stored = None
        if self._loaded.diverged:
            verdict.faults.append(
                "two servers came to different states from one log (lever verify --repair settles it)"
            )
        if not self._whole and gap(self.log, stored):
            verdict.faults.append("the log begins after the checkpoint: entries between them are missing")
        now = self._fold(stored)
        base, said = self._base()
        if base is None and not self._whole:
            verdict.limits.append("the log was trimmed: what came before it is known from the checkpoint alone")
            return now
        if stored is not None and stored.fields.get("format") != FORMAT:
            verdict.limits.append(
                "the checkpoint is of a format before, which says less: it was not compared with the log"
            )
            return self._fold(base)
        if stored is not None and (base is None or order(base.id) <= order(stored.id)):
            then = self._fold(base, stored.id)
            if then.cursor != stored.id or digest_of(then.fields()) != stored.digest:
                verdict.faults.append(f"the checkpoint at {stored.id} is not what the log {said} comes to")
        if self._fold(base).fields() != now.fields():
            verdict.faults.append(f"checkpoint and tail are not what the log {said} comes to")
        verdict.proved.append(f"state = log {said}")
        return now

    def _base(self) -> tuple[Checkpoint | None, str]:
        since = self._since
        if since is not None and self.log and order(self.log[0].id) <= order(since.id):
            return since, f"since {since.id}"
        return None, "from its beginning"

    def _counts(self, now: Replica) -> None:
        """The state's counts against a plain count of rows: of all, or of those after the stored checkpoint."""
        base = None if self._whole else self._loaded.checkpoint
        recount, grown = self._recount, _counts(now)
        if base is not None:
            recount = Recount([e for e in self.log if order(e.id) > order(base.id)])
            grown.subtract(_counts(Replica(self._uid, Loaded(b"", base))))
        rows = recount.counts()
        for name in sorted(set(rows) | set(grown)):
            if grown[name] != rows[name]:
                self.verdict.faults.append(f"{name}: the state counts {grown[name]}, the log {rows[name]}")
        if now.state.rejected:
            self.verdict.faults.append(f"{now.state.rejected} rows name what the configuration does not have")
        self.verdict.proved.append("counts = log" + ("" if base is None else f" since {base.id}"))

    def _compare_claims(self, now: Replica) -> None:
        """Each claim against the rows of its decision, and each rewarded decision against its claim."""
        verdict, recount = self.verdict, self._recount
        beyond, seen = 0, set()
        for held in self._claims:
            name = (held.prefix, held.counter)
            seen.add(name)
            wrong, unknown = recount.judge(held, self._whole)
            verdict.faults += wrong
            beyond += unknown
        if self._whole:
            verdict.faults += recount.sums(now.experiment.composites)
        horizons = [read(e.config).horizon_ms for e in self.log if e.config is not None]
        horizon = min([*horizons, now.experiment.horizon_ms])
        alive = recount.expected(self._loaded.epoch, self._now, horizon)
        missing = alive - seen
        if missing:
            verdict.faults.append(f"{len(missing)} rewarded decisions have no record: they could be counted again")
        if beyond:
            verdict.limits.append(f"{beyond} records are older than the log that is kept")
        verdict.proved.append("records = log")


def examined(
    store: Store, engine: Engine, uid: str, since: Checkpoint | None = None
) -> tuple[Verdict, Examination | None]:
    """What is found of an experiment; no Examination where its data cannot even be read."""
    try:
        examination = Examination(store, engine, uid, since)
    except (CorruptError, LostError) as error:
        return Verdict(uid, faults=[str(error)]), None
    return examination.run(), examination


def gap(log: Sequence[Entry], checkpoint: Checkpoint | None) -> bool:
    """Whether a log that was trimmed begins after the checkpoint it is to be folded on: what came between is gone."""
    return checkpoint is not None and bool(log) and order(log[0].id) > order(checkpoint.id)


def repair(store: Store, examination: Examination) -> str:
    """Store the state that can be proved in place of a damaged or disputed checkpoint; the id it is at."""
    settled = replace(examination.settled().whole(), heal=True)
    answer = store.checkpoint(examination.verdict.uid, settled)
    if answer is not Checkpointed.STORED:
        raise ConflictError(f"the log moved on; try again ({answer.value})")
    return settled.id


def _counts(replica: Replica) -> Counter[str]:
    """Lifetime counts of a state, by name; all segments, arms and groups together, and what is excluded."""
    out = Counter[str]()
    for state in (replica.state, *replica.asides.states.values()):
        for segment in range(state.rules.segments):
            total = state.lifetime(segment).sum(axis=0)
            out["trials"] += int(total[:GROUPS].sum())
            for metric in range(state.rules.metrics):
                for at in (count_offset(metric, group) for group in range(GROUPS)):
                    out[f"rewarded[{metric}]"] += int(total[at + REWARDED])
                    out[f"total[{metric}]"] += int(total[at + TOTAL])
    return out
