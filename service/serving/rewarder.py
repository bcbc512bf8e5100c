"""Rewards and exposures: from tokens to claims, through the store, to outcomes. Nothing is acknowledged before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bandits.layout import DEFERRED, RETRACTION, UNCOUNTED
from service.errors import DeniedError, InvalidError, LeverError, NotFoundError, PreconditionError, UnavailableError
from service.experiment.compiled import Experiment
from service.experiment.metric import Metric
from service.serving.published import Published
from service.serving.store_clock import StoreClock
from service.serving.token import Opened, TokenKeys
from service.store import rows as layout
from service.store.contract import Act, Aggregate, Claim, Outcome, SpoiltError, Store, UnreachableError
from service.store.rows import NO_METRIC
from service.telemetry.metrics import Metrics

DAY_MS = 86_400_000
GONE = 1000  # uids of deleted experiments that are remembered
RewardAnswer = Outcome | LeverError


@dataclass(slots=True)  # not frozen, as a Claim is not
class RewardEvent:
    """One reward as a caller reports it; `decision` is the raw token, an empty metric the primary one."""

    decision: bytes
    metric: str = ""
    value: float | None = None
    event_id: str = ""
    client: bool = False  # sent with a browser key, by anybody: only what is marked so, once and as 1
    retract: bool = False  # the event is taken back, or will not count once it comes
    after_ms: int | None = None  # how long after the decision was shown it happened; None: it happens now


@dataclass(frozen=True, slots=True)
class Exposure:
    """A deferred decision was shown; with `client` said by anybody, with a browser key."""

    decision: bytes
    client: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a conversion that is settled already: the claim, and the experiment's uid."""

    uid: str
    claim: Claim


Event = RewardEvent | Exposure


