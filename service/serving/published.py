"""What the choosing threads see: the published snapshots, swapped whole by the feed. Reading takes no lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.errors import NotFoundError, UnavailableError
from service.experiment.compiled import Experiment
from service.serving.buffer import Buffer
from service.serving.snapshot import Snapshot


@dataclass(slots=True)
class Published:
    """Snapshots by name and by uid, and each experiment's buffer of trials."""

    buffer_bytes: int = 64 << 20
    stale: bool = True  # the store is away, or was not reached yet
    away: bool = False  # the last call found nobody there: rewards are refused at once, until a poll is answered
    read: bool = False  # all that the store has was read once: what is not here now is not there
    parted: frozenset[str] = frozenset()  # experiments, by uid, whose part of the store is away
    rest_s: float = 0.0  # what nobody asks for is brought up to date this seldom, though it is read as ever
    asked: dict[str, bool] = field(default_factory=dict)  # names that were asked for since the feed took note
    by_name: Mapping[str, Snapshot] = field(default_factory=dict)
    by_uid: Mapping[str, Snapshot] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)

    def publish(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Replace everything by these, by uid. Names are those the snapshots carry."""
        for uid in snapshots:
            if uid not in self.buffers:
                self.buffers[uid] = Buffer(self.buffer_bytes)
        self.by_uid = dict(snapshots)
        self.by_name = {s.experiment.name: s for s in snapshots.values()}

    def renew(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Replace some of what is published, under the names that it has."""
        self.by_uid = {**self.by_uid, **snapshots}
        has = self.by_name
        ours = {s.experiment.name: s for uid, s in snapshots.items() if has[s.experiment.name].experiment.uid == uid}
        self.by_name = {**has, **ours}  # the rest are lost ones, whose names are others' by now

    def outdated(self, uid: str) -> bool:
        """Whether what is published of an experiment may lack what the store has."""
        return self.stale or uid in self.parted

    def named(self, name: str) -> Snapshot:
        """The snapshot of the experiment of this name; NotFoundError, UnavailableError while that cannot be told."""
        snapshot = self.by_name.get(name)
        if snapshot is None:
            raise _unknown(name) if self.read else _unread(name)
        self.asked[name] = True
        return snapshot

    def buffer(self, experiment: Experiment) -> Buffer:
        """Where the experiment's trials wait; NotFoundError where it was deleted since its snapshot was looked up."""
        try:
            return self.buffers[experiment.uid]
        except KeyError:
            raise _unknown(experiment.name) from None

    def known(self, uid: str) -> Snapshot:
        """The snapshot that a token belongs to; NotFoundError for a deleted experiment's."""
        snapshot = self.by_uid.get(uid)
        if snapshot is None:
            raise NotFoundError("decision_id", "the experiment of this decision no longer exists")
        return snapshot


def _unread(name: str) -> UnavailableError:
    return UnavailableError(f"experiment {name!r} is not known yet: this server has just started, and reads the store")


def _unknown(name: str) -> NotFoundError:
    return NotFoundError("experiment", f"experiment {name!r} does not exist")
