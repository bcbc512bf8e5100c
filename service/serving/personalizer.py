"""The use cases: select, expose, reward. Knows bandits and the store's protocol; nothing of gRPC, HTTP or Redis.

Select does no I/O and takes no lock: it reads the published snapshot, scores, draws, seals a token and appends a row
to a buffer. Rewards go through the store and are answered once it has kept them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.draw import draw
from bandits.layout import DEFERRED, HOLDOUT, STICKY, SUBSET, UNCOUNTED, UNDRAWN, X_SCALE
from bandits.policy import decide
from service.errors import InvalidError, NotFoundError, PreconditionError, UnavailableError
from service.experiment.compiled import Experiment
from service.experiment.features.column import Value
from service.serving.frozen import Odds
from service.serving.published import Published
from service.serving.snapshot import Snapshot
from service.serving.store_clock import StoreClock
from service.serving.subject import Hasher, Identity, decision_unit, sticky_unit
from service.serving.token import NONCE, WHAT, Namer, Opened, TokenKeys, from_text, to_text, whose
from service.telemetry.metrics import Metrics

_CONSTANT = X_SCALE.to_bytes(2, "little")  # column 0
_INT16 = np.dtype(np.int16)  # made once


class Mode(enum.IntEnum):
    """Whether a choice counts; numbers of the wire."""

    NORMAL = 1
    PREVIEW = 2
    UNCOUNTED = 3


class Reason(enum.IntEnum):
    """Why an arm was chosen; numbers of the wire."""

    POLICY = 1
    HOLDOUT = 2
    SEGMENT_DEFAULT = 3
    NO_ELIGIBLE_ARM = 4
    INACTIVE = 5
    PREVIEW = 6
    UNCOUNTED = 7
    REPEATED = 8


NAMES = tuple(Reason(n).name if n else "" for n in range(len(Reason) + 1))  # an enum's own `name` is slow
# And so is a member by its name: a tenth of a microsecond each.
_PREVIEW, _NO_COUNT, _POLICY = Mode.PREVIEW, Mode.UNCOUNTED, Reason.POLICY


class Decision(NamedTuple):
    """One choice, as it is answered. A tuple, as Draw is: making a frozen dataclass costs three times as much; calling the class,
    not `tuple.__new__`, twice.
    """

    decision_id: str
    arm: str
    payload_json: str
    propensity: float
    segment: str
    holdout: bool
    stale: bool
    version: int
    reason: Reason


class Draw(NamedTuple):
    """What came out of the policy, before it has a name."""

    arm: int
    propensity: float
    flags: int
    reason: Reason


class Personalizer:
    """Chooses. Safe for any number of threads."""

    def __init__(
        self, directory: Published, keys: TokenKeys, hasher: Hasher, clock: StoreClock, metrics: Metrics
    ) -> None:
        self.directory = directory
        self.keys = keys
        self.hasher = hasher
        self.clock = clock
        self.namer = Namer()
        self.metrics = metrics
        self._decided = metrics.decisions.hit
        self.begun = 0  # single choices begun, about: it moves while there are any, and that is all it is for

    def select(
        self,
        experiment: str,
        subject: str,
        context: Mapping[str, Value],
        arms: Sequence[str],
        previous: str,
        deferred: bool,
        mode: Mode,
    ) -> Decision:
        """Choose one arm for one subject. Raises NotFoundError, InvalidError, PreconditionError."""
        self.begun += 1
        snapshot = self.directory.named(experiment)
        exp = snapshot.experiment
        now = self.clock.now_ms()
        subset = arm_numbers(exp, arms) if arms else None
        encoded = exp.encoder.encode(context)
        if encoded.clipped or encoded.unknown:
            self.count_features(exp.name, encoded.clipped, encoded.unknown)
        segment = exp.segments.match(context)
        if mode == _PREVIEW:
            return self._preview(snapshot, subject, subset, segment, encoded.x, now)
        who = self.hasher.identify(subject, exp.uid)
        if not exp.live(now):
            chosen = inactive(snapshot, segment)
            return self._finish(snapshot, who, segment, encoded.x, chosen, now, self.namer.next(), 0)
        if previous:
            repeated = self._repeat(snapshot, previous, who, subset, deferred, mode, now)
            if repeated is not None:
                return repeated
        name = self.namer.next()
        unit = decision_unit(*name) if exp.sticky_ms is None else sticky_unit(who.subject, now // exp.sticky_ms)
        flags = DEFERRED if deferred else 0
        if exp.sticky_ms is not None:
            flags |= STICKY
        if mode == _NO_COUNT:
            flags |= UNCOUNTED
        chosen = self._choose(snapshot, segment, who, encoded.x, subset, unit, flags)
        return self._finish(snapshot, who, segment, encoded.x, chosen, now, name, unit)

    # -- the choice --------------------------------------------------------------------------------------------

    def _choose(
        self,
        snapshot: Snapshot,
        segment: int,
        who: Identity,
        x: bytes,
        subset: frozenset[int] | None,
        unit: int,
        flags: int,
    ) -> Draw:
        exp = snapshot.experiment
        if exp.segments.serves_default[segment]:
            return Draw(exp.default_arm, 1.0, flags | UNDRAWN, Reason.SEGMENT_DEFAULT)
        slot = snapshot.slots[segment]
        arms = slot.arms if subset is None else eligible(slot, subset)
        if len(arms) == 0:  # for everyone alike: holdout and policy are compared where there was a choice
            return Draw(exp.default_arm, 1.0, flags | UNDRAWN, Reason.NO_ELIGIBLE_ARM)
        if len(arms) < len(slot.arms):
            flags |= SUBSET
        held = who.holdout < exp.holdout_share * 4294967296.0
        if held and not exp.holdout_uniform:
            return Draw(exp.default_arm, 1.0, flags | HOLDOUT, Reason.HOLDOUT)
        if held:
            share = 1.0 / len(arms)
            at = draw(np.full(len(arms), share), arms, unit, exp.salt)
            return Draw(int(arms[at]), share, flags | HOLDOUT, Reason.HOLDOUT)
        if slot.contextual:
            p = np.empty(len(arms))
            at = decide(slot.posterior.packed, full_vector(x), arms, unit, exp.salt, p)
        else:
            p = slot.pmf_of(arms)
            at = draw(p, arms, unit, exp.salt)
        return tuple.__new__(Draw, (int(arms[at]), float(p[at]), flags, _POLICY))

    def _preview(
        self, snapshot: Snapshot, subject: str, subset: frozenset[int] | None, segment: int, x: bytes, now: int
    ) -> Decision:
        if subset is None or len(subset) != 1:
            raise InvalidError.field("arms", "a preview takes exactly one arm")
        who = self.hasher.identify(subject, snapshot.experiment.uid)
        chosen = Draw(next(iter(subset)), 1.0, UNDRAWN | UNCOUNTED, Reason.PREVIEW)
        return self._finish(snapshot, who, segment, x, chosen, now, self.namer.next(), 0)

    def _finish(
        self,
        snapshot: Snapshot,
        who: Identity,
        segment: int,
        x: bytes,
        chosen: Draw,
        now: int,
        name: tuple[int, int],
        unit: int,
    ) -> Decision:
        """Seal the token, log the trial, answer."""
        exp, flags = snapshot.experiment, chosen.flags
        nonce = NONCE.pack(*name)
        what = WHAT.pack(exp.version, now, unit, chosen.propensity, segment, chosen.arm, flags, who.bucket, 0) + x
        if not flags & (UNCOUNTED | DEFERRED):
            self.directory.buffer(exp).add(nonce + what)
        arm = exp.arms[chosen.arm]
        reason = Reason.UNCOUNTED if flags & UNCOUNTED and chosen.reason == _POLICY else chosen.reason
        self._decided((exp.name, arm.id, NAMES[reason]))
        return tuple.__new__(Decision, (
            to_text(self.keys.seal(nonce, whose(exp.uid, exp.horizon_ms)(who.subject) + what)), arm.id, arm.payload_json, chosen.propensity,
            exp.segments.ids[segment], bool(flags & HOLDOUT), self.directory.outdated(exp.uid), exp.version, reason,
        ))  # fmt: skip

    def _repeat(
        self,
        snapshot: Snapshot,
        previous: str,
        who: Identity,
        subset: frozenset[int] | None,
        deferred: bool,
        mode: Mode,
        now: int,
    ) -> Decision | None:
        """The previous decision if it is still good, else None: a stale or foreign one is no error."""
        exp = snapshot.experiment
        try:
            token = self.keys.open(from_text(previous))
        except (InvalidError, UnavailableError):
            return None
        if not same_situation(token, exp, who, deferred, mode, now):
            return None
        arm = exp.arms[token.arm]
        if arm.state != "active" or (subset is not None and token.arm not in subset):
            return None
        self._decided((exp.name, arm.id, Reason.REPEATED.name))
        return Decision(
            previous, arm.id, arm.payload_json, token.propensity, exp.segments.ids[token.segment],
            bool(token.flags & HOLDOUT), self.directory.outdated(exp.uid), exp.version, Reason.REPEATED,
        )  # fmt: skip

    def count_features(self, name: str, clipped: int, unknown: int) -> None:
        """Count features that were not as declared."""
        if clipped:
            self.metrics.features_clipped.add((name,), clipped)
        if unknown:
            self.metrics.features_unknown.add((name,), unknown)


def arm_numbers(exp: Experiment, arms: Sequence[str]) -> frozenset[int]:
    """Numbers of the arms named by a caller; NotFoundError names the first unknown one."""
    for i, arm in enumerate(arms):
        if arm not in exp.arm_numbers:
            raise NotFoundError(f"arms[{i}]", f"arm {arm!r} does not exist in experiment {exp.name!r}")
    return frozenset(exp.arm_numbers[arm] for arm in arms)


def eligible(slot: Odds, subset: frozenset[int]) -> NDArray[np.int64]:
    """The slot's eligible arms that are in the subset, ascending."""
    return slot.arms[[a in subset for a in slot.arms.tolist()]]