class Rewarder:
    """Counts rewards and exposures once. Safe for any number of threads."""

    def __init__(
        self,
        store: Store,
        directory: Published,
        keys: TokenKeys,
        clock: StoreClock,
        metrics: Metrics,
        refresh: Callable[[], None],
    ) -> None:
        self._store = store
        self._directory = directory
        self._keys = keys
        self._clock = clock
        self._metrics = metrics
        self._refresh = refresh  # folds what is new before it returns; for tokens newer than what is known here
        self._gone: set[str] = set()  # uids of tokens whose experiments were looked for, and are no more

    def reward(self, events: Sequence[Event | Share]) -> list[RewardAnswer]:
        """One answer for each event, in order; what is wrong with one does not hinder the others.

        All claims that they make go to the store in one round trip, a call of it for each experiment.
        """
        answers: list[RewardAnswer | None] = [None] * len(events)
        claims: dict[str, list[tuple[int, Claim]]] = {}
        for i, event in enumerate(events):
            try:
                uid, judged = self._judge(event)
            except LeverError as error:
                answers[i] = error
                continue
            if isinstance(judged, Claim):
                claims.setdefault(uid, []).append((i, judged))
            else:
                answers[i] = judged
                self._count(uid, judged)
        sent = self._send([(uid, [claim for _, claim in numbered]) for uid, numbered in claims.items()])
        for numbered, told in zip(claims.values(), sent, strict=True):
            for (i, _), answer in zip(numbered, told, strict=True):
                answers[i] = answer
        return [a for a in answers if a is not None]

    def expose(self, decisions: Sequence[bytes], client: bool = False) -> list[RewardAnswer]:
        """Make deferred decisions trials, an answer for each; with `client` only such as a browser key may speak of."""
        return self.reward([Exposure(decision, client) for decision in decisions])

    def _judge(self, event: Event | Share) -> tuple[str, Claim | Outcome]:
        """The claim that the event makes, or its outcome where it makes none."""
        if isinstance(event, RewardEvent):
            return self._judge_reward(event)
        return (event.uid, event.claim) if isinstance(event, Share) else self._judge_exposure(event)

    def open(self, decision: bytes) -> tuple[Opened, Experiment]:
        """What a raw token says, and its experiment, at least as new as the token."""
        token = self._keys.open(decision)
        snapshot = self._directory.by_uid.get(token.uid)
        if token.uid not in self._gone if snapshot is None else token.version > snapshot.experiment.version:
            self._reachable()
            self._refresh()
            if token.uid not in self._directory.by_uid:
                self._note_gone(token.uid)
        return token, self._directory.known(token.uid).experiment

    def _note_gone(self, uid: str) -> None:
        """Nobody waits for the store again to learn that it was deleted."""
        if len(self._gone) >= GONE:
            self._gone.clear()
        self._gone.add(uid)

    def _judge_exposure(self, event: Exposure) -> tuple[str, Claim | Outcome]:
        token, exp = self.open(event.decision)
        if event.client:
            _check_client(exp)
        if token.flags & UNCOUNTED:
            return exp.uid, Outcome.IGNORED
        if not token.flags & DEFERRED:
            return exp.uid, Outcome.DUPLICATE
        deadline = token.time + min(exp.horizon_ms, token.horizon_ms)
        return exp.uid, claim_of(token, exp, None, 0, b"", deadline)

    def _judge_reward(self, event: RewardEvent) -> tuple[str, Claim | Outcome]:
        token, exp = self.open(event.decision)
        metric = metric_of(exp, event.metric)
        if event.client:
            _check_client(exp, metric, event)
        if token.flags & UNCOUNTED:
            return exp.uid, Outcome.IGNORED
        if not event.event_id and metric.aggregate != Aggregate.FIRST:
            name = metric.aggregate.name.lower()
            raise InvalidError.field("event_id", f"metric {metric.id!r} aggregates by {name} and needs an event_id")
        if event.retract and event.value is not None:
            raise InvalidError.field("value", "a retraction has none: it takes back what the event was worth")
        value = 0 if event.retract else metric.units(1.0 if event.value is None else event.value)
        if metric.min_delay_ms and not event.retract:
            after = self._clock.now_ms() - token.time if event.after_ms is None else event.after_ms
            if after < metric.min_delay_ms:
                return exp.uid, Outcome.TOO_SOON
        deadline = token.time + min(metric.window_ms + metric.grace_ms, token.horizon_ms)
        event_id = event.event_id.encode()
        claim = claim_of(token, exp, metric, value, event_id, deadline)
        if event.retract:
            claim = replace(claim, act=Act.RETRACT, row=layout.flagged(claim.row, RETRACTION))
        return exp.uid, replace(claim, floored=True) if metric.floored else claim

    def _send(self, calls: Sequence[tuple[str, Sequence[Claim]]]) -> list[Sequence[RewardAnswer]]:
        """The answers to the claims of each uid."""
        try:
            answers = self._claim([(uid, widened(claims)) for uid, claims in calls])
        except UnavailableError as error:
            answers = [error] * len(calls)
        made: list[Sequence[RewardAnswer]] = []
        for (uid, claims), answer in zip(calls, answers, strict=True):
            if isinstance(answer, SpoiltError) and len(claims) > 1:  # it is of one claim: the others are not to suffer
                made.append([one for (one,) in self._send([(uid, [claim]) for claim in claims])])
            elif isinstance(answer, UnavailableError):
                self._metrics.rewards.add((self._name(uid), "UNAVAILABLE"), len(claims))
                made.append([answer] * len(claims))
            else:
                self._note(uid, claims, answer)
                made.append([outcome if outcome > 0 else _refusal(outcome) or outcome for outcome in answer])
        return made

    def _claim(self, calls: Sequence[tuple[str, Sequence[Claim]]]) -> list[list[Outcome] | UnavailableError]:
        if not calls:
            return []
        self._reachable()
        try:
            return self._store.claim_each(calls)
        except UnreachableError:
            self._directory.away = True
            raise

    def _note(self, uid: str, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> None:
        """Count what became of the claims of one experiment."""
        name, now = self._name(uid), self._clock.now_ms()
        hit, observe = self._metrics.rewards.hit, self._metrics.reward_delay.observe
        for claim, outcome in zip(claims, outcomes, strict=True):
            if outcome is not Outcome.APPLIED:
                hit((name, outcome.name))
            elif claim.metric == NO_METRIC:
                hit((name, "EXPOSED"))
            elif claim.act is Act.RETRACT:
                hit((name, Outcome.RETRACTED.name))
            else:
                hit((name, outcome.name))
                observe(max(now - claim.time, 0) / 1000)

    def _reachable(self) -> None:
        """Where somebody just waited for the store in vain, nobody else does before a poll has been answered."""
        if self._directory.away:
            raise UnavailableError("the store does not answer")

    def _count(self, uid: str, outcome: Outcome) -> None:
        self._metrics.rewards.hit((self._name(uid), outcome.name))

    def _name(self, uid: str) -> str:
        snapshot = self._directory.by_uid.get(uid)
        return snapshot.experiment.name if snapshot else "deleted"


def metric_of(exp: Experiment, metric: str) -> Metric:
    """The metric of this id that still takes rewards, the primary one for ""; NotFoundError, InvalidError of a sum of metrics."""
    number = exp.metric_numbers.get(metric) if metric else exp.primary.number
    if number is None:
        raise NotFoundError("metric", f"metric {metric!r} does not exist in experiment {exp.name!r}")
    found = exp.metrics[number]
    if found.parts:
        told = f"{found.id!r} is made of other metrics; name the one that happened: {', '.join(found.parts)}"
        raise InvalidError.field("metric", told)
    return found


def _check_client(exp: Experiment, metric: Metric | None = None, event: RewardEvent | None = None) -> None:
    """What a browser key may send: DeniedError where it is not marked `client: true`, or has a value of its own."""
    if not exp.spec.client:
        raise DeniedError("a public key cannot send events of this experiment: it is not marked client: true")
    if metric is not None and not metric.client:
        raise DeniedError(f"a public key cannot send the metric {metric.id!r}: it is not marked client: true")
    if event is not None and event.retract:
        raise DeniedError("a public key takes nothing back; retractions need a secret key")
    if event is not None and event.value is not None and event.value != 1.0:
        raise DeniedError("a public key sends no value but 1; amounts need a secret key")


def claim_of(token: Opened, exp: Experiment, metric: Metric | None, value: int, event: bytes, deadline: int) -> Claim:
    """The claim of a token, without a metric that of an exposure; `value` in units."""
    # Claims live as long as the decision's own horizon says, to the end of its day: never less than the deadline.
    expires = (token.time // DAY_MS + 1) * DAY_MS + token.horizon_ms + DAY_MS
    number, limit = (NO_METRIC, 0) if metric is None else (metric.number, metric.limit)
    return Claim(
        token.prefix, token.counter, token.time, token.head + layout.TAIL_STRUCT.pack(number) + token.x,
        number, value, Aggregate.FIRST if metric is None else metric.aggregate, event, deadline, expires,
        bool(token.flags & DEFERRED), limit, moves=exp.moved(number, token.version) if exp.composites else (),
    )  # fmt: skip


def widened(claims: Sequence[Claim]) -> Sequence[Claim]:
    """The claims with rows of one length: shorter ones get zero features."""
    strides = {len(c.row) for c in claims}
    if len(strides) == 1:
        return claims
    stride = max(strides)
    return [c if len(c.row) == stride else replace(c, row=layout.pad(c.row, stride)) for c in claims]


def _refusal(outcome: Outcome) -> LeverError | None:
    if outcome == Outcome.TOO_MANY_EVENTS:
        return PreconditionError("a decision takes at most 64 distinct events of one metric", "TOO_MANY_EVENTS")
    if outcome == Outcome.TOTAL_OUT_OF_RANGE:
        return InvalidError.field("value", "the decision's total would leave the range that can be counted")
    if outcome == Outcome.NOTHING_TO_LOWER:
        said = (
            "a refund lowers what was earned, and nothing is left of it; where it came before its order, send it again"
        )
        return PreconditionError(said, "NOTHING_TO_LOWER")
    if outcome == Outcome.VALUE_UNKNOWN:
        said = "this decision's events were counted before what each was worth was kept: none of them can be taken back"
        return PreconditionError(said, "VALUE_UNKNOWN")
    return None