def inactive(snapshot: Snapshot, segment: int) -> Draw:
    """What an experiment serves that is paused, ended or outside its dates; a draft serves nothing."""
    exp = snapshot.experiment
    if exp.state == "draft":
        raise PreconditionError(f"experiment {exp.name!r} is a draft: only previews are served", "DRAFT")
    return Draw(snapshot.after(segment), 1.0, UNDRAWN | UNCOUNTED, Reason.INACTIVE)


def full_vector(x: bytes) -> NDArray[np.int16]:
    """Encoded features with the constant in front, [columns], read-only."""
    return np.frombuffer(_CONSTANT + x, _INT16)


def same_situation(token: Opened, exp: Experiment, who: Identity, deferred: bool, mode: Mode, now: int) -> bool:
    """Whether a previous decision was this subject's, here, in this mode, and is young enough to keep."""
    keep_ms = exp.sticky_ms if exp.sticky_ms is not None else exp.primary.window_ms
    return (
        token.uid == exp.uid
        and token.subject == who.subject
        and bool(token.flags & DEFERRED) == deferred
        and bool(token.flags & UNCOUNTED) == (mode == Mode.UNCOUNTED)
        and 0 <= now - token.time < keep_ms
        and token.arm < len(exp.arms)
        and token.segment < len(exp.segments.ids)
    )
